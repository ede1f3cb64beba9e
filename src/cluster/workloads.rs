//! Lists of whole objects, for whoever looks at a running cluster once: workloads, namespaces, what leads to a registry,
//! image policies.
//!
//! Read page by page, as the JSON that the API server sends: what is in it is for others to say. A kind that the
//! cluster does not serve has no objects.

use http::Request;
use serde::Deserialize;

use super::client::{CallError, Client};

/// A kind of object that can be listed over all namespaces.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Listed {
    /// Kyverno's `ImageValidatingPolicy`, which is for the whole cluster.
    ImageValidatingPolicies,
    /// Kyverno's `ClusterPolicy`.
    KyvernoClusterPolicies,
    /// Kyverno's `Policy`.
    KyvernoPolicies,
    /// `Namespace`.
    Namespaces,
    /// `Node`.
    Nodes,
    /// `Ingress`.
    Ingresses,
    /// `Service`.
    Services,
    /// `ClusterImagePolicy` of sigstore's policy-controller.
    SigstorePolicies,
    /// `CronJob`.
    CronJobs,
    /// `DaemonSet`.
    DaemonSets,
    /// `Deployment`.
    Deployments,
    /// `Job`.
    Jobs,
    /// `Pod`.
    Pods,
    /// `ReplicaSet`.
    ReplicaSets,
    /// `StatefulSet`.
    StatefulSets,
}

impl Listed {
    /// What Pods are made from, and they themselves.
    pub const WORKLOADS: [Self; 6] =
        [Self::Pods, Self::Deployments, Self::StatefulSets, Self::DaemonSets, Self::Jobs, Self::CronJobs];

    /// What decides about images beside Portolan.
    pub const POLICIES: [Self; 4] = [
        Self::KyvernoClusterPolicies,
        Self::KyvernoPolicies,
        Self::ImageValidatingPolicies,
        Self::SigstorePolicies,
    ];

    /// Group and resource. The version is the one that the API server prefers.
    pub const fn resource(self) -> (&'static str, &'static str) {
        match self {
            Self::ImageValidatingPolicies => ("policies.kyverno.io", "imagevalidatingpolicies"),
            Self::KyvernoClusterPolicies => ("kyverno.io", "clusterpolicies"),
            Self::KyvernoPolicies => ("kyverno.io", "policies"),
            Self::Namespaces => ("", "namespaces"),
            Self::Nodes => ("", "nodes"),
            Self::Ingresses => ("networking.k8s.io", "ingresses"),
            Self::Services => ("", "services"),
            Self::SigstorePolicies => ("policy.sigstore.dev", "clusterimagepolicies"),
            Self::CronJobs => ("batch", "cronjobs"),
            Self::DaemonSets => ("apps", "daemonsets"),
            Self::Deployments => ("apps", "deployments"),
            Self::Jobs => ("batch", "jobs"),
            Self::Pods => ("", "pods"),
            Self::ReplicaSets => ("apps", "replicasets"),
            Self::StatefulSets => ("apps", "statefulsets"),
        }
    }
}

/// Reads every object of a kind and hands over the pages, each the JSON of a list.
pub async fn read_list(client: &Client, listed: Listed, page: impl FnMut(&str)) -> Result<(), CallError> {
    read_pages(client, listed, &format!("limit={PAGE}"), page).await
}

/// Reads every Pod that has not ended, in pages so small that reading one holds nothing up. Needs `list` on Pods of the
/// cluster.
pub async fn read_live_pods(client: &Client, page: impl FnMut(&str)) -> Result<(), CallError> {
    // `!=` and `,` as URLs have them.
    let query =
        format!("limit={SMALL_PAGE}&fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed");
    read_pages(client, Listed::Pods, &query, page).await
}

async fn read_pages(
    client: &Client,
    listed: Listed,
    query: &str,
    mut page: impl FnMut(&str),
) -> Result<(), CallError> {
    let (group, resource) = listed.resource();
    let base = if group.is_empty() {
        "/api/v1".to_owned()
    } else {
        match get(client, &format!("/apis/{group}")).await {
            Ok(text) => {
                let group: Group = read(&text)?;
                format!("/apis/{}", group.preferred_version.group_version)
            }
            Err(error) if is_unknown(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    };
    let mut token = String::new();
    loop {
        let text = match get(client, &format!("{base}/{resource}?{query}&continue={token}")).await {
            Err(error) if is_unknown(&error) => return Ok(()),
            other => other?,
        };
        page(&text);
        let list: List = read(&text)?;
        match list.metadata.token {
            // A token is base64, of the alphabet that URLs take.
            Some(next) if !next.is_empty() => token = next,
            _ => return Ok(()),
        }
    }
}

async fn get(client: &Client, path: &str) -> Result<String, CallError> {
    let request = Request::get(path)
        .header("accept", "application/json")
        .body(Vec::new())
        .map_err(|error| CallError::NoCall { message: error.to_string().into() })?;
    client.within_limit(client.kube.request_text(request)).await
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, CallError> {
    serde_json::from_str(text).map_err(|_| CallError::Unreadable)
}

/// Whether the API server does not know such a path. For one, it says so without an object of its API.
fn is_unknown(error: &CallError) -> bool {
    matches!(error, CallError::NotFound | CallError::Refused { code: 404, .. })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    preferred_version: Version,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    group_version: String,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default, rename = "continue")]
    token: Option<String>,
}

/// How many objects come in one answer.
const PAGE: usize = 500;

/// The same where admissions go on beside it: half a MiB, mostly.
const SMALL_PAGE: usize = 50;
