//! What the annotation on a Pod says that its images were.

use std::collections::BTreeMap;

use crate::inventory::Value;

/// What the annotation of a Pod says about its images: for whom it speaks is the webhook's matter; here it only tells
/// what the Pod's maker wrote.
#[derive(Default)]
pub(super) struct Changed(BTreeMap<String, BTreeMap<String, String>>);

impl Changed {
    pub(super) fn of(pod: &Value) -> Self {
        let text = pod.at(&["metadata", "annotations", "portolan.dev/sources"]).and_then(Value::as_text);
        Self(text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default())
    }

    /// What an image was written as.
    pub(super) fn written(&self, list: &str, name: &str, image: &str) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let entry = self.0.get(&format!("{list}/{name}"))?;
        (entry.get("image").map(String::as_str) == Some(image))
            .then(|| entry.get("written"))?
            .map(String::as_str)
    }
}
