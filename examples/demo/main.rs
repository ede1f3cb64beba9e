//! `make demo`: an unedited manifest, applied to a real Kubernetes API server, comes out with every image rewritten
//! into a private registry and pinned to the digest that the registry reports.
//!
//! Everything is real but the content of the images: control plane, registry, Portolan, webhook configuration. What a
//! line says of an image was read back from the API server, the registry or the audit log in the same run.
//! Exit code 0: every image was rewritten and pinned; 1: one was not; 2: it could not be found out.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "telling what it did is all that a demo is for"
)]
#![allow(clippy::indexing_slicing, reason = "read at a key that it does not have, a JSON value is null")]

mod images;
mod stage;
mod stop;
#[allow(
    dead_code,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "it is linted with the tests, which need more of it and say by failing"
)]
mod support;

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use anyhow::Context as _;

use images::Seen;
use stage::Stage;
use stop::{Stop, Stopped};

fn main() -> ExitCode {
    support::prepare();
    let keep = env::args().skip(1).any(|argument| argument == "--keep");
    // What the tests stand on says by panicking what it could not do; its folders are to go all the same.
    let result = panic::catch_unwind(AssertUnwindSafe(|| run(keep)));
    support::clean_up();
    match result {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) if error.is::<Stopped>() => ExitCode::from(130),
        Ok(Err(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
        Err(_) => ExitCode::from(2),
    }
}

/// Whether every image was rewritten and pinned.
fn run(keep: bool) -> anyhow::Result<bool> {
    let stop = Stop::watch();
    println!("Portolan: an unedited manifest, its images rewritten into a private registry and pinned");
    let stage = Stage::set(&stop)?;
    stage.apply(&stop)?;
    stage.mount(&stop)?;

    let seen = images::seen(&stage)?;
    stop.step("Each image, before and after");
    images::print_each(&seen);
    stop.check()?;
    stop.step("The audit log");
    images::print_audit(&stage, &seen);
    stop.check()?;
    stop.step("Why, in Portolan's own words");
    stage.explain(stage::MOUNT_IMAGE)?;

    let wrong = seen.iter().filter(|image| image.fault.is_some()).count();
    let pods = images::pods(&seen);
    println!();
    if wrong == 0 {
        println!(
            "Done: all {} images in {pods} Pods were rewritten and pinned to the digest that the registry reports.",
            seen.len()
        );
    } else {
        println!("Failed: {wrong} of {} images in {pods} Pods were not rewritten and pinned.", seen.len());
    }
    if keep {
        stage.print_how_to_go_on();
        stop.wait().context("cannot wait for the end")?;
        println!("Everything that ran is being ended and removed.");
    } else {
        println!("Everything that ran is ended and removed again. To look around in it: make demo KEEP=1");
    }
    Ok(wrong == 0 && !seen.is_empty())
}

impl Seen {
    /// The Pod by the name that stays the same from run to run.
    fn heading(&self) -> &str {
        self.owner.as_deref().unwrap_or(&self.pod)
    }
}
