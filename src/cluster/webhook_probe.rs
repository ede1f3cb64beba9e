//! Whether the API server calls Portolan's webhook and trusts it: shown by an edit that nobody but Portolan refuses.
//!
//! The webhook fails open, so that what is admitted shows nothing; a refusal that bears the webhook's name does. The edit
//! is a dry run of a write that Portolan's own account may do anyway: nothing is stored, and no further right is needed.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::{
    client::{CallError, Client},
    last_good::LAST_GOOD,
};
use crate::lock;

/// Whether a broken lock in `namespace`, which is Portolan's, would be refused by Portolan. Needs `create` and `patch` on
/// [`LAST_GOOD`].
///
/// # Errors
/// The API server gave no answer that says either.
pub async fn webhook_answers(client: &Client, namespace: &str) -> Result<bool, CallError> {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": LAST_GOOD, "labels": {lock::LABEL: "true"}},
        "data": {"probe": "no line of a lock"},
    });
    let parameters = PatchParams::apply(PROBE_MANAGER).force().dry_run();
    let api: Api<ConfigMap> = Api::namespaced(client.kube.clone(), namespace);
    match client.within_limit(api.patch(LAST_GOOD, &parameters, &Patch::Apply(&object))).await {
        Ok(_) => Ok(false),
        // As the API server's `validating` dispatcher words it; a missing right is a 403 as well.
        Err(CallError::Refused { code: 403, message }) if message.starts_with(REFUSAL) => Ok(true),
        Err(error) => Err(error),
    }
}

const REFUSAL: &str = "admission webhook \"configmaps.portolan.dev\" denied the request";

/// Not Portolan's own: what it keeps there stays its own, also in what is only tried.
const PROBE_MANAGER: &str = "portolan-test";
