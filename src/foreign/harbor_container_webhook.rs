//! The configuration of harbor-container-webhook: rules by regular expressions, the first that matches and does not
//! exclude an image replaces its registry.
//!
//! Expressions that only say how a reference begins can be said by sources. For each such beginning the rules are gone
//! through as the webhook does, so that what an earlier rule takes is not left to a longer source of a later one.

use std::collections::BTreeSet;

use super::{
    draft::{At, Draft, Otherwise},
    import::{File, ImportError, Kind},
    pattern::{End, Pattern},
    text::{broken, different, is_within, yaml_map},
};
use crate::inventory::{self, Value};

/// Reads files, the rules of one behind those of the other.
pub(super) fn read(files: &[File<'_>], draft: &mut Draft) -> Result<(), ImportError> {
    let mut rules = Vec::new();
    for file in files {
        let map = yaml_map(file, Kind::HarborContainerWebhook)?;
        let Some(map) = map.as_ref().filter(|map| map.get("rules").is_some()) else {
            return Err(different(file, Kind::HarborContainerWebhook, "it has no `rules`"));
        };
        if map.get("kind").is_some() {
            return Err(different(file, Kind::HarborContainerWebhook, "it is an object of Kubernetes"));
        }
        let list = map.get("rules").filter(|list| list.kind != inventory::Kind::Null);
        let Some(list) = list else { continue };
        let items = list.as_list().ok_or_else(|| broken(file, list.line, "`rules` is a list"))?;
        for item in items {
            rules.push(read_rule(file, item, draft)?);
        }
    }
    let beginnings: BTreeSet<&str> =
        rules.iter().flat_map(|rule| rule.matches.iter().chain(&rule.excludes)).map(String::as_str).collect();
    for beginning in beginnings {
        add(&rules, beginning, draft);
    }
    Ok(())
}

/// Whether this is such a file, by its keys.
pub(super) fn is_one(map: &Value) -> bool {
    let rules = map.get("rules").and_then(Value::as_list).unwrap_or_default();
    map.get("kind").is_none()
        && !rules.is_empty()
        && rules.iter().all(|rule| rule.get("matches").is_some() && rule.get("replace").is_some())
}

/// A rule, with beginnings of references as a table's sources have them.
struct Rule {
    at: At,
    matches: Vec<String>,
    excludes: Vec<String>,
    replace: String,
    is_checked: bool,
}

fn read_rule(file: &File<'_>, item: &Value, draft: &mut Draft) -> Result<Rule, ImportError> {
    let name = item.get("name").and_then(Value::as_text).unwrap_or("rules");
    let at = At::new(file, item.line, name);
    let Some(replace) = item.get("replace").and_then(Value::as_text) else {
        return Err(broken(file, item.line, "a rule has no `replace`, which is a text"));
    };
    let mut rule = Rule {
        at,
        matches: beginnings(file, item, "matches", draft)?,
        excludes: beginnings(file, item, "excludes", draft)?,
        replace: replace.trim_end_matches('/').to_owned(),
        is_checked: item.get("checkUpstream").is_some_and(|value| value.kind == inventory::Kind::Bool(true)),
    };
    rule.matches.sort_unstable();
    if item.get("authSecretName").and_then(Value::as_text).is_some_and(|name| !name.is_empty()) {
        draft.warn(
            &rule.at,
            "`authSecretName` is left out: bring the Secret into Portolan's namespace, and name it under `credentials` of \
             the registry",
        );
    }
    if item.get("platforms").is_some() {
        draft.warn(
            &rule.at,
            "`platforms` are left out: an image counts as being there whatever platforms it has",
        );
    }
    Ok(rule)
}

/// The sources that stand for the expressions under a key.
fn beginnings(
    file: &File<'_>,
    item: &Value,
    key: &str,
    draft: &mut Draft,
) -> Result<Vec<String>, ImportError> {
    let Some(list) = item.get(key).filter(|list| list.kind != inventory::Kind::Null) else {
        return Ok(Vec::new());
    };
    let items = list.as_list().ok_or_else(|| broken(file, list.line, format!("`{key}` is a list")))?;
    let mut all = Vec::new();
    for item in items {
        let Some(text) = item.as_text() else {
            return Err(broken(file, item.line, format!("`{key}` is a list of texts")));
        };
        let at = At::new(file, item.line, text);
        if [".*", "^.*", "^.*$", "^", ""].contains(&text) {
            all.push("*".to_owned());
            continue;
        }
        let Some(pattern) = Pattern::read(text) else {
            draft.warn(&at, "left out: a table knows no regular expressions, and this one says more than how a reference begins");
            continue;
        };
        for beginning in &pattern.beginnings {
            match source(beginning, pattern.end) {
                Some((source, _)) if source.is_empty() => {}
                Some((source, None)) => all.push(source),
                Some((source, Some(doubt))) => {
                    draft.warn(&at, format_args!("becomes `{source}`{doubt}"));
                    all.push(source);
                }
                None => draft.warn(
                    &at,
                    format_args!("left out: a table has no source that begins with `{beginning}`"),
                ),
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// The source for references that begin so, which is empty if there are none, and what of it is not quite the same.
fn source(beginning: &str, end: End) -> Option<(String, Option<&'static str>)> {
    if end == End::Nothing {
        return None;
    }
    if let Some(whole) = beginning.strip_suffix('/').filter(|whole| !whole.is_empty()) {
        return Some((whole.to_owned(), None));
    }
    let Some((_, path)) = beginning.split_once('/') else {
        return (!beginning.is_empty()).then(|| (beginning.to_owned(), None));
    };
    if let Some(repository) = beginning.strip_suffix(':').filter(|_| !path.is_empty()) {
        // References have a tag once they are normalised, and official images their `library/`.
        let known = !repository.starts_with("docker.io/") || repository.matches('/').count() > 1;
        return known.then(|| (repository.to_owned(), None)).or_else(|| Some((String::new(), None)));
    }
    if path.contains([':', '@']) {
        return None;
    }
    Some((
        beginning.to_owned(),
        Some(", which ends with a whole segment: the expression also holds paths that go on in it"),
    ))
}

fn add(rules: &[Rule], beginning: &str, draft: &mut Draft) {
    let holds = |all: &[String]| all.iter().any(|one| one == "*" || is_within(beginning, one));
    let mut mirrors = Vec::new();
    let mut first: Option<&Rule> = None;
    let mut is_sure = false;
    for rule in rules.iter().filter(|rule| holds(&rule.matches) && !holds(&rule.excludes)) {
        let path = beginning.split_once('/').map(|(_, path)| path);
        mirrors.push(match path {
            Some(path) => format!("{}/{path}", rule.replace),
            None => rule.replace.clone(),
        });
        first.get_or_insert(rule);
        if !rule.is_checked {
            is_sure = true;
            break;
        }
    }
    if let Some(rule) = first {
        let otherwise = if is_sure { Otherwise::Nothing } else { Otherwise::Source };
        return draft.moved(rule.at.clone(), beginning, mirrors, otherwise);
    }
    let excludes = |rule: &&Rule| rule.excludes.iter().any(|one| one == beginning);
    if let Some(rule) = rules.iter().find(excludes) {
        draft.kept(rule.at.clone(), beginning);
    }
}
