//! What moving images costs: Portolan beside skopeo, crane and regctl, in one run.
//!
//! Two registries of the distribution project (Debian's) stand on this machine: one has the images, the other is a new and
//! empty one for each tool. Wall time, CPU time and memory are the tool's own, requests and bytes are what the registries
//! wrote into their access logs. After each run every tag of the target must name the digest that it names in the source.
//!
//! `make bench-transfer` runs this; what the figures mean is written in `docs/performance.md`.
#![allow(
    clippy::cast_precision_loss,
    clippy::exit,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a program for developers says what is wrong by panicking, and figures are rounded"
)]

mod client;
mod images;
mod layer;
mod measured;
mod registry;
mod tools;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::Parser;

use client::Client;
use images::Images;
use measured::{Cost, run_all};
use registry::{Registry, Traffic};
use tools::{Scene, Tool};

/// Measures what moving images costs.
#[derive(Debug, Parser)]
struct Plan {
    /// How many images there are
    #[arg(long, default_value_t = 200)]
    images: usize,
    /// How many megabytes their blobs have, all in all; 200 take about a minute
    #[arg(long, default_value_t = 2000)]
    megabytes: usize,
    /// How often each tool has its turn; of its runs the one of median wall time is shown
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// The tools, by a part of what they are called
    #[arg(long, value_delimiter = ',', default_value = "portolan,skopeo,crane,regctl")]
    only: Vec<String>,
    /// The command `portolan` to measure
    #[arg(long, default_value = env!("CARGO_BIN_EXE_portolan"))]
    portolan: PathBuf,
    /// What `cargo bench` passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// One run of one tool.
struct Run {
    cost: Cost,
    /// What went out of the source, and what into the target.
    source: Traffic,
    target: Traffic,
    /// What the two registries took.
    registries: Duration,
}

fn main() {
    let plan = Plan::parse();
    let scene = Scene::new(&plan.portolan);
    let tools: Vec<_> = tools::all()
        .into_iter()
        .filter(|tool| plan.only.iter().any(|part| tool.name.contains(part.as_str())))
        .collect();
    let source = Registry::start(scene.folder().join("source"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    eprintln!("making {} images of {} MB", plan.images, plan.megabytes);
    let images = runtime.block_on(images::push(&Client::new(&source), plan.images, plan.megabytes));
    let mut runs: BTreeMap<usize, Vec<Run>> = BTreeMap::new();
    for round in 1..=plan.rounds {
        for (number, tool) in tools.iter().enumerate() {
            eprintln!("round {round}: {}", tool.name);
            let target = Registry::start(scene.folder().join("target"));
            let run = one(tool, &scene, &source, &target, &images);
            // Not of the tool's own log: of what is there.
            runtime.block_on(images.assert_at(&Client::new(&target), tool.name));
            runs.entry(number).or_default().push(run);
        }
    }
    print(&images, &tools, runs);
}

fn one(tool: &Tool, scene: &Scene, source: &Registry, target: &Registry, images: &Images) -> Run {
    let place = scene.arrange(source, target, images);
    let commands = (tool.commands)(&place);
    let (before, spent) = (source.logged(), source.cpu() + target.cpu());
    let cost = run_all(commands, tool.at_once);
    let traffic = |registry: &Registry, from| Traffic::of(&registry.log_from(from), &images.sizes);
    Run {
        source: traffic(source, before),
        target: traffic(target, 0),
        registries: (source.cpu() + target.cpu()).saturating_sub(spent),
        cost,
    }
}

fn print(images: &Images, tools: &[Tool], mut runs: BTreeMap<usize, Vec<Run>>) {
    println!(
        "{} images, {} blobs of {} MB in all, {} manifests and indexes\n",
        images.tags.len(),
        images.blobs,
        megabytes(images.bytes),
        images.manifests
    );
    println!(
        "| | wall s | CPU s | registries' CPU s | requests: source | target | both | MB out of the source | into the target \
         | memory MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (number, tool) in tools.iter().enumerate() {
        let Some(runs) = runs.get_mut(&number) else { continue };
        runs.sort_by_key(|run| run.cost.wall);
        let Run { cost, source, target, registries } = &runs[runs.len() / 2];
        println!(
            "| {} | {:.1} | {:.1} | {:.1} | {} | {} | {} | {} | {} | {:.1} |",
            tool.name,
            cost.wall.as_secs_f64(),
            cost.cpu.as_secs_f64(),
            registries.as_secs_f64(),
            source.requests,
            target.requests,
            source.requests + target.requests,
            megabytes(source.answered + target.answered),
            megabytes(target.taken),
            cost.memory as f64 / 1024.0,
        );
    }
    println!();
    for (number, tool) in tools.iter().enumerate() {
        let Some(run) = runs.get(&number).and_then(|runs| runs.get(runs.len() / 2)) else { continue };
        println!("{}: source {}; target {}", tool.name, run.source.kinds(), run.target.kinds());
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
