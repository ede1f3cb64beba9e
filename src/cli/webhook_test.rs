//! `portolan webhook-test`: what `helm test` runs to see that the API server calls Portolan. It is no command for people.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;

use super::{ExitStatus, Printer, parse_duration};
use crate::cluster::{self, WatchPolicy};

/// Where Portolan is, and how long it may take.
#[derive(Debug, Args)]
pub(super) struct WebhookTestArgs {
    /// Portolan's namespace [default: the Pod's, else `portolan`]
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,

    /// Longest time until the answer is yes: endpoints and a new certificate take a moment
    #[arg(long, default_value = "20s", value_parser = parse_duration)]
    within: Duration,
}

pub(super) fn run(args: &WebhookTestArgs, printer: &mut Printer) -> anyhow::Result<ExitStatus> {
    let namespace =
        args.namespace.clone().or_else(cluster::own_namespace).unwrap_or_else(|| "portolan".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let cannot = "cannot find out whether the API server calls Portolan";
        let client = cluster::Client::connect(WatchPolicy::default()).await.context(cannot)?;
        let deadline = Instant::now() + args.within;
        loop {
            let answers = cluster::webhook_answers(&client, &namespace).await;
            if matches!(answers, Ok(true)) {
                printer.line("the API server calls Portolan and trusts it")?;
                return Ok(ExitStatus::Yes);
            }
            if Instant::now() >= deadline {
                answers.context(cannot)?;
                printer.line(
                    "the API server does not call Portolan, or does not trust it: an edit that Portolan refuses would be stored",
                )?;
                return Ok(ExitStatus::No);
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
}

const PAUSE: Duration = Duration::from_millis(500);
