use super::*;

/// A cluster in which requests come at chosen seconds.
struct Cluster {
    fights: Fights,
    begin: Instant,
    seen: usize,
}

impl Cluster {
    fn new() -> Self {
        Self { fights: Fights::default(), begin: Instant::now(), seen: 0 }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.begin + Duration::from_secs_f64(seconds)
    }

    fn see(&mut self, seconds: f64, sighting: Sighting<'_>) {
        self.see_images(seconds, sighting, &[("postgres:17", "r.corp/hub/library/postgres:17")]);
    }

    fn see_images(&mut self, seconds: f64, sighting: Sighting<'_>, images: &[(&str, &str)]) {
        self.seen += 1;
        self.fights.see(&sighting, images.iter().copied(), self.at(seconds));
    }

    /// How many fights have been noticed since this was asked last.
    fn news(&self) -> usize {
        self.fights.news().len()
    }

    fn going_on(&self, seconds: f64) -> usize {
        self.fights.going_on(self.at(seconds))
    }

    #[track_caller]
    fn assert_quiet(&self) {
        assert!(self.seen > 0);
        assert_eq!(self.fights.news().len(), 0, "after {} requests", self.seen);
    }
}

fn owner<'a>(api_version: &'a str, kind: &'a str, uid: &'a str) -> Owner<&'a str> {
    Owner { api_version, kind, name: "main", uid }
}

/// A Pod made by an operator's own kind of object.
fn made<'a>(pod: &'a str, uid: &'a str) -> Sighting<'a> {
    let owner = owner("postgresql.cnpg.io/v1", "Cluster", uid);
    Sighting { namespace: "shop", owner, pod, host_name: "", act: Act::MadeSame }
}

fn one_of_many(owner: Owner<&'static str>) -> Sighting<'static> {
    Sighting { namespace: "shop", owner, pod: "main-", host_name: "", act: Act::MadeOneOfMany }
}

fn stateful(pod: &str) -> Sighting<'_> {
    Sighting { owner: owner("apps/v1", "StatefulSet", "u-1"), ..made(pod, "u-1") }
}

/// Seconds from a first moment, each pause so many times the one before, up to `longest`.
fn back_off(first: f64, factor: f64, longest: f64) -> impl Iterator<Item = f64> {
    let mut pauses = std::iter::successors(Some(first), move |pause| Some((pause * factor).min(longest)));
    std::iter::successors(Some(0.0), move |at| Some(at + pauses.next()?))
}

#[test]
fn a_pod_made_anew_every_few_seconds_or_minutes_is_a_fight_told_of_once() {
    for every in [1.0, 2.0, 5.0, 30.0, 60.0, 240.0] {
        let mut cluster = Cluster::new();
        let mut noticed = Vec::new();
        for time in 0u32..400 {
            cluster.see(f64::from(time) * every, made("pg-1", "u-1"));
            for fight in cluster.fights.news() {
                noticed.push((time + 1, fight));
            }
        }
        let [(after, fight)] = &noticed[..] else { panic!("{} times every {every} s", noticed.len()) };
        assert_eq!(*after, 12, "every {every} s");
        assert_eq!((&*fight.namespace, &*fight.owner.kind, &*fight.owner.uid), ("shop", "Cluster", "u-1"));
        assert_eq!((&*fight.pod, fight.act, fight.times), ("pg-1", Act::MadeSame, 12));
        assert_eq!(fight.since, cluster.begin);
        let images = [("postgres:17".into(), "r.corp/hub/library/postgres:17".into())];
        assert_eq!(fight.images, images);
        let [known] = &cluster.fights.known(cluster.at(399.0 * every))[..] else { panic!("one is known") };
        assert_eq!((known.times, known.last), (400, cluster.at(399.0 * every)));
    }
}

#[test]
fn a_stateful_set_whose_pod_is_deleted_by_an_operator_is_one_too() {
    let mut cluster = Cluster::new();
    (0..12).for_each(|time| cluster.see(f64::from(time) * 40.0, stateful("aerocluster-0-0")));
    assert_eq!(cluster.news(), 1);
}

#[test]
fn a_generated_name_with_a_host_name_stands_for_one_pod() {
    let mut cluster = Cluster::new();
    let node = |host_name| Sighting { pod: "nifi-1-node", host_name, ..made("", "u-1") };
    (0..11).for_each(|time| cluster.see(f64::from(time) * 200.0, node("nifi-1-node")));
    cluster.see(2200.0, node("nifi-2-node"));
    cluster.assert_quiet();
    cluster.see(2250.0, node("nifi-1-node"));
    assert_eq!(cluster.news(), 1);
}

#[test]
fn an_operator_that_goes_from_pod_to_pod_is_one_though_each_comes_seldom() {
    let mut cluster = Cluster::new();
    let nodes = ["nifi-1-node", "nifi-2-node", "nifi-3-node", "nifi-4-node"];
    let mut at = 0.0;
    let mut round = |cluster: &mut Cluster| {
        for host_name in nodes {
            cluster.see(at, Sighting { pod: host_name, host_name, ..made("", "u-1") });
            at += 240.0;
        }
    };
    (0..11).for_each(|_| round(&mut cluster));
    cluster.assert_quiet();
    round(&mut cluster);
    assert_eq!((cluster.news(), cluster.going_on(11_520.0)), (1, 1));
}

#[test]
fn images_set_back_again_and_again_are_a_fight_whoever_owns_the_pod() {
    for api_version in ["apps/v1", "postgresql.cnpg.io/v1"] {
        let mut cluster = Cluster::new();
        let set_back = Sighting {
            owner: owner(api_version, "ReplicaSet", "u-1"),
            act: Act::SetBack,
            ..made("web-x7k2p", "u-1")
        };
        // Ten times a second: what is done at once counts once.
        (0..110).for_each(|time| cluster.see(f64::from(time) * 0.1, set_back));
        cluster.assert_quiet();
        (110..130).for_each(|time| cluster.see(f64::from(time) * 0.1, set_back));
        assert_eq!(cluster.news(), 1);
    }
}

#[test]
fn all_pods_of_an_owner_are_one_fight_and_those_of_another_are_another() {
    let mut cluster = Cluster::new();
    for time in 0..40 {
        for uid in ["u-1", "u-2"] {
            for pod in ["pg-1", "pg-2", "pg-3"] {
                cluster.see(f64::from(time) * 20.0, made(pod, uid));
            }
        }
    }
    assert_eq!(cluster.news(), 2);
    assert_eq!(cluster.going_on(800.0), 2);
}

#[test]
fn a_set_of_pods_that_grows_or_is_made_anew_is_none() {
    let grows = |owner: Owner<&'static str>, pods: u32, a_second: f64, begin: f64, cluster: &mut Cluster| {
        (0..pods).for_each(|pod| cluster.see(begin + f64::from(pod) / a_second, one_of_many(owner)));
    };
    let of_kind = |kind| owner(if kind == "Job" { "batch/v1" } else { "apps/v1" }, kind, "u-1");
    let operators = owner("apps.kruise.io/v1alpha1", "CloneSet", "u-1");
    for (owner, pods, a_second) in [
        (of_kind("ReplicaSet"), 500, 20.0),
        (of_kind("ReplicaSet"), 500, 100.0),
        (of_kind("DaemonSet"), 300, 20.0),
        (of_kind("Job"), 1000, 20.0),
        (operators, 500, 20.0),
        (operators, 5000, 20.0),
        (operators, 5000, 500.0),
    ] {
        let mut cluster = Cluster::new();
        grows(owner, pods, a_second, 0.0, &mut cluster);
        cluster.assert_quiet();
    }
    // A rolling update: another ReplicaSet, fifty Pods one after the other.
    let mut cluster = Cluster::new();
    for uid in ["u-1", "u-2", "u-3"] {
        grows(owner("apps/v1", "ReplicaSet", uid), 50, 0.5, 0.0, &mut cluster);
    }
    cluster.assert_quiet();
    // An autoscaler that cannot decide, for three hours.
    let mut cluster = Cluster::new();
    for time in 0..360 {
        grows(of_kind("ReplicaSet"), 50, 20.0, f64::from(time) * 30.0, &mut cluster);
    }
    cluster.assert_quiet();
    // A queue of short tasks, for three hours; and an operator's, with a pause now and then.
    let mut cluster = Cluster::new();
    grows(of_kind("Job"), 5400, 0.5, 0.0, &mut cluster);
    for time in 0..20 {
        grows(operators, 240, 0.5, f64::from(time) * 550.0, &mut cluster);
    }
    cluster.assert_quiet();
}

#[test]
fn pods_that_an_operator_makes_without_a_pause_for_ten_minutes_are_one() {
    for every in [1.0, 5.0, 20.0] {
        let mut cluster = Cluster::new();
        let operators = owner("example.com/v1", "Farm", "u-1");
        let mut at = 0.0;
        while at < 599.0 {
            cluster.see(at, one_of_many(operators));
            at += every;
        }
        cluster.assert_quiet();
        (0..2).for_each(|time| cluster.see(at + f64::from(time) * every, one_of_many(operators)));
        assert_eq!(cluster.news(), 1, "every {every} s");
    }
}

#[test]
fn steps_of_a_workflow_each_with_a_name_of_its_own_are_none() {
    let mut cluster = Cluster::new();
    for step in 0..2000 {
        cluster.see(f64::from(step) * 3.0, made(&format!("build-{step}"), "u-1"));
    }
    cluster.assert_quiet();
}

#[test]
fn no_back_off_that_doubles_is_a_fight_wherever_it_begins_and_ends() {
    for first in [0.001, 0.005, 0.1, 0.7, 1.0, 3.0, 10.0] {
        for longest in [360.0, 1000.0] {
            for requests in [1, 3] {
                let mut cluster = Cluster::new();
                for at in back_off(first, 2.0, longest).take(60) {
                    // A client that tries again at once.
                    (0..requests).for_each(|_| cluster.see(at, made("pg-1", "u-1")));
                }
                cluster.assert_quiet();
            }
        }
    }
    // A Job whose Pods fail: 10 s, 20 s, 40 s …, at most six minutes.
    let mut cluster = Cluster::new();
    for at in back_off(10.0, 2.0, 360.0).take(50) {
        cluster.see(at, one_of_many(owner("batch/v1", "Job", "u-1")));
    }
    cluster.assert_quiet();
}

#[test]
fn what_comes_back_now_and_then_is_none() {
    // A StatefulSet's Pod that is evicted a few times, and much later again.
    let mut cluster = Cluster::new();
    for at in [0.0, 4.0, 9.0, 30.0, 200.0, 3600.0, 3610.0, 3700.0, 7200.0, 7300.0, 7301.0, 7305.0, 7400.0] {
        cluster.see(at, stateful("db-0"));
    }
    // A large one on nodes that come and go: always some Pod, each of them every hour.
    let mut cluster = Cluster::new();
    for time in 0..4000 {
        cluster.see(f64::from(time) * 36.0, stateful(&format!("db-{}", time % 100)));
    }
    cluster.assert_quiet();
    // One that is restarted by hand five times within half an hour.
    let mut cluster = Cluster::new();
    for time in 0..5 {
        for pod in 0..10 {
            cluster.see(f64::from(time * 360 + pod * 20), stateful(&format!("db-{pod}")));
        }
    }
    cluster.assert_quiet();
    // A CronJob, each minute a Job of its own.
    for minute in 0..600 {
        let job = Owner { uid: &*minute.to_string(), ..owner("batch/v1", "Job", "") };
        cluster.see(
            f64::from(minute) * 60.0,
            Sighting { owner: job, pod: "cron-", ..one_of_many(owner("batch/v1", "Job", "")) },
        );
    }
    // A manifest applied again every ten minutes.
    for time in 0..100 {
        cluster.see(f64::from(time) * 600.0, Sighting { act: Act::SetBack, ..made("bare", "u-9") });
    }
    cluster.assert_quiet();
}

#[test]
fn only_the_same_images_as_written_count_together() {
    let mut cluster = Cluster::new();
    for version in 0..30 {
        let written = format!("postgres:17.{version}");
        cluster.see_images(f64::from(version) * 10.0, made("pg-1", "u-1"), &[(&written, "r.corp/x")]);
    }
    cluster.assert_quiet();
    // What they become may change, as a tag moves.
    for time in 0..12 {
        let result = format!("r.corp/hub/library/postgres:17@sha256:{time}");
        cluster.see_images(f64::from(300 + time), made("pg-1", "u-1"), &[("postgres:17", &result)]);
    }
    assert_eq!(cluster.news(), 1);
}

#[test]
fn a_fight_ends_with_a_pause_and_is_told_of_anew_after_a_quiet_hour_only() {
    let mut cluster = Cluster::new();
    let fight = |cluster: &mut Cluster, begin: f64| {
        (0..12).for_each(|time| cluster.see(begin + f64::from(time) * 10.0, made("pg-1", "u-1")));
        begin + 110.0
    };
    let end = fight(&mut cluster, 0.0);
    assert_eq!((cluster.news(), cluster.going_on(end), cluster.going_on(end + 300.0)), (1, 1, 1));
    assert_eq!((cluster.going_on(end + 301.0), cluster.fights.known(cluster.at(end + 3600.0)).len()), (0, 1));

    // One Pod more is none, twelve more are the same again.
    cluster.see(end + 600.0, made("pg-1", "u-1"));
    assert_eq!((cluster.news(), cluster.going_on(end + 600.0)), (0, 0));
    let end = fight(&mut cluster, end + 1000.0);
    assert_eq!((cluster.news(), cluster.going_on(end)), (0, 1));

    assert!(cluster.fights.known(cluster.at(end + 3601.0)).is_empty());
    let end = fight(&mut cluster, end + 4000.0);
    assert_eq!((cluster.news(), cluster.going_on(end)), (1, 1));
}

#[test]
fn memory_is_bounded_and_a_fight_is_noticed_among_many_others() {
    let mut cluster = Cluster::new();
    for time in 0..12 {
        let at = f64::from(time) * 10.0;
        cluster.see(at, made("pg-1", "u-1"));
        for other in 0..1000 {
            cluster.see(at, made(&format!("step-{time}-{other}"), "u-2"));
        }
    }
    assert_eq!(cluster.news(), 1);
    let runs = cluster.fights.runs();
    assert!((RUNS / 4..=RUNS).contains(&runs), "{runs}");
    let state = cluster.fights.state();
    assert!(state.runs.late.capacity() + state.runs.early.capacity() < 2 * RUNS, "neither has grown");
    drop(state);

    // More at once than are remembered.
    let mut cluster = Cluster::new();
    for time in 0..12 {
        for uid in 0..100 {
            cluster.see(f64::from(time) * 10.0, made("pg-1", &format!("u-{uid}")));
        }
    }
    assert_eq!(cluster.news(), FIGHTS);
    for time in 0..12 {
        cluster.see(900.0 + f64::from(time), made("pg-1", "a later one"));
    }
    assert_eq!(cluster.news(), 1, "it takes the place of one that is over");
    assert_eq!(cluster.fights.known(cluster.at(950.0)).len(), FIGHTS);
}

#[test]
fn what_is_kept_of_a_request_is_bounded() {
    let mut cluster = Cluster::new();
    let long = "é".repeat(5000);
    let images = vec![(&*long, &*long); 50];
    for time in 0..12 {
        cluster.see_images(f64::from(time), made(&long, "u-1"), &images);
    }
    let [fight] = &cluster.fights.news()[..] else { panic!("one fight") };
    assert_eq!((fight.pod.len(), fight.images.len()), (MAX_TEXT, 8));
    assert_eq!(fight.images[0].1.len(), MAX_TEXT);
}

#[test]
fn every_act_has_a_word_of_its_own() {
    let words: std::collections::BTreeSet<_> = Act::ALL.map(Act::word).into();
    assert_eq!(words.len(), Act::ALL.len());
}

#[test]
fn an_owner_whose_name_nobody_can_have_is_no_fight() {
    let mut cluster = Cluster::new();
    let name = "a".repeat(MAX_TEXT + 1);
    for time in 0..100 {
        let owner = Owner { name: &*name, ..owner("postgresql.cnpg.io/v1", "Cluster", "u-1") };
        cluster.see(f64::from(time) * 10.0, Sighting { owner, ..made("pg-1", "u-1") });
    }
    cluster.assert_quiet();
}
