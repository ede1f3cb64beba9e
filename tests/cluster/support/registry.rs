//! A real registry, a process for each test: Debian's docker-registry over a folder.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{StreamExt as _, stream};
use oci_client::{
    Client, Reference, RegistryOperation,
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol},
    secrets::RegistryAuth,
};
use serde_json::json;

use super::{
    Missing,
    authority::{self, authority_pem},
    folder::folder,
    image::Image,
    process::{Process, free_port, installed},
    runtime::runtime,
    waiting::eventually,
};

/// A running registry that only its test uses.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    folder: PathBuf,
    address: String,
    access: Access,
}

/// Who may read and write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Access {
    /// Anyone, over plain HTTP.
    Plain,
    /// Whoever has [`USER`]'s password, over TLS.
    Login,
    /// Whoever brings a token from that token server, over plain HTTP.
    Token {
        /// The token server's address.
        realm: String,
        /// The certificate whose key signs tokens.
        certificate: PathBuf,
    },
}

/// The one user of a registry with a login.
pub const USER: &str = "puller";

/// Its password. It must appear nowhere: not in a log, not in an audit line, not in a metric.
pub const PASSWORD: &str = "canary-7f3d2c";

impl Registry {
    /// A registry for anyone, over plain HTTP.
    pub fn plain() -> Result<Self, Missing> {
        Self::start(Access::Plain)
    }

    /// Starts one and waits until it answers.
    pub fn start(access: Access) -> Result<Self, Missing> {
        Self::start_at("127.0.0.1", access)
    }

    /// The same at another address of this machine's than loopback's.
    pub fn start_at(address: &str, access: Access) -> Result<Self, Missing> {
        let folder = folder("registry");
        let host = address;
        let address = format!("{host}:{}", free_port(host));
        let mut http = json!({"addr": address, "secret": "of the tests"});
        let mut configuration = json!({
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": false}},
            "storage": {"filesystem": {"rootdirectory": folder.join("data")}, "delete": {"enabled": true}},
        });
        match &access {
            Access::Plain => {}
            Access::Login => {
                let pair = authority::issue_for(&folder, 1, &[host]);
                http["tls"] = json!({"certificate": pair.certificate, "key": pair.key});
                let users = folder.join("htpasswd");
                fs::write(&users, format!("{USER}:{PASSWORD_HASH}\n")).unwrap();
                configuration["auth"] = json!({"htpasswd": {"realm": "tests", "path": users}});
            }
            Access::Token { realm, certificate } => {
                configuration["auth"] = json!({"token": {
                    "realm": realm, "service": TOKEN_SERVICE, "issuer": TOKEN_ISSUER, "rootcertbundle": certificate,
                }});
            }
        }
        configuration["http"] = http;
        // JSON is YAML.
        fs::write(folder.join("config.yml"), configuration.to_string()).unwrap();
        let process = launch(&folder)?;
        let mut registry = Self { process, folder, address, access };
        registry.wait();
        Ok(registry)
    }

    /// How references and tables name it: host and port.
    pub fn host(&self) -> String {
        self.address.clone()
    }

    /// Whether only [`USER`] may read.
    pub fn has_login(&self) -> bool {
        self.access != Access::Plain
    }

    /// The authority behind its certificate, if it has one.
    pub fn authority(&self) -> Option<String> {
        (self.access == Access::Login).then(authority_pem)
    }

    /// Its row in the table's `registries`, with `more` fields such as `pullSecret: harbor-pull`.
    pub fn entry(&self, more: &[&str]) -> String {
        let mut entry = format!("- host: {}\n", self.host());
        if let Some(authority) = self.authority() {
            entry.push_str("  ca: |\n");
            for line in authority.lines() {
                writeln!(entry, "    {line}").unwrap();
            }
        } else {
            entry.push_str("  plainHttp: true\n");
        }
        for field in more {
            writeln!(entry, "  {field}").unwrap();
        }
        entry
    }

    /// Pushes a stand-in image; the digest of its index.
    pub fn push(&self, repository: &str, tag: &str) -> String {
        self.push_image(repository, tag, &Image::of(&format!("{repository}:{tag}")))
    }

    /// Pushes another image under the same name: the tag moves.
    pub fn push_other(&self, repository: &str, tag: &str) -> String {
        self.push_image(repository, tag, &Image::of(&format!("another {repository}:{tag}")))
    }

    /// Pushes that image under that name.
    pub fn push_image(&self, repository: &str, tag: &str, image: &Image) -> String {
        runtime().block_on(async {
            let client = self.client();
            let place = |tag: &str| Reference::with_tag(self.host(), repository.to_owned(), tag.to_owned());
            let reference = place(tag);
            client.auth(&reference, &self.auth(), RegistryOperation::Push).await.unwrap();
            for blob in &image.blobs {
                client.push_blob(&reference, blob.bytes.clone(), &blob.digest).await.unwrap();
            }
            for manifest in &image.manifests {
                let place =
                    Reference::with_digest(self.host(), repository.to_owned(), manifest.digest.clone());
                let media = manifest.media.parse().unwrap();
                client.push_manifest_raw(&place, manifest.bytes.clone(), media).await.unwrap();
            }
            let media = image.index.media.parse().unwrap();
            client.push_manifest_raw(&reference, image.index.bytes.clone(), media).await.unwrap();
        });
        image.index.digest.clone()
    }

    /// Pushes a stand-in image under all of these tags; its digest.
    pub fn push_tags(&self, repository: &str, tags: &[String]) -> String {
        let image = Image::of(repository);
        let (first, others) = tags.split_first().unwrap();
        let digest = self.push_image(repository, first, &image);
        let client = self.client();
        runtime().block_on(stream::iter(others).for_each_concurrent(AT_ONCE, async |tag| {
            let place = Reference::with_tag(self.host(), repository.to_owned(), tag.clone());
            let media = image.index.media.parse().unwrap();
            client.push_manifest_raw(&place, image.index.bytes.clone(), media).await.unwrap();
        }));
        digest
    }

    /// What the registry itself reports as that tag's digest.
    pub fn digest(&self, repository: &str, tag: &str) -> String {
        let reference = Reference::with_tag(self.host(), repository.to_owned(), tag.to_owned());
        runtime().block_on(self.client().fetch_manifest_digest(&reference, &self.auth())).unwrap()
    }

    /// How often its access log has a request with that method whose path ends so; an empty text fits all.
    pub fn requests(&self, methods: &[&str], part: &str) -> usize {
        let output = self.process.output();
        output
            .lines()
            .filter_map(|line| {
                let mut words = line.split_once('"')?.1.split_once('"')?.0.split(' ');
                Some((words.next()?, words.next()?))
            })
            .filter(|(method, path)| methods.contains(method) && path.contains(part))
            .count()
    }

    /// The lines of its access log: each a request, with its User-Agent at the end.
    pub fn accesses(&self) -> Vec<String> {
        let output = self.process.output();
        output.lines().filter(|line| line.contains(" HTTP/1.1\"")).map(ToOwned::to_owned).collect()
    }

    /// Ends it at once; its content stays.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again at the same address with the same content.
    pub fn restart(&mut self) {
        self.process = launch(&self.folder).unwrap();
        self.wait();
    }

    /// Starts it again at the same address without any content.
    pub fn restart_empty(&mut self) {
        self.kill();
        fs::remove_dir_all(self.folder.join("data")).unwrap();
        self.restart();
    }

    /// From now on it accepts connections and never answers.
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// It answers again.
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// The folder with its content.
    pub fn content(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// All that it logged.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// The `.dockerconfigjson` with its login.
    pub fn docker_config(&self) -> String {
        let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
        json!({"auths": {self.host(): {"auth": auth}}}).to_string()
    }

    fn wait(&mut self) {
        let address = self.host();
        let process = &mut self.process;
        eventually(START_LIMIT, || {
            if let Some(status) = process.ended() {
                panic!("docker-registry ended with {status}: {}", process.output());
            }
            std::net::TcpStream::connect(&address)
        });
    }

    fn client(&self) -> Client {
        let mut config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
        if let Some(authority) = self.authority() {
            config.protocol = ClientProtocol::Https;
            config.tls_certs_only =
                vec![Certificate { encoding: CertificateEncoding::Pem, data: authority.into_bytes() }];
        }
        Client::new(config)
    }

    fn auth(&self) -> RegistryAuth {
        match self.access {
            Access::Plain => RegistryAuth::Anonymous,
            Access::Login | Access::Token { .. } => RegistryAuth::Basic(USER.to_owned(), PASSWORD.to_owned()),
        }
    }
}

fn launch(folder: &Path) -> Result<Process, Missing> {
    let program = installed("docker-registry", "docker-registry")?;
    Process::start(
        &program,
        |command| {
            command.arg("serve").arg(folder.join("config.yml"));
        },
        folder.join("log"),
    )
}

/// Whom tokens are for.
pub const TOKEN_SERVICE: &str = "portolan-tests";

/// Who signs them.
pub const TOKEN_ISSUER: &str = "portolan-tests";

/// `htpasswd -Bbn -C 5` of [`PASSWORD`].
const PASSWORD_HASH: &str = "$2y$05$ISYmuwpc.atUNbUEDrxI8evGmjHkYGDRhGh.VBKOv.heszh/uKrPG";

/// How many tags are pushed at once.
const AT_ONCE: usize = 16;

const START_LIMIT: Duration = Duration::from_secs(20);
