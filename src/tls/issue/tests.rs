use std::os::unix::fs::PermissionsExt;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer, X509Certificate},
};

use super::*;
use crate::tls::PairFiles;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

fn names() -> Vec<String> {
    ["portolan.portolan.svc", "portolan.portolan.svc.cluster.local", "10.0.0.7", "::1"]
        .map(str::to_owned)
        .to_vec()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn a_leaf_is_a_servers_for_90_days_and_no_authority() {
    let authority = Authority::new(now()).unwrap();
    let issued = authority.issue(&names(), now()).unwrap();
    let (root, leaf) = (der(&authority.certificate()), der(issued.certificate()));
    let (_, root) = X509Certificate::from_der(&root).unwrap();
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();

    assert!(root.is_ca() && !leaf.is_ca());
    assert_eq!(root.basic_constraints().unwrap().unwrap().value.path_len_constraint, Some(0));
    assert_eq!(root.key_usage().unwrap().unwrap().value.to_string(), "Key Cert Sign, CRL Sign");
    assert_eq!(leaf.key_usage().unwrap().unwrap().value.to_string(), "Digital Signature");
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth && !usage.any);

    let from = 2_000_000_000 - 3600;
    assert_eq!(
        (root.validity().not_before.timestamp(), leaf.validity().not_before.timestamp()),
        (from, from)
    );
    assert_eq!(leaf.validity().not_after.timestamp(), 2_000_000_000 + 90 * 24 * 3600);
    assert_eq!(root.validity().not_after.timestamp(), 2_000_000_000 + 730 * 24 * 3600);

    let named = leaf.subject_alternative_name().unwrap().unwrap().value;
    let named: Vec<_> = named
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(bytes) => format!("{} bytes", bytes.len()),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(
        named,
        ["portolan.portolan.svc", "portolan.portolan.svc.cluster.local", "4 bytes", "16 bytes"]
    );

    let key_identifier = |certificate: &X509Certificate<'_>, authority: bool| {
        certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(key) if authority => {
                key.key_identifier.as_ref().map(|key| key.0.to_vec())
            }
            ParsedExtension::SubjectKeyIdentifier(key) if !authority => Some(key.0.to_vec()),
            _ => None,
        })
    };
    assert!(key_identifier(&leaf, true).is_some());
    assert_eq!(key_identifier(&leaf, true), key_identifier(&root, false));
    assert_eq!(leaf.issuer(), root.subject());
    assert!(leaf.subject().iter_common_name().next().is_some(), "OpenSSL refuses an empty subject");
}

#[test]
fn a_certificate_has_at_least_one_name_that_is_one() {
    let authority = Authority::new(now()).unwrap();
    let error = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        authority.issue(&names, now()).unwrap_err().to_string()
    };
    assert_eq!(error(&[]), "a certificate needs at least one name");
    assert_eq!(error(&["fine", "nöt"]), "`nöt` is no DNS name and no address");
    assert_eq!(
        Authority::local_names(&["localhost".into(), "webhook".into()]),
        ["localhost", "127.0.0.1", "::1", "webhook"]
    );
}

#[test]
fn a_key_is_written_for_its_owner_alone_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("certs");
    let authority = Authority::new(now()).unwrap();
    authority.issue(&names(), now()).unwrap().write_files(&directory).unwrap();
    let mode = fs::metadata(directory.join("tls.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let serial = PairFiles::in_directory(&directory).read().unwrap().serial().to_owned();
    assert_eq!(fs::read_to_string(directory.join("ca.crt")).unwrap(), authority.certificate());

    let error = authority.issue(&names(), now()).unwrap().write_files(&directory).unwrap_err();
    assert_eq!(error.to_string(), format!("there is a key already: `{}/tls.key`", directory.display()));
    assert_eq!(PairFiles::in_directory(&directory).read().unwrap().serial(), serial);
}

#[test]
fn a_key_whose_certificate_could_not_be_written_does_not_stay() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tls.crt")).unwrap();
    let issued = Authority::new(now()).unwrap().issue(&names(), now()).unwrap();
    let error = issued.write_files(folder.path()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write `{}/tls.crt`", folder.path().display()));
    assert!(!folder.path().join("tls.key").exists());
}

#[test]
fn a_secret_holds_the_same_three_files() {
    let issued = Authority::new(now()).unwrap().issue(&names(), now()).unwrap();
    let text = issued.secret("portolan", "portolan-tls");
    let (head, data) = text.split_once("\ndata:\n").unwrap();
    assert_eq!(
        head,
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: portolan-tls\n  namespace: portolan\ntype: kubernetes.io/tls"
    );
    let data: Vec<(&str, String)> = data
        .lines()
        .map(|line| {
            let (key, value) = line.trim_start().split_once(": ").unwrap();
            (key, String::from_utf8(STANDARD.decode(value).unwrap()).unwrap())
        })
        .collect();
    assert_eq!(
        data,
        [
            ("ca.crt", issued.authority().to_owned()),
            ("tls.crt", issued.certificate().to_owned()),
            ("tls.key", issued.key().to_owned())
        ]
    );
}
