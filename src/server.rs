//! The service on its sockets: listening, routes, health and the drain.
//!
//! [`serve`] runs a router on a [`Listener`] until a [`Shutdown`] has drained it; [`routes`] says which paths there are
//! and reads bodies; what an admission answers comes in as a function. This room decides nothing about images.
//!
//! Invariant: a request that was written before the end of the drain delay is answered.

mod answer_keeper;
mod certificate_keeper;
mod endpoints;
mod fights;
mod file;
mod health;
mod heap;
mod listener;
mod lock_check;
mod lock_keeper;
mod problems;
pub mod routes;
mod run;
mod settings;
mod shutdown;
mod sources;
pub mod status;
mod table_keeper;
mod table_source;
mod turns;
mod unrewritten;

pub use crate::audit::Destination as AuditDestination;
pub use answer_keeper::KeepAnswers;
pub use certificate_keeper::SharedPolicy;
pub use endpoints::{endpoints, reach};
pub use health::{Condition, Health};
pub use listener::{BindError, DrainPolicy, Drained, Limits, Listener, serve};
pub use lock_keeper::read_maps;
pub use run::{ServeError, log_to_stderr, run};
pub use settings::{CertificateSource, Loopback, NotLoopbackError, Settings};
pub use shutdown::{Phase, Shutdown};
pub use table_source::{ConfigMapName, ParseConfigMapNameError, TableSource};
pub use unrewritten::LastLook;
