//! What the status port shows: the state of one process at a moment, as JSON and as a page.
//!
//! Everything is read from memory; nobody is asked, no registry and no API server. What is shown holds no credential:
//! of the table its rules, of registries their names.
//!
//! The port listens on loopback, to be reached by `kubectl port-forward`. So that no web page that a person visits
//! meanwhile reads it under a name of its own (DNS rebinding), only requests for this machine are answered.

mod page;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, Uri, header, uri::Authority};
use serde::Serialize;
use serde_json::Number;

use super::{
    Health, LastLook,
    health::Standing,
    routes,
    unrewritten::{Look, Tally},
};
use crate::{
    admission::{Admission, Fight},
    table::{Mirror, Rule},
    tls::wall_clock,
};

/// Where the status of a process is read from.
#[derive(Debug)]
pub struct StatusSources {
    /// Table, lock, memory, fights and counts.
    pub admission: Arc<Admission>,
    /// Whether it is ready.
    pub health: Arc<Health>,
    /// Where the table comes from, for people.
    pub table: String,
    /// Where the lock comes from, for people.
    pub lock: String,
    /// The Pods admitted without Portolan, if this replica looked for them lately.
    pub unrewritten: Arc<LastLook>,
}

/// The state of a process at a moment, as `/status` has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    version: &'static str,
    time: String,
    mode: &'static str,
    ready: bool,
    conditions: Vec<Standing>,
    certificate_expires: Option<String>,
    table: TableStatus,
    lock: LockStatus,
    registries: Vec<RegistryStatus>,
    memory: MemoryStatus,
    fights: Vec<FightStatus>,
    /// `null` where this replica has not looked lately: of all replicas one does.
    unrewritten: Option<UnrewrittenStatus>,
    /// As `/metrics` has them.
    counts: BTreeMap<String, Number>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TableStatus {
    from: String,
    in_force_since: Option<String>,
    is_last_good: bool,
    note: Option<String>,
    rule_count: usize,
    /// The first of them.
    rules: Vec<RuleStatus>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleStatus {
    line: usize,
    source: String,
    namespaces: Option<Vec<String>>,
    keep: bool,
    mirrors: Vec<String>,
    pin: &'static str,
    on_missing: &'static str,
    on_unavailable: &'static str,
    lock: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LockStatus {
    from: String,
    in_force_since: Option<String>,
    note: Option<String>,
    lines: usize,
    missing: i64,
    moved: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RegistryStatus {
    host: String,
    left_alone_for_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MemoryStatus {
    answers: u64,
    refusals: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FightStatus {
    namespace: String,
    owner: OwnerStatus,
    pod: String,
    act: &'static str,
    images: Vec<ImageStatus>,
    times: u32,
    since: String,
    last: String,
    is_going_on: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OwnerStatus {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
}

/// Pods that were admitted without Portolan.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UnrewrittenStatus {
    looked_at: String,
    pods: usize,
    examples: Vec<String>,
    /// Why the look failed.
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct ImageStatus {
    written: String,
    result: String,
}

/// The routes of the status port.
pub fn routes(sources: &Arc<StatusSources>) -> Router {
    let show = |write: fn(&Status) -> (&'static str, Vec<u8>)| {
        let sources = Arc::clone(sources);
        get(move |request: Request| {
            let response = if is_for_this_machine(&request) {
                let (kind, body) = write(&sources.now(Instant::now(), wall_clock()));
                let headers = [
                    (header::CONTENT_TYPE, kind),
                    (header::CACHE_CONTROL, "no-store"),
                    (header::CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY),
                    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                ];
                (headers, body).into_response()
            } else {
                refuse()
            };
            async move { response }
        })
    };
    Router::new()
        .route("/status", show(|status| ("application/json", json(status))))
        .route("/", show(|status| ("text/html; charset=utf-8", page::html(status).into_bytes())))
        .fallback(routes::unknown_path)
}

fn json(status: &Status) -> Vec<u8> {
    let mut body = serde_json::to_vec_pretty(status).expect("its keys are texts and its numbers finite");
    body.push(b'\n');
    body
}

fn refuse() -> Response {
    let text = "the status port answers requests for `localhost` or a loopback address only\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

/// Whether a request names this machine as its host, or nobody.
fn is_for_this_machine(request: &Request) -> bool {
    let named = match request.headers().get(header::HOST) {
        Some(host) => Authority::try_from(host.as_bytes()).ok(),
        None => match Uri::authority(request.uri()) {
            Some(authority) => Some(authority.clone()),
            None => return true,
        },
    };
    named.is_some_and(|authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || host.parse().is_ok_and(|address: std::net::IpAddr| address.to_canonical().is_loopback())
    })
}

impl StatusSources {
    fn now(&self, now: Instant, clock: SystemTime) -> Status {
        let Self { admission, health, table: table_from, lock: lock_from, unrewritten } = self;
        let metrics = &admission.metrics;
        let (ready, conditions) = health.standing();
        let note = |name: &str| {
            conditions.iter().find(|condition| condition.name == name).and_then(|found| found.note.clone())
        };
        let (table, lock) = (admission.table.load_full(), admission.lock.load_full());
        let memory = admission.resolver.status(now);
        Status {
            version: env!("CARGO_PKG_VERSION"),
            time: moment(clock),
            mode: admission.options.mode.word(),
            ready,
            certificate_expires: stamp(metrics.certificate_expiry.get()),
            table: TableStatus {
                from: table_from.clone(),
                in_force_since: stamp(metrics.table_last_success.get()),
                is_last_good: metrics.last_good_in_force.get() == 1,
                note: note("table"),
                rule_count: table.rules().len(),
                rules: table.rules().iter().take(SHOWN_RULES).map(|rule| RuleStatus::of(rule)).collect(),
            },
            lock: LockStatus {
                from: lock_from.clone(),
                in_force_since: stamp(metrics.lock_last_success.get()),
                note: note("lock"),
                lines: lock.lines().len(),
                missing: metrics.lock_missing.get(),
                moved: metrics.lock_moved.get(),
            },
            registries: memory
                .registries
                .into_iter()
                .map(|registry| RegistryStatus {
                    host: registry.host,
                    left_alone_for_seconds: registry.left_alone_for.map(|left| left.as_secs()),
                })
                .collect(),
            memory: MemoryStatus { answers: memory.entries, refusals: memory.negative_entries },
            fights: admission
                .fights
                .known(now)
                .into_iter()
                .map(|fight| FightStatus::of(fight, now, clock))
                .collect(),
            unrewritten: unrewritten.load().map(|look| UnrewrittenStatus::of(&look)),
            counts: counts(&metrics.encode()),
            conditions,
        }
    }
}

impl RuleStatus {
    fn of(rule: &Rule) -> Self {
        Self {
            line: rule.line(),
            source: rule.source().to_owned(),
            namespaces: rule.namespaces().map(|all| all.iter().map(ToString::to_string).collect()),
            keep: rule.keep(),
            mirrors: rule.mirrors().iter().map(Mirror::as_str).map(str::to_owned).collect(),
            pin: rule.pin().as_str(),
            on_missing: rule.on_missing().as_str(),
            on_unavailable: rule.on_unavailable().as_str(),
            lock: rule.lock().as_str(),
        }
    }
}

impl UnrewrittenStatus {
    fn of(look: &Look) -> Self {
        let (tally, error) = match look.found.clone() {
            Ok(tally) => (tally, None),
            Err(error) => (Tally::default(), Some(error)),
        };
        Self { looked_at: moment(look.at), pods: tally.pods, examples: tally.examples, error }
    }
}

impl FightStatus {
    fn of(fight: Fight, now: Instant, clock: SystemTime) -> Self {
        let is_going_on = fight.is_going_on(now);
        let ago = |then: Instant| {
            let ago = now.saturating_duration_since(then);
            moment(clock.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH))
        };
        let image = |(written, result): (Box<str>, Box<str>)| ImageStatus {
            written: written.into(),
            result: result.into(),
        };
        Self {
            namespace: fight.namespace.into(),
            owner: OwnerStatus {
                api_version: fight.owner.api_version.into(),
                kind: fight.owner.kind.into(),
                name: fight.owner.name.into(),
                uid: fight.owner.uid.into(),
            },
            pod: fight.pod.into(),
            act: fight.act.word(),
            images: fight.images.into_iter().map(image).collect(),
            times: fight.times,
            since: ago(fight.since),
            last: ago(fight.last),
            is_going_on,
        }
    }
}

/// The samples of an exposition that are one number each, by name and labels.
fn counts(exposition: &str) -> BTreeMap<String, Number> {
    let samples = exposition.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
    samples
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let whole = value.parse::<u64>().ok().map(Number::from);
            let number = whole.or_else(|| Number::from_f64(value.parse().ok()?))?;
            Some((name.to_owned(), number))
        })
        .collect()
}

/// A gauge's moment; `None` while it is not set.
fn stamp(seconds: f64) -> Option<String> {
    let since = Duration::try_from_secs_f64(seconds).ok().filter(|since| !since.is_zero())?;
    Some(moment(SystemTime::UNIX_EPOCH.checked_add(since)?))
}

/// A moment as RFC 3339, to the second.
fn moment(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|time| format!("{time:.0}")).unwrap_or_default()
}

/// How many rules are shown: a file may have a hundred thousand.
const SHOWN_RULES: usize = 1000;
