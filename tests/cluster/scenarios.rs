//! Procedures that people follow by hand today, from end to end: listed, saved, carried, loaded, applied unedited.
//!
//! Each has a connected side, whose registries answer to their real names, and an air-gapped one with a mirror, a
//! real API server and a real node. Before anything is loaded the connected side is ended. What "works" means is that
//! containers of the projects' own manifests run on the node, each from the digest that its author has pushed.

use crate::trials;

mod crossing;
mod juicefs;

use juicefs::juicefs_csi_crosses_the_gap_with_the_pods_that_its_controller_makes;

trials!["scenarios";
    juicefs_csi_crosses_the_gap_with_the_pods_that_its_controller_makes,
];
