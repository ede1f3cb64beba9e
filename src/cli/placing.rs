//! Putting images where the table says, and saying so: what `load` and `copy` share.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::{
    ExitStatus, OutputFormat, Printer,
    lock::{listens, old_text, replace},
    printer::in_line,
    progress::{Progress, ProgressFormat, amount},
    registries::movable,
    table_args::read_table_file,
};
use crate::{
    image::Reference,
    lock::Update,
    table::{Lookup, Table},
    transfer::{
        Event, Loaded, RetryPolicy, Shipment, Shipped, Source, Target, TransferError, TransferOptions, load,
    },
};

/// Where images go, and how.
#[derive(Debug, Args)]
pub(super) struct PlacingArgs {
    /// File with the mapping table: which mirror stands for what, and how registries are reached
    #[arg(long, value_name = "FILE")]
    table: PathBuf,

    /// File with the lock, brought up to date with what the mirrors have now; made if it is not there
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,

    /// How many blobs are sent at once
    #[arg(long, value_name = "NUMBER", default_value = "6", value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,

    /// How often something that may pass (a lost connection, 429, 5xx) is tried again without any progress
    #[arg(long, value_name = "NUMBER", default_value = "5", value_parser = clap::value_parser!(u16).range(0..=100))]
    retries: u16,

    /// How progress is shown on stderr
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "auto")]
    progress: ProgressFormat,

    /// What goes to stdout; text is on stderr alone
    #[arg(short, long, value_enum, default_value = "text")]
    output: OutputFormat,
}

/// What the table says about the images of one run.
pub(super) struct Plan {
    table: Table,
    shipments: Vec<Shipment>,
    /// Whose lines the lock is to have, by place.
    locked: HashSet<Reference>,
    rows: Vec<Row>,
    /// How many images cannot go anywhere. Each was named on stderr.
    pub(super) lost: usize,
}

/// An image in one place, for scripts.
#[derive(Serialize)]
struct Row {
    image: String,
    /// `null`: it goes nowhere.
    reference: Option<String>,
    digest: Option<String>,
    /// `loaded`, `there`, `kept` (an exception of the table), `failed`.
    state: &'static str,
    /// How many bytes its blobs have, how many were sent and how many taken over from another repository.
    size: u64,
    sent: u64,
    mounted: u64,
    error: Option<String>,
    remedy: Option<&'static str>,
}

impl PlacingArgs {
    /// Reads table and lock. What is wrong with them is said before anything is moved.
    pub(super) fn open(&self, printer: &mut Printer) -> anyhow::Result<Plan> {
        if self.progress == ProgressFormat::Json {
            Printer::speak_json();
        }
        let table = read_table_file(&self.table, printer)?;
        old_text(self.lock.as_deref())?;
        if table.requires_lock() && self.lock.is_none() {
            printer.warning(
                "the table has rules with `lock: require`, and without `--lock FILE` no line is written",
            );
        }
        Ok(Plan { table, shipments: Vec::new(), locked: HashSet::new(), rows: Vec::new(), lost: 0 })
    }

    /// Brings everything to its places; how it ended, others than that being unread.
    pub(super) fn run(
        &self,
        plan: Plan,
        options: TransferOptions,
        printer: &mut Printer,
    ) -> anyhow::Result<ExitStatus> {
        let options = TransferOptions {
            at_once: self.parallel.into(),
            retry: RetryPolicy { retries: self.retries.into(), ..RetryPolicy::default() },
            ..options
        };
        let content = movable(Some(&plan.table))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let places = plan.shipments.iter().map(|shipment| shipment.targets.len()).sum();
        let progress = Progress::new(places, self.progress, options.at_once, printer);
        let tell = |event: Event<'_>| progress.on(&event);
        let load = load(&content, &plan.shipments, &options, &tell);
        let shipped = runtime.block_on(progress.beside(load));
        drop(runtime);
        let (sent, kept) = progress.finish();
        self.end(plan, &shipped, (sent, kept), printer)
    }

    fn end(
        &self,
        plan: Plan,
        shipped: &[Shipped],
        (sent, kept): (u64, u64),
        printer: &mut Printer,
    ) -> anyhow::Result<ExitStatus> {
        let Plan { shipments, locked, mut rows, lost, .. } = plan;
        let mut update = Update::default();
        let (mut done, mut failed) = (0, 0);
        for (shipment, shipped) in shipments.iter().zip(shipped) {
            let results = match shipped {
                Ok(results) => results,
                Err(error) => {
                    failed += shipment.targets.len();
                    rows.extend(shipment.targets.iter().map(|target| Row::failed(shipment, target, error)));
                    continue;
                }
            };
            for (target, result) in shipment.targets.iter().zip(results) {
                match result {
                    Ok(loaded) => {
                        done += 1;
                        if locked.contains(&target.place) {
                            update.add(&target.place, loaded.digest.clone());
                        }
                        rows.push(Row::loaded(shipment, target, loaded));
                    }
                    Err(error) => {
                        failed += 1;
                        rows.push(Row::failed(shipment, target, error));
                    }
                }
            }
        }
        if let Some(path) = &self.lock {
            write_lock(path, &update, printer)?;
        }
        if self.output == OutputFormat::Json {
            rows.sort_by(|one, other| (&one.image, &one.reference).cmp(&(&other.image, &other.reference)));
            printer.json(&rows)?;
        }
        printer.note(&format!(
            "{done} of {} places have their image: {} sent, {} were there",
            done + failed,
            amount(sent),
            amount(kept)
        ));
        Ok(if failed + lost > 0 { ExitStatus::No } else { ExitStatus::Yes })
    }
}

impl Plan {
    /// Looks up where an image goes.
    pub(super) fn add(&mut self, image: &Reference, source: Source, printer: &mut Printer) {
        let destinations = self.table.destinations(image);
        if destinations.is_empty() {
            self.add_without_place(image, printer);
            return;
        }
        let mut targets = Vec::with_capacity(destinations.len());
        for destination in destinations {
            if destination.rules.iter().any(|rule| listens(rule)) {
                self.locked.insert(destination.place.clone());
            }
            targets.push(Target { place: destination.place, may_replace: !destination.is_named });
        }
        self.shipments.push(Shipment { image: image.clone(), source, targets });
    }

    /// Where an image goes.
    pub(super) fn places(&self, image: &Reference) -> Vec<Reference> {
        self.table.destinations(image).into_iter().map(|destination| destination.place).collect()
    }

    /// Names an image whose name is not known.
    pub(super) fn add_nameless(&mut self, called: &str, why: &str, printer: &mut Printer) {
        self.lost += 1;
        printer.error(&anyhow::Error::msg(why.to_owned()));
        self.rows.push(Row { error: Some(why.to_owned()), ..Row::of(called, "failed") });
    }

    fn add_without_place(&mut self, image: &Reference, printer: &mut Printer) {
        let why = match self.table.lookup(image, None) {
            Lookup::Exception(rule) => {
                printer.note(&format!("kept: {image} is an exception, by line {} of the table", rule.line()));
                self.rows.push(Row::of(image.as_str(), "kept"));
                return;
            }
            Lookup::Rule(rule) => {
                format!("it would be no valid reference in the mirrors of line {}", rule.line())
            }
            Lookup::Inside { .. } | Lookup::InsideNoRule | Lookup::NoRule => {
                "no rule of the table speaks of it".to_owned()
            }
        };
        self.lost += 1;
        printer.error(&anyhow::Error::msg(format!("`{image}` goes nowhere: {why}")));
        self.rows.push(Row { error: Some(why), ..Row::of(image.as_str(), "failed") });
    }
}

impl Row {
    fn of(image: &str, state: &'static str) -> Self {
        Self {
            image: image.to_owned(),
            reference: None,
            digest: None,
            state,
            size: 0,
            sent: 0,
            mounted: 0,
            error: None,
            remedy: None,
        }
    }

    fn loaded(shipment: &Shipment, target: &Target, loaded: &Loaded) -> Self {
        let is_all_there = loaded.was_whole();
        Self {
            reference: Some(target.place.as_str().to_owned()),
            digest: Some(loaded.digest.to_string()),
            size: loaded.size,
            sent: loaded.sent,
            mounted: loaded.mounted,
            ..Self::of(shipment.image.as_str(), if is_all_there { "there" } else { "loaded" })
        }
    }

    fn failed(shipment: &Shipment, target: &Target, error: &TransferError) -> Self {
        Self {
            reference: Some(target.place.as_str().to_owned()),
            error: Some(in_line(anyhow::Chain::new(error))),
            remedy: error.remedy(),
            ..Self::of(shipment.image.as_str(), "failed")
        }
    }
}

/// Brings the lock's file up to date, as it is now: others may have written to it meanwhile.
fn write_lock(path: &Path, update: &Update, printer: &mut Printer) -> anyhow::Result<()> {
    let old = old_text(Some(path))?;
    let text = update.apply(old.as_deref().unwrap_or(HEADER), false).context("cannot write the lock")?;
    replace(path, &text).with_context(|| format!("cannot write the lock `{}`", path.display()))?;
    printer.note(&format!("wrote {} lines to `{}`", update.len(), path.display()));
    Ok(())
}

/// What a new lock begins with.
const HEADER: &str = "# Written by `portolan` from what it brought to the mirrors. A line: a mirror's reference, a blank, its digest.\n";
