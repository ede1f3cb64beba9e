//! What the tests stand on: a control plane, and for each test a [`Scene`] with all that it owns.

mod admission;
mod api;
mod authority;
mod containerd;
mod control_plane;
mod delay;
mod distribution_tokens;
mod folder;
mod gate;
mod helm;
mod https;
mod image;
mod injector;
mod kubectl;
mod pod;
mod portolan;
mod process;
mod registries;
mod registry;
mod runtime;
mod scene;
mod shipped;
mod site;
mod tokens;
mod trial;
mod waiting;
mod webhook;

pub use admission::{admit, patched};
pub use api::Api;
pub use authority::{authority_pem, issue, issue_as};
pub use containerd::Containerd;
pub use control_plane::{ControlPlane, Plane, programs, repository};
pub use delay::DelayProxy;
pub use distribution_tokens::DistributionTokens;
pub use folder::folder;
pub use gate::{Gate, Side};
pub use helm::{Helm, chart, objects};
pub use https::{Answer, Connection};
pub use image::{Format, Image};
pub use injector::Injector;
pub use pod::{image, sources};
pub use portolan::{Options as PortolanOptions, Portolan, ask, binary, dynamic_binary};
pub use process::{Process, free_port, installed, output_of};
pub use registries::built;
pub use registry::{Access, Make, OTHER_PASSWORD, PASSWORD, Registry, USER};
pub use runtime::runtime;
pub use scene::{LOGIN_SECRET, Scene};
pub use shipped::{Shipped, run_in, start_as_account};
pub use site::Site;
pub use tokens::TokenServer;
pub use trial::{Missing, Outcome, trial};
pub use waiting::{Done, eventually};
pub use webhook::Webhook;

/// Before the first test.
pub fn prepare() {
    runtime::install_crypto();
    folder::sweep();
}

/// After the last test, whatever became of it: statics are never dropped.
pub fn clean_up() {
    control_plane::stop_all();
    folder::remove();
}
