use insta::assert_snapshot;
use serde_json::Value;

use super::{Folder, timeless};

const TABLE: &str = r#"apiVersion: portolan.dev/v1
kind: MappingTable
rules:
  - source: docker.io
    mirrors: [registry.example.com/hub]
  - source: docker.io/library
    mirrors: [registry.example.com/official]
    namespaces: ["team-*"]
  - source: ghcr.io/acme/debug
    keep: true
  - source: quay.io
    mirrors: ["127.0.0.1:1/quay"]
    onUnavailable: deny
registries:
  - host: 127.0.0.1:1
    plainHttp: true
"#;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("table.yaml", TABLE);
    folder
}

#[tokio::test]
async fn offline_it_says_result_rule_and_what_was_considered() {
    let ended = folder()
        .run(&["explain", "nginx:1.25", "ghcr.io/acme/debug:1", "--table", "table.yaml", "--offline"])
        .await;
    assert_snapshot!(ended.shown(), @r"
    exit 0
    --- stdout
    nginx:1.25
      rewritten (offline)
      result      registry.example.com/hub/library/nginx:1.25
      reference   docker.io/library/nginx:1.25
      rule        docker.io (line 4)
      mirror      registry.example.com/hub
      mirrors     registry.example.com/hub/library/nginx:1.25  not asked: `--offline` asks no registry
      considered  docker.io/library in team-* (line 6)  for some namespaces only: it is for `team-*`, and no namespace was given
                  docker.io (line 4)                    won

    ghcr.io/acme/debug:1
      kept (exception)
      result      ghcr.io/acme/debug:1
      reference   ghcr.io/acme/debug:1
      rule        ghcr.io/acme/debug (line 9)
      considered  ghcr.io/acme/debug (line 9)  won
    ");
}

#[tokio::test]
async fn as_json_it_is_an_array_with_every_field_of_the_contract() {
    let arguments =
        ["explain", "nginx", "--table", "table.yaml", "--offline", "--namespace", "team-a", "-o", "json"];
    let ended = folder().run(&arguments).await;
    assert_snapshot!(ended.shown(), @r#"
    exit 0
    --- stdout
    [
      {
        "written": "nginx",
        "reference": "docker.io/library/nginx:latest",
        "rule": "docker.io/library",
        "mirror": "registry.example.com/official",
        "result": "registry.example.com/official/nginx:latest",
        "digest": null,
        "outcome": "rewritten",
        "reason": "offline",
        "resolvedFrom": null,
        "mirrors": [
          {
            "mirror": "registry.example.com/official",
            "reference": "registry.example.com/official/nginx:latest",
            "asked": false,
            "answer": "not-asked",
            "detail": "`--offline` asks no registry"
          }
        ],
        "considered": [
          {
            "rule": "docker.io/library",
            "line": 6,
            "namespaces": [
              "team-*"
            ],
            "mirror": null,
            "fate": "won",
            "why": null
          },
          {
            "rule": "docker.io",
            "line": 4,
            "namespaces": null,
            "mirror": null,
            "fate": "less specific",
            "why": "`docker.io/library` of line 6 is longer"
          }
        ]
      }
    ]
    "#);
}

#[tokio::test]
async fn a_denied_or_invalid_image_is_exit_1_and_a_silent_registry_alone_is_not() {
    let folder = folder();
    let denied = folder.run(&["explain", "quay.io/a/b:1", "--table", "table.yaml"]).await;
    assert_snapshot!(timeless(&denied.shown()), @r"
    exit 1
    --- stdout
    quay.io/a/b:1
      denied (unavailable)
      reference   quay.io/a/b:1
      rule        quay.io (line 11)
      mirror      127.0.0.1:1/quay
      mirrors     127.0.0.1:1/quay/a/b:1  unreachable: cannot reach the registry: the request failed: error sending request: client error (Connect): tcp connect error: Connection refused (os error 111) (… ms)
      considered  quay.io (line 11)  won
    ");
    let invalid = folder.run(&["explain", "nginx", "Not::", "--table", "table.yaml", "--offline"]).await;
    assert_eq!(invalid.code, 1);
    folder.write("rewrite.yaml", &TABLE.replace("onUnavailable: deny", "onUnavailable: rewrite"));
    let silent = folder.run(&["explain", "quay.io/a/b:1", "--table", "rewrite.yaml"]).await;
    assert_eq!(silent.code, 0, "{}", silent.shown());
    assert!(silent.stdout.contains("rewritten (unavailable)"), "{}", silent.stdout);
}

#[tokio::test]
async fn a_dash_reads_one_image_a_line() {
    let arguments =
        ["explain", "-", "ghcr.io/acme/debug:1", "--table", "table.yaml", "--offline", "-o", "json"];
    let ended = folder().run_with(&arguments, "nginx\n\n  redis:7  \nauto\r\nbusybox").await;
    let rows: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    let written: Vec<_> = rows.iter().map(|row| row["written"].as_str().unwrap()).collect();
    assert_eq!(written, ["nginx", "redis:7", "auto", "busybox", "ghcr.io/acme/debug:1"]);
    assert_eq!(ended.code, 0);
}

#[tokio::test]
async fn offline_a_digest_counts_as_existing() {
    let image = format!("nginx@sha256:{}", "0".repeat(64));
    let ended = folder().run(&["explain", &image, "--table", "table.yaml", "--offline", "-o", "json"]).await;
    let rows: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&rows[0]["reason"], &rows[0]["resolvedFrom"]), (&"carried".into(), &"reference".into()));
    assert_eq!(rows[0]["digest"], image["nginx@".len()..]);
}

#[tokio::test]
async fn what_keeps_it_from_finding_out_is_exit_2() {
    let folder = folder();
    folder.write("mistakes.yaml", include_str!("../../fixtures/tables/twenty-mistakes.yaml"));
    let mistakes = folder.run(&["explain", "nginx", "--table", "mistakes.yaml", "--offline"]).await;
    assert_eq!((mistakes.code, &*mistakes.stdout), (2, ""));
    let expected = include_str!("../../fixtures/tables/twenty-mistakes.txt");
    assert_eq!(mistakes.stderr, format!("error: cannot read the mapping table `mistakes.yaml`: {expected}"));

    let absent = folder.run(&["explain", "nginx", "--table", "absent.yaml"]).await;
    assert_snapshot!(absent.shown(), @r"
    exit 2
    --- stderr
    error: cannot read the mapping table `absent.yaml`: No such file or directory (os error 2)
    ");
    let nothing = folder.run(&["explain", "--table", "table.yaml"]).await;
    assert_eq!(nothing.code, 2);
    let no_cluster = folder.run(&["explain", "nginx"]).await;
    assert_eq!(no_cluster.code, 2);
    let begin =
        "error: cannot read the mapping table in ConfigMap `portolan/portolan-table`: cannot find a cluster";
    assert!(no_cluster.stderr.starts_with(begin), "{}", no_cluster.stderr);
}

#[tokio::test]
async fn the_lock_gives_digests_offline_and_denies_where_it_is_required() {
    let folder = folder();
    let digest = format!("sha256:{}", "a".repeat(64));
    folder.write("lock.txt", &format!("registry.example.com/hub/library/nginx:1.25 {digest}\n"));
    folder.write("require.yaml", &TABLE.replace("rules:", "defaults: {lock: require}\nrules:"));
    let explain = async |table: &str, image: &str| {
        let arguments = ["explain", image, "--table", table, "--lock", "lock.txt", "--offline", "-o", "json"];
        let ended = folder.run(&arguments).await;
        let row = serde_json::from_str::<Value>(&ended.stdout).unwrap()[0].clone();
        (ended.code, row)
    };
    for table in ["table.yaml", "require.yaml"] {
        let (code, row) = explain(table, "nginx:1.25").await;
        assert_eq!(
            (code, &row["reason"], &row["resolvedFrom"]),
            (0, &"pinned".into(), &"lock".into()),
            "{row}"
        );
        assert_eq!(row["digest"], digest);
        assert_eq!(row["result"], format!("registry.example.com/hub/library/nginx:1.25@{digest}"));
    }
    let (code, row) = explain("table.yaml", "nginx:1.26").await;
    assert_eq!((code, &row["reason"]), (0, &"offline".into()));
    let (code, row) = explain("require.yaml", "nginx:1.26").await;
    assert_eq!((code, &row["outcome"], &row["reason"]), (1, &"denied".into(), &"not-locked".into()));
    assert_eq!((&row["result"], &row["digest"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_lock_that_cannot_be_read_is_exit_2_and_says_why() {
    let folder = folder();
    let explain = async |lock: &str| {
        folder.run(&["explain", "nginx", "--table", "table.yaml", "--lock", lock, "--offline"]).await.shown()
    };
    folder.write("lock.txt", "# by hand\nnginx:1.25 sha256:abc\n");
    assert_snapshot!(explain("lock.txt").await, @r"
    exit 2
    --- stderr
    error: cannot read the lock `lock.txt`: line 2, column 1: `nginx:1.25` is not written in full; write `docker.io/library/nginx:1.25`
    line 2, column 12: `sha256:abc` is no digest: a digest of `sha256` has 64 lower-case hex digits; a line is a mirror's reference, a blank and a digest, as in `registry.example.com/hub/library/nginx:1.25 sha256:…`
    ");
    assert_snapshot!(explain("absent.txt").await, @r"
    exit 2
    --- stderr
    error: cannot read the lock `absent.txt`: No such file or directory (os error 2)
    ");
}
