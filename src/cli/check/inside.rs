//! Mirrors that live in the cluster that they serve: a registry whose own Pods are rewritten to itself cannot start
//! when it is down.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::report::Finding;
use crate::{
    cli::{
        Printer,
        inputs::{mode_of, passed_by},
    },
    cluster::{self, Listed},
    inventory::{self, Content, Names, REWRITE_LABEL, Value},
    rewrite::Mode,
    table::{Mirror, Table},
};

/// The namespaces by which the cluster itself serves the table's mirrors, unless the webhook passes them by.
pub(super) async fn findings(
    table: &Table,
    client: &cluster::Client,
    namespaces: &HashMap<Box<str>, Option<Box<str>>>,
    own_namespace: &str,
    printer: &mut Printer,
) -> Vec<Finding> {
    let mut served = Served::default();
    for listed in [Listed::Services, Listed::Ingresses, Listed::Nodes] {
        let read = cluster::read_list(client, listed, |page| {
            for document in inventory::read("cluster", page).documents {
                if let Content::Object(object) = document.content {
                    served.take(&object);
                }
            }
        });
        if let Err(error) = read.await {
            let (_, resource) = listed.resource();
            printer.warning(&format!(
                "cannot list the cluster's {resource}, which may lead to a mirror: {error}"
            ));
        }
    }
    let hosts: BTreeSet<_> =
        table.rules().iter().flat_map(|rule| rule.mirrors()).map(Mirror::registry).collect();
    let mut findings = Vec::new();
    for host in hosts {
        for (namespace, by) in served.by(host) {
            let label = namespaces.get(&*namespace).and_then(|label| label.as_deref());
            if !is_rewritten(&namespace, label, own_namespace) {
                continue;
            }
            findings.push(Finding {
                kind: "mirror-in-cluster",
                about: host.to_owned(),
                message: format!(
                    "this mirror is {by} of this cluster, and Pods in namespace `{namespace}` are rewritten: while it is \
                     down it would need itself to start"
                ),
                remedy: format!("kubectl label namespace --overwrite {namespace} {REWRITE_LABEL}=disabled"),
            });
        }
    }
    findings
}

/// Whether the webhook may change Pods of a namespace: where it only audits, it does not.
fn is_rewritten(namespace: &str, label: Option<&str>, own_namespace: &str) -> bool {
    passed_by(namespace, label).is_none() && mode_of(label) == Mode::Enforce && namespace != own_namespace
}

/// What leads into the cluster.
#[derive(Default)]
struct Served {
    /// Addresses and names, each with the namespaces behind it and by what.
    hosts: BTreeMap<Box<str>, BTreeSet<(Box<str>, String)>>,
    /// Services on a port of every node.
    ports: BTreeMap<u16, (Box<str>, String)>,
    /// Addresses and names of nodes.
    nodes: BTreeSet<Box<str>>,
}

impl Served {
    fn take(&mut self, object: &Value) {
        let names = Names::of(object);
        let namespace = names.namespace.clone().unwrap_or_default();
        let by = format!("{} `{namespace}/{}`", names.kind, names.name);
        match &*names.kind {
            "Service" => self.service(object, &names.name, &namespace, &by),
            "Ingress" => {
                let spec = |key| object.at(&["spec", key]).and_then(Value::as_list).unwrap_or_default();
                let rules = spec("rules").iter().filter_map(|rule| rule.get("host"));
                let tls = spec("tls").iter().filter_map(|tls| tls.get("hosts")?.as_list()).flatten();
                for host in rules.chain(tls).filter_map(Value::as_text) {
                    self.host(host, &namespace, &by);
                }
            }
            "Node" => {
                let addresses = object.at(&["status", "addresses"]).and_then(Value::as_list);
                let addresses = addresses.unwrap_or_default().iter();
                self.nodes.extend(
                    addresses.filter_map(|address| address.get("address")?.as_text()).map(Into::into),
                );
            }
            _ => {}
        }
    }

    fn service(&mut self, object: &Value, name: &str, namespace: &str, by: &str) {
        for suffix in ["svc", "svc.cluster.local"] {
            self.host(&format!("{name}.{namespace}.{suffix}"), namespace, by);
        }
        let list = |keys: &[&str]| object.at(keys).and_then(Value::as_list).unwrap_or_default();
        let balancers = list(&["status", "loadBalancer", "ingress"]);
        let balancers = balancers.iter().flat_map(|ingress| [ingress.get("ip"), ingress.get("hostname")]);
        let addresses = list(&["spec", "clusterIPs"]).iter().chain(list(&["spec", "externalIPs"]));
        let addresses = addresses.chain(object.at(&["spec", "clusterIP"])).chain(balancers.flatten());
        for address in addresses.filter_map(Value::as_text).filter(|address| !matches!(*address, "" | "None"))
        {
            self.host(address, namespace, by);
        }
        for port in list(&["spec", "ports"]) {
            if let Some(inventory::Kind::Number(number)) = port.get("nodePort").map(|port| &port.kind)
                && let Ok(number) = number.parse()
            {
                self.ports.insert(number, (namespace.into(), by.to_owned()));
            }
        }
    }

    fn host(&mut self, host: &str, namespace: &str, by: &str) {
        self.hosts.entry(host.into()).or_default().insert((namespace.into(), by.to_owned()));
    }

    /// The namespaces that serve a registry, and by what.
    fn by(&self, registry: &str) -> Vec<(Box<str>, String)> {
        let (host, port) = match registry.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() => (host, port.parse().ok()),
            _ => (registry, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let mut by: BTreeSet<_> = self.hosts.get(host).into_iter().flatten().cloned().collect();
        if let Some((_, parent)) = host.split_once('.') {
            by.extend(self.hosts.get(&*format!("*.{parent}")).into_iter().flatten().cloned());
        }
        let is_node = self.nodes.contains(host) || matches!(host, "localhost" | "127.0.0.1" | "::1");
        if let Some(service) = port.and_then(|port: u16| self.ports.get(&port)).filter(|_| is_node) {
            by.insert(service.clone());
        }
        by.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(text: &str) -> Served {
        let mut served = Served::default();
        for document in inventory::read("x", text).documents {
            let Content::Object(object) = document.content else { panic!() };
            served.take(&object);
        }
        served
    }

    #[test]
    fn only_where_the_webhook_may_change_pods_they_are_called_rewritten() {
        for (namespace, label, expected) in [
            ("infra", None, true),
            ("infra", Some("enabled"), true),
            ("kube-system", Some("enabled"), true),
            ("infra", Some("audit"), false),
            ("infra", Some("disabled"), false),
            ("kube-system", None, false),
            ("portolan", None, false),
        ] {
            assert_eq!(is_rewritten(namespace, label, "portolan"), expected, "{namespace} {label:?}");
        }
    }

    #[test]
    fn a_registry_is_found_by_every_way_that_leads_into_the_cluster() {
        let served = served(
            "kind: Service\nmetadata: {name: reg, namespace: infra}\nspec:\n  clusterIP: 10.0.0.7\n  clusterIPs: \
             [10.0.0.7, 'fd00::7']\n  externalIPs: [192.0.2.9]\n  ports: [{port: 5000, nodePort: 32000}]\nstatus: \
             {loadBalancer: {ingress: [{ip: 192.0.2.10}, {hostname: lb.example.com}]}}\n---\nkind: Service\nmetadata: \
             {name: headless, namespace: infra}\nspec: {clusterIP: None}\n---\nkind: Ingress\nmetadata: {name: web, \
             namespace: edge}\nspec: {rules: [{host: registry.example.com}], tls: [{hosts: ['*.corp.example.com']}]}\n\
             ---\nkind: Node\nmetadata: {name: n1}\nstatus: {addresses: [{type: InternalIP, address: 198.51.100.1}]}\n",
        );
        for (registry, namespace) in [
            ("reg.infra.svc:5000", Some("infra")),
            ("reg.infra.svc.cluster.local", Some("infra")),
            ("reg.other.svc", None),
            ("10.0.0.7:5000", Some("infra")),
            ("[fd00::7]:5000", Some("infra")),
            ("192.0.2.9", Some("infra")),
            ("192.0.2.10:80", Some("infra")),
            ("lb.example.com", Some("infra")),
            ("registry.example.com", Some("edge")),
            ("x.corp.example.com:443", Some("edge")),
            ("corp.example.com", None),
            ("198.51.100.1:32000", Some("infra")),
            ("198.51.100.1:32001", None),
            ("198.51.100.2:32000", None),
            ("localhost:32000", Some("infra")),
            ("None", None),
        ] {
            let by = served.by(registry);
            assert_eq!(by.first().map(|(namespace, _)| &**namespace), namespace, "{registry}");
            assert!(by.len() < 2, "{registry}: {by:?}");
        }
    }
}
