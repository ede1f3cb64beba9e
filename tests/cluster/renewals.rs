//! Logins that change while Portolan runs: a Secret with another password, tokens that are good for a moment only.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    support::{
        Access, LOGIN_SECRET, OTHER_PASSWORD, Outcome, Scene, TokenServer, admit, eventually, image, patched,
    },
    trials,
};

trials!["renewals";
    a_secret_with_another_password_is_used_without_a_restart,
    tokens_that_expire_under_load_are_fetched_again_before_they_do,
];

fn a_secret_with_another_password_is_used_without_a_restart() -> Outcome {
    let scene = Scene::with_rules(RULES)
        .access(Access::Login)
        .registry_fields(&["credentials: harbor-pull"])
        // A refusal is not forgotten: only another login helps.
        .arguments(&["--negative", "1h"])
        .with_table_in_configmap()
        .start()?;
    let [before, between, after] =
        ["1.25", "1.26", "1.27"].map(|tag| scene.push("docker.io/library/nginx", tag));
    assert_eq!(scene.dry_run("before", "nginx:1.25").0, before);

    scene.registry.change_password();
    let (came, line) = scene.dry_run("between", "nginx:1.26");
    assert_eq!(line["reason"], "unauthorized", "{line}");
    assert_eq!(came, scene.mirror("docker.io/library/nginx:1.26"));

    let process = scene.portolan.process.id();
    let login = scene.registry.docker_config_with(OTHER_PASSWORD);
    let patch = json!({"stringData": {".dockerconfigjson": login}}).to_string();
    scene.kubectl(&["patch", "secret", LOGIN_SECRET, "--patch", &patch], "");
    eventually(LIMIT, || {
        let (came, line) = scene.dry_run("again", "nginx:1.26");
        if came == between { Ok(()) } else { Err(line) }
    });
    assert_eq!(image(&scene.create(&pod("after", "nginx:1.27")), "containers/web"), after);
    assert_eq!(scene.portolan.process.id(), process);
    scene.password_is_nowhere();
    let said = [scene.portolan.process.output(), scene.portolan.ops("/metrics").unwrap().1];
    assert!(said.iter().all(|text| !text.contains(OTHER_PASSWORD)), "{said:?}");
    Ok(())
}

fn tokens_that_expire_under_load_are_fetched_again_before_they_do() -> Outcome {
    let tokens = TokenServer::start_with(LIFE)?;
    let scene = Scene::with_rules(RULES)
        .access(tokens.access())
        .registry_fields(&["credentials: harbor-pull"])
        .arguments(&["--fresh", "1s"])
        .with_table_in_configmap()
        .start()?;
    let images = ["nginx", "redis", "postgres", "mysql"]
        .map(|name| (format!("{name}:1"), scene.push(&format!("docker.io/library/{name}"), "1")));
    let (asked_before, accesses_before) = (tokens.requests().len(), scene.registry.accesses().len());

    let begun = Instant::now();
    let admissions: usize = thread::scope(|scope| {
        let load = || {
            let (mut connection, mut count) = (None, 0);
            while begun.elapsed() < LOAD {
                let (written, expected) = &images[count % images.len()];
                let answer = admit(&mut connection, &scene.portolan.address, "one", written);
                assert_eq!(patched(&answer.expect("an answer")).as_ref(), Some(expected));
                count += 1;
                thread::sleep(PACE);
            }
            count
        };
        let threads = [0; CLIENTS].map(|_| scope.spawn(load));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let time = begun.elapsed();

    // A token is used for nine tenths of its life, and then no longer.
    let mut fetched = HashMap::new();
    for request in tokens.requests().split_off(asked_before) {
        assert_eq!(request["status"], 200, "{request}");
        *fetched.entry(request["scopes"][0].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    let most = time.as_millis() / USED_FOR.as_millis() + 1;
    assert_eq!(fetched.len(), images.len(), "{fetched:?}");
    for (scope, count) in &fetched {
        assert!((3..=most).contains(count), "{count} tokens in {time:?} for {scope}, at most {most}");
    }
    // Who has a token, or knows that one is wanted, is never refused.
    let accesses = scene.registry.accesses().split_off(accesses_before);
    let ours = |line: &&String| line.contains("\"portolan/");
    let refused = accesses.iter().filter(ours).filter(|line| line.contains("\" 401 ")).count();
    assert!(refused <= images.len(), "{refused} of {} were refused", accesses.iter().filter(ours).count());
    assert!(admissions > 500, "{admissions} admissions in {time:?} are no load");
    scene.password_is_nowhere();
    Ok(())
}

fn pod(name: &str, image: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "web", "image": image}]}})
}

const RULES: &str = "rules:
  - source: docker.io
    mirrors: ['MIRROR/{registry}']
";

/// How long a token is good, as the token server says; the registry adds a minute, so that it is Portolan who has to
/// look at the time.
const LIFE: &str = "2s";

/// For so long of it a token is used.
const USED_FOR: Duration = Duration::from_millis(1800);

const LOAD: Duration = Duration::from_secs(8);
const CLIENTS: usize = 4;
const PACE: Duration = Duration::from_millis(10);

/// For a Secret to be seen, on a machine that may have other things to do.
const LIMIT: Duration = Duration::from_secs(60);
