//! An HTTP/1.1 client that shows what happens on its one connection.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// One connection over TLS.
pub(crate) struct Connection {
    pub(crate) stream: BufReader<TlsStream<TcpStream>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A client's configuration that trusts one authority.
pub(crate) fn trusting(authority: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// The serial number of the server's certificate.
    pub(crate) fn serial(&self) -> String {
        let (_, session) = self.stream.get_ref().get_ref();
        let chain = session.peer_certificates().unwrap();
        x509_parser::parse_x509_certificate(&chain[0]).unwrap().1.raw_serial_as_string()
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Posts a body and reads the answer.
    pub(crate) async fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.write(&post(path, body)).await?;
        self.answer().await
    }

    /// Reads one answer.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: `{first}`")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        let length = answer.header("content-length").expect("every answer says its length");
        answer.body.resize(length.parse().unwrap(), 0);
        self.stream.read_exact(&mut answer.body).await?;
        Ok(answer)
    }

    /// Waits until the server closes the connection, and fails if anything comes before.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A server that is cut off does not say good-bye.
        let end = tokio::time::timeout(CLOSE_LIMIT, self.stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok(), "the server keeps the connection open");
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Whether the server says that it closes the connection.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

/// The bytes of a POST.
pub(crate) fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Less than the 30 s after which hyper would close an idle connection of its own accord.
const CLOSE_LIMIT: Duration = Duration::from_secs(15);
