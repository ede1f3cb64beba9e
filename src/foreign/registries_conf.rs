//! `containers-registries.conf(5)`, version 2: what CRI-O, podman and skopeo go by.
//!
//! Of the entries whose prefix holds an image the longest wins. Its mirrors are asked in order, then its location; one
//! without mirrors leaves images where its location says.

use std::fmt::Write as _;

use super::{
    Exported, MADE,
    draft::{At, Draft, Otherwise},
    import::{File, ImportError, Kind},
    node_rules::{NodeRules, Speaks},
    text::{Section, Toml, broken, different, quoted},
};
use crate::table::Table;

/// Reads files as they follow each other: of a later one (in `registries.conf.d`) an entry replaces that of an equal prefix.
pub(super) fn read(files: &[File<'_>], draft: &mut Draft) -> Result<(), ImportError> {
    let mut entries: Vec<Entry> = Vec::new();
    for file in files {
        let toml = Toml::read(file)?;
        let own = read_file(file, toml.root(), draft)?;
        for entry in &own {
            if let Some(place) = entries.iter().position(|earlier| earlier.prefix == entry.prefix) {
                let earlier = entries.remove(place);
                draft.warn(&earlier.at, format_args!("{} replaces it", entry.at));
            }
        }
        entries.extend(own);
    }
    for entry in &entries {
        entry.add(draft);
    }
    Ok(())
}

/// Whether this is such a file, by its keys.
pub(super) fn is_one(root: Section<'_>) -> bool {
    KEYS.iter().chain(&["registries"]).any(|key| root.has(key))
}

/// An entry of `[[registry]]`.
struct Entry {
    at: At,
    prefix: String,
    /// Where images are if no mirror has them; empty: where they are written to be.
    location: String,
    mirrors: Vec<Place>,
    is_insecure: bool,
    is_blocked: bool,
}

struct Place {
    location: String,
    is_insecure: bool,
}

fn read_file(file: &File<'_>, root: Section<'_>, draft: &mut Draft) -> Result<Vec<Entry>, ImportError> {
    let about = |key: &str| At::new(file, root.line_of(key), key);
    let old = root.section("registries").ok().flatten();
    if old.is_some_and(|old| ["search", "insecure", "block"].iter().any(|key| old.has(key))) {
        let message =
            "this is version 1 of the format, which no tool mixes with mirrors: write `[[registry]]` tables";
        return Err(broken(file, root.line_of("registries"), message));
    }
    if !is_one(root) && root.keys().next().is_some() {
        let keys: Vec<_> = root.keys().map(|(key, _)| format!("`{key}`")).take(5).collect();
        return Err(different(file, Kind::RegistriesConf, format!("its keys are {}", keys.join(", "))));
    }
    for (key, line) in root.keys() {
        let text = match key {
            "registry" | "short-name-mode" => continue,
            "unqualified-search-registries" => {
                let registries = root.texts(key)?.unwrap_or_default();
                if registries.iter().all(|registry| *registry == "docker.io") {
                    continue;
                }
                "left out: a name without a registry is of docker.io, as for containerd and the kubelet"
            }
            "aliases" => "left out: a table knows no short names but those of docker.io",
            "credential-helpers" | "additional-layer-store-auth-helper" => {
                "left out: a login is a Secret that `credentials` of a registry names"
            }
            _ => "left out: the key is not known here",
        };
        draft.warn(&At::new(file, line, key), text);
    }
    let mut entries: Vec<Entry> = Vec::new();
    for (section, line) in root.sections("registry")? {
        let entry = read_entry(file, section, line, draft)?;
        if let Some(earlier) = entries.iter().find(|earlier| earlier.prefix == entry.prefix) {
            let text = format!("left out: {} has the same prefix and goes before it", earlier.at);
            draft.warn(&entry.at, text);
        } else {
            entries.push(entry);
        }
    }
    if entries.is_empty() {
        draft.warn(&about("registry"), "it has no `[[registry]]`");
    }
    Ok(entries)
}

fn read_entry(
    file: &File<'_>,
    section: Section<'_>,
    line: usize,
    draft: &mut Draft,
) -> Result<Entry, ImportError> {
    let place = |section: Section<'_>, key: &str, line: usize| -> Result<String, ImportError> {
        let text = section.text(key)?.unwrap_or_default();
        if text.contains("://") {
            return Err(broken(
                file,
                section.line_of(key).unwrap_or(line),
                format!("`{key}` has a scheme: `{text}`"),
            ));
        }
        Ok(text.trim_end_matches('/').to_owned())
    };
    let location = place(section, "location", line)?;
    let prefix = match place(section, "prefix", line)? {
        prefix if prefix.is_empty() => location.clone(),
        prefix => prefix,
    };
    if prefix.is_empty() {
        return Err(broken(file, line, "it has neither `prefix` nor `location`"));
    }
    if location.is_empty() && !prefix.starts_with("*.") {
        return Err(broken(file, line, "it has no `location`, and its `prefix` does not begin with `*.`"));
    }
    let at = At::new(file, line, &*prefix);
    let by_digest = section.switch("mirror-by-digest-only")?.unwrap_or(false);
    let mut mirrors = Vec::new();
    for (mirror, line) in section.sections("mirror")? {
        let location = place(mirror, "location", line)?;
        if location.is_empty() {
            return Err(broken(file, line, "a mirror has no `location`"));
        }
        let at = At::new(file, line, &*location);
        match mirror.text("pull-from-mirror")? {
            None | Some("" | "all") => {}
            Some(_) if by_digest => {
                let message = "`mirror-by-digest-only` and `pull-from-mirror` exclude each other";
                return Err(broken(file, line, message));
            }
            Some("digest-only") => draft.warn(&at, ONLY_DIGESTS),
            Some("tag-only") => draft.warn(&at, ONLY_TAGS),
            Some(_) => {
                let message = "`pull-from-mirror` is `all`, `digest-only` or `tag-only`";
                return Err(broken(file, line, message));
            }
        }
        unknown(file, mirror, &["location", "insecure", "pull-from-mirror"], draft);
        mirrors.push(Place { location, is_insecure: mirror.switch("insecure")?.unwrap_or(false) });
    }
    if by_digest && !mirrors.is_empty() {
        draft.warn(&at, ONLY_DIGESTS);
    }
    let known = ["prefix", "location", "insecure", "blocked", "mirror", "mirror-by-digest-only"];
    unknown(file, section, &known, draft);
    Ok(Entry {
        at,
        prefix,
        location,
        mirrors,
        is_insecure: section.switch("insecure")?.unwrap_or(false),
        is_blocked: section.switch("blocked")?.unwrap_or(false),
    })
}

fn unknown(file: &File<'_>, section: Section<'_>, known: &[&str], draft: &mut Draft) {
    for (key, line) in section.keys().filter(|(key, _)| !known.contains(key)) {
        draft.warn(&At::new(file, line, key), "left out: the key is not known here");
    }
}

impl Entry {
    fn add(&self, draft: &mut Draft) {
        let path = self.prefix.split_once('/').map_or("", |(_, path)| path);
        if path.contains([':', '@']) {
            draft.warn(&self.at, "left out: a prefix with a tag or a digest holds no image that is pulled");
            return;
        }
        if self.prefix.starts_with("*.") && self.prefix.contains('/') {
            draft.warn(&self.at, "left out: a table knows no wildcard with a path");
            return;
        }
        let is_moved = !self.location.is_empty() && self.location != self.prefix;
        let mut places: Vec<&Place> = self.mirrors.iter().collect();
        let own = Place { location: self.location.clone(), is_insecure: self.is_insecure };
        if is_moved {
            places.push(&own);
        }
        let at_home = places.iter().position(|place| place.location == self.prefix);
        if at_home.is_some_and(|end| end + 1 < places.len()) {
            draft.warn(&self.at, "mirrors behind the source itself are left out: the source is asked last");
        }
        places.truncate(at_home.unwrap_or(places.len()));
        for place in places.iter().filter(|place| place.is_insecure) {
            self.tell_insecure(&place.location, draft);
        }
        if places.is_empty() {
            if self.is_blocked {
                draft.warn(&self.at, "`blocked` without mirrors refuses images, and a table cannot: see `export validating-admission-policy`");
            }
            if self.is_insecure {
                self.tell_insecure(&self.prefix, draft);
            }
            return draft.kept(self.at.clone(), &*self.prefix);
        }
        let otherwise = if (self.is_blocked || is_moved) && at_home.is_none() {
            Otherwise::Nothing
        } else {
            Otherwise::Source
        };
        let mirrors = places.iter().map(|place| place.location.clone()).collect();
        draft.moved(self.at.clone(), &*self.prefix, mirrors, otherwise);
    }

    /// Without TLS, or with TLS that is not verified: which of them nobody says.
    fn tell_insecure(&self, location: &str, draft: &mut Draft) {
        let host = location.split('/').next().unwrap_or(location);
        draft.plain_http(host);
        if !self.mirrors.is_empty() || self.location != self.prefix {
            draft.warn(
                &self.at,
                format_args!(
                    "`insecure` of `{host}` is taken for HTTP without TLS: if it speaks TLS, put its `ca` in the place of \
                     `plainHttp`, since certificates are always verified"
                ),
            );
        }
    }
}

/// The file for `/etc/containers/registries.conf.d`.
pub fn registries_conf(table: &Table) -> Exported {
    let speaks = Speaks { everything: false, exceptions: true, paths: true, refusal: true, wildcards: true };
    let mut rules = NodeRules::of(table, speaks);
    let reached = rules.reached();
    let mut text = format!("# {MADE}\n");
    for rule in &rules.rules {
        let source = &rule.source;
        let _ = writeln!(text, "\n[[registry]]\nprefix = {}", quoted(source));
        if !source.starts_with('*') {
            let _ = writeln!(text, "location = {}", quoted(source));
        }
        if rule.otherwise == Otherwise::Nothing {
            let _ = writeln!(text, "blocked = true");
        }
        for mirror in &rule.mirrors {
            let _ = writeln!(text, "\n[[registry.mirror]]\nlocation = {}", quoted(mirror));
            if reached.is_plain_http(mirror.split('/').next().unwrap_or(mirror)) {
                let _ = writeln!(text, "insecure = true");
            }
        }
    }
    let hosts: Vec<String> = rules.mirror_hosts().into_iter().map(str::to_owned).collect();
    // A wildcard would hold the mirrors' own registries, too; and what is in them has to be pulled from them.
    for host in &hosts {
        let is_held = rules.rules.iter().any(|rule| {
            let suffix = rule.source.strip_prefix('*');
            let bare = host.rsplit_once(':').map_or(host.as_str(), |(bare, _)| bare);
            suffix.is_some_and(|suffix| host.ends_with(suffix) || bare.ends_with(suffix))
        });
        let is_plain_http = reached.is_plain_http(host);
        if is_held || is_plain_http {
            let _ = writeln!(text, "\n[[registry]]\nprefix = {0}\nlocation = {0}", quoted(host));
            if is_plain_http {
                let _ = writeln!(text, "insecure = true");
            }
        }
    }
    for exception in &rules.exceptions {
        let source = quoted(&exception.source);
        let _ = writeln!(text, "\n[[registry]]\nprefix = {source}");
        if !exception.source.starts_with('*') {
            let _ = writeln!(text, "location = {source}");
        }
    }
    for host in &hosts {
        if reached.is_plain_http(host) {
            rules.warn(format!(
                "`plainHttp` of `{host}` becomes `insecure`, which takes TLS without a certificate, too"
            ));
        }
        if reached.ca(host).is_some() {
            rules.warn(format!(
                "`ca` of `{host}` goes into a file of its own: /etc/containers/certs.d/{host}/ca.crt"
            ));
        }
    }
    if rules.rules.iter().any(|rule| rule.source.starts_with('*') && !rule.source.contains(':')) {
        rules.warn(
            "a wildcard without a port holds no registry with one there: name it beside the wildcard"
                .to_owned(),
        );
    }
    rules.warn_about_logins("the login that CRI-O reads (`global_auth_file`)");
    Exported { text, warnings: rules.into_warnings() }
}

const KEYS: [&str; 6] = [
    "registry",
    "unqualified-search-registries",
    "short-name-mode",
    "aliases",
    "credential-helpers",
    "additional-layer-store-auth-helper",
];

const ONLY_DIGESTS: &str = "holds for images with a digest alone; in a table it holds for tags, too";
const ONLY_TAGS: &str = "holds for images with a tag alone; in a table it holds for digests, too";
