//! Registries gone and every replica of Portolan started anew: what ran before is pinned the same.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    support::{
        Access, LOGIN_SECRET, Missing, Outcome, PASSWORD, Portolan, Scene, Shipped, eventually, folder, image,
    },
    trials,
};

trials!["warm";
    after_every_replica_was_killed_what_ran_before_is_pinned_the_same,
    after_every_replica_was_stopped_what_ran_before_is_pinned_the_same,
    a_second_signal_ends_the_wait_for_the_lease,
    one_replica_at_a_time_writes_and_when_it_dies_another_does,
    answers_got_with_a_login_are_for_that_login_and_nothing_of_it_is_written,
    what_cannot_be_read_is_said_and_the_rest_is_used,
    the_shipped_rights_are_enough_to_keep_answers,
];

fn after_every_replica_was_killed_what_ran_before_is_pinned_the_same() -> Outcome {
    let mut scene = scene(&["--keep-answers-every", "1s"])?;
    let mut other = scene.portolan.start_beside()?;
    let (nginx, redis) = (scene.push("hub/library/nginx", "1.25"), scene.push("hub/library/redis", "7"));
    let by_digest = format!("redis@{}", redis.split_once('@').unwrap().1);
    let postgres = scene.push("hub/library/postgres", "16");
    assert_eq!(scene.asks(&scene.portolan, "nginx:1.25").0, nginx);
    let existing = scene.asks(&scene.portolan, &by_digest).0;
    assert_eq!(existing, scene.mirror(&format!("hub/library/{by_digest}")));
    // Each of the replicas knows something that the other does not.
    scene.call(&other);
    scene.until_called(&other);
    assert_eq!(scene.asks(&other, "postgres:16").0, postgres);
    scene.until_kept(3);

    scene.portolan.process.kill();
    other.process.kill();
    scene.registry.kill();
    let known = [("nginx:1.25", &nginx), (&*by_digest, &existing), ("postgres:16", &postgres)];
    for portolan in [&mut other, &mut scene.portolan] {
        portolan.start_anew();
        portolan.until_ready();
    }
    for portolan in [&other, &scene.portolan] {
        scene.call(portolan);
        scene.until_called(portolan);
        scene.all_stale(portolan, &known);
        let (came, line) = scene.asks(portolan, "mysql:8");
        assert_eq!((came, &line["reason"]), (scene.mirror("hub/library/mysql:8"), &json!("unavailable")));
    }

    // What the registry says when it is back counts, and is what the next start finds.
    scene.registry.restart();
    scene.registry.push_other("hub/library/nginx", "1.25");
    let moved = scene.pinned("hub/library/nginx", "1.25");
    assert_ne!(moved, nginx);
    eventually(BACK_LIMIT, || {
        let (came, line) = scene.asks(&scene.portolan, "nginx:1.25");
        if came == moved { Ok(()) } else { Err(line) }
    });
    // A 404 ends what is known, here and in what is kept.
    scene.registry.restart_empty();
    let (came, line) = eventually(BACK_LIMIT, || {
        let (came, line) = scene.asks(&scene.portolan, "postgres:16");
        if line["reason"] == "missing" { Ok((came, line)) } else { Err(line) }
    });
    assert_eq!((came.as_str(), &line["outcome"]), ("postgres:16", &json!("kept")));
    eventually(KEPT_LIMIT, || {
        let kept = scene.kept();
        let digest = moved.split_once('@').unwrap().1;
        let has = |part: &str| kept.iter().any(|line| line.contains(part));
        if has(digest) && !has("postgres") { Ok(()) } else { Err(kept) }
    });
    // Also when it says so to a replica that has just started and has only what is kept.
    other.process.kill();
    other.start_anew();
    other.until_ready();
    assert!(metric(&other, "portolan_answers_restored") > 0);
    scene.call(&other);
    scene.until_called(&other);
    assert_eq!(scene.asks(&other, "nginx:1.25").1["reason"], "missing");
    scene.registry.kill();
    eventually(BACK_LIMIT, || {
        let (came, line) = scene.asks(&other, "nginx:1.25");
        assert!(!came.contains('@'), "{line}");
        if line["reason"] == "unavailable" { Ok(()) } else { Err(line) }
    });
    Ok(())
}

fn after_every_replica_was_stopped_what_ran_before_is_pinned_the_same() -> Outcome {
    // Nothing is written a second time before the end.
    let mut scene = scene(&["--keep-answers-every", "1h", "--drain-delay", "100ms"])?;
    let mut other = scene.portolan.start_beside()?;
    let (nginx, redis) = (scene.push("hub/library/nginx", "1.25"), scene.push("hub/library/redis", "7"));
    assert_eq!(scene.asks(&scene.portolan, "nginx:1.25").0, nginx);
    scene.call(&other);
    scene.until_called(&other);
    assert_eq!(scene.asks(&other, "redis:7").0, redis);

    thread::scope(|scope| {
        let stopping = scope.spawn(|| other.terminate());
        let status = scene.portolan.terminate();
        assert!(status.success(), "{status}");
        let status = stopping.join().unwrap();
        assert!(status.success(), "{status}");
    });
    assert_eq!(scene.kept().len(), 2, "each has had its turn: {:?}", scene.kept());
    assert_eq!(scene.holder(), Value::Null, "the Lease is given back");
    scene.registry.kill();
    for portolan in [&mut other, &mut scene.portolan] {
        portolan.start_anew();
        portolan.until_ready();
    }
    for portolan in [&other, &scene.portolan] {
        scene.call(portolan);
        scene.until_called(portolan);
        scene.all_stale(portolan, &[("nginx:1.25", &nginx), ("redis:7", &redis)]);
    }
    Ok(())
}

fn a_second_signal_ends_the_wait_for_the_lease() -> Outcome {
    // The first one to write keeps the Lease for an hour.
    let scene = scene(&["--keep-answers-every", "1h", "--drain-delay", "100ms"])?;
    eventually(KEPT_LIMIT, || match metric(&scene.portolan, "portolan_lease_held") {
        1 => Ok(()),
        other => Err(other),
    });
    let mut other = scene.portolan.start_beside()?;
    scene.push("hub/library/redis", "7");
    scene.call(&other);
    scene.until_called(&other);
    scene.asks(&other, "redis:7");
    other.process.signal("TERM");
    eventually(CALLED_LIMIT, || match TcpStream::connect(&other.address) {
        Ok(_) => Err("it still listens"),
        Err(_) => Ok(()),
    });
    let status = other.terminate();
    assert!(status.success(), "{status}");
    let output = other.process.output();
    assert!(output.contains("a second signal came"), "{output}");
    assert!(!output.contains("the Lease was not to be had in time"), "{output}");
    Ok(())
}

fn one_replica_at_a_time_writes_and_when_it_dies_another_does() -> Outcome {
    let scene = scene(&["--keep-answers-every", "1s"])?;
    // Two of its own, which the API server can tell apart.
    let start = |user: &str| {
        let mut kubeconfig: Value =
            serde_json::from_str(&fs::read_to_string(&scene.plane.kubectl.kubeconfig).unwrap()).unwrap();
        kubeconfig["users"][0]["user"]["as"] = json!(user);
        kubeconfig["users"][0]["user"]["as-groups"] = json!(["system:masters"]);
        let path = folder("replica").join("kubeconfig");
        fs::write(&path, kubeconfig.to_string()).unwrap();
        let said = "info,portolan::cluster::lease=debug".into();
        scene.portolan.start_beside_with(&[("KUBECONFIG", path.into()), ("RUST_LOG", said)])
    };
    let mut replicas = [start("replica-a")?, start("replica-b")?];
    let mut scene = scene;
    assert!(scene.portolan.terminate().success());
    for (portolan, name) in replicas.iter().zip(["nginx", "redis"]) {
        scene.push(&format!("hub/library/{name}"), "1");
        scene.call(portolan);
        scene.until_called(portolan);
        scene.asks(portolan, &format!("{name}:1"));
    }
    scene.until_kept(2);
    // The API server's log is written a moment after the answer. What it has by then is in turns that have begun by then.
    let writes = eventually(KEPT_LIMIT, || {
        let writes = scene.writes();
        let writers: BTreeSet<_> = writes.iter().map(|(user, _)| user.clone()).collect();
        if writers.len() >= 2 { Ok(writes) } else { Err(writers) }
    });
    let turns = replicas.each_ref().map(turns);
    for (begun, ended) in &turns[0] {
        let apart = turns[1].iter().all(|(other, until)| ended <= other || until <= begun);
        assert!(apart, "one at a time: {turns:?}");
    }
    let mut writers = BTreeSet::new();
    for (user, at) in writes {
        let turns = if user == "replica-a" { &turns[0] } else { &turns[1] };
        assert!(turns.iter().any(|(begun, ended)| *begun < at && at < *ended), "{user} at {at}: {turns:?}");
        writers.insert(user);
    }
    assert_eq!(writers, BTreeSet::from(["replica-a".to_owned(), "replica-b".to_owned()]), "by turns");

    let holder = eventually(KEPT_LIMIT, || {
        let holder = replicas.iter().position(|portolan| metric(portolan, "portolan_lease_held") == 1);
        holder.ok_or("nobody holds the Lease")
    });
    let before = scene.holder();
    replicas[holder].process.kill();
    let left = &replicas[1 - holder];
    // It takes the Lease when that has run out, and writes without losing what the dead one wrote.
    scene.push("hub/library/postgres", "1");
    scene.call(left);
    scene.until_called(left);
    scene.asks(left, "postgres:1");
    scene.until_kept(3);
    assert_ne!(scene.holder(), before);
    for errors in ["portolan_answers_errors_total", "portolan_lease_errors_total"] {
        assert_eq!(metric(left, errors), 0, "{}", left.process.output());
    }
    Ok(())
}

fn answers_got_with_a_login_are_for_that_login_and_nothing_of_it_is_written() -> Outcome {
    let mut scene = Scene::with_rules(RULES)
        .access(Access::Login)
        .registry_fields(&["credentials: harbor-pull"])
        .with_table_in_configmap()
        .in_own_namespace()
        .arguments(&["--keep-answers-every", "1s", "--drain-delay", "100ms"])
        .start()?;
    let nginx = scene.push("hub/library/nginx", "1.25");
    assert_eq!(scene.asks(&scene.portolan, "nginx:1.25").0, nginx);
    scene.until_kept(1);
    let secret = scene.api().read(&scene.own_path(&format!("secrets/{LOGIN_SECRET}"))).unwrap();
    let text = |field: &str| secret["metadata"][field].as_str().unwrap().to_owned();
    let key = format!("login-{}.{}", text("uid"), text("resourceVersion"));
    let map = scene.api().read(&scene.own_path("configmaps/portolan-answers-1")).unwrap();
    assert_eq!(map["data"].as_object().unwrap().keys().collect::<Vec<_>>(), [&key]);
    assert!(!map.to_string().contains(PASSWORD));
    scene.password_is_nowhere();

    scene.registry.kill();
    scene.portolan.restart();
    scene.portolan.until_ready();
    scene.until_called(&scene.portolan);
    scene.all_stale(&scene.portolan, &[("nginx:1.25", &nginx)]);
    // Another login may not see it, as far as anybody knows.
    let edit = json!({"stringData": {".dockerconfigjson": scene.docker_config_of("another")}}).to_string();
    scene.plane.kubectl.must(
        &[
            "--namespace",
            &scene.own_namespace,
            "patch",
            "secret",
            LOGIN_SECRET,
            "--type=merge",
            "--patch",
            &edit,
        ],
        "",
    );
    scene.portolan.restart();
    scene.portolan.until_ready();
    scene.until_called(&scene.portolan);
    let (came, line) = scene.asks(&scene.portolan, "nginx:1.25");
    assert_eq!((came, &line["reason"]), (scene.mirror("hub/library/nginx:1.25"), &json!("unavailable")));
    Ok(())
}

fn what_cannot_be_read_is_said_and_the_rest_is_used() -> Outcome {
    let mut scene = scene(&["--keep-answers-every", "1h", "--drain-delay", "100ms"])?;
    let nginx = scene.push("hub/library/nginx", "1.25");
    assert_eq!(scene.asks(&scene.portolan, "nginx:1.25").0, nginx);
    assert!(scene.portolan.terminate().success());
    let text = scene.kept().remove(0);
    let future = format!("{} 2099-01-01T00:00:00Z", text.rsplit_once(' ').unwrap().0);
    let old = future.replace("2099", "1999").replace("nginx", "redis");
    let data = json!({"anonymous": format!("{future}\nnonsense\n{old}\n\u{fffd} a b c\n"), "foreign": "key"});
    let edit = json!({"data": data}).to_string();
    scene.plane.kubectl.must(
        &[
            "--namespace",
            &scene.own_namespace,
            "patch",
            "configmap",
            "portolan-answers-1",
            "--type=merge",
            "--patch",
            &edit,
        ],
        "",
    );
    scene.plane.kubectl.must(
        &[
            "--namespace",
            &scene.own_namespace,
            "create",
            "configmap",
            "portolan-answers-2",
            "--from-literal=table.yaml=rules",
        ],
        "",
    );
    scene.registry.kill();
    scene.portolan.start_anew();
    scene.portolan.until_ready();
    scene.until_called(&scene.portolan);

    // What is from the future counts as asked now, what is older than a week not at all.
    scene.all_stale(&scene.portolan, &[("nginx:1.25", &nginx)]);
    assert_eq!(scene.asks(&scene.portolan, "redis:1.25").1["reason"], "unavailable");
    assert_eq!(metric(&scene.portolan, "portolan_answers_restored"), 1);
    let output = scene.portolan.process.output();
    let warnings: Vec<_> =
        output.lines().filter(|line| line.contains("answers kept in the cluster cannot be read")).collect();
    assert_eq!(warnings.len(), 2, "{output}");
    let place = "ConfigMap `portolan-answers-1`, key `anonymous`: line 2: ";
    assert!(warnings[0].contains(place) && warnings[0].contains("3 such lines"), "{}", warnings[0]);
    assert!(warnings[1].contains("`portolan-answers-2`, key `table.yaml`"), "{}", warnings[1]);
    // Written anew with the next write, with the time that it counts for; what is not ours stays.
    eventually(KEPT_LIMIT, || {
        let map = scene.api().read(&scene.own_path("configmaps/portolan-answers-1")).unwrap();
        let text = map["data"]["anonymous"].as_str().unwrap_or_default().to_owned();
        assert_eq!(map["data"]["foreign"], "key");
        if text.contains("nginx") && text.lines().count() == 1 && !text.contains("2099") {
            Ok(())
        } else {
            Err(text)
        }
    });
    Ok(())
}

fn the_shipped_rights_are_enough_to_keep_answers() -> Outcome {
    let mut shipped = Shipped::install()?;
    shipped.set_rules(RULES);
    let digest = shipped.registry.push("hub/library/nginx", "1.25");
    let expected = format!("{}/hub/library/nginx:1.25@{digest}", shipped.registry.host());
    let create = |shipped: &Shipped| {
        let created =
            shipped.plane.api.create("/api/v1/namespaces/default/pods?dryRun=All", &pod("web", "nginx:1.25"));
        image(&created.unwrap(), "containers/web").to_owned()
    };
    assert_eq!(create(&shipped), expected);
    assert!(shipped.portolan.terminate().success());
    assert_eq!(kept(&shipped.plane.api, "portolan").len(), 1);
    shipped.registry.kill();
    // Once more, since now all objects are there.
    for _ in 0..2 {
        shipped.start_again()?;
        assert_eq!(create(&shipped), expected);
        eventually(KEPT_LIMIT, || match metric(&shipped.portolan, "portolan_lease_held") {
            1 => Ok(()),
            other => Err(other),
        });
        for errors in ["portolan_answers_errors_total", "portolan_lease_errors_total"] {
            assert_eq!(metric(&shipped.portolan, errors), 0, "{}", shipped.portolan.process.output());
        }
        assert!(shipped.portolan.terminate().success());
    }
    Ok(())
}

impl Scene {
    /// What the image of a new Pod comes out as, and what that Portolan's audit log says of it.
    fn asks(&self, portolan: &Portolan, written: &str) -> (String, Value) {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("dry-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let shown = self.api().create(&self.path("pods?dryRun=All"), &pod(&name, written)).unwrap();
        let line = portolan.audited(|line| line["pod"] == *name).remove(0);
        (image(&shown, "containers/web").to_owned(), line)
    }

    /// Waits until Pods come to that Portolan, and not to another one any more.
    fn until_called(&self, portolan: &Portolan) {
        eventually(CALLED_LIMIT, || {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let name = format!("probe-{}", COUNT.fetch_add(1, Ordering::Relaxed));
            // A placeholder: no registry is asked.
            self.api().create(&self.path("pods?dryRun=All"), &pod(&name, "auto")).unwrap();
            for _ in 0..10 {
                if portolan.audit().iter().any(|line| line["pod"] == *name) {
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(10));
            }
            Err("the API server does not call it")
        });
    }

    /// These come out so, and are known from before.
    fn all_stale(&self, portolan: &Portolan, images: &[(&str, &String)]) {
        for (written, expected) in images {
            let (came, line) = self.asks(portolan, written);
            // Of a digest that is in the reference it is only known that it exists.
            let from = if written.contains('@') { "reference" } else { "stale" };
            assert_eq!((&came, &line["resolvedFrom"]), (*expected, &json!(from)), "{line}");
            assert!(["pinned", "carried"].contains(&line["reason"].as_str().unwrap()), "{line}");
        }
    }

    /// The lines that are kept.
    fn kept(&self) -> Vec<String> {
        kept(self.api(), &self.own_namespace)
    }

    /// Waits until so many answers are kept.
    fn until_kept(&self, count: usize) {
        eventually(KEPT_LIMIT, || {
            let kept = self.kept();
            if kept.len() == count { Ok(()) } else { Err(kept) }
        });
    }

    /// Who holds the Lease.
    fn holder(&self) -> Value {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/portolan", self.own_namespace);
        self.api().read(&path).unwrap()["spec"]["holderIdentity"].clone()
    }

    /// Who has written answers, and when.
    fn writes(&self) -> Vec<(String, String)> {
        let events = self.plane.audit_events(&self.own_namespace, "configmaps");
        let ours = events.iter().filter(|event| {
            event["objectRef"]["name"].as_str().is_some_and(|name| name.starts_with("portolan-answers-"))
        });
        ours.map(|event| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&event["impersonatedUser"]["username"]), text(&event["requestReceivedTimestamp"]))
        })
        .collect()
    }

    /// The `.dockerconfigjson` of another user of the registry.
    fn docker_config_of(&self, user: &str) -> String {
        json!({"auths": {self.registry.host(): {"username": user, "password": PASSWORD}}}).to_string()
    }
}

/// When a replica held the Lease, by its own log.
fn turns(portolan: &Portolan) -> Vec<(String, String)> {
    let output = portolan.process.output();
    let times = |said: &str| {
        let lines = output.lines().filter(|line| line.contains(said));
        let times = lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["timestamp"].clone());
        times.map(|time| time.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let ended = times("the Lease is no longer ours").into_iter().chain(["still".to_owned()]);
    times("the Lease is ours").into_iter().zip(ended).collect()
}

fn kept(api: &crate::support::Api, namespace: &str) -> Vec<String> {
    let maps = api.list(&format!("/api/v1/namespaces/{namespace}/configmaps"));
    let ours = maps.iter().filter(|map| {
        map["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("portolan-answers-"))
    });
    let texts = ours.filter_map(|map| map["data"].as_object()).flat_map(serde_json::Map::values);
    texts.flat_map(|text| text.as_str().unwrap().lines().map(str::to_owned)).collect()
}

/// A scene in which Portolan is in the cluster, as far as it can tell.
fn scene(arguments: &[&str]) -> Result<Scene, Missing> {
    Scene::with_rules(RULES).with_table_in_configmap().in_own_namespace().arguments(arguments).start()
}

fn metric(portolan: &Portolan, name: &str) -> u64 {
    let text = portolan.ops("/metrics").unwrap().1;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no metric {name} in {text}")).parse().unwrap()
}

fn pod(name: &str, image: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "web", "image": image}]}})
}

const RULES: &str = "rules:\n  - source: docker.io\n    mirrors: ['MIRROR/hub']\n";

/// The Lease of one that was killed runs out after 15 s and is looked at every 5.
const KEPT_LIMIT: Duration = Duration::from_secs(120);

/// A registry that did not answer is left alone for 10 s.
const BACK_LIMIT: Duration = Duration::from_secs(90);

const CALLED_LIMIT: Duration = Duration::from_secs(60);
