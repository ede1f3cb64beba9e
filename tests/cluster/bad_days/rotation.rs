//! Certificates that end every few seconds.

use std::{collections::BTreeSet, thread, time::Duration};

use libtest_mimic::Trial;

use super::{Installation, installation::Replica, is_long};
use crate::{
    certificates::assert_trusted_before_they_sign,
    support::{Outcome, trial},
};

/// A long form only: the short one is `certificates::rotation_under_steady_pod_creation_loses_no_admission`.
pub fn trials() -> Vec<Trial> {
    let name = "certificates_that_change_every_few_seconds_lose_no_admission";
    let long =
        trial("bad_days::rotation", name, certificates_that_change_every_few_seconds_lose_no_admission);
    if is_long() { vec![long] } else { Vec::new() }
}

fn certificates_that_change_every_few_seconds_lose_no_admission() -> Outcome {
    let flags = ["--tls-self-life=15s", "--tls-self-authority-life=45s", "--tls-self-pace=1s"];
    let installation = Installation::start(&flags, "")?;
    let replicas = installation.replicas();
    let ((certificates, authorities), record) = installation.load.during("certificate rotation", |clock| {
        let (mut certificates, mut authorities) = (BTreeSet::new(), BTreeSet::new());
        while clock.now() < Duration::from_secs(120) {
            for replica in &replicas {
                // They are seconds, exact in a float.
                let end = |name: &str| replica.metric(name).to_bits();
                certificates.insert(end("portolan_certificate_expiry_timestamp_seconds"));
                authorities.insert(end("portolan_certificate_authority_expiry_timestamp_seconds"));
            }
            thread::sleep(Duration::from_millis(200));
        }
        (certificates.len(), authorities.len())
    });
    eprintln!("  ({certificates} certificates, {authorities} authorities)");
    record.none_failed().all_answered().none_unrewritten();
    assert!(certificates >= 8 && authorities >= 3, "{certificates} and {authorities}");
    let log = |replica: &Replica| installation.kubectl(&["logs", &replica.name, "--tail=-1"]);
    let logs: Vec<_> = replicas.iter().map(log).collect();
    assert_trusted_before_they_sign(&logs, Duration::from_secs(1));
    Ok(())
}
