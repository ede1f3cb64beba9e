//! The distribution project's own token server, over TLS. Whoever logs in gets what begins with their name.

use std::{fs, net::TcpStream, path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, DnType, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use serde_json::{Value, json};

use super::{
    Missing,
    authority::{authority_pem, issue, sign},
    folder::folder,
    process::{Process, free_port},
    registries::built,
    registry::{Access, PASSWORD, PASSWORD_HASH, TOKEN_ISSUER, TOKEN_SERVICE, USER, users_line},
    runtime::runtime,
    waiting::eventually,
};

/// A running token server with one user.
pub struct DistributionTokens {
    process: Process,
    folder: PathBuf,
    realm: String,
}

impl DistributionTokens {
    /// Starts it and writes down the key that it made for itself, as registries want to be told of it.
    pub fn start() -> Result<Self, Missing> {
        let folder = folder("distribution-tokens");
        let address = format!("127.0.0.1:{}", free_port("127.0.0.1"));
        let pair = issue(&folder, 1);
        let users = folder.join("htpasswd");
        fs::write(&users, users_line(PASSWORD_HASH)).unwrap();
        let process = Process::start(
            &built("token-server")?,
            |command| {
                command
                    .args(["-addr", &address, "-issuer", TOKEN_ISSUER, "-realm", "tests"])
                    .arg("-passwd")
                    .arg(users)
                    .arg("-tlscert")
                    .arg(pair.certificate)
                    .arg("-tlskey")
                    .arg(pair.key);
            },
            folder.join("log"),
        )?;
        let server = Self { process, folder, realm: format!("https://{address}/token/") };
        eventually(START_LIMIT, || TcpStream::connect(&address));
        server.write_key();
        Ok(server)
    }

    /// How a registry is told to want its tokens.
    pub fn access(&self) -> Access {
        Access::Token {
            realm: self.realm.clone(),
            certificate: self.folder.join("signer.pem"),
            keys: Some(self.folder.join("keys.json")),
        }
    }

    /// A token that stands for the login, to be exchanged for others (OAuth 2's refresh token).
    pub fn identity_token(&self) -> String {
        self.ask("&offline_token=true")["refresh_token"].as_str().unwrap().to_owned()
    }

    /// How many tokens were given for a login by name and password, and for an identity token.
    pub fn given(&self) -> (usize, usize) {
        let output = self.process.output();
        let count = |what: &str| output.lines().filter(|line| line.contains(what)).count();
        (count("get token complete"), count("post token complete"))
    }

    /// A token names the key that it is signed with: by a certificate for version 2 of the registry, and by itself
    /// for version 3, as the name is one that only version 2 makes of a certificate's key.
    fn write_key(&self) {
        let answer = self.ask("");
        let token = answer["access_token"].as_str().unwrap();
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        let key = serde_json::from_slice::<Value>(&header).unwrap()["jwk"].clone();
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, "token signer");
        fs::write(self.folder.join("signer.pem"), sign(&parameters, &Key::of(&key))).unwrap();
        fs::write(self.folder.join("keys.json"), json!({"keys": [key]}).to_string()).unwrap();
    }

    fn ask(&self, more: &str) -> Value {
        runtime().block_on(async {
            let authority = reqwest::Certificate::from_pem(authority_pem().as_bytes()).unwrap();
            let client = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
            let url = format!("{}?service={TOKEN_SERVICE}{more}", self.realm);
            let answer = client.get(url).basic_auth(USER, Some(PASSWORD)).send().await.unwrap();
            assert!(answer.status().is_success(), "{answer:?}");
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
        })
    }
}

/// A public key on the curve P-256.
struct Key(Vec<u8>);

impl Key {
    /// Reads a JWK (RFC 7518 §6.2.1).
    fn of(key: &Value) -> Self {
        // SEC 1 §2.3.3: a point that is not compressed.
        let mut point = vec![4];
        for part in ["x", "y"] {
            point.extend(URL_SAFE_NO_PAD.decode(key[part].as_str().unwrap()).unwrap());
        }
        Self(point)
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

const START_LIMIT: Duration = Duration::from_secs(60);
