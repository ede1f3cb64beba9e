//! The mapping table: which mirrors stand for a source.
//!
//! A [`Table`] never changes. An edited document makes a new one, and the old one serves until it is ready; a
//! document with problems makes none. This room does no I/O; the watches live in [`crate::cluster`].
//!
//! Reading takes three steps, a file each: `tree` (YAML into a tree with places), `document` (the keys that a table
//! has, declared once) and `meaning` (references, and the rules side by side). `lookup` finds the rule for a
//! reference, `find` remembers what was found for an image, `destinations` finds every place that one may be looked for in.

use std::sync::Arc;

use crate::image::Reference;

mod considered;
mod destinations;
mod document;
mod find;
pub mod keys;
mod lookup;
mod meaning;
mod mirror;
mod overlap;
mod policy;
mod problem;
mod registry;
mod rule;
mod scope;
mod source;
mod tree;

pub use considered::{Considered, Fate};
pub use destinations::Destination;
pub use find::{Found, How, Place};
pub use lookup::Lookup;
pub use mirror::Mirror;
pub use policy::{Fallback, LockMode, Pin};
pub use problem::{Concern, Problem, Problems};
pub use registry::RegistryEntry;
pub use rule::Rule;

use find::Finds;
use lookup::{Index, Inside};
use scope::Seat;

/// All rules, and how to reach the registries that they name.
///
/// ```
/// use portolan::{image::Reference, table::{Lookup, Table}};
///
/// let text = "
/// apiVersion: portolan.dev/v1
/// kind: MappingTable
/// rules:
///   - source: docker.io
///     mirrors: [registry.example.com/hub]
/// ";
/// let table = Table::parse(text)?.table;
/// let nginx = Reference::parse("nginx:1.25")?;
/// let Lookup::Rule(rule) = table.lookup(&nginx, Some("default")) else { panic!() };
/// let placed = rule.place(0, &nginx).expect("it is a valid reference");
/// assert_eq!(placed.as_str(), "registry.example.com/hub/library/nginx:1.25");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Table {
    rules: Vec<Arc<Rule>>,
    registries: Vec<RegistryEntry>,
    index: Index,
    requires_lock: bool,
    /// Whether any rule is for some namespaces only.
    is_scoped: bool,
    finds: Finds,
}

/// A table that was read, and what is doubtful about it.
#[derive(Debug)]
pub struct Parsed {
    /// The table.
    pub table: Table,
    /// What the document says that will probably not do what was meant, by place.
    pub warnings: Vec<Problem>,
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    /// A YAML syntax error, alone; otherwise everything that is wrong.
    pub fn parse(text: &str) -> Result<Parsed, Problems> {
        meaning::read(text)
    }

    /// Finds what the table says about a reference in a namespace; without a namespace only rules for all namespaces
    /// count.
    ///
    /// Allocates nothing. The number of probes depends on the reference's segments and labels and on the lengths of
    /// namespace patterns, not on the number of rules.
    pub fn lookup<'t>(&'t self, reference: &Reference, namespace: Option<&str>) -> Lookup<'t> {
        self.lookup_counted(reference, namespace).0
    }

    /// [`Table::lookup`], and how many probes it took.
    #[doc(hidden)]
    pub fn lookup_counted<'t>(
        &'t self,
        reference: &Reference,
        namespace: Option<&str>,
    ) -> (Lookup<'t>, usize) {
        let mut probes = 0;
        let closest = self.index.closest(reference, namespace, &mut probes).map(|seat| self.rule(seat));
        let lookup = match closest {
            Some(rule) if rule.keep() => Lookup::Exception(rule),
            closest => match (self.index.inside(reference, namespace, &mut probes), closest) {
                (Inside::Of(seat), _) => {
                    Lookup::Inside { rule: self.rule(seat), mirror: seat.mirror as usize }
                }
                (Inside::Nobodys, _) => Lookup::InsideNoRule,
                (Inside::No, Some(rule)) => Lookup::Rule(rule),
                (Inside::No, None) => Lookup::NoRule,
            },
        };
        (lookup, probes)
    }

    /// The rules as written.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// How to reach the registries that need more than HTTPS without a login.
    pub fn registries(&self) -> &[RegistryEntry] {
        &self.registries
    }

    /// Whether any rule refuses what is not locked.
    pub fn requires_lock(&self) -> bool {
        self.requires_lock
    }

    fn rule(&self, seat: Seat) -> &Arc<Rule> {
        self.rules.get(seat.rule as usize).expect("the index was made of these rules")
    }
}

#[cfg(test)]
mod tests;
