//! The checks of the fuzz targets, replayed over their corpus: as it is committed, and each input damaged a little.

use std::{fs, path::Path};

#[path = "../../fuzz/checks/import.rs"]
mod import;
#[path = "../../fuzz/checks/inventory.rs"]
mod inventory;
#[path = "../../fuzz/checks/patch.rs"]
mod patch;
#[path = "../../fuzz/checks/reference.rs"]
mod reference;
#[path = "../../fuzz/checks/table.rs"]
mod table;

/// How many damaged copies of each input are tried; `make fuzz` tries them without end.
const DAMAGED: u64 = 60;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "the corpus was cut");
    for path in paths {
        let data = fs::read(&path).unwrap();
        let inputs = std::iter::once(data.clone()).chain((0..DAMAGED).map(|number| damaged(&data, number)));
        for input in inputs {
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&input)));
            let text = String::from_utf8_lossy(&input);
            assert!(checked.is_ok(), "{}, perhaps damaged:\n{text}", path.display());
        }
    }
}

/// A copy with up to four bytes or spans changed, always the same for the same number.
fn damaged(data: &[u8], number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ data.len() as u64;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % limit.max(1)
    };
    below(1);
    let mut data = data.to_vec();
    for _ in 0..=below(4) {
        let at = below(data.len());
        let span = below(12).min(data.len() - at);
        match below(4) {
            0 => drop(data.drain(at..at + span)),
            1 => {
                let copy = data[at..at + span].to_vec();
                let to = below(data.len());
                data.splice(to..to, copy);
            }
            2 => data.insert(at, b"{}[]\",:/@.-*_\n\0a1"[below(17)]),
            _ if at < data.len() => data[at] ^= 1 << below(8),
            _ => {}
        }
    }
    data
}

#[test]
fn what_is_found_in_manifests_has_a_place_and_is_found_again() {
    replay("inventory", inventory::check);
}

#[test]
fn files_of_other_tools_become_tables_that_nodes_can_be_told() {
    replay("import", import::check);
}

#[test]
fn references_print_and_parse_alike() {
    replay("reference", reference::check);
}

#[test]
fn tables_are_refused_with_places_or_answer_consistently() {
    replay("table", table::check);
}

#[test]
fn a_patch_applies_to_its_object_and_a_second_pass_needs_none() {
    replay("patch", patch::check);
}
