//! Where an image may be looked for, whatever the namespace: what has to be loaded.
//!
//! The most specific source that has a rule for all namespaces ends the search: below it no rule can win. Of each rule on
//! the way the first mirror counts. A property test sees to it that the place that an admission asks first is always
//! among these.

use std::sync::Arc;

use super::{Rule, Table, scope::Scopes};
use crate::image::Reference;

/// A place that admissions look in.
#[derive(Clone, Debug)]
pub struct Destination {
    /// What the image is called there.
    pub place: Reference,
    /// The rules that lead there.
    pub rules: Vec<Arc<Rule>>,
    /// Whether the place is named by every one of those rules with its own tag or digest, as one for one image.
    pub is_named: bool,
}

impl Table {
    /// Every place that an image is looked for first in some namespace, the most specific rule's first. Without any, no
    /// rule moves it: none speaks of it, an exception does, or it would be no valid reference in any mirror.
    ///
    /// An image inside a mirror has itself for a place.
    pub fn destinations(&self, reference: &Reference) -> Vec<Destination> {
        let (by_source, is_for_all) = self.possible(self.index.levels(reference));
        let (around, _) = self.possible(self.index.levels_around(reference));
        if !around.is_empty() {
            // Inside, only an exception is asked before.
            let is_exception = is_for_all && by_source.iter().all(|rule| rule.keep());
            let place = if is_exception { None } else { Reference::from_normalised(reference.as_str()) };
            return place
                .map(|place| Destination { place, rules: around, is_named: false })
                .into_iter()
                .collect();
        }
        let mut destinations: Vec<Destination> = Vec::new();
        for rule in by_source {
            let mut mirrors = rule.mirrors().iter().enumerate();
            let place = mirrors
                .find_map(|(number, mirror)| Some((rule.place(number, reference)?, mirror.is_exact())));
            let Some((place, is_named)) = place else { continue };
            match destinations.iter_mut().find(|destination| destination.place == place) {
                Some(destination) => {
                    destination.is_named &= is_named;
                    destination.rules.push(rule);
                }
                None => destinations.push(Destination { place, rules: vec![rule], is_named }),
            }
        }
        destinations
    }

    /// The rules that can win on levels from the most specific on, and whether the last is for all namespaces.
    fn possible<'t>(&'t self, levels: impl Iterator<Item = &'t Scopes>) -> (Vec<Arc<Rule>>, bool) {
        let mut rules = Vec::new();
        for scopes in levels {
            rules.extend(scopes.seats().into_iter().map(|seat| Arc::clone(self.rule(seat))));
            if scopes.is_for_all() {
                return (rules, true);
            }
        }
        (rules, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "
apiVersion: portolan.dev/v1
kind: MappingTable
rules:
  - {source: docker.io, mirrors: [r.corp/hub, s.corp/hub]}
  - {source: docker.io/library, mirrors: [r.corp/team], namespaces: [team-*]}
  - {source: docker.io/library/nginx:1.25, mirrors: ['r.corp/fips/nginx:1'], namespaces: [bank]}
  - {source: docker.io/library/redis:7, mirrors: ['r.corp/fips/redis:7']}
  - {source: docker.io/library, mirrors: [r.corp/hub/library], namespaces: [same]}
  - {source: ghcr.io/acme, keep: true}
  - {source: ghcr.io/acme/app, mirrors: [r.corp/acme], namespaces: [acme]}
  - {source: '*', mirrors: ['r.corp/all/{registry}']}
";

    #[test]
    fn every_rule_that_can_win_gives_its_first_mirror_and_none_behind_one_for_all() {
        let table = Table::parse(TABLE).unwrap().table;
        for (image, expected) in [
            (
                "nginx:1.25",
                &["r.corp/fips/nginx:1!", "r.corp/team/nginx:1.25", "r.corp/hub/library/nginx:1.25"][..],
            ),
            ("nginx:1.26", &["r.corp/team/nginx:1.26", "r.corp/hub/library/nginx:1.26"]),
            ("redis:7", &["r.corp/fips/redis:7!"]),
            ("bitnami/redis:7", &["r.corp/hub/bitnami/redis:7"]),
            ("ghcr.io/acme/app:1", &["r.corp/acme:1"]),
            ("ghcr.io/acme/other:1", &[]),
            ("quay.io/x:1", &["r.corp/all/quay.io/x:1"]),
            // Wildcards pass these by.
            ("localhost:5000/x:1", &[]),
            ("r.corp/own/x:1", &[]),
            ("r.corp/hub/x:1", &["r.corp/hub/x:1"]),
        ] {
            let destinations = table.destinations(&image.parse().unwrap());
            let places: Vec<_> = destinations
                .iter()
                .map(|found| format!("{}{}", found.place, if found.is_named { "!" } else { "" }))
                .collect();
            assert_eq!(places, expected, "{image}");
        }
        let shared = table.destinations(&"nginx:1.26".parse().unwrap());
        assert_eq!(shared.iter().map(|found| found.rules.len()).collect::<Vec<_>>(), [1, 2]);
    }
}
