//! `portolan export`: the mapping table in other tools' words, for what admission by webhook does not reach.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use super::{ExitStatus, Printer, table_args::read_table_file};
use crate::foreign::{Cover, LabelledPods, mutating_admission_policy, validating_admission_policy};

/// What `export` is asked.
#[derive(Debug, Args)]
#[command(
    after_help = "Both policies are about the Pods that the webhook is called about: the same namespaces and Pods are left
out. Make them anew when the table changes. MutatingAdmissionPolicy is beta in Kubernetes 1.34 and 1.35 and
off by default: the API server needs --feature-gates=MutatingAdmissionPolicy=true and
--runtime-config=admissionregistration.k8s.io/v1beta1=true.

Examples:
  portolan export validating-admission-policy --table mirrors.yaml | kubectl apply --server-side -f -
  portolan export mutating-admission-policy --table mirrors.yaml > policy.yaml

Exit codes:
  0  it is written; what the table says and it cannot is on stderr
  2  the table cannot be read, or the result is larger than can be stored"
)]
pub(super) struct ExportArgs {
    /// What to write
    #[arg(value_enum)]
    kind: Kind,

    /// File with the mapping table
    #[arg(long, value_name = "FILE")]
    table: PathBuf,

    /// The namespace in which Portolan runs, which is left out
    #[arg(long, value_name = "NS", default_value = "portolan", value_parser = parse_namespace)]
    own_namespace: String,

    /// Whether Pods may opt out by the label `portolan.dev/rewrite: disabled`, as with `serve`
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    pod_opt_out: bool,
}

/// In whose words.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// Moves images into the first mirror of their rule without Portolan, and without digests
    MutatingAdmissionPolicy,
    /// Refuses Pods with images that Portolan would have moved and did not, as while it was away
    ValidatingAdmissionPolicy,
}

pub(super) fn run(args: &ExportArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let table = read_table_file(&args.table, printer)?;
    let labelled_pods = if args.pod_opt_out { LabelledPods::LeftOut } else { LabelledPods::Judged };
    let cover = Cover { own_namespace: args.own_namespace.clone(), labelled_pods };
    let exported = match args.kind {
        Kind::MutatingAdmissionPolicy => mutating_admission_policy(&table, &cover)?,
        Kind::ValidatingAdmissionPolicy => validating_admission_policy(&table, &cover)?,
    };
    for warning in &exported.warnings {
        printer.warning(warning);
    }
    printer.line(exported.text.trim_end())?;
    Ok(ExitStatus::Yes)
}

/// A name as the API server takes it (RFC 1123).
fn parse_namespace(text: &str) -> Result<String, String> {
    let is_inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = (1..=63).contains(&text.len()) && text.bytes().all(is_inside) && !text.starts_with('-');
    if is_name && !text.ends_with('-') {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no namespace"))
    }
}
