//! What the real-cluster tests stand on (`tests/cluster/support`), as far as the demo needs it.

#[path = "../../tests/cluster/support/api.rs"]
mod api;
#[path = "../../tests/cluster/support/authority.rs"]
mod authority;
#[path = "../../tests/cluster/support/control_plane.rs"]
mod control_plane;
#[path = "../../tests/cluster/support/folder.rs"]
mod folder;
#[path = "../../tests/cluster/support/image.rs"]
mod image;
#[path = "../../tests/cluster/support/kubectl.rs"]
mod kubectl;
#[path = "../../tests/cluster/support/portolan.rs"]
mod portolan;
#[path = "../../tests/cluster/support/process.rs"]
mod process;
#[path = "../../tests/cluster/support/registry.rs"]
mod registry;
#[path = "../../tests/cluster/support/runtime.rs"]
mod runtime;
#[path = "../../tests/cluster/support/trial.rs"]
mod trial;
#[path = "../../tests/cluster/support/waiting.rs"]
mod waiting;

pub use authority::authority_pem;
pub use control_plane::{ControlPlane, Plane, repository};
pub use portolan::{Options, Portolan, binary};
pub use registry::Registry;
pub use runtime::runtime;
use trial::Missing;
pub use waiting::eventually;

/// Before anything else.
pub fn prepare() {
    runtime::install_crypto();
    folder::sweep();
}

/// After everything else.
pub fn clean_up() {
    folder::remove();
}
