//! What an admission costs: Portolan beside two servers that do less, in one run.
//!
//! All three have the same listener, TLS configuration, limits and routes; only the handler differs. **bare** reads the
//! body and answers a constant. **scan** also walks the body once as JSON and answers as many bytes as Portolan does:
//! the least that anyone must do who reads JSON. **Portolan** is the command as shipped: audit log to a file, metrics,
//! default log level, 100 rules, every image known.
//!
//! Each server is a process of its own on core 0, the load (`wrk`) is on core 1. `make bench` runs this; what the
//! figures mean is written in `docs/performance.md`.
#![allow(
    clippy::cast_precision_loss,
    clippy::exit,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for developers says what is wrong by panicking, and figures are rounded"
)]

mod bodies;
mod client;
mod floor;
mod load;
mod memory;
mod process;
mod reading;
mod registry;
mod rounds;
mod servers;
mod tables;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures what an admission costs.
#[derive(Debug, Parser)]
struct Bench {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    plan: Plan,
}

/// What is measured, and for how long.
#[derive(Args, Clone, Debug)]
struct Plan {
    /// How often each server has its turn
    #[arg(long, default_value_t = 7)]
    rounds: u64,
    /// How many turns of a second each server has in a round
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many connections the load has
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Which measurements are made
    #[arg(long, value_enum, value_delimiter = ',', default_value = "admission,rules,reading,memory")]
    only: Vec<Measurement>,
    /// The bodies, by a part of their files' names
    #[arg(long, value_delimiter = ',', default_value = "small,medium,heavy,large")]
    bodies: Vec<String>,
    /// Folder with the recorded reviews
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/reviews"))]
    reviews: PathBuf,
    /// The command `portolan` to measure
    #[arg(long, default_value = env!("CARGO_BIN_EXE_portolan"))]
    portolan: PathBuf,
    /// What `cargo bench` passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Measurement {
    /// CPU, throughput and latency of the three servers.
    Admission,
    /// Resident memory.
    Memory,
    /// How long a table of 100,000 rules takes to read.
    Reading,
    /// CPU per admission with 10 and with 100,000 rules.
    Rules,
}

/// The processes that this program starts of itself.
#[derive(Debug, Subcommand)]
enum Part {
    /// Serves the handler that answers a constant.
    #[command(hide = true)]
    Bare(floor::Floor),
    /// Times the reading of tables.
    #[command(hide = true)]
    Reading,
    /// Serves the handler that walks the body.
    #[command(hide = true)]
    Scan(floor::Floor),
    /// Empties a file over and over, until it is killed.
    #[command(hide = true)]
    Tidy { file: PathBuf },
}

fn main() {
    let Bench { part, plan } = Bench::parse();
    match part {
        Some(Part::Bare(floor)) => return floor.serve(false),
        Some(Part::Scan(floor)) => return floor.serve(true),
        Some(Part::Reading) => return reading::measure(),
        Some(Part::Tidy { file }) => process::empty_over_and_over(&file),
        None => {}
    }
    let setup = servers::Setup::new(&plan);
    for measurement in &plan.only {
        match measurement {
            Measurement::Admission => rounds::three_servers(&plan, &setup),
            Measurement::Memory => memory::measure(&plan, &setup),
            Measurement::Reading => servers::run_pinned(&["reading"]),
            Measurement::Rules => rounds::few_and_many_rules(&plan, &setup),
        }
    }
}

/// The middle of some figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// An address on this machine that nobody listens on.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The longest time that a server takes to start or to answer.
const LIMIT: Duration = Duration::from_secs(30);
