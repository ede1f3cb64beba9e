//! What the detector of fights is shown of an admission.

use std::time::Instant;

use super::fights::{Act, Fights, Owner, Sighting};
use crate::{
    review::{Pod, Request},
    rewrite::Judged,
};

/// Shows an admission that was carried out, if it changed images of a Pod that somebody may compare them in.
///
/// A Pod that nobody owns is only looked at while it is there: whoever makes it anew under its name may well mean it.
pub(super) fn show(
    fights: &Fights,
    request: &Request<'_>,
    pod: &Pod<'_>,
    images: &[Judged<'_>],
    now: Instant,
) {
    let changed =
        images.iter().filter_map(|image| image.decision.result().map(|result| (image.field.image, result)));
    if changed.clone().next().is_none() || !request.sub_resource.is_empty() {
        return;
    }
    let Some(metadata) = &pod.metadata else { return };
    let host_name = pod.spec.as_ref().map_or("", |spec| &spec.host_name);
    let owner = metadata.owner().map(|owner| Owner {
        api_version: &*owner.api_version,
        kind: &*owner.kind,
        name: &*owner.name,
        uid: &*owner.uid,
    });
    let (act, pod, owner) = match (&*request.operation, &*metadata.name, owner) {
        ("UPDATE", name, None) => {
            (Act::SetBack, name, Owner { api_version: "v1", kind: "Pod", name, uid: &*metadata.uid })
        }
        ("UPDATE", name, Some(owner)) => (Act::SetBack, name, owner),
        ("CREATE", "", Some(owner)) if host_name.is_empty() => {
            (Act::MadeOneOfMany, &*metadata.generate_name, owner)
        }
        // A host name is what such a Pod is known by; only its name differs each time (so in NiFiKop).
        ("CREATE", "", Some(owner)) => (Act::MadeSame, &*metadata.generate_name, owner),
        ("CREATE", name, Some(owner)) => (Act::MadeSame, name, owner),
        _ => return,
    };
    fights.see(&Sighting { namespace: &request.namespace, owner, pod, host_name, act }, changed, now);
}

#[cfg(test)]
mod tests;
