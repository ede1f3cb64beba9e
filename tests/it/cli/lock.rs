use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt as _, time::Duration};

use insta::assert_snapshot;
use portolan::lock::Lock;
use serde_json::Value;

use super::{Ended, Folder};
use crate::support::{
    fake_registry::{FakeRegistry, Fault, manifest},
    webhook::table,
};

fn folder(registry: &FakeRegistry) -> Folder {
    let folder = Folder::new();
    let host = registry.host();
    let text = table(
        &[
            &format!("{{source: docker.io, mirrors: ['{host}/first', '{host}/second']}}"),
            &format!("{{source: ghcr.io, mirrors: ['{host}/ghcr'], lock: ignore}}"),
            &format!("{{source: gcr.io, mirrors: ['{host}/gcr'], pin: off}}"),
            "{source: quay.io, mirrors: ['127.0.0.1:1/quay']}",
        ],
        &[&format!("{{host: '{host}', plainHttp: true}}"), "{host: '127.0.0.1:1', plainHttp: true}"],
    );
    folder.write("table.yaml", &text);
    folder
}

impl Folder {
    async fn lock(&self, images: &str, arguments: &[&str]) -> Ended {
        self.run_with(&[&["lock", "--table", "table.yaml", "-"], arguments].concat(), images).await
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }
}

#[tokio::test]
async fn the_first_mirror_that_has_an_image_gets_the_line() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let (a, b) = (manifest("a"), manifest("b"));
    let first = registry.put("first/library/nginx", "1", &a);
    registry.put("second/library/nginx", "1", &b);
    let second = registry.put("second/library/redis", "7", &b);
    for repository in ["ghcr/x", "gcr/x"] {
        registry.put(repository, "1", &a);
    }
    let images = format!(
        "redis:7\nnginx:1\ndocker.io/library/nginx:1\nnginx:1@{first}\nghcr.io/x:1\ngcr.io/x:1\nexample.com/x\n\
         {host}/second/library/redis:7\nauto\n"
    );
    let ended = folder(&registry).lock(&images, &[]).await;
    let shown = ended
        .shown()
        .replace(&host, "HOST")
        .replace(first.as_str(), "FIRST")
        .replace(second.as_str(), "SECOND");
    assert_snapshot!(shown, @r"
    exit 0
    --- stdout
    # Written by `portolan lock` from what the mirrors held. A line: a mirror's reference, a blank, its digest.
    HOST/first/library/nginx:1 FIRST
    HOST/first/library/nginx@FIRST FIRST
    HOST/second/library/redis:7 SECOND
    ");
    Lock::parse(&ended.stdout).unwrap();
    let json = folder(&registry).lock(&images, &["-o", "json"]).await;
    let rows: Vec<Value> = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(
        (&rows[2]["reference"], &rows[2]["digest"]),
        (&format!("{host}/second/library/redis:7").into(), &second.as_str().into())
    );
}

#[tokio::test]
async fn a_file_is_brought_up_to_date_in_one_step_and_pruned_when_asked() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let folder = folder(&registry);
    registry.put("first/library/nginx", "1", &manifest("old"));
    assert_eq!(folder.lock("nginx:1\n", &["--lock", "lock.txt"]).await.code, 0);
    let made = folder.read("lock.txt");
    assert!(made.starts_with("# Written by"), "{made}");
    let old = format!("# ours\n{}other.example.com/app:1 sha256:{} # by hand\n", made, "a".repeat(64));
    folder.write("lock.txt", &old);
    let path = folder.path().join("lock.txt");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let reader = fs::File::open(&path).unwrap();

    let new = registry.put("first/library/nginx", "1", &manifest("new"));
    let redis = registry.put("second/library/redis", "7", &manifest("redis"));
    let ended = folder.lock("nginx:1\nredis:7\n", &["--lock", "lock.txt"]).await;
    assert_eq!((ended.code, &*ended.stdout), (0, ""), "{}", ended.shown());
    let kept = format!("other.example.com/app:1 sha256:{} # by hand\n", "a".repeat(64));
    let lines = format!("{host}/first/library/nginx:1 {new}\n{host}/second/library/redis:7 {redis}\n");
    let head = made.lines().next().unwrap();
    assert_eq!(folder.read("lock.txt"), format!("# ours\n{head}\n{lines}{kept}"));
    // Whoever had the file open has the whole old one.
    assert_eq!(std::io::read_to_string(reader).unwrap(), old);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);

    let ended = folder.lock("redis:7\n", &["--lock", "lock.txt", "--prune"]).await;
    assert_eq!(ended.code, 0);
    assert_eq!(folder.read("lock.txt"), format!("# ours\n{head}\n{host}/second/library/redis:7 {redis}\n"));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".new")), "{left:?}");
    // Without the images nobody knows what is needed.
    let nothing = folder.lock("# nothing\n", &["--lock", "lock.txt", "--prune"]).await;
    assert_eq!(nothing.code, 2);
    let unread = folder.lock("redis:7\n", &["absent.yaml", "--lock", "lock.txt", "--prune"]).await;
    assert_eq!(unread.code, 2);
    assert!(folder.read("lock.txt").contains("redis:7"));
}

#[tokio::test]
async fn what_no_mirror_has_is_exit_1_and_a_silent_registry_2_and_the_rest_is_written() {
    let registry = FakeRegistry::start().await;
    let host = registry.host();
    let folder = folder(&registry);
    let nginx = registry.put("first/library/nginx", "1", &manifest("nginx"));
    let quay = format!("127.0.0.1:1/quay/a/b:1 sha256:{}\n", "b".repeat(64));
    folder.write("lock.txt", &quay);
    let line = format!("{host}/first/library/nginx:1 {nginx}\n");

    let silent = folder
        .lock("nginx:1\nquay.io/a/b:1\n", &["--lock", "lock.txt", "--prune", "--resolve-timeout", "1s"])
        .await;
    assert_eq!(silent.code, 2, "{}", silent.shown());
    assert!(
        silent.stderr.contains("unknown: nobody said whether `quay.io/a/b:1` is at `127.0.0.1:1/quay/a/b:1`")
    );
    assert_eq!(folder.read("lock.txt"), format!("{quay}{line}"), "its old line stays, pruned or not");

    let missing = folder.lock("nginx:1\nredis\nquay.io/a/b:1\n", &[]).await;
    assert_eq!(missing.code, 1);
    assert!(missing.stdout.ends_with(&line), "{}", missing.shown());
    let said = format!(
        "missing: `redis` is not at `{host}/first/library/redis:latest` or `{host}/second/library/redis:latest`"
    );
    assert!(missing.stderr.lines().any(|line| line == said), "{}", missing.stderr);

    // The second mirror has it, but the first may have it too, and would be the one that counts.
    registry.put("second/library/redis", "latest", &manifest("redis"));
    registry.fault_at("first/library/redis", Fault::Status(503));
    let doubtful = folder.lock("redis\n", &[]).await;
    assert_eq!((doubtful.code, doubtful.stdout.lines().count()), (2, 1), "{}", doubtful.shown());

    folder.write("lock.txt", "nginx\n");
    let broken = folder.lock("nginx:1\n", &["--lock", "lock.txt"]).await;
    assert_eq!((broken.code, folder.read("lock.txt").as_str()), (2, "nginx\n"));
}

#[tokio::test]
async fn config_maps_are_labelled_small_and_together_the_whole_lock() {
    let registry = FakeRegistry::start().await;
    let folder = folder(&registry);
    let digest = registry.put("first/library/nginx", "1", &manifest("nginx"));
    let old: Vec<_> = (0..4000).map(|number| format!("r.example.com/apps/app:{number} {digest}\n")).collect();
    folder.write("lock.txt", &old.concat());
    let ended = folder.lock("nginx:1\n", &["--lock", "lock.txt", "-o", "configmaps"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let maps: Vec<Value> =
        ended.stdout.split("---\n").map(|document| serde_json::from_str(document).unwrap()).collect();
    assert_eq!(maps.len(), 3);
    let mut text = String::new();
    for (number, (map, document)) in maps.iter().zip(ended.stdout.split("---\n")).enumerate() {
        assert!(document.len() <= 200 * 1024, "{}", document.len());
        assert_eq!((&map["apiVersion"], &map["kind"]), (&"v1".into(), &"ConfigMap".into()));
        assert_eq!(map["metadata"]["name"], format!("portolan-lock-{}", number + 1));
        assert_eq!(map["metadata"]["namespace"], "portolan");
        assert_eq!(map["metadata"]["labels"]["portolan.dev/lock"], "true");
        text.push_str(map["data"]["lock.txt"].as_str().unwrap());
    }
    assert_eq!(Lock::parse(&text).unwrap().lines().len(), 4001);
    assert_eq!(Lock::parse(&folder.read("lock.txt")).unwrap().lines().len(), 4001);
}

#[tokio::test]
async fn with_a_slow_registry_every_image_is_asked_about() {
    let registry = FakeRegistry::start().await;
    let mut images = String::new();
    for number in 0..200 {
        registry.put("first/library/app", &number.to_string(), &manifest(&number.to_string()));
        writeln!(images, "app:{number}").unwrap();
    }
    registry.fault(Fault::Delay(Duration::from_millis(60)));
    let ended = folder(&registry).lock(&images, &["--resolve-timeout", "500ms"]).await;
    assert_eq!((ended.code, ended.stdout.lines().count()), (0, 201), "{}", ended.stderr);
}
