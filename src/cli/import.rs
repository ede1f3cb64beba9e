//! `portolan import`: other tools' tables as a mapping table.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use super::{ExitStatus, Printer, printer::plain};
use crate::foreign;

/// What `import` is asked.
#[derive(Debug, Args)]
#[command(
    after_help = "All files are one table together. What they say and a table cannot, or says a little differently, is on
stderr, each with file, line and key. Read it before the table is used, and say by `portolan explain` what
becomes of an image.

Examples:
  portolan import auto rook-ceph.yaml > mirrors.yaml
  portolan import hosts.toml /etc/containerd/certs.d > mirrors.yaml
  portolan import registries.conf /etc/containers/registries.conf /etc/containers/registries.conf.d
  kubectl get imagecontentsourcepolicies,imagedigestmirrorsets,imagetagmirrorsets -o yaml | portolan import auto -

Exit codes:
  0  the table is written; what it cannot say is on stderr
  2  a file cannot be read, is broken or of another kind, or contradicts another one"
)]
pub(super) struct ImportArgs {
    /// What the files are
    #[arg(value_enum)]
    kind: Kind,

    /// Files, in the order in which their own tool reads them; `-` is stdin; a folder is all of `HOST/hosts.toml` or `*.conf` in it
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// In whose words the files are.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    // `auto` first, the others by their words.
    /// Told from the files' names and what is in them
    Auto,
    /// Configuration of harbor-container-webhook
    HarborContainerWebhook,
    /// containerd: certs.d/HOST/hosts.toml, or the folder certs.d
    #[value(name = "hosts.toml")]
    HostsToml,
    #[value(help = "OpenShift: ImageContentSourcePolicy")]
    Icsp,
    #[value(help = "OpenShift: ImageDigestMirrorSet")]
    Idms,
    /// Maps of imageswap-webhook, as a file or in their ConfigMap
    Imageswap,
    #[value(help = "OpenShift: ImageTagMirrorSet")]
    Itms,
    /// Configuration of k8s-image-swapper
    #[value(name = "k8s-image-swapper")]
    K8sImageSwapper,
    /// Kubespray: offline.yml
    Kubespray,
    /// CRI-O, podman, skopeo: registries.conf, version 2
    #[value(name = "registries.conf")]
    RegistriesConf,
    /// k3s and RKE2: registries.yaml
    #[value(name = "registries.yaml")]
    RegistriesYaml,
}

impl Kind {
    fn named(self) -> Option<foreign::Kind> {
        Some(match self {
            Self::Auto => return None,
            Self::HarborContainerWebhook => foreign::Kind::HarborContainerWebhook,
            Self::HostsToml => foreign::Kind::HostsToml,
            Self::Icsp => foreign::Kind::Icsp,
            Self::Idms => foreign::Kind::Idms,
            Self::Imageswap => foreign::Kind::ImageSwap,
            Self::Itms => foreign::Kind::Itms,
            Self::K8sImageSwapper => foreign::Kind::K8sImageSwapper,
            Self::Kubespray => foreign::Kind::Kubespray,
            Self::RegistriesConf => foreign::Kind::RegistriesConf,
            Self::RegistriesYaml => foreign::Kind::RegistriesYaml,
        })
    }
}

pub(super) fn run(args: &ImportArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let mut texts = Vec::new();
    for path in &args.files {
        for file in files_of(path)? {
            let name = plain(&file.display().to_string());
            let text = read(&file).with_context(|| format!("cannot read `{name}`"))?;
            texts.push((name, text));
        }
    }
    let files: Vec<_> = texts.iter().map(|(name, text)| foreign::File { name, text }).collect();
    let imported = foreign::import(args.kind.named(), &files, &mut beside).context("cannot import")?;
    for warning in &imported.warnings {
        printer.warning(warning);
    }
    printer.line(imported.text.trim_end())?;
    Ok(ExitStatus::Yes)
}

/// A file itself; of a folder, what containerd or CRI-O would read in it.
fn files_of(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let name = plain(&path.display().to_string());
    let own = path.join("hosts.toml");
    if own.is_file() {
        return Ok(vec![own]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot read the folder `{name}`"))? {
        let entry = entry.with_context(|| format!("cannot read the folder `{name}`"))?.path();
        let hosts = entry.join("hosts.toml");
        if hosts.is_file() {
            files.push(hosts);
        } else if entry.extension().is_some_and(|extension| extension == "conf") && entry.is_file() {
            files.push(entry);
        }
    }
    files.sort();
    if files.is_empty() {
        bail!("cannot import the folder `{name}`: it has neither `HOST/hosts.toml` nor `*.conf`");
    }
    Ok(files)
}

fn read(path: &Path) -> io::Result<String> {
    if path == Path::new("-") { read_text(io::stdin().lock()) } else { read_text(fs::File::open(path)?) }
}

/// A file that another one names, which may be relative to that one's folder.
fn beside(file: &str, path: &str) -> Option<String> {
    let path = Path::new(file).parent().unwrap_or_else(|| Path::new("")).join(path);
    path.is_file().then(|| read(&path).ok()).flatten()
}

/// Reads no more than any of these tools would be given.
fn read_text(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    let read = source.take(MOST_TEXT + 1).read_to_string(&mut text);
    if u64::try_from(text.len()).is_ok_and(|length| length > MOST_TEXT) {
        return Err(io::Error::other("it has more than 16 MiB"));
    }
    read.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => io::Error::other("it is no text (UTF-8)"),
        _ => error,
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// How much of one file is read.
const MOST_TEXT: u64 = 16 * 1024 * 1024;
