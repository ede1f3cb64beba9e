//! The registries that we know, by name.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::{ArcSwap, Guard};
use foldhash::fast::RandomState;

use super::{
    credentials::{Candidate, Credentials},
    endpoint::{ConfigureError, EndpointConfig},
    host::Host,
    trust::Trust,
};

/// Those that are configured, and those that were asked without being so.
///
/// Readers never wait. The mirrors of the table name all hosts that there are, so the map stays as small as the table.
pub(super) struct Registries {
    /// Replaced whole by whoever holds `writing`.
    current: ArcSwap<Current>,
    writing: Mutex<()>,
    trust: Trust,
}

/// The registries at one moment.
pub(super) struct Current {
    by_name: ByName,
    fallback: Option<Credentials>,
}

/// Registries by the host that references name.
pub(super) type ByName = HashMap<Box<str>, Arc<Host>, RandomState>;

impl Registries {
    pub(super) fn new(trust: Trust) -> Self {
        let current = Current { by_name: ByName::default(), fallback: None };
        Self { current: ArcSwap::from_pointee(current), writing: Mutex::new(()), trust }
    }

    /// The registries as they are now. Not to be held over an await.
    pub(super) fn current(&self) -> Guard<Arc<Current>> {
        self.current.load()
    }

    /// Replaces the endpoints; see [`super::Resolver::configure`].
    pub(super) fn configure(
        &self,
        endpoints: Vec<EndpointConfig>,
        fallback: Option<Credentials>,
    ) -> Result<(), ConfigureError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.current();
        let mut by_name = ByName::with_capacity_and_hasher(endpoints.len(), RandomState::default());
        for config in endpoints {
            let name: Box<str> = config.registry().into();
            if by_name.contains_key(&name) {
                return Err(ConfigureError::Repeated { host: config.host });
            }
            let credentials = config.credentials.as_ref().or(fallback.as_ref());
            let candidates = candidates(credentials, &name);
            let origin = credentials.and_then(Credentials::origin).cloned();
            let host = match old.get(&name) {
                Some(host) if host.is_reached_by(&config, &candidates) => Arc::clone(host),
                _ => Arc::new(Host::new(config, candidates, &self.trust)?),
            };
            host.set_origin(origin);
            by_name.insert(name, host);
        }
        // Registries that were asked without being listed stay as they are, if they still would be reached so.
        for (name, host) in &old.by_name {
            let unlisted =
                || host.is_reached_by(&EndpointConfig::new(&**name), &candidates(fallback.as_ref(), name));
            if !by_name.contains_key(name) && unlisted() {
                host.set_origin(fallback.as_ref().and_then(Credentials::origin).cloned());
                by_name.insert(name.clone(), Arc::clone(host));
            }
        }
        self.current.store(Arc::new(Current { by_name, fallback }));
        Ok(())
    }

    /// The registry of that name; one that is not listed is reached by HTTPS. `None`: the name makes no URL.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Host>> {
        if let Some(host) = self.current().get(name) {
            return Some(Arc::clone(host));
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        if let Some(host) = current.get(name) {
            return Some(Arc::clone(host));
        }
        let candidates = candidates(current.fallback.as_ref(), name);
        let host = match Host::new(EndpointConfig::new(name), candidates, &self.trust) {
            Ok(host) => {
                host.set_origin(current.fallback.as_ref().and_then(Credentials::origin).cloned());
                Arc::new(host)
            }
            Err(error) => {
                tracing::debug!(mirror = name, %error, "registry cannot be reached");
                return None;
            }
        };
        let mut by_name = current.by_name.clone();
        by_name.insert(name.into(), Arc::clone(&host));
        self.current.store(Arc::new(Current { by_name, fallback: current.fallback.clone() }));
        Some(host)
    }
}

impl Deref for Current {
    type Target = ByName;

    fn deref(&self) -> &Self::Target {
        &self.by_name
    }
}

fn candidates(credentials: Option<&Credentials>, registry: &str) -> Vec<Candidate> {
    credentials.map(|credentials| credentials.candidates(registry)).unwrap_or_default()
}
