//! The status port behind its routes, without a socket.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::{Router, body::Body};
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt as _;
use portolan::{
    admission::{Admission, Fights, Options},
    audit::Log,
    metrics::Metrics,
    registry::Resolver,
    server::{
        Health, Shutdown,
        status::{StatusSources, routes},
    },
    table::Table,
};
use tower::ServiceExt as _;

/// The status port of an admission whose process is ready.
pub(crate) fn status_of(admission: Arc<Admission>) -> Router {
    let health = Health::new(Shutdown::new());
    for name in ["table", "lock"] {
        health.condition(name).meet();
    }
    routes(&Arc::new(sources(admission, health)))
}

pub(crate) fn sources(admission: Arc<Admission>, health: Health) -> StatusSources {
    StatusSources {
        admission,
        health: Arc::new(health),
        table: "ConfigMap `portolan/portolan-table`".to_owned(),
        lock: "file `lock.txt`".to_owned(),
        unrewritten: Arc::default(),
    }
}

/// The status port of a process that has this resolver, and an empty table.
pub(crate) fn status_of_resolver(resolver: &Resolver) -> Router {
    let metrics = Arc::new(Metrics::new());
    status_of(Arc::new(Admission {
        table: ArcSwap::from_pointee(Table::default()),
        lock: ArcSwap::default(),
        resolver: resolver.clone(),
        log: Log::start_with(std::io::sink(), 1, Arc::clone(&metrics)).unwrap(),
        fights: Fights::default(),
        metrics,
        options: Options::default(),
    }))
}

/// Status, headers and body of what it answers to a host's name.
pub(crate) async fn ask(router: &Router, path: &str, host: &str) -> (u16, HeaderMap, String) {
    let request = Request::get(path).header(header::HOST, host).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

/// Both things that it shows, in one text.
pub(crate) async fn shown(router: &Router) -> String {
    let mut all = String::new();
    for path in ["/status", "/"] {
        let (status, _, body) = ask(router, path, "localhost:9442").await;
        assert_eq!(status, 200, "{body}");
        all += &body;
    }
    all
}
