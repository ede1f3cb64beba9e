//! What goes wrong with a registry.

use std::time::Duration;

/// One fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It is well.
    None,
    BlackHole,
    ByteByByte,
    CertificateExpired,
    CertificateOfAnother,
    DigestIsNone,
    DigestWrong,
    Endless,
    EverySecond,
    GzipBomb,
    HtmlPage,
    Latency(Duration),
    LengthWrong,
    Limited(Option<u64>),
    MalformedChallenge,
    NameUnknown,
    RedirectElsewhere,
    RedirectLoop,
    Refused,
    Reset,
    Schema1,
    Status(u16),
    TokenServerDown,
    TokenServerSlow,
    Truncated,
}

/// What becomes of images that were known before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Known {
    /// They are pinned to what the registry has.
    Pinned,
    /// They are pinned until the registry says 404, and then treated as missing.
    Gone,
}

impl Fault {
    /// All of them, in the order of the table.
    pub const ALL: [(&'static str, Self); 30] = [
        ("connections refused", Self::Refused),
        ("connections reset", Self::Reset),
        ("black hole: connects, then silence", Self::BlackHole),
        ("every answer after 30 s", Self::Latency(Duration::from_secs(30))),
        ("every answer after 5 s", Self::Latency(Duration::from_secs(5))),
        ("1 byte a second", Self::ByteByByte),
        ("500", Self::Status(500)),
        ("502 with a page of HTML", Self::HtmlPage),
        ("401 for ever", Self::Status(401)),
        ("403", Self::Status(403)),
        ("404", Self::Status(404)),
        ("429 without `Retry-After`", Self::Limited(None)),
        ("429 with `Retry-After: 3`", Self::Limited(Some(3))),
        ("429 with `Retry-After: 3600`", Self::Limited(Some(3600))),
        ("a wrong digest in the header", Self::DigestWrong),
        ("a digest header that is no digest", Self::DigestIsNone),
        ("a wrong `Content-Length`", Self::LengthWrong),
        ("truncated JSON", Self::Truncated),
        ("a manifest of schema 1", Self::Schema1),
        ("a body without end", Self::Endless),
        ("a gzip bomb", Self::GzipBomb),
        ("a redirect loop", Self::RedirectLoop),
        ("a redirect to another host", Self::RedirectElsewhere),
        ("a malformed `WWW-Authenticate`", Self::MalformedChallenge),
        ("token server down", Self::TokenServerDown),
        ("token server answers after 30 s", Self::TokenServerSlow),
        ("expired certificate", Self::CertificateExpired),
        ("certificate of another host", Self::CertificateOfAnother),
        ("a name that does not resolve", Self::NameUnknown),
        ("every second request fails", Self::EverySecond),
    ];

    /// What is expected of known images.
    pub fn known(self) -> Known {
        match self {
            Self::Status(404) => Known::Gone,
            _ => Known::Pinned,
        }
    }

    /// Whether images that nobody asked for before are pinned wrong: nothing but their bytes could tell.
    pub fn misleads(self) -> bool {
        self == Self::DigestWrong
    }

    /// Whether tokens given out before it are no longer good.
    pub fn revokes(self) -> bool {
        matches!(self, Self::TokenServerDown | Self::TokenServerSlow)
    }

    /// Whether the digest is left out of the answers to HEAD, so that the bytes are read.
    pub fn hides_digest(self) -> bool {
        matches!(self, Self::Endless | Self::GzipBomb | Self::LengthWrong | Self::Truncated)
    }
}
