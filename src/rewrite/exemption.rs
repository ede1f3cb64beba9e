//! What of a Pod decides that its images are left alone, before the table is looked at.

use super::{Field, Pull, Reason, plan::is_placeholder};
use crate::review::Pod;

/// Whether a Pod may opt out by its label.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PodOptOut {
    /// It may.
    #[default]
    Honoured,
    /// It may not: the label is not looked at.
    Ignored,
}

/// Why `field` is left as written whatever the table says; `None`: the table decides.
///
/// `namespace` is the request's, `own_namespace` that in which Portolan runs.
pub fn exemption(
    pod: &Pod<'_>,
    field: &Field<'_>,
    namespace: &str,
    own_namespace: Option<&str>,
    opt_out: PodOptOut,
) -> Option<Reason> {
    if let Some(reason) = whole_pod(pod, namespace, own_namespace, opt_out) {
        return Some(reason);
    }
    match field.pull {
        Pull::Never => Some(Reason::PullNever),
        _ if is_placeholder(field.image) => Some(Reason::Placeholder),
        Pull::Always | Pull::Sometimes => None,
    }
}

/// Why no image of the Pod is looked at, if so.
pub fn whole_pod(
    pod: &Pod<'_>,
    namespace: &str,
    own_namespace: Option<&str>,
    opt_out: PodOptOut,
) -> Option<Reason> {
    let metadata = pod.metadata.as_ref();
    let opted_out = opt_out == PodOptOut::Honoured
        && metadata
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::rewrite::{Scope, fields};

    /// Why the only image of a Pod in the namespace `shop` is left alone.
    fn why(metadata: &Value, image: &str, pull: &str, own_namespace: Option<&str>) -> Option<Reason> {
        let text = json!({"metadata": metadata,
            "spec": {"containers": [{"name": "app", "image": image, "imagePullPolicy": pull}]}})
        .to_string();
        let pod: Pod<'_> = serde_json::from_str(&text).unwrap();
        let field = fields(&pod, Scope::Pod).next().unwrap();
        let pulled = Field { image: "nginx", pull: Pull::Always, ..field };
        let [whole, never] = [PodOptOut::Honoured, PodOptOut::Ignored].map(|opt_out| {
            let whole = whole_pod(&pod, "shop", own_namespace, opt_out);
            assert_eq!(whole, exemption(&pod, &pulled, "shop", own_namespace, opt_out));
            whole
        });
        // Where the label is not looked at the rest is as if it were not there.
        assert_ne!(never, Some(Reason::OptedOut));
        assert!(whole == Some(Reason::OptedOut) || whole == never, "{metadata}");
        exemption(&pod, &field, "shop", own_namespace, PodOptOut::Honoured)
    }

    #[test]
    fn a_pod_is_left_alone_by_its_label_its_namespace_and_as_a_mirror_pod() {
        let label = |value: &str| json!({"labels": {"portolan.dev/rewrite": value, "a": "disabled"}});
        let mirror_pod = json!({"annotations": {"kubernetes.io/config.mirror": "x"}});
        for (metadata, own_namespace, expected) in [
            (json!({}), None, None),
            (json!({}), Some("portolan"), None),
            (json!({}), Some("shop"), Some(Reason::OwnNamespace)),
            (label("disabled"), None, Some(Reason::OptedOut)),
            (label("disabled"), Some("shop"), Some(Reason::OptedOut)),
            (label("enabled"), None, None),
            (label(""), None, None),
            (mirror_pod.clone(), None, Some(Reason::MirrorPod)),
            (mirror_pod, Some("shop"), Some(Reason::OwnNamespace)),
            (json!({"annotations": {"a": "b"}}), None, None),
        ] {
            assert_eq!(why(&metadata, "nginx", "", own_namespace), expected, "{metadata} {own_namespace:?}");
        }
    }

    #[test]
    fn an_image_is_left_alone_if_it_is_never_pulled_or_filled_in_later() {
        for (image, pull, expected) in [
            ("nginx", "Always", None),
            ("nginx", "IfNotPresent", None),
            ("nginx", "Never", Some(Reason::PullNever)),
            ("auto", "Never", Some(Reason::PullNever)),
            ("auto", "Always", Some(Reason::Placeholder)),
            ("", "", Some(Reason::Placeholder)),
            ("automatic", "", None),
        ] {
            assert_eq!(why(&json!({}), image, pull, None), expected, "{image} {pull}");
        }
        let opted_out = json!({"labels": {"portolan.dev/rewrite": "disabled"}});
        assert_eq!(why(&opted_out, "nginx", "Never", None), Some(Reason::OptedOut), "the Pod goes first");
    }
}
