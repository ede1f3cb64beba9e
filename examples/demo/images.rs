//! What became of each image, as the API server, the registry and the audit log have it now.

use std::{collections::BTreeSet, time::Duration};

use portolan::image::Reference;
use serde_json::Value;

use crate::{
    stage::{MOUNT_IMAGE, MOUNT_POD, NAMESPACE, Stage, containers, read, text},
    support::eventually,
};

/// One image of one Pod.
pub(crate) struct Seen {
    /// The workload that made the Pod, `kind/name`; none for a Pod that was created by itself.
    pub(crate) owner: Option<String>,
    /// The Pod's name.
    pub(crate) pod: String,
    /// The container's name.
    pub(crate) container: String,
    /// The image that the workload's template has; for a Pod without one, what the Pod's annotation says was written.
    pub(crate) before: String,
    /// The image that the Pod has.
    pub(crate) after: String,
    /// The audit log's line about it.
    pub(crate) audited: Value,
    /// Why it is not what it should be.
    pub(crate) fault: Option<String>,
}

/// Reads every Pod that the manifest and the driver made.
pub(crate) fn seen(stage: &Stage) -> anyhow::Result<Vec<Seen>> {
    let mut seen = Vec::new();
    for object in stage.objects.iter().filter(|object| containers(object).next().is_some()) {
        let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
        let plural = format!("{}s", kind.to_lowercase());
        let workload = read(&stage.plane, &format!("/apis/apps/v1/namespaces/{NAMESPACE}/{plural}/{name}"))?;
        let untouched = containers(&workload).eq(containers(object));
        for pod in pods_of(stage, kind, name) {
            for (container, before) in containers(&workload) {
                let mut image = see(stage, Some(format!("{kind}/{name}")), &pod, container, before);
                if !untouched {
                    image
                        .fault
                        .get_or_insert_with(|| "the template is not the manifest's any more".to_owned());
                }
                seen.push(image);
            }
        }
    }
    let pod = read(&stage.plane, &format!("/api/v1/namespaces/{NAMESPACE}/pods/{MOUNT_POD}"))?;
    let sources = text(&pod["metadata"]["annotations"]["portolan.dev/sources"]);
    let sources: Value = serde_json::from_str(sources).unwrap_or_default();
    let mut mount = see(stage, None, &pod, "jfs-mount", text(&sources["containers/jfs-mount"]["written"]));
    if mount.before != MOUNT_IMAGE {
        mount.fault.get_or_insert_with(|| format!("the Pod does not say that {MOUNT_IMAGE} was written"));
    }
    seen.push(mount);
    Ok(seen)
}

/// The Pods that a workload made, as soon as there is one.
fn pods_of(stage: &Stage, kind: &str, name: &str) -> Vec<Value> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    eventually(PODS_LIMIT, || {
        let mut pods = stage.plane.api.list(&path);
        pods.retain(|pod| {
            let owner = &pod["metadata"]["ownerReferences"][0];
            owner["kind"] == kind && owner["name"] == name
        });
        if pods.is_empty() { Err(format!("no Pod of {kind}/{name}")) } else { Ok(pods) }
    })
}

fn see(stage: &Stage, owner: Option<String>, pod: &Value, container: &str, before: &str) -> Seen {
    let containers = pod["spec"]["containers"].as_array();
    let after = containers
        .into_iter()
        .flatten()
        .find(|entry| entry["name"] == container)
        .map(|entry| text(&entry["image"]).to_owned())
        .unwrap_or_default();
    let name = text(&pod["metadata"]["name"]);
    let audited = stage.portolan.audited(|line| {
        let same = owner.as_deref().map_or(line["pod"] == name, |owner| line["owner"] == owner);
        same && line["namespace"] == NAMESPACE
            && line["container"] == container
            && line["result"] == after.as_str()
    });
    Seen {
        fault: fault(stage, &after).err(),
        owner,
        pod: name.to_owned(),
        container: container.to_owned(),
        before: before.to_owned(),
        after,
        audited: audited.into_iter().next_back().unwrap_or_default(),
    }
}

/// Why the image of a Pod is not in the registry, pinned to the digest that the registry itself reports.
fn fault(stage: &Stage, image: &str) -> Result<(), String> {
    let reference = Reference::parse(image).map_err(|error| error.to_string())?;
    if reference.registry() != stage.registry.host() {
        return Err("it was not rewritten".to_owned());
    }
    let digest = reference.digest().ok_or("it was not pinned")?;
    let reported = stage.registry.digest(reference.repository(), reference.tag().unwrap_or("latest"));
    if digest == reported { Ok(()) } else { Err(format!("the registry reports {reported}")) }
}

/// How many Pods these are the images of.
pub(crate) fn pods(seen: &[Seen]) -> usize {
    seen.iter().map(|image| &image.pod).collect::<BTreeSet<_>>().len()
}

/// Shows the images, Pod by Pod.
pub(crate) fn print_each(seen: &[Seen]) {
    println!("    before: the template in the API server, still as the manifest has it; after: the Pod");
    let mut pod = "";
    for image in seen {
        if image.pod != pod {
            pod = &image.pod;
            println!("\n    {}", image.heading());
        }
        let (name, digest) = image.after.split_once('@').unwrap_or((&image.after, ""));
        println!("      {}", image.container);
        println!("        before  {}", image.before);
        println!("        after   {name}");
        if !digest.is_empty() {
            println!("                @{digest}");
        }
        match &image.fault {
            None => println!("        digest  {}; the registry reports the same", came_from(&image.audited)),
            Some(fault) => println!("        FAILED  {fault} ({})", text(&image.audited["reason"])),
        }
    }
}

/// Where the digest came from, as the audit log has it.
fn came_from(line: &Value) -> &'static str {
    match text(&line["resolvedFrom"]) {
        "registry" => "asked of the registry in this admission",
        "memory" => "in Portolan's memory from an admission before",
        "reference" => "the manifest's own",
        "lock" => "from the lock",
        "stale" => "an old answer, since the registry did not answer",
        _ => "from nowhere",
    }
}

/// Shows the audit log's lines about these images in short, and one in whole.
pub(crate) fn print_audit(stage: &Stage, seen: &[Seen]) {
    println!("    One line of JSON for each image that was decided; in short:\n");
    println!("      {:<35} {:<22} {:<18} {:<8} {:>9}", "Pod", "container", "outcome", "from", "admission");
    for image in seen {
        let line = &image.audited;
        let outcome = format!("{}, {}", text(&line["outcome"]), text(&line["reason"]));
        let micros = Duration::from_micros(line["elapsedMicros"].as_u64().unwrap_or_default());
        println!(
            "      {:<35} {:<22} {outcome:<18} {:<8} {:>6.2} ms",
            image.heading(),
            image.container,
            text(&line["resolvedFrom"]),
            micros.as_secs_f64() * 1e3,
        );
    }
    let Some(last) = seen.last() else { return };
    println!(
        "\n    The last of them in whole, its keys sorted, from {}:\n",
        stage.portolan.table.with_file_name("audit.jsonl").display()
    );
    for line in serde_json::to_string_pretty(&last.audited).unwrap_or_default().lines() {
        println!("      {line}");
    }
}

const PODS_LIMIT: Duration = Duration::from_secs(60);
