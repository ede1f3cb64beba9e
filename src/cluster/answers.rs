//! Answers of registries, kept in ConfigMaps for a start without registries.
//!
//! A ConfigMap has a key for each login: a line is a mirror's reference, a digest and when the registry said so. In
//! which ConfigMap an answer is follows from its reference, so that one answer more is one ConfigMap written. They hold what
//! a registry says to anybody with that login, and nothing of the login but the uid and the version of its Secret.
//!
//! What is read was written by anybody: a line that cannot be read is a problem with its place, and the others count.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::future::try_join_all;
use k8s_openapi::{api::core::v1::ConfigMap, jiff::Timestamp};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::client::{CallError, Client, MANAGER};
use crate::image::{Digest, Reference};

/// Where answers are kept.
#[derive(Clone, Debug)]
pub struct Answers {
    client: Client,
    namespace: Box<str>,
}

/// One answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptAnswer {
    /// The mirror's reference.
    pub reference: Reference,
    /// What was behind it.
    pub digest: Digest,
    /// When the registry said so; whole seconds are kept.
    pub asked: SystemTime,
    /// The state of the Secret that the login was in; `None`: there was no login.
    pub login: Option<Arc<Box<str>>>,
}

/// What is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Every line that could be read.
    pub answers: Vec<KeptAnswer>,
    /// What could not, at most one for each ConfigMap.
    pub problems: Vec<AnswersProblem>,
    maps: [Map; MAPS],
}

/// Lines of a ConfigMap that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnswersProblem {
    /// The ConfigMap.
    pub map: String,
    /// The first of them: its key.
    pub key: String,
    /// Its number under that key.
    pub line: usize,
    /// What is wrong with it.
    pub problem: LineProblem,
    /// How many there are.
    pub lines: usize,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LineProblem {
    /// Something else than the digest that the reference has.
    #[error("the digest is another than the reference's own")]
    AnotherDigest,
    /// No digest.
    #[error("the second word is no digest")]
    BadDigest,
    /// No reference, or one that is not written in full.
    #[error("the first word is no whole reference")]
    BadReference,
    /// No time.
    #[error("the third word is no time")]
    BadTime,
    /// The key is no login's.
    #[error("the key is neither `{ANONYMOUS}` nor `{LOGIN}` and the state of a Secret")]
    UnknownKey,
    /// More or fewer words.
    #[error("a line is a reference, a digest and a time")]
    WrongWords,
}

/// One ConfigMap, as far as it is ours.
#[derive(Clone, Debug, Default)]
struct Map {
    /// `None`: it is not there.
    resource_version: Option<String>,
    data: Data,
}

/// The texts of a ConfigMap, by key.
type Data = BTreeMap<String, String>;

impl Answers {
    /// Kept in `namespace`.
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self { client: client.clone(), namespace: namespace.into() }
    }

    /// Reads what is kept. Needs `get` on each of [`answers_names`].
    pub async fn read(&self) -> Result<Kept, CallError> {
        let api = self.api();
        let read = answers_names().into_iter().map(|name| {
            let api = &api;
            async move {
                match self.client.within_limit(api.get(&name)).await {
                    Ok(map) => Ok((name, Some(map))),
                    Err(CallError::NotFound) => Ok((name, None)),
                    Err(error) => Err(error),
                }
            }
        });
        let maps = try_join_all(read).await?;
        Ok(aside(move || Kept::of(maps)).await)
    }

    /// What is to be written so that what `wanted` makes of the kept answers is kept. It is made where no admission waits:
    /// thousands of answers take a while.
    pub async fn plan(
        &self,
        kept: Kept,
        wanted: impl FnOnce(&[KeptAnswer]) -> Vec<KeptAnswer> + Send + 'static,
    ) -> (Kept, Plan) {
        let plan = move || {
            let plan = kept.plan(&wanted(&kept.answers));
            (kept, plan)
        };
        aside(plan).await
    }

    /// Writes what was planned; a ConfigMap that was changed since it was read is an error. Needs `create` and
    /// `patch` on each of [`answers_names`].
    pub async fn write(&self, plan: Plan) -> Result<(), CallError> {
        for Write { name, resource_version, data } in plan.writes {
            self.write_one(&name, resource_version.as_deref(), data).await?;
        }
        Ok(())
    }

    async fn write_one(
        &self,
        name: &str,
        resource_version: Option<&str>,
        data: Data,
    ) -> Result<(), CallError> {
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": MANAGER}},
            "data": data,
        });
        if let (Some(version), Some(metadata)) = (resource_version, object.get_mut("metadata")) {
            metadata
                .as_object_mut()
                .map(|metadata| metadata.insert("resourceVersion".to_owned(), json!(version)));
        }
        let parameters = PatchParams::apply(MANAGER).force();
        self.client.within_limit(self.api().patch(name, &parameters, &Patch::Apply(&object))).await.map(drop)
    }

    fn api(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.kube.clone(), &self.namespace)
    }
}

/// What is to be written.
#[derive(Debug)]
pub struct Plan {
    /// How many of the answers have room.
    pub answers: usize,
    writes: Vec<Write>,
}

#[derive(Debug)]
struct Write {
    name: String,
    /// The state that it was read in, if it is there.
    resource_version: Option<String>,
    data: Data,
}

impl Plan {
    /// Whether all is there already.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

impl Kept {
    /// How exactly these answers come to be kept, the first ones if there are more than fit: only ConfigMaps that differ
    /// are written.
    pub fn plan(&self, answers: &[KeptAnswer]) -> Plan {
        let (maps, count) = render(answers);
        let mut differing: Vec<_> = answers_names()
            .into_iter()
            .zip(&self.maps)
            .zip(maps)
            .filter(|((_, before), data)| before.data != *data)
            .collect();
        // Those that grow come first: an answer that goes to another ConfigMap is in both then, not in none.
        differing.sort_by_key(|((_, before), data)| size(data) < size(&before.data));
        let writes = differing.into_iter().map(|((name, before), data)| {
            let resource_version = before.resource_version.clone();
            Write { name, resource_version, data }
        });
        Plan { answers: count, writes: writes.collect() }
    }

    fn of(maps: Vec<(String, Option<ConfigMap>)>) -> Self {
        let mut kept = Self { answers: Vec::new(), problems: Vec::new(), maps: Default::default() };
        for (slot, (name, map)) in kept.maps.iter_mut().zip(maps) {
            let Some(map) = map else { continue };
            slot.resource_version = map.metadata.resource_version;
            let mut first: Option<AnswersProblem> = None;
            for (key, text) in map.data.unwrap_or_default() {
                let mut refuse = |line, problem| {
                    let (map, key) = (&name, &key);
                    let said =
                        || AnswersProblem { map: map.clone(), key: key.clone(), line, problem, lines: 0 };
                    first.get_or_insert_with(said).lines += 1;
                };
                let Some(login) = login_of(&key) else {
                    refuse(1, LineProblem::UnknownKey);
                    continue;
                };
                for (number, line) in (1..).zip(text.lines()) {
                    match parse(line, login.as_ref()) {
                        Ok(answer) => kept.answers.extend(answer),
                        Err(problem) => refuse(number, problem),
                    }
                }
                slot.data.insert(key, text);
            }
            kept.problems.extend(first);
        }
        kept
    }
}

impl fmt::Display for AnswersProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { map, key, line, problem, lines } = self;
        write!(f, "ConfigMap `{map}`, key `{}`: line {line}: {problem}", cut(key))?;
        match lines {
            1 => Ok(()),
            lines => write!(f, "; {lines} such lines"),
        }
    }
}

/// The names of the ConfigMaps.
pub fn answers_names() -> Vec<String> {
    (1..=MAPS).map(|number| format!("{PREFIX}{number}")).collect()
}

/// What each ConfigMap is to hold, and how many answers that is.
fn render(answers: &[KeptAnswer]) -> ([Data; MAPS], usize) {
    let lines: Vec<_> = answers.iter().map(|answer| (answer, line(answer))).collect();
    let size: usize = lines.iter().map(|(_, line)| line.len()).sum();
    // A few answers are not spread over all ConfigMaps.
    let maps = [1, 2, 4].into_iter().find(|maps| size <= maps * FULL).unwrap_or(MAPS);
    let mut sorted: [BTreeMap<String, Vec<String>>; MAPS] = Default::default();
    let mut sizes = [0; MAPS];
    let mut count = 0;
    for (answer, line) in lines {
        let at = place(&answer.reference) % maps;
        let (Some(map), Some(size)) = (sorted.get_mut(at), sizes.get_mut(at)) else { continue };
        let keys = map.entry(key_of(answer.login.as_ref())).or_default();
        if *size + line.len() <= MAX_SIZE {
            *size += line.len();
            keys.push(line);
            count += 1;
        }
    }
    let rendered = sorted.map(|map| {
        let texts = map.into_iter().filter(|(_, lines)| !lines.is_empty()).map(|(key, mut lines)| {
            lines.sort();
            (key, lines.concat())
        });
        texts.collect()
    });
    (rendered, count)
}

/// Does what would keep a worker from admissions for a while.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going, and so is whoever waits.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A number that is the same for the same reference always, in every version.
fn place(reference: &Reference) -> usize {
    let digest = Digest::of(reference.as_str().as_bytes());
    digest.hex().get(..2).and_then(|hex| usize::from_str_radix(hex, 16).ok()).unwrap_or(0)
}

fn size(data: &Data) -> usize {
    data.values().map(String::len).sum()
}

fn line(answer: &KeptAnswer) -> String {
    let KeptAnswer { reference, digest, asked, login: _ } = answer;
    let second = asked.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let second = i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
    format!("{} {} {}\n", reference.as_str(), digest.as_str(), second.unwrap_or(Timestamp::MAX))
}

/// `None`: there is nothing on the line.
fn parse(line: &str, login: Option<&Arc<Box<str>>>) -> Result<Option<KeptAnswer>, LineProblem> {
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(reference), Some(digest), Some(asked), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(LineProblem::WrongWords);
    };
    let reference = Reference::from_normalised(reference).ok_or(LineProblem::BadReference)?;
    if reference.tag().is_none() && reference.digest().is_none() {
        return Err(LineProblem::BadReference);
    }
    let digest: Digest = digest.parse().map_err(|_| LineProblem::BadDigest)?;
    if reference.digest().is_some_and(|own| own != digest.as_str()) {
        return Err(LineProblem::AnotherDigest);
    }
    let asked: Timestamp = asked.parse().map_err(|_| LineProblem::BadTime)?;
    let asked = u64::try_from(asked.as_second()).map_err(|_| LineProblem::BadTime)?;
    let asked = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(asked)).ok_or(LineProblem::BadTime)?;
    Ok(Some(KeptAnswer { reference, digest, asked, login: login.cloned() }))
}

fn key_of(login: Option<&Arc<Box<str>>>) -> String {
    login.map_or_else(|| ANONYMOUS.to_owned(), |login| [LOGIN, login].concat())
}

/// The login that a key stands for; the outer `None`: it is no login's.
#[expect(clippy::option_option, reason = "no login is a login, and no key of ours is neither")]
fn login_of(key: &str) -> Option<Option<Arc<Box<str>>>> {
    if key == ANONYMOUS {
        return Some(None);
    }
    let login = key.strip_prefix(LOGIN).filter(|login| !login.is_empty())?;
    Some(Some(Arc::new(login.into())))
}

fn cut(key: &str) -> &str {
    key.get(..key.floor_char_boundary(MAX_SHOWN)).unwrap_or(key)
}

/// How many ConfigMaps there are at most: their names are in the rights that ship.
const MAPS: usize = 8;

const PREFIX: &str = "portolan-answers-";

/// The key of answers got without a login, and what the others begin with.
const ANONYMOUS: &str = "anonymous";
const LOGIN: &str = "login-";

/// Of the 1 MiB that a ConfigMap may hold; half of it is left, so that a write stays small. With lines of 200 bytes
/// the eight hold 20,000 answers.
const MAX_SIZE: usize = 512 * 1024;

/// How full ConfigMaps are on average at most; the hash spreads unevenly.
const FULL: usize = 384 * 1024;

/// How much of a key is shown.
const MAX_SHOWN: usize = 64;

#[cfg(test)]
mod tests;
