//! `OpenShift`'s mirror sets: `ImageContentSourcePolicy`, `ImageDigestMirrorSet` and `ImageTagMirrorSet`.
//!
//! What several objects say of one source is merged as the machine-config operator does it: each object's mirrors keep
//! their order. It makes `registries.conf` of them, so that the longest source wins there, too.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    Exported, MADE,
    draft::{At, Draft, Otherwise},
    import::{File, ImportError, Kind},
    node_rules::{NodeRules, Speaks},
    text::{broken, different, quoted, yaml_maps},
};
use crate::{inventory::Value, table::Table};

/// Reads the objects of these kinds.
pub(super) fn read(kinds: &[Kind], files: &[File<'_>], draft: &mut Draft) -> Result<(), ImportError> {
    let mut sources: BTreeMap<String, Source> = BTreeMap::new();
    for file in files {
        let mut found = false;
        for object in yaml_maps(file, kinds.first().copied().unwrap_or(Kind::Idms))? {
            let Some(object_kind) = object.get("kind").and_then(Value::as_text) else { continue };
            let Some(form) = Form::of(object_kind) else { continue };
            let name = object.at(&["metadata", "name"]).and_then(Value::as_text).unwrap_or("?");
            let at = At::new(file, object.line, format!("{object_kind} {name}"));
            if !kinds.contains(&form.kind) {
                let kind = form.kind;
                draft
                    .warn(&at, format_args!("left out: it is of kind `{kind}`; without a kind all are read"));
                continue;
            }
            found = true;
            read_object(file, &object, form, name, &mut sources, draft)?;
        }
        if !found {
            let kind = kinds.first().copied().unwrap_or(Kind::Idms);
            let wanted: Vec<_> = FORMS.iter().filter(|form| kinds.contains(&form.kind)).collect();
            let wanted: Vec<_> = wanted.iter().map(|form| form.object).collect();
            return Err(different(file, kind, format!("it has no {}", wanted.join(", "))));
        }
    }
    for (name, source) in sources {
        let (merged, is_contradictory) = merge(&source.lists);
        if is_contradictory {
            draft.warn(
                &source.at,
                "objects say different orders of its mirrors: one of the possible orders is taken",
            );
        }
        let end = merged.iter().position(|mirror| *mirror == name).unwrap_or(merged.len());
        let (before, behind) = merged.split_at(end);
        if behind.len() > 1 {
            draft.warn(&source.at, "mirrors behind the source itself are left out: the source is asked last");
        }
        if before.is_empty() {
            continue;
        }
        match (source.digests, source.tags) {
            (true, false) => draft
                .warn(&source.at, "holds for images with a digest alone; in a table it holds for tags, too"),
            (false, true) => draft
                .warn(&source.at, "holds for images with a tag alone; in a table it holds for digests, too"),
            _ => {}
        }
        draft.moved(source.at, name, before.to_vec(), source.otherwise);
    }
    Ok(())
}

/// What all objects together say of a source.
struct Source {
    at: At,
    lists: Vec<Vec<String>>,
    otherwise: Otherwise,
    digests: bool,
    tags: bool,
}

/// How an object is written.
#[derive(Clone, Copy)]
struct Form {
    kind: Kind,
    object: &'static str,
    list: &'static str,
    is_of_tags: bool,
}

const FORMS: [Form; 3] = [
    Form {
        kind: Kind::Icsp,
        object: "ImageContentSourcePolicy",
        list: "repositoryDigestMirrors",
        is_of_tags: false,
    },
    Form { kind: Kind::Idms, object: "ImageDigestMirrorSet", list: "imageDigestMirrors", is_of_tags: false },
    Form { kind: Kind::Itms, object: "ImageTagMirrorSet", list: "imageTagMirrors", is_of_tags: true },
];

impl Form {
    fn of(object: &str) -> Option<Self> {
        FORMS.into_iter().find(|form| form.object == object)
    }
}

/// What an object is, if it is a mirror set.
pub(super) fn kind_of(object: &Value) -> Option<Kind> {
    Form::of(object.get("kind")?.as_text()?).map(|form| form.kind)
}

fn read_object(
    file: &File<'_>,
    object: &Value,
    form: Form,
    name: &str,
    sources: &mut BTreeMap<String, Source>,
    draft: &mut Draft,
) -> Result<(), ImportError> {
    let Some(list) = object.at(&["spec", form.list]) else {
        draft.warn(&At::new(file, object.line, format!("{} {name}", form.object)), "it has no mirrors");
        return Ok(());
    };
    let wrong = |value: &Value, message: String| broken(file, value.line, message);
    let Some(items) = list.as_list() else {
        return Err(wrong(list, format!("`{}` is a list", form.list)));
    };
    for item in items {
        let Some(source) = item.get("source").and_then(Value::as_text) else {
            return Err(wrong(item, "it has no `source`, which is a text".to_owned()));
        };
        let mut mirrors = Vec::new();
        if let Some(list) = item.get("mirrors").filter(|list| list.kind != crate::inventory::Kind::Null) {
            for mirror in list.as_list().ok_or_else(|| wrong(list, "`mirrors` is a list".to_owned()))? {
                let text = mirror.as_text();
                mirrors.push(
                    text.ok_or_else(|| wrong(mirror, "a mirror is a text".to_owned()))?.trim().to_owned(),
                );
            }
        }
        let policy = item.get("mirrorSourcePolicy").filter(|_| form.kind != Kind::Icsp);
        let otherwise = match policy.map(|policy| policy.as_text()) {
            None | Some(Some("" | "AllowContactingSource")) => Otherwise::Source,
            Some(Some("NeverContactSource")) => Otherwise::Nothing,
            Some(_) => {
                let message = "`mirrorSourcePolicy` is `AllowContactingSource` or `NeverContactSource`";
                return Err(wrong(item, message.to_owned()));
            }
        };
        if otherwise == Otherwise::Nothing && mirrors.iter().any(|mirror| mirror == source) {
            let message = format!("`NeverContactSource`, and the source `{source}` is one of its mirrors");
            return Err(wrong(item, message));
        }
        let at = At::new(file, item.line, source);
        if !mirrors.iter().any(|mirror| mirror != source) {
            if otherwise == Otherwise::Nothing {
                draft.warn(
                    &at,
                    "left out: `NeverContactSource` without mirrors refuses images, and a table cannot",
                );
            }
            continue;
        }
        let known = sources.entry(source.to_owned()).or_insert_with(|| Source {
            at,
            lists: Vec::new(),
            otherwise,
            digests: false,
            tags: false,
        });
        if known.otherwise != otherwise {
            let message = format!(
                "conflicting `mirrorSourcePolicy` of `{source}`, which OpenShift refuses: {} says another one",
                known.at
            );
            return Err(wrong(item, message));
        }
        known.lists.push(mirrors);
        known.tags |= form.is_of_tags;
        known.digests |= !form.is_of_tags;
    }
    Ok(())
}

/// All mirrors, so that each list keeps its order; what no list orders stays as it was written. And whether lists
/// contradict each other.
fn merge(lists: &[Vec<String>]) -> (Vec<String>, bool) {
    let mut left: Vec<&str> = Vec::new();
    for mirror in lists.iter().flatten() {
        if !left.contains(&mirror.as_str()) {
            left.push(mirror);
        }
    }
    let mut merged = Vec::new();
    let mut is_contradictory = false;
    while !left.is_empty() {
        let is_first = |mirror: &str| {
            lists.iter().all(|list| {
                let place = list.iter().position(|other| other == mirror).unwrap_or(0);
                list.iter().take(place).all(|before| !left.contains(&before.as_str()) || before == mirror)
            })
        };
        let free = left.iter().position(|mirror| is_first(mirror));
        is_contradictory |= free.is_none();
        merged.push(left.remove(free.unwrap_or(0)).to_owned());
    }
    (merged, is_contradictory)
}

/// An `ImageDigestMirrorSet`.
pub fn image_digest_mirror_set(table: &Table) -> Exported {
    write(table, Kind::Idms)
}

/// An `ImageTagMirrorSet`.
pub fn image_tag_mirror_set(table: &Table) -> Exported {
    write(table, Kind::Itms)
}

fn write(table: &Table, kind: Kind) -> Exported {
    let form = FORMS.into_iter().find(|form| form.kind == kind).unwrap_or(FORMS[1]);
    let speaks = Speaks { exceptions: false, everything: false, paths: true, refusal: true, wildcards: true };
    let mut rules = NodeRules::of(table, speaks);
    rules.leave_out_if("`OpenShift` takes no such source", |rule| {
        rule.source.contains(['[', '_']) && {
            let host = rule.source.split('/').next().unwrap_or_default();
            host.contains(['[', '_'])
        }
    });
    for entry in table.registries() {
        let host = &entry.host;
        if entry.plain_http {
            rules.warn(format!(
                "`plainHttp` of `{host}` is set elsewhere: under `registrySources.insecureRegistries` of the cluster's \
                 `Image` configuration"
            ));
        }
        if entry.ca.is_some() {
            rules.warn(format!(
                "`ca` of `{host}` is set elsewhere: under `additionalTrustedCA` of the cluster's `Image` configuration"
            ));
        }
    }
    rules.warn_about_logins("the cluster's pull secret (`openshift-config/pull-secret`)");
    let (what, other) = if form.is_of_tags { ("a tag", "idms") } else { ("a digest", "itms") };
    rules.warn(format!("it holds for images with {what} alone: export `{other}`, too"));
    let mut text = format!("# {MADE}\napiVersion: config.openshift.io/v1\nkind: {}\n", form.object);
    let _ = writeln!(text, "metadata: {{name: portolan}}\nspec:");
    if rules.rules.is_empty() {
        let _ = writeln!(text, "  {}: []", form.list);
    } else {
        let _ = writeln!(text, "  {}:", form.list);
    }
    for rule in &rules.rules {
        let _ = writeln!(text, "    - source: {}", quoted(&rule.source));
        if rule.otherwise == Otherwise::Nothing {
            let _ = writeln!(text, "      mirrorSourcePolicy: NeverContactSource");
        }
        let _ = writeln!(text, "      mirrors:");
        for mirror in &rule.mirrors {
            let _ = writeln!(text, "        - {}", quoted(mirror));
        }
    }
    Exported { text, warnings: rules.into_warnings() }
}
