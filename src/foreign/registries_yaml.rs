//! The `registries.yaml` of k3s and RKE2, of which they make containerd's configuration.
//!
//! Endpoints are asked in order, then the registry itself, unless the node was started otherwise: of that the file says
//! nothing. Rewrites are regular expressions on the repository, for endpoints alone.

use std::fmt::Write as _;

use super::{
    Exported, MADE,
    draft::{At, Draft, Otherwise},
    endpoint::{Endpoint, is_upstream},
    import::{Beside, File, ImportError, Kind},
    node_rules::{NodeRule, NodeRules, Speaks},
    pattern::{End, Pattern},
    text::{broken, certificates, different, quoted, yaml_map},
};
use crate::{
    inventory::{self, Value},
    table::Table,
};

/// Reads files, each whole in itself.
pub(super) fn read(
    files: &[File<'_>],
    beside: &mut Beside<'_>,
    draft: &mut Draft,
) -> Result<(), ImportError> {
    for file in files {
        let Some(map) = yaml_map(file, Kind::RegistriesYaml)? else { continue };
        if !is_one(&map) {
            return Err(different(file, Kind::RegistriesYaml, "it has neither `mirrors` nor `configs`"));
        }
        for (key, value) in map.as_map().into_iter().flatten() {
            match &**key {
                "mirrors" => read_mirrors(file, value, draft)?,
                "configs" => read_configs(file, value, beside, draft)?,
                "auths" => draft.warn(&At::new(file, value.line, "auths"), LOGIN),
                _ => draft.warn(&At::new(file, value.line, &**key), "left out: the key is not known here"),
            }
        }
    }
    Ok(())
}

/// Whether this is such a file, by its keys.
pub(super) fn is_one(map: &Value) -> bool {
    ["mirrors", "configs"].iter().any(|key| {
        map.get(key).is_some_and(|value| value.as_map().is_some() || value.kind == inventory::Kind::Null)
    }) && map.get("kind").is_none()
}

fn read_mirrors(file: &File<'_>, mirrors: &Value, draft: &mut Draft) -> Result<(), ImportError> {
    for (registry, value) in entries(file, mirrors, "mirrors")? {
        let at = At::new(file, value.line, registry);
        let mut found: Vec<String> = Vec::new();
        let mut is_over = false;
        let endpoints = value.get("endpoint").filter(|list| list.kind != inventory::Kind::Null);
        if let Some(list) = endpoints {
            let items = list.as_list().ok_or_else(|| broken(file, list.line, "`endpoint` is a list"))?;
            for item in items {
                let url = item.as_text().ok_or_else(|| broken(file, item.line, "an endpoint is a text"))?;
                let at = At::new(file, item.line, url);
                if is_over {
                    draft.warn(&at, "left out: it stands behind the registry itself, which is asked last");
                    continue;
                }
                let Some(endpoint) = endpoint(url, &at, draft) else { continue };
                if is_upstream(&endpoint.host, registry) && endpoint.mirror == endpoint.host {
                    is_over = true;
                } else if !found.contains(&endpoint.mirror) {
                    found.push(endpoint.mirror);
                }
            }
        }
        for (key, value) in value.as_map().into_iter().flatten() {
            if !["endpoint", "rewrite"].contains(&&**key) {
                draft.warn(&At::new(file, value.line, &**key), "left out: the key is not known here");
            }
        }
        if found.is_empty() {
            if registry != "*" {
                draft.kept(at, registry);
            }
            continue;
        }
        let rewrites = value.get("rewrite").filter(|map| map.kind != inventory::Kind::Null);
        let rewrites = rewrites.map(|map| read_rewrites(file, map, draft)).transpose()?.unwrap_or_default();
        let whole = rewrites.iter().find(|rewrite| rewrite.from.is_empty());
        let place = |path: &str| found.iter().map(|mirror| joined(mirror, path)).collect::<Vec<_>>();
        for rewrite in rewrites.iter().filter(|rewrite| !rewrite.from.is_empty()) {
            if registry == "*" {
                draft.warn(&rewrite.at, "left out: a table knows no path of `*`: name the registries");
                continue;
            }
            let nests = |other: &&Rewrite| {
                other.from != rewrite.from && super::text::is_within(&rewrite.from, &other.from)
                    || other.from.is_empty()
            };
            if rewrites.iter().any(|other| nests(&other)) {
                draft.warn(&rewrite.at, "another rewrite holds these images, too, and k3s takes them in no certain order: in a table the longer one wins");
            }
            draft.moved(
                rewrite.at.clone(),
                joined(registry, &rewrite.from),
                place(&rewrite.to),
                Otherwise::Source,
            );
        }
        draft.moved(at, registry, place(whole.map_or("", |rewrite| &*rewrite.to)), Otherwise::Source);
    }
    Ok(())
}

fn endpoint(url: &str, at: &At, draft: &mut Draft) -> Option<Endpoint> {
    // A path of its own is taken as it is, and `/v2` added to none.
    let path =
        url.split_once("://").map_or(url, |(_, rest)| rest).split_once('/').map_or("", |(_, path)| path);
    match Endpoint::read(url, !path.trim_matches('/').is_empty()) {
        Ok(endpoint) => {
            if endpoint.is_plain_http {
                draft.plain_http(&endpoint.host);
            }
            Some(endpoint)
        }
        Err(error) => {
            draft.warn(at, format_args!("left out: {error}"));
            None
        }
    }
}

/// A rewrite that a table can say: what stands before the rest of the repository, and what takes its place.
struct Rewrite {
    at: At,
    from: String,
    to: String,
}

fn read_rewrites(file: &File<'_>, map: &Value, draft: &mut Draft) -> Result<Vec<Rewrite>, ImportError> {
    let mut rewrites = Vec::new();
    for (pattern, value) in entries(file, map, "rewrite")? {
        let at = At::new(file, value.line, pattern);
        let Some(replacement) = value.as_text() else {
            return Err(broken(file, value.line, "a rewrite is a text"));
        };
        match rewrite(pattern, replacement) {
            Some(pairs) => rewrites.extend(pairs.into_iter().map(|(from, to)| Rewrite { at: at.clone(), from, to })),
            None => draft.warn(
                &at,
                "left out: a table knows no regular expressions, and this one says more than how a repository begins; \
                 images that it holds are looked for where the others are",
            ),
        }
    }
    Ok(rewrites)
}

/// What a rewrite says about beginnings of repositories, on segment boundaries.
fn rewrite(pattern: &str, replacement: &str) -> Option<Vec<(String, String)>> {
    let read = match pattern {
        // Without `^` it matches from the first character on, too.
        "(.*)" | "(.*)$" | "(.+)" => Pattern::read("^(.*)")?,
        // As `export` writes a source that may be a whole repository.
        _ => match pattern.strip_suffix("(/.*)?$") {
            Some(before) => {
                let mut read = Pattern::read(&format!("{before}$"))?;
                read.groups += 1;
                read.end = End::Captured;
                read.beginnings.iter_mut().for_each(|text| text.push('/'));
                let to = replacement.strip_suffix("$1").or_else(|| replacement.strip_suffix("${1}"))?;
                return (read.groups == 1).then(|| pairs(&read, &format!("{to}/"))).flatten();
            }
            None => Pattern::read(pattern)?,
        },
    };
    let to = match (read.end, read.groups) {
        (End::Captured, 1) => replacement.strip_suffix("$1").or_else(|| replacement.strip_suffix("${1}"))?,
        // Only what matched is replaced; the rest stays behind it.
        (End::Anything, 0) if !pattern.contains(".*") && !pattern.contains(".+") => replacement,
        _ => return None,
    };
    pairs(&read, to)
}

fn pairs(read: &Pattern, to: &str) -> Option<Vec<(String, String)>> {
    if to.contains('$') {
        return None;
    }
    let trimmed = |text: &str| match text {
        "" => Some(String::new()),
        text => text.strip_suffix('/').map(str::to_owned),
    };
    read.beginnings.iter().map(|from| Some((trimmed(from)?, trimmed(to)?))).collect()
}

fn joined(mirror: &str, path: &str) -> String {
    if path.is_empty() { mirror.to_owned() } else { format!("{mirror}/{path}") }
}

fn read_configs(
    file: &File<'_>,
    configs: &Value,
    beside: &mut Beside<'_>,
    draft: &mut Draft,
) -> Result<(), ImportError> {
    for (host, value) in entries(file, configs, "configs")? {
        let at = At::new(file, value.line, host);
        if value.get("auth").is_some() {
            draft.warn(&at, LOGIN);
        }
        let Some(tls) = value.get("tls") else { continue };
        for (key, value) in tls.as_map().into_iter().flatten() {
            match (&**key, value.as_text()) {
                ("ca_file", Some(path)) => match beside(file.name, path).as_deref().and_then(certificates) {
                    Some(pem) => draft.ca(host, &pem),
                    None => draft.warn(
                        &at,
                        format_args!("no certificate can be read in `{path}`: put it under `ca` of the registry"),
                    ),
                },
                ("cert_file" | "key_file", _) => draft.warn(&at, "the client certificate is left out: make a Secret of it, and name it under `clientCertificate` of the registry"),
                ("insecure_skip_verify", _) if value.kind == inventory::Kind::Bool(true) => draft.warn(
                    &at,
                    "`insecure_skip_verify` is left out: certificates are always verified; put its `ca` under the registry",
                ),
                _ => {}
            }
        }
    }
    Ok(())
}

fn entries<'v>(
    file: &File<'_>,
    map: &'v Value,
    key: &str,
) -> Result<impl Iterator<Item = (&'v str, &'v Value)>, ImportError> {
    let is_nothing = map.kind == inventory::Kind::Null;
    if map.as_map().is_none() && !is_nothing {
        return Err(broken(file, map.line, format!("`{key}` is a map")));
    }
    Ok(map.as_map().into_iter().flatten().map(|(key, value)| (&**key, value)))
}

/// The file for `/etc/rancher/k3s` or `/etc/rancher/rke2`.
pub fn registries_yaml(table: &Table) -> Exported {
    let speaks = Speaks { everything: true, exceptions: true, paths: true, refusal: false, wildcards: false };
    let mut rules = NodeRules::of(table, speaks);
    let reached = rules.reached();
    let with_rewrites = rewritable(&rules.rules);
    rules.leave_out_if(
        "a path can be said by `rewrite` alone: only beside a rule for its whole registry whose mirrors are the same \
         registries, without a path, and not below another path",
        |rule| rule.source.contains('/') && !with_rewrites.contains(&rule.line),
    );
    let mut text = format!("# {MADE}\n");
    let hosts: Vec<String> = rules.mirror_hosts().into_iter().map(str::to_owned).collect();
    let whole = rules.rules.iter().chain(&rules.exceptions).filter(|rule| !rule.source.contains('/'));
    let whole: Vec<&NodeRule> = whole.collect();
    let mut mirrors = String::new();
    for rule in &whole {
        let _ = writeln!(mirrors, "  {}:\n    endpoint:", quoted(&rule.source));
        if rule.mirrors.is_empty() {
            let (url, _) = Endpoint::write(&rule.source, reached);
            let _ = writeln!(mirrors, "      - {}", quoted(&url));
        }
        for mirror in &rule.mirrors {
            let (url, _) = Endpoint::write(mirror, reached);
            let _ = writeln!(mirrors, "      - {}", quoted(&url));
        }
        let below = rules
            .rules
            .iter()
            .filter_map(|other| Some((other, other.source.strip_prefix(&*rule.source)?.strip_prefix('/')?)));
        for (number, (other, path)) in below.enumerate() {
            if number == 0 {
                mirrors.push_str("    rewrite:\n");
            }
            let to =
                other.mirrors.first().and_then(|mirror| mirror.split_once('/')).map_or("", |(_, path)| path);
            let escaped = path.replace('.', "\\.");
            let (pattern, to) = if to.is_empty() {
                (format!("^{escaped}/(.*)"), "$1".to_owned())
            } else {
                (format!("^{escaped}(/.*)?$"), format!("{to}$1"))
            };
            let _ = writeln!(mirrors, "      {}: {}", quoted(&pattern), quoted(&to));
        }
    }
    let has_everything = whole.iter().any(|rule| rule.source == "*");
    for host in hosts.iter().filter(|host| whole.iter().all(|rule| rule.source != **host)) {
        if has_everything || reached.is_plain_http(host) {
            let (url, _) = Endpoint::write(host, reached);
            let _ = writeln!(mirrors, "  {}:\n    endpoint:\n      - {}", quoted(host), quoted(&url));
        }
    }
    if mirrors.is_empty() {
        text.push_str("mirrors: {}\n");
    } else {
        let _ = write!(text, "mirrors:\n{mirrors}");
    }
    let with_ca: Vec<_> = hosts.iter().filter(|host| reached.ca(host).is_some()).collect();
    for (number, host) in with_ca.iter().enumerate() {
        if number == 0 {
            text.push_str("configs:\n");
        }
        let path = format!("/etc/rancher/{}.crt", host.replace([':', '[', ']'], "_"));
        let _ = writeln!(text, "  {}:\n    tls:\n      ca_file: {}", quoted(host), quoted(&path));
        rules.warnings_about_ca(host, &path);
    }
    rules.warn_about_logins("`configs` of this file");
    let refused = "a node goes on to the source when no mirror helps, unless k3s or RKE2 is started with \
                   `--disable-default-registry-endpoint`";
    rules.warn(refused.to_owned());
    Exported { text, warnings: rules.into_warnings() }
}

/// The lines of rules with a path that a rewrite can say: all endpoints of a registry share its rewrites, and of two that
/// hold an image k3s takes any.
fn rewritable(rules: &[NodeRule]) -> Vec<usize> {
    let hosts = |rule: &NodeRule| -> Vec<String> {
        rule.mirrors.iter().map(|mirror| mirror.split('/').next().unwrap_or(mirror).to_owned()).collect()
    };
    let path = |mirror: &str| mirror.split_once('/').map(|(_, path)| path.to_owned());
    let fits = |rule: &&NodeRule| {
        let Some((registry, own)) = rule.source.split_once('/') else { return false };
        let Some(whole) = rules.iter().find(|other| other.source == registry) else { return false };
        let first = rule.mirrors.first().and_then(|mirror| path(mirror));
        let same_path = rule.mirrors.iter().all(|mirror| path(mirror) == first);
        let plain = own.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./-_".contains(&byte));
        let alone = rules.iter().all(|other| {
            other.source == rule.source || other.source == registry || {
                !super::text::is_within(&other.source, &rule.source)
                    && !super::text::is_within(&rule.source, &other.source)
            }
        });
        let pathless = whole.mirrors.iter().all(|mirror| path(mirror).is_none());
        plain
            && alone
            && same_path
            && pathless
            && hosts(rule) == hosts(whole)
            && rule.otherwise == whole.otherwise
    };
    rules.iter().filter(fits).map(|rule| rule.line).collect()
}

const LOGIN: &str = "the login is left out: make a Secret of it (kubernetes.io/dockerconfigjson) in Portolan's namespace, and name it under `credentials` of the registry";
