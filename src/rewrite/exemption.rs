//! What of a Pod decides that its images are left alone, before the table is looked at.

use super::{Field, Pull, Reason, plan::is_placeholder};
use crate::review::Pod;

/// Why `field` is left as written whatever the table says; `None`: the table decides.
///
/// `namespace` is the request's, `own_namespace` that in which Portolan runs.
pub fn exemption(
    pod: &Pod<'_>,
    field: &Field<'_>,
    namespace: &str,
    own_namespace: Option<&str>,
) -> Option<Reason> {
    if let Some(reason) = whole_pod(pod, namespace, own_namespace) {
        return Some(reason);
    }
    match field.pull {
        Pull::Never => Some(Reason::PullNever),
        _ if is_placeholder(field.image) => Some(Reason::Placeholder),
        Pull::Always | Pull::Sometimes => None,
    }
}

/// Why no image of the Pod is looked at, if so.
pub fn whole_pod(pod: &Pod<'_>, namespace: &str, own_namespace: Option<&str>) -> Option<Reason> {
    let metadata = pod.metadata.as_ref();
    let opted_out = metadata
        .and_then(|metadata| metadata.labels.as_ref())
        .and_then(|labels| labels.rewrite.as_deref())
        .is_some_and(|value| value == "disabled");
    if opted_out {
        Some(Reason::OptedOut)
    } else if own_namespace.is_some_and(|own| own == namespace) {
        Some(Reason::OwnNamespace)
    } else if metadata.and_then(|metadata| metadata.annotations.as_ref()).is_some_and(|found| found.is_mirror)
    {
        Some(Reason::MirrorPod)
    } else {
        None
    }
}
