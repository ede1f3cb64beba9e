//! Integration tests: adapters against fake servers on loopback, the service through its router, and real sockets.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "tests say what is wrong by panicking"
)]

mod admission;
mod audit;
mod cli;
mod cluster;
mod connections;
mod drain;
mod fuzz_corpus;
mod layers;
mod manifests;
mod pages;
mod readme;
mod reference;
mod registry;
mod scenario_pages;
mod status;
mod support;
mod tls;
