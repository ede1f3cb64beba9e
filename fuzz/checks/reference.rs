//! No text panics the reader of references, and printing and parsing are inverse.

use portolan::image::{Digest, Reference};

/// Panics if the text is read wrongly.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let reference = match Reference::parse(text) {
        Ok(reference) => reference,
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty() && !message.contains(char::is_control), "{message:?}");
            return;
        }
    };
    assert_eq!(reference.written(), text, "the text as written is kept");
    let printed = reference.to_string();
    let again = Reference::parse(&printed).expect("what is normalised is a reference");
    assert_eq!(again, reference);
    assert_eq!(again.to_string(), printed, "normalising twice is normalising once");
    let parts = |reference: &Reference| {
        let owned = |part: Option<&str>| part.map(str::to_owned);
        (
            reference.registry().to_owned(),
            reference.repository().to_owned(),
            owned(reference.tag()),
            owned(reference.digest()),
        )
    };
    assert_eq!(parts(&again), parts(&reference));

    let (registry, repository, tag, digest) = parts(&reference);
    let mut together = format!("{registry}/{repository}");
    assert_eq!(reference.name(), together);
    assert!(!registry.is_empty() && !registry.contains('/') && !repository.is_empty());
    assert!(tag.is_some() || digest.is_some(), "`latest` is spelled out");
    if let Some(tag) = &tag {
        together = format!("{together}:{tag}");
    }
    assert_eq!(reference.without_digest(), together);
    if let Some(digest) = &digest {
        assert_eq!(digest.parse::<Digest>().expect("its digest is one").as_str(), digest);
        together = format!("{together}@{digest}");
    }
    assert_eq!(printed, together);
    if let Some(taken) = Reference::from_normalised(&printed) {
        assert_eq!((taken.as_str(), taken.written()), (&*printed, &*printed));
    }
}
