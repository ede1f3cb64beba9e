//! A second webhook, such as a mesh's: it changes Pods after Portolan saw them.

use std::{convert::Infallible, fs, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    pki_types::pem::PemObject as _,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use super::{authority, folder::folder, runtime::runtime};

/// Answers every review with the same JSON Patch.
#[derive(Debug)]
pub struct Injector {
    /// Where it listens: host and port.
    pub address: String,
    accepting: JoinHandle<()>,
}

impl Injector {
    /// Starts it.
    pub fn start(patch: &Value) -> Self {
        let pair = authority::issue(&folder("injector"), 7);
        let chain = vec![CertificateDer::from_pem_slice(&fs::read(pair.certificate).unwrap()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(&fs::read(pair.key).unwrap()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let patch: Arc<str> = STANDARD.encode(patch.to_string()).into();
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accepting = runtime().spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (acceptor, patch) = (acceptor.clone(), Arc::clone(&patch));
                tokio::spawn(async move {
                    let Ok(connection) = acceptor.accept(connection).await else { return };
                    let service = service_fn(move |request| answer(request, Arc::clone(&patch)));
                    // The API server may hang up when it likes.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
                });
            }
        });
        Self { address, accepting }
    }

    /// The webhook configuration for it: it comes after Portolan's, by name, and is called for new Pods.
    pub fn configuration() -> Value {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "webhooks": [{
                "name": "injector.tests.portolan.dev", "clientConfig": {}, "admissionReviewVersions": ["v1"],
                "failurePolicy": "Fail", "sideEffects": "None", "reinvocationPolicy": "Never",
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
            }],
        })
    }
}

async fn answer(request: Request<Incoming>, patch: Arc<str>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": *patch},
    });
    let body = Full::new(Bytes::from(answer.to_string()));
    Ok(Response::builder().header("content-type", "application/json").body(body).unwrap())
}

impl Drop for Injector {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
