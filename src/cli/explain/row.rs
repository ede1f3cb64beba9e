//! One image's row: what `explain` knows of it, under the contract's names.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;

use crate::{
    image::{Digest, Reference},
    lock::Lock,
    registry::{Heard, Said},
    rewrite::{Decision, Outcome, Reason, ResolvedFrom},
    table::{Considered, LockMode, Lookup, Mirror, Pin, Rule, Table},
};

/// One image's row.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) written: String,
    pub(super) reference: Option<String>,
    pub(super) rule: Option<String>,
    pub(super) mirror: Option<String>,
    pub(super) result: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) outcome: &'static str,
    pub(super) reason: &'static str,
    pub(super) resolved_from: Option<&'static str>,
    pub(super) mirrors: Vec<MirrorRow>,
    pub(super) considered: Vec<ConsideredRow>,
    /// Which text of a Pod it is: a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    /// The list and the name of its container or volume.
    #[serde(skip)]
    pub(super) place: Option<String>,
    #[serde(skip)]
    pub(super) rule_line: Option<usize>,
    /// Whether it has the digest that the table asks for, or needs none.
    #[serde(skip)]
    pub(super) is_as_asked: bool,
}

/// A mirror of the rule that decided, and what is known of the image there.
#[derive(Debug, Serialize)]
pub(super) struct MirrorRow {
    /// As the rule has it.
    pub(super) mirror: String,
    /// The image's place there; null if it would be no valid reference.
    pub(super) reference: Option<String>,
    /// Whether its registry was asked.
    pub(super) asked: bool,
    pub(super) answer: &'static str,
    /// The digest, or what stands behind the answer.
    pub(super) detail: Option<String>,
    /// How long the registry took to say so.
    #[serde(skip)]
    pub(super) elapsed: Option<Duration>,
}

/// A rule whose source or mirror holds the image.
#[derive(Debug, Serialize)]
pub(super) struct ConsideredRow {
    pub(super) rule: String,
    pub(super) line: usize,
    pub(super) namespaces: Option<Vec<String>>,
    /// The mirror that the image is inside; null if the rule's source holds it.
    pub(super) mirror: Option<String>,
    pub(super) fate: &'static str,
    pub(super) why: Option<String>,
}

/// What the rows of one table and namespace are made from.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) table: &'a Table,
    pub(super) lock: &'a Lock,
    pub(super) namespace: Option<&'a str>,
    /// Whether registries were not to be asked.
    pub(super) is_offline: bool,
    /// What mirrors said while the decisions were made.
    pub(super) heard: &'a HashMap<Reference, Heard>,
}

/// What was heard, by reference. Of two answers about one place the one that was asked for.
pub(super) fn by_reference(heard: Vec<Heard>) -> HashMap<Reference, Heard> {
    let mut by_reference: HashMap<Reference, Heard> = HashMap::with_capacity(heard.len());
    for news in heard {
        if by_reference.get(&news.reference).is_none_or(|earlier| !earlier.is_asked) {
            by_reference.insert(news.reference.clone(), news);
        }
    }
    by_reference
}

impl Rows<'_> {
    pub(super) fn row(&self, written: &str, decision: &Decision) -> Row {
        let rule = decision.rule();
        let result = match decision.outcome {
            Outcome::Denied => None,
            Outcome::Kept => Some(written),
            Outcome::Rewritten { .. } => decision.result(),
        };
        let considered =
            decision.reference().map(|reference| self.table.considered(reference, self.namespace));
        Row {
            written: written.to_owned(),
            reference: decision.reference().map(|reference| reference.as_str().to_owned()),
            rule: rule.map(|rule| rule.source().to_owned()),
            mirror: decision.named_mirror().map(|mirror| mirror.as_str().to_owned()),
            result: result.map(str::to_owned),
            digest: decision.digest.as_ref().map(|digest| digest.as_str().to_owned()),
            outcome: decision.outcome.word(),
            reason: decision.reason.word(),
            resolved_from: decision.resolved_from.map(ResolvedFrom::word),
            mirrors: self.mirrors(decision),
            considered: considered.unwrap_or_default().into_iter().map(ConsideredRow::from).collect(),
            field: None,
            place: None,
            rule_line: rule.map(|rule| rule.line()),
            is_as_asked: !matches!(
                decision.reason,
                Reason::InvalidReference
                    | Reason::Missing
                    | Reason::Offline
                    | Reason::Unauthorized
                    | Reason::Unavailable
                    | Reason::Unrepresentable
            ),
        }
    }

    /// The mirrors of the rule that decided, in order. Where the image would be is asked of the table again, which is
    /// pure; what its mirrors said is never.
    fn mirrors(&self, decision: &Decision) -> Vec<MirrorRow> {
        let (Some(reference), Some(rule)) = (decision.reference(), decision.rule()) else {
            return Vec::new();
        };
        let places: Vec<_> = match self.table.lookup(reference, self.namespace) {
            Lookup::Rule(_) => {
                (0..rule.mirrors().len()).map(|mirror| (mirror, rule.place(mirror, reference))).collect()
            }
            Lookup::Inside { mirror, .. } => vec![(mirror, Some(reference.clone()))],
            Lookup::Exception(_) | Lookup::InsideNoRule | Lookup::NoRule => Vec::new(),
        };
        let is_asked_about =
            self.is_asked_about(decision, rule, places.iter().filter_map(|(_, place)| place.as_ref()));
        let mut is_settled = false;
        let row = |(number, place): (usize, Option<Reference>)| {
            let mirror = rule.mirrors().get(number).map_or("", Mirror::as_str).to_owned();
            let heard = place.as_ref().filter(|_| is_asked_about).and_then(|place| self.heard.get(place));
            let known = match heard {
                Some(heard) => MirrorRow::from(heard),
                None => self.unheard(decision, rule, number, place.as_ref(), is_settled),
            };
            is_settled |= matches!(known.answer, "found" | "locked");
            let reference = place.map(|place| place.as_str().to_owned());
            MirrorRow { mirror, reference, ..known }
        };
        places.into_iter().map(row).collect()
    }

    /// Whether mirrors were a question at all. If not, what was heard about one of the places was for another image.
    fn is_asked_about<'p>(
        &self,
        decision: &Decision,
        rule: &Rule,
        mut places: impl Iterator<Item = &'p Reference>,
    ) -> bool {
        let is_locked = |place: &Reference| {
            let line = self.lock.find(place);
            line.is_some_and(|locked| !locked.is_missing || rule.lock() == LockMode::Require)
        };
        let needs_none =
            decision.reason == Reason::Mirrored && decision.resolved_from == Some(ResolvedFrom::Reference);
        rule.pin() != Pin::Off
            && decision.reason != Reason::NotLocked
            && !needs_none
            && (rule.lock() == LockMode::Ignore || !places.any(is_locked))
    }

    /// Why a mirror said nothing. `is_settled`: one before it has the image.
    fn unheard(
        &self,
        decision: &Decision,
        rule: &Rule,
        number: usize,
        place: Option<&Reference>,
        is_settled: bool,
    ) -> MirrorRow {
        let Some(place) = place else {
            return unasked("unrepresentable", "it would be no valid reference there");
        };
        if rule.pin() == Pin::Off {
            return unasked("not-asked", "`pin: off` asks nobody");
        }
        if is_settled {
            return unasked("not-asked", "a mirror before it has the image");
        }
        let line = (rule.lock() != LockMode::Ignore).then(|| self.lock.find(place)).flatten();
        match line {
            Some(locked) if decision.mirror == Some(number) => unasked("locked", locked.digest.as_str()),
            Some(_) => unasked("not-asked", "it was seen not to have the locked digest"),
            None if decision.reason == Reason::NotLocked => {
                unasked("not-locked", "the lock has no line for it, and the rule requires one")
            }
            None if self.is_offline => unasked("not-asked", "`--offline` asks no registry"),
            None if decision.resolved_from == Some(ResolvedFrom::Lock) => {
                unasked("not-locked", "the lock has no line for it here, and one in a mirror behind")
            }
            None if decision.digest.is_some() => unasked("not-asked", "the reference has its digest already"),
            None => unasked("not-asked", "its answer was not needed"),
        }
    }
}

/// A mirror that was not asked.
fn unasked(answer: &'static str, detail: &str) -> MirrorRow {
    MirrorRow {
        mirror: String::new(),
        reference: None,
        asked: false,
        answer,
        detail: Some(detail.to_owned()),
        elapsed: None,
    }
}

impl From<&Heard> for MirrorRow {
    fn from(heard: &Heard) -> Self {
        let digest = match &heard.said {
            Said::Found(digest) => Some(Digest::as_str(digest).to_owned()),
            _ => None,
        };
        Self {
            mirror: String::new(),
            reference: None,
            asked: heard.is_asked,
            answer: heard.said.word(),
            detail: digest.or_else(|| heard.detail.clone()),
            elapsed: heard.is_asked.then_some(heard.elapsed),
        }
    }
}

impl From<Considered<'_>> for ConsideredRow {
    fn from(considered: Considered<'_>) -> Self {
        let namespaces = considered.rule.namespaces();
        Self {
            rule: considered.rule.source().to_owned(),
            line: considered.rule.line(),
            namespaces: namespaces.map(|patterns| patterns.iter().map(ToString::to_string).collect()),
            mirror: considered.mirror.map(|mirror| mirror.as_str().to_owned()),
            fate: considered.fate.word(),
            why: considered.why,
        }
    }
}
