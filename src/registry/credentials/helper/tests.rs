use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

use super::*;
use crate::registry::credentials::{Candidate, ScopedLogin, brought};

/// A folder with programs, and what was reported of them.
struct Shelf {
    folder: tempfile::TempDir,
    reported: Arc<Mutex<Vec<String>>>,
}

impl Shelf {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), reported: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program of these lines; the folder is its working directory.
    fn put(&self, name: &str, lines: &str) {
        let text = format!("#!/bin/sh\ncd {}\n{lines}\n", self.folder.path().display());
        program(&self.path(&format!("docker-credential-{name}")), &text);
    }

    fn runner(&self, limit: Duration) -> Arc<Runner> {
        let reported = Arc::clone(&self.reported);
        let report = move |error: &HelperError| {
            let chain = format!("{error}: {}; {}; {error:?}", error.problem, error.remedy());
            reported.lock().unwrap_or_else(PoisonError::into_inner).push(chain);
        };
        let path = format!("{}:/usr/bin:/bin", self.folder.path().display());
        Arc::new(Runner { limit, path: Some(path.into()), ..Runner::new(report) })
    }

    fn ask(&self, name: &str, registry: &str) -> HelperAsk {
        self.ask_within(name, registry, Duration::from_secs(20))
    }

    fn ask_within(&self, name: &str, registry: &str, limit: Duration) -> HelperAsk {
        let file = "/home/me/.docker/config.json".into();
        HelperAsk { file, name: name.into(), registry: registry.into(), runner: self.runner(limit) }
    }

    fn reported(&self) -> Vec<String> {
        std::mem::take(&mut self.reported.lock().unwrap())
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

/// Another process writes it: one that is started meanwhile cannot hold it open for writing, which keeps it from running.
fn program(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(std::process::Command::new("cp").args([&draft, path]).status().unwrap().success());
}

fn password(user: &str, password: &str) -> Login {
    Login::Password { user: user.into(), password: password.into() }
}

#[tokio::test]
async fn a_program_is_asked_with_get_and_the_registry_on_its_stdin() {
    let shelf = Shelf::new();
    shelf.put(
        "shelf",
        r#"echo "$@" > arguments; cat > asked
           echo '{"ServerURL": "elsewhere", "Username": "robot", "Secret": "s3:cret"}'"#,
    );
    let login = shelf.ask("shelf", "r.corp:5000").login().await;
    assert_eq!(login, Some(password("robot", "s3:cret")));
    assert_eq!(
        (shelf.read("arguments"), shelf.read("asked")),
        ("get\n".to_owned(), "r.corp:5000".to_owned())
    );
    assert_eq!(shelf.reported(), Vec::<String>::new());
}

#[tokio::test]
async fn docker_hub_is_asked_for_as_docker_files_it_and_then_as_podman_does() {
    let shelf = Shelf::new();
    shelf.put(
        "podmans",
        r#"read -r address; echo "$address" >> asked
           [ "$address" = docker.io ] || { echo "credentials not found in native keychain"; exit 1; }
           echo '{"Username": "<token>", "Secret": "refresh"}'"#,
    );
    let login = shelf.ask("podmans", "docker.io").login().await;
    assert_eq!(login, Some(Login::IdentityToken("refresh".into())));
    assert_eq!(shelf.read("asked"), "https://index.docker.io/v1/\ndocker.io\n");
}

#[tokio::test]
async fn what_knows_no_login_brings_none_and_is_no_error() {
    let shelf = Shelf::new();
    shelf.put("empty", "echo 'credentials not found in native keychain'; exit 1");
    shelf.put("nobody", r#"echo '{"ServerURL": "", "Username": "", "Secret": ""}'"#);
    for name in ["empty", "nobody"] {
        assert_eq!(shelf.ask(name, "r.corp").login().await, None, "{name}");
    }
    assert_eq!(shelf.reported(), Vec::<String>::new());
}

#[tokio::test]
async fn what_fails_is_named_with_its_registry_and_the_remedy_and_not_quoted() {
    let shelf = Shelf::new();
    shelf.put("fails", "echo canary; echo canary >&2; exit 3");
    shelf.put("mumbles", r#"echo '{"Username": "canary", "Secret": canary'"#);
    shelf.put("chatters", r#"while echo '{"Username": "u", "Secret": "canary"}'; do :; done"#);
    std::fs::write(shelf.path("docker-credential-flat"), "canary").unwrap();
    for (name, expected) in [
        (
            "fails",
            "it ended with exit status: 3; see what `printf r.corp | docker-credential-fails get` says",
        ),
        ("mumbles", "its answer is not the JSON of a login; see what"),
        ("chatters", "its answer is longer than 64 KiB; see what"),
        ("flat", "it cannot be run; see what"),
        (
            "absent",
            "there is no such program on the PATH; install `docker-credential-absent`, or take it out of",
        ),
        (
            "../shelf",
            "a helper's name is made of letters, digits, `-`, `_` and `.`, and begins with a letter or digit; mend",
        ),
        ("-x", "a helper's name is made of"),
        (".x", "a helper's name is made of"),
        ("a b", "a helper's name is made of"),
        (&"x".repeat(65), "a helper's name is made of"),
    ] {
        assert_eq!(shelf.ask(name, "r.corp").login().await, None, "{name}");
        let reported = shelf.reported();
        let [told] = &*reported else { panic!("{name}: {reported:?}") };
        let shown = excerpt(name, MAX_SHOWN);
        let begin = format!(
            "no login to `r.corp` came from the credential helper `docker-credential-{shown}`, which \
             `/home/me/.docker/config.json` names: {expected}"
        );
        assert!(told.starts_with(&begin), "{told}\n{begin}");
        assert!(!told.contains("canary"), "{told}");
    }
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_ended() {
    let shelf = Shelf::new();
    shelf.put("hangs", "echo $$ > id; exec sleep 600");
    let ask = shelf.ask_within("hangs", "r.corp", Duration::from_secs(1));
    assert_eq!(ask.login().await, None);
    let reported = shelf.reported().join("\n");
    assert!(reported.contains(": it did not answer within 1 s; see what"), "{reported}");
    let id = shelf.read("id");
    assert!(!id.is_empty() && !Path::new("/proc").join(id.trim()).exists(), "`{id}` is still there");
}

#[tokio::test]
async fn programs_are_asked_in_order_until_one_knows_a_login() {
    let shelf = Shelf::new();
    for (name, answer) in [
        ("first", "echo 'credentials not found in native keychain'; exit 1"),
        ("second", r#"echo '{"Username": "second", "Secret": "s"}'"#),
        ("third", r#"echo '{"Username": "third", "Secret": "s"}'"#),
    ] {
        shelf.put(name, &format!("echo {name} >> asked; {answer}"));
    }
    let candidates =
        ["first", "absent", "second", "third"].map(|name| Candidate::Helper(shelf.ask(name, "r.corp")));
    let logins = brought(&candidates).await;
    let found: Vec<_> = logins.iter().map(|scoped: &ScopedLogin| (*scoped.login).clone()).collect();
    assert_eq!(found, [password("second", "s")]);
    assert_eq!(shelf.read("asked"), "first\nsecond\n");
    assert_eq!(shelf.reported().len(), 1, "the one that is not there");
}

#[test]
fn debug_output_names_the_program_and_the_registry_alone() {
    let shown = format!("{:?}", Shelf::new().ask("shelf", "r.corp"));
    assert_eq!(shown, r#"HelperAsk { name: "shelf", registry: "r.corp", .. }"#);
}
