use arc_swap::ArcSwap;
use futures::{FutureExt as _, poll};

use super::*;
use crate::{
    admission::{Fights, Options},
    audit::Log,
    image::Reference,
    metrics::Metrics,
    registry::{CachePolicy, Resolver},
    server::{Health, Shutdown},
    table::Table,
};

pub(in crate::server) fn admission() -> Arc<Admission> {
    let metrics = Arc::new(Metrics::new());
    Arc::new(Admission {
        table: ArcSwap::from_pointee(Table::default()),
        lock: ArcSwap::default(),
        resolver: Resolver::new(CachePolicy::default()),
        log: Log::start_with(std::io::sink(), 1, Arc::clone(&metrics)).unwrap(),
        fights: Fights::default(),
        metrics,
        options: Options::default(),
    })
}

fn require(admission: &Admission, mode: &str) {
    let text = format!(
        "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules: [{{source: docker.io, mirrors: [r.corp], lock: {mode}}}]"
    );
    admission.table.store(Arc::new(Table::parse(&text).unwrap().table));
}

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// What `r.corp/app:1` is locked to.
fn locked(admission: &Admission) -> Option<String> {
    let place: Reference = "r.corp/app:1".parse().unwrap();
    admission.lock.load().find(&place).map(|locked| locked.digest.to_string())
}

fn maps(maps: &[(&str, &str, String)]) -> LockTexts {
    let mut read: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (map, key, text) in maps {
        read.entry((*map).to_owned()).or_default().insert((*key).to_owned(), text.clone());
    }
    LockTexts::Read(read.into_iter().map(|(name, data)| (name, Arc::new(data))).collect())
}

#[tokio::test]
async fn the_last_good_lock_stays_and_what_is_wrong_with_a_later_one_is_said() {
    let admission = admission();
    let health = Health::new(Shutdown::new());
    let (progress, mut reached) = watch::channel(Progress::Waiting);
    let keeper = LockKeeper {
        admission: Arc::clone(&admission),
        condition: health.condition("lock"),
        progress,
        report: None,
    };
    let (a, b) = (digest('a'), digest('b'));

    keeper.take(read_texts(&LockTexts::Unread));
    assert_eq!(*reached.borrow_and_update(), Progress::Waiting);
    keeper.take(read_texts(&maps(&[])));
    assert_eq!(*reached.borrow_and_update(), Progress::Tried);
    assert!(health.report().1.starts_with("[-] lock missing: there is no ConfigMap with the label"));

    keeper.take(read_texts(&maps(&[("one", "x", format!("r.corp/app:1 {a}")), ("two", "x", String::new())])));
    assert_eq!((locked(&admission), *reached.borrow_and_update()), (Some(a.clone()), Progress::Read));
    assert_eq!(health.report().1, "[+] lock ok\nready\n");

    keeper.take(read_texts(&maps(&[
        ("one", "x", format!("r.corp/app:1 {a}")),
        ("two", "x", format!("# moved\nr.corp/app:1 {b}")),
    ])));
    assert_eq!((locked(&admission), *reached.borrow_and_update()), (Some(a), Progress::Read));
    let (ready, report) = health.report();
    assert!(
        ready && report.contains("ConfigMap `two`, key `x`: line 2, column 1: `r.corp/app:1` is locked to"),
        "{report}"
    );
    assert!(report.contains("on line 1 of ConfigMap `one`, key `x`"), "{report}");
    let metrics = admission.metrics.encode();
    for line in ["portolan_lock_errors_total 1", "portolan_lock_lines 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }

    keeper.take(read_texts(&maps(&[("two", "x", format!("r.corp/app:1 {b}"))])));
    assert_eq!((locked(&admission), &*health.report().1), (Some(b), "[+] lock ok\nready\n"));
    keeper.take(read_texts(&maps(&[])));
    assert_eq!((locked(&admission), health.report().0), (None, true), "taken away on purpose");
}

#[tokio::test]
async fn what_a_mirror_was_seen_to_lack_survives_an_edit() {
    let admission = admission();
    let (progress, _) = watch::channel(Progress::Waiting);
    let condition = Health::new(Shutdown::new()).condition("lock");
    let keeper = LockKeeper { admission: Arc::clone(&admission), condition, progress, report: None };
    let text = format!("r.corp/app:1 {}\n", digest('a'));
    keeper.take(read_text(&text.as_str().into()));
    let lock = admission.lock.load_full();
    lock.note(&lock.lines()[0], crate::lock::Finding::Missing);

    keeper.take(read_text(&format!("{text}r.corp/app:2 {}\n", digest('b')).into()));
    let place: Reference = "r.corp/app:1".parse().unwrap();
    assert!(admission.lock.load().find(&place).unwrap().is_missing);
}

#[tokio::test(start_paused = true)]
async fn a_required_lock_is_waited_for_until_it_was_read_or_is_required_no_more() {
    for edited in [false, true] {
        let admission = admission();
        require(&admission, "require");
        let (tables, tables_seen) = watch::channel(1_u64);
        let (progress, reached) = watch::channel(Progress::Waiting);
        let mut waiting = std::pin::pin!(wait_for_lock(&admission, tables_seen, reached).fuse());
        progress.send_replace(Progress::Tried);
        assert!(poll!(&mut waiting).is_pending());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(poll!(&mut waiting).is_pending(), "however long it takes");
        if edited {
            require(&admission, "prefer");
            tables.send_replace(2);
        } else {
            progress.send_replace(Progress::Read);
        }
        tokio::time::timeout(Duration::from_secs(1), waiting).await.expect("it is enough now");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_not_required_is_waited_for_until_it_was_looked_for_and_not_long() {
    let admission = admission();
    require(&admission, "prefer");
    let (_tables, tables_seen) = watch::channel(1_u64);
    let (progress, reached) = watch::channel(Progress::Waiting);
    let mut waiting = std::pin::pin!(wait_for_lock(&admission, tables_seen.clone(), reached.clone()).fuse());
    assert!(poll!(&mut waiting).is_pending());
    progress.send_replace(Progress::Tried);
    assert!(poll!(&mut waiting).is_ready());

    progress.send_replace(Progress::Waiting);
    let began = tokio::time::Instant::now();
    wait_for_lock(&admission, tables_seen, reached).await;
    assert_eq!(began.elapsed(), LIMIT);
}
