//! What each mirror said, for people who ask why; written down while a resolver answers, never asked a second time.
//!
//! A resolver that nobody listens to writes nothing down: an admission pays one look at an `Option`.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{
    host::{Chain, Fetched, Verdict},
    manifest::FetchError,
    standing::{Asked, Standing},
};
use crate::image::{Digest, Reference};

/// What one mirror said about one image, or why it was not asked.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The image's place in the mirror.
    pub reference: Reference,
    /// Whether its registry was asked just now; else memory knew, or it was left alone.
    pub is_asked: bool,
    /// What it said.
    pub said: Said,
    /// What stands behind that, in one clause.
    pub detail: Option<String>,
    /// How long it took to hear.
    pub elapsed: Duration,
}

/// What a mirror says about an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Said {
    /// Something that a registry in good order does not say.
    Failed,
    /// It has it under this digest.
    Found(Digest),
    /// It does not have it.
    Missing,
    /// Nothing: it did not answer a while ago, and is left alone for some seconds.
    Paused,
    /// Nothing in time.
    Timeout,
    /// It refused us.
    Unauthorized,
    /// Nothing: there is no way to it.
    Unreachable,
}

/// What was heard so far, if somebody listens.
#[derive(Debug, Default)]
pub(super) struct Listener(Option<Mutex<Vec<Heard>>>);

impl Listener {
    /// One that listens.
    pub(super) fn listening() -> Self {
        Self(Some(Mutex::default()))
    }

    pub(super) fn is_listening(&self) -> bool {
        self.0.is_some()
    }

    /// What was heard since the last call.
    pub(super) fn take(&self) -> Vec<Heard> {
        let heard = self.0.as_ref().map(|heard| heard.lock().unwrap_or_else(PoisonError::into_inner));
        heard.map(|mut heard| std::mem::take(&mut *heard)).unwrap_or_default()
    }

    /// A mirror that was not asked; of one that is still to be asked there is nothing to hear.
    pub(super) fn hear_standing(
        &self,
        reference: &Reference,
        standing: &Standing,
        left_alone_for: impl FnOnce() -> Option<Duration>,
    ) {
        if !self.is_listening() {
            return;
        }
        let left_alone_for = left_alone_for();
        let (said, detail) = match standing {
            Standing::Found(digest) => (Said::Found(digest.clone()), Some(REMEMBERED.to_owned())),
            Standing::Missing => (Said::Missing, Some(REMEMBERED.to_owned())),
            Standing::Unauthorized => (Said::Unauthorized, Some(REMEMBERED.to_owned())),
            Standing::Unavailable if left_alone_for.is_none() => {
                (Said::Failed, Some("it cannot be asked".to_owned()))
            }
            Standing::Unavailable => (Said::Paused, left_alone_for.map(paused)),
            Standing::ToAsk => return,
        };
        self.hear(reference, false, said, detail, Duration::ZERO);
    }

    /// What came of asking.
    pub(super) fn hear_asked(&self, reference: &Reference, asked: &Asked, elapsed: Duration) {
        if !self.is_listening() {
            return;
        }
        let (is_asked, said, detail) = match asked {
            Asked::Answered(Fetched { verdict, error }) => {
                let said = match (verdict, error.as_deref()) {
                    (Verdict::Found(digest), _) => Said::Found(digest.clone()),
                    (Verdict::Missing, _) => Said::Missing,
                    (Verdict::Unauthorized, _) => Said::Unauthorized,
                    (Verdict::Unavailable, Some(FetchError::LeftAlone)) => Said::Paused,
                    (Verdict::Unavailable, Some(FetchError::Timeout)) => Said::Timeout,
                    (Verdict::Unavailable, Some(FetchError::Transport(_))) => Said::Unreachable,
                    (Verdict::Unavailable, _) => Said::Failed,
                };
                (true, said, error.as_deref().map(|error| Chain(error).to_string()))
            }
            Asked::Known(verdict) => {
                let said = match verdict {
                    Verdict::Found(digest) => Said::Found(digest.clone()),
                    Verdict::Missing => Said::Missing,
                    Verdict::Unauthorized => Said::Unauthorized,
                    Verdict::Unavailable => Said::Failed,
                };
                (false, said, Some(REMEMBERED.to_owned()))
            }
            Asked::Late => (true, Said::Timeout, Some("the registry did not answer in time".to_owned())),
            Asked::Crowded => (false, Said::Failed, Some(FetchError::Crowded.to_string())),
            Asked::LeftAlone => (false, Said::Paused, None),
        };
        self.hear(reference, is_asked, said, detail, elapsed);
    }

    fn hear(
        &self,
        reference: &Reference,
        is_asked: bool,
        said: Said,
        detail: Option<String>,
        elapsed: Duration,
    ) {
        let Some(heard) = &self.0 else { return };
        let detail = detail.map(|detail| detail.replace(char::is_control, " "));
        let news = Heard { reference: reference.clone(), is_asked, said, detail, elapsed };
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(news);
    }
}

impl Said {
    /// The word for it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Found(_) => "found",
            Self::Missing => "missing",
            Self::Paused => "paused",
            Self::Timeout => "timeout",
            Self::Unauthorized => "unauthorized",
            Self::Unreachable => "unreachable",
        }
    }
}

fn paused(left: Duration) -> String {
    format!("it did not answer a while ago and is left alone for another {} s", left.as_secs() + 1)
}

const REMEMBERED: &str = "remembered";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heard_is_told_once_and_only_by_who_listens() {
        let mirror: Reference = "r.corp/a:1".parse().unwrap();
        let (silent, listening) = (Listener::default(), Listener::listening());
        for listener in [&silent, &listening] {
            listener.hear_standing(&mirror, &Standing::Missing, || None);
            listener.hear_standing(&mirror, &Standing::ToAsk, || None);
            listener.hear_asked(&mirror, &Asked::Late, Duration::from_secs(2));
        }
        assert!(silent.take().is_empty());
        let heard: Vec<_> = listening.take().into_iter().map(|heard| (heard.is_asked, heard.said)).collect();
        assert_eq!(heard, [(false, Said::Missing), (true, Said::Timeout)]);
        assert!(listening.take().is_empty());
    }
}
