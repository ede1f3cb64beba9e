//! What a sound document comes to.

use super::*;

#[test]
fn the_example_of_the_contract_is_read_whole() {
    let Parsed { table, warnings } = parse(EXAMPLE);
    assert_eq!(warnings, []);
    let sources: Vec<&str> = table.rules().iter().map(|rule| rule.source()).collect();
    assert_eq!(
        sources,
        [
            "docker.io/juicedata",
            "quay.io/k8scsi",
            "docker.io/library/nginx:1.25",
            "*.gcr.io",
            "ghcr.io/acme/debug",
            "*"
        ]
    );
    let gcr = &table.rules()[3];
    assert_eq!((gcr.id(), gcr.line(), gcr.keep(), gcr.namespaces()), (3, 15, false, None));
    let mirrors: Vec<&str> = gcr.mirrors().iter().map(Mirror::as_str).collect();
    assert_eq!(mirrors, ["registry.example.com:32000/{registry}", "backup.example.com/{registry}"]);
    assert_eq!(gcr.on_missing(), Fallback::Deny);
    assert!(table.rules()[4].keep());
    assert_eq!(table.rules()[5].namespaces(), Some(["team-*".into()].as_slice()));
    assert!(!table.requires_lock());
    let [registry] = table.registries() else { panic!("{:?}", table.registries()) };
    assert_eq!(&*registry.host, "registry.example.com:32000");
    assert_eq!((registry.plain_http, registry.line), (false, 24));
    assert!(registry.ca.as_deref().unwrap().starts_with("-----BEGIN CERTIFICATE-----\nMII"));
    assert_eq!(registry.credentials.as_deref(), Some("harbor-pull"));
    assert_eq!(registry.client_certificate.as_deref(), Some("harbor-client"));
    assert_eq!(registry.pull_secret.as_deref(), Some("harbor-pull"));
    for (written, namespace, expected) in [
        ("juicedata/csi:v1", "default", "registry.example.com:32000/juicedata/csi:v1"),
        ("quay.io/k8scsi/driver:v1", "default", "registry.example.com:32000/juicedata/driver:v1"),
        ("nginx:1.25", "default", "registry.example.com:32000/hardened/nginx:1.25-fips"),
        ("nginx:1.26", "default", "no rule"),
        ("nginx:1.26", "team-a", "registry.example.com:32000/docker.io/library/nginx:1.26"),
        ("eu.gcr.io/x/y:1", "default", "registry.example.com:32000/eu.gcr.io/x/y:1"),
        ("ghcr.io/acme/debug/sh:1", "team-a", "exception of ghcr.io/acme/debug"),
    ] {
        assert_eq!(found(&table, written, Some(namespace)), expected, "`{written}` in {namespace}");
    }
}

#[test]
fn a_table_without_rules_is_legal_and_rewrites_nothing() {
    let table = table(&[]);
    assert_eq!(rewritten(&table, "nginx"), "no rule");
    assert_eq!(rewritten(&Table::default(), "nginx"), "no rule");
    assert!(!table.requires_lock());
}

#[test]
fn a_policy_is_the_rules_own_else_the_defaults_else_the_contracts() {
    let policies = |rule: &Rule| {
        (
            rule.pin().as_str(),
            rule.on_missing().as_str(),
            rule.on_unavailable().as_str(),
            rule.lock().as_str(),
        )
    };
    let bare = table(&["source: docker.io, mirrors: [r.corp]"]);
    assert_eq!(policies(&bare.rules()[0]), ("tag-and-digest", "keep", "rewrite", "prefer"));
    let rules = document(&[
        "source: docker.io, mirrors: [r.corp/a]",
        "source: quay.io, mirrors: [r.corp/b], pin: digest, onMissing: rewrite, onUnavailable: keep, lock: prefer",
        "source: ghcr.io, mirrors: [r.corp/c], pin: tag-and-digest",
    ]);
    let defaults = "defaults: {pin: off, onMissing: deny, onUnavailable: deny, lock: ignore}\n";
    let table = parse(&(rules + defaults)).table; // the order of keys does not matter
    assert_eq!(policies(&table.rules()[0]), ("off", "deny", "deny", "ignore"));
    assert_eq!(policies(&table.rules()[1]), ("digest", "rewrite", "keep", "prefer"));
    assert_eq!(policies(&table.rules()[2]), ("tag-and-digest", "deny", "deny", "ignore"));
}

#[test]
fn a_table_says_whether_it_refuses_what_is_not_locked() {
    let requires = |text: &str| parse(text).table.requires_lock();
    let (plain, require) =
        ("source: docker.io, mirrors: [r.corp]", "source: quay.io, mirrors: [r.corp/q], lock: require");
    assert!(!requires(&document(&[plain])));
    assert!(!requires(&document(&[&format!("{plain}, lock: prefer")])));
    assert!(requires(&document(&[plain, require])));
    let by_default = |rule: &str| document(&[rule]) + "defaults: {lock: require}\n";
    assert!(requires(&by_default(plain)));
    assert!(!requires(&by_default(&format!("{plain}, lock: ignore"))));
    assert!(!requires(&by_default("source: docker.io, keep: true")));
}

#[test]
fn json_crlf_a_byte_order_mark_and_quotes_are_the_same_document() {
    let json = r#"{"apiVersion": "portolan.dev/v1", "kind": "MappingTable",
        "rules": [{"source": "docker.io", "mirrors": ["r.corp"], "keep": false}]}"#;
    let yaml = document(&["source: docker.io, mirrors: [r.corp]"]);
    for text in
        [json, &yaml, &yaml.replace('\n', "\r\n"), &format!("\u{feff}{yaml}"), &format!("---\n{yaml}...\n")]
    {
        assert_eq!(rewritten(&parse(text).table, "a/b:1"), "r.corp/a/b:1", "{text}");
    }
}

#[test]
fn a_number_where_a_text_is_wanted_is_its_text() {
    let table = table(&["source: docker.io, mirrors: [r.corp], namespaces: [1.10, 007]"]);
    assert_eq!(table.rules()[0].namespaces(), Some(["1.10".into(), "007".into()].as_slice()));
}
