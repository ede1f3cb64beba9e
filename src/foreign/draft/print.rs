//! The draft as the text of a table.

use std::collections::HashSet;

use super::{Draft, Otherwise};
use crate::foreign::text::yaml_word;

impl Draft {
    /// The table, with a first line about it.
    pub(super) fn write(&self, about: &str) -> String {
        let mut lines = vec![format!("# {about}")];
        lines.extend(["apiVersion: portolan.dev/v1".to_owned(), "kind: MappingTable".to_owned()]);
        let mut moved = self.rules.iter().filter(|rule| !rule.mirrors.is_empty());
        let common = moved.next().map(|rule| rule.otherwise);
        let common = common.filter(|first| moved.all(|rule| rule.otherwise == *first));
        if let Some(otherwise) = common {
            lines.push("defaults:".to_owned());
            lines.extend(otherwise.lines(1));
        }
        if self.rules.is_empty() {
            lines.push("rules: []".to_owned());
        } else {
            lines.push("rules:".to_owned());
        }
        for rule in &self.rules {
            lines.push(format!("  - source: {}", yaml_word(&rule.source)));
            if rule.mirrors.is_empty() {
                lines.push("    keep: true".to_owned());
            } else {
                let mirrors: Vec<_> = rule.mirrors.iter().map(|mirror| yaml_word(mirror)).collect();
                if let [mirror] = &*mirrors {
                    lines.push(format!("    mirrors: [{mirror}]"));
                } else {
                    lines.push("    mirrors:".to_owned());
                    lines.extend(mirrors.iter().map(|mirror| format!("      - {mirror}")));
                }
                if common.is_none() {
                    lines.extend(rule.otherwise.lines(2));
                }
            }
            if !rule.namespaces.is_empty() {
                let namespaces: Vec<_> = rule.namespaces.iter().map(|name| yaml_word(name)).collect();
                lines.push(format!("    namespaces: [{}]", namespaces.join(", ")));
            }
        }
        lines.extend(self.write_registries());
        lines.push(String::new());
        lines.join("\n")
    }

    /// How to reach the registries that hold a mirror; of others the table need not know.
    fn write_registries(&self) -> Vec<String> {
        let places = self.places();
        let holding: HashSet<&str> =
            places.iter().map(|place| place.split('/').next().unwrap_or(place)).collect();
        let mut lines = Vec::new();
        for (host, reach) in self.registries.iter().filter(|(host, _)| holding.contains(host.as_str())) {
            if lines.is_empty() {
                lines.push("registries:".to_owned());
            }
            lines.push(format!("  - host: {}", yaml_word(host)));
            if reach.plain_http {
                lines.push("    plainHttp: true".to_owned());
            }
            if let Some(ca) = &reach.ca {
                lines.push("    ca: |".to_owned());
                lines.extend(ca.lines().map(|line| format!("      {line}")));
            }
        }
        lines
    }
}

impl Otherwise {
    fn lines(self, depth: usize) -> [String; 2] {
        let word = match self {
            Self::Nothing => "rewrite",
            Self::Source => "keep",
        };
        let indent = "  ".repeat(depth);
        [format!("{indent}onMissing: {word}"), format!("{indent}onUnavailable: {word}")]
    }
}
