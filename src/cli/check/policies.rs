//! Image policies of the cluster that name sources: what they matched before, they do not match in a mirror.

use std::collections::BTreeMap;

use super::{judge::Judged, report::Finding};
use crate::{
    cli::Printer,
    cluster::{self, Listed},
    image::Reference,
    inventory::{self, Content, Names, Value},
    table::{Lookup, Table},
};

/// The policies whose patterns match an image as it is written and not as it comes out.
pub(super) async fn findings(
    table: &Table,
    client: &cluster::Client,
    judged: &[Judged<'_>],
    printer: &mut Printer,
) -> Vec<Finding> {
    let mut patterns = Vec::new();
    for listed in Listed::POLICIES {
        let read = cluster::read_list(client, listed, |page| {
            for document in inventory::read("cluster", page).documents {
                if let Content::Object(object) = document.content {
                    patterns.extend(Pattern::of(&object));
                }
            }
        });
        if let Err(error) = read.await {
            let (_, resource) = listed.resource();
            printer.warning(&format!("cannot list the cluster's {resource}: {error}"));
        }
    }
    let images: Vec<_> = judged
        .iter()
        .filter_map(|judged| {
            let reference = judged.decision.as_ref()?.reference()?.clone();
            let result = judged.decision.as_ref()?.result().map(str::to_owned);
            // One that is missing or denied today is placed there tomorrow.
            Some((reference, result.or_else(|| Some(judged.place.as_ref()?.as_str().to_owned()))?))
        })
        .collect();
    patterns
        .iter()
        .filter_map(|pattern| {
            let (image, result) = pattern.lost(&images).or_else(|| pattern.would_lose(table))?;
            Some(Finding {
                kind: "policy-no-longer-matches",
                about: pattern.policy.clone(),
                message: format!(
                    "its pattern `{}` matches `{image}` but not `{result}`, which Pods will have",
                    pattern.text
                ),
                remedy: "add a pattern for the mirror beside it".to_owned(),
            })
        })
        .collect()
}

/// A pattern of a policy.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Pattern {
    /// Kind and name, for people.
    policy: String,
    text: String,
    /// Whether a single `*` stays within a segment and `**` does not, as sigstore has it.
    is_segmented: bool,
}

impl Pattern {
    /// The patterns of a policy, sorted, each once.
    fn of(policy: &Value) -> Vec<Self> {
        let names = Names::of(policy);
        let name = match &names.namespace {
            Some(namespace) => format!("{} `{namespace}/{}`", names.kind, names.name),
            None => format!("{} `{}`", names.kind, names.name),
        };
        let spec = |key| policy.at(&["spec", key]).and_then(Value::as_list).unwrap_or_default();
        let mut texts = BTreeMap::new();
        match &*names.kind {
            "ClusterImagePolicy" => {
                for image in spec("images") {
                    texts.extend(
                        image.get("glob").and_then(Value::as_text).map(|glob| (glob.to_owned(), true)),
                    );
                }
            }
            "ImageValidatingPolicy" => {
                for image in spec("matchImageReferences") {
                    texts.extend(
                        image.get("glob").and_then(Value::as_text).map(|glob| (glob.to_owned(), false)),
                    );
                }
            }
            "ClusterPolicy" | "Policy" => {
                for rule in spec("rules") {
                    for verify in rule.get("verifyImages").and_then(Value::as_list).unwrap_or_default() {
                        let references =
                            verify.get("imageReferences").and_then(Value::as_list).unwrap_or_default();
                        let texts_of =
                            references.iter().chain(verify.get("image")).filter_map(Value::as_text);
                        texts.extend(texts_of.map(|text| (text.to_owned(), false)));
                    }
                    if let Some(validate) = rule.get("validate") {
                        for key in ["pattern", "anyPattern"] {
                            validate
                                .get(key)
                                .into_iter()
                                .for_each(|pattern| patterns_within(pattern, &mut texts));
                        }
                    }
                }
            }
            _ => {}
        }
        let pattern = |(text, is_segmented)| Self { policy: name.clone(), text, is_segmented };
        texts.into_iter().map(pattern).collect()
    }

    /// An image that it matches as it is written and not as it comes out.
    fn lost(&self, images: &[(Reference, String)]) -> Option<(String, String)> {
        images.iter().find_map(|(reference, result)| {
            let name = self.matched(reference)?;
            (!self.matches_result(result)).then(|| (name, result.clone()))
        })
    }

    /// The same for an image made up from the pattern: the cluster may have none at the moment.
    fn would_lose(&self, table: &Table) -> Option<(String, String)> {
        let example = self.text.replace("**", "*").replace(['*', '?'], "x");
        let reference = Reference::parse(&example).ok()?;
        let Lookup::Rule(rule) = table.lookup(&reference, None) else { return None };
        let name = self.matched(&reference)?;
        let place = rule.place(0, &reference)?;
        (!self.matches_result(place.as_str())).then(|| (name, place.as_str().to_owned()))
    }

    /// The name of an image by which it is matched: as it was written, in full, without tag or digest.
    fn matched(&self, reference: &Reference) -> Option<String> {
        let full = [reference.written(), reference.as_str(), reference.without_digest(), reference.name()];
        let names = full.into_iter().map(str::to_owned);
        // What sigstore calls Docker's registry, and Kyverno does where nothing is written.
        let docker =
            |name: String| name.strip_prefix("docker.io/").map(|rest| format!("index.docker.io/{rest}"));
        let more: Vec<_> = full.into_iter().map(str::to_owned).filter_map(docker).collect();
        names.chain(more).find(|name| self.matches(name))
    }

    fn matches_result(&self, result: &str) -> bool {
        match Reference::parse(result) {
            Ok(reference) => self.matched(&reference).is_some(),
            Err(_) => self.matches(result),
        }
    }

    fn matches(&self, text: &str) -> bool {
        glob(self.text.as_bytes(), text.as_bytes(), self.is_segmented)
    }
}

/// The patterns for `image` in a pattern for a whole Pod. Several are divided by `|`; one with `!` forbids, and what
/// is forbidden by its source is no loss to name here.
fn patterns_within(value: &Value, texts: &mut BTreeMap<String, bool>) {
    for (key, inner) in value.as_map().into_iter().flatten() {
        let key = key.trim_start_matches(['=', '^', '+', '(']).trim_end_matches(')');
        match inner.as_text().filter(|_| key == "image") {
            Some(text) => {
                let parts = text.split('|').map(str::trim).filter(|part| part.contains(['/', '.']));
                texts
                    .extend(parts.filter(|part| !part.starts_with('!')).map(|part| (part.to_owned(), false)));
            }
            None => patterns_within(inner, texts),
        }
    }
    value.as_list().into_iter().flatten().for_each(|item| patterns_within(item, texts));
}

/// Whether `*` (any bytes; where `is_segmented`, without `/`, which `**` takes) and `?` make `text` of `pattern`.
///
/// Takes at most the product of both lengths, whatever the stars.
fn glob(pattern: &[u8], text: &[u8], is_segmented: bool) -> bool {
    // Which positions of the pattern are reached by the text read so far.
    let mut reached = vec![false; pattern.len() + 1];
    let close = |reached: &mut Vec<bool>| {
        for position in 0..pattern.len() {
            if reached.get(position) == Some(&true)
                && pattern.get(position) == Some(&b'*')
                && let Some(next) = reached.get_mut(position + 1)
            {
                *next = true;
            }
        }
    };
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    close(&mut reached);
    let mut next = vec![false; pattern.len() + 1];
    for byte in text {
        next.fill(false);
        for (position, wanted) in pattern.iter().enumerate() {
            if reached.get(position) != Some(&true) {
                continue;
            }
            let is_double = pattern.get(position + 1) == Some(&b'*')
                || position.checked_sub(1).and_then(|before| pattern.get(before)) == Some(&b'*');
            let target = match wanted {
                b'*' if is_segmented && *byte == b'/' && !is_double => continue,
                b'*' => position,
                b'?' if is_segmented && *byte == b'/' => continue,
                b'?' => position + 1,
                wanted if wanted == byte => position + 1,
                _ => continue,
            };
            if let Some(place) = next.get_mut(target) {
                *place = true;
            }
        }
        std::mem::swap(&mut reached, &mut next);
        close(&mut reached);
    }
    reached.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(text: &str) -> Vec<Pattern> {
        let documents = inventory::read("x", text).documents;
        documents
            .iter()
            .flat_map(|document| match &document.content {
                Content::Object(object) => Pattern::of(object),
                Content::Image(_) => panic!(),
            })
            .collect()
    }

    fn pattern(text: &str, is_segmented: bool) -> Pattern {
        Pattern { policy: "x".to_owned(), text: text.to_owned(), is_segmented }
    }

    #[test]
    fn patterns_are_found_in_every_kind_of_policy() {
        let text = "
{apiVersion: policy.sigstore.dev/v1beta1, kind: ClusterImagePolicy, metadata: {name: s}, spec: {images: [{glob: 'ghcr.io/acme/**'}, {glob: '**'}]}}
---
{kind: ImageValidatingPolicy, metadata: {name: i}, spec: {matchImageReferences: [{glob: 'quay.io/*'}, {expression: x}]}}
---
kind: ClusterPolicy
metadata: {name: k}
spec:
  rules:
  - verifyImages: [{imageReferences: ['docker.io/library/*'], image: 'old.io/*'}]
  - validate:
      pattern: {spec: {=(initContainers): [{image: 'a.io/* | b.io/* | !c.io/*'}], containers: [{image: '!*:latest'}]}}
---
{kind: Policy, metadata: {name: np, namespace: team}, spec: {rules: [{validate: {anyPattern: [{spec: {containers: [{=(image): 'd.io/*'}]}}]}}]}}
";
        let found: Vec<_> = patterns(text)
            .into_iter()
            .map(|pattern| format!("{} {} {}", pattern.policy, pattern.text, pattern.is_segmented))
            .collect();
        assert_eq!(
            found,
            [
                "ClusterImagePolicy `s` ** true",
                "ClusterImagePolicy `s` ghcr.io/acme/** true",
                "ImageValidatingPolicy `i` quay.io/* false",
                "ClusterPolicy `k` a.io/* false",
                "ClusterPolicy `k` b.io/* false",
                "ClusterPolicy `k` docker.io/library/* false",
                "ClusterPolicy `k` old.io/* false",
                "Policy `team/np` d.io/* false",
            ]
        );
    }

    #[test]
    fn stars_stand_for_what_each_tool_takes_them_for() {
        for (text, is_segmented, image, expected) in [
            ("docker.io/*", false, "docker.io/library/nginx:1", true),
            ("docker.io/*", true, "docker.io/library/nginx:1", false),
            ("docker.io/*/*", true, "docker.io/library/nginx:1", true),
            ("docker.io/**", true, "docker.io/library/nginx:1", true),
            ("**", true, "a/b/c", true),
            ("**/nginx*", true, "docker.io/library/nginx:1", true),
            ("ghcr.io/acme/ap?", false, "ghcr.io/acme/app", true),
            ("ghcr.io/acme/ap?", false, "ghcr.io/acme/apps", false),
            ("*", false, "", true),
            ("", false, "a", false),
            ("nginx", false, "nginx", true),
        ] {
            assert_eq!(pattern(text, is_segmented).matches(image), expected, "{text} {image} {is_segmented}");
        }
        let stars = "*a".repeat(200);
        assert!(!pattern(&stars, false).matches(&"a".repeat(199)), "and it does not take for ever");
    }

    #[test]
    fn what_no_longer_matches_is_told_by_an_image_of_the_cluster_or_else_a_made_up_one() {
        let table = Table::parse(
            "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n- {source: docker.io, mirrors: [r.corp/hub]}\n\
             - {source: ghcr.io, mirrors: ['r.corp/{registry}']}\n",
        )
        .unwrap()
        .table;
        let images = [("nginx:1".parse().unwrap(), "r.corp/hub/library/nginx:1@sha256:1".to_owned())];
        let lost = |text, is_segmented| {
            let pattern = pattern(text, is_segmented);
            pattern.lost(&images).or_else(|| pattern.would_lose(&table))
        };
        let nginx = |name: &str| Some((name.to_owned(), "r.corp/hub/library/nginx:1@sha256:1".to_owned()));
        assert_eq!(lost("docker.io/library/*", false), nginx("docker.io/library/nginx:1"));
        assert_eq!(lost("nginx*", false), nginx("nginx:1"));
        assert_eq!(lost("index.docker.io/library/*", true), nginx("index.docker.io/library/nginx:1"));
        assert_eq!(
            lost("ghcr.io/acme/**", true),
            Some(("ghcr.io/acme/x".to_owned(), "r.corp/ghcr.io/acme/x:latest".to_owned()))
        );
        for still in ["*", "*ghcr.io/acme/*", "quay.io/*", "r.corp/*"] {
            assert_eq!(lost(still, false), None, "{still}");
        }
    }
}
