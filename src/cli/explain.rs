//! `portolan explain`: what becomes of an image or a Pod, by the webhook's own code.

mod pods;
mod row;
mod text;

use std::{
    collections::{BTreeSet, HashMap},
    io::BufRead as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;

use super::{
    ExitStatus, OutputFormat, Printer, parse_duration,
    registries::logins,
    table_args::{Opened, TableArgs},
};
use crate::{
    admission::{Asking, decide},
    image::Reference,
    lock::Lock,
    registry::{CachePolicy, Heard, Resolver},
    rewrite::{Outcome, Pull, Reason, is_placeholder, plan},
    server::endpoints,
    table::Table,
};
use pods::{Manifests, PodRow};
use row::{Row, Rows, by_reference};

/// What `explain` is asked.
#[derive(Debug, Args)]
#[command(
    after_help = "Registries are asked with your logins: those of podman, of docker and of their credential helpers
(`portolan save --help` says where they are looked for).

Examples:
  portolan explain nginx:1.25 --table mirrors.yaml
  portolan explain quay.io/ceph/ceph:v17 --namespace rook-ceph
  portolan explain - --table mirrors.yaml -o json < images.txt
  portolan explain -f deployment.yaml --table mirrors.yaml

JSON: of images an array of {written, reference, rule, mirror, result, digest, outcome, reason,
resolvedFrom, mirrors, considered}; with -f an array of {kind, name, namespace, images, patch,
warnings, pullSecrets, denied}, whose images also have a field.

Exit codes:
  0  every image is kept or rewritten, also where a registry is silent
  1  an image is denied, or is no reference
  2  table, lock or a file cannot be read"
)]
pub(super) struct ExplainArgs {
    /// Images as manifests write them; `-` reads one a line from stdin
    #[arg(required_unless_present = "files", value_name = "IMAGE")]
    images: Vec<String>,

    /// Manifests (YAML or JSON, `-`: stdin) whose Pods, or the Pods of whose workloads, are shown whole, with the patch
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with = "images")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    tables: TableArgs,

    /// Namespace of the Pod; without it only rules for all namespaces count, and manifests say it themselves
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,

    /// Ask no registry
    #[arg(long)]
    offline: bool,

    /// Longest time to wait for registries, for each Pod and each 32 images
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    resolve_timeout: Duration,

    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: OutputFormat,
}

pub(super) fn run(args: &ExplainArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if args.files.is_empty() {
        let images = images(&args.images)?;
        runtime.block_on(explain_images(args, &images, printer))
    } else {
        let manifests = Manifests::read(&args.files, args.namespace.as_deref());
        runtime.block_on(explain_manifests(args, manifests, printer))
    }
}

async fn explain_images(
    args: &ExplainArgs,
    images: &[String],
    printer: &mut Printer,
) -> anyhow::Result<ExitStatus> {
    let opened = args.tables.open(printer).await?;
    let resolver = resolver(args, &opened.table)?;
    let asked = Asked::new(args, &opened, resolver.as_ref(), None);
    let namespace = args.namespace.as_deref();
    let mut rows = Vec::with_capacity(images.len());
    // Each group has its own deadline: the last of many images must not pay for the first.
    for group in images.chunks(GROUP) {
        let plans = group
            .iter()
            .map(|image| (image, plan(&opened.table, &opened.lock, image, Pull::Sometimes, namespace)));
        let decided = decide(plans, asked.asking()).await;
        let heard = asked.heard();
        let made = asked.rows(namespace, &heard);
        rows.extend(decided.iter().map(|decided| made.row(decided.field, &decided.decision)));
    }
    match args.output {
        OutputFormat::Json => printer.json(&rows)?,
        OutputFormat::Text => {
            let palette = printer.palette();
            print(rows.iter().map(|row| text::image(row, palette)), printer)?;
        }
    }
    Ok(if rows.iter().any(is_no) { ExitStatus::No } else { ExitStatus::Yes })
}

async fn explain_manifests(
    args: &ExplainArgs,
    manifests: Manifests,
    printer: &mut Printer,
) -> anyhow::Result<ExitStatus> {
    let opened = args.tables.open(printer).await?;
    let resolver = resolver(args, &opened.table)?;
    let own_namespace = args.tables.own_namespace();
    let asked = Asked::new(args, &opened, resolver.as_ref(), Some(own_namespace));
    let of_system: BTreeSet<_> =
        manifests.pods.iter().filter(|pod| pod.is_of_system()).map(|pod| &*pod.namespace).collect();
    for namespace in of_system {
        printer.warning(&format!(
            "in namespace `{namespace}` the webhook is not called unless it is labelled `portolan.dev/rewrite: enabled`"
        ));
    }
    let mut problems = manifests.problems;
    let mut pods: Vec<PodRow> = Vec::with_capacity(manifests.pods.len());
    for pod in &manifests.pods {
        match pod.explain(&asked).await {
            Ok(row) => pods.push(row),
            Err(error) => problems.push(error),
        }
    }
    match args.output {
        OutputFormat::Json => printer.json(&pods)?,
        OutputFormat::Text => {
            let palette = printer.palette();
            print(pods.iter().map(|pod| text::pod(pod, palette)), printer)?;
        }
    }
    for problem in &problems {
        printer.error(problem);
    }
    Ok(match () {
        () if !problems.is_empty() => ExitStatus::Unknown,
        () if pods.iter().flat_map(|pod| &pod.images).any(is_no) => ExitStatus::No,
        () => ExitStatus::Yes,
    })
}

/// What everything is decided by.
struct Asked<'a> {
    table: &'a Table,
    lock: &'a Lock,
    own_namespace: Option<&'a str>,
    /// `None`: no registry is asked.
    resolver: Option<&'a Resolver>,
    resolve_timeout: Duration,
}

impl<'a> Asked<'a> {
    fn new(
        args: &ExplainArgs,
        opened: &'a Opened,
        resolver: Option<&'a Resolver>,
        own_namespace: Option<&'a str>,
    ) -> Self {
        let resolve_timeout = args.resolve_timeout;
        Self { table: &opened.table, lock: &opened.lock, own_namespace, resolver, resolve_timeout }
    }

    /// Who is asked from now on, and until when.
    fn asking(&self) -> Asking<'a> {
        match self.resolver {
            Some(resolver) => {
                Asking::Registries { resolver, deadline: Instant::now() + self.resolve_timeout }
            }
            None => Asking::Nobody,
        }
    }

    /// What mirrors said since the last call.
    fn heard(&self) -> HashMap<Reference, Heard> {
        self.resolver.map(|resolver| by_reference(resolver.heard())).unwrap_or_default()
    }

    fn rows(&self, namespace: Option<&'a str>, heard: &'a HashMap<Reference, Heard>) -> Rows<'a> {
        let is_offline = self.resolver.is_none();
        Rows { table: self.table, lock: self.lock, namespace, is_offline, heard }
    }
}

/// A resolver that writes down what mirrors say; `None`: no registry is to be asked.
fn resolver(args: &ExplainArgs, table: &Table) -> anyhow::Result<Option<Resolver>> {
    if args.offline {
        return Ok(None);
    }
    let resolver = Resolver::listening(CachePolicy::default());
    resolver.configure(endpoints(table, |_| None), logins()?)?;
    Ok(Some(resolver))
}

/// The images named, `-` replaced by the lines of stdin.
fn images(named: &[String]) -> anyhow::Result<Vec<String>> {
    let mut images = Vec::new();
    for name in named {
        if name != "-" {
            images.push(name.clone());
            continue;
        }
        for line in std::io::stdin().lock().lines() {
            let line = line.context("cannot read stdin")?;
            let image = line.trim();
            if !is_placeholder(image) || image == "auto" {
                images.push(image.to_owned());
            }
        }
    }
    Ok(images)
}

/// Whether the answer about an image is no.
fn is_no(row: &Row) -> bool {
    row.outcome == Outcome::Denied.word() || row.reason == Reason::InvalidReference.word()
}

/// Blocks of lines, a blank line between them.
fn print(blocks: impl Iterator<Item = Vec<String>>, printer: &mut Printer) -> anyhow::Result<()> {
    for (number, block) in blocks.enumerate() {
        if number > 0 {
            printer.line("")?;
        }
        for line in block {
            printer.line(&line)?;
        }
    }
    Ok(())
}

/// How many images share a deadline: more than most Pods have.
const GROUP: usize = 32;
