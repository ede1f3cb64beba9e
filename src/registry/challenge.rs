//! What a registry asks for in `WWW-Authenticate` (RFC 9110 §11.6.1, distribution-spec's token authentication).

use std::fmt;

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// How a registry wants to be logged in to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token from a token service.
    Bearer(TokenService),
}

/// Where tokens come from, as a registry names it.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(super) struct TokenService {
    /// The URL, not yet judged.
    pub(super) realm: Box<str>,
    pub(super) service: Option<Box<str>>,
    /// Scopes that are no repository's (some registries have one for everything), asked for beside the repository's.
    pub(super) scopes: Vec<Box<str>>,
}

impl Challenge {
    /// The challenge of an answer, if it holds one that we can meet. A token is preferred over a password.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut basic = false;
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        for (scheme, parameters) in values.filter(|value| value.len() <= MAX_HEADER).flat_map(schemes) {
            if scheme.eq_ignore_ascii_case("bearer") {
                if let Some(service) = TokenService::of(&parameters) {
                    return Some(Self::Bearer(service));
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                basic = true;
            }
        }
        basic.then_some(Self::Basic)
    }
}

impl TokenService {
    fn of(parameters: &[(&str, String)]) -> Option<Self> {
        let parameter = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        let scopes = parameter("scope").unwrap_or_default().split(' ');
        Some(Self {
            realm: parameter("realm")?.into(),
            service: parameter("service").map(Into::into),
            scopes: scopes
                .filter(|scope| !scope.is_empty() && !scope.starts_with("repository:"))
                .map(Into::into)
                .collect(),
        })
    }
}

impl fmt::Debug for TokenService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A realm may carry a user and a password.
        f.write_str("TokenService(<redacted>)")
    }
}

/// The schemes of one header value with their parameters: `Basic realm="a", Bearer realm="b",service="c"`.
fn schemes(value: &str) -> Vec<(&str, Vec<(&str, String)>)> {
    let mut schemes: Vec<(&str, Vec<(&str, String)>)> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        if token.is_empty() {
            // Nothing is left, or no token: what follows cannot be understood.
            return schemes;
        }
        match (after.trim_start_matches([' ', '\t']).strip_prefix('='), schemes.last_mut()) {
            (Some(text), Some((_, parameters))) => {
                let (value, remaining) = parameter_value(text.trim_start_matches([' ', '\t']));
                parameters.push((token, value));
                rest = remaining;
            }
            (Some(_), None) => return schemes,
            (None, _) => {
                schemes.push((token, Vec::new()));
                rest = after;
            }
        }
    }
}

/// A parameter's value, quoted or not, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([',', ' ', '\t']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            other => value.push(other),
        }
    }
    (value, characters.as_str())
}

/// A longer header is no challenge that a registry would write.
const MAX_HEADER: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        Challenge::of(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scopes: &[&str]) -> Challenge {
        Challenge::Bearer(TokenService {
            realm: realm.into(),
            service: service.map(Into::into),
            scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
        })
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        for (values, expected) in [
            (&["Basic realm=\"Registry\""][..], Some(Challenge::Basic)),
            (&["basic"], Some(Challenge::Basic)),
            (
                &[
                    "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull\"",
                ],
                Some(bearer("https://auth.docker.io/token", Some("registry.docker.io"), &[])),
            ),
            (
                &["Bearer realm=\"https://public.ecr.aws/token/\",service=\"public.ecr.aws\",scope=\"aws\""],
                Some(bearer("https://public.ecr.aws/token/", Some("public.ecr.aws"), &["aws"])),
            ),
            (
                &["bearer  realm = \"https://r/t\" , error=\"invalid_token\""],
                Some(bearer("https://r/t", None, &[])),
            ),
            (&["Bearer realm=https://r/t,service=s"], Some(bearer("https://r/t", Some("s"), &[]))),
            (&["Basic realm=\"a, b\", Bearer realm=\"https://r/t\""], Some(bearer("https://r/t", None, &[]))),
            (&["Basic realm=\"a\"", "Bearer realm=\"https://r/t\""], Some(bearer("https://r/t", None, &[]))),
            (&["Bearer realm=\"https://r/\\\"t\""], Some(bearer("https://r/\"t", None, &[]))),
            (&["Bearer service=\"s\""], None),
            (&["Bearer realm=\"\", Basic"], Some(Challenge::Basic)),
            (&["Negotiate"], None),
            (&["=", "realm=\"x\"", "", "\"", "Bearer realm=\"unterminated"][..4], None),
            (&[], None),
        ] {
            assert_eq!(challenge(values), expected, "{values:?}");
        }
    }

    #[test]
    fn debug_output_hides_what_a_realm_may_carry() {
        let shown = format!("{:?}", challenge(&["Bearer realm=\"https://user:canary@r/t\""]));
        assert_eq!(shown, "Some(Bearer(TokenService(<redacted>)))");
    }

    #[test]
    fn a_header_without_end_is_passed_over() {
        assert_eq!(challenge(&[&format!("Basic realm=\"{}\"", "x".repeat(MAX_HEADER))]), None);
    }
}
