use super::*;
use crate::{
    image::Digest,
    rewrite::{List, Reason},
    table::Table,
};

fn head() -> Head<'static> {
    Head {
        uid: "705ab4f5-6393-11e8-b7cc-42010a800002",
        operation: "CREATE",
        namespace: "shop",
        pod: "web-",
        owner: Some(("ReplicaSet", "web-7d4b")),
        user: "system:serviceaccount:kube-system:replicaset-controller",
        dry_run: false,
        mode: Mode::Enforce,
    }
}

fn record() -> Record {
    let mut record = Record::empty();
    record.begin_at("2026-01-02T03:04:05.000678901Z".parse().unwrap(), &head());
    record.set_elapsed(Duration::from_micros(1234));
    record
}

fn lines(record: &Record) -> Vec<String> {
    let mut buffer = b"before\n".to_vec();
    record.encode(&mut buffer);
    let text = String::from_utf8(buffer).unwrap();
    assert!(text.ends_with('\n'));
    let lines = text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    for line in &lines {
        serde_json::from_str::<serde_json::Value>(line).expect(line);
    }
    lines
}

const fn place(list: List, index: usize) -> Place {
    Place { list, index }
}

fn table() -> Table {
    let table = "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n- source: docker.io\n  mirrors: \
                 [registry.example.com/hub]\n  namespaces: [team-*]\n";
    Table::parse(table).unwrap().table
}

fn pinned() -> Decision {
    let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    Decision {
        outcome: Outcome::Rewritten {
            to: format!("registry.example.com/hub/library/nginx:1.25@{}", digest.as_str()).into(),
        },
        reason: Reason::Pinned,
        found: table().find("nginx:1.25", Some("team-a")),
        mirror: Some(0),
        digest: Some(digest),
        resolved_from: Some(ResolvedFrom::Registry),
    }
}

#[test]
fn a_line_has_every_field_in_the_documented_order() {
    let mut record = record();
    record.push(place(List::Containers, 0), "app", "nginx:1.25", pinned());
    let a = "a".repeat(64);
    assert_eq!(
        lines(&record),
        [format!(
            concat!(
                r#"{{"time":"2026-01-02T03:04:05.000678Z","kind":"image","uid":"705ab4f5-6393-11e8-b7cc-42010a800002","#,
                r#""operation":"CREATE","namespace":"shop","pod":"web-","owner":"ReplicaSet/web-7d4b","#,
                r#""user":"system:serviceaccount:kube-system:replicaset-controller","dryRun":false,"mode":"enforce","#,
                r#""field":"/spec/containers/0/image","container":"app","written":"nginx:1.25","#,
                r#""reference":"docker.io/library/nginx:1.25","#,
                r#""result":"registry.example.com/hub/library/nginx:1.25@sha256:{a}","digest":"sha256:{a}","#,
                r#""rule":"docker.io","ruleNamespaces":["team-*"],"outcome":"rewritten","reason":"pinned","#,
                r#""resolvedFrom":"registry","mirror":"registry.example.com/hub","elapsedMicros":1234}}"#,
            ),
            a = a
        )]
    );
}

#[test]
fn what_is_unknown_is_null_and_a_kept_image_results_in_its_text() {
    let mut record = record();
    record.push(
        place(List::Containers, 0),
        "app",
        "\u{1}\"Bad\" image",
        Decision::kept(Reason::InvalidReference),
    );
    let denied = Decision { outcome: Outcome::Denied, ..Decision::kept(Reason::Missing) };
    record.push(place(List::Volumes, 3), "data", "nginx", denied);
    let [kept, denied] = lines(&record).try_into().unwrap();
    assert!(
        kept.ends_with(concat!(
            r#""field":"/spec/containers/0/image","container":"app","written":"\u0001\"Bad\" image","#,
            r#""reference":null,"result":"\u0001\"Bad\" image","digest":null,"rule":null,"ruleNamespaces":null,"#,
            r#""outcome":"kept","reason":"invalid-reference","resolvedFrom":null,"mirror":null,"#,
            r#""elapsedMicros":1234}"#
        )),
        "{kept}"
    );
    assert!(denied.contains(r#""field":"/spec/volumes/3/image/reference","container":"data","#), "{denied}");
    assert!(denied.contains(r#""written":"nginx","reference":null,"result":null,"#), "{denied}");
    // The second line begins like the first.
    let seam = kept.find(r#""field""#).unwrap();
    assert_eq!(kept.split_at(seam).0, denied.split_at(seam).0);
}

#[test]
fn every_reason_and_place_is_written_with_its_word() {
    for reason in Reason::ALL {
        let mut record = record();
        record.push(place(List::Containers, 0), "c", "x", Decision::kept(reason));
        let line = &lines(&record)[0];
        assert!(line.contains(&format!(r#""reason":"{}""#, reason.word())), "{line}");
    }
    for from in ResolvedFrom::ALL {
        let mut record = record();
        record.push(place(List::Containers, 0), "c", "x", Decision { resolved_from: Some(from), ..pinned() });
        let line = &lines(&record)[0];
        assert!(line.contains(&format!(r#""resolvedFrom":"{}""#, from.word())), "{line}");
    }
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let long = format!("x{}", "é".repeat(5000));
    let mut record = Record::new(&Head { user: &long, ..head() });
    record.push(place(List::Containers, 0), "c", &long, Decision::kept(Reason::InvalidReference));
    let line = &lines(&record)[0];
    assert!(line.len() < 4 * MAX_TEXT, "{} bytes", line.len());
    assert!(line.contains(&format!(r#""written":"x{}","#, "é".repeat(2047))));
}

#[test]
fn a_record_without_images_has_no_lines() {
    assert!(record().is_empty());
    assert_eq!(lines(&record()), [""; 0]);
}

#[test]
fn the_texts_of_an_ordinary_pod_take_one_allocation() {
    let mut record = record();
    let capacity = record.texts.capacity();
    record.push(place(List::Containers, 0), "app", "nginx:1.25", pinned());
    record.push(place(List::InitContainers, 0), "prepare-the-volume", "busybox", pinned());
    assert_eq!(record.texts.capacity(), capacity);
}
