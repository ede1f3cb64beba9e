//! Portolan's command.
fn main() {}
