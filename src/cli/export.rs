//! `portolan export`: the mapping table in other tools' words, for what admission by webhook does not reach.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{ArgAction, Args, ValueEnum};

use super::{ExitStatus, Printer, table_args::read_table_file};
use crate::{
    foreign::{
        Cover, Exported, ExportedFiles, LabelledPods, hosts_toml, image_digest_mirror_set,
        image_tag_mirror_set, mutating_admission_policy, registries_conf, registries_yaml,
        validating_admission_policy,
    },
    table::Table,
};

/// What `export` is asked.
#[derive(Debug, Args)]
#[command(
    after_help = "hosts.toml, registries.conf, registries.yaml, idms and itms are for nodes: they hold for what admission
never sees, as the sandbox image and static Pods. Of hosts.toml there is a file for each registry: --dir writes
them; on stdout each stands below a comment with its path.

Both policies are about the Pods that the webhook is called about: the same namespaces and Pods are left
out. Make them anew when the table changes. MutatingAdmissionPolicy is beta in Kubernetes 1.34 and 1.35 and
off by default: the API server needs --feature-gates=MutatingAdmissionPolicy=true and
--runtime-config=admissionregistration.k8s.io/v1beta1=true.

Examples:
  portolan export validating-admission-policy --table mirrors.yaml | kubectl apply --server-side -f -
  portolan export mutating-admission-policy --table mirrors.yaml > policy.yaml
  portolan export hosts.toml --table mirrors.yaml --dir /etc/containerd/certs.d
  portolan export registries.conf --table mirrors.yaml > /etc/containers/registries.conf.d/50-portolan.conf

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

    /// Folder for the files of `hosts.toml`; what it has of the same names is replaced
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// The namespace in which Portolan runs, which a policy leaves out
    #[arg(long, value_name = "NS", default_value = "portolan", value_parser = parse_namespace)]
    own_namespace: String,

    /// Whether Pods may opt out of a policy by the label `portolan.dev/rewrite: disabled`, as with `serve`
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    pod_opt_out: bool,
}

/// In whose words.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Kind {
    /// For containerd: the files of certs.d
    #[value(name = "hosts.toml")]
    HostsToml,
    #[value(help = "For OpenShift, images with a digest: ImageDigestMirrorSet")]
    Idms,
    #[value(help = "For OpenShift, images with a tag: ImageTagMirrorSet")]
    Itms,
    /// Moves images into the first mirror of their rule without Portolan, and without digests
    MutatingAdmissionPolicy,
    /// For CRI-O, podman and skopeo
    #[value(name = "registries.conf")]
    RegistriesConf,
    /// For k3s and RKE2
    #[value(name = "registries.yaml")]
    RegistriesYaml,
    /// Refuses Pods with images that Portolan would have moved and did not, as while it was away
    ValidatingAdmissionPolicy,
}

pub(super) fn run(args: &ExportArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    if args.dir.is_some() && args.kind != Kind::HostsToml {
        bail!("`--dir` is for `hosts.toml` alone: the others are one text");
    }
    let table = read_table_file(&args.table, printer)?;
    let exported = export(args, &table)?;
    for warning in &exported.warnings {
        printer.warning(warning);
    }
    if let Some(folder) = &args.dir {
        for (path, text) in &exported.files {
            write(&folder.join(path), text)?;
        }
        return Ok(ExitStatus::Yes);
    }
    for (number, (path, text)) in exported.files.iter().enumerate() {
        if args.kind == Kind::HostsToml {
            printer.line(&format!("{}# ---- {path}", if number == 0 { "" } else { "\n" }))?;
        }
        printer.line(text.trim_end())?;
    }
    Ok(ExitStatus::Yes)
}

fn export(args: &ExportArgs, table: &Table) -> anyhow::Result<ExportedFiles> {
    let labelled_pods = if args.pod_opt_out { LabelledPods::LeftOut } else { LabelledPods::Judged };
    let cover = Cover { own_namespace: args.own_namespace.clone(), labelled_pods };
    let Exported { text, warnings } = match args.kind {
        Kind::HostsToml => return Ok(hosts_toml(table)),
        Kind::Idms => image_digest_mirror_set(table),
        Kind::Itms => image_tag_mirror_set(table),
        Kind::MutatingAdmissionPolicy => mutating_admission_policy(table, &cover)?,
        Kind::RegistriesConf => registries_conf(table),
        Kind::RegistriesYaml => registries_yaml(table),
        Kind::ValidatingAdmissionPolicy => validating_admission_policy(table, &cover)?,
    };
    Ok(ExportedFiles { files: vec![(String::new(), text)], warnings })
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let unwritable = || format!("cannot write `{}`", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(unwritable)?;
    }
    fs::write(path, text).with_context(unwritable)
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
