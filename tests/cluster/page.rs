//! The pages for those who run Portolan, done: every command of each page in its order, on the real node.

mod desk;

use std::time::Duration;

use serde_json::json;

use self::desk::{Desk, commands, page};
use crate::{
    support::{Image, Outcome, Site, binary, eventually, image},
    trials,
};

trials!["page";
    the_install_page_can_be_followed_to_its_end,
    what_the_other_pages_say_can_be_done,
];

fn the_install_page_can_be_followed_to_its_end() -> Outcome {
    let site = Site::plain()?;
    let desk = Desk::at(&site)?;
    let Site { plane, registry, .. } = &site;
    let page = page("install");
    let (shell, run) = (|command: &str| desk.shell(command), |command: &str| desk.run(command));
    let kustomized = [
        "kubectl apply -k portolan",
        "kubectl delete mutatingwebhookconfiguration,validatingwebhookconfiguration portolan",
        "kubectl delete -k portolan --ignore-not-found",
    ];
    let (mut done, mut skipped) = (Vec::new(), Vec::new());
    for command in commands(&page) {
        let command = command.replace("registry.example.com", &registry.host());
        match command.as_str() {
            // By and by, instead of Helm; below.
            _ if kustomized.contains(&&*command) => skipped.push(command),
            // The same with other words.
            _ if command.contains('…') => skipped.push(command),
            _ if command.starts_with("kubectl --namespace portolan logs") => {
                // Somebody's Pods come, in a namespace made after the first step.
                run(
                    "kubectl create namespace team-a && kubectl label namespace team-a portolan.dev/rewrite=audit",
                );
                run("kubectl --namespace team-a create deployment web --image=nginx:1.25");
                // The API server learns of endpoints and of labels a moment later.
                eventually(LIMIT, || {
                    run("kubectl --namespace team-a delete pods --all --wait=false");
                    shell(&command)
                });
                done.push(command);
            }
            _ => {
                run(&command);
                if command.contains("rollout restart") {
                    // One namespace is rewritten.
                    let expected = site.rewritten();
                    eventually(LIMIT, || {
                        let pods = plane.api.list("/api/v1/namespaces/team-a/pods");
                        let images: Vec<_> =
                            pods.iter().map(|pod| image(pod, "containers/nginx").to_owned()).collect();
                        if images.contains(&expected) { Ok(()) } else { Err(images) }
                    });
                }
                done.push(command);
            }
        }
    }
    assert_eq!((done.len(), skipped.len()), (COMMANDS, SKIPPED), "{done:#?}\n{skipped:#?}");

    // And with kustomize.
    run("kubectl wait --namespace portolan --for=delete pod --all --timeout=180s");
    run(kustomized[0]);
    let deployment = plane.api.read("/apis/apps/v1/namespaces/portolan/deployments/portolan").unwrap();
    let own = image(&deployment["spec"]["template"], "containers/portolan").to_owned();
    assert_eq!(own, format!("{}/portolan/portolan:0.1.0", registry.host()));
    let table = plane.api.read("/api/v1/namespaces/portolan/configmaps/portolan-table").unwrap();
    assert!(table["data"]["table.yaml"].as_str().unwrap().contains(&registry.host()));
    run(kustomized[1]);
    run(kustomized[2]);
    let left = run(
        "kubectl get namespaces,clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations --selector app.kubernetes.io/name=portolan --output name",
    );
    assert_eq!(left, "");
    assert!(plane.api.read("/api/v1/namespaces/portolan").is_err());
    Ok(())
}

/// On one cluster, after another: what is broken by one is mended by the next, or here.
fn what_the_other_pages_say_can_be_done() -> Outcome {
    let site = Site::plain()?;
    let desk = Desk::at(&site)?;
    let registry = &site.registry;
    registry.push_image("portolan/portolan", "0.2.0", &Image::program("portolan", &binary()));
    let run = |command: &str| desk.run(command);
    run("kubectl create namespace team-a && kubectl label namespace team-a portolan.dev/rewrite=enabled");
    run(&format!(
        "helm install portolan manifests/chart --namespace portolan --create-namespace --wait \
         --set image.registry={} --set-file table.content=table.yaml",
        registry.host()
    ));
    run("kubectl --namespace team-a create deployment web --image=nginx:1.25");

    let mut done = 0;
    for name in ["troubleshoot", "operate", "upgrade"] {
        let mut forward = None;
        for command in commands(&page(name)) {
            done += 1;
            let at = || format!("{name}: {command}");
            match command.as_str() {
                _ if command.contains(" port-forward ") => forward = Some(desk.forward(&command)?),
                _ if command.starts_with("curl ") => {
                    let said = forward.as_ref().unwrap().curl(&desk, &command);
                    assert!(said.contains("certificate") && said.contains("table"), "{}: {said}", at());
                }
                // Refused by Portolan, and by nobody else.
                _ if command.contains("\"broken\"") => {
                    let denial = "admission webhook \"configmaps.portolan.dev\" denied the request";
                    // It is a dry run; replicas may be young, and the API server not know of them yet.
                    eventually(LIMIT, || match desk.shell(&command) {
                        Err(said) if said.contains(denial) => Ok(()),
                        other => Err((at(), other)),
                    });
                }
                // What it looks for has to have happened, to replicas that may be young.
                _ if command.contains(" logs ") => {
                    eventually(LIMIT, || {
                        // Again and again: the API server may not know yet that the webhook is back.
                        run("kubectl --namespace team-a delete pods --selector app=web --wait=false");
                        if command.contains("missing") {
                            run("kubectl --namespace team-a delete pod absent --ignore-not-found --now");
                            run("kubectl --namespace team-a run absent --image=nginx:0.0");
                        }
                        desk.shell(&command)
                    });
                    run("kubectl --namespace team-a delete pod absent --ignore-not-found");
                }
                _ if command.starts_with("helm test") => {
                    let said = run(&command);
                    assert!(said.contains("Phase:          Succeeded"), "{}: {said}", at());
                }
                _ if command.starts_with("portolan check") => {
                    let said = run(&command);
                    assert!(said.contains(&site.rewritten()), "{}: {said}", at());
                }
                _ if command.contains("openssl") => {
                    let said = run(&command);
                    assert!(said.contains("notAfter=") || said.contains("ingerprint="), "{}: {said}", at());
                }
                _ => {
                    run(&command);
                }
            }
            if command.contains("rewrite=disabled") {
                run("kubectl label namespace team-a portolan.dev/rewrite=enabled --overwrite");
            }
        }
    }
    assert_eq!(done, OTHER_COMMANDS);

    // After all of it Pods are rewritten.
    let pod = json!({"metadata": {"name": "last"}, "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]}});
    eventually(LIMIT, || {
        let shown = site.plane.api.create("/api/v1/namespaces/team-a/pods?dryRun=All", &pod);
        let came = shown.map(|shown| image(&shown, "containers/web").to_owned());
        if came.as_ref().is_ok_and(|came| *came == site.rewritten()) { Ok(()) } else { Err(came) }
    });
    Ok(())
}

/// For the node, and for what the API server learns a moment later.
const LIMIT: Duration = Duration::from_secs(180);

/// How many there are, so that none goes unnoticed.
const COMMANDS: usize = 20;
const SKIPPED: usize = 5;
const OTHER_COMMANDS: usize = 66;
