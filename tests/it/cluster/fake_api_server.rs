//! An API server that knows ConfigMaps, Secrets, Events and Leases of one namespace and webhook configurations, on
//! loopback.

#![expect(clippy::indexing_slicing, reason = "what is not there fails the test")]

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use portolan::cluster::{Client, WatchPolicy};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

pub(super) const NAMESPACE: &str = "portolan";

/// The server; it ends with this value.
pub(super) struct FakeApiServer {
    shared: Arc<Mutex<Shared>>,
    address: String,
    task: JoinHandle<()>,
}

/// What the server does with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mood {
    /// Answers as it should.
    Well,
    /// Answers with this status and a `Status` object.
    Refuse(u16),
    /// Refuses watches only.
    RefuseWatch(u16),
    /// Accepts, and never answers.
    Stall,
    /// So when it is asked for the answers that are kept, else as it should.
    StallAnswers,
    /// Refuses to show the answers that are kept, as with an old role; else as it should.
    RefuseAnswers,
    /// Refuses everything about webhook configurations; else as it should.
    RefuseConfigurations,
    /// Refuses to list the Pods of the cluster, as with an old role; else as it should.
    RefusePods,
    /// Refuses everything about Secrets; else as it should.
    RefuseSecrets,
    /// Somebody else is faster with every replacement.
    BeFaster,
    /// Answers 200 with something else than was asked for, holding a canary.
    Babble,
}

struct Shared {
    mood: Mood,
    version: u64,
    objects: BTreeMap<(String, String), Value>,
    watchers: Vec<(String, Selected, mpsc::UnboundedSender<Bytes>)>,
    requests: Vec<String>,
    events: Vec<Value>,
    /// Of the whole cluster.
    namespaces: Vec<Value>,
    pods: Vec<Value>,
    /// What its clock says, if it is wrong.
    date: Option<&'static str>,
}

/// The kinds of webhook configurations, as paths have them.
const CONFIGURATIONS: [&str; 2] = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];

/// Which objects a list or a watch is about.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Selected {
    /// Those with the lock's label.
    Locks,
    Named(String),
}

impl FakeApiServer {
    pub(super) async fn start() -> Self {
        // The process's main does this; here every test does.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let shared = Shared {
            mood: Mood::Well,
            version: 1,
            objects: BTreeMap::new(),
            watchers: Vec::new(),
            requests: Vec::new(),
            events: Vec::new(),
            namespaces: Vec::new(),
            pods: Vec::new(),
            date: None,
        };
        let shared = Arc::new(Mutex::new(shared));
        let router = Router::new()
            .route("/api/v1/namespaces", get(list_namespaces))
            .route("/api/v1/pods", get(list_pods))
            .route("/api/v1/namespaces/{namespace}/{kind}", get(list))
            .route("/api/v1/namespaces/{namespace}/{kind}/{name}", get(read).patch(apply).put(replace))
            .route("/apis/admissionregistration.k8s.io/v1/{kind}", get(list_configurations))
            .route(
                "/apis/admissionregistration.k8s.io/v1/{kind}/{name}",
                get(read_configuration).patch(apply_to_configuration),
            )
            .route("/apis/events.k8s.io/v1/namespaces/{namespace}/events", post(create_event))
            .route("/apis/coordination.k8s.io/v1/namespaces/{namespace}/{kind}", post(create))
            .route(
                "/apis/coordination.k8s.io/v1/namespaces/{namespace}/{kind}/{name}",
                get(read).put(replace),
            )
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, address, task }
    }

    /// A client by way of a kubeconfig, impatient enough for tests.
    pub(super) async fn client(&self) -> Client {
        let policy = WatchPolicy {
            call_timeout: Duration::from_secs(2),
            watch_timeout: Duration::from_secs(30),
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_millis(50),
            secrets_every: Duration::from_millis(20),
            secret_pace: Duration::from_millis(1),
        };
        self.client_with(policy).await
    }

    pub(super) async fn client_with(&self, policy: WatchPolicy) -> Client {
        let mut file = NamedTempFile::new().unwrap();
        write!(file, "{}", self.kubeconfig()).unwrap();
        Client::from_kubeconfig(file.path(), policy).await.unwrap()
    }

    /// What a client reads to find it.
    pub(super) fn kubeconfig(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": self.address}}],
            "users": [{"name": "fake", "user": {"token": "canary-token"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "current-context": "fake",
        })
    }

    /// An object as it is now.
    pub(super) fn object(&self, kind: &str, name: &str) -> Option<Value> {
        self.shared().objects.get(&(kind.to_owned(), name.to_owned())).cloned()
    }

    /// Changes an object as another client does, without telling the watchers.
    pub(super) fn edit(&self, kind: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut shared = self.shared();
        shared.version += 1;
        let version = shared.version.to_string();
        let object = shared.objects.get_mut(&(kind.to_owned(), name.to_owned())).unwrap();
        edit(object);
        object["metadata"]["resourceVersion"] = json!(version);
    }

    /// The Events until now.
    pub(super) fn events(&self) -> Vec<Value> {
        self.shared().events.clone()
    }

    /// Adds a namespace of the cluster.
    pub(super) fn put_namespace(&self, name: &str, labels: &Value) {
        self.shared().namespaces.push(json!({"metadata": {"name": name, "labels": labels}}));
    }

    /// Changes the Pods of the cluster.
    pub(super) fn pods(&self, change: impl FnOnce(&mut Vec<Value>)) {
        change(&mut self.shared().pods);
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        self.shared().mood = mood;
    }

    /// Sets its clock, as an answer's `Date` says it.
    pub(super) fn set_date(&self, date: &'static str) {
        self.shared().date = Some(date);
    }

    /// Creates or replaces both webhook configurations, with two entries each that call the Service, and tells the
    /// watchers.
    pub(super) fn put_configurations(&self, bundle: Option<&str>) {
        for kind in CONFIGURATIONS {
            let entry = |name: &str| {
                let service = json!({"name": "portolan", "namespace": NAMESPACE, "path": "/mutate"});
                let client = match bundle {
                    Some(bundle) => json!({"service": service, "caBundle": bundle}),
                    None => json!({"service": service}),
                };
                json!({"name": name, "clientConfig": client})
            };
            let webhooks = [entry("pods.portolan.dev"), entry("enabled.pods.portolan.dev")];
            let object = json!({"metadata": {"name": "portolan"}, "webhooks": webhooks});
            let mut shared = self.shared();
            let stored = shared.put(kind, "portolan", object);
            shared.tell(kind, &json!({"type": "MODIFIED", "object": stored}));
        }
    }

    /// The bundles of all entries of both configurations.
    pub(super) fn bundles(&self) -> Vec<Value> {
        let entries = CONFIGURATIONS.into_iter().flat_map(|kind| {
            let object = self.object(kind, "portolan").unwrap();
            object["webhooks"].as_array().unwrap().clone()
        });
        entries.map(|entry| entry["clientConfig"]["caBundle"].clone()).collect()
    }

    /// Creates or replaces an object, and tells the watchers.
    pub(super) fn put(&self, kind: &str, name: &str, data: &Value) {
        self.put_labelled(kind, name, &json!({}), data);
    }

    /// Creates or replaces a ConfigMap with the lock's label.
    pub(super) fn put_lock(&self, name: &str, data: &Value) {
        self.put_labelled("configmaps", name, &json!({"portolan.dev/lock": "true"}), data);
    }

    fn put_labelled(&self, kind: &str, name: &str, labels: &Value, data: &Value) {
        let mut shared = self.shared();
        shared.version += 1;
        let object = json!({
            "apiVersion": "v1",
            "kind": if kind == "secrets" { "Secret" } else { "ConfigMap" },
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "uid": format!("uid-of-{name}"),
                "resourceVersion": shared.version.to_string(),
                "labels": labels,
            },
            "data": data,
        });
        let known = shared.objects.insert((kind.to_owned(), name.to_owned()), object.clone());
        let event = if known.is_some() { "MODIFIED" } else { "ADDED" };
        shared.tell(kind, &json!({"type": event, "object": object}));
    }

    /// Replaces an object without telling anybody, as if the watch's connection had died.
    pub(super) fn put_silently(&self, kind: &str, name: &str, data: &Value) {
        let watchers = std::mem::take(&mut self.shared().watchers);
        self.put(kind, name, data);
        self.shared().watchers = watchers;
    }

    pub(super) fn delete(&self, kind: &str, name: &str) {
        let mut shared = self.shared();
        shared.version += 1;
        let mut object = shared.objects.remove(&(kind.to_owned(), name.to_owned())).unwrap();
        object["metadata"]["resourceVersion"] = json!(shared.version.to_string());
        shared.tell(kind, &json!({"type": "DELETED", "object": object}));
    }

    /// Sends a line to every watcher as it is.
    pub(super) fn tell_raw(&self, line: &str) {
        let line = Bytes::from(format!("{line}\n"));
        self.shared().watchers.retain(|(_, _, watcher)| watcher.send(line.clone()).is_ok());
    }

    /// Ends every watch.
    pub(super) fn close_watches(&self) {
        self.shared().watchers.clear();
    }

    pub(super) fn open_watches(&self) -> usize {
        let mut shared = self.shared();
        shared.watchers.retain(|(_, _, watcher)| !watcher.is_closed());
        shared.watchers.len()
    }

    /// The requests until now: path and query.
    pub(super) fn requests(&self) -> Vec<String> {
        self.shared().requests.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }
}

impl Drop for FakeApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn tell(&mut self, kind: &str, event: &Value) {
        let line = Bytes::from(format!("{event}\n"));
        let object = &event["object"];
        let is_meant = |of: &str, watched: &Selected| of == kind && watched.has(object);
        self.watchers
            .retain(|(of, watched, watcher)| !is_meant(of, watched) || watcher.send(line.clone()).is_ok());
    }

    /// Whether it refuses to speak of that kind.
    fn refuses(&self, kind: &str) -> bool {
        match self.mood {
            Mood::RefuseConfigurations => CONFIGURATIONS.contains(&kind),
            Mood::RefuseSecrets => kind == "secrets",
            _ => false,
        }
    }

    /// Whether it answers as it should, but for what it refuses.
    fn is_well(&self) -> bool {
        use Mood::{RefuseAnswers, RefuseConfigurations, RefusePods, RefuseSecrets, StallAnswers, Well};
        matches!(
            self.mood,
            Well | StallAnswers | RefuseAnswers | RefuseConfigurations | RefusePods | RefuseSecrets
        )
    }

    /// Stores an object in a new state.
    fn put(&mut self, kind: &str, name: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert((kind.to_owned(), name.to_owned()), object.clone());
        object
    }

    /// Stores an object unless it was read in another state than it is in.
    fn store(&mut self, kind: &str, name: &str, object: Value) -> Response {
        let stored = self.objects.get(&(kind.to_owned(), name.to_owned()));
        let (read, now) = (
            &object["metadata"]["resourceVersion"],
            stored.map(|stored| &stored["metadata"]["resourceVersion"]),
        );
        if !read.is_null() && now != Some(read) {
            return refusal(409);
        }
        json_body(&self.put(kind, name, object))
    }

    fn selected(&self, kind: &str, selected: &Selected) -> Vec<&Value> {
        let of_kind = self.objects.iter().filter(|((of, _), _)| of == kind);
        of_kind.map(|(_, object)| object).filter(|object| selected.has(object)).collect()
    }
}

impl Selected {
    fn has(&self, object: &Value) -> bool {
        match self {
            Self::Locks => object["metadata"]["labels"]["portolan.dev/lock"] == "true",
            Self::Named(name) => object["metadata"]["name"] == **name,
        }
    }
}

type SharedState = State<Arc<Mutex<Shared>>>;

async fn list_namespaces(State(shared): SharedState, uri: Uri) -> Response {
    let (mood, items) = {
        let mut shared = shared.lock().unwrap();
        shared.requests.push("list namespaces".to_owned());
        (shared.mood, shared.namespaces.clone())
    };
    pages(mood, &items, &uri).await
}

/// Those that have not ended, if only they are asked for.
async fn list_pods(State(shared): SharedState, uri: Uri) -> Response {
    let is_live = |pod: &Value| {
        let selector = "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed";
        assert!(uri.query().unwrap().contains(selector), "{uri}");
        pod["status"]["phase"] == "Running"
    };
    let (mood, items) = {
        let mut shared = shared.lock().unwrap();
        shared.requests.push(format!("list pods {}", uri.query().unwrap()));
        let live: Vec<_> = shared.pods.iter().filter(|pod| is_live(pod)).cloned().collect();
        (shared.mood, live)
    };
    if mood == Mood::RefusePods {
        return refusal(403);
    }
    pages(mood, &items, &uri).await
}

/// A page of a list of whatever is in the cluster; the token is the number of the next item.
async fn pages(mood: Mood, items: &[Value], uri: &Uri) -> Response {
    if !matches!(mood, Mood::Well | Mood::RefusePods) {
        return moody(mood).await;
    }
    let query = uri.query().unwrap();
    let parameters: BTreeMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let limit: usize = parameters["limit"].parse().unwrap();
    let begin = parameters["continue"].parse().unwrap_or(0);
    let end = items.len().min(begin + limit);
    let token = if end < items.len() { end.to_string() } else { String::new() };
    let page = &items[begin..end];
    json_body(
        &json!({"kind": "List", "metadata": {"resourceVersion": "1", "continue": token}, "items": page}),
    )
}

/// `list` and `watch`, of one named object or of the lock's.
async fn list(
    State(shared): SharedState,
    Path((namespace, kind)): Path<(String, String)>,
    uri: Uri,
) -> Response {
    assert_eq!(namespace, NAMESPACE);
    list_of(shared, kind, uri).await
}

/// The same of webhook configurations.
async fn list_configurations(state: SharedState, Path(kind): Path<String>, uri: Uri) -> Response {
    if state.0.lock().unwrap().refuses(&kind) {
        return refusal(403);
    }
    list_of(state.0, kind, uri).await
}

async fn list_of(shared: Arc<Mutex<Shared>>, kind: String, uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default().replace("%3D", "=").replace("%2F", "/");
    let parameters: BTreeMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let watching = parameters.contains_key("watch");
    let mood = {
        let mut shared = shared.lock().unwrap();
        shared.requests.push(format!("{} {kind}", if watching { "watch" } else { "list" }));
        shared.mood
    };
    match mood {
        Mood::RefuseWatch(code) if watching => return refusal(code),
        Mood::Well
        | Mood::RefuseWatch(_)
        | Mood::StallAnswers
        | Mood::RefuseAnswers
        | Mood::RefuseConfigurations
        | Mood::RefusePods
        | Mood::RefuseSecrets => {}
        other => return moody(other).await,
    }
    let named = parameters.get("fieldSelector").and_then(|selector| selector.strip_prefix("metadata.name="));
    let selected = match (named, parameters.get("labelSelector")) {
        (Some(name), None) => Selected::Named(name.to_owned()),
        (None, Some(&"portolan.dev/lock=true")) => Selected::Locks,
        _ => return refusal(403),
    };

    let mut shared = shared.lock().unwrap();
    if !watching {
        let items = shared.selected(&kind, &selected);
        let version = shared.version.to_string();
        return json_body(&json!({"kind": "List", "metadata": {"resourceVersion": version}, "items": items}));
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    // What happened between the list and this watch.
    let since: u64 = parameters["resourceVersion"].parse().unwrap();
    for object in shared.selected(&kind, &selected) {
        let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        if version > since {
            sender.send(format!("{}\n", json!({"type": "MODIFIED", "object": object})).into()).unwrap();
        }
    }
    shared.watchers.push((kind, selected, sender));
    let lines = futures::stream::unfold(receiver, async |mut receiver| {
        let line = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(line), receiver))
    });
    Body::from_stream(lines).into_response()
}

/// `get` by name.
async fn read(
    State(shared): SharedState,
    Path((namespace, kind, name)): Path<(String, String, String)>,
) -> Response {
    assert_eq!(namespace, NAMESPACE);
    let mood = {
        let mut shared = shared.lock().unwrap();
        shared.requests.push(format!("get {kind}/{name}"));
        shared.mood
    };
    let is_of_answers = matches!(mood, Mood::StallAnswers | Mood::RefuseAnswers);
    let is_asked_for_them = name.starts_with("portolan-answers-");
    let is_narrow = matches!(mood, Mood::RefuseConfigurations | Mood::RefusePods | Mood::RefuseSecrets);
    if !(mood == Mood::Well || mood == Mood::BeFaster || is_narrow || is_of_answers && !is_asked_for_them) {
        return moody(mood).await;
    }
    let shared = shared.lock().unwrap();
    if shared.refuses(&kind) {
        return refusal(403);
    }
    let mut answer = shared.objects.get(&(kind, name)).map_or_else(not_found, json_body);
    if let Some(date) = shared.date {
        answer.headers_mut().insert(header::DATE, date.parse().unwrap());
    }
    answer
}

/// `get` of a webhook configuration.
async fn read_configuration(state: SharedState, Path((kind, name)): Path<(String, String)>) -> Response {
    read(state, Path((NAMESPACE.to_owned(), kind, name))).await
}

/// Server-side apply to a webhook configuration that is there: only the `caBundle` of entries is taken.
async fn apply_to_configuration(
    State(shared): SharedState,
    Path((kind, name)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    assert_eq!(headers[header::CONTENT_TYPE], "application/apply-patch+yaml");
    assert!(uri.query().unwrap().contains("fieldManager=portolan"), "{uri}");
    let mut shared = shared.lock().unwrap();
    shared.requests.push(format!("apply {kind}/{name}"));
    if shared.refuses(&kind) || !shared.is_well() {
        return refusal(403);
    }
    let applied: Value = serde_json::from_slice(&body).unwrap();
    let Some(mut object) = shared.objects.get(&(kind.clone(), name.clone())).cloned() else {
        return not_found();
    };
    if applied["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
        return refusal(409);
    }
    for entry in applied["webhooks"].as_array().unwrap() {
        let entries = object["webhooks"].as_array_mut().unwrap();
        let known = entries.iter_mut().find(|known| known["name"] == entry["name"]).unwrap();
        known["clientConfig"]["caBundle"] = entry["clientConfig"]["caBundle"].clone();
    }
    let object = shared.put(&kind, &name, object);
    shared.tell(&kind, &json!({"type": "MODIFIED", "object": object}));
    json_body(&object)
}

/// Server-side apply by one manager: the object is as it says.
async fn apply(
    State(shared): SharedState,
    Path((namespace, kind, name)): Path<(String, String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    assert_eq!(namespace, NAMESPACE);
    assert_eq!(headers[header::CONTENT_TYPE], "application/apply-patch+yaml");
    assert!(uri.query().unwrap().contains("fieldManager=portolan"), "{uri}");
    let mood = {
        let mut shared = shared.lock().unwrap();
        shared.requests.push(format!("apply {kind}/{name}"));
        shared.mood
    };
    if shared.lock().unwrap().refuses(&kind) {
        return refusal(403);
    }
    if !shared.lock().unwrap().is_well() {
        return moody(mood).await;
    }
    // JSON is YAML.
    let mut object: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(object["metadata"]["name"], name.as_str());
    if uri.query().unwrap().contains("dryRun=All") {
        return json_body(&object);
    }
    let mut shared = shared.lock().unwrap();
    // What another way of writing put there stays.
    if kind == "secrets"
        && let Some(stored) = shared.objects.get(&(kind.clone(), name.clone()))
    {
        object["data"] = stored["data"].clone();
    }
    shared.store(&kind, &name, object)
}

/// Refuses one that is there.
async fn create(
    State(shared): SharedState,
    Path((namespace, kind)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    assert_eq!(namespace, NAMESPACE);
    let mood = {
        let mut shared = shared.lock().unwrap();
        shared.requests.push(format!("create {kind}"));
        shared.mood
    };
    if shared.lock().unwrap().refuses(&kind) {
        return refusal(403);
    }
    if !shared.lock().unwrap().is_well() {
        return moody(mood).await;
    }
    let object: Value = serde_json::from_slice(&body).unwrap();
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let mut shared = shared.lock().unwrap();
    if shared.objects.contains_key(&(kind.clone(), name.clone())) {
        return refusal(409);
    }
    shared.store(&kind, &name, object)
}

/// Refuses one that is not there, or was read in another state.
async fn replace(
    State(shared): SharedState,
    Path((namespace, kind, name)): Path<(String, String, String)>,
    body: Bytes,
) -> Response {
    assert_eq!(namespace, NAMESPACE);
    let mood = {
        let mut shared = shared.lock().unwrap();
        shared.requests.push(format!("replace {kind}/{name}"));
        shared.mood
    };
    if shared.lock().unwrap().refuses(&kind) {
        return refusal(403);
    }
    if !shared.lock().unwrap().is_well() {
        return moody(mood).await;
    }
    let object: Value = serde_json::from_slice(&body).unwrap();
    assert!(object["metadata"]["resourceVersion"].is_string(), "a replacement says of what: {object}");
    let mut shared = shared.lock().unwrap();
    if !shared.objects.contains_key(&(kind.clone(), name.clone())) {
        return not_found();
    }
    shared.store(&kind, &name, object)
}

/// Refuses one whose name is taken, as the real one does.
async fn create_event(State(shared): SharedState, Path(namespace): Path<String>, body: Bytes) -> Response {
    let mood = {
        let mut shared = shared.lock().unwrap();
        shared.requests.push("create events".to_owned());
        shared.mood
    };
    if !shared.lock().unwrap().is_well() {
        return moody(mood).await;
    }
    let event: Value = serde_json::from_slice(&body).unwrap();
    for place in ["/metadata/namespace", "/regarding/namespace"] {
        assert_eq!(event.pointer(place), Some(&json!(namespace)), "{event}");
    }
    let mut shared = shared.lock().unwrap();
    let name = |event: &Value| event["metadata"]["name"].clone();
    if shared.events.iter().any(|earlier| name(earlier) == name(&event)) {
        return refusal(409);
    }
    shared.events.push(event.clone());
    json_body(&event)
}

async fn moody(mood: Mood) -> Response {
    match mood {
        Mood::Refuse(code) | Mood::RefuseWatch(code) => refusal(code),
        Mood::BeFaster => refusal(409),
        Mood::RefuseAnswers | Mood::RefuseConfigurations | Mood::RefusePods | Mood::RefuseSecrets => {
            refusal(403)
        }
        Mood::Stall | Mood::StallAnswers => std::future::pending().await,
        Mood::Babble => "canary: this is no JSON".into_response(),
        Mood::Well => unreachable!("the caller answers well itself"),
    }
}

fn refusal(code: u16) -> Response {
    let status = json!({"kind": "Status", "status": "Failure", "code": code, "message": format!("refused with {code}")});
    // Real ones send this with 429, and clients that retry do so after it.
    let headers = [(header::RETRY_AFTER, "1")];
    (StatusCode::from_u16(code).unwrap(), headers, json_body(&status)).into_response()
}

fn not_found() -> Response {
    let status = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "no such object"});
    (StatusCode::NOT_FOUND, json_body(&status)).into_response()
}

fn json_body(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
