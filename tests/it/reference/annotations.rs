//! The page about annotations and labels: every name that a constant of the code spells, with what its comment says.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use portolan::{
    admission::AUDIT_KEY,
    review::{REWRITE, SOURCES},
};
use serde_json::Value;

use super::{compare, root};
use crate::support::{
    review::pod,
    webhook::{table, with_table},
};

#[tokio::test]
async fn the_page_about_annotations_has_every_name() {
    let mut names = BTreeMap::new();
    constants(&root().join("src"), &mut names);
    for known in [AUDIT_KEY, REWRITE, SOURCES, portolan::lock::LABEL] {
        assert!(names.contains_key(known), "{known}");
    }
    let mut page = "# Annotations and labels\n\nWhat Portolan reads from objects and writes on them.\n\n| name | meaning \
                    |\n|---|---|\n"
        .to_owned();
    for (name, about) in &names {
        assert!(!about.is_empty(), "the constant of `{name}` has no comment");
        let is_prefix = if name.ends_with('-') { "…" } else { "" };
        writeln!(page, "| `{name}{is_prefix}` | {} |", about.trim_end_matches('.')).unwrap();
    }

    // What is shown was made by the webhook.
    let digest = format!("sha256:{}", "a".repeat(64));
    let rules = ["{source: docker.io, mirrors: [registry.example.com/hub]}"];
    let webhook = with_table(table(&rules, &[]))
        .locked(format!("registry.example.com/hub/library/nginx:1.25 {digest}"))
        .start();
    let answered = webhook.mutate(&pod().image("nginx:1.25").create().0).await;
    write!(
        page,
        "\n## `{SOURCES}`\n\n\
         Its value is JSON: an object with an entry for each image that Portolan changed, under `containers/NAME`,\n\
         `initContainers/NAME` or `volumes/NAME`.\n\n```json\n{}\n```\n\n\
         | key | meaning |\n|---|---|\n\
         | `written` | the image as the Pod had it |\n\
         | `image` | what it was replaced by |\n\
         | `reason` | only of an image that was rewritten without a digest though `pin` is on: why, a word of \
         [reasons.md](reasons.md) |\n",
        pretty(&answered.sources())
    )
    .unwrap();
    write!(
        page,
        "\n## `{AUDIT_KEY}…`\n\n\
         In the API server's audit log, under `annotations`; its value is JSON.\n\n```json\n{}\n```\n\n\
         | key | meaning |\n|---|---|\n\
         | `field` | which image of the Pod |\n\
         | `image` | what it was replaced by; null if it was denied |\n\
         | `reason` | a word of [reasons.md](reasons.md) |\n\
         | `written` | the image as the Pod had it |\n",
        pretty(&answered.audited())
    )
    .unwrap();
    compare("annotations.md", &page);
}

fn pretty(value: &Value) -> String {
    assert!(!value.is_null());
    serde_json::to_string_pretty(value).unwrap()
}

/// Every constant under a folder that names an annotation or a label, and its comment on one line.
fn constants(folder: &Path, names: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            constants(&path, names);
            continue;
        }
        let mut comment = Vec::new();
        for line in fs::read_to_string(&path).unwrap().lines().map(str::trim) {
            match (line.strip_prefix("/// "), line.split_once("const ")) {
                (Some(text), _) => comment.push(text.to_owned()),
                (None, Some((_, rest))) => {
                    let value =
                        rest.split_once(": &str = \"").and_then(|(_, value)| value.strip_suffix("\";"));
                    if let Some(name) = value.filter(|value| is_name(value)) {
                        // Of a name that is spelled in two rooms the fuller comment counts.
                        let about = names.entry(name.to_owned()).or_default();
                        let fuller = comment.join(" ");
                        if fuller.len() > about.len() {
                            *about = fuller;
                        }
                    }
                    comment.clear();
                }
                (None, None) if line.starts_with("//") => {}
                (None, None) => comment.clear(),
            }
        }
    }
}

/// A selector has a value, an API version is no name of ours.
fn is_name(value: &str) -> bool {
    let after = value.strip_prefix("portolan.dev/").or_else(|| value.strip_prefix("kubernetes.io/"));
    value == AUDIT_KEY || after.is_some_and(|name| !name.contains('=') && name != "v1")
}
