//! The Pod around an image: product.md §3, steps 1 and 2.

use serde_json::{Value, json};

use super::decide::{Asked, Decided, Trace, decide, kept};

/// What of a Pod decides about its image before the table does.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    /// `containers`, `initContainers` or `volumes`.
    pub(crate) list: &'static str,
    /// Its pull policy; empty: none.
    pub(crate) pull: &'static str,
    /// The label `portolan.dev/rewrite`; empty: none.
    pub(crate) label: &'static str,
    pub(crate) is_mirror: bool,
    pub(crate) is_in_own_namespace: bool,
    /// On UPDATE, what it was.
    pub(crate) before: Option<Before>,
}

/// The Pod as it was.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    /// The image under the same name; `None`: there was no such container.
    pub(crate) image: Option<String>,
    /// The annotation's entry for it: `written` and `image`.
    pub(crate) entry: Option<(String, String)>,
}

/// Decides, from §3 step 1 on.
pub(crate) fn decide_in(pod: &Pod, asked: &Asked<'_>) -> (Decided, Trace) {
    let early = |reason| (kept(reason, None), Trace::default());
    if let Some(Before { image: Some(image), entry }) = &pod.before {
        if image == asked.written {
            return early("unchanged");
        }
        if let Some((written, ran)) = entry
            && ran == image
            && written == asked.written
        {
            let result = Some(ran.clone());
            let restored = Decided { outcome: "rewritten", result, ..kept("restored", None) };
            return (restored, Trace::default());
        }
    }
    if pod.label == "disabled" {
        early("opted-out")
    } else if pod.is_in_own_namespace {
        early("own-namespace")
    } else if pod.is_mirror {
        early("mirror-pod")
    } else if pod.pull == "Never" {
        early("pull-never")
    } else {
        decide(asked)
    }
}

impl Pod {
    /// The review of the Pod whose one image is `written`.
    pub(crate) fn review(&self, written: &str, namespace: &str) -> Value {
        let mut object = self.object(written);
        let metadata = &mut object["metadata"];
        if self.is_mirror {
            metadata["annotations"]["kubernetes.io/config.mirror"] = json!("x");
        }
        if !self.label.is_empty() {
            metadata["labels"]["portolan.dev/rewrite"] = json!(self.label);
        }
        let old = self.before.as_ref().map(|before| {
            let mut old = before.image.as_ref().map_or_else(|| json!({}), |image| self.object(image));
            if let Some((written, image)) = &before.entry {
                let key = format!("{}/app", self.list);
                let entries = json!({key: {"written": written, "image": image}});
                old["metadata"]["annotations"]["portolan.dev/sources"] = json!(entries.to_string());
            }
            old
        });
        json!({
            "kind": "AdmissionReview",
            "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "u",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "namespace": namespace,
                "operation": if self.before.is_some() { "UPDATE" } else { "CREATE" },
                "object": object,
                "oldObject": old,
            },
        })
    }

    fn object(&self, image: &str) -> Value {
        let element = if self.list == "volumes" {
            json!({"name": "app", "image": {"reference": image, "pullPolicy": self.pull}})
        } else {
            json!({"name": "app", "image": image, "imagePullPolicy": self.pull})
        };
        json!({"metadata": {"name": "web"}, "spec": {self.list: [element]}})
    }
}
