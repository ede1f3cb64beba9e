//! Pods that were admitted without Portolan: what of a running Pod the webhook would change now, and did not.

use super::{Decision, Field, Outcome, PodOptOut, Reason, Scope, Sources, exemption, fields};
use crate::review::Pod;

/// The images of a Pod that would be moved into a mirror if it were made now; none if it has been before Portolan.
///
/// Whether one would be moved is asked of `moves`, which gets what the Pod, its namespace and its pull policies do not
/// leave alone. A Pod has been before Portolan if its annotation speaks of an image that it runs: what was left as
/// written then was left so on purpose. Debugging containers do not count, since nothing mends them.
pub fn unrewritten<'a>(
    pod: &'a Pod<'a>,
    namespace: &str,
    own_namespace: Option<&str>,
    opt_out: PodOptOut,
    mut moves: impl FnMut(&Field<'a>) -> bool,
) -> Vec<Field<'a>> {
    let sources = Sources::of(pod);
    if fields(pod, Scope::Pod).any(|field| sources.made(&field)) {
        return Vec::new();
    }
    fields(pod, Scope::Pod)
        .filter(|field| exemption(pod, field, namespace, own_namespace, opt_out).is_none() && moves(field))
        .collect()
}

impl Decision {
    /// Whether the image gets another place by it: inside a mirror it is only pinned.
    pub fn moves(&self) -> bool {
        matches!(self.outcome, Outcome::Rewritten { .. }) && self.reason != Reason::Mirrored
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The names of the containers and volumes found, if `docker.io` is moved.
    fn found(pod: &Value, opt_out: PodOptOut) -> Vec<String> {
        let text = pod.to_string();
        let pod: Pod<'_> = serde_json::from_str(&text).unwrap();
        let moves = |field: &Field<'_>| !field.image.starts_with("r.corp/");
        let found = unrewritten(&pod, "shop", Some("portolan"), opt_out, moves);
        found.iter().map(|field| field.name.to_owned()).collect()
    }

    fn pod(metadata: &Value) -> Value {
        json!({"metadata": metadata, "spec": {
            "containers": [{"name": "web", "image": "nginx"}, {"name": "side", "image": "r.corp/side"}],
            "initContainers": [{"name": "setup", "image": "busybox"}],
            "ephemeralContainers": [{"name": "debug", "image": "busybox"}],
            "volumes": [{"name": "model", "image": {"reference": "model"}}, {"name": "none"}],
        }})
    }

    #[test]
    fn what_would_be_moved_and_is_not_left_alone_is_found_but_for_debugging_containers() {
        let plain = pod(&json!({}));
        assert_eq!(found(&plain, PodOptOut::Honoured), ["web", "setup", "model"]);
        let mut never = plain;
        never["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
        assert_eq!(found(&never, PodOptOut::Honoured), ["setup", "model"]);
        let opted_out = pod(&json!({"labels": {"portolan.dev/rewrite": "disabled"}}));
        assert_eq!(found(&opted_out, PodOptOut::Honoured), [""; 0]);
        assert_eq!(found(&opted_out, PodOptOut::Ignored), ["web", "setup", "model"]);
        let mirror_pod = pod(&json!({"annotations": {"kubernetes.io/config.mirror": "x"}}));
        assert_eq!(found(&mirror_pod, PodOptOut::Ignored), [""; 0]);
    }

    #[test]
    fn a_pod_that_has_been_before_portolan_is_told_by_an_entry_for_what_it_runs() {
        for (entry, image, is_found) in [
            ("containers/side", "r.corp/side", false),
            ("containers/side", "r.corp/other", true),
            ("containers/gone", "r.corp/side", true),
            ("initContainers/setup", "busybox", false),
        ] {
            let sources = json!({entry: {"written": "x", "image": image}}).to_string();
            let pod = pod(&json!({"annotations": {"portolan.dev/sources": sources}}));
            assert_eq!(found(&pod, PodOptOut::Honoured).is_empty(), !is_found, "{sources}");
        }
    }
}
