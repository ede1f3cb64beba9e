use super::*;
use crate::tls::Authority;

/// The parts of a DER sequence: tags and contents, one level deep.
fn parts(der: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut parts = Vec::new();
    let mut rest = der;
    while let [tag, length, after @ ..] = rest {
        let (length, after) = match length {
            0..0x80 => (usize::from(*length), after),
            long => {
                let (length, after) = after.split_at(usize::from(long & 0x7f));
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), after)
            }
        };
        let (content, after) = after.split_at(length);
        parts.push((*tag, content.to_vec()));
        rest = after;
    }
    parts
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// What PKCS#8 wraps: the key in the form that its algorithm had before.
fn inner(key: &rcgen::KeyPair) -> Vec<u8> {
    let outer = parts(key.serialized_der());
    let fields = parts(&outer[0].1);
    assert_eq!(fields[2].0, 0x04, "an OCTET STRING");
    fields[2].1.clone()
}

fn self_signed(key: &rcgen::KeyPair) -> String {
    rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(key).unwrap().pem()
}

fn error(certificate: &str, key: &str) -> String {
    Pair::parse(certificate.as_bytes(), key.as_bytes()).unwrap_err().to_string()
}

#[test]
fn keys_are_read_as_pkcs8_pkcs1_and_sec1() {
    let p256 = rcgen::KeyPair::generate().unwrap();
    let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();

    // As `openssl ecparam -genkey` writes it: the curve in a block of its own, and again inside.
    let fields = parts(&parts(&inner(&p256))[0].1);
    let curve = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let mut sec1 = vec![0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
    sec1.extend(&fields[1].1);
    sec1.extend([0xa0, 0x0a]);
    sec1.extend(curve);
    sec1.extend([0xa1, 0x44, 0x03, 0x42, 0x00]);
    sec1.extend(p256.public_key_raw());
    let sec1 = pem("EC PARAMETERS", &curve) + &pem("EC PRIVATE KEY", &sec1);

    for (kind, certificate, key) in [
        ("PKCS#8, P-256", self_signed(&p256), p256.serialize_pem()),
        ("PKCS#8, RSA", self_signed(&rsa), rsa.serialize_pem()),
        ("PKCS#1", self_signed(&rsa), pem("RSA PRIVATE KEY", &inner(&rsa))),
        ("SEC1", self_signed(&p256), sec1),
        ("SEC1 without the curve", self_signed(&p256), pem("EC PRIVATE KEY", &inner(&p256))),
    ] {
        Pair::parse(certificate.as_bytes(), key.as_bytes())
            .unwrap_or_else(|error| panic!("{kind}: {error:?}"));
    }
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let (one, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    assert_eq!(
        error(&self_signed(&one), &other.serialize_pem()),
        "the private key does not belong to the certificate"
    );
    let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    assert_eq!(
        error(&self_signed(&one), &rsa.serialize_pem()),
        "the private key does not belong to the certificate"
    );
}

#[test]
fn what_is_missing_or_damaged_is_said() {
    let key = rcgen::KeyPair::generate().unwrap();
    let (certificate, key) = (self_signed(&key), key.serialize_pem());
    for (certificate, key, expected) in [
        ("", &*key, "there is no certificate (`BEGIN CERTIFICATE`)"),
        (&*key, &*key, "there is no certificate (`BEGIN CERTIFICATE`)"),
        (&*certificate, "", "there is no private key without a password (PKCS#8, PKCS#1 or SEC1)"),
        (
            &*certificate,
            &*pem("ENCRYPTED PRIVATE KEY", b"secret"),
            "there is no private key without a password (PKCS#8, PKCS#1 or SEC1)",
        ),
        (&*certificate, &*pem("PRIVATE KEY", b"nonsense"), "the private key cannot be used"),
        (&*pem("CERTIFICATE", b"nonsense"), &*key, "the certificate is no X.509"),
        ("-----BEGIN CERTIFICATE-----\n#\n-----END CERTIFICATE-----\n", &*key, "the certificate is no PEM"),
        (
            &*certificate,
            "-----BEGIN PRIVATE KEY-----\n#\n-----END PRIVATE KEY-----\n",
            "the private key is no PEM",
        ),
        (certificate.split_at(300).0, &*key, "the certificate is no PEM"),
    ] {
        assert_eq!(error(certificate, key), expected);
    }
}

#[test]
fn the_files_are_named_when_they_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let files = PairFiles::in_directory(folder.path());
    let error = files.read().unwrap_err().to_string();
    assert_eq!(error, format!("cannot read `{}/tls.crt`", folder.path().display()));
    std::fs::write(folder.path().join("tls.crt"), "").unwrap();
    std::fs::write(folder.path().join("tls.key"), "").unwrap();
    let error = files.read().unwrap_err().to_string();
    assert_eq!(error, format!("cannot use `{0}/tls.crt` and `{0}/tls.key`", folder.path().display()));
}

#[test]
fn debug_shows_the_serial_and_no_key() {
    let names = ["localhost".to_owned()];
    let issued = Authority::new(SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000))
        .unwrap()
        .issue(&names, SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000))
        .unwrap();
    let pair = Pair::parse(issued.certificate().as_bytes(), issued.key().as_bytes()).unwrap();
    let text = format!("{pair:?}");
    assert!(text.contains(pair.serial()) && text.contains("<redacted>"), "{text}");
    let body = issued.key().lines().nth(1).unwrap();
    assert!(!format!("{issued:?}").contains(body));
    assert_eq!(pair.ends(), SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000 + 90 * 24 * 3600));
}
