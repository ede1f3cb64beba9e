//! Registries behind a login: basic over TLS, bearer tokens, and who gets in without.

use std::fs;

use serde_json::{Value, json};

use crate::{
    support::{Access, Outcome, PASSWORD, Scene, TokenServer, image},
    trials,
};

trials!["logins";
    the_secret_that_the_table_names_opens_a_registry_behind_tls_and_a_password,
    bearer_tokens_are_fetched_with_the_login_and_used_again,
    without_a_login_a_pod_is_rewritten_unpinned_and_told_why,
];

fn the_secret_that_the_table_names_opens_a_registry_behind_tls_and_a_password() -> Outcome {
    let scene = Scene::with_rules(RULES)
        .access(Access::Login)
        .registry_fields(&["credentials: harbor-pull"])
        .with_table_in_configmap()
        .start()?;
    let expected = scene.push("docker.io/library/nginx", "1.25");
    assert_eq!(image(&scene.create(&pod("web", "nginx:1.25")), "containers/web"), expected);
    scene.password_is_nowhere();
    Ok(())
}

fn bearer_tokens_are_fetched_with_the_login_and_used_again() -> Outcome {
    let tokens = TokenServer::start()?;
    let scene = Scene::with_rules(RULES)
        .access(tokens.access())
        .registry_fields(&["credentials: harbor-pull"])
        .with_table_in_configmap()
        .start()?;
    let tags = ["1.25", "1.26", "1.27"];
    let expected = tags.map(|tag| scene.push("docker.io/library/nginx", tag));
    let before = tokens.requests().len();
    for (tag, expected) in tags.iter().zip(&expected) {
        let created = scene.create(&pod(&format!("web-{tag}"), &format!("nginx:{tag}")));
        assert_eq!(image(&created, "containers/web"), expected);
    }
    let requests = tokens.requests().split_off(before);
    assert_eq!(requests.len(), 1, "one token is good for three tags: {requests:?}");
    assert_eq!(requests[0]["scopes"], json!(["repository:docker.io/library/nginx:pull"]));
    assert_eq!((&requests[0]["user"], &requests[0]["status"]), (&json!("puller"), &json!(200)));
    scene.password_is_nowhere();
    Ok(())
}

fn without_a_login_a_pod_is_rewritten_unpinned_and_told_why() -> Outcome {
    let scene = Scene::with_rules(RULES).access(Access::Login).start()?;
    scene.push("docker.io/library/nginx", "1.25");
    let said = scene.kubectl(&["run", "web", "--image=nginx:1.25"], "");
    assert!(said.stderr.contains("Warning:") && said.stderr.contains("unauthorized"), "{said:?}");
    let unpinned = scene.mirror("docker.io/library/nginx:1.25");
    assert_eq!(image(&scene.pod("web"), "containers/web"), unpinned);
    let line = scene.portolan.audited(|line| line["pod"] == "web").remove(0);
    assert_eq!((&line["outcome"], &line["reason"]), (&json!("rewritten"), &json!("unauthorized")), "{line}");
    Ok(())
}

impl Scene {
    /// The password is in no log, audit line, metric or page of Portolan's, nor in what the API server was told.
    pub fn password_is_nowhere(&self) {
        let encoded = self.registry.docker_config();
        let encoded: Value = serde_json::from_str(&encoded).unwrap();
        let encoded = encoded["auths"][self.registry.host()]["auth"].as_str().unwrap();
        let texts = [
            self.portolan.process.output(),
            fs::read_to_string(&self.portolan.audit_log).unwrap(),
            self.portolan.ops("/metrics").unwrap().1,
            self.portolan.ops("/readyz?verbose").unwrap().1,
            format!("{:?}", self.plane.audit_events(&self.namespace, "pods")),
        ];
        for text in texts {
            assert!(!text.contains(PASSWORD) && !text.contains(encoded), "the password is in: {text}");
        }
    }
}

fn pod(name: &str, image: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "web", "image": image}]}})
}

const RULES: &str = "rules:
  - source: docker.io
    mirrors: ['MIRROR/{registry}']
";
