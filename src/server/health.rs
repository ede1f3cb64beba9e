//! Whether the process is ready, and what it still waits for.
//!
//! Ready means that every condition was met once; a condition that was met stays met, whatever happens later. Only
//! the drain takes it back. What is worth saying about a condition that is met (a later table was refused) is a note.

use std::{
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

use super::shutdown::{Phase, Shutdown};

/// The conditions of being ready.
///
/// ```
/// use portolan::server::{Health, Shutdown};
///
/// let health = Health::new(Shutdown::new());
/// let table = health.condition("table");
/// assert!(!health.is_ready());
/// table.meet();
/// assert!(health.is_ready());
/// ```
#[derive(Debug)]
pub struct Health {
    shutdown: Shutdown,
    conditions: Mutex<Vec<Condition>>,
}

/// One condition of being ready; cheap to clone.
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    state: Arc<Mutex<State>>,
}

/// Where a condition stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing {
    pub(super) name: &'static str,
    pub(super) is_met: bool,
    pub(super) note: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    met: bool,
    note: Option<String>,
}

impl Health {
    /// Without conditions, ready until the drain.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, conditions: Mutex::default() }
    }

    /// Adds a condition, not met yet.
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition { name, state: Arc::default() };
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner).push(condition.clone());
        condition
    }

    /// Whether every condition is met and no drain has begun.
    pub fn is_ready(&self) -> bool {
        self.report().0
    }

    /// Whether it is ready, and a line for each condition.
    pub fn report(&self) -> (bool, String) {
        let (ready, conditions) = self.standing();
        let mut text = String::new();
        for Standing { name, is_met, note } in conditions {
            let (sign, word) = if is_met { ("+", "ok") } else { ("-", "missing") };
            let note = note.map(|note| format!(": {note}")).unwrap_or_default();
            writeln!(text, "[{sign}] {name} {word}{note}").expect("writing to a string cannot fail");
        }
        text.push_str(if ready { "ready\n" } else { "not ready\n" });
        (ready, text)
    }

    /// Whether it is ready, and where each condition stands.
    pub(super) fn standing(&self) -> (bool, Vec<Standing>) {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut standing: Vec<_> = conditions
            .iter()
            .map(|condition| {
                let state = condition.state.lock().unwrap_or_else(PoisonError::into_inner);
                Standing { name: condition.name, is_met: state.met, note: state.note.clone() }
            })
            .collect();
        if self.shutdown.phase() > Phase::Running {
            let note = Some("the process is about to end".to_owned());
            standing.push(Standing { name: "running", is_met: false, note });
        }
        (standing.iter().all(|condition| condition.is_met), standing)
    }
}

impl Condition {
    /// Meets the condition, for good, and removes its note.
    pub fn meet(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.met = true;
        state.note = None;
    }

    /// Meets the condition, for good, because it turned out not to be one; its note stays.
    pub fn waive(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).met = true;
    }

    /// Says something about the condition: why it is not met yet, or what went wrong since.
    pub fn note(&self, text: impl Into<String>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).note = Some(text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let health = Health::new(Shutdown::new());
        let (table, socket) = (health.condition("table"), health.condition("socket"));
        table.note("line 3, column 1: unknown key `rule`");
        socket.meet();
        assert_eq!(
            health.report(),
            (
                false,
                "[-] table missing: line 3, column 1: unknown key `rule`\n[+] socket ok\nnot ready\n".into()
            )
        );
        table.meet();
        assert_eq!(health.report(), (true, "[+] table ok\n[+] socket ok\nready\n".into()));
    }

    #[test]
    fn a_later_fault_is_said_and_takes_nothing_back() {
        let health = Health::new(Shutdown::new());
        let table = health.condition("table");
        table.meet();
        table.note("the last edit was refused");
        assert_eq!(health.report(), (true, "[+] table ok: the last edit was refused\nready\n".into()));
    }

    #[test]
    fn a_condition_that_is_none_keeps_what_was_said_about_it() {
        let health = Health::new(Shutdown::new());
        let lock = health.condition("lock");
        lock.note("line 1, column 1: wrong");
        lock.waive();
        assert_eq!(health.report(), (true, "[+] lock ok: line 1, column 1: wrong\nready\n".into()));
    }

    #[test]
    fn a_drain_ends_being_ready_at_once() {
        let shutdown = Shutdown::new();
        let health = Health::new(shutdown.clone());
        assert!(health.is_ready());
        shutdown.drain();
        assert_eq!(
            health.report(),
            (false, "[-] running missing: the process is about to end\nnot ready\n".into())
        );
    }
}
