//! Portolan as a process against a real Kubernetes: API server, controllers, scheduler, registries and one real node.
//!
//! Every test owns a namespace, a Portolan, a registry and a webhook configuration that selects that namespace only;
//! just the API server is shared. A test that needs what is not there says so in its line and is skipped; with
//! `CI=true` it fails instead.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::string_slice,
    reason = "a test says by failing"
)]
#![allow(unreachable_pub, reason = "nothing outside this binary reads it")]

mod bad_days;
mod certificates;
mod chart;
mod check;
mod conditions;
mod explain;
mod exported;
mod faults;
mod fight;
mod installed;
mod load;
mod local_logins;
mod lock;
mod logins;
mod namespaces;
mod node;
mod outages;
mod page;
mod pods;
mod policies;
mod projects;
mod registries;
mod release;
mod renewals;
mod scenarios;
mod serving;
mod support;
mod table;
mod transfer;
mod unrewritten;
mod updates;
mod validate;
mod warm;
mod ways;
mod workloads;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    support::prepare();
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(TEST_THREADS));
    let trials = [
        // The slowest first, so that the others fill the second thread.
        bad_days::trials(),
        workloads::trials(),
        page::trials(),
        release::trials(),
        installed::trials(),
        certificates::trials(),
        warm::trials(),
        node::trials(),
        scenarios::trials(),
        projects::trials(),
        namespaces::trials(),
        validate::trials(),
        chart::trials(),
        policies::trials(),
        unrewritten::trials(),
        fight::trials(),
        check::trials(),
        faults::trials(),
        load::trials(),
        serving::trials(),
        outages::trials(),
        registries::trials(),
        renewals::trials(),
        lock::trials(),
        table::trials(),
        updates::trials(),
        pods::trials(),
        conditions::trials(),
        explain::trials(),
        exported::trials(),
        logins::trials(),
        local_logins::trials(),
        ways::trials(),
        transfer::trials(),
    ];
    let trials = trials.into_iter().flatten().collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    support::clean_up();
    conclusion.exit_code()
}

/// Each test keeps an API server, a registry and a Portolan busy.
const TEST_THREADS: usize = 2;
