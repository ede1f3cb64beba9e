//! `portolan check`: would everything run, by the webhook's own code.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::{
    ExitStatus, OutputFormat, Printer,
    inputs::InputArgs,
    parse_duration,
    registries::reachable,
    table_args::{Opened, TableArgs},
};

mod inside;
mod judge;
mod policies;
mod report;
mod unrewritten;

/// What `check` is asked.
#[derive(Debug, Args)]
#[command(
    after_help = "What no rule speaks of is left as written: it is counted and fails nothing. In a namespace
labelled `portolan.dev/rewrite: audit` images are only audited: each state says what would
become of it, and fails nothing, since the Pod runs what is written.

With --cluster, Pods that were admitted while no Portolan answered are named, and what mends them: most
by `kubectl rollout restart`. They fail nothing.

Registries are asked with your logins: those of podman, of docker and of their credential helpers
(`portolan save --help` says where they are looked for).

Examples:
  portolan check --table mirrors.yaml deploy/
  helm template my-chart | portolan check --table mirrors.yaml --lock lock.txt --namespace shop -
  portolan check --cluster -o json

Exit codes:
  0  everything would run
  1  something is missing, denied or no image
  2  could not find out"
)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    inputs: InputArgs,

    #[command(flatten)]
    tables: TableArgs,

    /// Longest time to wait for registries, for each image
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    resolve_timeout: Duration,

    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: OutputFormat,
}

pub(super) fn run(args: &CheckArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let Opened { table, lock } = args.tables.open(printer).await?;
        let resolver = reachable(&table)?;
        let client = args.inputs.connect().await?;
        let inputs = args.inputs.collect(args.tables.own_namespace(), client.as_ref(), printer).await?;
        let judge = judge::Judge::new(&table, &lock, &resolver, args.resolve_timeout);
        let judged = judge.all(&inputs.wanted).await;
        let (findings, unrewritten) = match &client {
            Some(client) => {
                let mut findings = inside::findings(
                    &table,
                    client,
                    &inputs.namespaces,
                    args.tables.own_namespace(),
                    printer,
                )
                .await;
                findings.extend(policies::findings(&table, client, &judged, printer).await);
                let own_namespace = args.tables.own_namespace();
                let unrewritten =
                    unrewritten::find(client, &inputs.namespaces, own_namespace, &judged, printer).await;
                (findings, Some(unrewritten.context("cannot list the cluster's pods")?))
            }
            None => (Vec::new(), None),
        };
        let report = report::Report::new(judged, findings, unrewritten);
        report.print(args.output, printer)?;
        Ok(match report.verdict() {
            ExitStatus::Yes if inputs.unread > 0 => ExitStatus::Unknown,
            verdict => verdict,
        })
    })
}
