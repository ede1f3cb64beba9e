use super::*;
use crate::tls::Authority;

const HOUR: Duration = Duration::from_hours(1);
const KEEP: Duration = Duration::from_mins(10);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

/// A bundle of one new authority that ends in so many hours.
fn ending_in(hours: u32) -> Bundle {
    let authority = Authority::with_life(HOUR * hours, now()).unwrap();
    Bundle::parse(authority.certificate().as_bytes())
}

fn one(bundle: &Bundle) -> &CertificateDer<'static> {
    bundle.certificates.first().unwrap()
}

fn both(first: &Bundle, second: &Bundle) -> Bundle {
    first.clone().into_iter().chain(second.clone()).collect()
}

#[test]
fn a_bundle_is_written_as_it_is_read_and_what_is_no_certificate_is_left_out() {
    let (ours, other) = (ending_in(9), ending_in(9));
    let two = both(&ours, &other);
    let text = two.to_pem();
    assert_eq!(Bundle::parse(text.as_bytes()), two);
    assert!(text.lines().all(|line| line.len() <= 64), "{text}");

    let rubbish = "rubbish\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(Bundle::parse([rubbish, &text, &text].concat().as_bytes()), two, "each once");
    for nothing in ["", "rubbish", rubbish, "-----BEGIN CERTIFICATE-----\n!"] {
        assert!(Bundle::parse(nothing.as_bytes()).is_empty(), "{nothing}");
    }
}

#[test]
fn an_authority_is_trusted_since_it_is_in_every_bundle_without_a_break() {
    let (ours, other) = (ending_in(9), ending_in(9));
    let begun = Instant::now();
    let at = |minutes: u64| begun + Duration::from_mins(minutes);
    let mut seen = Sightings::default();
    let trusted = |seen: &Sightings, minutes| seen.trusted_for(one(&ours), at(minutes));

    assert_eq!(trusted(&seen, 0), None, "nothing is known yet");
    seen.see(Some(&[ours.clone(), other.clone()]), &ours, at(0));
    assert_eq!(trusted(&seen, 0), None, "one trusts another");
    seen.see(Some(&[ours.clone(), both(&other, &ours)]), &ours, at(1));
    assert_eq!(trusted(&seen, 1), Some(Duration::ZERO));
    seen.see(Some(&[both(&ours, &other), ours.clone()]), &ours, at(3));
    assert_eq!(trusted(&seen, 4), Some(Duration::from_mins(3)), "what else is there does not matter");
    seen.see(Some(&[ours.clone(), Bundle::default()]), &ours, at(5));
    assert_eq!(trusted(&seen, 5), None, "somebody removed it");
    seen.see(Some(&[ours.clone(), ours.clone()]), &ours, at(6));
    assert_eq!(trusted(&seen, 7), Some(Duration::from_mins(1)), "and it begins anew");
    seen.see(None, &ours, at(8));
    assert_eq!(trusted(&seen, 8), None, "it is no longer known");
    seen.see(Some(&[]), &ours, at(9));
    assert_eq!(trusted(&seen, 9), Some(Duration::MAX), "nobody calls who could distrust it");
    seen.see(None, &ours, at(10));
    assert_eq!(trusted(&seen, 10), None);
}

#[test]
fn another_authority_stays_trusted_for_a_while_and_goes_then() {
    let (ours, other) = (ending_in(9), ending_in(9));
    let begun = Instant::now();
    let mut seen = Sightings::default();
    // It was ours until now, so that its time begins now.
    seen.see(Some(&[both(&ours, &other)]), &both(&ours, &other), begun);
    let begun = begun + KEEP * 5;
    let bundles = [other.clone(), Bundle::default(), both(&other, &ours)];
    seen.see(Some(&bundles), &ours, begun);
    let wanted = |instant| seen.wanted(&bundles, &ours, KEEP, now(), instant);
    assert_eq!(wanted(begun), both(&ours, &other), "ours first, the other once");
    assert_eq!(wanted(begun + KEEP.saturating_sub(Duration::from_secs(1))), both(&ours, &other));
    assert_eq!(wanted(begun + KEEP), ours);

    seen.see(Some(std::slice::from_ref(&ours)), &ours, begun);
    seen.see(Some(&bundles), &ours, begun + KEEP);
    assert_eq!(
        seen.wanted(&bundles, &ours, KEEP, now(), begun + KEEP),
        both(&ours, &other),
        "somebody put it back: its time begins anew"
    );
}

#[test]
fn an_authority_that_has_ended_is_not_kept_and_a_bundle_has_a_bound() {
    let ours = ending_in(9);
    let instant = Instant::now();
    let seen = Sightings::default();
    let ended = ending_in(2);
    for (later, is_kept) in [(HOUR, true), (HOUR * 2, false)] {
        let wanted = seen.wanted(std::slice::from_ref(&ended), &ours, KEEP, now() + later, instant);
        assert_eq!(wanted.holds(one(&ended)), is_kept, "after {later:?}");
        assert!(wanted.holds(one(&ours)));
    }
    let many: Vec<_> = (0..20).map(|_| ending_in(9)).collect();
    let wanted = seen.wanted(&many, &ours, KEEP, now(), instant);
    assert_eq!(wanted.certificates.len(), MOST);
    assert!(wanted.holds(one(&ours)));
}

#[test]
fn two_thirds_of_a_life_are_over_when_less_than_a_third_is_left() {
    let (begins, ends) = (now(), now() + HOUR * 90);
    for (hours, due) in [(0, false), (59, false), (60, false), (61, true), (90, true), (9_000, true)] {
        assert_eq!(is_due(begins, ends, now() + HOUR * hours), due, "after {hours} h");
    }
    assert!(!is_due(begins, ends, now() - HOUR), "not yet begun is another matter");
    for (at, valid) in [(begins - HOUR, false), (begins, true), (ends - HOUR, true), (ends, false)] {
        assert_eq!(is_valid(begins, ends, at), valid);
    }
}
