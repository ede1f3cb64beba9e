//! Pods and namespaces as the API server lists them: of each only what decides about images.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{metadata::Labels, request::Pod, text::Text};

/// A Pod of a list.
#[derive(Debug)]
pub struct ListedPod<'a> {
    /// What a review has of it, too.
    pub pod: Pod<'a>,
    /// Its namespace.
    pub namespace: Text<'a>,
    /// Whether its containers have ended for good, or it is being deleted.
    pub is_over: bool,
}

/// A namespace of a list.
#[derive(Debug)]
pub struct ListedNamespace<'a> {
    /// Its name.
    pub name: Text<'a>,
    /// The value of its label `portolan.dev/rewrite`.
    pub rewrite: Option<Text<'a>>,
}

/// A list that is none, or has something else than was asked for.
#[derive(Debug, thiserror::Error)]
#[error("the list cannot be read")]
pub struct ParseListError;

impl<'a> ListedPod<'a> {
    /// The Pods of a page of a list, as JSON.
    pub fn read(page: &'a str) -> Result<Vec<Self>, ParseListError> {
        let one = |item: &'a RawValue| {
            let Standing { metadata, status } = parse(item.get())?;
            let is_ended = matches!(&*status.unwrap_or_default().phase, "Succeeded" | "Failed");
            Ok(Self {
                pod: parse(item.get())?,
                namespace: metadata.namespace,
                is_over: is_ended || metadata.deletion_timestamp.is_some(),
            })
        };
        parse::<List<'a>>(page)?.items.into_iter().map(one).collect()
    }
}

impl<'a> ListedNamespace<'a> {
    /// The namespaces of a page of a list, as JSON.
    pub fn read(page: &'a str) -> Result<Vec<Self>, ParseListError> {
        let one = |item: &'a RawValue| {
            let Named { metadata } = parse(item.get())?;
            Ok(Self { name: metadata.name, rewrite: metadata.labels.and_then(|labels| labels.rewrite) })
        };
        parse::<List<'a>>(page)?.items.into_iter().map(one).collect()
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ParseListError> {
    // Its words would quote the list.
    serde_json::from_str(text).map_err(|_| ParseListError)
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Standing<'a> {
    #[serde(borrow)]
    metadata: StandingMetadata<'a>,
    #[serde(borrow, default)]
    status: Option<Status<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StandingMetadata<'a> {
    #[serde(borrow, default)]
    namespace: Text<'a>,
    #[serde(borrow, default)]
    deletion_timestamp: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
struct Status<'a> {
    #[serde(borrow, default)]
    phase: Text<'a>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    metadata: NamedMetadata<'a>,
}

#[derive(Deserialize)]
struct NamedMetadata<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    labels: Option<Labels<'a>>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_of_pods_is_read_with_what_became_of_them() {
        let page = json!({"kind": "PodList", "metadata": {"continue": "x"}, "items": [
            {"metadata": {"name": "a", "namespace": "shop"}, "spec": {"containers": [{"name": "c", "image": "i\u{e9}"}]},
             "status": {"phase": "Running", "conditions": []}},
            {"metadata": {"name": "b", "namespace": "shop"}, "spec": {}, "status": {"phase": "Succeeded"}},
            {"metadata": {"name": "c", "namespace": "shop"}, "status": {"phase": "Failed"}},
            {"metadata": {"name": "d", "namespace": "shop", "deletionTimestamp": "2026-01-01T00:00:00Z"}},
            {"metadata": {"name": "e", "namespace": "other"}, "status": null},
        ]})
        .to_string();
        let pods = ListedPod::read(&page).unwrap();
        let told: Vec<_> = pods.iter().map(|pod| (&*pod.namespace, pod.is_over)).collect();
        let expected = [("shop", false), ("shop", true), ("shop", true), ("shop", true), ("other", false)];
        assert_eq!(told, expected);
        let first = pods.first().unwrap().pod.spec.as_ref().unwrap().containers.as_ref().unwrap();
        assert_eq!(&*first.first().unwrap().image, "i\u{e9}");
    }

    #[test]
    fn a_page_of_namespaces_is_read_with_its_labels() {
        let page = json!({"items": [
            {"metadata": {"name": "a", "labels": {"x": "y", "portolan.dev/rewrite": "audit"}}},
            {"metadata": {"name": "b"}},
        ]})
        .to_string();
        let read = ListedNamespace::read(&page).unwrap();
        let told: Vec<_> = read.iter().map(|one| (&*one.name, one.rewrite.as_deref())).collect();
        assert_eq!(told, [("a", Some("audit")), ("b", None)]);
    }

    #[test]
    fn what_is_no_list_is_refused_and_not_quoted() {
        for page in ["canary", "{}", r#"{"items": ["canary"]}"#, r#"{"items": [{"metadata": "canary"}]}"#] {
            let error = ListedPod::read(page).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
            ListedNamespace::read(page).unwrap_err();
        }
    }
}
