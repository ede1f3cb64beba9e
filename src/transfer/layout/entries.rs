//! The entries of an index, by name: in one order, whatever came first, so that the same images make the same index.

use std::collections::BTreeMap;

use serde_json::Value;

/// Entries in the order of their names; those of one name in the order in which they came.
#[derive(Clone, Debug)]
pub(super) struct Entries<N>(BTreeMap<N, Vec<Value>>);

impl<N: Ord> Entries<N> {
    /// Adds one, beside others of its name.
    pub(super) fn add(&mut self, name: N, entry: Value) {
        self.0.entry(name).or_default().push(entry);
    }

    /// Puts one in the place of all of its name. It looks for the name, not through the entries.
    pub(super) fn put(&mut self, name: N, entry: Value) {
        self.0.insert(name, vec![entry]);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.0.values().flatten()
    }
}

impl<N> Default for Entries<N> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, cmp::Ordering};

    use super::*;

    #[test]
    fn they_are_in_the_order_of_their_names_and_one_is_put_in_the_place_of_all_of_its_name() {
        let mut entries = Entries::default();
        for (name, entry) in [("b", 1), ("", 2), ("b", 3), ("a", 4), ("", 5)] {
            entries.add(name, entry.into());
        }
        let numbers = |entries: &Entries<_>| entries.iter().filter_map(Value::as_u64).collect::<Vec<_>>();
        assert_eq!(numbers(&entries), [2, 5, 4, 1, 3]);
        entries.put("b", 6.into());
        entries.put("aa", 7.into());
        assert_eq!(numbers(&entries), [2, 5, 4, 7, 6]);
    }

    thread_local! {
        /// How often two names were compared.
        static COMPARED: Cell<u64> = const { Cell::new(0) };
    }

    #[derive(Eq, PartialEq)]
    struct Name(String);

    impl Ord for Name {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Name {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    #[test]
    fn with_many_images_each_is_found_by_few_comparisons() {
        let mut entries = Entries::default();
        // In no order of theirs: 7919 is a prime, so that each number comes once.
        for number in (0..IMAGES).map(|number| number * 7919 % IMAGES) {
            entries.put(Name(format!("docker.io/library/image-{number:05}:1")), number.into());
        }
        let numbers: Vec<_> = entries.iter().filter_map(Value::as_u64).collect();
        assert_eq!(numbers, (0..IMAGES).collect::<Vec<_>>());
        // Looking through all entries would take 5,000 of them for each on the average.
        let compared = COMPARED.get() / IMAGES;
        assert!(compared < 60, "{compared} comparisons for each image");
    }

    const IMAGES: u64 = 10_000;
}
