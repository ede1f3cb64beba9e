//! Kubernetes' own admission policies, in CEL: one that refuses what Portolan would have rewritten, and one that rewrites
//! by itself, without digests.
//!
//! Both judge the same Pods as the webhook, in the API server, whether a Portolan answers or not. They decide as
//! [`Table::lookup`] does, step by step, of a reference that CEL takes apart; the sources are keys of a map, so that a
//! thousand rules cost an admission no more than ten.
//!
//! Both are written for Kubernetes 1.30 and newer: no newer library of CEL is used.

mod cel;
mod yaml;

use self::{cel::Program, yaml::Yaml};
use super::{Exported, MADE, rules_of_lines};
use crate::table::{Fallback, LockMode, Pin, Rule, Table};

/// Which Pods a policy judges, beside what holds of all: those that the webhook is called about.
#[derive(Clone, Debug)]
pub struct Cover {
    /// The namespace in which Portolan runs, which is left out.
    pub own_namespace: String,
    /// What becomes of Pods with the label `portolan.dev/rewrite: disabled`.
    pub labelled_pods: LabelledPods,
}

/// What becomes of Pods that opt out by their label.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LabelledPods {
    /// They are judged as others: Portolan runs with `--pod-opt-out=false`.
    Judged,
    /// They are left out.
    LeftOut,
}

/// A policy that no API server would store.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the policy would have {size} bytes, and an API server stores objects of no more than {MOST_BYTES}: name fewer sources, \
     such as whole registries"
)]
pub struct TooLargeError {
    size: usize,
}

/// A `ValidatingAdmissionPolicy` with its binding: refuses Pods with images that the table moves.
pub fn validating_admission_policy(table: &Table, cover: &Cover) -> Result<Exported, TooLargeError> {
    let program = Program::of(table);
    let mut yaml = Yaml::default();
    let about = "Refuses Pods whose images Portolan would have moved and did not, as while it was away.";
    yaml.comment(&format!("{MADE} {about}"));
    let kind = Named { kind: "ValidatingAdmissionPolicy", version: "v1", name: "portolan-images" };
    yaml.policy(&kind, cover, "Fail");
    yaml.variables(&program.judged());
    yaml.line(1, "validations:");
    yaml.expression(2, "- expression", "size(variables.moved) == 0");
    yaml.expression(
        3,
        "messageExpression",
        "'image `' + variables.moved[0] + '` is not in its mirror: Portolan would have moved it and did not, since it did not \
         answer or did not find it there'",
    );
    yaml.line(3, "message: an image is not in its mirror, and Portolan would have moved it");
    yaml.line(3, "reason: Forbidden");
    yaml.binding(&kind, &["validationActions: [Deny]"]);

    yaml.finish(warnings_about(
        table,
        &[
            (|rule| rule.pin() != Pin::Off, "`pin` is not asked for: an image in its mirror passes without a digest, too"),
            (|rule| rule.lock() == LockMode::Require, "`lock: require` is not asked for: an image in its mirror passes whether it is locked or not"),
            (|rule| rule.on_missing() == Fallback::Keep, "`onMissing: keep` leaves an image that no mirror has as it is written, and the policy refuses its Pod"),
            (|rule| rule.on_unavailable() == Fallback::Keep, "`onUnavailable: keep` leaves an image as it is written while no mirror answers, and the policy refuses its Pod"),
        ],
    ))
}

/// A `MutatingAdmissionPolicy` with its binding: moves images as the table says, and asks no registry.
pub fn mutating_admission_policy(table: &Table, cover: &Cover) -> Result<Exported, TooLargeError> {
    let program = Program::of(table);
    let mut yaml = Yaml::default();
    let about = "Moves images into the first mirror of their rule, without a digest.";
    yaml.comment(&format!("{MADE} {about}"));
    let kind = Named { kind: "MutatingAdmissionPolicy", version: "v1beta1", name: "portolan-prefixes" };
    yaml.policy(&kind, cover, "Ignore");
    yaml.line(1, "reinvocationPolicy: IfNeeded");
    yaml.variables(&program.rewritten());
    yaml.line(1, "mutations:");
    yaml.line(2, "- patchType: ApplyConfiguration");
    yaml.line(3, "applyConfiguration:");
    yaml.expression(4, "expression", cel::APPLY);
    yaml.binding(&kind, &[]);

    let mut warnings = warnings_about(
        table,
        &[
            (
                |rule| rule.pin() != Pin::Off,
                "`pin` cannot be had: a policy asks no registry, and adds no digest",
            ),
            (
                |rule| rule.lock() == LockMode::Require,
                "`lock: require` cannot be had: a policy knows no lock",
            ),
            (
                |rule| rule.on_missing() != Fallback::Rewrite || rule.on_unavailable() != Fallback::Rewrite,
                "`onMissing` and `onUnavailable` count for nothing: an image is moved whether its mirror has it or not",
            ),
            (|rule| rule.mirrors().len() > 1, "only the first mirror counts"),
        ],
    );
    if table.registries().iter().any(|registry| registry.pull_secret.is_some()) {
        warnings.push("`pullSecret` cannot be had: Pods bring their own imagePullSecrets".to_owned());
    }
    warnings.push(
        "no annotation is written: an applied manifest puts images back, and `portolan check --cluster` cannot tell these \
         Pods"
            .to_owned(),
    );
    yaml.finish(warnings)
}

/// What a policy is called.
struct Named {
    kind: &'static str,
    version: &'static str,
    name: &'static str,
}

/// Which rules a warning is about, and what it says of them.
type About = (fn(&Rule) -> bool, &'static str);

/// The warnings that are about any of the table's rules.
fn warnings_about(table: &Table, all: &[About]) -> Vec<String> {
    let warn = |(fits, text): &About| about_rules(table, fits).map(|rules| format!("{rules}: {text}"));
    all.iter().filter_map(warn).collect()
}

/// The rules with mirrors that fit, in words; `None`: there is none.
fn about_rules(table: &Table, fits: impl Fn(&Rule) -> bool) -> Option<String> {
    let fitting = table.rules().iter().filter(|rule| !rule.keep() && fits(rule));
    rules_of_lines(&fitting.map(|rule| rule.line()).collect::<Vec<_>>())
}

/// What etcd stores of one object by default is 1.5 MiB; some is left for what the API server adds.
const MOST_BYTES: usize = 1_400_000;

/// What `kubectl apply` puts into an annotation when it applies by itself; an API server takes 256 KiB of annotations.
const MOST_APPLIED: usize = 200 * 1024;

#[cfg(test)]
mod tests;
