//! A client that keeps its connection, as the API server does, and shows what a library would hide.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, LazyLock},
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use x509_parser::parse_x509_certificate;

use super::authority::authority_pem;

/// One connection to a webhook.
pub struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    address: String,
}

/// The answer to one request.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Whether the server asked to close the connection.
    pub close: bool,
    /// The body.
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects and shakes hands.
    pub fn open(address: &str) -> io::Result<Self> {
        Self::open_as(address, "localhost", Arc::clone(&CONFIG))
    }

    /// The same, trusting the authorities of this PEM text, as the API server does that calls this address.
    pub fn open_trusting(address: &str, authorities: &[u8]) -> io::Result<Self> {
        let host = address.rsplit_once(':').unwrap().0.to_owned();
        Self::open_as(address, &host, Arc::new(trusting(authorities)))
    }

    fn open_as(address: &str, name: &str, config: Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(config, name).unwrap();
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let stream = BufReader::new(StreamOwned::new(session, socket));
        Ok(Self { stream, address: address.to_owned() })
    }

    /// The serial number of the server's certificate.
    pub fn serial(&self) -> u64 {
        let chain = self.stream.get_ref().conn.peer_certificates().unwrap();
        let (_, certificate) = parse_x509_certificate(&chain[0]).unwrap();
        certificate.tbs_certificate.serial.to_u64_digits().into_iter().next().unwrap_or_default()
    }

    /// Sends a request, whole.
    pub fn write(&mut self, path: &str, body: &str) -> io::Result<()> {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n",
            self.address
        );
        let stream = self.stream.get_mut();
        stream.write_all((head + body).as_bytes())?;
        stream.flush()
    }

    /// Reads the answer to it.
    pub fn read(&mut self) -> io::Result<Answer> {
        let mut status = String::new();
        if self.stream.read_line(&mut status)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut length, mut close) = (0, false);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-length", value) => length = value.parse().unwrap(),
                ("connection", value) => close = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Ok(Answer { status, close, body })
    }
}

static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| Arc::new(trusting(authority_pem().as_bytes())));

fn trusting(authorities: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities) {
        roots.add(authority.unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // The API server keeps no sessions either.
    config.resumption = rustls::client::Resumption::disabled();
    config
}
