//! The words of labels: closed enums, so that no label can hold a name or an image.

/// How an admission, or the check of an edit, ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The Pod or the edit was let through, with or without a patch.
    Allowed,
    /// The Pod or the edit was refused.
    Denied,
    /// The request was answered, but Portolan failed, or the body was no review.
    Error,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 3] = [Self::Allowed, Self::Denied, Self::Error];

    /// The verdict's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Error => "error",
        }
    }
}

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HandshakeError {
    /// The client does not accept our certificate: mostly a `caBundle` that does not hold its CA.
    CertificateRefused,
    /// The client closed the connection, as a probe of the port does.
    Closed,
    /// The network failed.
    Network,
    /// What came was not TLS.
    NotTls,
    /// No version, cipher or protocol in common, or a message out of order.
    Protocol,
    /// It took too long.
    Timeout,
}

impl HandshakeError {
    /// Every cause.
    pub const ALL: [Self; 6] =
        [Self::CertificateRefused, Self::Closed, Self::Network, Self::NotTls, Self::Protocol, Self::Timeout];

    /// The cause's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::CertificateRefused => "certificate-refused",
            Self::Closed => "closed",
            Self::Network => "network",
            Self::NotTls => "not-tls",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
        }
    }
}

/// What a look for a locked digest in its mirror brought to light.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LockCheck {
    /// The mirror does not have it.
    Missing,
    /// It has it, but the tag leads elsewhere or is gone.
    Moved,
    /// All is as the line says.
    Present,
    /// The mirror did not say.
    Unknown,
}

impl LockCheck {
    /// Every result.
    pub const ALL: [Self; 4] = [Self::Missing, Self::Moved, Self::Present, Self::Unknown];

    /// The result's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Moved => "moved",
            Self::Present => "present",
            Self::Unknown => "unknown",
        }
    }
}

/// What a registry answered to one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RegistryResult {
    /// The manifest is there.
    Found,
    /// It is not.
    Missing,
    /// The registry refused our credentials.
    Unauthorized,
    /// No answer in time, or one that says nothing.
    Unavailable,
}

impl RegistryResult {
    /// Every result.
    pub const ALL: [Self; 4] = [Self::Found, Self::Missing, Self::Unauthorized, Self::Unavailable];

    /// The result's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Missing => "missing",
            Self::Unauthorized => "unauthorized",
            Self::Unavailable => "unavailable",
        }
    }
}
