//! How references, sources and mirrors are hashed in maps by their texts.
//!
//! The standard hasher withstands people who choose keys that collide. Who chooses the keys of a table or a lock
//! decides what every Pod runs anyway, and the images of Pods are only looked up, never put in. So speed is all that
//! counts: an admission looks up a handful of short texts, and a large table is read by hashing each of its texts twice.

use std::hash::{BuildHasherDefault, Hasher};

/// A map by text.
pub(crate) type TextMap<V> = std::collections::HashMap<Box<str>, V, BuildHasherDefault<TextHasher>>;

/// A set of texts.
pub(crate) type TextSet = std::collections::HashSet<Box<str>, BuildHasherDefault<TextHasher>>;

/// Eight bytes at a time: a multiplication to 128 bits, its halves folded together, as in wyhash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TextHasher(u64);

impl Hasher for TextHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let word = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.mix(word);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl TextHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ FIRST) * u128::from(SECOND);
        let [low, high] = [product & u128::from(u64::MAX), product >> 64]
            .map(|half| u64::try_from(half).expect("half of 128 bits"));
        self.0 = low ^ high;
    }
}

/// Odd numbers with as many ones as zeros, from wyhash.
const FIRST: u64 = 0xa076_1d64_78bd_642f;
const SECOND: u64 = 0xe703_7ed1_a0b4_28db;

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, hash::BuildHasher};

    use super::*;

    #[test]
    fn texts_that_differ_a_little_hash_to_numbers_that_differ_at_both_ends() {
        let build = BuildHasherDefault::<TextHasher>::default();
        let hashes: Vec<u64> =
            (0..10_000).map(|number| build.hash_one(format!("docker.io/organisation-{number}"))).collect();
        assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), 10_000);
        // A map takes its bucket from the low bits and a tag from the high ones: with 2^14 buckets and 10,000 keys
        // an even spread fills 7,480 of them on average, with 7 bits all 128.
        let buckets: HashSet<u64> = hashes.iter().map(|hash| hash & 0x3fff).collect();
        assert!((7_300..7_700).contains(&buckets.len()), "{}", buckets.len());
        assert_eq!(hashes.iter().map(|hash| hash >> 57).collect::<HashSet<_>>().len(), 128);
    }
}
