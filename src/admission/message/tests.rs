use serde_json::Value;

use super::*;
use crate::{
    image::Digest,
    rewrite::{Decision, Field, List, Place, Pull},
};

fn rewritten(index: usize) -> Judged<'static> {
    let place = Place { list: List::Containers, index };
    let outcome = Outcome::Rewritten { to: format!("r.corp/hub/library/nginx@{}", Digest::of(b"")).into() };
    Judged {
        field: Field { place, name: "app", image: "nginx", pull: Pull::Sometimes },
        decision: Decision { outcome, ..Decision::kept(Reason::Pinned) },
    }
}

#[test]
fn as_many_images_are_annotated_as_fit_before_their_quotes_are_escaped() {
    let images: Vec<_> = (0..100).map(rewritten).collect();
    let (mut key, mut value) = (String::new(), Embedded::default());
    audit_annotation(&images, &mut key, &mut value);
    let entries: Vec<Value> = serde_json::from_slice(value.plain()).unwrap();
    let one = value.plain().len() / entries.len();
    let left = MAX_AUDIT_ANNOTATION - value.plain().len();
    assert!(left < one, "{left} bytes are left, an entry has {one}");
    let digest = Digest::of(value.plain());
    assert_eq!(
        Some(&*key),
        digest.as_str().get("sha256:".len()..15).map(|hex| format!("images-{hex}")).as_deref()
    );
}

#[test]
fn nothing_changed_or_denied_is_no_annotation() {
    let mut kept = rewritten(0);
    kept.decision = Decision::kept(Reason::Placeholder);
    let (mut key, mut value) = (String::new(), Embedded::default());
    audit_annotation(&[kept], &mut key, &mut value);
    assert!(key.is_empty() && value.is_empty());
}
