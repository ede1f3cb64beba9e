//! What an answer says beside its patch, and what audit mode and dry runs change.

use serde_json::{Value, json};

use super::{hub, pinned, put};
use crate::support::{
    review::pod,
    webhook::{hub_table, with_table},
};

#[tokio::test]
async fn a_denial_names_image_mirror_reason_and_remedy() {
    let registry = hub(&[("library/nginx", "1.25")]).await;
    let host = registry.host();
    for (fault, reason, remedy) in [
        (404, "missing", "load the image there, or set `onMissing` to keep or rewrite"),
        (403, "unauthorized", "mend the Secret named in `registries`, or set `onUnavailable`"),
        (500, "unavailable", "try again, or set `onUnavailable` to keep or rewrite"),
    ] {
        let webhook =
            with_table(hub_table(&registry, ", onMissing: deny, onUnavailable: deny")).forgetful().start();
        registry.fault_at("redis", crate::support::fake_registry::Fault::Status(fault));
        let review = pod().init("setup", "redis:7").create();
        let answered = webhook.mutate(&review.0).await;
        assert!(!answered.allowed());
        let status = &answered.response["status"];
        assert_eq!((&status["code"], &status["reason"]), (&json!(403), &json!("Forbidden")));
        let message = status["message"].as_str().unwrap();
        for part in ["`redis:7`", "initContainers/setup", &format!("`{host}/hub`"), reason, remedy] {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
        assert!(!message.contains("nginx"), "{message}");
        let audited = answered.audited();
        assert_eq!(audited[1]["reason"], reason);
        assert_eq!(audited[1]["image"], Value::Null);
        let outcomes: Vec<_> = webhook.audit().iter().map(|line| line["outcome"].clone()).collect();
        assert_eq!(outcomes, ["rewritten", "denied"]);
        assert_eq!(webhook.metric(r#"portolan_admissions_total{mode="enforce",result="denied"}"#), 1);
        registry.heal();
    }
}

#[tokio::test]
async fn what_is_not_as_the_table_asks_for_is_warned_about() {
    let registry = hub(&[]).await;
    let webhook = with_table(hub_table(&registry, "")).start();
    let answered =
        webhook.mutate(&pod().image("docker.io/a/b:1").container("x", "Not/A:::ref").create().0).await;
    assert_eq!(
        answered.warnings(),
        [
            "portolan: containers/app: `docker.io/a/b:1` kept as written (missing): no mirror has it",
            "portolan: containers/x: `Not/A:::ref` kept as written (invalid-reference): it is no image reference",
        ]
    );
    let dead = hub_table(&registry, "").replace("hub", "hub2");
    drop(registry);
    let webhook = with_table(dead).start();
    let answered = webhook.mutate(&pod().create().0).await;
    assert_eq!(
        answered.warnings(),
        [
            "portolan: containers/app: `nginx:1.25` rewritten without a digest (unavailable): no mirror answered in time"
        ]
    );
    assert_eq!(answered.sources()["containers/app"]["reason"], "unavailable");
}

#[tokio::test]
async fn many_long_images_keep_to_the_limits_of_warnings_and_annotations() {
    let registry = hub(&[]).await;
    let webhook = with_table(hub_table(&registry, ", onMissing: rewrite")).start();
    let mut many = pod();
    for number in 0..60 {
        let path = format!("{}{number}", "long-".repeat(40));
        many =
            many.container(&format!("container-with-a-name-of-many-words-{number}"), &format!("org/{path}"));
    }
    // `Answered` checks the limits.
    let answered = webhook.mutate(&many.create().0).await;
    let warnings = answered.warnings();
    assert_eq!(warnings.len(), 8);
    assert_eq!(warnings[7], "portolan: and 54 more images");
    assert!(warnings[1].contains('…'), "shortened in the middle: {}", warnings[1]);
    assert!(answered.audited().as_array().unwrap().len() > 10);
    assert_eq!(answered.sources().as_object().unwrap().len(), 61, "the Pod's own annotation is whole");

    let (repository, name) = (format!("org/{}", "long-".repeat(40) + "end"), "name-".repeat(12));
    put(&registry, &repository, "1");
    let long = pod().init(&name, &format!("{repository}:1")).create();
    let answered = webhook.review("/mutate/audit", &long.0).await;
    let warning = answered.warnings()[1];
    assert!(warning.contains("` would be rewritten to `") && warning.ends_with("` (pinned)"), "{warning}");
}

#[tokio::test]
async fn a_dry_run_is_answered_alike_and_counts_nowhere() {
    let registry = hub(&[("library/nginx", "1.25")]).await;
    let webhook = with_table(hub_table(&registry, "")).start();
    let real = webhook.mutate(&pod().create().0).await;
    let count = |webhook: &crate::support::webhook::Webhook| {
        (
            webhook.metric(r#"portolan_admissions_total{mode="enforce",result="allowed"}"#),
            webhook.metric(r#"portolan_images_total{outcome="rewritten",reason="pinned"}"#),
        )
    };
    assert_eq!(count(&webhook), (1, 1));
    let dry = webhook.mutate(&pod().create().dry_run().0).await;
    assert_eq!(dry.response, real.response);
    assert_eq!(count(&webhook), (1, 1));
    let flags: Vec<_> = webhook.audit().iter().map(|line| line["dryRun"].clone()).collect();
    assert_eq!(flags, [false, true]);
}

#[tokio::test]
async fn audit_mode_says_what_would_be_and_does_nothing() {
    let registry = hub(&[("library/nginx", "1.25")]).await;
    let table = hub_table(&registry, ", onMissing: deny");
    let to = pinned(&registry, "library/nginx", "1.25");
    let review = pod().container("gone", "redis:7").create().0;
    for (path, audit_only) in [("/mutate/audit", false), ("/mutate", true)] {
        let webhook = with_table(table.clone())
            .options(|options| {
                if audit_only {
                    options.mode = portolan::rewrite::Mode::Audit;
                }
            })
            .start();
        let answered = webhook.review(path, &review).await;
        answered.assert_untouched();
        let [rewritten, denied] = &answered.warnings()[..] else { panic!("{:?}", answered.warnings()) };
        assert!(rewritten.contains("`nginx:1.25` would be rewritten to `"), "{rewritten}");
        assert!(rewritten.contains("(pinned)"), "{rewritten}");
        assert!(denied.contains("`redis:7` would be denied (missing)"), "{denied}");
        let lines = webhook.audit();
        let told: Vec<_> =
            lines.iter().map(|line| (&line["mode"], &line["outcome"], &line["result"])).collect();
        assert_eq!(
            told,
            [
                (&json!("audit"), &json!("rewritten"), &json!(to)),
                (&json!("audit"), &json!("denied"), &Value::Null),
            ]
        );
    }
}

#[tokio::test]
async fn the_audit_line_says_all_that_the_contract_names() {
    let registry = hub(&[("library/nginx", "1.25")]).await;
    let webhook = with_table(hub_table(&registry, ", namespaces: ['s*']")).start();
    let mut of_a_job = pod();
    of_a_job.0["metadata"] =
        json!({"generateName": "web-", "ownerReferences": [{"kind": "Job", "name": "import"}]});
    webhook.mutate(&of_a_job.create().with("name", "").0).await;
    let to = pinned(&registry, "library/nginx", "1.25");
    let mut lines = webhook.audit();
    let line = lines[0].as_object_mut().unwrap();
    for varying in ["time", "elapsedMicros"] {
        assert!(line.remove(varying).is_some());
    }
    assert_eq!(
        lines,
        [json!({
            "kind": "image",
            "uid": "5f1c8c1e-0000-4000-8000-000000000001",
            "operation": "CREATE",
            "namespace": "shop",
            "pod": "web-",
            "owner": "Job/import",
            "user": "alice",
            "dryRun": false,
            "mode": "enforce",
            "field": "/spec/containers/0/image",
            "container": "app",
            "written": "nginx:1.25",
            "reference": "docker.io/library/nginx:1.25",
            "result": to,
            "digest": to.split_once('@').unwrap().1,
            "rule": "docker.io",
            "ruleNamespaces": ["s*"],
            "outcome": "rewritten",
            "reason": "pinned",
            "resolvedFrom": "registry",
            "mirror": format!("{}/hub", registry.host()),
        })]
    );
}
