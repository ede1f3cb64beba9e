//! Talking to one registry: a request, and if it is refused, once more with a login.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwapOption;
use reqwest::{Method, StatusCode, Url, header::HeaderValue};

use super::{
    challenge::{Challenge, TokenService},
    credentials::{Login, ScopedLogin},
    manifest::FetchError,
    token::{self, Scope, Tokens},
    transport::{Message, Purpose, Reply, Transport},
};

/// The client of one registry.
///
/// What the registry asks for is learnt from its first refusal and remembered, so that an anonymous registry costs one
/// request per manifest, and one with tokens costs one too once a token is there.
#[derive(Debug)]
pub(super) struct Client {
    url: Url,
    transport: Transport,
    /// What the registry asked for last.
    challenge: ArcSwapOption<Challenge>,
    tokens: Tokens,
}

/// What a request is sent with.
struct Authorization {
    header: HeaderValue,
    /// The token's key, and whether it came from memory: then a refusal may mean that it is no longer good.
    token: Option<(token::Key, Reused)>,
}

type Reused = bool;

impl Client {
    pub(super) fn new(url: Url, transport: Transport) -> Self {
        Self { url, transport, challenge: ArcSwapOption::empty(), tokens: Tokens::new() }
    }

    /// Asks for a manifest. A refusal that a (new) login may help is met once.
    pub(super) async fn manifest(
        &self,
        method: Method,
        repository: &str,
        target: &str,
        login: Option<&ScopedLogin>,
        purpose: Purpose,
    ) -> Result<Reply, FetchError> {
        let url = self.url(&format!("v2/{repository}/manifests/{target}"))?;
        let message = Message::plain(method, url, HeaderValue::from_static(ACCEPTED));
        self.send(&message, &Scope::pull(repository), login, purpose).await
    }

    /// A URL of the API. The parts are a repository and a tag or digest by their grammar: none needs escaping.
    pub(super) fn url(&self, path: &str) -> Result<Url, FetchError> {
        self.url.join(path).map_err(|_| FetchError::BadUrl)
    }

    /// Sends a message. A refusal that a (new) login may help is met once. Elsewhere than to the registry itself (it may
    /// send uploads where it likes) it goes without a login.
    pub(super) async fn send(
        &self,
        message: &Message<'_>,
        scope: &Scope,
        login: Option<&ScopedLogin>,
        purpose: Purpose,
    ) -> Result<Reply, FetchError> {
        let transport = self.transport.meant_for(purpose);
        if message.url.origin() != self.url.origin() {
            return Ok(transport.send(message, None).await?);
        }
        let known = self.challenge.load_full();
        let first = match known.as_deref() {
            Some(challenge) => {
                let met = self.authorization(challenge, scope, login, &transport).await;
                // It may name a token service that is no more: the registry is asked anew what it wants.
                met.inspect_err(|_| self.challenge.store(None))?
            }
            None => None,
        };
        let header = first.as_ref().map(|authorization| authorization.header.clone());
        let reply = transport.send(message, header).await?;
        if reply.elsewhere {
            return Ok(reply);
        }
        let Some(challenge) = self.second_try(&reply, known, first.as_ref()) else {
            return Ok(reply);
        };
        if let Some(Authorization { header, token: Some((key, _)) }) = &first {
            self.tokens.forget(key, header);
        }
        match self.authorization(&challenge, scope, login, &transport).await? {
            Some(second) => Ok(transport.send(message, Some(second.header)).await?),
            None => Ok(reply),
        }
    }

    /// What to meet before the request is sent again; `None`: it would be refused again.
    fn second_try(
        &self,
        reply: &Reply,
        known: Option<Arc<Challenge>>,
        first: Option<&Authorization>,
    ) -> Option<Arc<Challenge>> {
        let reused = first.is_some_and(|first| matches!(first.token, Some((_, true))));
        match reply.response.status() {
            StatusCode::UNAUTHORIZED => match Challenge::of(reply.response.headers()) {
                Some(asked) if known.as_deref() != Some(&asked) => {
                    let asked = Arc::new(asked);
                    self.challenge.store(Some(Arc::clone(&asked)));
                    Some(asked)
                }
                _ => known.filter(|_| reused),
            },
            // Some registries say so when a token is no longer good.
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => known.filter(|_| reused),
            _ => None,
        }
    }

    /// What meets a challenge; `None`: nothing that we have.
    async fn authorization(
        &self,
        challenge: &Challenge,
        scope: &Scope,
        login: Option<&ScopedLogin>,
        transport: &Transport,
    ) -> Result<Option<Authorization>, FetchError> {
        match challenge {
            Challenge::Basic => Ok(match login.map(|scoped| &*scoped.login) {
                Some(Login::Password { user, password }) => {
                    token::basic(user, password).map(|header| Authorization { header, token: None })
                }
                Some(Login::IdentityToken(_)) | None => None,
            }),
            Challenge::Bearer(service) => self.bearer(service, scope, login, transport).await.map(Some),
        }
    }

    async fn bearer(
        &self,
        service: &TokenService,
        scope: &Scope,
        login: Option<&ScopedLogin>,
        transport: &Transport,
    ) -> Result<Authorization, FetchError> {
        let id = login.map(|scoped| scoped.id).unwrap_or_default();
        let key = token::Key { service: service.clone(), scope: scope.clone(), login: id };
        if let Some(token) = self.tokens.kept(&key, Instant::now()) {
            return Ok(Authorization { header: token.header, token: Some((key, true)) });
        }
        let login = login.map(|scoped| &scoped.login);
        let token = self.tokens.fetch(&key, login, &self.url, transport).await?;
        Ok(Authorization { header: token.header, token: Some((key, false)) })
    }
}

/// The manifests that we understand; with indexes among them, a registry names the index's digest, never one
/// platform's.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
