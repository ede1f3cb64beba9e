//! Where containerd looks for a mirror, as a URL, and the mirror of a table that this is.
//!
//! containerd asks `URL/REPOSITORY/manifests/…`, so that the path behind `/v2` is what stands before the repository.

use std::fmt;

use super::node_rules::Reached;

/// A mirror that containerd is told as a URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Endpoint {
    /// The mirror: a registry, and perhaps a path.
    pub(super) mirror: String,
    /// Its registry.
    pub(super) host: String,
    pub(super) is_plain_http: bool,
}

/// Why a URL is no mirror of a table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EndpointError {
    /// The registry's API is below a path of the host.
    ApiBelowPath,
    /// It is not of HTTP, or has a login or a query.
    NotPlain,
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiBelowPath => {
                "the registry's API would be below a path of its host, where no image reference can point to"
            }
            Self::NotPlain => "it is no plain URL of a registry",
        })
    }
}

impl Endpoint {
    /// Reads a URL; without a scheme it is of HTTPS. `is_whole`: what stands in front of the repository is all there,
    /// and containerd adds no `/v2`.
    pub(super) fn read(url: &str, is_whole: bool) -> Result<Self, EndpointError> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let is_plain_http = match scheme {
            "http" => true,
            "https" => false,
            _ => return Err(EndpointError::NotPlain),
        };
        if rest.contains(['@', '?', '#']) {
            return Err(EndpointError::NotPlain);
        }
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let segments: Vec<_> =
            path.split('/').filter(|segment| !segment.is_empty() && *segment != ".").collect();
        if host.is_empty() || segments.contains(&"..") {
            return Err(EndpointError::NotPlain);
        }
        let path = match (&*segments, is_whole) {
            (["v2"], _) | ([], false) => String::new(),
            (["v2", path @ ..], true) => path.join("/"),
            _ => return Err(EndpointError::ApiBelowPath),
        };
        let mirror = if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") };
        Ok(Self { mirror, host: host.to_owned(), is_plain_http })
    }

    /// The URL of a mirror, and whether it is whole.
    pub(super) fn write(mirror: &str, reached: Reached<'_>) -> (String, bool) {
        let (host, path) = mirror.split_once('/').unwrap_or((mirror, ""));
        let scheme = if reached.is_plain_http(host) { "http" } else { "https" };
        if path.is_empty() {
            (format!("{scheme}://{host}"), false)
        } else {
            (format!("{scheme}://{host}/v2/{path}"), true)
        }
    }
}

/// Whether a host of a URL is the one that images of `registry` come from anyway.
pub(super) fn is_upstream(host: &str, registry: &str) -> bool {
    let hub = ["docker.io", "index.docker.io", "registry-1.docker.io"];
    host == registry || hub.contains(&registry) && hub.contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_mirror_by_what_stands_before_the_repository() {
        use EndpointError::{ApiBelowPath, NotPlain};
        for (url, is_whole, expected) in [
            ("https://m.corp", false, Ok(("m.corp", "m.corp", false))),
            ("m.corp:5000", false, Ok(("m.corp:5000", "m.corp:5000", false))),
            ("http://10.0.0.1:5000/", false, Ok(("10.0.0.1:5000", "10.0.0.1:5000", true))),
            ("https://m.corp/v2", false, Ok(("m.corp", "m.corp", false))),
            ("https://m.corp/v2/", true, Ok(("m.corp", "m.corp", false))),
            ("https://m.corp/v2/hub/x", true, Ok(("m.corp/hub/x", "m.corp", false))),
            ("https://[::1]:5000/v2//hub/", true, Ok(("[::1]:5000/hub", "[::1]:5000", false))),
            ("https://m.corp/v2/hub", false, Err(ApiBelowPath)),
            ("https://m.corp/hub", false, Err(ApiBelowPath)),
            ("https://m.corp/hub", true, Err(ApiBelowPath)),
            ("https://m.corp", true, Err(ApiBelowPath)),
            ("ftp://m.corp", false, Err(NotPlain)),
            ("https://u:p@m.corp", false, Err(NotPlain)),
            ("https://m.corp?x", false, Err(NotPlain)),
            ("https://m.corp/v2/../x", true, Err(NotPlain)),
            ("https://", false, Err(NotPlain)),
        ] {
            let read = Endpoint::read(url, is_whole);
            let expected = expected.map(|(mirror, host, is_plain_http)| Endpoint {
                mirror: mirror.to_owned(),
                host: host.to_owned(),
                is_plain_http,
            });
            assert_eq!(read, expected, "{url} {is_whole}");
        }
    }

    #[test]
    fn docker_hub_has_three_names() {
        assert!(is_upstream("registry-1.docker.io", "docker.io") && is_upstream("docker.io", "docker.io"));
        assert!(is_upstream("quay.io", "quay.io"));
        assert!(!is_upstream("docker.io", "quay.io") && !is_upstream("m.corp", "docker.io"));
    }
}
