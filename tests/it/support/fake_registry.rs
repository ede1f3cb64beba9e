//! A registry in the test's process that can lie, stall, redirect and expire tokens, and remembers every request.
//!
//! ```ignore
//! let registry = FakeRegistry::builder().tokens("robot", "s3cret").start().await;
//! let digest = registry.put("team/app", "v1", &manifest("app"));
//! registry.fault(Fault::Stall);               // every manifest, from now on …
//! registry.fault_at("team/app", Fault::Html); // … but this one
//! registry.heal();                            // as in the beginning; what stalled is answered now
//! assert_eq!(registry.count("HEAD", "/v2/team/app/manifests/v1"), 2);
//! ```
//!
//! Blobs are in `blobs`, what is pushed in `uploads`.
//!
//! It listens on a free port of 127.0.0.1 and speaks HTTP/1.1, plain or over TLS. Paths that begin with `/token` are its
//! token service. Dropped, it hangs up on everybody.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::Engine;
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{Request, Response, StatusCode, body::Frame, body::Incoming, header, service::service_fn};
use hyper_util::rt::TokioIo;
use portolan::image::Digest;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;

mod blobs;
mod uploads;

pub(crate) use uploads::in_query;

/// See the module.
pub(crate) struct FakeRegistry {
    state: Arc<State>,
    address: SocketAddr,
    /// Ends the listener and its connections with it.
    listener: tokio::task::JoinHandle<()>,
}

/// What goes wrong. Of several that match a request, the last set counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Answers 200 with these bytes, whatever is asked.
    Body(Bytes),
    /// Hangs up without an answer.
    Close,
    /// Hangs up without an answer, and is healed by that.
    CloseOnce,
    /// Sends so many bytes of the body (of a PUT: takes so many), hangs up, and is healed by that.
    CutOnce(usize),
    /// Answers as it should, later.
    Delay(Duration),
    /// Names this digest, whatever the bytes are.
    DigestHeader(String),
    /// Answers with this status before the body of a request has come.
    Early(u16),
    /// Sends bytes without end.
    Endless,
    /// Sends so many bytes of the body (of a PUT: takes so many) and no more until the fault is healed.
    Hold(usize),
    /// Answers 200 with a page for people.
    Html,
    /// Names no digest.
    NoDigest,
    /// Answers as it should: to except a request from a broader fault.
    None,
    /// Answers with 429 and this `Retry-After`, and is healed by that.
    LimitOnce(u64),
    /// Sends uploads to this URL, followed by their path.
    Location(String),
    /// Says of an upload not where to send it.
    NoLocation,
    /// Mounts nothing and wants an upload instead.
    NoMount,
    /// Gives a blob from the first byte on, whatever part was asked for.
    NoRange,
    /// Sends the asker to this URL, followed by the path that was asked for.
    Redirect(String),
    /// Takes the request and says nothing until the fault is healed.
    Stall,
    /// Answers with this status.
    Status(u16),
    /// Answers with 401 and this challenge.
    Unauthorized(String),
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: String,
}

/// Makes a registry; by default plain HTTP and open to everybody.
#[derive(Default)]
pub(crate) struct Builder {
    address: Option<SocketAddr>,
    login: Login,
    tls: Option<Arc<rustls::ServerConfig>>,
}

#[derive(Default)]
struct Login {
    anonymous: bool,
    basic: bool,
    expires_in: Option<u64>,
    identity_token: Option<String>,
    password: Option<(String, String)>,
    realm: Option<String>,
    service: Option<String>,
    tokens: bool,
}

struct State {
    login: Login,
    /// `http://127.0.0.1:PORT`.
    url: String,
    contents: Mutex<Contents>,
    faults: watch::Sender<Vec<(String, Fault)>>,
    requests: Mutex<Vec<Recorded>>,
    /// The tokens given out that are still good, each with the scope that it is for.
    tokens: Mutex<HashSet<(String, String)>>,
}

#[derive(Default)]
struct Contents {
    /// By repository and digest.
    blobs: HashMap<(String, String), Bytes>,
    /// By repository and tag or digest.
    manifests: HashMap<(String, String), Bytes>,
}

impl Builder {
    /// Listens here: to come back where another registry was.
    pub(crate) fn at(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// TLS with a certificate of `authority` for 127.0.0.1.
    pub(crate) fn tls(self, authority: &Authority) -> Self {
        self.tls_with(authority.server(&["127.0.0.1", "localhost"], None))
    }

    /// TLS with this configuration.
    pub(crate) fn tls_with(mut self, tls: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Wants user and password with every request.
    pub(crate) fn basic(mut self, user: &str, password: &str) -> Self {
        self.login.basic = true;
        self.login.password = Some((user.into(), password.into()));
        self
    }

    /// Wants a token, which its service gives for user and password.
    pub(crate) fn tokens(mut self, user: &str, password: &str) -> Self {
        self.login.tokens = true;
        self.login.password = Some((user.into(), password.into()));
        self
    }

    /// Wants a token, which its service gives to everybody.
    pub(crate) fn anonymous_tokens(mut self) -> Self {
        self.login.tokens = true;
        self.login.anonymous = true;
        self
    }

    /// Wants a token, which its service gives for this refresh token (OAuth 2).
    pub(crate) fn identity_token(mut self, token: &str) -> Self {
        self.login.tokens = true;
        self.login.identity_token = Some(token.into());
        self
    }

    /// How many seconds a token is said to be good for.
    pub(crate) fn expires_in(mut self, seconds: u64) -> Self {
        self.login.expires_in = Some(seconds);
        self
    }

    /// Sends askers to this URL for tokens, and takes any token that is sent.
    pub(crate) fn realm(mut self, url: &str) -> Self {
        self.login.tokens = true;
        self.login.realm = Some(url.into());
        self
    }

    /// The name of its service in the challenge.
    pub(crate) fn service(mut self, name: &str) -> Self {
        self.login.service = Some(name.into());
        self
    }

    /// Listens.
    pub(crate) async fn start(self) -> FakeRegistry {
        let address = self.address.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let state = Arc::new(State {
            login: self.login,
            url: format!("{scheme}://{address}"),
            contents: Mutex::default(),
            faults: watch::Sender::default(),
            requests: Mutex::default(),
            tokens: Mutex::default(),
        });
        let acceptor = self.tls.map(TlsAcceptor::from);
        let listener = tokio::spawn(accept(listener, acceptor, Arc::clone(&state)));
        FakeRegistry { state, address, listener }
    }
}

impl FakeRegistry {
    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    /// A registry over plain HTTP that is open to everybody.
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    /// As a reference names it: `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, or `https`.
    pub(crate) fn url(&self) -> &str {
        &self.state.url
    }

    /// Stores a manifest under a tag and under its digest, which is returned.
    pub(crate) fn put(&self, repository: &str, tag: &str, manifest: &str) -> Digest {
        let digest = Digest::of(manifest.as_bytes());
        self.put_at(repository, tag, manifest);
        self.put_at(repository, digest.as_str(), manifest);
        digest
    }

    /// Stores a manifest under this tag or digest only: a pull-through cache knows no digest before its tag was asked.
    pub(crate) fn put_at(&self, repository: &str, target: &str, manifest: &str) {
        let manifest = Bytes::from(manifest.to_owned());
        self.state.contents.lock().unwrap().manifests.insert((repository.into(), target.into()), manifest);
    }

    /// Forgets all manifests.
    pub(crate) fn clear(&self) {
        self.state.contents.lock().unwrap().manifests.clear();
    }

    /// From now on this goes wrong for every manifest.
    pub(crate) fn fault(&self, fault: Fault) {
        self.fault_at("/v2/", fault);
    }

    /// From now on this goes wrong for every request whose method and path (`HEAD /v2/…`) have this text in them.
    pub(crate) fn fault_at(&self, part: &str, fault: Fault) {
        self.state.faults.send_modify(|faults| faults.push((part.into(), fault)));
    }

    /// Nothing goes wrong any more; what stalled is answered.
    pub(crate) fn heal(&self) {
        self.state.faults.send_modify(Vec::clear);
    }

    /// The tokens that were given out are no longer good.
    pub(crate) fn revoke_tokens(&self) {
        self.state.tokens.lock().unwrap().clear();
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.state.requests.lock().unwrap().clone()
    }

    /// How many requests had this method and a path with this text in it.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        let requests = self.state.requests.lock().unwrap();
        requests.iter().filter(|request| request.method == method && request.path.contains(part)).count()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Recorded {
    /// A header's value; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// An OCI image manifest; another `name`, another digest.
pub(crate) fn manifest(name: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{IMAGE}","config":{{}},"layers":[],"annotations":{{"name":"{name}"}}}}"#
    )
}

type Body = BoxBody<Bytes, HangUp>;

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("hung up, as the test wanted it")]
struct HangUp;

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        connections.spawn(async move {
            match acceptor {
                Some(acceptor) => {
                    // A client that does not trust us ends the handshake.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, state).await;
                    }
                }
                None => serve::<TcpStream>(stream, state).await,
            }
        });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, state: Arc<State>) {
    let service = service_fn(|request| answer(Arc::clone(&state), request));
    // Clients hang up as they like, and some tests make us do so.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, HangUp> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let named = format!("{} {path}", head.method);
    let met = State::of(&state.faults.borrow(), &named);
    let body = match head.method.as_str() {
        "PUT" => {
            let recorded = Recorded {
                method: head.method.to_string(),
                path: path.clone(),
                headers: head.headers.clone(),
                body: String::new(),
            };
            let taken = state.take(body, &met).await;
            taken.inspect_err(|_| state.requests.lock().unwrap().push(recorded))?
        }
        _ => body.collect().await.map_err(|_| HangUp)?.to_bytes(),
    };
    let recorded = Recorded {
        method: head.method.to_string(),
        path: path.clone(),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    state.requests.lock().unwrap().push(recorded.clone());

    let fault = state.fault(&named).await;
    match &fault {
        Fault::Body(bytes) => return Ok(reply(200, "application/json", bytes.clone())),
        Fault::Close => return Err(HangUp),
        Fault::CloseOnce => {
            state.heal(&fault);
            return Err(HangUp);
        }
        Fault::LimitOnce(seconds) => {
            state.heal(&fault);
            let mut response = reply(429, "text/plain", Bytes::new());
            response.headers_mut().insert(header::RETRY_AFTER, (*seconds).into());
            return Ok(response);
        }
        Fault::Delay(time) => tokio::time::sleep(*time).await,
        Fault::Endless => {
            let spaces = Bytes::from(vec![b' '; 64 * 1024]);
            let chunk = move || Ok(Frame::data(spaces.clone()));
            let body = StreamBody::new(futures::stream::repeat_with(chunk).then(|frame| async {
                // Lets the client's side of this thread run.
                tokio::task::yield_now().await;
                frame
            }));
            return Ok(Response::new(BodyExt::boxed(body)));
        }
        Fault::Html => {
            return Ok(reply(200, "text/html; charset=utf-8", "<html>Please log in</html>".into()));
        }
        Fault::Redirect(url) => {
            let mut response = reply(307, "text/plain", Bytes::new());
            response.headers_mut().insert(header::LOCATION, format!("{url}{path}").parse().unwrap());
            return Ok(response);
        }
        Fault::Status(status) | Fault::Early(status) => {
            return Ok(reply(*status, "text/plain", "as the test wanted it".into()));
        }
        Fault::Unauthorized(challenge) => return Ok(challenged(challenge)),
        Fault::CutOnce(_) => state.heal(&fault),
        Fault::DigestHeader(_)
        | Fault::Hold(_)
        | Fault::Location(_)
        | Fault::NoDigest
        | Fault::NoLocation
        | Fault::NoMount
        | Fault::NoRange
        | Fault::None
        | Fault::Stall => {}
    }
    if path.starts_with("/token") {
        return Ok(state.token(&recorded));
    }
    if matches!(&*recorded.method, "POST" | "PUT") {
        return Ok(state.pushed(&recorded, &body, &fault));
    }
    if path.contains("/blobs/") {
        return Ok(state.blob(&recorded, &fault));
    }
    Ok(state.manifest(&recorded, &fault))
}

impl State {
    fn heal(&self, healed: &Fault) {
        self.faults.send_modify(|faults| faults.retain(|(_, fault)| fault != healed));
    }

    /// What goes wrong for this request; while that is a stall, it does not return.
    async fn fault(&self, request: &str) -> Fault {
        let mut faults = self.faults.subscribe();
        let faults = faults
            .wait_for(|faults| Self::of(faults, request) != Fault::Stall)
            .await
            .expect("the sender is ours");
        Self::of(&faults, request)
    }

    fn of(faults: &[(String, Fault)], request: &str) -> Fault {
        let fault = faults.iter().rev().find(|(part, _)| request.contains(part.as_str()));
        fault.map_or(Fault::None, |(_, fault)| fault.clone())
    }

    fn manifest(&self, request: &Recorded, fault: &Fault) -> Response<Body> {
        let Some((repository, target)) =
            request.path.strip_prefix("/v2/").and_then(|rest| rest.split_once("/manifests/"))
        else {
            return reply(404, "text/plain", Bytes::new());
        };
        if let Some(challenge) = self.challenge(request, repository) {
            return challenged(&challenge);
        }
        let key = (repository.to_owned(), target.to_owned());
        let Some(manifest) = self.contents.lock().unwrap().manifests.get(&key).cloned() else {
            return reply(404, "application/json", r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#.into());
        };
        let named = match fault {
            Fault::DigestHeader(named) => Some(named.clone()),
            Fault::NoDigest => None,
            _ => Some(Digest::of(&manifest).to_string()),
        };
        let called: Option<MediaType> = serde_json::from_slice(&manifest).ok();
        let media_type = called.map_or_else(|| IMAGE.to_owned(), |called| called.media_type);
        let mut response = reply(200, &media_type, manifest);
        if let Some(named) = named {
            response.headers_mut().insert("docker-content-digest", named.parse().unwrap());
        }
        response
    }

    /// What a request still lacks.
    fn challenge(&self, request: &Recorded, repository: &str) -> Option<String> {
        let authorization = request.header("authorization");
        if self.login.basic {
            return (!self.is_password(authorization)).then(|| r#"Basic realm="fake""#.to_owned());
        }
        if !self.login.tokens {
            return None;
        }
        let push = format!("repository:{repository}:pull,push");
        let is_read = matches!(&*request.method, "GET" | "HEAD");
        let scope = if is_read { format!("repository:{repository}:pull") } else { push.clone() };
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        let good = if self.login.realm.is_some() {
            !token.is_empty()
        } else {
            let tokens = self.tokens.lock().unwrap();
            [&scope, &push].iter().any(|scope| tokens.contains(&(token.to_owned(), (*scope).clone())))
        };
        let realm = self.login.realm.clone().unwrap_or_else(|| format!("{}/token", self.url));
        let service = self.login.service.as_deref().unwrap_or("fake");
        (!good).then(|| format!(r#"Bearer realm="{realm}",service="{service}",scope="{scope}""#))
    }

    fn token(&self, request: &Recorded) -> Response<Body> {
        let form = if request.method == "POST" {
            request.body.clone()
        } else {
            request.path.split_once('?').map_or_else(String::new, |(_, query)| query.to_owned())
        };
        let parameters: HashMap<_, _> =
            form.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k, decode(v))).collect();
        let parameter = |name: &str| parameters.get(name).cloned().unwrap_or_default();
        let granted = if request.method == "POST" {
            parameter("grant_type") == "refresh_token"
                && self.login.identity_token.as_deref() == Some(parameter("refresh_token").as_str())
        } else {
            self.login.anonymous || self.is_password(request.header("authorization"))
        };
        if !granted {
            return reply(if request.method == "POST" { 400 } else { 401 }, "application/json", "{}".into());
        }
        let mut tokens = self.tokens.lock().unwrap();
        let token = format!("token-canary-{}", self.requests.lock().unwrap().len());
        let scopes = form.split('&').filter_map(|pair| pair.strip_prefix("scope=")).map(decode);
        for scope in scopes.flat_map(|scopes| scopes.split(' ').map(str::to_owned).collect::<Vec<_>>()) {
            tokens.insert((token.clone(), scope));
        }
        let name = if request.method == "POST" { "access_token" } else { "token" };
        let life = self.login.expires_in.map_or_else(String::new, |life| format!(r#","expires_in":{life}"#));
        reply(200, "application/json", format!(r#"{{"{name}":"{token}"{life}}}"#).into())
    }

    fn is_password(&self, authorization: &str) -> bool {
        self.login.password.as_ref().is_some_and(|(user, password)| {
            let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            authorization == format!("Basic {encoded}")
        })
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct MediaType {
    media_type: String,
}

fn challenged(challenge: &str) -> Response<Body> {
    let mut response = reply(401, "application/json", "{}".into());
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
    response
}

fn reply(status: u16, content_type: &str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert(header::CONTENT_TYPE, content_type.parse().unwrap());
    response
}

/// A form's value.
fn decode(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex: Vec<u8> = rest.by_ref().take(2).collect();
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
