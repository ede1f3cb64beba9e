//! Portolan's own webhook configurations: whom they call, and whom they trust.
//!
//! Both are watched by their name. The `caBundle` of every entry is written by server-side apply under a field manager
//! of our own, in the state that was read: whatever else is in a configuration is somebody else's.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::{
    api::{Api, Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    client::{CallError, Client, MANAGER, Written},
    trouble::{Trouble, TroubleReport},
    watcher::{Keep, Selector, Watcher},
};

/// What both webhook configurations are called.
pub const CONFIGURATION: &str = "portolan";

/// Which of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConfigurationKind {
    /// Of the webhook that rewrites Pods.
    Mutating,
    /// Of the one that checks tables and locks.
    Validating,
}

/// One of the two, as far as it matters here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Configuration {
    /// There is none: nobody calls by it.
    Absent,
    /// It is there.
    Present {
        /// Its entries.
        entries: Vec<ConfigurationEntry>,
        /// Which state of it this is.
        resource_version: Box<str>,
    },
    /// The API server has not said yet.
    #[default]
    Unread,
}

/// A webhook of a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigurationEntry {
    /// Its name.
    pub name: String,
    /// The name under which the API server calls it, and expects it to be: a Service's, or a URL's host.
    pub called: Option<String>,
    /// The `caBundle`, PEM; empty: there is none.
    pub bundle: Vec<u8>,
}

/// Both of them.
#[derive(Clone, Debug)]
pub struct Configurations {
    client: Client,
}

/// A watch that goes on as long as the receiver, or a clone of it, is held.
#[derive(Debug)]
pub struct ConfigurationWatch {
    /// The configuration; the last one that was read while the API server cannot be asked.
    pub configuration: watch::Receiver<Configuration>,
    /// What keeps it from being read at the moment.
    pub trouble: watch::Receiver<Trouble>,
}

impl ConfigurationKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Mutating, Self::Validating];

    /// The kind's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mutating => "MutatingWebhookConfiguration",
            Self::Validating => "ValidatingWebhookConfiguration",
        }
    }

    fn resource(self) -> ApiResource {
        match self {
            Self::Mutating => ApiResource::erase::<MutatingWebhookConfiguration>(&()),
            Self::Validating => ApiResource::erase::<ValidatingWebhookConfiguration>(&()),
        }
    }
}

impl Configurations {
    /// Of that cluster.
    pub fn new(client: &Client) -> Self {
        Self { client: client.clone() }
    }

    /// Watches one in a task of its own. Needs `list` and `watch` on [`CONFIGURATION`].
    pub fn watch(&self, kind: ConfigurationKind) -> ConfigurationWatch {
        let (sender, configuration) = watch::channel(Configuration::Unread);
        let (trouble_report, trouble) = TroubleReport::new("webhook configuration");
        let watcher = Watcher {
            client: self.client.clone(),
            api: self.api(kind),
            selector: Selector::Name(CONFIGURATION.to_owned()),
            keep: Keeper { configuration: sender },
            trouble: trouble_report,
        };
        tokio::spawn(watcher.run());
        ConfigurationWatch { configuration, trouble }
    }

    /// Reads one now. Needs `get` on [`CONFIGURATION`].
    pub async fn read(&self, kind: ConfigurationKind) -> Result<Configuration, CallError> {
        match self.client.within_limit(self.api(kind).get(CONFIGURATION)).await {
            Ok(object) => Ok(Configuration::of(&object)),
            Err(CallError::NotFound) => Ok(Configuration::Absent),
            Err(error) => Err(error),
        }
    }

    /// Has the one that was read trust `bundle` (PEM), in every entry. Needs `patch` on [`CONFIGURATION`].
    pub async fn trust(
        &self,
        kind: ConfigurationKind,
        read: &Configuration,
        bundle: &str,
    ) -> Result<Written, CallError> {
        use base64::{Engine, engine::general_purpose::STANDARD};

        let Configuration::Present { entries, resource_version } = read else { return Ok(Written::Outrun) };
        let bundle = STANDARD.encode(bundle);
        let webhooks: Vec<_> = entries
            .iter()
            .map(|entry| json!({"name": entry.name, "clientConfig": {"caBundle": bundle}}))
            .collect();
        let resource = kind.resource();
        let object = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            // Of another state, or one that is gone, the API server says so.
            "metadata": {"name": CONFIGURATION, "resourceVersion": resource_version},
            "webhooks": webhooks,
        });
        let parameters = PatchParams::apply(MANAGER).force();
        let (api, patch) = (self.api(kind), Patch::Apply(&object));
        Written::of(self.client.within_limit(api.patch(CONFIGURATION, &parameters, &patch)).await)
    }

    fn api(&self, kind: ConfigurationKind) -> Api<DynamicObject> {
        Api::all_with(self.client.kube.clone(), &kind.resource())
    }
}

impl Configuration {
    /// Its entries; `None`: it is not known yet.
    pub fn entries(&self) -> Option<&[ConfigurationEntry]> {
        match self {
            Self::Absent => Some(&[]),
            Self::Present { entries, .. } => Some(entries),
            Self::Unread => None,
        }
    }

    fn of(object: &DynamicObject) -> Self {
        let webhooks = object.data.get("webhooks").and_then(Value::as_array);
        Self::Present {
            entries: webhooks.into_iter().flatten().filter_map(ConfigurationEntry::of).collect(),
            resource_version: object.metadata.resource_version.clone().unwrap_or_default().into(),
        }
    }
}

impl ConfigurationEntry {
    fn of(webhook: &Value) -> Option<Self> {
        use base64::{Engine, engine::general_purpose::STANDARD};

        let text = |pointer: &str| webhook.pointer(pointer).and_then(Value::as_str);
        let service = text("/clientConfig/service/name").zip(text("/clientConfig/service/namespace"));
        let called = match (service, text("/clientConfig/url")) {
            (Some((name, namespace)), _) => Some(format!("{name}.{namespace}.svc")),
            (None, Some(url)) => url.parse::<http::Uri>().ok().and_then(|url| {
                let host = url.host()?;
                let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                Some(bare.unwrap_or(host).to_owned())
            }),
            (None, None) => None,
        };
        let bundle = text("/clientConfig/caBundle").unwrap_or_default();
        Some(Self {
            name: text("/name")?.to_owned(),
            called,
            bundle: STANDARD.decode(bundle).unwrap_or_default(),
        })
    }
}

/// Publishes the configuration of that name.
struct Keeper {
    configuration: watch::Sender<Configuration>,
}

impl Keeper {
    /// Whether the server kept to the selector.
    fn is_ours(object: &DynamicObject) -> bool {
        object.metadata.name.as_deref() == Some(CONFIGURATION)
    }

    fn publish(&self, configuration: Configuration) {
        self.configuration.send_if_modified(|published| {
            let changed = *published != configuration;
            *published = configuration;
            changed
        });
    }
}

impl Keep<DynamicObject> for Keeper {
    fn all(&self, objects: Vec<DynamicObject>) {
        let listed = objects.iter().find(|object| Self::is_ours(object));
        self.publish(listed.map_or(Configuration::Absent, Configuration::of));
    }

    fn changed(&self, object: DynamicObject) {
        if Self::is_ours(&object) {
            self.publish(Configuration::of(&object));
        }
    }

    fn removed(&self, object: DynamicObject) {
        if Self::is_ours(&object) {
            self.publish(Configuration::Absent);
        }
    }

    async fn closed(&self) {
        self.configuration.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_called_by_its_service_or_by_its_urls_host() {
        for (client, called) in [
            (json!({"service": {"name": "portolan", "namespace": "ns"}}), Some("portolan.ns.svc")),
            (json!({"url": "https://127.0.0.1:9443/mutate"}), Some("127.0.0.1")),
            (json!({"url": "https://[::1]:9443/mutate"}), Some("::1")),
            (json!({"url": "https://portolan.example/mutate"}), Some("portolan.example")),
            (json!({"url": "::"}), None),
            (json!({"service": {"name": 7}}), None),
            (json!(null), None),
        ] {
            let entry =
                ConfigurationEntry::of(&json!({"name": "a.portolan.dev", "clientConfig": client})).unwrap();
            assert_eq!(entry.called.as_deref(), called, "{client}");
            assert!(entry.bundle.is_empty());
        }
        let with = |bundle: &str| {
            let webhook = json!({"name": "a", "clientConfig": {"caBundle": bundle}});
            ConfigurationEntry::of(&webhook).unwrap().bundle
        };
        assert_eq!((with("UEVN"), with("!")), (b"PEM".to_vec(), Vec::new()));
        assert_eq!(ConfigurationEntry::of(&json!({"clientConfig": {}})), None);
    }
}
