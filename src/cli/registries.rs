//! A resolver for commands that look many images up once.

use std::time::Duration;

use anyhow::Context as _;

use crate::{
    registry::{CachePolicy, Content, Credentials, Resolver},
    server::endpoints,
    table::Table,
};

/// A resolver that reaches registries as the table says, with the logins that docker would use.
///
/// No registry is left alone because one request of many was slow: nobody waits behind the command, and each image is
/// to be asked about.
pub(super) fn reachable(table: &Table) -> anyhow::Result<Resolver> {
    let resolver = Resolver::new(CachePolicy { leave_alone_for: Duration::ZERO, ..CachePolicy::default() });
    let logins = Credentials::from_environment().context("cannot read the registry logins")?;
    resolver.configure(endpoints(table, |_| None), logins)?;
    Ok(resolver)
}

/// What moves images, with the logins that docker would use; registries are reached as the table says, if there is one.
pub(super) fn movable(table: Option<&Table>) -> anyhow::Result<Content> {
    let content = Content::new();
    let logins = Credentials::from_environment().context("cannot read the registry logins")?;
    content.configure(table.map(|table| endpoints(table, |_| None)).unwrap_or_default(), logins)?;
    Ok(content)
}

/// How many images are asked about at once.
pub(super) const AT_ONCE: usize = 16;
