//! Kubespray's `offline.yml`: one variable for each registry, usually all of the same template.

use std::collections::BTreeMap;

use super::{
    draft::{At, Draft, Otherwise},
    import::{File, ImportError, Kind},
    text::{different, yaml_map},
};
use crate::inventory::{self, Value};

/// Reads files whose variables go together; of one that is set twice the last value counts.
pub(super) fn read(files: &[File<'_>], draft: &mut Draft) -> Result<(), ImportError> {
    let mut variables = BTreeMap::new();
    for file in files {
        if !is_one(file) {
            let why = "it has no variable of a registry, such as `registry_host` or `kube_image_repo`";
            return Err(different(file, Kind::Kubespray, why));
        }
        let Some(map) = yaml_map(file, Kind::Kubespray)? else { continue };
        for (key, value) in map.as_map().into_iter().flatten() {
            let text = match &value.kind {
                inventory::Kind::Text(text) | inventory::Kind::Number(text) => text.to_string(),
                _ => {
                    tell_containerd(file, key, value, draft);
                    continue;
                }
            };
            variables.insert(key.to_string(), (At::new(file, value.line, &**key), text));
        }
    }
    let mut is_set = false;
    for (key, source) in REGISTRIES {
        let Some((at, text)) = variables.get(key) else { continue };
        is_set = true;
        match filled(text, &variables, 0) {
            Ok(value) if value == source => {}
            Ok(value) => {
                let mirror = value.trim_end_matches('/').to_owned();
                draft.moved(at.clone(), source, vec![mirror], Otherwise::Nothing);
            }
            Err(why) => draft.warn(at, format_args!("left out: {why}")),
        }
    }
    for (key, (at, _)) in &variables {
        if key.ends_with("_image_repo") && REGISTRIES.iter().all(|(known, _)| known != key) {
            draft.warn(
                at,
                "left out: it is of one image, whose source is in Kubespray's defaults: write a rule for it",
            );
        }
    }
    if !is_set {
        for file in files {
            let keys: Vec<_> = REGISTRIES.iter().map(|(key, _)| *key).collect();
            draft.warn(
                &At::new(file, None, ""),
                format_args!("none of {} is set: remove the `#` before them", keys.join(", ")),
            );
        }
    }
    Ok(())
}

/// Whether a file has one of the variables, if only in a comment.
pub(super) fn is_one(file: &File<'_>) -> bool {
    let variable = |line: &str| {
        let line = line.trim_start_matches(['#', ' ']);
        let (key, _) = line.split_once(':').unwrap_or(("", ""));
        key == "registry_host" || REGISTRIES.iter().any(|(known, _)| *known == key)
    };
    file.text.lines().any(variable)
}

fn tell_containerd(file: &File<'_>, key: &str, value: &Value, draft: &mut Draft) {
    if key.starts_with("containerd_registries") {
        let at = At::new(file, value.line, key);
        draft.warn(&at, "left out: import the `hosts.toml` files that Kubespray makes of it on a node");
    }
}

/// A text with what its templates stand for.
fn filled(text: &str, variables: &BTreeMap<String, (At, String)>, depth: usize) -> Result<String, String> {
    let mut filled_text = String::new();
    let mut rest = text;
    while let Some((before, template)) = rest.split_once("{{") {
        let Some((name, behind)) = template.split_once("}}") else {
            return Err("its template has no end".to_owned());
        };
        let name = name.trim();
        let value = match variables.get(name) {
            Some((_, value)) if depth < DEEPEST => filled(value, variables, depth + 1)?,
            Some(_) => return Err(format!("`{name}` stands for itself")),
            None => return Err(format!("nothing says what `{name}` is: add the file that sets it")),
        };
        filled_text.push_str(before);
        filled_text.push_str(&value);
        if filled_text.len() > LONGEST {
            return Err("its templates stand for too much".to_owned());
        }
        rest = behind;
    }
    filled_text.push_str(rest);
    Ok(filled_text)
}

/// What Kubespray calls the registries that its images are from.
const REGISTRIES: [(&str, &str); 5] = [
    ("docker_image_repo", "docker.io"),
    ("gcr_image_repo", "gcr.io"),
    ("github_image_repo", "ghcr.io"),
    ("kube_image_repo", "registry.k8s.io"),
    ("quay_image_repo", "quay.io"),
];

/// How deep variables may stand for others.
const DEEPEST: usize = 8;

/// No reference is longer.
const LONGEST: usize = 4096;
