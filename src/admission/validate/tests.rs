use serde_json::{Value, json};

use super::*;

fn validation() -> Arc<Validation> {
    let table =
        TablePlace { namespace: "portolan".to_owned(), name: "portolan-table".to_owned(), key: "table.yaml" };
    Arc::new(Validation {
        table: Some(table),
        lock_namespace: Some("portolan".to_owned()),
        lock_maps: ArcSwap::default(),
        metrics: Arc::new(Metrics::new()),
    })
}

/// A review of the table's ConfigMap with this text.
fn review(text: &str) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "ConfigMap"}, "operation": "UPDATE",
            "namespace": "portolan", "name": "portolan-table",
            "object": {"metadata": {"name": "portolan-table"}, "data": {"table.yaml": text}},
        },
    })
}

fn rules(rules: &str) -> String {
    format!("apiVersion: portolan.dev/v1\nkind: MappingTable\n{rules}")
}

fn ask(validation: &Validation, review: &Value) -> Value {
    let Checked { reply, counted } = validation.check(review.to_string().as_bytes());
    assert_eq!(reply.status, 200);
    if let Some(verdict) = counted {
        validation.metrics.validation(verdict);
    }
    response(&reply)
}

fn response(reply: &Reply) -> Value {
    let answer: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(answer["response"]["uid"], "u-1");
    assert_eq!(answer["response"]["patch"], Value::Null);
    answer["response"].clone()
}

fn counted(validation: &Validation, verdict: &str) -> bool {
    let line = format!("portolan_validations_total{{result=\"{verdict}\"}} 1\n");
    validation.metrics.encode().contains(&line)
}

const ALLOWED: &str = r#"{"allowed":true,"uid":"u-1"}"#;

#[test]
fn a_table_with_problems_is_refused_with_every_one_of_them() {
    let validation = validation();
    let text = rules("rules:\n  - sorce: docker.io\n    mirrors: [r.example/a]\n  - source: quay.io\n");
    let response = ask(&validation, &review(&text));
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(403)));
    let problems = Table::parse(&text).unwrap_err().to_string();
    assert!(problems.lines().count() > 1, "{problems}");
    let expected =
        format!("cannot read the mapping table in ConfigMap `portolan/portolan-table`: {problems}");
    assert_eq!(response["status"]["message"], expected);
    assert!(counted(&validation, "denied"), "{}", validation.metrics.encode());
}

#[test]
fn a_table_without_its_key_is_refused() {
    for data in [json!({"table.yml": rules("rules: []")}), json!({}), Value::Null] {
        let mut review = review("");
        review["request"]["object"]["data"] = data;
        let response = ask(&validation(), &review);
        let expected = "cannot read the mapping table in ConfigMap `portolan/portolan-table`: it has no key `table.yaml`";
        assert_eq!(response["status"]["message"], expected);
    }
}

#[test]
fn what_is_odd_is_allowed_with_warnings_in_their_bounds() {
    let odd = "rules: []\nregistries:\n  - {host: 'HOST', plainHttp: true, credentials: harbor}\n";
    let validation = validation();
    let response = ask(&validation, &review(&rules(&odd.replace("HOST", "r.example"))));
    assert_eq!(response["allowed"], true);
    let [warning] = &response["warnings"].as_array().unwrap()[..] else { panic!("{response}") };
    let warning = warning.as_str().unwrap();
    assert!(warning.starts_with("portolan: mapping table: line 5, column "), "{warning}");
    assert!(counted(&validation, "allowed"));

    for (count, expected, last) in [(8, 8, "line 12"), (9, 8, "and 2 more warnings"), (30, 8, "and 23 more")]
    {
        let host = "long.".repeat(40) + "example";
        let entries: Vec<_> = (0..count)
            .map(|number| format!("  - {{host: 'r{number}.{host}', plainHttp: true, credentials: harbor}}\n"))
            .collect();
        let entries = entries.concat();
        let response = ask(&validation, &review(&rules(&format!("rules: []\nregistries:\n{entries}"))));
        let warnings = response["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), expected);
        assert!(warnings.iter().all(|warning| warning.as_str().unwrap().chars().count() <= 256));
        assert!(warnings.last().unwrap().as_str().unwrap().contains(last), "{warnings:?}");
    }
}

#[test]
fn what_is_not_the_table_is_allowed_without_a_look() {
    let broken = review("rules: [");
    for (pointer, value) in [
        ("/request/name", json!("another")),
        ("/request/namespace", json!("default")),
        ("/request/operation", json!("DELETE")),
        ("/request/subResource", json!("status")),
        ("/request/kind/kind", json!("Secret")),
        ("/request/kind/group", json!("example.com")),
    ] {
        let mut other = broken.clone();
        other["request"]["subResource"] = json!("");
        *other.pointer_mut(pointer).unwrap() = value;
        assert_eq!(ask(&validation(), &other).to_string(), ALLOWED, "{pointer}");
    }
    let in_a_file = Validation {
        table: None,
        lock_namespace: None,
        lock_maps: ArcSwap::default(),
        metrics: Arc::new(Metrics::new()),
    };
    assert_eq!(ask(&in_a_file, &broken).to_string(), ALLOWED);
    // Another kind may have other types under the same names.
    let mut custom = broken;
    custom["request"]["kind"] = json!({"group": "example.com", "version": "v1", "kind": "ConfigMap"});
    custom["request"]["object"]["data"] = json!([7]);
    assert_eq!(ask(&validation(), &custom).to_string(), ALLOWED);
}

/// A review of another ConfigMap with this label and these texts.
fn lock_review(label: &str, data: &Value) -> Value {
    let mut review = review("");
    review["request"]["name"] = json!("apps");
    review["request"]["object"] =
        json!({"metadata": {"name": "apps", "labels": {"portolan.dev/lock": label}}, "data": data});
    review
}

#[test]
fn a_lock_is_checked_whole_whatever_its_name_and_keys() {
    let (one, two) = ("a".repeat(64), "b".repeat(64));
    let good = json!({"first": format!("r.example/hub/nginx:1 sha256:{one}\n# none\n"), "second": ""});
    assert_eq!(ask(&validation(), &lock_review("true", &good)).to_string(), ALLOWED);

    let bad = json!({
        "first": format!("r.example/hub/nginx:1 sha256:{one}\nr.example/hub/redis:7\n"),
        "second": format!("r.example/hub/nginx:1 sha256:{two}\n"),
    });
    let response = ask(&validation(), &lock_review("true", &bad));
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(403)));
    let message = response["status"]["message"].as_str().unwrap();
    let lines: Vec<_> = message.lines().collect();
    let start = "cannot read the lock in the ConfigMaps of `portolan` labelled `portolan.dev/lock=true`: \
                 ConfigMap `apps`, key `first`: line 2, column 22: the line has no digest";
    assert!(lines.len() == 2 && lines[0].starts_with(start), "{message}");
    assert!(lines[1].starts_with("ConfigMap `apps`, key `second`: line 1, column 1: "), "{message}");
    assert!(lines[1].contains("line 1 of ConfigMap `apps`, key `first`"), "it names both: {message}");
}

#[test]
fn a_line_that_another_config_map_of_the_lock_contradicts_is_a_warning_that_names_both() {
    let validation = validation();
    let (one, two) = ("a".repeat(64), "b".repeat(64));
    let line = |tag: &str, hex: &str| format!("r.example/hub/nginx:{tag} sha256:{hex}\n");
    let map = |name: &str, text: String| (name.to_owned(), Arc::new([("lock.txt".to_owned(), text)].into()));
    let maps = [
        map("apps", line("1", &two)),
        // Broken by themselves, which is not said of another's edit.
        map("base", format!("{}{}{}no line\n", line("0", &one), line("2", &one), line("0", &two))),
        map("extra", line("3", &one)),
    ];
    validation.lock_maps.store(Arc::new(maps.into()));
    for (text, expected) in [
        // Its own text of before is gone, and the same again is fine.
        (line("1", &one) + &line("3", &one), None),
        (line("4", &one) + &line("2", &two), Some(("line 2", "on line 2 of ConfigMap `base`"))),
        (line("3", &two), Some(("line 1", "on line 1 of ConfigMap `extra`"))),
    ] {
        let response = ask(&validation, &lock_review("true", &json!({"first": text})));
        assert_eq!(response["allowed"], true);
        let Some((place, other)) = expected else {
            assert_eq!(response.to_string(), ALLOWED);
            continue;
        };
        let [warning] = &response["warnings"].as_array().unwrap()[..] else { panic!("{response}") };
        let warning = warning.as_str().unwrap();
        let start =
            format!("portolan: the lock will not be in force: ConfigMap `apps`, key `first`: {place}, ");
        assert!(warning.starts_with(&start) && warning.chars().count() <= 256, "{warning}");
        let end = format!("{other}, key `lock.txt`; remove one of the two lines");
        assert!(warning.contains("`r.example/hub/nginx:") && warning.ends_with(&end), "{warning}");
    }
    // Where there are no others, a broken lock is refused as ever.
    let broken = lock_review("true", &json!({"first": line("1", &one) + &line("1", &two)}));
    assert_eq!(ask(&validation, &broken)["allowed"], false);
}

#[test]
fn what_is_odd_about_a_lock_is_a_warning() {
    let line = json!({"apps": "no line of a lock"});
    let not_true = "portolan: label `portolan.dev/lock` is not `true`, so that this ConfigMap is no lock";
    let empty = json!({"apps": "# later\n"});
    for (label, data, expected) in [
        ("yes", &line, not_true),
        ("true", &empty, "portolan: the lock has no line"),
        ("true", &Value::Null, "portolan: the lock has no line"),
    ] {
        let response = ask(&validation(), &lock_review(label, data));
        assert_eq!((&response["allowed"], &response["warnings"]), (&json!(true), &json!([expected])));
    }
}

#[test]
fn a_lock_elsewhere_is_none_and_one_in_the_tables_config_map_is_checked_with_it() {
    let broken = json!({"apps": "no line of a lock"});
    let mut elsewhere = lock_review("true", &broken);
    elsewhere["request"]["namespace"] = json!("default");
    assert_eq!(ask(&validation(), &elsewhere).to_string(), ALLOWED);

    let mut both = lock_review("true", &json!({"table.yaml": "rules: ["}));
    both["request"]["name"] = json!("portolan-table");
    let response = ask(&validation(), &both);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("cannot read the mapping table") && message.contains("cannot read the lock"),
        "{message}"
    );
}

#[test]
fn a_dry_run_is_answered_alike_and_not_counted() {
    let validation = validation();
    let mut review = review("rules: [");
    review["request"]["dryRun"] = json!(true);
    assert_eq!(ask(&validation, &review)["allowed"], false);
    assert!(!counted(&validation, "denied"));
}

#[test]
fn a_config_map_that_cannot_be_read_goes_on_with_a_warning() {
    for (pointer, value) in [("/request/object", Value::Null), ("/request/object/data", json!([7]))] {
        let validation = validation();
        let mut review = review("");
        *review.pointer_mut(pointer).unwrap() = value;
        let response = ask(&validation, &review);
        assert_eq!(response["allowed"], true);
        let warning = response["warnings"][0].as_str().unwrap();
        assert!(warning.ends_with("so the edit was not checked (internal-error)"), "{warning}");
        assert!(counted(&validation, "error"));
    }
}

#[tokio::test]
async fn a_check_that_panics_or_never_ends_lets_the_edit_through() {
    let body = Bytes::from(review("rules: [").to_string());
    let validation = validation();
    let panics = tokio::task::spawn_blocking(|| panic!("as a test"));
    let deadline = Deadline::new(Instant::now(), Some(Duration::from_millis(10)), CHECK_LIMIT);
    let reply = validation.guard(&body, Deadline::new(Instant::now(), None, CHECK_LIMIT), panics).await;
    let response = response(&reply);
    assert_eq!(response["allowed"], true);
    assert!(response["warnings"][0].as_str().unwrap().contains("the check panicked"), "{response}");

    let never = std::future::pending::<Result<Checked, ()>>();
    let reply = validation.guard(&body, deadline, never).await;
    assert!(String::from_utf8(reply.body).unwrap().contains("did not end in time"));
    assert!(validation.metrics.encode().contains("portolan_validations_total{result=\"error\"} 2\n"));
}

#[tokio::test]
async fn a_body_that_is_no_review_is_400() {
    for body in ["", "{}", r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}"#] {
        let reply = validation().answer(Bytes::from(body), None).await;
        assert_eq!(reply.status, 400, "{body}");
    }
}
