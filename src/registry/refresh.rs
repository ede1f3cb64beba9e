//! Asking again in the background, so that what is in use is fresh when the next admission wants it.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};

use super::{memory::Key, resolver::Resolver, standing::Wait};

impl Resolver {
    /// Asks again, for ever, for what was used lately, before it ages; a few at a time, spread over the fresh time.
    ///
    /// A registry that is left alone is not asked, and when its pause is over this may be the probe, which keeps
    /// nothing waiting. Dropping the future stops it; fetches under way go on to their end.
    pub async fn refresh_forever(&self) {
        let turn = (self.shared.policy.fresh_for / TURNS).clamp(SHORTEST_TURN, LONGEST_TURN);
        let mut turns = tokio::time::interval(turn);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut waiting = VecDeque::new();
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                _ = turns.tick(), if waiting.is_empty() => waiting.extend(self.shared.memory.due(Instant::now())),
                Some(()) = under_way.next() => {}
            }
            while under_way.len() < AT_ONCE
                && let Some(key) = waiting.pop_front()
            {
                under_way.push(self.refresh(key));
            }
        }
    }

    async fn refresh(&self, key: Arc<Key>) {
        let Some(host) = self.shared.registries.get(key.reference.registry()) else {
            return;
        };
        let now = Instant::now();
        let login_is_current = host.probe(&key.reference).login == key.login;
        let refused_lately = self.shared.memory.refusal(key.probe(), now, false).is_some();
        if login_is_current && !refused_lately && host.left_alone_for(now).is_none() {
            self.shared.counters.refreshed.count();
            // However fresh the answer is that we have.
            let known = |_| None;
            self.shared.ask(&host, &key.reference, Wait::UnlessProbe(now + PATIENCE), known).await;
        }
    }
}

/// How many refreshes are under way at once, over all registries.
const AT_ONCE: usize = 8;

/// How long one refresh is waited for. Then its registry counts as silent, and its place is free.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many turns there are in the time that an answer is fresh: each refresh then comes at most 5 % late.
const TURNS: u32 = 20;

const SHORTEST_TURN: Duration = Duration::from_millis(20);
const LONGEST_TURN: Duration = Duration::from_secs(5);
