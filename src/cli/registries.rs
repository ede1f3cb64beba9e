//! A resolver for commands that look many images up once.

use std::time::Duration;

use anyhow::Context as _;

use super::{Printer, printer::in_line};
use crate::{
    registry::{CachePolicy, Content, Credentials, HelperError, LocalLogins, Resolver},
    server::endpoints,
    table::Table,
};

/// A resolver that reaches registries as the table says, with the logins of this machine's user.
///
/// No registry is left alone because one request of many was slow: nobody waits behind the command, and each image is
/// to be asked about.
pub(super) fn reachable(table: &Table) -> anyhow::Result<Resolver> {
    let resolver = Resolver::new(CachePolicy { leave_alone_for: Duration::ZERO, ..CachePolicy::default() });
    resolver.configure(endpoints(table, |_| None), logins()?)?;
    Ok(resolver)
}

/// What moves images, with the logins of this machine's user; registries are reached as the table says, if there is one.
pub(super) fn movable(table: Option<&Table>) -> anyhow::Result<Content> {
    let content = Content::new();
    content.configure(table.map(|table| endpoints(table, |_| None)).unwrap_or_default(), logins()?)?;
    Ok(content)
}

/// The logins that podman, skopeo and docker would use, of their credential helpers too.
pub(super) fn logins() -> anyhow::Result<Option<Credentials>> {
    let logins = LocalLogins::read().context("cannot read the registry logins")?;
    Ok(logins.with_helpers(warn))
}

/// Says that a credential helper failed, in the middle of whatever else is said.
fn warn(error: &HelperError) {
    let mut printer = Printer::new();
    printer.warning(&in_line(anyhow::Chain::new(error)));
    printer.hint(&error.remedy());
}

/// How many images are asked about at once.
pub(super) const AT_ONCE: usize = 16;
