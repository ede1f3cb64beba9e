//! What clients trust: the certificates of a `caBundle`, and for how long they were seen in it.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};

use super::pair::moment;

/// Certificates of authorities, each once, in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Bundle {
    certificates: Vec<CertificateDer<'static>>,
}

/// What was seen in the bundles of all who call, and since when. Reads no clock.
#[derive(Debug, Default)]
pub struct Sightings {
    /// Those that are in every bundle.
    trusted: Since,
    /// Those that are in any, and not ours.
    foreign: Since,
    /// There are no bundles: nobody calls.
    is_nobody: bool,
}

type Since = HashMap<CertificateDer<'static>, Instant>;

impl Bundle {
    /// Reads PEM; what cannot be read in it is left out.
    pub fn parse(pem: &[u8]) -> Self {
        CertificateDer::pem_slice_iter(pem)
            .filter_map(Result::ok)
            .filter(|certificate| life_of(certificate).is_some())
            .collect()
    }

    /// Whether this certificate is in it.
    pub fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|held| held == certificate)
    }

    /// Whether there is none in it.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// As PEM.
    pub fn to_pem(&self) -> String {
        let mut text = String::new();
        for certificate in &self.certificates {
            text.push_str("-----BEGIN CERTIFICATE-----\n");
            let mut rest = STANDARD.encode(certificate);
            while !rest.is_empty() {
                let line: String = rest.drain(..rest.len().min(64)).collect();
                text.push_str(&line);
                text.push('\n');
            }
            text.push_str("-----END CERTIFICATE-----\n");
        }
        text
    }
}

impl FromIterator<CertificateDer<'static>> for Bundle {
    fn from_iter<T: IntoIterator<Item = CertificateDer<'static>>>(certificates: T) -> Self {
        let mut bundle = Self::default();
        for certificate in certificates {
            if !bundle.holds(&certificate) {
                bundle.certificates.push(certificate);
            }
        }
        bundle
    }
}

impl IntoIterator for Bundle {
    type Item = CertificateDer<'static>;
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.certificates.into_iter()
    }
}

impl Sightings {
    /// Takes in what the bundles are now; `None`: that is not known. Of what is not `ours` it is remembered since when
    /// it is there.
    pub fn see(&mut self, bundles: Option<&[Bundle]>, ours: &Bundle, instant: Instant) {
        let Some(bundles) = bundles else {
            self.trusted.clear();
            self.is_nobody = false;
            return;
        };
        self.is_nobody = bundles.is_empty();
        let all: Bundle = bundles.iter().flat_map(|bundle| bundle.certificates.iter().cloned()).collect();
        let in_every =
            |certificate: &CertificateDer<'_>| bundles.iter().all(|bundle| bundle.holds(certificate));
        follow(&mut self.trusted, &all, in_every, instant);
        follow(&mut self.foreign, &all, |certificate| !ours.holds(certificate), instant);
    }

    /// For how long all who call have trusted this authority; `None`: not all do, or it is not known.
    pub fn trusted_for(&self, authority: &CertificateDer<'_>, instant: Instant) -> Option<Duration> {
        if self.is_nobody {
            return Some(Duration::MAX);
        }
        self.trusted.get(authority).map(|since| instant.saturating_duration_since(*since))
    }

    /// What the bundles are to hold: `ours`, and for as long as `keep` what else was there and has not ended. A replica
    /// that still serves what another authority signed goes on being trusted meanwhile.
    pub fn wanted(
        &self,
        bundles: &[Bundle],
        ours: &Bundle,
        keep: Duration,
        now: SystemTime,
        instant: Instant,
    ) -> Bundle {
        let others = bundles.iter().flat_map(|bundle| &bundle.certificates).filter(|certificate| {
            let since = self.foreign.get(*certificate).copied().unwrap_or(instant);
            instant.saturating_duration_since(since) < keep
                && life_of(certificate).is_some_and(|(_, ends)| now < ends)
        });
        ours.certificates.iter().chain(others).take(MOST).cloned().collect()
    }
}

/// Keeps since when those certificates are there of which `is_meant` is true.
fn follow(since: &mut Since, all: &Bundle, is_meant: impl Fn(&CertificateDer<'_>) -> bool, instant: Instant) {
    since.retain(|certificate, _| all.holds(certificate) && is_meant(certificate));
    for certificate in all.certificates.iter().filter(|certificate| is_meant(certificate)) {
        since.entry(certificate.clone()).or_insert(instant);
    }
}

/// Whether a server can be called so: a DNS name or an address.
pub fn is_server_name(name: &str) -> bool {
    ServerName::try_from(name).is_ok()
}

/// When a certificate begins and ends.
pub(super) fn life_of(certificate: &CertificateDer<'_>) -> Option<(SystemTime, SystemTime)> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let validity = parsed.validity();
    Some((moment(validity.not_before.timestamp()), moment(validity.not_after.timestamp())))
}

/// Whether clients accept it at `now`, as far as time goes.
pub(super) fn is_valid(begins: SystemTime, ends: SystemTime, now: SystemTime) -> bool {
    begins <= now && now < ends
}

/// Whether two thirds of a life are over.
pub(super) fn is_due(begins: SystemTime, ends: SystemTime, now: SystemTime) -> bool {
    let life = ends.duration_since(begins).unwrap_or_default();
    ends.duration_since(now).unwrap_or_default() < life / 3
}

/// More than anybody needs; a bundle that others fill must not fill etcd.
const MOST: usize = 16;

#[cfg(test)]
mod tests;
