//! The certificate authority of a run, and what it signs.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, SerialNumber,
};

/// A certificate and its key in files, as servers read them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// The authority's own certificate, which clients trust.
pub fn authority_pem() -> String {
    AUTHORITY.pem()
}

/// A certificate for this machine's loopback with that serial, written to `tls.crt` and `tls.key` in `folder`.
pub fn issue(folder: &Path, serial: u64) -> Pair {
    issue_for(folder, serial, &[])
}

/// The same, also for these names and addresses.
pub fn issue_for(folder: &Path, serial: u64, more: &[&str]) -> Pair {
    let names: Vec<_> = ["localhost", "127.0.0.1"].iter().chain(more).copied().collect();
    issue_as(folder, serial, &names, |_| {})
}

/// A certificate for these names and addresses alone, after `change` had its way with it.
pub fn issue_as(
    folder: &Path,
    serial: u64,
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> Pair {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, "portolan cluster tests");
    parameters.serial_number = Some(SerialNumber::from(serial));
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut parameters);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.signed_by(&key, &AUTHORITY).unwrap();
    let pair = Pair { certificate: folder.join("tls.crt"), key: folder.join("tls.key") };
    fs::write(&pair.certificate, certificate.pem()).unwrap();
    fs::write(&pair.key, key.serialize_pem()).unwrap();
    pair
}

/// A certificate for somebody else's key, as PEM.
pub fn sign(parameters: &CertificateParams, key: &impl PublicKeyData) -> String {
    parameters.signed_by(key, &AUTHORITY).unwrap().pem()
}

static AUTHORITY: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "portolan cluster tests authority");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
});
