//! What memory and registries say about an image in its mirrors, and what they say together: product.md §3, step 4,
//! from "answer in memory" to "stale answer", word for word.
//!
//! Apart from the rest of the model, because the unit tests of `portolan::registry` compare the resolver with it.

/// What is known and could be learnt about one image in one mirror. Digests are texts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Standing {
    /// An answer in memory that may be used unasked.
    pub(crate) fresh: Option<String>,
    /// An older one. There is none beside a fresh one: it is the same answer.
    pub(crate) stale: Option<String>,
    /// A refusal in memory.
    pub(crate) refused: Option<Refusal>,
    /// The registry is left alone.
    pub(crate) left_alone: bool,
    /// What the registry says if it is asked.
    pub(crate) says: Says,
}

/// Why a registry has no digest for us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    Missing,
    Unauthorized,
}

/// What a registry says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Says {
    Found(String),
    Refused(Refusal),
    /// No answer in time, or one that is none of 200, 401, 403, 404.
    #[default]
    Silent,
}

/// What the mirrors say together. Numbers are positions among them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Together {
    Found { mirror: usize, digest: String, from: &'static str },
    Missing,
    Unauthorized { first: usize },
    Unavailable { first: usize },
}

/// "Each step goes through the rule's mirrors in order and takes the first that knows."
pub(crate) fn together(mirrors: &[Standing]) -> Together {
    let found = |mirror, digest: &String, from| Together::Found { mirror, digest: digest.clone(), from };

    // "answer in memory, fresh"
    for (mirror, standing) in mirrors.iter().enumerate() {
        if let Some(digest) = &standing.fresh {
            return found(mirror, digest, "memory");
        }
    }

    // "→ mirrors in order"; "`unauthorized` is remembered like `missing`"; "a mirror left alone counts as
    // `unavailable` and the next is asked"
    let mut said: Vec<Option<Refusal>> = Vec::new();
    for (mirror, standing) in mirrors.iter().enumerate() {
        said.push(match (&standing.refused, standing.left_alone, &standing.says) {
            (Some(refusal), ..) | (None, false, Says::Refused(refusal)) => Some(*refusal),
            (None, true, _) | (None, false, Says::Silent) => None,
            (None, false, Says::Found(digest)) => return found(mirror, digest, "registry"),
        });
    }

    // "→ stale answer"; "used where the result would be `unauthorized` or `unavailable`, never for a mirror that
    // just said 404"
    for (mirror, standing) in mirrors.iter().enumerate() {
        if let (Some(digest), true) = (&standing.stale, said[mirror] != Some(Refusal::Missing)) {
            return found(mirror, digest, "stale");
        }
    }

    // "All say 404: `missing`. Otherwise, 404s aside, `unauthorized` if all the rest were 401 or 403, else
    // `unavailable`"; "the first mirror that did not say 404"
    let rest: Vec<usize> =
        (0..mirrors.len()).filter(|mirror| said[*mirror] != Some(Refusal::Missing)).collect();
    match rest.first() {
        None => Together::Missing,
        Some(first) if rest.iter().all(|mirror| said[*mirror] == Some(Refusal::Unauthorized)) => {
            Together::Unauthorized { first: *first }
        }
        Some(first) => Together::Unavailable { first: *first },
    }
}
