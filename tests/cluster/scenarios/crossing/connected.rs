//! The side with a way out: registries that answer to the names that the world knows, behind a company's proxy.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    fs, io,
    path::PathBuf,
    sync::Arc,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::support::{Access, Image, Missing, Registry, authority_pem, folder, runtime};

/// A registry for each of some names, with a certificate for that name, and the proxy that leads there.
pub struct Connected {
    registries: BTreeMap<String, Registry>,
    proxy: Proxy,
    authorities: PathBuf,
}

impl Connected {
    /// Starts them.
    pub fn start(hosts: &[&str]) -> Result<Self, Missing> {
        let mut registries = BTreeMap::new();
        let mut routes = HashMap::new();
        for host in hosts {
            let registry = Registry::start(Access::Named(vec![served(host).to_owned()]))?;
            routes.insert(format!("{}:443", served(host)), registry.host());
            registries.insert((*host).to_owned(), registry);
        }
        let authorities = folder("connected").join("authorities.pem");
        fs::write(&authorities, authority_pem()).unwrap();
        Ok(Self { registries, proxy: Proxy::start(routes), authorities })
    }

    /// What is set on a machine of this side: the proxy, and the authorities that its certificates come from.
    pub fn environment(&self) -> [(&'static str, OsString); 2] {
        [("HTTPS_PROXY", self.proxy.url.clone().into()), ("SSL_CERT_FILE", self.authorities.clone().into())]
    }

    /// The registry of that name.
    pub fn registry(&self, host: &str) -> &Registry {
        self.registries.get(host).unwrap_or_else(|| panic!("there is no {host} on the connected side"))
    }

    /// Pushes an image under a name as manifests write it; its digest.
    pub fn push(&self, name: &str, image: &Image) -> String {
        let (host, repository, tag) = parts(name);
        self.registry(&host).push_image(&repository, &tag, image)
    }
}

/// Registry, repository and tag. Written here without a line of Portolan's.
fn parts(name: &str) -> (String, String, String) {
    let (name, tag) = name.rsplit_once(':').unwrap();
    let (host, repository) = match name.split_once('/') {
        Some((host, rest)) if host.contains('.') => (host, rest.to_owned()),
        Some(_) => ("docker.io", name.to_owned()),
        None => ("docker.io", format!("library/{name}")),
    };
    (host.to_owned(), repository, tag.to_owned())
}

/// The host that serves a registry of that name.
fn served(host: &str) -> &str {
    if host == "docker.io" { "registry-1.docker.io" } else { host }
}

/// A proxy for tunnels. It knows its own side and nothing else; with it end the tunnels through it.
struct Proxy {
    url: String,
    accepting: JoinHandle<()>,
}

impl Proxy {
    fn start(routes: HashMap<String, String>) -> Self {
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Arc::new(routes);
        let accepting = runtime().spawn(async move {
            let mut tunnels = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                tunnels.spawn(lead(client, Arc::clone(&routes)));
                while tunnels.try_join_next().is_some() {}
            }
        });
        Self { url, accepting }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One tunnel (RFC 9110 §9.3.6).
async fn lead(mut client: TcpStream, routes: Arc<HashMap<String, String>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let wanted = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let Some(address) = routes.get(wanted) else {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    };
    let mut registry = TcpStream::connect(address).await?;
    registry.set_nodelay(true)?;
    client.set_nodelay(true)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut registry).await.map(|_| ())
}
