//! A review of a ConfigMap, borrowed from its bytes.
//!
//! Apart from [`super::Request`], which is read for every Pod: this one comes when somebody edits the table or a lock.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use super::{
    reader::read,
    request::{GroupVersionKind, ParseReviewError, Review},
    text::Text,
};

/// What is asked about a ConfigMap: may this operation go on?
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapRequest<'a> {
    /// Names this call; the answer repeats it.
    #[serde(borrow, default)]
    pub uid: Text<'a>,
    /// The kind of the object.
    #[serde(borrow, default)]
    pub kind: GroupVersionKind<'a>,
    /// Empty for the object itself.
    #[serde(borrow, default)]
    pub sub_resource: Text<'a>,
    /// The object's name, if it has one yet.
    #[serde(borrow, default)]
    pub name: Text<'a>,
    /// The namespace of the request.
    #[serde(borrow, default)]
    pub namespace: Text<'a>,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    #[serde(borrow, default)]
    pub operation: Text<'a>,
    /// Nothing will be stored.
    #[serde(default)]
    pub dry_run: Option<bool>,
    /// The object as it will be.
    #[serde(borrow, default)]
    pub object: Option<ConfigMap<'a>>,
}

/// The parts of a ConfigMap that say whether it is one of ours, and what is in it.
#[derive(Debug, Default, Deserialize)]
pub struct ConfigMap<'a> {
    /// Name and labels.
    #[serde(borrow, default)]
    pub metadata: Option<ConfigMapMetadata<'a>>,
    /// The texts under its keys.
    #[serde(borrow, default)]
    pub data: Option<Texts<'a>>,
}

/// A ConfigMap's metadata.
#[derive(Debug, Default, Deserialize)]
pub struct ConfigMapMetadata<'a> {
    /// Its labels.
    #[serde(borrow, default)]
    pub labels: Option<Texts<'a>>,
}

/// A map of texts, in the order in which they are written.
#[derive(Debug, Default)]
pub struct Texts<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'a> ConfigMapRequest<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// If it is no `admission.k8s.io/v1` review with a request, or its object has other types than a ConfigMap;
    /// [`super::Envelope::parse`] then says what the body is.
    pub fn parse(body: &'a [u8]) -> Result<Self, ParseReviewError> {
        read::<Review<'_, Self>>(body)?.asked(|request| &request.uid)
    }

    /// Whether a ConfigMap is created or changed, which is all that there is to check.
    pub fn is_edit(&self) -> bool {
        self.kind.is_config_map()
            && self.sub_resource.is_empty()
            && matches!(&*self.operation, "CREATE" | "UPDATE")
    }
}

impl ConfigMap<'_> {
    /// The text under a key of `data`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.data.as_ref()?.get(key)
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata.as_ref()?.labels.as_ref()?.get(key)
    }
}

impl Texts<'_> {
    /// The text under `key`; of a key that is there twice the last, as in the API server.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().rfind(|(name, _)| *name == key).map(|(_, text)| text)
    }

    /// Every key with its text.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, text)| (&**key, &**text))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Texts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Texts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    texts.push(entry);
                }
                Ok(Texts(texts))
            }
        }

        deserializer.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_labels_and_texts_are_read_and_all_else_is_passed_over() {
        let body = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
                "name": "portolan-table", "namespace": "portolan", "operation": "UPDATE", "dryRun": true,
                "userInfo": {"username": "admin"},
                "object": {
                    "metadata": {"name": "portolan-table", "labels": {"portolan.dev/lock": "true"}, "uid": "x"},
                    "data": {"table.yaml": "a: \"b\"\nc: é\n", "other": ""}, "binaryData": {"x": "AA=="},
                },
                "oldObject": {"data": {"table.yaml": "old"}},
            },
        })
        .to_string();
        let request = ConfigMapRequest::parse(body.as_bytes()).unwrap();
        assert!(request.is_edit());
        let names = [&request.uid, &request.name, &request.namespace].map(|text| text.to_string());
        assert_eq!(names, ["u-1", "portolan-table", "portolan"]);
        assert_eq!(request.dry_run, Some(true));
        let object = request.object.unwrap();
        assert_eq!(object.label("portolan.dev/lock"), Some("true"));
        assert_eq!(object.text("table.yaml"), Some("a: \"b\"\nc: é\n"));
        assert_eq!(object.text("absent"), None);
        assert_eq!(object.data.unwrap().iter().count(), 2);
    }

    #[test]
    fn only_a_created_or_changed_config_map_is_an_edit() {
        for (kind, sub_resource, operation, expected) in [
            ("ConfigMap", "", "CREATE", true),
            ("ConfigMap", "", "UPDATE", true),
            ("ConfigMap", "", "DELETE", false),
            ("ConfigMap", "status", "UPDATE", false),
            ("Secret", "", "CREATE", false),
        ] {
            let body = json!({
                "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "request": {
                    "uid": "u", "kind": {"group": "", "version": "v1", "kind": kind},
                    "subResource": sub_resource, "operation": operation, "object": null,
                },
            })
            .to_string();
            let request = ConfigMapRequest::parse(body.as_bytes()).unwrap();
            assert_eq!(request.is_edit(), expected, "{kind} {sub_resource} {operation}");
            assert!(request.object.is_none());
        }
    }

    #[test]
    fn what_is_no_review_is_refused_with_the_reason() {
        for (body, expected) in [
            ("{", "the body is no AdmissionReview: it ends early"),
            (r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}"#, "v1beta1"),
            (r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#, "has no request"),
        ] {
            let error = ConfigMapRequest::parse(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
