use insta::assert_snapshot;

use super::Folder;

const TABLE: &str = "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules: []\n";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("table.yaml", TABLE);
    folder
}

#[tokio::test]
async fn without_a_table_or_a_certificate_it_says_how_to_name_one() {
    let folder = folder();
    assert_snapshot!(folder.run(&["serve", "--tls-self"]).await.shown(), @r"
    exit 2
    --- stderr
    error: no mapping table: outside a cluster name one with `--table FILE` or `--table-configmap NS/NAME`
    ");
    assert_snapshot!(folder.run(&["serve", "--table", "table.yaml"]).await.shown(), @r"
    exit 2
    --- stderr
    error: no certificate: name one with `--tls-dir DIR` or `--tls-cert FILE --tls-key FILE`, or make one with `--tls-self`
    ");
    assert_snapshot!(folder.run(&["serve", "--table", "table.yaml", "--tls-dir", "absent"]).await.shown(), @r"
    exit 2
    --- stderr
    error: cannot use the certificate: cannot read `absent/tls.crt`: No such file or directory (os error 2)
    ");
    folder.write("tls.crt", "no PEM");
    folder.write("tls.key", "no PEM");
    let garbage = folder.run(&["serve", "--table", "table.yaml", "--tls-dir", "."]).await;
    assert_eq!(garbage.code, 2);
    assert!(garbage.stderr.contains("cannot use the certificate"), "{}", garbage.stderr);
}

#[tokio::test]
async fn a_table_with_mistakes_ends_it_and_every_mistake_is_named() {
    let folder = folder();
    folder.write("mistakes.yaml", include_str!("../../fixtures/tables/twenty-mistakes.yaml"));
    let ended = folder.run(&["serve", "--table", "mistakes.yaml", "--tls-self"]).await;
    assert_eq!((ended.code, &*ended.stdout), (2, ""));
    let expected = include_str!("../../fixtures/tables/twenty-mistakes.txt");
    assert!(
        ended.stderr.ends_with(&format!("error: cannot read the mapping table `mistakes.yaml`: {expected}")),
        "{}",
        ended.stderr
    );

    let absent = folder.run(&["serve", "--table", "absent.yaml", "--tls-self"]).await;
    assert_eq!(absent.code, 2);
    let last = absent.stderr.lines().last().unwrap();
    assert_snapshot!(last, @"error: cannot read the mapping table `absent.yaml`: No such file or directory (os error 2)");
}

#[tokio::test]
async fn a_lock_with_mistakes_ends_it_and_every_mistake_is_named() {
    let folder = folder();
    let serve = async |lock: &str| {
        let ended = folder.run(&["serve", "--table", "table.yaml", "--tls-self", "--lock", lock]).await;
        assert_eq!((ended.code, &*ended.stdout), (2, ""));
        ended.stderr
    };
    folder.write("lock.txt", "nginx:1.25\n\nr.corp/app:1 sha256:abc");
    let mistakes = serve("lock.txt").await;
    // Above it are lines of the log.
    let mistakes = &mistakes[mistakes.find("error: ").unwrap()..];
    assert_snapshot!(mistakes, @r"
    error: cannot read the lock `lock.txt`: line 1, column 1: `nginx:1.25` is not written in full; write `docker.io/library/nginx:1.25`
    line 1, column 11: the line has no digest; a line is a mirror's reference, a blank and a digest, as in `registry.example.com/hub/library/nginx:1.25 sha256:…`
    line 3, column 14: `sha256:abc` is no digest: a digest of `sha256` has 64 lower-case hex digits; a line is a mirror's reference, a blank and a digest, as in `registry.example.com/hub/library/nginx:1.25 sha256:…`
    ");
    assert_snapshot!(serve("absent.txt").await.lines().last().unwrap(), @"error: cannot read the lock `absent.txt`: No such file or directory (os error 2)");
}

#[tokio::test]
async fn a_flag_that_cannot_be_read_is_named_with_its_remedy() {
    let folder = folder();
    let run = async |flag: &str, value: &str| {
        let ended = folder.run(&["serve", "--table", "table.yaml", "--tls-self", flag, value]).await;
        assert_eq!(ended.code, 2, "{flag} {value}");
        ended.stderr
    };
    assert_snapshot!(run("--fresh", "soon").await, @r"
    error: invalid value 'soon' for '--fresh <TIME>': `soon` is no duration; write it as in `2s`, `500ms`, `10m` or `7d`

    For more information, try '--help'.
    ");
    assert_snapshot!(run("--listen", "somewhere").await, @r"
    error: invalid value 'somewhere' for '--listen <ADDRESS>': `somewhere` is no address; write it as in `127.0.0.1:9443` or `:9443`

    For more information, try '--help'.
    ");
    assert_snapshot!(run("--status-listen", "0.0.0.0:9442").await, @r"
    error: invalid value '0.0.0.0:9442' for '--status-listen <ADDRESS>': `0.0.0.0:9442` is not a loopback address, which is all that the status port listens on; write it as in `127.0.0.1:9442`, and reach it from elsewhere by `kubectl port-forward`

    For more information, try '--help'.
    ");
    assert!(run("--status-listen", ":9442").await.contains("`[::]:9442` is not a loopback address"));
    assert_snapshot!(run("--mode", "watch").await, @r"
    error: invalid value 'watch' for '--mode <MODE>'
      [possible values: audit, enforce]

    For more information, try '--help'.
    ");
    let both = run("--table-configmap", "a/b").await;
    assert!(both.contains("'--table <FILE>' cannot be used with '--table-configmap <NS/NAME>'"), "{both}");
    let half = folder.run(&["serve", "--table", "table.yaml", "--tls-cert", "tls.crt"]).await;
    assert!(half.code == 2 && half.stderr.contains("--tls-key <FILE>"), "{}", half.stderr);
}

#[tokio::test]
async fn an_address_that_is_taken_and_a_log_that_cannot_be_written_end_it() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = folder
        .run(&[
            "serve",
            "--table",
            "table.yaml",
            "--tls-self=ca.crt",
            "--listen",
            &address,
            "--ops-listen",
            &address,
        ])
        .await;
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
    // The authority for clients to trust was written before.
    assert!(
        std::fs::read_to_string(folder.path().join("ca.crt")).unwrap().starts_with("-----BEGIN CERTIFICATE")
    );

    let ended = folder
        .run(&["serve", "--table", "table.yaml", "--tls-self", "--audit-log", "absent/audit.log"])
        .await;
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("absent/audit.log"), "{}", ended.stderr);
}
