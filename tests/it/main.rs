//! Integration tests: adapters against fake servers on loopback, the service through its router, and real sockets.
#![allow(clippy::unwrap_used)]

mod registry;
mod support;
