//! The admission behind its routes, without a socket: a table in, answers and audit lines out.
//!
//! Every answer is checked for what holds of all of them (see [`Answered`]), so that a test says only what is its own.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{Router, body::Body};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Request;
use http_body_util::BodyExt as _;
use portolan::{
    admission::{Admission, Fights, Options},
    audit::Log,
    image::Digest,
    lock::Lock,
    metrics::Metrics,
    registry::{CachePolicy, Resolver},
    server::{
        endpoints,
        routes::{BodyLimits, webhook},
    },
    table::Table,
};
use serde_json::Value;
use tower::ServiceExt as _;

use super::{LIMIT, fake_registry::FakeRegistry};

/// The service without its listener.
pub(crate) struct Webhook {
    pub(crate) admission: Arc<Admission>,
    router: Router,
    audit: Lines,
}

/// What a webhook is made of; all but the table has defaults.
pub(crate) struct Builder {
    table: String,
    lock: String,
    pub(crate) policy: CachePolicy,
    pub(crate) options: Options,
}

/// The answer to one review.
///
/// It repeats the uid; a patch stands beside its type, applies to its object and has no `test`; warnings and audit
/// annotations keep to their limits.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) response: Value,
    /// The operations; empty if there is no patch.
    pub(crate) patch: Vec<Value>,
    /// The object with the patch applied.
    pub(crate) object: Value,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

/// A table of these rules and registries, both as YAML flow maps.
pub(crate) fn table(rules: &[&str], registries: &[&str]) -> String {
    let list = |rows: &[&str]| format!("[{}]", rows.join(", "));
    let (rules, registries) = (list(rules), list(registries));
    format!("apiVersion: portolan.dev/v1\nkind: MappingTable\nrules: {rules}\nregistries: {registries}\n")
}

/// A table that takes `docker.io` to `hub` in a registry of the test's, by this rule's further keys.
pub(crate) fn hub_table(registry: &FakeRegistry, further: &str) -> String {
    let host = registry.host();
    table(
        &[&format!("{{source: docker.io, mirrors: ['{host}/hub']{further}}}")],
        &[&format!("{{host: '{host}', plainHttp: true}}")],
    )
}

pub(crate) fn with_table(table: impl Into<String>) -> Builder {
    // Registries here answer at once, but the machine may be busy.
    let options = Options { resolve_timeout: Duration::from_secs(20), ..Options::default() };
    Builder { table: table.into(), lock: String::new(), policy: CachePolicy::default(), options }
}

impl Builder {
    /// With these lines of a lock.
    pub(crate) fn locked(mut self, lines: impl Into<String>) -> Self {
        self.lock = lines.into();
        self
    }

    /// An answer counts for no longer than it takes to give it, and a registry that failed is asked again at once.
    pub(crate) fn forgetful(mut self) -> Self {
        let none = Duration::ZERO;
        self.policy = CachePolicy {
            fresh_for: none,
            stale_for: none,
            negative_for: none,
            digest_exists_for: none,
            leave_alone_for: none,
            ..self.policy
        };
        self
    }

    pub(crate) fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    pub(crate) fn start(self) -> Webhook {
        let table = Table::parse(&self.table).unwrap_or_else(|problems| panic!("{problems}")).table;
        let resolver = Resolver::new(self.policy);
        resolver.configure(endpoints(&table, |_| None), None).unwrap();
        let (metrics, audit) = (Arc::new(Metrics::new()), Lines::default());
        let admission = Arc::new(Admission {
            table: ArcSwap::from_pointee(table),
            lock: ArcSwap::from_pointee(Lock::parse(&self.lock).unwrap()),
            resolver,
            log: Log::start_with(audit.clone(), Log::QUEUE, Arc::clone(&metrics)).unwrap(),
            fights: Fights::default(),
            metrics,
            options: self.options,
        });
        let answering = Arc::clone(&admission);
        let answer = move |body, mode, timeout| {
            let admission = Arc::clone(&answering);
            async move { admission.answer(body, mode, timeout).await }
        };
        Webhook { admission, router: webhook(answer, BodyLimits::default()), audit }
    }
}

impl Webhook {
    /// Posts a body; status and text of the answer.
    pub(crate) async fn post(&self, path: &str, body: impl Into<Body>) -> (u16, String) {
        let request = Request::post(path).body(body.into()).unwrap();
        let response = tokio::time::timeout(LIMIT, self.router.clone().oneshot(request))
            .await
            .expect("an answer in time")
            .unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Posts a review to `/mutate`.
    pub(crate) async fn mutate(&self, review: &Value) -> Answered {
        self.review("/mutate?timeout=30s", review).await
    }

    pub(crate) async fn review(&self, path: &str, review: &Value) -> Answered {
        let (status, body) = self.post(path, review.to_string()).await;
        assert_eq!(status, 200, "{body}");
        Answered::check(&body, review)
    }

    /// Every audit line so far; what comes later is not written.
    pub(crate) fn audit(&self) -> Vec<Value> {
        self.admission.log.close(LIMIT).unwrap();
        let bytes = self.audit.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The value of a metric, by its name and labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.admission.metrics.encode();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no metric `{name}` in\n{text}")).parse().unwrap()
    }
}

impl Answered {
    fn check(body: &str, review: &Value) -> Self {
        let answer: Value = serde_json::from_str(body).unwrap();
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["kind"], "AdmissionReview");
        let response = answer["response"].clone();
        assert_eq!(response["uid"], review["request"]["uid"]);
        let (patch, kind) = (&response["patch"], &response["patchType"]);
        let mut object = review["request"]["object"].clone();
        let operations = if patch.is_null() {
            assert!(kind.is_null(), "a patch type without a patch: {response}");
            Vec::new()
        } else {
            assert_eq!(kind, "JSONPatch");
            assert_eq!(response["allowed"], true, "a denial has no patch: {response}");
            let text = STANDARD.decode(patch.as_str().unwrap()).unwrap();
            let patch: json_patch::Patch = serde_json::from_slice(&text).unwrap();
            json_patch::patch(&mut object, &patch).expect("the patch applies to its object");
            serde_json::from_slice::<Vec<Value>>(&text).unwrap()
        };
        assert!(operations.iter().all(|operation| operation["op"] != "test"), "{operations:?}");
        let answered = Self { response, patch: operations, object };
        let warnings = answered.warnings();
        assert!(warnings.len() <= 8, "{warnings:?}");
        for warning in warnings {
            assert!((1..=256).contains(&warning.chars().count()), "{warning}");
            assert!(!warning.contains(char::is_control), "{warning:?}");
        }
        answered.audited();
        answered
    }

    pub(crate) fn allowed(&self) -> bool {
        self.response["allowed"].as_bool().unwrap()
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        let warnings = self.response["warnings"].as_array();
        warnings.into_iter().flatten().map(|warning| warning.as_str().unwrap()).collect()
    }

    /// The images in the API server's own audit log; `Null` if there are none.
    pub(crate) fn audited(&self) -> Value {
        let annotations = &self.response["auditAnnotations"];
        let Some(annotations) = annotations.as_object() else {
            assert!(annotations.is_null());
            return Value::Null;
        };
        let [(key, value)] = &annotations.iter().collect::<Vec<_>>()[..] else { panic!("{annotations:?}") };
        let value = value.as_str().unwrap();
        let hash = Digest::of(value.as_bytes());
        assert_eq!(**key, format!("images-{}", &hash.hex()[..8]));
        assert!(value.len() <= 8 * 1024, "{} bytes", value.len());
        serde_json::from_str(value).unwrap()
    }

    /// The annotation `portolan.dev/sources` of the patched object; `Null` if it has none.
    pub(crate) fn sources(&self) -> Value {
        self.object["metadata"]["annotations"]["portolan.dev/sources"]
            .as_str()
            .map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
    }

    /// That the request goes on as it came.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        assert!(self.allowed() && self.patch.is_empty(), "{}", self.response);
        assert_eq!(self.audited(), Value::Null);
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
