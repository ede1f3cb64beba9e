//! No text panics the reader of manifests; problems have a place and are fit to print; what is found has a place in its
//! text, a guess is a reference, and reading twice finds the same.

use portolan::{
    image::Reference,
    inventory::{Certainty, Content, Value, images, read},
};

/// Panics if the text is read wrongly.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let inventory = read("k8s.yaml", text);
    for problem in &inventory.problems {
        assert!(problem.document >= 1 && problem.line >= 1, "{problem}");
        assert!(!problem.to_string().contains(char::is_control), "{problem:?}");
    }
    // To YAML, either sign ends a line.
    let lines = text.matches(['\n', '\r']).count() + 1;
    for document in &inventory.documents {
        let found = images(document);
        assert_eq!(found, images(document));
        for found in found {
            assert!((1..=lines).contains(&found.line), "{found:?} of {lines} lines");
            if found.certainty == Certainty::Guess {
                assert!(Reference::parse(&found.image).is_ok(), "{found:?}");
            }
            match (&document.content, found.field.as_deref()) {
                (Content::Image(image), None) => assert_eq!(*image, found.image),
                (Content::Object(object), Some(field)) => {
                    assert!(at(object, field).is_some(), "{field} leads nowhere");
                }
                (content, field) => panic!("{field:?} in {content:?}"),
            }
        }
    }
}

/// What a JSON pointer leads to.
fn at<'v>(object: &'v Value, pointer: &str) -> Option<&'v Value> {
    pointer.split('/').skip(1).try_fold(object, |value, token| {
        let token = token.replace("~1", "/").replace("~0", "~");
        match value.as_list() {
            Some(items) => items.get(token.parse::<usize>().ok()?),
            None => value.get(&token),
        }
    })
}
