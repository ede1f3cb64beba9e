//! Where Portolan runs as Pods: a control plane with a real node, and a registry that the node and its Pods reach.

use std::sync::Arc;

use super::{
    Access, ControlPlane, Helm, Image, Missing, Plane, Registry, Scene, portolan::binary, process::is_static,
};

/// A cluster with nothing installed yet, and Portolan's image in a registry beside it.
pub struct Site {
    /// The registry, which also has [`NGINX`].
    pub registry: Registry,
    /// The digest of [`NGINX`].
    pub digest: String,
    /// The control plane.
    pub plane: Arc<ControlPlane>,
}

/// An image to be rewritten to: by [`Site::table`], that of `nginx:1.25`.
const NGINX: (&str, &str) = ("hub/library/nginx", "1.25");

impl Site {
    /// Starts it, with the binary under test in an image of that repository and tag.
    pub fn with_image(access: Access, repository: &str, tag: &str) -> Result<Self, Missing> {
        if !is_static(&binary()) {
            return Err(Missing("PORTOLAN_BINARY is no static binary, as `make binary` makes it".to_owned()));
        }
        let plane = ControlPlane::of(Plane::OwnWithNode)?;
        // Pods see no loopback of the machine's; the node's own address they reach, as the node does.
        let node = plane.api.read("/api/v1/nodes/real").unwrap();
        let registry =
            Registry::start_at(node["status"]["addresses"][0]["address"].as_str().unwrap(), access)?;
        plane.let_node_reach(&registry);
        registry.push_image(repository, tag, &Image::program("portolan", &binary()));
        let digest = registry.push(NGINX.0, NGINX.1);
        Ok(Self { registry, digest, plane })
    }

    /// The same for anyone, under the name and tag that the manifests have.
    pub fn plain() -> Result<Self, Missing> {
        Self::with_image(Access::Plain, "portolan/portolan", "0.1.0")
    }

    /// Helm, for this cluster.
    pub fn helm(&self) -> Result<Helm, Missing> {
        Helm::to(&self.plane)
    }

    /// A table with one rule, with `fields` such as `credentials: harbor-pull` for the registry.
    pub fn table(&self, fields: &[&str]) -> String {
        Scene::table(&self.registry, "rules:\n  - source: docker.io\n    mirrors: [MIRROR/hub]\n", fields)
    }

    /// What `nginx:1.25` is rewritten to.
    pub fn rewritten(&self) -> String {
        format!("{}/{}:{}@{}", self.registry.host(), NGINX.0, NGINX.1, self.digest)
    }
}
