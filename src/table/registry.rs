//! How a registry is reached: the values of one entry under `registries`, checked as far as text can be.

use super::problem::Fault;

/// How to reach one registry.
#[derive(Debug)]
pub struct RegistryEntry {
    /// The registry, with its port if it has one.
    pub host: Box<str>,
    /// Whether it speaks HTTP without TLS.
    pub plain_http: bool,
    /// Certificates in PEM that are trusted for this registry, beside the system's: at least one.
    pub ca: Option<Box<str>>,
    /// The Secret with the login, in Portolan's namespace.
    pub credentials: Option<Box<str>>,
    /// The Secret with the client certificate, in Portolan's namespace.
    pub client_certificate: Option<Box<str>>,
    /// The Secret that is appended to the `imagePullSecrets` of Pods with an image in this registry.
    pub pull_secret: Option<Box<str>>,
    /// The line of the document that it begins on, from 1.
    pub line: usize,
}

/// Checks that a text holds certificates in PEM, at least one, and that each is whole.
///
/// What the certificates say is read where they are used; here it is enough that nothing was cut off.
pub(super) fn check_certificates(pem: &str) -> Result<(), Fault> {
    let remedy =
        || "put a whole PEM certificate here, from `-----BEGIN CERTIFICATE-----` to its end".to_owned();
    let refused = |why: &str| Err(Fault::new(format!("`ca` {why}"), remedy()));
    let mut certificates = 0;
    let mut block: Option<Vec<u8>> = None;
    for line in pem.lines().map(str::trim) {
        match (line, &mut block) {
            (BEGIN, Some(_)) => return refused("has a certificate that does not end"),
            (BEGIN, None) => block = Some(Vec::new()),
            (END, None) => return refused("has a certificate that does not begin"),
            (END, Some(body)) => {
                certificates += 1;
                if !decode(body).is_some_and(|bytes| is_one_sequence(&bytes)) {
                    return refused(&format!("has an unreadable certificate, the {certificates}. of them"));
                }
                block = None;
            }
            (_, Some(body)) => body.extend_from_slice(line.as_bytes()),
            // Between certificates PEM allows any text.
            (_, None) => {}
        }
    }
    match (block, certificates) {
        (Some(_), _) => refused("has a certificate that does not end"),
        (None, 0) => refused("has no certificate"),
        (None, _) => Ok(()),
    }
}

/// Checks the name of a Secret: a DNS subdomain (RFC 1123), as the API server has it.
pub(super) fn check_secret_name(name: &str) -> Result<(), Fault> {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        return Ok(());
    }
    Err(Fault::new(
        format!("{} cannot be a Secret's name", super::problem::quoted(name)),
        "write lower-case letters, digits, `-` and `.`",
    ))
}

/// Decodes standard Base64 with its padding.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = text.get(..text.len() - padding)?;
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            bits = bits << 6 | u32::from(value(*digit)?);
        }
        bits <<= 6 * (4 - group.len());
        let [_, triple @ ..] = bits.to_be_bytes();
        bytes.extend(triple.into_iter().take(group.len() - 1));
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Whether the bytes are one DER SEQUENCE, as every certificate is (X.690 §8.1): its length is that of the rest.
fn is_one_sequence(bytes: &[u8]) -> bool {
    match bytes {
        [0x30, length @ 0..=0x7f, rest @ ..] => rest.len() == usize::from(*length),
        [0x30, size @ 0x81..=0x84, rest @ ..] => {
            rest.split_at_checked(usize::from(size - 0x80)).is_some_and(|(length, content)| {
                length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)) == content.len()
            })
        }
        _ => false,
    }
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tables/ca.pem"));

    fn fault(pem: &str) -> Option<String> {
        check_certificates(pem).err().map(|fault| fault.message)
    }

    #[test]
    fn one_or_more_whole_certificates_are_a_ca_whatever_stands_between() {
        assert_eq!(fault(CERTIFICATE), None);
        assert_eq!(fault(&format!("# ours\n{CERTIFICATE}\n# theirs\n{CERTIFICATE}")), None);
        assert_eq!(fault(&CERTIFICATE.replace('\n', "\r\n")), None);
    }

    #[test]
    fn a_ca_that_is_empty_cut_off_or_damaged_is_unreadable() {
        let body = CERTIFICATE.lines().nth(1).unwrap();
        for (pem, expected) in [
            (String::new(), "`ca` has no certificate"),
            ("harbor-ca".into(), "`ca` has no certificate"),
            ("-----BEGIN CERTIFICATE----- …".into(), "`ca` has no certificate"),
            (CERTIFICATE.replace(END, ""), "`ca` has a certificate that does not end"),
            (CERTIFICATE.replace(BEGIN, ""), "`ca` has a certificate that does not begin"),
            (CERTIFICATE.replace(END, BEGIN), "`ca` has a certificate that does not end"),
            (CERTIFICATE.replace(body, ""), "`ca` has an unreadable certificate, the 1. of them"),
            (CERTIFICATE.replace('M', "%"), "`ca` has an unreadable certificate, the 1. of them"),
            (
                format!("{CERTIFICATE}{BEGIN}\nAAAA\n{END}\n"),
                "`ca` has an unreadable certificate, the 2. of them",
            ),
            (format!("{BEGIN}\n{END}\n"), "`ca` has an unreadable certificate, the 1. of them"),
        ] {
            assert_eq!(fault(&pem).as_deref(), Some(expected), "{pem}");
        }
    }

    #[test]
    fn base64_is_decoded_with_its_padding() {
        for (text, expected) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYmFy", Some("foobar")),
            ("Zm9", None),
            ("Z===", None),
            ("====", None),
            ("Zm=v", None),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), expected.map(str::as_bytes), "{text}");
        }
    }

    #[test]
    fn a_sequence_has_the_length_that_it_says() {
        let sequence = |head: &[u8], length: usize| is_one_sequence(&[head, &vec![5; length]].concat());
        for (head, length) in [
            (&[0x30, 0][..], 0),
            (&[0x30, 2], 2),
            (&[0x30, 0x7f], 127),
            (&[0x30, 0x81, 0x80], 128),
            (&[0x30, 0x82, 1, 2], 258),
            (&[0x30, 0x84, 0, 0, 1, 2], 258),
        ] {
            assert!(sequence(head, length), "{head:?}");
            assert!(!sequence(head, length + 1) && !is_one_sequence(&head[..head.len() - 1]), "{head:?}");
        }
        for other in [&[][..], &[0x30], &[0x31, 0], &[0x30, 0x80], &[0x30, 0x85, 0, 0, 0, 0, 0]] {
            assert!(!is_one_sequence(other), "{other:?}");
        }
    }

    #[test]
    fn a_secrets_name_is_labels_joined_by_dots() {
        let long = "a.".repeat(126);
        for name in ["a", "harbor-pull", "0.a-1.b", &format!("{long}a")] {
            assert_eq!(check_secret_name(name), Ok(()), "{name}");
        }
        for name in
            ["", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "a-.b", "A", "a_b", &format!("{long}ab")]
        {
            assert!(check_secret_name(name).is_err(), "{name}");
        }
    }
}
