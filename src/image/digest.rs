//! Content digests: `algorithm:hex`, as in the OCI image specification.

use std::{fmt, str::FromStr, sync::Arc};

/// A content digest, such as `sha256:2c26b4…`.
///
/// A value of this type has a known algorithm and lower-case hex of that algorithm's length. Cloning it copies no
/// text.
///
/// ```
/// use portolan::image::Digest;
///
/// let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse()?;
/// assert_eq!(digest.hex().len(), 64);
/// # Ok::<(), portolan::image::ParseDigestError>(())
/// ```
#[derive(Clone, Debug, Eq, Ord, PartialOrd)]
pub struct Digest {
    text: Arc<str>,
}

/// A digest algorithm that the OCI image specification registers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// SHA-256: 64 hex digits.
    Sha256,
    /// SHA-384: 96 hex digits.
    Sha384,
    /// SHA-512: 128 hex digits.
    Sha512,
}

/// Why a text is no digest.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseDigestError {
    /// The part after the colon has the wrong length or a character that is no lower-case hex digit.
    #[error("a digest of `{algorithm}` has {expected} lower-case hex digits")]
    BadHex {
        /// The algorithm named.
        algorithm: &'static str,
        /// How many digits it has.
        expected: usize,
    },
    /// There is no colon.
    #[error("a digest names its algorithm, as in `sha256:…`")]
    NoAlgorithm,
    /// The algorithm is none of sha256, sha384, sha512.
    #[error("the digest's algorithm is none of sha256, sha384, sha512")]
    UnknownAlgorithm,
}

impl Digest {
    /// The whole text, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Which algorithm made it.
    pub fn algorithm(&self) -> Algorithm {
        self.text
            .split_once(':')
            .and_then(|(name, _)| Algorithm::from_name(name))
            .expect("a digest was checked when it was made")
    }

    /// The hex digits after the colon.
    pub fn hex(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The SHA-256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self::spelled(Algorithm::Sha256, &sha2::Sha256::digest(bytes))
    }

    fn spelled(algorithm: Algorithm, hash: &[u8]) -> Self {
        let mut text = String::with_capacity(algorithm.name().len() + 1 + algorithm.hex_digits());
        text.push_str(algorithm.name());
        text.push(':');
        for byte in hash {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is a hex digit"));
            }
        }
        Self { text: text.into() }
    }

    /// Whether this digest is that of `bytes`.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        use sha2::Digest as _;
        let hash: Box<[u8]> = match self.algorithm() {
            Algorithm::Sha256 => sha2::Sha256::digest(bytes).to_vec().into(),
            Algorithm::Sha384 => sha2::Sha384::digest(bytes).to_vec().into(),
            Algorithm::Sha512 => sha2::Sha512::digest(bytes).to_vec().into(),
        };
        let hex = self.hex().as_bytes();
        hex.len() == hash.len() * 2
            && hash.iter().zip(hex.chunks_exact(2)).all(|(byte, pair)| match pair {
                [high, low] => {
                    char::from(*high).to_digit(16) == Some(u32::from(byte >> 4))
                        && char::from(*low).to_digit(16) == Some(u32::from(byte & 15))
                }
                _ => false,
            })
    }

    /// Checks a text without keeping it.
    pub(crate) fn check(text: &str) -> Result<(), ParseDigestError> {
        let (name, hex) = text.split_once(':').ok_or(ParseDigestError::NoAlgorithm)?;
        let algorithm = Algorithm::from_name(name).ok_or(ParseDigestError::UnknownAlgorithm)?;
        let expected = algorithm.hex_digits();
        if hex.len() == expected && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(())
        } else {
            Err(ParseDigestError::BadHex { algorithm: algorithm.name(), expected })
        }
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        // A clone, as of what a registry said before, is known without reading it.
        Arc::ptr_eq(&self.text, &other.text) || self.text == other.text
    }
}

impl std::hash::Hash for Digest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// A digest in the making: bytes go in piece by piece.
///
/// ```
/// use portolan::image::{Algorithm, Digest, Hasher};
///
/// let mut hasher = Hasher::new(Algorithm::Sha256);
/// hasher.update(b"some ");
/// hasher.update(b"bytes");
/// assert_eq!(hasher.finish(), Digest::of(b"some bytes"));
/// ```
#[derive(Clone, Debug)]
pub struct Hasher(State);

#[derive(Clone, Debug)]
enum State {
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Begins a digest.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::default()),
            Algorithm::Sha384 => State::Sha384(sha2::Sha384::default()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::default()),
        })
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        use sha2::Digest as _;
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha384(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of all that went in.
    pub fn finish(self) -> Digest {
        use sha2::Digest as _;
        match self.0 {
            State::Sha256(state) => Digest::spelled(Algorithm::Sha256, &state.finalize()),
            State::Sha384(state) => Digest::spelled(Algorithm::Sha384, &state.finalize()),
            State::Sha512(state) => Digest::spelled(Algorithm::Sha512, &state.finalize()),
        }
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::check(text)?;
        Ok(Self { text: text.into() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Algorithm {
    /// The name before the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha384, Self::Sha512].into_iter().find(|algorithm| algorithm.name() == name)
    }

    fn hex_digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_a_known_algorithm_and_hex_of_its_length() {
        for (text, expected) in [
            (format!("sha256:{}", "0".repeat(64)), None),
            (format!("sha384:{}", "f".repeat(96)), None),
            (format!("sha512:{}", "9".repeat(128)), None),
            (String::new(), Some(ParseDigestError::NoAlgorithm)),
            ("sha256".into(), Some(ParseDigestError::NoAlgorithm)),
            ("md5:d41d8cd98f00b204e9800998ecf8427e".into(), Some(ParseDigestError::UnknownAlgorithm)),
            ("sha256:".into(), Some(ParseDigestError::BadHex { algorithm: "sha256", expected: 64 })),
            (
                format!("sha256:{}", "F".repeat(64)),
                Some(ParseDigestError::BadHex { algorithm: "sha256", expected: 64 }),
            ),
            (
                format!("sha512:{}", "0".repeat(64)),
                Some(ParseDigestError::BadHex { algorithm: "sha512", expected: 128 }),
            ),
        ] {
            assert_eq!(text.parse::<Digest>().err(), expected, "{text}");
        }
    }

    #[test]
    fn a_digest_matches_the_bytes_that_it_was_made_of_and_no_others() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
        assert!(Digest::of(b"a").matches(b"a"));
        assert!(!Digest::of(b"a").matches(b"b"));
        let sha384: Digest = concat!(
            "sha384:38b060a751ac96384cd9327eb1b1e36a21fdb71114be0743",
            "4c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b"
        )
        .parse()
        .unwrap();
        assert!(sha384.matches(b""));
        assert_eq!(Hasher::new(Algorithm::Sha384).finish(), sha384);
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"a");
        assert!(hasher.finish().matches(b"a"));
        assert!(!sha384.matches(b"x"));
    }

    #[test]
    fn a_digest_that_differs_in_one_digit_matches_nothing() {
        let sound = Digest::of(b"a").as_str().to_owned();
        for at in "sha256:".len()..sound.len() {
            let mut text = sound.clone().into_bytes();
            text[at] = if text[at] == b'0' { b'1' } else { b'0' };
            let text = String::from_utf8(text).unwrap();
            assert!(!text.parse::<Digest>().unwrap().matches(b"a"), "{text}");
        }
    }
}
