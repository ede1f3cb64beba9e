//! Builders of Pods and reviews, and the reviews that were recorded from a real API server.

use std::{fs, path::Path};

use serde_json::{Value, json};

/// A Pod, by default of one container `app` that runs `nginx:1.25`.
#[derive(Clone)]
pub(crate) struct Pod(pub(crate) Value);

/// A review of a Pod, by default in the namespace `shop`.
pub(crate) struct Review(pub(crate) Value);

pub(crate) fn pod() -> Pod {
    Pod(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "app", "image": "nginx:1.25", "imagePullPolicy": "IfNotPresent"}]},
    }))
}

impl Pod {
    /// The image of the first container.
    pub(crate) fn image(self, image: &str) -> Self {
        self.with("/spec/containers/0/image", image)
    }

    /// One more container.
    pub(crate) fn container(self, name: &str, image: &str) -> Self {
        self.push("containers", json!({"name": name, "image": image}))
    }

    pub(crate) fn init(self, name: &str, image: &str) -> Self {
        self.push("initContainers", json!({"name": name, "image": image}))
    }

    pub(crate) fn ephemeral(self, name: &str, image: &str) -> Self {
        self.push("ephemeralContainers", json!({"name": name, "image": image}))
    }

    pub(crate) fn volume(self, name: &str, image: &str) -> Self {
        self.push("volumes", json!({"name": name, "image": {"reference": image}}))
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][key] = json!(value);
        self
    }

    pub(crate) fn annotation(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["annotations"][key] = json!(value);
        self
    }

    /// Sets what stands at a pointer that is there.
    pub(crate) fn with(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        *self.0.pointer_mut(pointer).unwrap() = value.into();
        self
    }

    pub(crate) fn push(mut self, list: &str, element: Value) -> Self {
        let list = &mut self.0["spec"][list];
        if list.is_null() {
            *list = json!([]);
        }
        list.as_array_mut().unwrap().push(element);
        self
    }

    pub(crate) fn create(self) -> Review {
        Review::new("CREATE", "", &self.0, &Value::Null)
    }

    /// An UPDATE of `old` to this.
    pub(crate) fn update(self, old: &Self) -> Review {
        Review::new("UPDATE", "", &self.0, &old.0)
    }

    /// An UPDATE of `old` through `pods/ephemeralcontainers`.
    pub(crate) fn debug(self, old: &Self) -> Review {
        Review::new("UPDATE", "ephemeralcontainers", &self.0, &old.0)
    }
}

impl Review {
    fn new(operation: &str, sub_resource: &str, object: &Value, old: &Value) -> Self {
        let mut review = json!({
            "kind": "AdmissionReview",
            "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "5f1c8c1e-0000-4000-8000-000000000001",
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "name": "web",
                "namespace": "shop",
                "operation": operation,
                "userInfo": {"username": "alice"},
                "object": object,
                "oldObject": old,
                "dryRun": false,
                "options": {},
            },
        });
        if !sub_resource.is_empty() {
            review["request"]["subResource"] = json!(sub_resource);
        }
        Self(review)
    }

    /// Sets a field of the request.
    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0["request"][field] = value.into();
        self
    }

    pub(crate) fn dry_run(self) -> Self {
        self.with("dryRun", true)
    }
}

/// Every body that was recorded, by the name of its file; none if they are not there, which `CI=true` does not allow.
pub(crate) fn recorded() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reviews");
    let Ok(entries) = fs::read_dir(&folder) else {
        assert!(std::env::var_os("CI").is_none(), "the recorded reviews are missing: {}", folder.display());
        return Vec::new();
    };
    let mut reviews: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
        .collect();
    reviews.sort();
    reviews
}

/// Every CREATE of a Pod that was recorded in the version that is answered: the name of its file, and the review.
pub(crate) fn recorded_creates() -> impl Iterator<Item = (String, Value)> {
    let creates = recorded().into_iter().filter(|(name, _)| name.starts_with("create-pod-"));
    creates
        .map(|(name, body)| (name, serde_json::from_slice::<Value>(&body).unwrap()))
        .filter(|(_, review)| review["apiVersion"] == "admission.k8s.io/v1")
}

/// The images of a Pod: key in the annotation, JSON pointer, text.
pub(crate) fn images(pod: &Value) -> Vec<(String, String, String)> {
    let mut images = Vec::new();
    for list in ["containers", "initContainers", "volumes"] {
        for (index, element) in pod["spec"][list].as_array().into_iter().flatten().enumerate() {
            let tail = if list == "volumes" { "/image/reference" } else { "/image" };
            let Some(image) = element.pointer(tail) else { continue };
            let key = format!("{list}/{}", element["name"].as_str().unwrap());
            images.push((key, format!("/spec/{list}/{index}{tail}"), image.as_str().unwrap().to_owned()));
        }
    }
    images
}
