//! docs/install.md, done: every command of the page in its order, on the real node.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command, time::Duration};

use crate::{
    support::{Outcome, Site, binary, eventually, folder, image, repository},
    trials,
};

trials!["page"; the_install_page_can_be_followed_to_its_end];

fn the_install_page_can_be_followed_to_its_end() -> Outcome {
    let site = Site::plain()?;
    let helm = site.helm()?;
    let Site { plane, registry, .. } = &site;

    let page = fs::read_to_string(repository().join("docs/install.md")).unwrap();
    let folder = desk(&page, &site);
    let path = [&binary(), &helm.program, &plane.kubectl.program]
        .map(|program| program.parent().unwrap().display().to_string())
        .join(":");
    let shell = |command: &str| {
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", command]).current_dir(&folder).env_clear();
        shell.env("PATH", format!("{path}:/usr/bin:/bin")).env("HOME", &folder);
        let output = shell.env("KUBECONFIG", &plane.kubectl.kubeconfig).output().unwrap();
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            Ok(said.into_owned())
        } else {
            Err(format!("{command}: {said}{errors}"))
        }
    };
    let run = |command: &str| shell(command).unwrap_or_else(|said| panic!("{said}"));
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
                eventually(Duration::from_secs(20), || {
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
                    eventually(Duration::from_secs(20), || {
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
    run("kubectl wait --namespace portolan --for=delete pod --all --timeout=60s");
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

/// A folder as the page's reader has it: the repository's, the table, and a kustomization of their own.
fn desk(page: &str, site: &Site) -> std::path::PathBuf {
    let folder = folder("page");
    for part in ["certs", "manifests"] {
        symlink(repository().join(part), folder.join(part)).unwrap();
    }
    let table = site.table(&[]);
    fs::create_dir(folder.join("portolan")).unwrap();
    for place in [Path::new("table.yaml"), Path::new("portolan/table.yaml")] {
        fs::write(folder.join(place), &table).unwrap();
    }
    let (_, rest) = page.split_once("```yaml\n").unwrap();
    let (kustomization, _) = rest.split_once("```").unwrap();
    let kustomization = kustomization.replace("your.registry", &site.registry.host());
    fs::write(folder.join("portolan/kustomization.yaml"), kustomization).unwrap();
    folder
}

/// What is indented, lines that are continued joined.
fn commands(page: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut is_continued = false;
    // Every second part is between fences.
    let lines = page.split("```").step_by(2).flat_map(str::lines);
    for line in lines.filter_map(|line| line.strip_prefix("    ")) {
        match commands.last_mut() {
            Some(command) if is_continued => {
                command.truncate(command.trim_end_matches('\\').len());
                command.push_str(line.trim_start());
            }
            _ => commands.push(line.to_owned()),
        }
        is_continued = line.ends_with('\\');
    }
    commands
}

/// How many there are, so that none goes unnoticed.
const COMMANDS: usize = 20;
const SKIPPED: usize = 5;
