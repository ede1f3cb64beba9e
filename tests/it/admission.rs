//! The admission through its routes, with a real resolver against fake registries: reviews in, answers out.

use portolan::image::Digest;

use crate::support::fake_registry::{FakeRegistry, manifest};

mod bad_input;
mod canary;
mod deadline;
mod images;
mod lock;
mod recorded;
mod words;

/// A registry whose `hub` has these images of `docker.io`, by repository and tag.
async fn hub(images: &[(&str, &str)]) -> FakeRegistry {
    let registry = FakeRegistry::start().await;
    for (repository, tag) in images {
        put(&registry, repository, tag);
    }
    registry
}

fn put(registry: &FakeRegistry, repository: &str, tag: &str) -> Digest {
    registry.put(&format!("hub/{repository}"), tag, &manifest(&format!("{repository}:{tag}")))
}

/// Where an image of `docker.io` is pinned by a table that takes it to `hub`.
fn pinned(registry: &FakeRegistry, repository: &str, tag: &str) -> String {
    let digest = Digest::of(manifest(&format!("{repository}:{tag}")).as_bytes());
    format!("{}/hub/{repository}:{tag}@{digest}", registry.host())
}
