//! Procedures that people follow by hand today, from end to end: listed, saved, carried, loaded, applied unedited.
//!
//! Each has a connected side, whose registries answer to their real names, and an air-gapped one with a mirror, a
//! real API server and a real node. Before anything is loaded the connected side is ended. What "works" means is that
//! containers of the projects' own manifests run on the node, each from the digest that its author has pushed.

use crate::trials;

mod crossing;
mod juicefs;
mod kubespray;
mod microk8s;
mod openshift;
mod rancher;

use juicefs::juicefs_csi_crosses_the_gap_with_the_pods_that_its_controller_makes;
use kubespray::what_kubespray_registers_by_hand_crosses_into_a_project_behind_a_login;
use microk8s::what_nodes_were_told_by_hand_becomes_a_table_and_nodes_are_told_the_rest;
use openshift::{
    rook_ceph_crosses_the_gap_by_the_policy_of_openshift, the_policy_and_what_became_of_it_are_one_table,
};
use rancher::rancher_and_what_it_needs_cross_in_one_bundle_for_linux_and_windows;

trials!["scenarios";
    rancher_and_what_it_needs_cross_in_one_bundle_for_linux_and_windows,
    juicefs_csi_crosses_the_gap_with_the_pods_that_its_controller_makes,
    what_kubespray_registers_by_hand_crosses_into_a_project_behind_a_login,
    what_nodes_were_told_by_hand_becomes_a_table_and_nodes_are_told_the_rest,
    rook_ceph_crosses_the_gap_by_the_policy_of_openshift,
    the_policy_and_what_became_of_it_are_one_table,
];
