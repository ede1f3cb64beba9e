//! The configuration of k8s-image-swapper: everything goes to one registry, below the name of its own.
//!
//! Filters say which Pods and images are left alone. Those that go by the namespace can be said; others are warned of.

use super::{
    draft::{At, Draft, DraftRule, Otherwise},
    import::{File, ImportError, Kind},
    text::{broken, different, yaml_map},
};
use crate::inventory::{self, Value};

/// Reads one file, or several of which each is whole.
pub(super) fn read(files: &[File<'_>], draft: &mut Draft) -> Result<(), ImportError> {
    for file in files {
        match yaml_map(file, Kind::K8sImageSwapper)? {
            Some(map) if is_one(&map) => read_map(file, &map, draft)?,
            _ => return Err(different(file, Kind::K8sImageSwapper, "it has no `target` with a registry")),
        }
    }
    Ok(())
}

/// Whether this is such a file, by its keys.
pub(super) fn is_one(map: &Value) -> bool {
    map.get("kind").is_none() && map.get("target").is_some_and(|target| target.as_map().is_some())
}

fn read_map(file: &File<'_>, map: &Value, draft: &mut Draft) -> Result<(), ImportError> {
    let at = At::new(file, map.get("target").map(|target| target.line), "target");
    let registry = registry(file, map)?;
    let word = |key: &str| map.get(key).and_then(Value::as_text);
    let line = |key: &str| map.get(key).map(|value| value.line);
    let otherwise = match word("imageSwapPolicy") {
        None | Some("exists") => Otherwise::Source,
        Some("always") => Otherwise::Nothing,
        Some(_) => {
            return Err(broken(file, line("imageSwapPolicy"), "`imageSwapPolicy` is `always` or `exists`"));
        }
    };
    match word("imageCopyPolicy") {
        Some("none") => {}
        None | Some("delayed" | "immediate" | "force") => draft.warn(
            &At::new(file, line("imageCopyPolicy"), "imageCopyPolicy"),
            "nothing is copied when a Pod is made: bring images over before (`portolan save`)",
        ),
        Some(_) => {
            let message = "`imageCopyPolicy` is `delayed`, `immediate`, `force` or `none`";
            return Err(broken(file, line("imageCopyPolicy"), message));
        }
    }
    if map.get("dryRun").is_some_and(|value| value.kind == inventory::Kind::Bool(true)) {
        let text = "a table has no dry run: label namespaces `portolan.dev/rewrite: audit`, or serve with `--mode audit`";
        draft.warn(&At::new(file, line("dryRun"), "dryRun"), text);
    }
    for keys in [&["source", "registries"][..], &["source", "privateRegistries"]] {
        if let Some(value) = map.at(keys) {
            let text = "left out: logins to sources are for copying images, which a table does not do";
            draft.warn(&At::new(file, value.line, keys.join(".")), text);
        }
    }
    let rule = |source: &str, namespaces: Vec<String>, mirrors: Vec<String>| DraftRule {
        at: at.clone(),
        source: source.to_owned(),
        mirrors,
        namespaces,
        otherwise,
    };
    let mut only: Option<Vec<String>> = None;
    let mut never = Vec::new();
    let filters = map.at(&["source", "filters"]).filter(|list| list.kind != inventory::Kind::Null);
    let filters = match filters {
        Some(list) => list.as_list().ok_or_else(|| broken(file, list.line, "`filters` is a list"))?,
        None => &[],
    };
    for filter in filters {
        let Some(expression) = filter.get("jmespath").and_then(Value::as_text) else {
            return Err(broken(file, filter.line, "a filter has no `jmespath`, which is a text"));
        };
        let at = At::new(file, filter.line, expression);
        match Filter::read(expression) {
            Some(Filter::Never(patterns)) => never.extend(patterns),
            Some(Filter::Only(patterns)) if only.is_none() => only = Some(patterns),
            Some(Filter::Registry(registry)) => draft.kept(at, registry),
            _ => draft.warn(
                &at,
                "left out: a table knows namespaces by name and `*`, and registries; label Pods or namespaces \
                 `portolan.dev/rewrite: disabled` that are to be left alone",
            ),
        }
    }
    if !never.is_empty() {
        draft.rule(rule("*", never, Vec::new()));
    }
    let mirrors = vec![format!("{registry}/{{registry}}")];
    draft.rule(rule("*", only.unwrap_or_default(), mirrors));
    Ok(())
}

/// Where images go to.
fn registry(file: &File<'_>, map: &Value) -> Result<String, ImportError> {
    let target = map.get("target");
    let kind = target.and_then(|target| target.get("type")).and_then(Value::as_text).unwrap_or("aws");
    let text = |keys: &[&str]| {
        let found = target.and_then(|target| target.at(keys)).and_then(|value| match &value.kind {
            inventory::Kind::Text(text) | inventory::Kind::Number(text) => Some(text.to_string()),
            _ => None,
        });
        let line = target.map(|target| target.line);
        found
            .filter(|text| !text.is_empty())
            .ok_or_else(|| broken(file, line, format!("`target` has no `{}`", keys.join("."))))
    };
    Ok(match kind.to_ascii_lowercase().as_str() {
        "aws" => {
            let region = text(&["aws", "region"])?;
            let end = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("{}.dkr.ecr.{region}.amazonaws.com{end}", text(&["aws", "accountId"])?)
        }
        "gcp" => {
            let (location, project) = (text(&["gcp", "location"])?, text(&["gcp", "projectId"])?);
            format!("{location}-docker.pkg.dev/{project}/{}", text(&["gcp", "repositoryId"])?)
        }
        "generic" => text(&["generic", "repository"])?.trim_end_matches('/').to_owned(),
        other => {
            return Err(broken(
                file,
                target.map(|target| target.line),
                format!("`{other}` is no type of target that is known here"),
            ));
        }
    })
}

/// What an expression is true for, and images are therefore left alone.
#[derive(Debug, Eq, PartialEq)]
enum Filter {
    /// In these namespaces.
    Never(Vec<String>),
    /// In all namespaces but these.
    Only(Vec<String>),
    /// From this registry.
    Registry(String),
}

impl Filter {
    fn read(expression: &str) -> Option<Self> {
        if expression.contains("||") && !expression.contains("&&") {
            let mut patterns = Vec::new();
            for part in expression.split("||") {
                match Self::read(part)? {
                    Self::Never(more) => patterns.extend(more),
                    _ => return None,
                }
            }
            return Some(Self::Never(patterns));
        }
        let compact: String = expression.chars().filter(|character| !character.is_whitespace()).collect();
        let name = |text: &str| {
            let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
            let is_name = inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:/".contains(&byte));
            (is_name && !inner.is_empty()).then(|| inner.to_owned())
        };
        if let Some(text) = compact.strip_prefix("obj.metadata.namespace==") {
            return Some(Self::Never(vec![name(text)?]));
        }
        if let Some(text) = compact.strip_prefix("obj.metadata.namespace!=") {
            return Some(Self::Only(vec![name(text)?]));
        }
        let (is_negated, call) = match compact.strip_prefix('!') {
            Some(call) => (true, call),
            None => (false, &*compact),
        };
        let argument = |function: &str| name(call.strip_prefix(function)?.strip_suffix(')')?);
        let pattern = argument("ends_with(obj.metadata.namespace,")
            .map(|text| format!("*{text}"))
            .or_else(|| argument("starts_with(obj.metadata.namespace,").map(|text| format!("{text}*")))
            .or_else(|| argument("contains(obj.metadata.namespace,").map(|text| format!("*{text}*")));
        if let Some(pattern) = pattern {
            let patterns = vec![pattern];
            return Some(if is_negated { Self::Only(patterns) } else { Self::Never(patterns) });
        }
        let start = argument("starts_with(container.image,").filter(|_| !is_negated)?;
        let registry = start.strip_suffix('/')?;
        registry.contains('.').then(|| Self::Registry(registry.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_by_namespace_and_registry_are_understood() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (expression, expected) in [
            ("obj.metadata.namespace == 'kube-system'", Some(Filter::Never(names(&["kube-system"])))),
            ("obj.metadata.namespace != 'playground'", Some(Filter::Only(names(&["playground"])))),
            ("ends_with(obj.metadata.namespace,'-dev')", Some(Filter::Never(names(&["*-dev"])))),
            ("!starts_with(obj.metadata.namespace, 'team-')", Some(Filter::Only(names(&["team-*"])))),
            (
                "obj.metadata.namespace == 'a' || contains(obj.metadata.namespace, 'b')",
                Some(Filter::Never(names(&["a", "*b*"]))),
            ),
            ("starts_with(container.image, 'quay.io/')", Some(Filter::Registry("quay.io".to_owned()))),
            ("!starts_with(container.image, 'quay.io/')", None),
            ("contains(container.image, '.dkr.ecr.')", None),
            ("obj.metadata.namespace == 'a' && obj.metadata.name == 'b'", None),
            ("obj.metadata.namespace == `a`", None),
            ("obj.metadata.name == 'a'", None),
            ("obj.metadata.namespace == '*'", None),
            ("", None),
        ] {
            assert_eq!(Filter::read(expression), expected, "{expression}");
        }
    }
}
