//! Portolan: a mutating admission webhook that brings every container image into the registry that the cluster can
//! reach, and the library behind its command.
//!
//! The rooms are mapped in `docs/architecture.md`. The pure ones compile without a runtime
//! (`--no-default-features`); the others stand behind the feature `service`.

#[cfg(feature = "service")]
pub mod admission;
#[cfg(feature = "service")]
pub mod audit;
#[cfg(feature = "service")]
pub mod cli;
#[cfg(feature = "service")]
pub mod cluster;
pub mod foreign;
pub mod image;
pub mod inventory;
pub mod lock;
#[cfg(feature = "service")]
pub mod metrics;
#[cfg(feature = "service")]
pub mod registry;
pub mod review;
pub mod rewrite;
#[cfg(feature = "service")]
pub mod server;
pub mod table;
#[cfg(feature = "service")]
pub mod tls;
#[cfg(feature = "service")]
pub mod transfer;
