//! The certificate that all replicas share: what their Secret holds, and what is to be done about it.
//!
//! Deciding is pure: what the Secret holds, the time, the names that API servers call and how long they have trusted
//! which authority come in, a [`Step`] comes out. A new authority is kept as the *next* one until every webhook
//! configuration has trusted it for a while; only then it signs what is served. So there is never a moment in which
//! clients trust the one and servers show the other.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{
    Authority, Bundle, IssueError, Lives, Pair, PairError, ReadAuthorityError,
    bundle::{is_due, is_valid, life_of},
};

/// What a Secret holds, by key.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// What the shared Secret holds, read. `Debug` shows no key.
pub struct Shared {
    authority: Signer,
    next: Option<Signer>,
    pair: Result<Served, PairError>,
}

/// Why the whole of it has to be made anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SharedProblem {
    /// Nothing is in it yet.
    #[error("it is empty")]
    Empty,
    /// There is no authority to go on with.
    #[error(transparent)]
    Authority(#[from] ReadAuthorityError),
}

/// What is to be done about the Secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Make everything anew: no client can trust this authority now.
    Begin,
    /// Nothing.
    Nothing,
    /// Make the authority that comes next, for clients to trust before it signs.
    Prepare,
    /// Issue another certificate, by the same authority.
    Renew,
    /// Let the next authority sign from now on.
    Switch,
}

/// By what the next step is decided.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The wall clock of those who judge the certificate.
    pub now: SystemTime,
    /// What they call the server; never none.
    pub names: &'a [String],
    /// For how long all of them have trusted the next authority; `None`: not all do, or it is not known.
    pub next_trusted_for: Option<Duration>,
    /// For how long they must have, before it signs.
    pub settle: Duration,
}

/// An authority as it is kept.
struct Signer {
    authority: Authority,
    der: CertificateDer<'static>,
    begins: SystemTime,
    ends: SystemTime,
}

/// A pair with the texts that it was read from.
struct Served {
    pair: Pair,
    certificate: String,
    key: String,
}

impl Shared {
    /// Reads what a Secret holds. What can be mended by a [`Step`] is no problem.
    pub fn read(data: &SecretData) -> Result<Self, SharedProblem> {
        let of = |key: &str| data.get(key).map_or(&[][..], Vec::as_slice);
        if KEYS.iter().all(|key| of(key).is_empty()) {
            return Err(SharedProblem::Empty);
        }
        let authority = Signer::read(of(AUTHORITY), of(AUTHORITY_KEY))?;
        let next = if of(NEXT).is_empty() && of(NEXT_KEY).is_empty() {
            None
        } else {
            Signer::read(of(NEXT), of(NEXT_KEY)).ok()
        };
        Ok(Self { authority, next, pair: Served::read(of(CERTIFICATE), of(KEY)) })
    }

    /// A new authority and a certificate from it.
    pub fn begin(names: &[String], lives: Lives, now: SystemTime) -> Result<Self, IssueError> {
        let authority = Signer::new(lives, now)?;
        let pair = Ok(authority.issue(names, lives, now)?);
        Ok(Self { authority, next: None, pair })
    }

    /// What is to be done.
    pub fn step(&self, facts: &Facts<'_>) -> Step {
        let now = facts.now;
        let next = self.next.as_ref().filter(|next| next.is_valid(now));
        if !self.authority.is_valid(now) {
            // Nobody accepts what it signed, so that nothing is lost by haste.
            return if next.is_some() { Step::Switch } else { Step::Begin };
        }
        if !self.is_accepted(facts) {
            return Step::Renew;
        }
        match next {
            Some(_) if facts.next_trusted_for.is_some_and(|time| time >= facts.settle) => Step::Switch,
            None if self.authority.is_due(now) => Step::Prepare,
            _ if self.pair.as_ref().is_ok_and(|served| served.is_due(now)) => Step::Renew,
            _ => Step::Nothing,
        }
    }

    /// Does a step; the Secret is to hold the result.
    pub fn after(
        self,
        step: Step,
        names: &[String],
        lives: Lives,
        now: SystemTime,
    ) -> Result<Self, IssueError> {
        match step {
            Step::Begin => Self::begin(names, lives, now),
            Step::Nothing => Ok(self),
            Step::Prepare => Ok(Self { next: Some(Signer::new(lives, now)?), ..self }),
            Step::Renew => {
                let pair = Ok(self.authority.issue(names, lives, now)?);
                Ok(Self { pair, ..self })
            }
            Step::Switch => {
                let authority = self.next.unwrap_or(self.authority);
                let pair = Ok(authority.issue(names, lives, now)?);
                Ok(Self { authority, next: None, pair })
            }
        }
    }

    /// What the Secret is to hold.
    pub fn to_data(&self) -> SecretData {
        let authority = [
            (AUTHORITY, self.authority.authority.certificate()),
            (AUTHORITY_KEY, self.authority.authority.key()),
        ];
        let next = self
            .next
            .iter()
            .flat_map(|next| [(NEXT, next.authority.certificate()), (NEXT_KEY, next.authority.key())]);
        let pair = self
            .pair
            .iter()
            .flat_map(|served| [(CERTIFICATE, served.certificate.clone()), (KEY, served.key.clone())]);
        let all = authority.into_iter().chain(next).chain(pair);
        all.map(|(key, text)| (key.to_owned(), text.into_bytes())).collect()
    }

    /// The pair to serve with.
    pub fn pair(&self) -> Result<&Pair, &PairError> {
        self.pair.as_ref().map(|served| &served.pair)
    }

    /// The authority that signed it.
    pub fn authority(&self) -> &CertificateDer<'static> {
        &self.authority.der
    }

    /// When that authority ends.
    pub fn authority_ends(&self) -> SystemTime {
        self.authority.ends
    }

    /// The authority that signs after it, if there is one already.
    pub fn next(&self) -> Option<&CertificateDer<'static>> {
        self.next.as_ref().map(|next| &next.der)
    }

    /// What clients are to trust: the authority, and the next one.
    pub fn bundle(&self) -> Bundle {
        let next = self.next.iter().map(|next| next.der.clone());
        std::iter::once(self.authority.der.clone()).chain(next).collect()
    }

    /// Whether a client that trusts the authority accepts the certificate under each of the names, as it is now.
    fn is_accepted(&self, facts: &Facts<'_>) -> bool {
        let Ok(served) = &self.pair else { return false };
        let mut roots = RootCertStore::empty();
        let provider = Arc::new(aws_lc_rs::default_provider());
        if roots.add(self.authority.der.clone()).is_err() {
            return false;
        }
        let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()
        else {
            return false;
        };
        let now = facts.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let chain = &served.pair.key().cert;
        let Some((leaf, others)) = chain.split_first() else { return false };
        facts.names.iter().all(|name| {
            ServerName::try_from(name.as_str()).is_ok_and(|name| {
                verifier.verify_server_cert(leaf, others, &name, &[], UnixTime::since_unix_epoch(now)).is_ok()
            })
        })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("pair", &self.pair())
            .field("authority_ends", &self.authority.ends)
            .field("has_next", &self.next.is_some())
            .finish_non_exhaustive()
    }
}

impl Signer {
    fn new(lives: Lives, now: SystemTime) -> Result<Self, IssueError> {
        let authority = Authority::with_life(lives.authority, now)?;
        Ok(Self::of(authority).expect("what was just made can be read"))
    }

    fn read(certificate: &[u8], key: &[u8]) -> Result<Self, ReadAuthorityError> {
        Self::of(Authority::parse(certificate, key)?)
    }

    fn of(authority: Authority) -> Result<Self, ReadAuthorityError> {
        let bundle = Bundle::parse(authority.certificate().as_bytes());
        let der = bundle.into_iter().next().ok_or(ReadAuthorityError::Certificate)?;
        let (begins, ends) = life_of(&der).ok_or(ReadAuthorityError::Certificate)?;
        Ok(Self { authority, der, begins, ends })
    }

    fn issue(&self, names: &[String], lives: Lives, now: SystemTime) -> Result<Served, IssueError> {
        let issued = self.authority.issue_for(lives.certificate, names, now)?;
        let served = Served::read(issued.certificate().as_bytes(), issued.key().as_bytes());
        Ok(served.expect("what was just issued is a pair"))
    }

    fn is_valid(&self, now: SystemTime) -> bool {
        is_valid(self.begins, self.ends, now)
    }

    fn is_due(&self, now: SystemTime) -> bool {
        is_due(self.begins, self.ends, now)
    }
}

impl Served {
    fn read(certificate: &[u8], key: &[u8]) -> Result<Self, PairError> {
        let pair = Pair::parse(certificate, key)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Self { pair, certificate: text(certificate), key: text(key) })
    }

    fn is_due(&self, now: SystemTime) -> bool {
        is_due(self.pair.begins(), self.pair.ends(), now)
    }
}

/// The Secret's keys: the authority, the one after it while it is prepared, and the pair that is served.
const AUTHORITY: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const NEXT: &str = "next-ca.crt";
const NEXT_KEY: &str = "next-ca.key";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

const KEYS: [&str; 6] = [AUTHORITY, AUTHORITY_KEY, NEXT, NEXT_KEY, CERTIFICATE, KEY];

#[cfg(test)]
mod tests;
