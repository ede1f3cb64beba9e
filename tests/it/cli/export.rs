//! `portolan export`: what is written where, and what the page about it says.

use std::fs;

use super::Folder;

const TABLE: &str = "apiVersion: portolan.dev/v1\nkind: MappingTable\nrules:\n  - {source: docker.io, mirrors: [r.corp/hub]}\n";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("table.yaml", TABLE);
    folder
}

#[tokio::test]
async fn policies_go_to_stdout_and_what_they_cannot_say_to_stderr() {
    for (kind, object, version, warning) in [
        (
            "validating-admission-policy",
            "ValidatingAdmissionPolicy",
            "admissionregistration.k8s.io/v1",
            "warning: the rule of line 4: `pin` is not asked for",
        ),
        (
            "mutating-admission-policy",
            "MutatingAdmissionPolicy",
            "admissionregistration.k8s.io/v1beta1",
            "warning: the rule of line 4: `pin` cannot be had",
        ),
    ] {
        let ended = folder().run(&["export", kind, "--table", "table.yaml"]).await;
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let objects: Vec<serde_json::Value> = serde_saphyr::from_multiple(&ended.stdout).unwrap();
        let kinds: Vec<_> = objects.iter().map(|one| one["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, [object, &format!("{object}Binding")]);
        assert!(objects.iter().all(|one| one["apiVersion"] == version), "{}", ended.stdout);
        assert_eq!(objects[0]["metadata"]["name"], objects[1]["spec"]["policyName"]);
        let selectors = &objects[0]["spec"]["matchConstraints"]["namespaceSelector"]["matchExpressions"];
        assert_eq!(selectors[1]["values"], serde_json::json!(["portolan"]));
        assert!(ended.stderr.contains(warning), "{}", ended.stderr);
        assert!(!ended.stdout.contains("warning"), "{}", ended.stdout);
    }
}

#[tokio::test]
async fn the_own_namespace_and_whether_pods_may_opt_out_are_as_they_are_said() {
    let arguments = ["export", "validating-admission-policy", "--table", "table.yaml"];
    let flags = ["--own-namespace", "infra", "--pod-opt-out", "false"];
    let ended = folder().run(&[&arguments[..], &flags].concat()).await;
    let policy: Vec<serde_json::Value> = serde_saphyr::from_multiple(&ended.stdout).unwrap();
    let constraints = &policy[0]["spec"]["matchConstraints"];
    assert_eq!(constraints["namespaceSelector"]["matchExpressions"][1]["values"][0], "infra");
    assert!(constraints["objectSelector"].is_null(), "{constraints}");
    let ended = folder().run(&[&arguments[..], &["--own-namespace", "a'b"]].concat()).await;
    assert_eq!((ended.code, &*ended.stdout), (2, ""), "{}", ended.stderr);
}

#[tokio::test]
async fn a_table_that_cannot_be_read_or_is_too_large_is_no_policy() {
    let folder = folder();
    folder.write("broken.yaml", "rules: 7");
    let rule = |number| {
        format!("  - {{source: registry.example.com/team-{number}, mirrors: [r.corp/team-{number}]}}\n")
    };
    let rules = TABLE.to_owned() + &(0..30_000).map(rule).collect::<Vec<_>>().concat();
    folder.write("large.yaml", &rules);
    for (table, said) in [
        ("absent.yaml", "cannot read the mapping table `absent.yaml`"),
        ("broken.yaml", "cannot read the mapping table `broken.yaml`"),
        ("large.yaml", "and an API server stores objects of no more than 1400000"),
    ] {
        let ended = folder.run(&["export", "validating-admission-policy", "--table", table]).await;
        assert_eq!((ended.code, &*ended.stdout), (2, ""), "{}", ended.stderr);
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
}

#[test]
fn the_page_about_failing_open_names_what_there_is() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/fail-open.md")).unwrap();
    let rule = fs::read_to_string(root.join("manifests/chart/templates/prometheusrule.yaml")).unwrap();
    let metrics = portolan::metrics::Metrics::new().encode();
    for name in ["portolan_unrewritten_pods", "portolan_unrewritten_errors_total"] {
        assert!(page.contains(name) && metrics.contains(&format!("\n{name} 0\n")), "{name}");
    }
    assert!(page.contains("`PortolanUnrewrittenPods`") && rule.contains("alert: PortolanUnrewrittenPods\n"));
    let values = fs::read_to_string(root.join("manifests/chart/values.yaml")).unwrap();
    for value in ["podOptOut", "findUnrewritten"] {
        assert!(
            page.contains(&format!("`{value}: false`")) && values.contains(&format!("\n{value}: true\n"))
        );
    }
}
