//! The webhook configuration that ships, pointed at a process on loopback and at one test's namespaces.

use serde_json::{Value, json};

use super::{api::Api, authority::authority_pem};

/// A registered configuration; deleted when dropped.
pub struct Webhook {
    api: Api,
    name: String,
}

impl Webhook {
    /// Registers `configuration` under `name` for the namespaces of the scene `label`, at `https://{address}`.
    pub fn register(api: &Api, name: &str, label: &str, mut configuration: Value, address: &str) -> Self {
        configuration["metadata"] = json!({"name": name});
        for webhook in configuration["webhooks"].as_array_mut().unwrap() {
            let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap_or("/mutate").to_owned();
            webhook["clientConfig"] =
                json!({"url": format!("https://{address}{path}"), "caBundle": base64(&authority_pem())});
            let selector = &mut webhook["namespaceSelector"]["matchExpressions"];
            if selector.is_null() {
                *selector = json!([]);
            }
            let own = json!({"key": TEST_LABEL, "operator": "In", "values": [label]});
            selector.as_array_mut().unwrap().push(own);
        }
        api.create(CONFIGURATIONS, &configuration).unwrap();
        Self { api: api.clone(), name: name.to_owned() }
    }

    /// Edits each entry.
    pub fn edit(&self, edit: impl FnMut(&mut Value)) {
        let path = format!("{CONFIGURATIONS}/{}", self.name);
        let mut configuration = self.api.read(&path).unwrap();
        configuration["webhooks"].as_array_mut().unwrap().iter_mut().for_each(edit);
        self.api.replace(&path, &configuration).unwrap();
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        if let Err(refusal) = self.api.delete(&format!("{CONFIGURATIONS}/{}", self.name)) {
            eprintln!("cannot delete webhook configuration {}: {refusal:?}", self.name);
        }
    }
}

/// The label by which a namespace belongs to a test; its value is the first of these namespaces.
pub const TEST_LABEL: &str = "tests.portolan.dev/scene";

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

fn base64(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}
