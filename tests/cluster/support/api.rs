//! The API server, spoken to directly: cheaper than kubectl, and many requests at once.

use std::path::Path;

use http::{Method, Request};
use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};
use serde_json::{Value, json};

use super::runtime::runtime;

/// A client with a kubeconfig's rights.
#[derive(Clone)]
pub struct Api {
    client: Client,
}

/// The API server said no.
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// Why.
    pub message: String,
}

impl Api {
    /// Reads the kubeconfig.
    pub fn connect(kubeconfig: &Path) -> Self {
        let client = runtime().block_on(async {
            let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
            let mut config =
                Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
            config.proxy_url = None;
            Client::try_from(config).unwrap()
        });
        Self { client }
    }

    /// One request; `runtime().block_on` of it is what the other functions do.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Refusal> {
        let body = body.map(|body| serde_json::to_vec(body).unwrap()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        match self.client.request(request).await {
            Ok(answer) => Ok(answer),
            Err(kube::Error::Api(status)) => {
                Err(Refusal { code: status.code, message: status.message.clone() })
            }
            Err(error) => Err(Refusal { code: 0, message: format!("{path}: {error:?}") }),
        }
    }

    /// Reads an object or a list.
    pub fn read(&self, path: &str) -> Result<Value, Refusal> {
        runtime().block_on(self.request(Method::GET, path, None))
    }

    /// The objects of a list.
    pub fn list(&self, path: &str) -> Vec<Value> {
        let mut list = self.read(path).unwrap();
        match list["items"].take() {
            Value::Array(items) => items,
            other => panic!("{path} is no list: {other}"),
        }
    }

    /// Creates an object.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value, Refusal> {
        runtime().block_on(self.request(Method::POST, path, Some(object)))
    }

    /// Replaces an object.
    pub fn replace(&self, path: &str, object: &Value) -> Result<Value, Refusal> {
        runtime().block_on(self.request(Method::PUT, path, Some(object)))
    }

    /// Replaces an object whatever others made of it meanwhile: the scheduler writes into the status of a Pod.
    pub fn overwrite(&self, path: &str, object: &Value) -> Result<Value, Refusal> {
        let mut object = object.clone();
        object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        self.replace(path, &object)
    }

    /// Deletes an object without waiting for it to go.
    pub fn delete(&self, path: &str) -> Result<Value, Refusal> {
        let now = json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background"});
        runtime().block_on(self.request(Method::DELETE, path, Some(&now)))
    }
}
