//! Which mirror was asked, and what it said: by the run that decided, and by nothing else.

use std::time::{Duration, Instant};

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Folder, timeless};
use crate::support::{
    fake_registry::{FakeRegistry, Fault, manifest},
    webhook::table,
};

/// What each mirror of the first row said: mirror's path, asked, answer, detail.
fn said(stdout: &str) -> Vec<(String, bool, String, String)> {
    let rows: Vec<Value> = serde_json::from_str(stdout).unwrap();
    let row = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        let (_, path) = row["mirror"].as_str().unwrap().split_once('/').unwrap();
        (path.to_owned(), row["asked"].as_bool().unwrap(), text("answer"), text("detail"))
    };
    rows[0]["mirrors"].as_array().unwrap().iter().map(row).collect()
}

#[tokio::test]
async fn each_mirror_says_what_it_answered_in_order_and_those_behind_are_not_asked() {
    let registry = FakeRegistry::start().await;
    let digest = registry.put("found/library/nginx", "1", &manifest("nginx"));
    for (part, fault) in
        [("refused", Fault::Status(401)), ("forbidden", Fault::Status(403)), ("page", Fault::Html)]
    {
        registry.fault_at(part, fault);
    }
    let host = registry.host();
    let mirrors = ["absent", "refused", "forbidden", "page", "found", "behind"];
    let mirrors: Vec<_> = mirrors.iter().map(|path| format!("'{host}/{path}'")).collect();
    let folder = Folder::new();
    let rule = format!("{{source: docker.io, mirrors: [{}]}}", mirrors.join(", "));
    folder.write("table.yaml", &table(&[&rule], &[&format!("{{host: '{host}', plainHttp: true}}")]));
    let arguments = ["explain", "nginx:1", "--table", "table.yaml", "--resolve-timeout", "20s"];
    let text = folder.run(&arguments).await;
    let shown = timeless(&text.shown().replace(&host, "HOST"));
    assert_snapshot!(shown, @r"
    exit 0
    --- stdout
    nginx:1
      rewritten (pinned)
      result      HOST/found/library/nginx:1@sha256:e8aee6d41cda1070f2ff067fe0d71290c7dc1c995ddfa114e1626aefc1585e5e
      reference   docker.io/library/nginx:1
      rule        docker.io (line 3)
      mirror      HOST/found
      digest      sha256:e8aee6d41cda1070f2ff067fe0d71290c7dc1c995ddfa114e1626aefc1585e5e
      known from  registry
      mirrors     HOST/absent/library/nginx:1     missing: the registry says that it does not exist (… ms)
                  HOST/refused/library/nginx:1    unauthorized: the registry refused us with status 401 (… ms)
                  HOST/forbidden/library/nginx:1  unauthorized: the registry refused us with status 403 (… ms)
                  HOST/page/library/nginx:1       failed: the registry's answer is no manifest (… ms)
                  HOST/found/library/nginx:1      found sha256:e8aee6d41cda1070f2ff067fe0d71290c7dc1c995ddfa114e1626aefc1585e5e (… ms)
                  HOST/behind/library/nginx:1     not asked: a mirror before it has the image
      considered  docker.io (line 3)  won
    ");

    let asked_before = registry.requests().len();
    let ended = folder.run(&[&arguments[..], &["-o", "json"]].concat()).await;
    assert_eq!(
        said(&ended.stdout),
        [
            ("absent".into(), true, "missing".into(), "the registry says that it does not exist".into()),
            ("refused".into(), true, "unauthorized".into(), "the registry refused us with status 401".into()),
            (
                "forbidden".into(),
                true,
                "unauthorized".into(),
                "the registry refused us with status 403".into()
            ),
            ("page".into(), true, "failed".into(), "the registry's answer is no manifest".into()),
            ("found".into(), true, "found".into(), digest.as_str().into()),
            ("behind".into(), false, "not-asked".into(), "a mirror before it has the image".into()),
        ]
    );
    // One question to each mirror, none for the telling.
    let requests: Vec<_> =
        registry.requests().split_off(asked_before).into_iter().map(|it| it.path).collect();
    let of = |part: &str| requests.iter().filter(|path| path.contains(&format!("/{part}/"))).count();
    assert_eq!((of("absent"), of("refused"), of("found"), of("behind")), (1, 1, 1, 0), "{requests:?}");
}

#[tokio::test]
async fn a_registry_that_is_silent_gone_or_left_alone_is_told_apart() {
    let registry = FakeRegistry::start().await;
    registry.fault(Fault::Stall);
    let host = registry.host();
    let folder = Folder::new();
    let rule =
        format!("{{source: docker.io, mirrors: ['{host}/silent', '{host}/again', '127.0.0.1:1/gone']}}");
    let plain = format!("{{host: '{host}', plainHttp: true}}");
    folder.write("table.yaml", &table(&[&rule], &[&plain, "{host: '127.0.0.1:1', plainHttp: true}"]));
    let arguments = ["explain", "nginx:1", "--table", "table.yaml", "-o", "json", "--resolve-timeout", "1s"];
    let ended = folder.run(&arguments).await;
    let answers: Vec<_> =
        said(&ended.stdout).into_iter().map(|(path, asked, answer, _)| (path, asked, answer)).collect();
    assert_eq!(
        answers,
        [
            ("silent".into(), true, "timeout".into()),
            ("again".into(), false, "paused".into()),
            ("gone".into(), true, "unreachable".into()),
        ]
    );
    assert_eq!(ended.code, 0);
}

#[tokio::test]
async fn lock_pin_and_an_image_inside_a_mirror_say_why_nobody_was_asked() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let folder = Folder::new();
    folder.write(
        "table.yaml",
        &table(
            &[
                "{source: docker.io, mirrors: [r.corp/a, r.corp/b, r.corp/c]}",
                "{source: quay.io, mirrors: [r.corp/off], pin: off}",
                "{source: ghcr.io, mirrors: [r.corp/must], lock: require}",
                "{source: '[2001:db8::1]:5000', mirrors: ['r.corp/v6/{registry}']}",
            ],
            &[],
        ),
    );
    folder.write("lock.txt", &format!("r.corp/b/library/nginx:1 {digest}\n"));
    let explain = async |image: &str| {
        let arguments = ["explain", image, "--table", "table.yaml", "--lock", "lock.txt", "-o", "json"];
        let ended = folder.run(&arguments).await;
        said(&ended.stdout)
            .into_iter()
            .map(|(path, asked, answer, detail)| {
                assert!(!asked, "{path}");
                format!("{path}: {answer}: {detail}")
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        explain("nginx:1").await,
        [
            "a: not-locked: the lock has no line for it here, and one in a mirror behind".to_owned(),
            format!("b: locked: {digest}"),
            "c: not-asked: a mirror before it has the image".to_owned(),
        ]
    );
    assert_eq!(explain("quay.io/x/y:1").await, ["off: not-asked: `pin: off` asks nobody"]);
    assert_eq!(
        explain("ghcr.io/x/y:1").await,
        ["must: not-locked: the lock has no line for it, and the rule requires one"]
    );
    assert_eq!(
        explain(&format!("r.corp/c/x@{digest}")).await,
        ["c: not-asked: the reference has its digest already"]
    );
    assert_eq!(
        explain("[2001:db8::1]:5000/x:1").await,
        ["v6/{registry}: unrepresentable: it would be no valid reference there"]
    );
    assert_eq!(explain("r.corp/b/library/nginx:1").await, [format!("b: locked: {digest}")]);
}

#[tokio::test]
async fn what_a_mirror_said_about_one_image_is_not_told_of_another_that_the_lock_settled() {
    let registry = FakeRegistry::start().await;
    let asked = registry.put("a/library/nginx", "1", &manifest("nginx"));
    let host = registry.host();
    let locked = format!("sha256:{}", "b".repeat(64));
    let folder = Folder::new();
    folder.write("lock.txt", &format!("{host}/a/library/nginx:1 {locked}\n"));
    let rules = [
        format!("{{source: docker.io, mirrors: ['{host}/a'], lock: ignore}}"),
        format!("{{source: quay.io, mirrors: ['{host}/a/library']}}"),
    ];
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    folder.write("table.yaml", &table(&rules, &[&format!("{{host: '{host}', plainHttp: true}}")]));
    let arguments = [
        "explain",
        "nginx:1",
        "quay.io/nginx:1",
        "--table",
        "table.yaml",
        "--lock",
        "lock.txt",
        "-o",
        "json",
    ];
    let ended = folder.run(&[&arguments[..], &["--resolve-timeout", "20s"]].concat()).await;
    let rows: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    let mirror = |row: &Value| {
        let mirror = &row["mirrors"][0];
        (mirror["reference"].clone(), mirror["answer"].clone(), mirror["detail"].clone())
    };
    let place = json!(format!("{host}/a/library/nginx:1"));
    assert_eq!(mirror(&rows[0]), (place.clone(), json!("found"), json!(asked.as_str())));
    assert_eq!(mirror(&rows[1]), (place, json!("locked"), json!(locked)));
}

#[tokio::test]
async fn many_images_are_asked_in_groups_each_with_its_own_deadline() {
    let registry = FakeRegistry::start().await;
    // Each group is in time, and the last would be late for a deadline that all groups share.
    registry.fault(Fault::Delay(Duration::from_millis(400)));
    let host = registry.host();
    let folder = Folder::new();
    let rule = format!("{{source: docker.io, mirrors: ['{host}/hub']}}");
    folder.write("table.yaml", &table(&[&rule], &[&format!("{{host: '{host}', plainHttp: true}}")]));
    let images: Vec<_> = (0..256).map(|number| format!("team/app-{number}:1")).collect();
    for number in 0..256 {
        registry.put(&format!("hub/team/app-{number}"), "1", &manifest("app"));
    }
    let arguments = ["explain", "-", "--table", "table.yaml", "-o", "json", "--resolve-timeout", "3s"];
    let started = Instant::now();
    let ended = folder.run_with(&arguments, &images.join("\n")).await;
    let rows: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    let found: Vec<_> = rows.iter().map(|row| (&row["written"], &row["reason"])).collect();
    let expected: Vec<_> = images.iter().map(|image| json!(image)).collect();
    assert_eq!(found, expected.iter().map(|image| (image, &rows[0]["reason"])).collect::<Vec<_>>());
    assert_eq!(rows[0]["reason"], "pinned");
    assert!(started.elapsed() > Duration::from_secs(3), "no deadline was shared");
}
