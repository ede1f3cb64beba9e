//! A real registry, a process for each test: Debian's docker-registry over a folder, or another project's.

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
use reqwest::{
    Identity, StatusCode, Url,
    header::{CONTENT_TYPE, LOCATION},
};
use serde_json::json;

use super::{
    Missing,
    authority::{self, Pair, authority_pem},
    folder::folder,
    image::{Blob, Image},
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
    make: Make,
    access: Access,
}

/// Whose registry it is.
#[derive(Clone, Debug)]
pub enum Make {
    /// A pull-through cache of the registry at that address, of the distribution project's version 2, or of 3, the
    /// program given.
    Cache(String, Option<PathBuf>),
    /// That in `crane`, the program given: for anyone, over plain HTTP. Manifests are in its memory alone.
    Crane(PathBuf),
    /// The distribution project's, as Debian has it.
    Distribution2,
    /// The distribution project's next version, the program given.
    Distribution3(PathBuf),
}

/// Who may read and write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Access {
    /// Whoever shows a certificate of the tests' authority, as those in `client` do: over TLS.
    Certificate {
        /// A certificate and its key.
        client: Pair,
    },
    /// Anyone, over TLS, with a certificate for these names too.
    Named(Vec<String>),
    /// Anyone, over plain HTTP.
    Plain,
    /// Whoever has [`USER`]'s password, over TLS.
    Login,
    /// Whoever brings a token from that token server, over TLS if the token server is.
    Token {
        /// The token server's address.
        realm: String,
        /// The certificate whose key signs tokens.
        certificate: PathBuf,
        /// That key as a JWK set, where tokens call it by a name that a certificate does not have.
        keys: Option<PathBuf>,
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
        Self::start_make(Make::Distribution2, address, access)
    }

    /// The same of that make.
    pub fn start_make(make: Make, address: &str, access: Access) -> Result<Self, Missing> {
        let folder = folder("registry");
        let host = address;
        let in_url = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let address = format!("{in_url}:{}", free_port(host));
        let mut http = json!({"addr": address, "secret": "of the tests"});
        let mut configuration = json!({
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": false}},
            "storage": {"filesystem": {"rootdirectory": folder.join("data")}, "delete": {"enabled": true}},
            // Without it version 2 takes no image for Windows whose layers live elsewhere.
            "validation": {"manifests": {"urls": {"allow": ["^https://mcr\\.microsoft\\.com/"]}}},
        });
        if matches!(access, Access::Named(_)) {
            // Never started again, and often filled with much: nothing waits for a disk.
            configuration["storage"] = json!({"inmemory": {}});
        }
        if access.has_tls() {
            let mut names = vec![host];
            if let Access::Named(more) = &access {
                names.extend(more.iter().map(String::as_str));
            }
            let pair = authority::issue_for(&folder, 1, &names);
            http["tls"] = json!({"certificate": pair.certificate, "key": pair.key});
        }
        if let Make::Cache(of, _) = &make {
            configuration["proxy"] = json!({"remoteurl": format!("http://{of}")});
        }
        match &access {
            Access::Named(_) | Access::Plain => {}
            Access::Certificate { .. } => {
                let authorities = folder.join("clients.crt");
                fs::write(&authorities, authority_pem()).unwrap();
                http["tls"]["clientcas"] = json!([authorities]);
            }
            Access::Login => {
                let users = folder.join("htpasswd");
                fs::write(&users, users_line(PASSWORD_HASH)).unwrap();
                configuration["auth"] = json!({"htpasswd": {"realm": "tests", "path": users}});
            }
            Access::Token { realm, certificate, keys } => {
                configuration["auth"] = json!({"token": {
                    "realm": realm, "service": TOKEN_SERVICE, "issuer": TOKEN_ISSUER, "rootcertbundle": certificate,
                }});
                if let Some(keys) = keys {
                    configuration["auth"]["token"]["jwks"] = json!(keys);
                }
            }
        }
        configuration["http"] = http;
        // JSON is YAML.
        fs::write(folder.join("config.yml"), configuration.to_string()).unwrap();
        let process = launch(&make, &folder, &address)?;
        let mut registry = Self { process, folder, address, make, access };
        registry.wait();
        Ok(registry)
    }

    /// How references and tables name it: host and port.
    pub fn host(&self) -> String {
        self.address.clone()
    }

    /// Whether only [`USER`] may read.
    pub fn has_login(&self) -> bool {
        matches!(self.access, Access::Login | Access::Token { .. })
    }

    /// The authority behind its certificate, if it has one.
    pub fn authority(&self) -> Option<String> {
        self.access.has_tls().then(authority_pem)
    }

    /// Its row in the table's `registries`, with `more` fields such as `pullSecret: harbor-pull`.
    pub fn entry(&self, more: &[&str]) -> String {
        // In quotes: an address of IPv6 begins as a YAML list does.
        let mut entry = format!("- host: '{}'\n", self.host());
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
        if matches!(self.make, Make::Crane(_)) || matches!(self.access, Access::Certificate { .. }) {
            runtime().block_on(self.put_image(repository, tag, image));
            return image.index.digest.clone();
        }
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

    /// The same where the client of the tests does not do: it insists on a `Location` in every answer, and has no
    /// certificate to show.
    async fn put_image(&self, repository: &str, tag: &str, image: &Image) {
        let mut builder = reqwest::Client::builder().no_proxy();
        let mut scheme = "http";
        if let Access::Certificate { client } = &self.access {
            let both = [&client.certificate, &client.key].map(|path| fs::read(path).unwrap()).concat();
            let authority = reqwest::Certificate::from_pem(authority_pem().as_bytes()).unwrap();
            builder = builder.identity(Identity::from_pem(&both).unwrap()).tls_certs_only([authority]);
            scheme = "https";
        }
        let client = builder.build().unwrap();
        let place = Url::parse(&format!("{scheme}://{}/v2/{repository}/", self.host())).unwrap();
        let put = async |url: Url, blob: &Blob| {
            let request = client.put(url).header(CONTENT_TYPE, blob.media);
            let answer = request.body(blob.bytes.clone()).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::CREATED, "{answer:?}");
        };
        for blob in &image.blobs {
            let answer = client.post(place.join("blobs/uploads/").unwrap()).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::ACCEPTED, "{answer:?}");
            let mut url = place.join(answer.headers()[LOCATION].to_str().unwrap()).unwrap();
            url.query_pairs_mut().append_pair("digest", &blob.digest);
            put(url, blob).await;
        }
        for manifest in &image.manifests {
            put(place.join(&format!("manifests/{}", manifest.digest)).unwrap(), manifest).await;
        }
        put(place.join(&format!("manifests/{tag}")).unwrap(), &image.index).await;
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

    /// Waits until clients that have ended are done with, so that its log has all that they asked for: the line of a
    /// blob is written after its last byte was sent, and that of a killed client whenever its end is noticed. Of
    /// clients that go on, connections stay open: there this is never so.
    pub fn until_idle(&self) {
        let port = format!(":{:04X}", self.address.rsplit_once(':').unwrap().1.parse::<u16>().unwrap());
        eventually(START_LIMIT, || {
            let tables = ["/proc/net/tcp", "/proc/net/tcp6"]
                .map(|table| fs::read_to_string(table).unwrap_or_default());
            // Its ends of connections that are established, or whose other end has gone (proc_net_tcp(5)).
            let is_open = |line: &&str| {
                let words: Vec<_> = line.split_whitespace().collect();
                words.get(1).is_some_and(|local| local.ends_with(&port))
                    && words.get(3).is_some_and(|state| ["01", "08"].contains(state))
            };
            match tables.iter().flat_map(|table| table.lines()).filter(is_open).count() {
                0 => Ok(()),
                open => Err(format!("{open} connections are open")),
            }
        });
    }

    /// Ends it at once; its content stays.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again at the same address with the same content.
    pub fn restart(&mut self) {
        self.process = launch(&self.make, &self.folder, &self.address).unwrap();
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
        self.docker_config_with(PASSWORD)
    }

    /// The same with that password.
    pub fn docker_config_with(&self, password: &str) -> String {
        let auth = STANDARD.encode(format!("{USER}:{password}"));
        json!({"auths": {self.host(): {"auth": auth}}}).to_string()
    }

    /// From now on [`USER`]'s password is [`OTHER_PASSWORD`], and [`PASSWORD`] is nobody's: the registry reads its
    /// users again when their file has changed.
    pub fn change_password(&self) {
        fs::write(self.folder.join("htpasswd"), users_line(OTHER_PASSWORD_HASH)).unwrap();
    }

    fn wait(&mut self) {
        let address = self.host();
        let process = &mut self.process;
        eventually(START_LIMIT, || {
            if let Some(status) = process.ended() {
                panic!("the registry ended with {status}: {}", process.output());
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
            Access::Certificate { .. } | Access::Named(_) | Access::Plain => RegistryAuth::Anonymous,
            Access::Login | Access::Token { .. } => RegistryAuth::Basic(USER.to_owned(), PASSWORD.to_owned()),
        }
    }
}

impl Access {
    /// Whether it is over TLS.
    fn has_tls(&self) -> bool {
        match self {
            Self::Plain => false,
            Self::Certificate { .. } | Self::Login | Self::Named(_) => true,
            Self::Token { realm, .. } => realm.starts_with("https:"),
        }
    }
}

fn launch(make: &Make, folder: &Path, address: &str) -> Result<Process, Missing> {
    let program = match make {
        Make::Crane(program) | Make::Distribution3(program) | Make::Cache(_, Some(program)) => {
            program.clone()
        }
        Make::Distribution2 | Make::Cache(_, None) => installed("docker-registry", "docker-registry")?,
    };
    Process::start(
        &program,
        |command| match make {
            Make::Crane(_) => {
                let data = folder.join("data");
                fs::create_dir_all(&data).unwrap();
                command.args(["registry", "serve", "--address", address, "--disk"]).arg(data);
            }
            Make::Cache(..) | Make::Distribution2 | Make::Distribution3(_) => {
                // Else version 3 looks for somebody on this machine to send traces to.
                command.arg("serve").arg(folder.join("config.yml")).env("OTEL_TRACES_EXPORTER", "none");
            }
        },
        folder.join("log"),
    )
}

/// The one line of a file of users.
pub fn users_line(hash: &str) -> String {
    format!("{USER}:{hash}\n")
}

/// Whom tokens are for.
pub const TOKEN_SERVICE: &str = "portolan-tests";

/// Who signs them.
pub const TOKEN_ISSUER: &str = "portolan-tests";

/// `htpasswd -Bbn -C 5` of [`PASSWORD`].
pub const PASSWORD_HASH: &str = "$2y$05$ISYmuwpc.atUNbUEDrxI8evGmjHkYGDRhGh.VBKOv.heszh/uKrPG";

/// What it may be changed to.
pub const OTHER_PASSWORD: &str = "canary-2b81f9";

/// The same of [`OTHER_PASSWORD`].
const OTHER_PASSWORD_HASH: &str = "$2a$05$G3oBUoXwEjT1dtPm7wTSceUgm6U.CUZD9ynxAMAZXMlyzEQnz1SbG";

/// How many tags are pushed at once.
const AT_ONCE: usize = 16;

const START_LIMIT: Duration = Duration::from_secs(60);
