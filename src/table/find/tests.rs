use super::*;

fn table(rules: &str) -> Table {
    Table::parse(&format!("apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n{rules}")).unwrap().table
}

/// How, the rule's source, and the places.
fn told(found: &Found) -> (How, Option<&str>, Vec<(usize, &str)>) {
    let places = found.places.iter().map(|place| (place.mirror, place.reference.as_str()));
    (found.how, found.rule.as_deref().map(Rule::source), places.collect())
}

fn count(table: &Table) -> usize {
    table.finds.kept.read().unwrap().count
}

#[test]
fn what_was_found_is_the_same_the_next_time_and_is_not_looked_up_again() {
    let table = table(
        "  - {source: docker.io, mirrors: [r.corp/hub, s.corp/hub]}
  - {source: quay.io/x, keep: true}
  - {source: '*', mirrors: ['r.corp/{registry}']}
",
    );
    for (written, how, places) in [
        (
            "nginx",
            How::Rule,
            vec![(0, "r.corp/hub/library/nginx:latest"), (1, "s.corp/hub/library/nginx:latest")],
        ),
        ("quay.io/x/y:1", How::Exception, vec![]),
        ("s.corp/hub/y:1", How::Inside, vec![(1, "s.corp/hub/y:1")]),
        ("UPPER.example/x:1", How::Rule, vec![]),
    ] {
        let first = table.find(written, Some("shop")).unwrap();
        assert_eq!((first.how, told(&first).2), (how, places), "{written}");
        assert_eq!(first.reference.written(), written);
        // Whatever the namespace: no rule asks for one.
        for namespace in [Some("shop"), Some("other"), None] {
            assert!(Arc::ptr_eq(&first, &table.find(written, namespace).unwrap()), "{written} {namespace:?}");
        }
    }
    assert!(table.find("no image", Some("shop")).is_none());
    assert_eq!(count(&table), 4);
}

#[test]
fn a_scoped_rule_is_found_in_its_namespaces_only() {
    let table = table(
        "  - {source: docker.io, mirrors: [r.corp/hub]}
  - {source: docker.io, namespaces: [shop], mirrors: [r.corp/shop]}
",
    );
    for _ in 0..2 {
        for (namespace, expected) in [
            (Some("shop"), "r.corp/shop/library/nginx:latest"),
            (Some("bank"), "r.corp/hub/library/nginx:latest"),
            (None, "r.corp/hub/library/nginx:latest"),
        ] {
            let found = table.find("nginx", namespace).unwrap();
            assert_eq!(told(&found).2, [(0, expected)], "{namespace:?}");
        }
    }
    assert_eq!(count(&table), 2, "nothing is remembered of an unknown namespace");
}

#[test]
fn no_more_is_remembered_than_there_is_room_for() {
    let table = table("  - {source: docker.io, mirrors: [r.corp/hub]}\n");
    for number in 0..=MOST {
        assert_eq!(count(&table), number);
        assert!(table.find(&format!("nginx:{number}"), None).is_some());
    }
    assert_eq!(count(&table), 1);
    assert!(table.find("nginx:0", None).is_some());
    let long = format!("nginx@sha512:{}", "0".repeat(128));
    let longer = format!("r.corp/{}", "x/".repeat(250) + "x");
    let tall = table.find(&long, None).unwrap();
    assert_eq!(tall.reference.written(), long);
    assert!(longer.len() <= LONGEST && table.find(&longer, None).is_none(), "it is no reference");
    let count_before = count(&table);
    let host = format!("{}.corp/x:1", "h".repeat(LONGEST));
    assert_eq!(table.find(&host, None).unwrap().reference.written(), host);
    assert_eq!(count(&table), count_before);
}

#[test]
fn what_two_find_at_once_counts_once() {
    let table = table("  - {source: docker.io, mirrors: [r.corp/hub]}\n");
    let found = table.find("nginx", None).unwrap();
    table.finds.keep("", "nginx", Arc::clone(&found));
    assert_eq!(count(&table), 1);
    assert!(Arc::ptr_eq(&found, &table.find("nginx", None).unwrap()));
}

#[test]
fn a_place_is_pinned_to_the_digest_that_is_asked_for_whatever_it_was_pinned_to_last() {
    let table = table("  - {source: docker.io, mirrors: [r.corp/hub]}\n");
    let [first, second] = [&b"first"[..], b"second"].map(Digest::of);
    let carried = format!("app:1@{first}");
    for (written, name) in [("app:1", "r.corp/hub/library/app"), (&carried, "r.corp/hub/library/app")] {
        let found = table.find(written, None).unwrap();
        let [place] = &*found.places else { panic!("{found:?}") };
        // Only the digest is another one than last time, then only the pin.
        for (pin, digest) in [
            (Pin::Digest, &first),
            (Pin::Digest, &second),
            (Pin::TagAndDigest, &second),
            (Pin::Digest, &second),
        ] {
            let tag = if pin == Pin::Digest { "" } else { ":1" };
            assert_eq!(*place.pinned_to(digest, pin), *format!("{name}{tag}@{digest}"));
        }
        // As long as nothing changes it is the same text.
        let text = place.pinned_to(&second, Pin::Digest);
        assert!(Arc::ptr_eq(&text, &place.pinned_to(&Digest::of(b"second"), Pin::Digest)));
    }
}
