//! Logins as this machine's user has them: files of podman and docker, and programs that know logins. The programs are
//! run for commands, and for the service never.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    support::{
        Access, LOGIN_SECRET, Missing, Outcome, PASSWORD, Portolan, PortolanOptions, Registry, Scene, USER,
        admit, binary, eventually, folder, patched,
    },
    trials,
};

trials!["local_logins";
    a_credential_helper_opens_a_registry_to_commands_and_is_asked_once,
    a_credential_helper_that_fails_is_named_with_what_to_do_and_nothing_of_it_is_shown,
    a_file_of_podmans_opens_a_registry_for_the_repositories_that_it_names,
    serve_runs_no_credential_helper_and_says_so,
    a_secret_names_no_program_to_run,
];

fn a_credential_helper_opens_a_registry_to_commands_and_is_asked_once() -> Outcome {
    let desk = Desk::new()?;
    desk.logins(".docker/config.json", &json!({"credHelpers": {desk.registry.host(): "shelf"}}));
    // It takes longer than registries are given: a person may have to unlock something.
    desk.helper("shelf", &format!("sleep 6; {}", desk.answer()));
    let explained = desk.run(&["explain", "nginx:1.25", "redis:7", "--resolve-timeout", "5s", "-o", "json"]);
    assert!(explained.status.success(), "{explained:?}");
    let rows: Vec<Value> = serde_json::from_slice(&explained.stdout).unwrap();
    let results: Vec<_> = rows.iter().map(|row| row["result"].as_str().unwrap()).collect();
    assert_eq!(results, [&*desk.nginx, &*desk.redis], "{rows:?}");
    assert_eq!(desk.asked(), format!("get {}\n", desk.registry.host()), "once for all images of a registry");
    desk.helper("shelf", &desk.answer());

    let images = [&desk.nginx, &desk.redis].map(|image| image.split('@').next().unwrap()).join("\n");
    fs::write(desk.folder.join("images.txt"), images).unwrap();
    let lock = ["lock", "--lock", "lock.txt", "pods.yaml"];
    for arguments in [&["save", "--images", "images.txt", "bundle"][..], &lock, &["check", "pods.yaml"]] {
        let ended = desk.run(arguments);
        assert!(ended.status.success(), "{arguments:?}: {ended:?}");
        assert_eq!(desk.asked().lines().count(), 1, "{arguments:?}");
    }
    let offline = desk.run(&["explain", "nginx:1.25", "--offline"]);
    assert!(offline.status.success(), "{offline:?}");
    assert_eq!(desk.asked(), "", "nobody was to be asked for anything");
    desk.holds_no_password();
    Ok(())
}

fn a_credential_helper_that_fails_is_named_with_what_to_do_and_nothing_of_it_is_shown() -> Outcome {
    let desk = Desk::new()?;
    let host = desk.registry.host();
    desk.logins(".docker/config.json", &json!({"credsStore": "shelf"}));
    let file = desk.folder.join(".docker/config.json").display().to_string();
    let explain = || {
        let ended = desk.run(&["explain", "nginx:1.25", "redis:7", "-o", "json"]);
        assert!(ended.status.success(), "a registry that refuses us is a decision: {ended:?}");
        let rows: Vec<Value> = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(
            (&rows[0]["reason"], &rows[1]["reason"]),
            (&json!("unauthorized"), &json!("unauthorized"))
        );
        String::from_utf8(ended.stderr).unwrap()
    };
    let begin = format!(
        "warning: no login to `{host}` came from the credential helper `docker-credential-shelf`, which `{file}` names: "
    );
    assert_eq!(
        explain(),
        format!(
            "{begin}there is no such program on the PATH\n\
             hint: install `docker-credential-shelf`, or take it out of `credHelpers` and `credsStore` in `{file}` and \
             log in again\n"
        )
    );
    desk.helper("shelf", &format!("{0}; {0} >&2; exit 7", desk.answer()));
    assert_eq!(
        explain(),
        format!(
            "{begin}it ended with exit status: 7\n\
             hint: see what `printf {host} | docker-credential-shelf get` says; without a login `{host}` is asked \
             anonymously\n"
        )
    );
    // That there is no login is no failure.
    desk.helper("shelf", "echo credentials not found in native keychain; exit 1");
    assert_eq!(explain(), "");
    desk.logins(".docker/config.json", &json!({"credsStore": "../shelf"}));
    assert!(explain().contains("a helper's name is made of letters, digits"), "no path is run");
    desk.holds_no_password();
    Ok(())
}

fn a_file_of_podmans_opens_a_registry_for_the_repositories_that_it_names() -> Outcome {
    let desk = Desk::new()?;
    let host = desk.registry.host();
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let wrong = STANDARD.encode(format!("{USER}:wrong"));
    // A namespace in the file of the session goes before the whole registry; docker's file comes after both.
    desk.logins(
        "run/containers/auth.json",
        &json!({"auths": {format!("{host}/hub/library/nginx"): {"auth": auth}, format!("{host}/hub/lib"): {"auth": wrong}}}),
    );
    desk.logins(".docker/config.json", &json!({"auths": {&host: {"auth": wrong}}}));
    let reasons = || {
        let ended = desk.run(&["explain", "nginx:1.25", "redis:7", "-o", "json"]);
        let rows: Vec<Value> =
            serde_json::from_slice(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        rows.iter().map(|row| row["reason"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(reasons(), ["pinned", "unauthorized"]);
    desk.logins(".config/containers/auth.json", &json!({"auths": {&host: {"auth": auth}}}));
    assert_eq!(reasons(), ["pinned", "pinned"], "the user's own file comes before docker's");
    fs::write(desk.folder.join(".config/containers/auth.json"), format!("{{\"auths\": {PASSWORD}")).unwrap();
    let ended = desk.run(&["explain", "nginx:1.25"]);
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stderr);
    let place = desk.folder.join(".config/containers/auth.json").display().to_string();
    assert!(said.contains(&place) && said.contains("line 1, column 11"), "{said}");
    desk.holds_no_password();
    Ok(())
}

fn serve_runs_no_credential_helper_and_says_so() -> Outcome {
    let desk = Desk::new()?;
    desk.helper("shelf", &desk.answer());
    desk.logins(
        ".docker/config.json",
        &json!({"credHelpers": {desk.registry.host(): "shelf"}, "credsStore": "shelf"}),
    );
    let table = fs::read_to_string(desk.folder.join("table.yaml")).unwrap();
    let variables = vec![("DOCKER_CONFIG", desk.folder.join(".docker").into()), ("PATH", desk.path().into())];
    let portolan =
        Portolan::start(&PortolanOptions { table: Some(table), variables, ..PortolanOptions::default() })?;
    unauthorized(&portolan);
    let warned = format!(r#""helpers":"{}: shelf, shelf""#, desk.registry.host());
    let output = portolan.process.output();
    assert!(
        output.lines().any(|line| line.contains(&warned) && line.contains("are not run by `serve`")),
        "{output}"
    );
    assert_eq!(desk.asked(), "");
    desk.holds_no_password();
    Ok(())
}

fn a_secret_names_no_program_to_run() -> Outcome {
    let scene = Scene::with_rules("rules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n")
        .access(Access::Login)
        .registry_fields(&["credentials: harbor-pull"])
        .with_table_in_configmap()
        .in_own_namespace()
        .start()?;
    let host = scene.registry.host();
    let desk = Desk::of(None)?;
    desk.helper("shelf", &desk.answer());
    let config = json!({"auths": {}, "credHelpers": {&host: "shelf"}, "credsStore": "shelf"}).to_string();
    let path = scene.own_path(&format!("secrets/{LOGIN_SECRET}"));
    let mut secret = scene.api().read(&path).unwrap();
    secret["data"] = json!({".dockerconfigjson": STANDARD.encode(config)});
    scene.api().replace(&path, &secret).unwrap();
    let portolan = scene.portolan.start_beside_with(&[("PATH", desk.path().into())])?;
    let warned = eventually(Duration::from_secs(30), || {
        let output = portolan.process.output();
        if output.contains("Secret has no key for the registry") { Ok(output) } else { Err(output) }
    });
    assert!(!warned.contains("are not run by `serve`"), "in a cluster nobody's files are read: {warned}");
    unauthorized(&portolan);
    assert_eq!(desk.asked(), "");
    Ok(())
}

/// An image in the registry that this Portolan has no login for.
fn unauthorized(portolan: &Portolan) {
    let answer = admit(&mut None, &portolan.address, "one", "nginx:1.25").expect("an answer");
    assert!(patched(&answer).is_some_and(|image| image.ends_with("/hub/library/nginx:1.25")), "{answer}");
    let line = portolan.audited(|line| line["uid"] == "one").remove(0);
    assert_eq!(line["reason"], json!("unauthorized"), "{line}");
}

/// A person's home, with a table, manifests, a folder of programs, and a registry behind a login.
struct Desk {
    registry: Registry,
    folder: PathBuf,
    nginx: String,
    redis: String,
}

impl Desk {
    fn new() -> Result<Self, Missing> {
        Self::of(Some(Access::Login))
    }

    /// With a registry that nobody needs if there is another.
    fn of(access: Option<Access>) -> Result<Self, Missing> {
        let registry = Registry::start(access.unwrap_or(Access::Plain))?;
        let folder = folder("desk");
        fs::create_dir(folder.join("bin")).unwrap();
        let rules = "rules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n";
        fs::write(folder.join("table.yaml"), Scene::table(&registry, rules, &[])).unwrap();
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\n\
                   spec: {containers: [{name: a, image: 'nginx:1.25'}, {name: b, image: 'redis:7'}]}\n";
        fs::write(folder.join("pods.yaml"), pod).unwrap();
        let push = |repository: &str, tag: &str| {
            format!("{}/{repository}:{tag}@{}", registry.host(), registry.push(repository, tag))
        };
        let (nginx, redis) = (push("hub/library/nginx", "1.25"), push("hub/library/redis", "7"));
        Ok(Self { registry, folder, nginx, redis })
    }

    /// A program `docker-credential-NAME` that takes note of what it is asked.
    fn helper(&self, name: &str, lines: &str) {
        let asked = self.folder.join("asked").display().to_string();
        let text = format!("#!/bin/sh\nread -r address || :\necho \"$1 $address\" >> {asked}\n{lines}\n");
        let program = self.folder.join("bin").join(format!("docker-credential-{name}"));
        fs::write(self.folder.join("draft"), text).unwrap();
        fs::set_permissions(self.folder.join("draft"), fs::Permissions::from_mode(0o755)).unwrap();
        // Written by another process: no test's process that starts meanwhile holds it open.
        assert!(Command::new("cp").arg(self.folder.join("draft")).arg(program).status().unwrap().success());
    }

    /// A line of shell that gives the right login.
    fn answer(&self) -> String {
        let login = json!({"ServerURL": self.registry.host(), "Username": USER, "Secret": PASSWORD});
        format!("echo '{login}'")
    }

    /// What programs were asked since the last call.
    fn asked(&self) -> String {
        let path = self.folder.join("asked");
        let asked = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        asked
    }

    fn logins(&self, name: &str, logins: &Value) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, logins.to_string()).unwrap();
    }

    fn path(&self) -> String {
        format!("{}:{}", self.folder.join("bin").display(), env::var("PATH").unwrap_or_default())
    }

    /// Runs a command that goes by the table; what it says holds no password.
    fn run(&self, arguments: &[&str]) -> Output {
        let (command, more) = arguments.split_first().unwrap();
        let output = Command::new(binary())
            .args([command, "--table", "table.yaml"])
            .args(more)
            .current_dir(&self.folder)
            .env_clear()
            .env("HOME", &self.folder)
            .env("XDG_RUNTIME_DIR", self.folder.join("run"))
            .env("PATH", self.path())
            .output()
            .unwrap();
        for said in [&output.stdout, &output.stderr] {
            shows_no_password(Path::new("what was said"), said);
        }
        output
    }

    /// In no file that a command wrote.
    fn holds_no_password(&self) {
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                // Where it was written by the test.
                let is_ours = ["bin", "draft", "run", ".docker", ".config"];
                if is_ours.iter().any(|name| path == self.folder.join(name)) {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                } else {
                    shows_no_password(&path, &fs::read(&path).unwrap());
                }
            }
        }
    }
}

fn shows_no_password(place: &Path, bytes: &[u8]) {
    let encoded = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let text = String::from_utf8_lossy(bytes);
    assert!(!text.contains(PASSWORD) && !text.contains(&encoded), "the password is in {}", place.display());
}
