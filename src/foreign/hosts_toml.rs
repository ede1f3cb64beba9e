//! containerd's `certs.d/HOST/hosts.toml`: one file for each registry, named by its folder.
//!
//! Hosts are asked in the order of the file, then `server`; without one, the registry itself. Registries without a folder
//! go by that of `_default`.

use std::fmt::Write as _;

use super::{
    ExportedFiles, MADE,
    draft::{At, Draft, Otherwise},
    endpoint::{Endpoint, is_upstream},
    import::{Beside, File, ImportError, Kind},
    node_rules::{NodeRule, NodeRules, Reached, Speaks},
    text::{Section, Toml, certificates, different, quoted},
};
use crate::table::Table;

/// Reads files, each of one registry.
pub(super) fn read(
    files: &[File<'_>],
    beside: &mut Beside<'_>,
    draft: &mut Draft,
) -> Result<(), ImportError> {
    for file in files {
        let Some(registry) = registry_of(file.name) else {
            let why = "its path is not `HOST/hosts.toml`: the folder says which registry it is about";
            return Err(different(file, Kind::HostsToml, why));
        };
        let toml = Toml::read(file)?;
        let stray = toml.root().keys().find(|(key, _)| !KEYS.contains(key) && *key != "host");
        if let (Some((key, _)), false) = (stray, is_one(toml.root())) {
            return Err(different(file, Kind::HostsToml, format!("it has a key `{key}`")));
        }
        Reader { file, registry: &registry, beside, draft }.read(toml.root())?;
    }
    Ok(())
}

/// Whether this is such a file, by its keys.
pub(super) fn is_one(root: Section<'_>) -> bool {
    root.has("server") || root.has("host")
}

/// The registry that a path is about: `*` for `_default`.
fn registry_of(path: &str) -> Option<String> {
    let (folder, _) = path.rsplit_once(['/', '\\'])?;
    let folder = folder.rsplit(['/', '\\']).next().unwrap_or(folder);
    if folder == "_default" {
        return Some("*".to_owned());
    }
    // Where a colon cannot be in a name.
    let with_port = folder.strip_suffix('_').and_then(|folder| folder.rsplit_once('_'));
    let folder = match with_port {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{host}:{port}")
        }
        _ => folder.to_owned(),
    };
    (!folder.is_empty() && folder != "." && folder != "..").then_some(folder)
}

struct Reader<'r, 'f> {
    file: &'r File<'r>,
    registry: &'r str,
    beside: &'r mut Beside<'f>,
    draft: &'r mut Draft,
}

impl Reader<'_, '_> {
    fn read(&mut self, root: Section<'_>) -> Result<(), ImportError> {
        let about = At::new(self.file, None, self.registry);
        self.unknown(root, true);
        let mut mirrors: Vec<String> = Vec::new();
        let mut otherwise = None;
        let hosts = root.section("host")?.map(Section::in_order).transpose()?.unwrap_or_default();
        for (url, section, line) in hosts {
            let at = At::new(self.file, line, url);
            self.unknown(section, false);
            let Some(endpoint) = self.endpoint(url, section, &at)? else { continue };
            if otherwise.is_some() {
                self.draft.warn(&at, "left out: it stands behind the registry itself, which is asked last");
                continue;
            }
            if is_upstream(&endpoint.host, self.registry) && endpoint.mirror == endpoint.host {
                otherwise = Some(Otherwise::Source);
            } else if !mirrors.contains(&endpoint.mirror) {
                mirrors.push(endpoint.mirror);
            }
        }
        if otherwise.is_none() {
            otherwise = Some(match root.text("server")? {
                None => Otherwise::Source,
                Some(url) => {
                    let at = At::new(self.file, root.line_of("server"), url);
                    match self.endpoint(url, root, &at)? {
                        Some(server)
                            if is_upstream(&server.host, self.registry) && server.mirror == server.host =>
                        {
                            Otherwise::Source
                        }
                        Some(server) => {
                            if !mirrors.contains(&server.mirror) {
                                mirrors.push(server.mirror);
                            }
                            Otherwise::Nothing
                        }
                        None => Otherwise::Nothing,
                    }
                }
            });
        }
        let otherwise = otherwise.unwrap_or_default();
        if mirrors.is_empty() {
            if self.registry != "*" {
                self.draft.kept(about, self.registry);
            }
            return Ok(());
        }
        if self.registry == "*" {
            self.draft.warn(
                &about,
                "a mirror of `_default` is told by containerd which registry is meant (`ns=`), and an image in a table's \
                 mirror is not: write `{registry}` where the mirror keeps registries apart",
            );
        }
        self.draft.moved(about, self.registry, mirrors, otherwise);
        Ok(())
    }

    /// Where a host is, if images can be resolved there; what else it says goes into the draft.
    fn endpoint(
        &mut self,
        url: &str,
        section: Section<'_>,
        at: &At,
    ) -> Result<Option<Endpoint>, ImportError> {
        let capabilities = section.texts("capabilities")?;
        let endpoint = match Endpoint::read(url, section.switch("override_path")?.unwrap_or(false)) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                self.draft.warn(at, format_args!("left out: {error}"));
                return Ok(None);
            }
        };
        self.reach(&endpoint, section, at)?;
        let can = |what: &str| capabilities.as_ref().is_none_or(|all| all.contains(&what));
        if !can("pull") || !can("resolve") {
            self.draft.warn(
                at,
                "left out: containerd takes no tags from it (its `capabilities` lack `pull` or `resolve`), and a table asks \
                 its mirrors for tags; add it to the mirrors if it may say what a tag is",
            );
            return Ok(None);
        }
        Ok(Some(endpoint))
    }

    fn reach(&mut self, endpoint: &Endpoint, section: Section<'_>, at: &At) -> Result<(), ImportError> {
        let host = &endpoint.host;
        if endpoint.is_plain_http {
            self.draft.plain_http(host);
        }
        for path in section.text_or_texts("ca")?.unwrap_or_default() {
            match (self.beside)(self.file.name, path).as_deref().and_then(certificates) {
                Some(pem) => self.draft.ca(host, &pem),
                None => self.draft.warn(
                    at,
                    format_args!(
                        "no certificate can be read in `{path}`: put it under `ca` of the registry `{host}`"
                    ),
                ),
            }
        }
        if section.has("client") {
            self.draft.warn(at, format_args!("the client certificate is left out: make a Secret of it, and name it under `clientCertificate` of the registry `{host}`"));
        }
        if section.switch("skip_verify")?.unwrap_or(false) {
            self.draft.warn(at, format_args!("`skip_verify` is left out: certificates are always verified; put its `ca` under the registry `{host}`"));
        }
        if section.has("header") {
            self.draft
                .warn(at, "`header` is left out: a login is a Secret that `credentials` of a registry names");
        }
        if section.has("rewrite") {
            self.draft.warn(at, "`rewrite` is left out: import the `registries.yaml` that k3s made this of");
        }
        Ok(())
    }

    fn unknown(&mut self, section: Section<'_>, is_root: bool) {
        for (key, line) in section.keys() {
            let is_known = KEYS.contains(&key) && (is_root || key != "server") || is_root && key == "host";
            if !is_known {
                self.draft.warn(&At::new(self.file, line, key), "left out: the key is not known here");
            }
        }
    }
}

/// The files for `/etc/containerd/certs.d`.
pub fn hosts_toml(table: &Table) -> ExportedFiles {
    let speaks = Speaks { everything: true, exceptions: true, paths: false, refusal: true, wildcards: false };
    let mut rules = NodeRules::of(table, speaks);
    let reached = rules.reached();
    let mut files = Vec::new();
    let mut named: Vec<String> = Vec::new();
    for rule in rules.rules.iter().chain(&rules.exceptions) {
        named.push(rule.source.clone());
        write_folder(rule, reached, &mut files);
    }
    let has_default = rules.rules.iter().any(|rule| rule.source == "*");
    let hosts: Vec<String> = rules.mirror_hosts().into_iter().map(str::to_owned).collect();
    for host in hosts.iter().filter(|host| !named.contains(*host)) {
        // What is in a mirror is pulled from there, whatever holds for all other registries.
        if has_default || reached.is_plain_http(host) || reached.ca(host).is_some() {
            let rule =
                NodeRule { source: host.clone(), mirrors: Vec::new(), otherwise: Otherwise::Source, line: 0 };
            write_folder(&rule, reached, &mut files);
        }
    }
    rules.warn_about_logins("containerd's own login, or to the Pods' `imagePullSecrets`");
    ExportedFiles { files, warnings: rules.into_warnings() }
}

fn write_folder(rule: &NodeRule, reached: Reached<'_>, files: &mut Vec<(String, String)>) {
    let folder = if rule.source == "*" { "_default" } else { &rule.source };
    let mut text = format!("# {MADE}\n");
    let mut certificates: Vec<(String, String)> = Vec::new();
    let mut reach = |host: &str, text: &mut String| {
        let Some(ca) = reached.ca(host) else { return };
        let name = format!("{}.crt", host.replace([':', '[', ']'], "_"));
        let _ = writeln!(text, "ca = {}", quoted(&name));
        if certificates.iter().all(|(other, _)| *other != name) {
            certificates.push((name, ca.to_owned()));
        }
    };
    let server = match (rule.otherwise, rule.mirrors.first()) {
        (Otherwise::Nothing, Some(mirror)) => Some(mirror.as_str()),
        _ if rule.source == "*" => None,
        _ => Some(rule.source.as_str()),
    };
    if let Some(server) = server {
        let (url, is_whole) =
            Endpoint::write(if server == "docker.io" { "registry-1.docker.io" } else { server }, reached);
        let _ = writeln!(text, "server = {}", quoted(&url));
        if is_whole {
            let _ = writeln!(text, "override_path = true");
        }
        reach(server.split('/').next().unwrap_or(server), &mut text);
    }
    for mirror in &rule.mirrors {
        let (url, is_whole) = Endpoint::write(mirror, reached);
        let _ = writeln!(text, "\n[host.{}]\ncapabilities = [\"pull\", \"resolve\"]", quoted(&url));
        if is_whole {
            let _ = writeln!(text, "override_path = true");
        }
        reach(mirror.split('/').next().unwrap_or(mirror), &mut text);
    }
    files.push((format!("{folder}/hosts.toml"), text));
    files.extend(certificates.into_iter().map(|(name, ca)| (format!("{folder}/{name}"), ca)));
}

const KEYS: [&str; 9] = [
    "server",
    "capabilities",
    "ca",
    "client",
    "skip_verify",
    "override_path",
    "header",
    "dial_timeout",
    "rewrite",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_says_which_registry_it_is() {
        for (path, expected) in [
            ("certs.d/docker.io/hosts.toml", Some("docker.io")),
            ("/etc/containerd/certs.d/m.corp:5000/hosts.toml", Some("m.corp:5000")),
            ("m.corp_5000_/hosts.toml", Some("m.corp:5000")),
            ("m_corp_/hosts.toml", Some("m_corp_")),
            ("_default/hosts.toml", Some("*")),
            (r"certs.d\quay.io\hosts.toml", Some("quay.io")),
            ("hosts.toml", None),
            ("./hosts.toml", None),
        ] {
            assert_eq!(registry_of(path).as_deref(), expected, "{path}");
        }
    }
}
