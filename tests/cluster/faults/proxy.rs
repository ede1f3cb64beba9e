//! A proxy in front of a real registry, over TLS and with a token server of its own, in which things go wrong.
//!
//! It counts what reaches it, and every credential that it is sent where none belongs.

use std::{
    fs,
    io::BufReader,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{
        AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER,
    },
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::fault::Fault;
use crate::support::{folder, free_port, issue_as, runtime};

/// See the module.
#[derive(Debug)]
pub struct FaultProxy {
    state: Arc<State>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct State {
    address: SocketAddr,
    /// The registry's URL, without a slash at its end.
    upstream: String,
    client: reqwest::Client,
    login: String,
    certificates: Certificates,
    /// A change hangs up on everybody.
    fault: watch::Sender<Fault>,
    /// The number in the tokens that are good.
    tokens: AtomicUsize,
    connections: AtomicUsize,
    requests: AtomicUsize,
    leaks: AtomicUsize,
}

#[derive(Debug)]
struct Certificates {
    good: Arc<rustls::ServerConfig>,
    expired: Arc<rustls::ServerConfig>,
    of_another: Arc<rustls::ServerConfig>,
}

impl FaultProxy {
    /// In front of the registry at that host and port, for whoever has this login (`user:password`).
    pub fn start(registry: &str, name: &str, login: &str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port("127.0.0.1")));
        let names = ["localhost", "127.0.0.1", name];
        let old = |parameters: &mut rcgen::CertificateParams| {
            parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
        };
        let state = State {
            address,
            upstream: format!("http://{registry}"),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            login: format!("Basic {}", STANDARD.encode(login)),
            certificates: Certificates {
                good: configuration(&folder("certificate"), &names, |_| {}),
                expired: configuration(&folder("certificate"), &names, old),
                of_another: configuration(&folder("certificate"), &["another.example.com"], |_| {}),
            },
            fault: watch::Sender::new(Fault::None),
            tokens: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            leaks: AtomicUsize::new(0),
        };
        let proxy = Self { state: Arc::new(state), listener: Mutex::new(None) };
        proxy.listen();
        proxy
    }

    pub fn port(&self) -> u16 {
        self.state.address.port()
    }

    /// From now on this goes wrong, on new connections; the old ones end.
    pub fn set(&self, fault: Fault) {
        if fault.revokes() {
            self.state.tokens.fetch_add(1, Ordering::Relaxed);
        }
        self.state.fault.send_replace(fault);
        if fault == Fault::Refused
            && let Some(listener) = self.listener.lock().unwrap().take()
        {
            listener.abort();
        }
    }

    /// How many requests reached it since that was asked last; connections, where those are more.
    pub fn reached(&self) -> usize {
        let State { connections, requests, .. } = &*self.state;
        requests.swap(0, Ordering::Relaxed).max(connections.swap(0, Ordering::Relaxed))
    }

    /// How many requests brought a credential to where it does not belong.
    pub fn leaks(&self) -> usize {
        self.state.leaks.load(Ordering::Relaxed)
    }

    fn listen(&self) {
        let state = Arc::clone(&self.state);
        let listener = runtime().block_on(TcpListener::bind(state.address)).unwrap();
        *self.listener.lock().unwrap() = Some(runtime().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                state.connections.fetch_add(1, Ordering::Relaxed);
                let mut faults = state.fault.subscribe();
                let fault = *faults.borrow_and_update();
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    if fault == Fault::Reset {
                        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                        return;
                    }
                    tokio::select! {
                        () = state.serve(stream, fault) => {}
                        _ = faults.changed() => {}
                    }
                });
            }
        }));
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.lock().unwrap().take() {
            listener.abort();
        }
        self.state.fault.send_replace(Fault::Reset);
    }
}

type Body = BoxBody<Bytes, std::io::Error>;

impl State {
    async fn serve(self: &Arc<Self>, stream: TcpStream, fault: Fault) {
        if fault == Fault::BlackHole {
            return std::future::pending().await;
        }
        let Certificates { good, expired, of_another } = &self.certificates;
        let certificate = match fault {
            Fault::CertificateExpired => expired,
            Fault::CertificateOfAnother => of_another,
            _ => good,
        };
        // A client that does not like what it sees hangs up.
        let Ok(stream) = TlsAcceptor::from(Arc::clone(certificate)).accept(stream).await else { return };
        if fault == Fault::ByteByByte {
            return self.drip(stream).await;
        }
        let service = service_fn(|request| self.answer(request, fault));
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    /// Answers a byte a second.
    async fn drip(&self, mut stream: TlsStream<TcpStream>) {
        let mut request = [0; 4096];
        if !matches!(stream.read(&mut request).await, Ok(1..)) {
            return;
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}" {
            if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        fault: Fault,
    ) -> Result<Response<Body>, std::io::Error> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let path = request.uri().path_and_query().map_or("", |path| path.as_str()).to_owned();
        let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let authorization = authorization.unwrap_or_default().to_owned();
        if host.starts_with("localhost:") {
            // Where the redirect leads.
            if !authorization.is_empty() {
                self.leaks.fetch_add(1, Ordering::Relaxed);
            }
            return self.forward(request.method(), &path, request.headers(), Fault::None).await;
        }
        if path.starts_with("/token") {
            return match fault {
                Fault::TokenServerDown => Err(std::io::Error::other("as the fault wants it")),
                Fault::TokenServerSlow => {
                    tokio::time::sleep(Duration::from_secs(30)).await;
                    Ok(self.token(&authorization))
                }
                _ => Ok(self.token(&authorization)),
            };
        }
        match fault {
            Fault::Status(401) => return Ok(self.challenge("")),
            Fault::Status(status) => return Ok(reply(status, "text/plain", "as the fault wants it")),
            Fault::EverySecond if number.is_multiple_of(2) => return Ok(reply(500, "text/plain", "")),
            Fault::HtmlPage => return Ok(reply(502, "text/html", "<html>502 Bad Gateway</html>")),
            Fault::Limited(seconds) => {
                let mut reply = reply(429, "text/plain", "");
                if let Some(seconds) = seconds {
                    reply.headers_mut().insert(RETRY_AFTER, seconds.into());
                }
                return Ok(reply);
            }
            Fault::MalformedChallenge => return Ok(self.challenge("Bearer realm=\"http://[,=;\u{7f}service")),
            Fault::Latency(time) => tokio::time::sleep(time).await,
            Fault::RedirectLoop => return Ok(redirect(host, &path)),
            Fault::RedirectElsewhere => {
                return Ok(redirect(&format!("localhost:{}", self.address.port()), &path));
            }
            _ => {}
        }
        if authorization != format!("Bearer {}", self.good_token()) {
            let realm = format!("https://{host}/token");
            return Ok(self.challenge(&format!("Bearer realm=\"{realm}\",service=\"faults\"")));
        }
        self.forward(request.method(), &path, request.headers(), fault).await
    }

    /// Asks the registry, and spoils what it says.
    async fn forward(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        fault: Fault,
    ) -> Result<Response<Body>, std::io::Error> {
        let mut headers = headers.clone();
        headers.remove(AUTHORIZATION);
        headers.remove("host");
        let url = format!("{}{path}", self.upstream);
        let sent = self.client.request(method.clone(), url).headers(headers).send().await;
        let answer = sent.map_err(std::io::Error::other)?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.bytes().await.map_err(std::io::Error::other)?;
        if status != StatusCode::OK {
            return Ok(with_headers(status, headers, full(bytes)));
        }
        let wrong = format!("sha256:{}", "0".repeat(64));
        match fault {
            Fault::DigestWrong => _ = headers.insert(DIGEST, HeaderValue::from_str(&wrong).unwrap()),
            Fault::DigestIsNone => _ = headers.insert(DIGEST, HeaderValue::from_static("latest, I think")),
            Fault::Schema1 => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(SCHEMA_1));
                headers.remove(DIGEST);
            }
            fault if fault.hides_digest() => _ = headers.remove(DIGEST),
            _ => {}
        }
        if method == Method::HEAD {
            return Ok(with_headers(status, headers, full(Bytes::new())));
        }
        let body = match fault {
            Fault::Truncated => {
                headers.remove(CONTENT_LENGTH);
                full(bytes.slice(..bytes.len() / 2))
            }
            Fault::LengthWrong => {
                headers.insert(CONTENT_LENGTH, (bytes.len() + 100).into());
                // What is missing never comes.
                let cut =
                    futures::stream::once(async { Err(std::io::Error::other("as the fault wants it")) });
                let frames = futures::stream::iter([Ok(Frame::data(bytes))]).chain(cut);
                BodyExt::boxed(StreamBody::new(frames))
            }
            Fault::Schema1 => {
                headers.remove(CONTENT_LENGTH);
                full(Bytes::from_static(br#"{"schemaVersion": 1, "name": "app", "history": []}"#))
            }
            Fault::Endless => {
                headers.remove(CONTENT_LENGTH);
                let spaces = Bytes::from(vec![b' '; 64 * 1024]);
                let frames = futures::stream::repeat_with(move || Ok(Frame::data(spaces.clone())));
                BodyExt::boxed(StreamBody::new(frames))
            }
            Fault::GzipBomb => {
                headers.remove(CONTENT_LENGTH);
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                full(GZIP_BOMB.clone())
            }
            _ => full(bytes),
        };
        Ok(with_headers(status, headers, body))
    }

    fn token(&self, authorization: &str) -> Response<Body> {
        if authorization != self.login {
            return reply(401, "application/json", "{}");
        }
        let token = self.good_token();
        reply(200, "application/json", &format!(r#"{{"token":"{token}","expires_in":3600}}"#))
    }

    fn good_token(&self) -> String {
        format!("token-{}", self.tokens.load(Ordering::Relaxed))
    }

    #[expect(clippy::unused_self, reason = "reads as the others")]
    fn challenge(&self, challenge: &str) -> Response<Body> {
        let mut reply = reply(401, "application/json", "{}");
        if !challenge.is_empty() {
            let value = HeaderValue::from_bytes(challenge.replace('\u{7f}', "\t").as_bytes()).unwrap();
            reply.headers_mut().insert("www-authenticate", value);
        }
        reply
    }
}

fn configuration(
    folder: &Path,
    names: &[&str],
    change: impl FnOnce(&mut rcgen::CertificateParams),
) -> Arc<rustls::ServerConfig> {
    let pair = issue_as(folder, 7, names, change);
    let chain = CertificateDer::pem_reader_iter(BufReader::new(fs::File::open(pair.certificate).unwrap()));
    let key = PrivateKeyDer::from_pem_file(pair.key).unwrap();
    let builder = rustls::ServerConfig::builder().with_no_client_auth();
    Arc::new(builder.with_single_cert(chain.map(Result::unwrap).collect(), key).unwrap())
}

fn redirect(host: &str, path: &str) -> Response<Body> {
    let mut reply = reply(307, "text/plain", "");
    reply.headers_mut().insert(LOCATION, HeaderValue::from_str(&format!("https://{host}{path}")).unwrap());
    reply
}

fn reply(status: u16, media: &'static str, body: &str) -> Response<Body> {
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media))]);
    with_headers(StatusCode::from_u16(status).unwrap(), headers, full(Bytes::from(body.to_owned())))
}

fn with_headers(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// A hundred MiB of zeros in 650 KiB (RFC 1951 §3.2.6): a zero, then again and again "258 more as the last".
fn gzip_bomb() -> Bytes {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let (mut pending, mut count) = (0_u64, 0);
    let mut write = |code: u64, length: u32| {
        // Codes are written from their first bit on, into bytes that are filled from their last.
        for bit in (0..length).rev() {
            pending |= (code >> bit & 1) << count;
            count += 1;
            if count == 8 {
                bytes.push(u8::try_from(pending).unwrap());
                (pending, count) = (0, 0);
            }
        }
    };
    // The last block, with fixed codes; the length's code 285 is 11000101, the distance's code is 0.
    write(0b1, 1);
    write(0b10, 2);
    write(0b0011_0000, 8);
    for _ in 0..100 * 1024 * 1024 / 258 {
        write(0b1100_0101, 8);
        write(0, 5);
    }
    bytes.into()
}

static GZIP_BOMB: LazyLock<Bytes> = LazyLock::new(gzip_bomb);

const DIGEST: &str = "docker-content-digest";
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
