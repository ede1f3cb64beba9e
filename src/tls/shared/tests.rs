use super::*;

const DAY: Duration = Duration::from_hours(24);
const SETTLE: Duration = Duration::from_mins(1);

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

fn names() -> Vec<String> {
    ["portolan.portolan.svc", "127.0.0.1"].map(str::to_owned).to_vec()
}

fn begun() -> Shared {
    Shared::begin(&names(), Lives::default(), start()).unwrap()
}

fn step_at(shared: &Shared, now: SystemTime) -> Step {
    step_when(shared, now, None)
}

fn step_when(shared: &Shared, now: SystemTime, next_trusted_for: Option<Duration>) -> Step {
    shared.step(&Facts { now, names: &names(), next_trusted_for, settle: SETTLE })
}

fn after(shared: Shared, step: Step, now: SystemTime) -> Shared {
    let done = shared.after(step, &names(), Lives::default(), now).unwrap();
    // As another replica reads it.
    Shared::read(&done.to_data()).unwrap()
}

fn serial(shared: &Shared) -> String {
    shared.pair().unwrap().serial().to_owned()
}

#[test]
fn what_was_begun_needs_nothing_until_two_thirds_are_over() {
    let shared = Shared::read(&begun().to_data()).unwrap();
    for (days, expected) in
        [(0, Step::Nothing), (59, Step::Nothing), (61, Step::Renew), (90, Step::Renew), (485, Step::Renew)]
    {
        assert_eq!(step_at(&shared, start() + DAY * days), expected, "after {days} days");
    }
    assert_eq!(step_at(&shared, start() + DAY * 730), Step::Begin, "the authority has ended");

    let now = start() + DAY * 61;
    let renewed = after(shared, Step::Renew, now);
    assert_eq!(step_at(&renewed, now), Step::Nothing);
    assert_eq!(renewed.pair().unwrap().ends(), now + DAY * 90);
}

#[test]
fn a_renewed_certificate_is_another_one_of_the_same_authority() {
    let first = begun();
    let (authority, before) = (first.authority().clone(), serial(&first));
    let renewed = after(first, Step::Renew, start() + DAY * 61);
    assert_eq!(*renewed.authority(), authority);
    assert_ne!(serial(&renewed), before);
    assert!(renewed.next().is_none());
}

#[test]
fn the_next_authority_signs_only_after_clients_have_trusted_it_for_a_while() {
    let now = start() + DAY * 490;
    let shared = after(begun(), Step::Renew, now);
    let old = shared.authority().clone();
    assert_eq!(step_at(&shared, now), Step::Prepare, "two thirds of two years are over");

    let before = serial(&shared);
    let prepared = after(shared, Step::Prepare, now);
    let next = prepared.next().unwrap().clone();
    assert_eq!((prepared.authority(), serial(&prepared)), (&old, before.clone()), "the old one serves on");
    assert_eq!(prepared.bundle(), [old.clone(), next.clone()].into_iter().collect(), "both are trusted");
    for (trusted_for, expected) in [
        (None, Step::Nothing),
        (Some(Duration::ZERO), Step::Nothing),
        (Some(SETTLE.saturating_sub(Duration::from_millis(1))), Step::Nothing),
        (Some(SETTLE), Step::Switch),
        (Some(Duration::MAX), Step::Switch),
    ] {
        assert_eq!(step_when(&prepared, now, trusted_for), expected, "trusted for {trusted_for:?}");
    }
    // The certificate is renewed by the old one while the next is not trusted.
    assert_eq!(step_at(&prepared, now + DAY * 61), Step::Renew);

    let switched = after(prepared, Step::Switch, now);
    assert_eq!((switched.authority(), switched.next()), (&next, None));
    assert_ne!(serial(&switched), before);
    assert_eq!(switched.bundle(), [next].into_iter().collect());
    assert_eq!(step_at(&switched, now), Step::Nothing);
}

#[test]
fn an_authority_that_ended_waits_for_nobody() {
    let now = start() + DAY * 490;
    let prepared = after(after(begun(), Step::Renew, now), Step::Prepare, now);
    let next = prepared.next().unwrap().clone();
    let ended = start() + DAY * 731;
    assert_eq!(step_at(&prepared, ended), Step::Switch, "the next one is at hand");
    assert_eq!(*after(prepared, Step::Switch, ended).authority(), next);
    // Should the next one be none either, all is made anew.
    let both_ended = after(after(begun(), Step::Renew, now), Step::Prepare, now);
    assert_eq!(step_at(&both_ended, now + DAY * 800), Step::Begin);
}

#[test]
fn clocks_may_jump() {
    let shared = begun();
    // A year forward: the certificate has ended, the authority has not.
    assert_eq!(step_at(&shared, start() + DAY * 365), Step::Renew);
    let renewed = after(shared, Step::Renew, start() + DAY * 365);
    // And back: it has not begun.
    assert_eq!(step_at(&renewed, start()), Step::Renew);
    let back = after(renewed, Step::Renew, start());
    assert_eq!(step_at(&back, start()), Step::Nothing);
    // Back before the authority was made, nobody accepts it.
    assert_eq!(step_at(&back, start() - DAY * 365), Step::Begin);
    assert_eq!(step_at(&back, SystemTime::UNIX_EPOCH), Step::Begin);
    // A next authority from a wrong future does not sign, and when one is due another takes its place.
    let odd = after(begun(), Step::Prepare, start() + DAY * 3650);
    assert_eq!(step_when(&odd, start(), Some(SETTLE)), Step::Nothing);
    let due = start() + DAY * 490;
    let odd = after(odd, Step::Renew, due);
    assert_eq!(step_when(&odd, due, Some(SETTLE)), Step::Prepare);
    assert_eq!(step_when(&after(odd, Step::Prepare, due), due, Some(SETTLE)), Step::Switch);
}

#[test]
fn a_clock_that_is_a_little_slow_accepts_what_was_just_made() {
    let shared = begun();
    assert_eq!(step_at(&shared, start() - Duration::from_mins(59)), Step::Nothing);
    let lives = Lives { authority: Duration::from_secs(60), certificate: Duration::from_secs(20) };
    let short = Shared::begin(&names(), lives, start()).unwrap();
    assert_eq!(step_at(&short, start()), Step::Nothing, "lives of seconds are for tests");
    assert_eq!(step_at(&short, start() + Duration::from_secs(14)), Step::Renew);
}

#[test]
fn names_that_are_missing_mean_another_certificate_and_more_names_than_needed_do_not() {
    let shared = begun();
    let step = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        shared.step(&Facts { now: start(), names: &names, next_trusted_for: None, settle: SETTLE })
    };
    assert_eq!(step(&["portolan.portolan.svc"]), Step::Nothing);
    assert_eq!(step(&["127.0.0.1"]), Step::Nothing);
    assert_eq!(step(&["portolan.portolan.svc", "portolan.other.svc"]), Step::Renew);
    assert_eq!(step(&["127.0.0.2"]), Step::Renew);
}

#[test]
fn a_secret_with_rubbish_says_what_is_wrong_and_what_can_be_mended_is() {
    let good = begun().to_data();
    let with = |key: &str, value: &[u8]| {
        let mut data = good.clone();
        data.insert(key.to_owned(), value.to_vec());
        data
    };
    let other = begun().to_data();
    let problem = |data: &SecretData| Shared::read(data).unwrap_err();

    assert_eq!(problem(&SecretData::new()), SharedProblem::Empty);
    assert_eq!(problem(&SecretData::from([("other".to_owned(), b"x".to_vec())])), SharedProblem::Empty);
    for (key, value, expected) in [
        (AUTHORITY, &b"rubbish"[..], ReadAuthorityError::Certificate),
        (AUTHORITY, b"", ReadAuthorityError::Certificate),
        (AUTHORITY, b"\xff\xfe", ReadAuthorityError::Certificate),
        (AUTHORITY, &good[CERTIFICATE], ReadAuthorityError::NoAuthority),
        (AUTHORITY, &other[AUTHORITY], ReadAuthorityError::Mismatch),
        (AUTHORITY_KEY, b"rubbish", ReadAuthorityError::Key),
        (AUTHORITY_KEY, b"", ReadAuthorityError::Key),
        (AUTHORITY_KEY, &other[AUTHORITY_KEY], ReadAuthorityError::Mismatch),
    ] {
        assert_eq!(problem(&with(key, value)), SharedProblem::Authority(expected), "{key}");
    }
    // The authority goes on: only what it signs is made anew.
    for (key, value) in [
        (CERTIFICATE, &b"rubbish"[..]),
        (CERTIFICATE, b""),
        (CERTIFICATE, &other[CERTIFICATE]),
        (KEY, b"rubbish"),
        (KEY, b""),
        (KEY, &other[KEY]),
    ] {
        let shared = Shared::read(&with(key, value)).unwrap();
        assert!(shared.pair().is_err(), "{key}");
        assert_eq!(step_at(&shared, start()), Step::Renew, "{key}");
        let mended = after(shared, Step::Renew, start());
        assert_eq!(step_at(&mended, start()), Step::Nothing, "{key}");
    }
    // A whole pair of another authority.
    let mut foreign = with(CERTIFICATE, &other[CERTIFICATE]);
    foreign.insert(KEY.to_owned(), other[KEY].clone());
    assert_eq!(step_at(&Shared::read(&foreign).unwrap(), start()), Step::Renew);
    // A next authority of which half is there is none.
    for (key, value) in [(NEXT, &other[AUTHORITY]), (NEXT_KEY, &other[AUTHORITY_KEY])] {
        let shared = Shared::read(&with(key, value)).unwrap();
        assert_eq!((shared.next(), step_at(&shared, start())), (None, Step::Nothing), "{key}");
    }
}

#[test]
fn nothing_shows_a_key() {
    let shared = after(begun(), Step::Prepare, start());
    let data = shared.to_data();
    let shown = format!("{shared:?}");
    for key in [KEY, AUTHORITY_KEY, NEXT_KEY] {
        let text = String::from_utf8(data[key].clone()).unwrap();
        let line = text.lines().nth(1).unwrap();
        assert!(!shown.contains(line), "{shown}");
    }
}
