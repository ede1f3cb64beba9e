//! The policy as YAML, written line by line: expressions as blocks, so that people can read them.

use std::fmt::Write as _;

use super::{Cover, Exported, LabelledPods, MOST_APPLIED, MOST_BYTES, Named, TooLargeError, cel::Variable};

/// A document that is being written.
#[derive(Default)]
pub(super) struct Yaml {
    text: String,
}

impl Yaml {
    pub(super) fn comment(&mut self, text: &str) {
        self.line(0, &format!("# {text}"));
    }

    /// A line at that depth.
    pub(super) fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.text, "{:indent$}{text}", "", indent = depth * 2);
    }

    /// A key with an expression as a block.
    pub(super) fn expression(&mut self, depth: usize, key: &str, expression: &str) {
        self.line(depth, &format!("{key}: |-"));
        // Below the key also where a `-` stands before it.
        let depth = depth + if key.starts_with("- ") { 2 } else { 1 };
        for line in expression.lines() {
            self.line(depth, line);
        }
    }

    /// Everything that both policies begin with: what they are called, and which requests they are about.
    pub(super) fn policy(&mut self, kind: &Named, cover: &Cover, failure_policy: &str) {
        let Named { kind, version, name } = kind;
        self.line(0, &format!("apiVersion: admissionregistration.k8s.io/{version}"));
        self.line(0, &format!("kind: {kind}"));
        self.line(0, &format!("metadata: {{name: {name}}}"));
        self.line(0, "spec:");
        self.line(1, &format!("failurePolicy: {failure_policy}"));
        self.line(1, "matchConstraints:");
        self.line(2, "matchPolicy: Equivalent");
        self.line(2, "namespaceSelector:");
        self.line(3, "matchExpressions:");
        self.line(4, "- {key: portolan.dev/rewrite, operator: NotIn, values: [audit, disabled]}");
        let own = serde_json::Value::from(&*cover.own_namespace);
        self.line(4, &format!("- {{key: kubernetes.io/metadata.name, operator: NotIn, values: [{own}]}}"));
        if cover.labelled_pods == LabelledPods::LeftOut {
            self.line(2, "objectSelector:");
            self.line(3, "matchExpressions:");
            self.line(4, "- {key: portolan.dev/rewrite, operator: NotIn, values: [disabled]}");
        }
        self.line(2, "resourceRules:");
        for (resource, operations) in [("pods", "CREATE, UPDATE"), ("pods/ephemeralcontainers", "UPDATE")] {
            self.line(
                3,
                &format!(
                    "- {{apiGroups: [\"\"], apiVersions: [v1], resources: [{resource}], operations: [{operations}], scope: \
                     Namespaced}}"
                ),
            );
        }
        self.line(1, "matchConditions:");
        self.line(2, "- name: no-mirror-pod");
        self.expression(3, "expression", NO_MIRROR_POD);
    }

    pub(super) fn variables(&mut self, variables: &[Variable]) {
        self.line(1, "variables:");
        for (name, expression) in variables {
            self.line(2, &format!("- name: {name}"));
            self.expression(3, "expression", expression);
        }
    }

    /// What puts the policy into force.
    pub(super) fn binding(&mut self, kind: &Named, further: &[&str]) {
        let Named { kind, version, name } = kind;
        self.line(0, "---");
        self.line(0, &format!("apiVersion: admissionregistration.k8s.io/{version}"));
        self.line(0, &format!("kind: {kind}Binding"));
        self.line(0, &format!("metadata: {{name: {name}}}"));
        self.line(0, "spec:");
        self.line(1, &format!("policyName: {name}"));
        for line in further {
            self.line(1, line);
        }
    }

    pub(super) fn finish(self, mut warnings: Vec<String>) -> Result<Exported, TooLargeError> {
        let size = self.text.len();
        if size > MOST_BYTES {
            return Err(TooLargeError { size });
        }
        if size > MOST_APPLIED {
            warnings.push(format!(
                "the policy has {} KiB: use `kubectl apply --server-side`, since the other way keeps it in an annotation",
                size / 1024
            ));
        }
        Ok(Exported { text: self.text, warnings })
    }
}

/// As in the webhook.
const NO_MIRROR_POD: &str =
    "!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)";
