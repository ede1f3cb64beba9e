//! `portolan explain`: what becomes of an image, by the webhook's own code.

use std::{
    io::BufRead as _,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::{
    ExitStatus, OutputFormat, Printer, parse_duration,
    table_args::{Opened, TableArgs},
};
use crate::{
    admission::{Asking, decide},
    image::{Digest, Reference},
    registry::{CachePolicy, Credentials, Resolver},
    rewrite::{Decision, Outcome, Pull, Reason, ResolvedFrom, is_placeholder, plan},
    server::endpoints,
    table::{Considered, Mirror, Rule, Table},
};

/// What `explain` is asked.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portolan explain nginx:1.25 --table mirrors.yaml
  portolan images k8s.yaml | portolan explain - --table mirrors.yaml -o json
  portolan explain quay.io/ceph/ceph:v17 --namespace rook-ceph

Exit codes:
  0  every image is kept or rewritten, also where a registry is silent
  1  an image is denied, or is no reference
  2  table, lock or a file cannot be read")]
pub(super) struct ExplainArgs {
    /// Images as manifests write them; `-` reads one a line from stdin
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,

    #[command(flatten)]
    tables: TableArgs,

    /// Namespace of the Pod; without it only rules for all namespaces count
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,

    /// Ask no registry
    #[arg(long)]
    offline: bool,

    /// Longest time to wait for registries
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    resolve_timeout: Duration,

    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: OutputFormat,
}

/// One image's row; the names are the contract's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    written: &'a str,
    reference: Option<&'a str>,
    rule: Option<&'a str>,
    mirror: Option<&'a str>,
    result: Option<&'a str>,
    digest: Option<&'a str>,
    outcome: &'static str,
    reason: &'static str,
    resolved_from: Option<&'static str>,
    considered: Vec<ConsideredRow<'a>>,
}

/// A rule whose source holds the image.
#[derive(Debug, Serialize)]
struct ConsideredRow<'a> {
    rule: &'a str,
    line: usize,
    namespaces: Option<Vec<&'a str>>,
    fate: &'static str,
}

pub(super) fn run(args: &ExplainArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let images = images(&args.images)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let Opened { table, lock } = args.tables.open(printer).await?;
        let resolver = Resolver::new(CachePolicy::default());
        if !args.offline {
            let logins = Credentials::from_environment().context("cannot read the registry logins")?;
            resolver.configure(endpoints(&table, |_| None), logins)?;
        }
        let asking = if args.offline {
            Asking::Nobody
        } else {
            Asking::Registries { resolver: &resolver, deadline: Instant::now() + args.resolve_timeout }
        };
        let namespace = args.namespace.as_deref();
        let mut scratch = String::new();
        let plans = images
            .iter()
            .map(|image| (image, plan(&table, &lock, image, Pull::Sometimes, namespace, &mut scratch)));
        let decided = decide(plans, asking).await;
        let rows: Vec<_> =
            decided.iter().map(|(image, decision)| Row::new(image, decision, &table, namespace)).collect();
        print(&rows, args.output, printer)?;
        let is_no = decided.iter().any(|(_, decision)| {
            decision.outcome == Outcome::Denied || decision.reason == Reason::InvalidReference
        });
        Ok(if is_no { ExitStatus::No } else { ExitStatus::Yes })
    })
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

impl<'a> Row<'a> {
    fn new(written: &'a str, decision: &'a Decision, table: &'a Table, namespace: Option<&str>) -> Self {
        let rule = decision.rule.as_deref();
        let result = match decision.outcome {
            Outcome::Denied => None,
            Outcome::Kept => Some(written),
            Outcome::Rewritten { .. } => decision.result(),
        };
        let considered = decision.reference.as_ref().map(|reference| table.considered(reference, namespace));
        Self {
            written,
            reference: decision.reference.as_ref().map(Reference::as_str),
            rule: rule.map(Rule::source),
            mirror: rule
                .zip(decision.mirror)
                .and_then(|(rule, mirror)| rule.mirrors().get(mirror))
                .map(Mirror::as_str),
            result,
            digest: decision.digest.as_ref().map(Digest::as_str),
            outcome: decision.outcome.word(),
            reason: decision.reason.word(),
            resolved_from: decision.resolved_from.map(ResolvedFrom::word),
            considered: considered.unwrap_or_default().into_iter().map(ConsideredRow::from).collect(),
        }
    }
}

impl<'a> From<Considered<'a>> for ConsideredRow<'a> {
    fn from(considered: Considered<'a>) -> Self {
        let namespaces = considered.rule.namespaces();
        Self {
            rule: considered.rule.source(),
            line: considered.rule.line(),
            namespaces: namespaces.map(|patterns| patterns.iter().map(|pattern| &**pattern).collect()),
            fate: considered.fate.word(),
        }
    }
}

fn print(rows: &[Row<'_>], output: OutputFormat, printer: &mut Printer) -> anyhow::Result<()> {
    if output == OutputFormat::Json {
        return printer.json(&rows);
    }
    for (number, row) in rows.iter().enumerate() {
        if number > 0 {
            printer.line("")?;
        }
        printer.line(row.written)?;
        printer.line(&format!("  {} ({})", row.outcome, row.reason))?;
        for (name, value) in [
            ("result", row.result),
            ("reference", row.reference),
            ("rule", row.rule),
            ("mirror", row.mirror),
            ("digest", row.digest),
            ("known from", row.resolved_from),
        ] {
            if let Some(value) = value {
                printer.line(&format!("  {name:<10}  {value}"))?;
            }
        }
        for considered in &row.considered {
            let scope = considered.namespaces.as_ref().map(|patterns| format!(" in {}", patterns.join(", ")));
            printer.line(&format!(
                "  considered  {}{} (line {}): {}",
                considered.rule,
                scope.unwrap_or_default(),
                considered.line,
                considered.fate
            ))?;
        }
    }
    Ok(())
}
