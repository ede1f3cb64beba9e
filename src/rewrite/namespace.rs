//! Which Pods the API server brings before the webhook, by their namespace.
//!
//! The shipped webhook configuration says it in selectors and matchConditions; here it is said once more, for whoever
//! judges Pods and manifests without being called.

use super::Mode;

/// What becomes of the Pods of a namespace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Calling {
    /// The webhook is called, and what it decides is carried out or only said.
    Called(Mode),
    /// It is not called: the namespace's label says so.
    Disabled,
    /// It is not called: the namespace is the cluster's own, and no label takes it in.
    System,
}

impl Calling {
    /// By a namespace's name and the value of its label `portolan.dev/rewrite`.
    pub fn of(namespace: &str, label: Option<&str>) -> Self {
        match label {
            Some("audit") => Self::Called(Mode::Audit),
            Some("disabled") => Self::Disabled,
            Some("enabled") => Self::Called(Mode::Enforce),
            _ if SYSTEM_PREFIXES.iter().any(|prefix| namespace.starts_with(prefix)) => Self::System,
            _ => Self::Called(Mode::Enforce),
        }
    }
}

/// What the names of the cluster's own namespaces begin with.
const SYSTEM_PREFIXES: [&str; 2] = ["kube-", "openshift-"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_goes_before_a_name_and_a_strange_one_is_none() {
        for (namespace, label, expected) in [
            ("shop", None, Calling::Called(Mode::Enforce)),
            ("shop", Some("enabled"), Calling::Called(Mode::Enforce)),
            ("shop", Some("audit"), Calling::Called(Mode::Audit)),
            ("shop", Some("disabled"), Calling::Disabled),
            ("shop", Some("off"), Calling::Called(Mode::Enforce)),
            ("kubeless", None, Calling::Called(Mode::Enforce)),
            ("kube-system", None, Calling::System),
            ("kube-system", Some("off"), Calling::System),
            ("kube-system", Some("enabled"), Calling::Called(Mode::Enforce)),
            ("kube-system", Some("audit"), Calling::Called(Mode::Audit)),
            ("openshift-dns", None, Calling::System),
        ] {
            assert_eq!(Calling::of(namespace, label), expected, "{namespace} {label:?}");
        }
    }
}
