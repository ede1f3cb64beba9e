//! Bodies, objects, images and registries that are not as they should be: a clear answer, and nothing lost.

use serde_json::{Value, json};

use super::{hub, pinned};
use crate::support::{
    fake_registry::Fault,
    logs::Logs,
    review::pod,
    webhook::{hub_table, table, with_table},
};

#[tokio::test]
async fn a_body_that_is_no_review_is_400_and_says_why() {
    let webhook = with_table(table(&[], &[])).start();
    let review = pod().create().0.to_string();
    let mut refused = 0;
    for (body, expected) in [
        ("", "the body is no AdmissionReview: it ends early at line 1 column 1"),
        ("review", "the body is no AdmissionReview: it is no JSON at line 1 column 1"),
        ("<html></html>", "the body is no AdmissionReview: it is no JSON"),
        ("\0\u{ff}", "the body is no AdmissionReview: it is no JSON"),
        ("null", "the body is no AdmissionReview: a field has the wrong type"),
        ("[]", "the body is no AdmissionReview: a field has the wrong type"),
        ("{}", "the body is `` of ``"),
        (r#"{"apiVersion":"v1","kind":"Pod"}"#, "the body is `Pod` of `v1`"),
        (&review.replace("admission.k8s.io/v1", "admission.k8s.io/v1beta1"), "`admission.k8s.io/v1beta1`"),
        (&review.replace("AdmissionReview", "ConversionReview"), "`ConversionReview`"),
        (&review.replace("\"uid\"", "\"other\""), "no request with a uid"),
        (r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#, "no request with a uid"),
        (
            r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"x"}}"#,
            "no request with a uid",
        ),
    ] {
        let (status, text) = webhook.post("/mutate", body.to_owned()).await;
        assert_eq!(status, 400, "{body}");
        assert!(text.contains(expected), "{body}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        refused += 1;
        let errors = webhook.metric(r#"portolan_admissions_total{mode="enforce",result="error"}"#);
        assert_eq!(errors, refused, "{body}");
    }
    assert_eq!(webhook.audit(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_review_cut_anywhere_is_400() {
    let webhook = with_table(table(&[], &[])).start();
    let review = pod().create().0.to_string();
    for end in 0..review.len() {
        let (status, text) = webhook.post("/mutate", review[..end].to_owned()).await;
        assert_eq!(
            (status, text.starts_with("the body is no AdmissionReview")),
            (400, true),
            "{end}: {text}"
        );
    }
    assert_eq!(webhook.post("/mutate", review).await.0, 200);
}

#[tokio::test]
async fn a_refusal_quotes_nothing_of_the_body() {
    let canary = "c4n4ry".repeat(10_000);
    let webhook = with_table(table(&[], &[])).start();
    for body in [
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": canary}),
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "u", "dryRun": canary}}),
        json!(canary),
    ] {
        let (status, text) = webhook.post("/mutate", body.to_string()).await;
        assert_eq!(status, 400);
        assert!(text.len() < 1000 && !text.contains("c4n4ry"), "{} bytes: {:.200}", text.len(), text);
    }
}

#[tokio::test]
async fn a_pod_review_without_its_objects_is_an_internal_error_and_goes_on() {
    let registry = hub(&[("library/nginx", "1.25")]).await;
    let webhook = with_table(hub_table(&registry, ", onMissing: deny, onUnavailable: deny")).start();
    let mut failed = 0;
    for review in [
        pod().create().with("object", Value::Null),
        pod().update(&pod()).with("object", Value::Null),
        pod().image("nginx:1.26").update(&pod()).with("oldObject", Value::Null),
        pod().debug(&pod()).with("oldObject", Value::Null),
        pod().create().with("object", json!({"spec": {"containers": 7}})),
        pod().create().with("object", json!({"spec": {"containers": [null]}})),
        pod().create().with("object", json!({"metadata": {"annotations": {"a": 1}}})),
        pod().create().with("object", json!("Pod")),
    ] {
        for dry_run in [false, true] {
            let review = pod_review(&review.0, dry_run);
            let answered = webhook.mutate(&review).await;
            answered.assert_untouched_review(&review);
            assert!(answered.warnings()[0].contains("internal-error"), "{:?}", answered.warnings());
            failed += u64::from(!dry_run);
            assert_eq!(webhook.metric("portolan_internal_errors_total"), failed, "{review}");
            let errors = webhook.metric(r#"portolan_admissions_total{mode="enforce",result="error"}"#);
            assert_eq!(errors, failed, "{review}");
        }
    }
    let answered = webhook.mutate(&pod().create().0).await;
    assert_eq!(answered.patch.len(), 3, "the next one is answered as ever");
}

fn pod_review(review: &Value, dry_run: bool) -> Value {
    let mut review = review.clone();
    review["request"]["dryRun"] = json!(dry_run);
    review
}

impl crate::support::webhook::Answered {
    fn assert_untouched_review(&self, review: &Value) {
        self.assert_untouched();
        assert_eq!(self.object, review["request"]["object"]);
    }
}

#[tokio::test]
async fn other_kinds_operations_and_subresources_are_allowed_untouched() {
    let registry = hub(&[("library/nginx", "1.25")]).await;
    let webhook = with_table(hub_table(&registry, ", onMissing: deny")).start();
    let kind =
        |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    for review in [
        pod().create().with("kind", kind("apps", "v1", "Deployment")),
        pod().create().with("kind", kind("", "v2", "Pod")),
        pod().create().with("kind", kind("metrics.k8s.io", "v1", "Pod")),
        pod()
            .create()
            .with("kind", kind("x.example.com", "v1", "Anything"))
            .with("object", json!({"spec": [1]})),
        pod().create().with("kind", kind("x.example.com", "v1", "Anything")).with("object", Value::Null),
        pod().create().with("operation", "DELETE").with("object", Value::Null),
        pod().create().with("operation", "CONNECT"),
        pod().create().with("operation", "SOMETHING"),
        pod().image("nginx:1.26").update(&pod()).with("subResource", "resize"),
        pod().image("nginx:1.26").update(&pod()).with("subResource", "status"),
        pod().create().with("subResource", "binding"),
    ] {
        let answered = webhook.mutate(&review.0).await;
        answered.assert_untouched();
        assert_eq!(answered.warnings(), Vec::<&str>::new());
    }
    assert_eq!(registry.requests().len(), 0);
    assert_eq!(webhook.metric("portolan_internal_errors_total"), 0);
}

#[tokio::test]
async fn image_texts_of_every_sort_are_kept_and_said_within_bounds() {
    let registry = hub(&[("library/nginx", "1.25")]).await;
    let webhook = with_table(hub_table(&registry, ", onMissing: deny")).start();
    let long = "a/".repeat(5 * 1024);
    let texts = [
        ("", "placeholder"),
        ("auto", "placeholder"),
        ("automatic::", "invalid-reference"),
        (long.as_str(), "invalid-reference"),
        ("nginx\u{1b}[31m\r\n\0", "invalid-reference"),
        (" nginx", "invalid-reference"),
        ("nginx:1.25\u{202e}", "invalid-reference"),
        ("日本/語", "invalid-reference"),
        ("\"},{\"", "invalid-reference"),
        (&"f".repeat(64), "invalid-reference"),
    ];
    for (written, reason) in texts {
        let answered = webhook.mutate(&pod().image(written).container("good", "nginx:1.25").create().0).await;
        let containers = &answered.object["spec"]["containers"];
        assert_eq!(containers[0]["image"], written);
        assert_eq!(containers[1]["image"], pinned(&registry, "library/nginx", "1.25"), "beside {written:?}");
        assert_eq!(answered.warnings().len(), usize::from(reason != "placeholder"), "{written:?}");
    }
    let lines = webhook.audit();
    assert_eq!(lines.len(), 2 * texts.len());
    for (pair, (written, reason)) in lines.chunks(2).zip(texts) {
        assert_eq!(pair[0]["reason"], reason, "{written:?}");
        let told = pair[0]["written"].as_str().unwrap();
        assert!(told.len() <= 4096 && written.starts_with(told), "{written:?}");
    }
}

#[tokio::test]
async fn a_container_without_an_image_is_left_without_one() {
    let registry = hub(&[]).await;
    let webhook = with_table(hub_table(&registry, "")).start();
    let mut bare = pod().push("volumes", json!({"name": "v", "image": {}}));
    bare.0["spec"]["containers"][0].as_object_mut().unwrap().remove("image");
    webhook.mutate(&bare.clone().create().0).await.assert_untouched();
    // Nor does a forged annotation put one there: the patch would not apply, and the Pod be refused.
    let forged =
        r#"{"containers/app":{"written":"","image":"x/y:1"},"volumes/v":{"written":"","image":"x/y:1"}}"#;
    let mut old = bare.clone().annotation("portolan.dev/sources", forged);
    old.0["spec"]["containers"][0]["image"] = json!("x/y:1");
    old.0["spec"]["volumes"][0]["image"]["reference"] = json!("x/y:1");
    let answered = webhook.mutate(&bare.update(&old).0).await;
    assert!(answered.allowed());
    assert_eq!(answered.object["spec"]["containers"][0].get("image"), None);
}

#[tokio::test]
async fn a_registry_that_lies_babbles_redirects_or_hangs_up_costs_the_digest_and_nothing_else() {
    let _logs = Logs::capture();
    let registry = hub(&[("library/nginx", "1.25")]).await;
    let webhook = with_table(hub_table(&registry, ""))
        .forgetful()
        .options(|options| options.resolve_timeout = std::time::Duration::from_secs(20))
        .start();
    let image = |object: &Value| object["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
    let without = format!("{}/hub/library/nginx:1.25", registry.host());
    for fault in [
        Fault::Body("{}".into()),
        Fault::Close,
        Fault::DigestHeader("sha256:short".into()),
        Fault::Endless,
        Fault::Html,
        Fault::Redirect(registry.url().into()),
        Fault::Status(500),
        Fault::Status(204),
        Fault::Unauthorized("Bearer realm=".into()),
    ] {
        registry.fault(fault.clone());
        let answered = webhook.mutate(&pod().create().0).await;
        if matches!(fault, Fault::DigestHeader(_)) {
            // No digest at all: then it is computed from the bytes.
            assert_eq!(image(&answered.object), pinned(&registry, "library/nginx", "1.25"));
            registry.heal();
            continue;
        }
        assert_eq!(image(&answered.object), without, "{fault:?}");
        assert_eq!(answered.warnings().len(), 1, "{fault:?}");
        let reason = &answered.sources()["containers/app"]["reason"];
        assert!(*reason == "unavailable" || *reason == "unauthorized", "{fault:?}: {reason}");
        registry.heal();
        let healed = webhook.mutate(&pod().create().0).await;
        assert_eq!(image(&healed.object), pinned(&registry, "library/nginx", "1.25"), "after {fault:?}");
    }
}
