//! Pods of the cluster that were admitted without Portolan, by what makes them anew.
//!
//! What their images would become was judged with all others: an image that no mirror has would stay as it is, and its
//! Pod is none of these.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::judge::Judged;
use crate::{
    cli::{
        Printer,
        inputs::{mode_of, passed_by},
    },
    cluster::{self, CallError, Listed},
    review::{ListedPod, Metadata, ParseListError},
    rewrite::{Mode, PodOptOut, unrewritten},
};

/// The Pods of one owner, and what mends them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Unrewritten {
    namespace: String,
    /// The owner's kind; `Pod` of one that nobody owns.
    kind: String,
    name: String,
    pods: BTreeSet<String>,
    images: BTreeSet<String>,
    /// What mends them; `null` where no command alone does.
    command: Option<String>,
    /// For people: the command, or what to do.
    remedy: String,
}

/// Who owns a Pod: namespace, kind, name.
type Owner = (String, String, String);

/// The Pods that the webhook would change now and did not.
pub(super) async fn find(
    client: &cluster::Client,
    namespaces: &HashMap<Box<str>, Option<Box<str>>>,
    own_namespace: &str,
    judged: &[Judged<'_>],
    printer: &mut Printer,
) -> anyhow::Result<Vec<Unrewritten>> {
    let moved: HashMap<_, _> = judged
        .iter()
        .filter_map(|judged| {
            let key = (&*judged.wanted.image, judged.wanted.namespace.as_deref()?);
            Some((key, judged.decision.as_ref()?.moves()))
        })
        .collect();
    let mut found: BTreeMap<Owner, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    let mut take = |page: &str| -> Result<(), ParseListError> {
        for listed in ListedPod::read(page)?.iter().filter(|listed| !listed.is_over) {
            let namespace = &*listed.namespace;
            let label = namespaces.get(namespace).and_then(|label| label.as_deref());
            if passed_by(namespace, label).is_some() || mode_of(label) == Mode::Audit {
                continue;
            }
            let moves = |field: &crate::rewrite::Field<'_>| {
                moved.get(&(field.image, namespace)).copied().unwrap_or_default()
            };
            let images = unrewritten(&listed.pod, namespace, Some(own_namespace), PodOptOut::Honoured, moves);
            let Some(metadata) = listed.pod.metadata.as_ref().filter(|_| !images.is_empty()) else {
                continue;
            };
            let (pods, written) = found.entry(owner(namespace, metadata)).or_default();
            pods.insert(metadata.name.to_string());
            written.extend(images.iter().map(|field| field.image.to_owned()));
        }
        Ok(())
    };
    let mut problem = Ok(());
    let listed = cluster::read_live_pods(client, |page| {
        if problem.is_ok() {
            problem = take(page);
        }
    });
    listed.await?;
    problem?;
    let deployments = if found.keys().any(|(_, kind, _)| kind == REPLICA_SET) {
        match deployments(client).await {
            Ok(deployments) => deployments,
            Err(error) => {
                printer.warning(&format!(
                    "cannot list the cluster's replicasets, which lead from Pods to their Deployments: {error}"
                ));
                HashMap::new()
            }
        }
    } else {
        HashMap::new()
    };
    let mut by_owner: BTreeMap<Owner, Unrewritten> = BTreeMap::new();
    for (owner, (pods, images)) in found {
        let owner = match deployments.get(&(owner.0.clone(), owner.2.clone())) {
            Some(made_by) if owner.1 == REPLICA_SET => (owner.0, made_by.0.clone(), made_by.1.clone()),
            _ => owner,
        };
        let (namespace, kind, name) = owner.clone();
        let one = by_owner.entry(owner).or_insert_with(|| Unrewritten {
            namespace,
            kind,
            name,
            pods: BTreeSet::new(),
            images: BTreeSet::new(),
            command: None,
            remedy: String::new(),
        });
        one.pods.extend(pods);
        one.images.extend(images);
    }
    Ok(by_owner.into_values().map(Unrewritten::with_remedy).collect())
}

fn owner(namespace: &str, metadata: &Metadata<'_>) -> Owner {
    let (kind, name) = match metadata.owner() {
        Some(owner) => (&*owner.kind, &*owner.name),
        None => (POD, &*metadata.name),
    };
    (namespace.to_owned(), kind.to_owned(), name.to_owned())
}

/// What made each ReplicaSet, by the namespace and name of that.
async fn deployments(
    client: &cluster::Client,
) -> Result<HashMap<(String, String), (String, String)>, CallError> {
    let mut made = HashMap::new();
    let read = cluster::read_list(client, Listed::ReplicaSets, |page| {
        // Of both kinds only the metadata is looked at, and one that cannot be read is mended by itself.
        for listed in ListedPod::read(page).unwrap_or_default() {
            let Some(metadata) = &listed.pod.metadata else { continue };
            if let Some(owner) = metadata.owner() {
                made.insert(
                    (listed.namespace.to_string(), metadata.name.to_string()),
                    (owner.kind.to_string(), owner.name.to_string()),
                );
            }
        }
    });
    read.await?;
    Ok(made)
}

impl Unrewritten {
    fn with_remedy(mut self) -> Self {
        let Self { namespace, kind, name, pods, .. } = &self;
        let delete = || {
            let pods: Vec<_> = pods.iter().map(String::as_str).collect();
            format!("kubectl --namespace {namespace} delete pod {}", pods.join(" "))
        };
        let (command, remedy) = match kind.as_str() {
            "DaemonSet" | "Deployment" | "StatefulSet" => {
                let kind = kind.to_ascii_lowercase();
                (Some(format!("kubectl --namespace {namespace} rollout restart {kind}/{name}")), None)
            }
            REPLICA_SET | "ReplicationController" => (Some(delete()), None),
            "Job" => (
                None,
                Some("let it end: the Pods of its next run are rewritten; or delete the Job and apply it again".to_owned()),
            ),
            POD => (
                None,
                Some(format!("nothing makes it anew: `{}`, then apply its manifest again", delete())),
            ),
            _ => (
                None,
                Some(format!("have what looks after this {kind} make its Pods anew, as by `{}`", delete())),
            ),
        };
        self.remedy = command.clone().or(remedy).unwrap_or_default();
        self.command = command;
        self
    }

    /// How many Pods they are.
    pub(super) fn count(&self) -> usize {
        self.pods.len()
    }

    /// For people.
    pub(super) fn lines(&self) -> [String; 2] {
        let Self { namespace, kind, name, pods, images, remedy, .. } = self;
        let images: Vec<_> = images.iter().map(|image| format!("`{image}`")).collect();
        let images = images.join(", ");
        let about = match pods.len() {
            1 if kind == POD => format!("Pod {namespace}/{name} runs {images} as written"),
            1 => format!("{kind} {namespace}/{name}: 1 Pod runs {images} as written"),
            count => format!("{kind} {namespace}/{name}: {count} Pods run {images} as written"),
        };
        [about, format!("  {remedy}")]
    }
}

const POD: &str = "Pod";
const REPLICA_SET: &str = "ReplicaSet";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, name: &str, pods: &[&str]) -> Unrewritten {
        let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let unrewritten = Unrewritten {
            namespace: "shop".into(),
            kind: kind.into(),
            name: name.into(),
            pods: set(pods),
            images: set(&["nginx:1", "busybox"]),
            command: None,
            remedy: String::new(),
        };
        unrewritten.with_remedy()
    }

    #[test]
    fn whatever_makes_pods_anew_has_its_own_remedy() {
        for (kind, name, pods, about, command, remedy) in [
            (
                "Deployment",
                "web",
                &["web-1", "web-2"][..],
                "Deployment shop/web: 2 Pods run `busybox`, `nginx:1` as written",
                Some("kubectl --namespace shop rollout restart deployment/web"),
                "",
            ),
            (
                "StatefulSet",
                "db",
                &["db-0"],
                "StatefulSet shop/db: 1 Pod runs `busybox`, `nginx:1` as written",
                Some("kubectl --namespace shop rollout restart statefulset/db"),
                "",
            ),
            (
                "ReplicaSet",
                "bare",
                &["bare-1", "bare-2"],
                "ReplicaSet shop/bare: 2 Pods run `busybox`, `nginx:1` as written",
                Some("kubectl --namespace shop delete pod bare-1 bare-2"),
                "",
            ),
            (
                "Job",
                "tidy",
                &["tidy-1"],
                "Job shop/tidy: 1 Pod runs `busybox`, `nginx:1` as written",
                None,
                "let it end: the Pods of its next run are rewritten; or delete the Job and apply it again",
            ),
            (
                "Pod",
                "one",
                &["one"],
                "Pod shop/one runs `busybox`, `nginx:1` as written",
                None,
                "nothing makes it anew: `kubectl --namespace shop delete pod one`, then apply its manifest again",
            ),
            (
                "Cluster",
                "pg",
                &["pg-1"],
                "Cluster shop/pg: 1 Pod runs `busybox`, `nginx:1` as written",
                None,
                "have what looks after this Cluster make its Pods anew, as by `kubectl --namespace shop delete pod pg-1`",
            ),
        ] {
            let unrewritten = of(kind, name, pods);
            let remedy = command.unwrap_or(remedy);
            assert_eq!(unrewritten.lines(), [about.to_owned(), format!("  {remedy}")]);
            assert_eq!(unrewritten.command.as_deref(), command);
        }
    }
}
