//! The command `portolan`: parse the arguments, run one command, turn the result into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use portolan::cli::{Args, ExitStatus};

fn main() -> ExitCode {
    // Before anything makes a TLS configuration: two providers may never be linked, and one is chosen here.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return ExitStatus::Unknown.into();
    }
    portolan::cli::run(Args::parse()).into()
}
