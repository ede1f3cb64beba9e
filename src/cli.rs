//! The command line: arguments, output and exit codes. One file for each command.
//!
//! Data goes to stdout, all else to stderr, both through [`Printer`]. What a command does belongs to the rooms
//! below; this one only asks and prints.

mod certs;
mod check;
mod copy;
mod duration;
mod explain;
mod export;
mod image_list;
mod images;
mod import;
mod inputs;
mod load;
mod lock;
mod manual;
mod placing;
mod printer;
mod progress;
mod registries;
mod save;
mod screen;
mod serve;
mod since;
mod sources;
mod table_args;
mod webhook_test;

use std::{io, process::ExitCode};

use clap::{Parser, Subcommand};

pub(crate) use duration::parse_duration;
pub use printer::{OutputFormat, Printer};

/// Brings every container image into the registry that the cluster can reach.
#[derive(Debug, Parser)]
#[command(name = "portolan", version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make development certificates for the webhook
    Certs(certs::CertsArgs),
    /// Say of every image whether it would run: is it in its mirror, is it locked, what stands in the way
    Check(check::CheckArgs),
    /// Write what a shell completes after `portolan`
    Completions(manual::CompletionsArgs),
    /// Bring images from where they are to their mirrors, without a file between, and write the lock
    Copy(copy::CopyArgs),
    /// Say what becomes of an image, and why
    Explain(explain::ExplainArgs),
    /// Write the mapping table in the words of other tools, for what the webhook does not reach
    Export(export::ExportArgs),
    /// List every image that manifests, charts, lists or the running cluster name
    Images(images::ImagesArgs),
    /// Make a mapping table of what another tool goes by
    Import(import::ImportArgs),
    /// Bring the images of an OCI image layout to their mirrors, and write the lock
    Load(load::LoadArgs),
    /// Write the lock from what the mirrors hold now
    #[command(mut_arg("lock", |lock| lock.help("File with the lock, brought up to date; without it stdout")))]
    Lock(lock::LockArgs),
    /// Write the manual page, or those of all commands
    Man(manual::ManArgs),
    /// Bring images into one OCI image layout, to be carried over the gap
    Save(save::SaveArgs),
    /// Run the webhook
    Serve(Box<serve::ServeArgs>),
    /// Say whether the API server calls Portolan and trusts it, as `helm test` does
    #[command(hide = true)]
    WebhookTest(webhook_test::WebhookTestArgs),
}

/// How a command ended, as scripts read it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExitStatus {
    // By their numbers.
    /// yes
    Yes,
    /// the answer is no
    No,
    /// could not find out: arguments, a file, table or lock that cannot be read, or a failure
    Unknown,
}

impl ExitStatus {
    /// Every status, by its number.
    pub const ALL: [Self; 3] = [Self::Yes, Self::No, Self::Unknown];

    /// The number that the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::Unknown => 2,
        }
    }
}

/// Runs one command and says on stderr what went wrong, if something did.
pub fn run(args: Args) -> ExitStatus {
    let mut printer = Printer::new();
    let result = match args.command {
        Command::Certs(args) => certs::run(&args, &mut printer),
        Command::Check(args) => check::run(&args, &mut printer),
        Command::Completions(args) => manual::completions(&args, &mut printer),
        Command::Copy(args) => copy::run(&args, &mut printer),
        Command::Explain(args) => explain::run(&args, &mut printer),
        Command::Export(args) => export::run(&args, &mut printer),
        Command::Images(args) => images::run(&args, &mut printer),
        Command::Import(args) => import::run(&args, &mut printer),
        Command::Load(args) => load::run(&args, &mut printer),
        Command::Lock(args) => lock::run(&args, &mut printer),
        Command::Man(args) => manual::man(&args, &mut printer),
        Command::Save(args) => save::run(&args, &mut printer),
        Command::Serve(args) => serve::run(*args),
        Command::WebhookTest(args) => webhook_test::run(&args, &mut printer),
    };
    match result {
        Ok(status) => status,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitStatus::Yes,
        Err(error) => {
            printer.error(&error);
            ExitStatus::Unknown
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}
