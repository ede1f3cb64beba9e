use super::*;
use crate::tls::Issued;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

const DAY: Duration = Duration::from_hours(24);

fn issued() -> Issued {
    Authority::new(now()).unwrap().issue(&["localhost".into()], now()).unwrap()
}

struct Folder {
    directory: tempfile::TempDir,
    metrics: Arc<Metrics>,
    live: Arc<LivePair>,
    follow: FollowFiles,
}

impl Folder {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        issued().write_files(directory.path()).unwrap();
        let (live, metrics) = (Arc::new(LivePair::default()), Arc::new(Metrics::new()));
        let files = PairFiles::in_directory(directory.path());
        let follow = FollowFiles::start(files, Arc::clone(&live), Arc::clone(&metrics)).unwrap();
        Self { directory, metrics, live, follow }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).unwrap();
    }

    fn look(&mut self) {
        let read = self.follow.files.contents();
        self.follow.look(read);
    }

    fn serial(&self) -> String {
        self.live.current().unwrap().serial().to_owned()
    }
}

#[test]
fn a_changed_pair_is_taken_into_use() {
    let mut folder = Folder::new();
    let first = folder.serial();
    folder.look();
    assert_eq!(folder.serial(), first);
    let next = issued();
    folder.write("tls.crt", next.certificate());
    folder.write("tls.key", next.key());
    folder.look();
    assert_ne!(folder.serial(), first);
    let text = folder.metrics.encode();
    assert!(text.contains("portolan_certificate_expiry_timestamp_seconds 2007776000.0\n"), "{text}");
    assert_eq!(folder.metrics.certificate_errors.get(), 0);
}

#[test]
fn a_swap_seen_half_done_is_no_error_and_the_last_good_pair_stays() {
    let mut folder = Folder::new();
    let first = folder.serial();
    let next = issued();
    folder.write("tls.crt", next.certificate());
    folder.look();
    assert_eq!(folder.serial(), first);
    folder.write("tls.key", next.key());
    folder.look();
    assert_ne!(folder.serial(), first);
    assert_eq!(folder.metrics.certificate_errors.get(), 0);
}

#[test]
fn a_bad_pair_is_complained_about_once_until_another_comes() {
    let mut folder = Folder::new();
    let first = folder.serial();
    folder.write("tls.key", issued().key());
    (0..5).for_each(|_| folder.look());
    assert_eq!((folder.serial(), folder.metrics.certificate_errors.get()), (first.clone(), 1));
    folder.write("tls.key", "");
    (0..5).for_each(|_| folder.look());
    assert_eq!((folder.serial(), folder.metrics.certificate_errors.get()), (first.clone(), 2));
    std::fs::remove_file(folder.directory.path().join("tls.key")).unwrap();
    (0..5).for_each(|_| folder.look());
    assert_eq!((folder.serial(), folder.metrics.certificate_errors.get()), (first.clone(), 3));
    let next = issued();
    folder.write("tls.crt", next.certificate());
    folder.write("tls.key", next.key());
    folder.look();
    assert_ne!(folder.serial(), first);
    // The next fault is said again.
    folder.write("tls.key", issued().key());
    (0..5).for_each(|_| folder.look());
    assert_eq!(folder.metrics.certificate_errors.get(), 4);
}

#[test]
fn without_a_pair_following_does_not_begin() {
    let folder = tempfile::tempdir().unwrap();
    let live = Arc::new(LivePair::default());
    let files = PairFiles::in_directory(folder.path());
    FollowFiles::start(files, Arc::clone(&live), Arc::new(Metrics::new())).unwrap_err();
    assert!(live.current().is_none());
}

#[test]
fn the_end_of_a_certificate_is_said_before_it_and_then_every_hour() {
    let mut folder = Folder::new();
    let start = Instant::now();
    for (days, minutes, expected) in [
        (0, 0, None),
        (71, 1, None),
        (73, 2, Some(Expiry::EndsSoon)),
        (73, 3, None),
        (73, 63, Some(Expiry::EndsSoon)),
        (91, 64, Some(Expiry::Ended)),
        (91, 65, None),
    ] {
        let said = folder.follow.judge(now() + DAY * days, start + Duration::from_mins(minutes));
        assert_eq!(said, expected, "day {days}, minute {minutes}");
    }
}

#[test]
fn our_own_certificate_is_renewed_when_two_thirds_of_its_life_are_over() {
    let (live, metrics) = (Arc::new(LivePair::default()), Arc::new(Metrics::new()));
    let renew = Renew::start(&["webhook".into()], Arc::clone(&live), Arc::clone(&metrics)).unwrap();
    let first = live.current().unwrap();
    renew.renew(first.ends() - DAY * 31);
    assert_eq!(live.current().unwrap().serial(), first.serial());
    renew.renew(first.ends() - DAY * 29);
    let second = live.current().unwrap();
    assert_ne!(second.serial(), first.serial());
    assert_eq!(second.ends(), first.ends() + DAY * 61);
}
