//! Plans become decisions: what is remembered at once, what must be asked side by side under one deadline.

use std::time::Instant;

use futures::future::join_all;

use crate::{
    registry::{self, AnswerSource, Resolver},
    rewrite::{Answer, Decided, Decision, Plan, Question, Reason, ResolvedFrom},
};

/// Who is asked about an image whose digest the table alone does not give.
#[derive(Clone, Copy, Debug)]
pub enum Asking<'a> {
    /// Nobody (`explain --offline`).
    Nobody,
    /// Memory, then registries.
    Registries {
        /// Asks and remembers.
        resolver: &'a Resolver,
        /// Until when.
        deadline: Instant,
    },
}

/// The decisions that follow from `plans`, in their order, each beside what its plan came with.
///
/// Each image has its own answer: what came in time is used though a sibling's did not come. If memory has them
/// all, this future is ready at its first poll.
pub async fn decide<T>(plans: impl IntoIterator<Item = (T, Plan)>, asking: Asking<'_>) -> Vec<Decided<T>> {
    recall(plans, asking).complete().await
}

/// What memory and the table alone decide about `plans`.
pub(super) fn recall<T>(plans: impl IntoIterator<Item = (T, Plan)>, asking: Asking<'_>) -> Recalled<'_, T> {
    let now = Instant::now();
    let plans = plans.into_iter();
    // Of a Pod it is known how many there are at most: all but the volumes are images.
    let mut decisions = Vec::with_capacity(plans.size_hint().1.unwrap_or_default().min(MAX_RESERVED));
    let mut waiting = Vec::new();
    for (field, plan) in plans {
        let question = match plan {
            Plan::Ask(question) => question,
            Plan::Settled(decision) => {
                decisions.push(Decided { field, decision });
                continue;
            }
        };
        let answer = match asking {
            Asking::Nobody => Some(Answer::Offline),
            Asking::Registries { resolver, .. } => {
                ask(&question, |question| resolver.remembered(question, now)).map(Answer::from)
            }
        };
        if let Some(answer) = answer {
            decisions.push(Decided { field, decision: question.conclude(answer) });
        } else {
            waiting.push((decisions.len(), question));
            // Holds the place until the registries have answered.
            decisions.push(Decided { field, decision: Decision::kept(Reason::Unavailable) });
        }
    }
    Recalled { decisions, waiting, asking }
}

/// Decisions of which some wait for registries. Apart from [`decide`], so that what walks the Pod ends before it.
pub(super) struct Recalled<'a, T> {
    decisions: Vec<Decided<T>>,
    /// The questions left, each with its decision's place.
    waiting: Vec<(usize, Question)>,
    asking: Asking<'a>,
}

impl<T> Recalled<'_, T> {
    /// Waits for the registries, if any must be asked.
    pub(super) async fn complete(self) -> Vec<Decided<T>> {
        let Self { mut decisions, waiting, asking } = self;
        if let (Asking::Registries { resolver, deadline }, false) = (asking, waiting.is_empty()) {
            let mut answers = Vec::with_capacity(waiting.len());
            for (_, question) in &waiting {
                answers.push(resolve(resolver, question, deadline));
            }
            let answers = join_all(answers).await;
            for ((position, question), answer) in waiting.into_iter().zip(answers) {
                if let Some(decided) = decisions.get_mut(position) {
                    decided.decision = question.conclude(answer.into());
                }
            }
        }
        decisions
    }
}

/// Puts a question as the registries' room wants it, without a list if there is one place only.
fn ask<T>(question: &Question, put: impl FnOnce(&registry::Question<'_>) -> T) -> T {
    let always = question.is_always();
    if question.is_single() {
        return put(&registry::Question { mirrors: &[question.first()], always });
    }
    let mirrors: Vec<_> = question.candidates().collect();
    put(&registry::Question { mirrors: &mirrors, always })
}

async fn resolve(resolver: &Resolver, question: &Question, deadline: Instant) -> registry::Answer {
    let mirrors: Vec<_> = question.candidates().collect();
    resolver.resolve(&registry::Question { mirrors: &mirrors, always: question.is_always() }, deadline).await
}

impl From<registry::Answer> for Answer {
    fn from(answer: registry::Answer) -> Self {
        match answer {
            registry::Answer::Found { mirror, digest, from } => {
                Self::Found { candidate: mirror, digest, from: from.into() }
            }
            registry::Answer::Missing => Self::Missing,
            registry::Answer::Unauthorized { mirror } => Self::Unauthorized { candidate: mirror },
            registry::Answer::Unavailable { mirror } => Self::Unavailable { candidate: mirror },
        }
    }
}

impl From<AnswerSource> for ResolvedFrom {
    fn from(source: AnswerSource) -> Self {
        match source {
            AnswerSource::Memory => Self::Memory,
            AnswerSource::Registry => Self::Registry,
            AnswerSource::Stale => Self::Stale,
        }
    }
}

/// No more decisions are made room for before they are there.
const MAX_RESERVED: usize = 64;
