//! The service on its sockets: listening, routes, health and the drain.
//!
//! [`serve`] runs a router on a [`Listener`] until a [`Shutdown`] has drained it; [`routes`] says which paths there are
//! and reads bodies; what an admission answers comes in as a function. This room decides nothing about images.
//!
//! Invariant: a request that was written before the end of the drain delay is answered.

mod health;
mod listener;
pub mod routes;
mod shutdown;

pub use health::{Condition, Health};
pub use listener::{BindError, DrainPolicy, Drained, Limits, Listener, serve};
pub use shutdown::{Phase, Shutdown};
