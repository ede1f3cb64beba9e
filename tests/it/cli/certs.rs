use std::{fs, os::unix::fs::PermissionsExt as _};

use insta::assert_snapshot;
use portolan::tls::Pair;

use super::Folder;

#[tokio::test]
async fn files_are_made_once_and_a_key_is_never_overwritten() {
    let folder = Folder::new();
    assert_snapshot!(folder.run(&["certs"]).await.shown(), @r"
    exit 0
    --- stderr
    made ca.crt, tls.crt and tls.key in `certs` for localhost, 127.0.0.1, ::1, portolan.portolan.svc, portolan.portolan.svc.cluster.local; valid for 90 days
    ");
    let read = |name: &str| fs::read(folder.path().join("certs").join(name)).unwrap();
    Pair::parse(&read("tls.crt"), &read("tls.key")).unwrap();
    let mode = fs::metadata(folder.path().join("certs/tls.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = read("tls.key");
    assert_snapshot!(folder.run(&["certs"]).await.shown(), @r"
    exit 2
    --- stderr
    error: there is a key already: `certs/tls.key`
    ");
    assert_eq!(read("tls.key"), before);
}

#[tokio::test]
async fn as_a_secret_they_go_to_stdout_and_to_no_file() {
    let folder = Folder::new();
    let ended = folder.run(&["certs", "--output", "secret", "--namespace", "mirrors"]).await;
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"[A-Za-z0-9+/]{100,}=*", "[base64]");
    settings.bind(|| {
        assert_snapshot!(ended.shown(), @r"
        exit 0
        --- stdout
        apiVersion: v1
        kind: Secret
        metadata:
          name: portolan-tls
          namespace: mirrors
        type: kubernetes.io/tls
        data:
          ca.crt: [base64]
          tls.crt: [base64]
          tls.key: [base64]
        ");
    });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
