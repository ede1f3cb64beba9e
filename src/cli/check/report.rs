//! What `check` found out, for people and for scripts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
};

use serde::Serialize;

use super::{
    judge::{Judged, Locked, State},
    unrewritten::Unrewritten,
};
use crate::{
    cli::{ExitStatus, OutputFormat, Printer, inputs::Spot, printer::plain},
    image::Reference,
    rewrite::{Outcome, ResolvedFrom},
    table::{Mirror, Rule},
};

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report<'w> {
    images: Vec<Row<'w>>,
    findings: Vec<Finding>,
    /// Of a cluster alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    unrewritten: Option<Vec<Unrewritten>>,
    summary: Summary,
    #[serde(skip)]
    verdict: ExitStatus,
}

/// Something about the cluster that stands in the way of its images.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    /// One fixed word.
    pub(super) kind: &'static str,
    /// What it is about: a mirror's host, a policy.
    pub(super) about: String,
    /// What is wrong: one clause without a full stop.
    pub(super) message: String,
    /// What to do about it.
    pub(super) remedy: String,
}

/// An image, in all namespaces in which the same becomes of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'w> {
    written: &'w str,
    reference: Option<String>,
    state: &'static str,
    rule: Option<String>,
    mirror: Option<String>,
    place: Option<String>,
    result: Option<String>,
    digest: Option<String>,
    outcome: &'static str,
    reason: &'static str,
    resolved_from: Option<&'static str>,
    lock: Option<&'static str>,
    /// `null` where it never comes before the table.
    mode: Option<&'static str>,
    namespaces: BTreeSet<&'w str>,
    places: Vec<&'w Spot>,
    #[serde(skip)]
    sort: State,
    #[serde(skip)]
    is_only_audited: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    images: usize,
    states: BTreeMap<&'static str, usize>,
    /// Those of them of which nothing comes, because their namespace is only audited.
    audited: BTreeMap<&'static str, usize>,
    /// Those that no rule speaks of, among those left as written.
    no_rule: usize,
    /// Those that would run and have no line in the lock, where there is one.
    without_line: usize,
}

impl<'w> Report<'w> {
    pub(super) fn new(
        judged: Vec<Judged<'w>>,
        findings: Vec<Finding>,
        unrewritten: Option<Vec<Unrewritten>>,
    ) -> Self {
        let verdict = verdict(&judged);
        let mut images: Vec<Row<'w>> = Vec::new();
        let mut positions = HashMap::new();
        for judged in judged {
            let row = Row::of(&judged);
            let key = (
                (row.written, row.sort, row.reason, row.lock, row.is_only_audited),
                row.result.clone(),
                row.place.clone(),
            );
            let position = *positions.entry(key).or_insert(images.len());
            match images.get_mut(position) {
                Some(same) => {
                    same.namespaces.extend(row.namespaces);
                    same.places.extend(row.places);
                }
                None => images.push(row),
            }
        }
        let mut states: BTreeMap<_, _> = State::ALL.iter().map(|state| (state.word(), 0)).collect();
        let mut audited = BTreeMap::new();
        for row in &images {
            *states.entry(row.state).or_default() += 1;
            if row.is_only_audited {
                *audited.entry(row.state).or_default() += 1;
            }
        }
        let count = |fits: &dyn Fn(&Row<'_>) -> bool| images.iter().filter(|row| fits(row)).count();
        let summary = Summary {
            images: images.len(),
            no_rule: count(&|row| row.reason == "no-rule"),
            without_line: count(&|row| row.sort == State::Ok && row.lock == Some(Locked::NoLine.word())),
            states,
            audited,
        };
        Self { images, findings, unrewritten, summary, verdict }
    }

    /// Whether all would run.
    pub(super) fn verdict(&self) -> ExitStatus {
        self.verdict
    }

    pub(super) fn print(&self, output: OutputFormat, printer: &mut Printer) -> anyhow::Result<()> {
        if output == OutputFormat::Json {
            return printer.json(self);
        }
        for line in self.lines() {
            printer.line(&line)?;
        }
        Ok(())
    }

    /// For people.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let width = |of: &dyn Fn(&Row<'_>) -> usize| self.images.iter().map(of).max().unwrap_or_default();
        let (states, written) =
            (width(&|row| row.state.len()), width(&|row| row.written.chars().count()).min(WIDEST));
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for row in &self.images {
            *seen.entry(row.written).or_default() += 1;
        }
        for row in &self.images {
            let mut line = format!("{:states$}  {:written$}  {}", row.state, row.written, row.outcome_text());
            if seen.get(row.written).is_some_and(|rows| *rows > 1) && !row.namespaces.is_empty() {
                let namespaces: Vec<_> = row.namespaces.iter().copied().collect();
                let _ = write!(line, "  in {}", namespaces.join(", "));
            }
            if row.is_only_audited {
                line.push_str(ONLY_AUDITED);
            }
            lines.push(line);
            row.trouble(&mut lines);
        }
        for finding in &self.findings {
            lines.push(String::new());
            lines.push(format!("{}: {}", finding.about, finding.message));
            lines.push(format!("  {}", finding.remedy));
        }
        let unrewritten = self.unrewritten.as_deref().unwrap_or_default();
        if !unrewritten.is_empty() {
            lines.push(String::new());
            let pods: usize = unrewritten.iter().map(Unrewritten::count).sum();
            let pods = if pods == 1 { "1 Pod".to_owned() } else { format!("{pods} Pods") };
            lines.push(format!("{pods} as if admitted without Portolan, and what mends them:"));
            lines.extend(unrewritten.iter().flat_map(Unrewritten::lines));
        }
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(self.summary.text());
        // Images, names and patterns are whatever somebody wrote: a line of theirs is one line, and steers no terminal.
        lines.iter().map(|line| plain(line)).collect()
    }
}

fn verdict(judged: &[Judged<'_>]) -> ExitStatus {
    // Where nothing is done the Pod runs what is written.
    let judged = || judged.iter().filter(|judged| !judged.is_only_audited());
    let is_denied = |judged: &Judged<'_>| judged.decision.is_some() && judged.result().is_none();
    let is = |states: &[State]| judged().any(|judged| states.contains(&judged.state));
    if judged().any(is_denied)
        || is(&[State::Missing, State::LockedMissing, State::NotLocked, State::Invalid])
    {
        ExitStatus::No
    } else if is(&[State::Unauthorized, State::Unavailable]) {
        ExitStatus::Unknown
    } else {
        ExitStatus::Yes
    }
}

impl<'w> Row<'w> {
    fn of(judged: &Judged<'w>) -> Self {
        let decision = judged.decision.as_ref();
        let rule = decision.and_then(|decision| decision.rule());
        Self {
            written: &judged.wanted.image,
            reference: decision
                .and_then(|decision| decision.reference())
                .map(|reference| reference.as_str().to_owned()),
            state: judged.state.word(),
            rule: rule.map(|rule| Rule::source(rule).to_owned()),
            mirror: decision
                .and_then(|decision| decision.named_mirror())
                .map(|mirror| Mirror::as_str(mirror).to_owned()),
            place: judged.place.as_ref().map(|place| Reference::as_str(place).to_owned()),
            result: judged.result().map(str::to_owned),
            digest: judged.digest().map(str::to_owned),
            outcome: decision.map_or(&Outcome::Kept, |decision| &decision.outcome).word(),
            reason: judged.reason(),
            resolved_from: decision.and_then(|decision| decision.resolved_from).map(ResolvedFrom::word),
            lock: judged.locked.map(Locked::word),
            mode: decision.map(|_| judged.wanted.mode.word()),
            namespaces: judged.wanted.namespace.as_deref().into_iter().collect(),
            places: judged.wanted.spots.iter().collect(),
            sort: judged.state,
            is_only_audited: judged.is_only_audited(),
        }
    }

    /// What the Pod would run, or why nobody can say.
    fn outcome_text(&self) -> &str {
        match self.sort {
            State::AsWritten | State::Invalid | State::LeftAlone => self.reason,
            State::Moved | State::Ok => self.result.as_deref().unwrap_or_default(),
            State::LockedMissing
            | State::Missing
            | State::NotLocked
            | State::Unauthorized
            | State::Unavailable => self.place.as_deref().unwrap_or(self.reason),
        }
    }

    /// What is wrong and where the image stands, unless all is well.
    fn trouble(&self, lines: &mut Vec<String>) {
        let trouble = match self.sort {
            State::AsWritten | State::LeftAlone | State::Ok => return,
            State::Invalid => "no reference to an image: a node refuses it",
            State::LockedMissing => "its mirror does not have the digest that it is locked to",
            State::Missing => "no mirror has it",
            State::Moved => "its tag leads elsewhere than the digest that it is locked to, or is gone",
            State::NotLocked => "its rule requires a lock, which has no line for it",
            State::Unauthorized => "the registry refused our login",
            State::Unavailable => "the registry did not answer",
        };
        let policy = match (self.outcome == Outcome::Denied.word(), self.is_only_audited) {
            (true, false) => "; a Pod with it is denied",
            (true, true) => "; a Pod with it would be denied",
            (false, _) => "",
        };
        lines.push(format!("    {trouble}{policy}"));
        for spot in self.places.iter().take(MOST_PLACES) {
            lines.push(format!("    {spot}"));
        }
        if self.places.len() > MOST_PLACES {
            lines.push(format!("    and {} more", self.places.len() - MOST_PLACES));
        }
    }
}

impl Summary {
    fn text(&self) -> String {
        let mut text = match self.images {
            1 => "1 image".to_owned(),
            images => format!("{images} images"),
        };
        let counted = State::ALL.iter().rev().filter_map(|state| {
            let count = *self.states.get(state.word())?;
            (count > 0).then(|| (state.word(), count))
        });
        for (number, (word, count)) in counted.enumerate() {
            let _ = write!(text, "{}{count} {word}", if number == 0 { ": " } else { ", " });
            if let Some(audited) = self.audited.get(word) {
                let _ = write!(text, " ({audited} only audited)");
            }
            if word == State::AsWritten.word() && self.no_rule > 0 {
                let _ = write!(text, " ({} for want of a rule)", self.no_rule);
            }
            if word == State::Ok.word() && self.without_line > 0 {
                let _ = write!(text, " ({} without a line in the lock)", self.without_line);
            }
        }
        text
    }
}

/// Longer images push their line's rest to the right, not everybody's.
const WIDEST: usize = 60;

/// Behind an image of which its namespace's label leaves undone what is said.
const ONLY_AUDITED: &str = "  (only audited)";

/// How many places of one image are printed.
const MOST_PLACES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_somebody_wrote_steers_the_terminal() {
        let row = Row {
            written: "ngi\u{1b}[31mnx\nok  all",
            reference: None,
            state: State::Missing.word(),
            rule: None,
            mirror: None,
            place: Some("r.corp/\u{7}nginx".into()),
            result: None,
            digest: None,
            outcome: "kept",
            reason: "missing",
            resolved_from: None,
            lock: None,
            mode: Some("enforce"),
            namespaces: BTreeSet::new(),
            places: Vec::new(),
            sort: State::Missing,
            is_only_audited: false,
        };
        let finding = Finding {
            kind: "policy",
            about: "a\rb".into(),
            message: "c\u{9b}d".into(),
            remedy: "e\u{1b}f\n".into(),
        };
        let mut report = Report::new(Vec::new(), vec![finding], None);
        report.images.push(row);
        insta::assert_snapshot!(report.lines().join("\n"), @r"
        missing  ngi�[31mnx�ok  all  r.corp/�nginx
            no mirror has it

        a�b: c�d
          e�f�

        0 images
        ");
    }
}
