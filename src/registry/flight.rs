//! Single flight: however many ask the same, one task fetches.
//!
//! The fetch runs in a task of its own, so an asker who gives up loses nothing for the next one, and an asker waits as
//! long as it likes. A fetch that panics ends its flight: those who wait are told, the next asker starts anew. Only so
//! many are under way at once.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};

/// The fetches under way, by what they fetch.
#[derive(Debug)]
pub(super) struct Flights<K, T: Clone> {
    /// Held for a look-up or a spawn, never over I/O.
    under_way: Mutex<UnderWay<K, T>>,
    /// How many may be under way.
    most: usize,
}

#[derive(Debug)]
struct UnderWay<K, T: Clone> {
    by_key: HashMap<K, Flight<T>>,
    last: u64,
}

/// One fetch under way; clones wait for the same one.
#[derive(Clone, Debug)]
pub(super) struct Flight<T: Clone> {
    number: u64,
    pub(super) begun: Begun,
    outcome: Shared<BoxFuture<'static, Option<T>>>,
}

/// When a fetch turned to whom it asks; before that it waits in line.
#[derive(Clone, Debug, Default)]
pub(super) struct Begun(Arc<OnceLock<Instant>>);

impl Begun {
    /// It begins.
    pub(super) fn set(&self, now: Instant) {
        // Only a fetch itself says so, and once.
        let _ = self.0.set(now);
    }

    /// When it began, if it did.
    pub(super) fn moment(&self) -> Option<Instant> {
        self.0.get().copied()
    }
}

/// What an asker gets.
#[derive(Debug)]
pub(super) enum Boarded<T: Clone> {
    /// Somebody fetches it.
    Flight(Flight<T>),
    /// Nobody fetches it: too many fetches are under way.
    Full,
    /// It became known before a fetch was needed.
    Known(T),
}

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { under_way: Mutex::new(UnderWay { by_key: HashMap::new(), last: 0 }), most })
    }

    /// Joins the fetch for `key`, or begins one unless `known` has the answer by now.
    ///
    /// `known` is asked only when no fetch is under way. As a fetch leaves what it found where `known` looks before
    /// its flight ends, no answer is missed between the two, and many askers cause exactly one fetch.
    pub(super) fn board<F>(
        self: &Arc<Self>,
        key: &K,
        known: impl FnOnce() -> Option<T>,
        fetch: impl FnOnce(Begun) -> F,
    ) -> Boarded<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut under_way = self.lock();
        if let Some(flight) = under_way.by_key.get(key) {
            return Boarded::Flight(flight.clone());
        }
        match known() {
            Some(known) => Boarded::Known(known),
            None if under_way.by_key.len() >= self.most => Boarded::Full,
            None => Boarded::Flight(self.begin(&mut under_way, key, fetch)),
        }
    }

    /// Begins a fetch even if one is under way, or too many; who asks from now on waits for this one.
    pub(super) fn begin_anew<F>(self: &Arc<Self>, key: &K, fetch: impl FnOnce(Begun) -> F) -> Flight<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        self.begin(&mut self.lock(), key, fetch)
    }

    fn begin<F>(
        self: &Arc<Self>,
        under_way: &mut UnderWay<K, T>,
        key: &K,
        fetch: impl FnOnce(Begun) -> F,
    ) -> Flight<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        under_way.last += 1;
        let number = under_way.last;
        let end = End { flights: Arc::clone(self), key: key.clone(), number };
        let begun = Begun::default();
        let fetch = fetch(begun.clone());
        let task = tokio::spawn(async move {
            let _end = end;
            fetch.await
        });
        let flight = Flight { number, begun, outcome: task.map(Result::ok).boxed().shared() };
        under_way.by_key.insert(key.clone(), flight.clone());
        flight
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay<K, T>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Flight<T> {
    /// What was fetched, or `None` if it is not there at `deadline` or the fetch came to nothing.
    pub(super) async fn wait_until(self, deadline: Instant) -> Result<Option<T>, Late> {
        tokio::time::timeout_at(deadline.into(), self.outcome).await.map_err(|_| Late)
    }

    /// What was fetched; `None`: the fetch panicked or its runtime is shutting down.
    pub(super) async fn wait(self) -> Option<T> {
        self.outcome.await
    }
}

/// The flight has not ended yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Late;

/// Ends a flight when it goes out of scope, however that comes.
struct End<K: Eq + Hash, T: Clone> {
    flights: Arc<Flights<K, T>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, T: Clone> Drop for End<K, T> {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // A probe may have taken the place of this flight.
        if under_way.by_key.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            under_way.by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use tokio::sync::Notify;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    fn flight(boarded: Boarded<u8>) -> Flight<u8> {
        match boarded {
            Boarded::Flight(flight) => flight,
            other => panic!("no flight: {other:?}"),
        }
    }

    #[tokio::test]
    async fn many_askers_cause_one_fetch() {
        let (flights, runs) = (Flights::<&str, u8>::new(8), Arc::new(AtomicUsize::new(0)));
        let gate = Arc::new(Notify::new());
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let (runs, gate) = (Arc::clone(&runs), Arc::clone(&gate));
                flight(flights.board(
                    &"a",
                    || None,
                    |_| async move {
                        runs.fetch_add(1, Ordering::SeqCst);
                        gate.notified().await;
                        7
                    },
                ))
            })
            .collect();
        gate.notify_one();
        for flight in waiting {
            assert_eq!(flight.wait_until(soon()).await, Ok(Some(7)));
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert!(flights.lock().by_key.is_empty());
        assert!(matches!(flights.board(&"a", || Some(7), |_| async { 8 }), Boarded::Known(7)));
    }

    #[tokio::test]
    async fn the_fetch_goes_on_when_its_asker_gives_up() {
        let flights = Flights::<&str, u8>::new(8);
        let gate = Arc::new(Notify::new());
        let first = {
            let gate = Arc::clone(&gate);
            flight(flights.board(
                &"a",
                || None,
                |_| async move {
                    gate.notified().await;
                    7
                },
            ))
        };
        assert_eq!(first.wait_until(Instant::now()).await, Err(Late));
        gate.notify_one();
        let second = flight(flights.board(&"a", || None, |_| async { 8 }));
        assert_eq!(second.wait_until(soon()).await, Ok(Some(7)));
    }

    #[tokio::test]
    async fn a_panic_hangs_nobody_and_the_next_asker_starts_anew() {
        let flights = Flights::<&str, u8>::new(8);
        let gate = Arc::new(Notify::new());
        let first = {
            let gate = Arc::clone(&gate);
            flight(flights.board(
                &"a",
                || None,
                |_| async move {
                    gate.notified().await;
                    panic!("expected by the test")
                },
            ))
        };
        let follower = flight(flights.board(&"a", || None, |_| async { 8 }));
        gate.notify_one();
        assert_eq!(first.wait_until(soon()).await, Ok(None));
        assert_eq!(follower.wait().await, None);
        assert_eq!(flight(flights.board(&"a", || None, |_| async { 9 })).wait().await, Some(9));
    }

    #[tokio::test]
    async fn a_flight_begun_anew_is_the_one_to_join_and_the_old_one_does_not_end_it() {
        let flights = Flights::<&str, u8>::new(8);
        let (old_gate, new_gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let old = {
            let gate = Arc::clone(&old_gate);
            flight(flights.board(
                &"a",
                || None,
                |_| async move {
                    gate.notified().await;
                    1
                },
            ))
        };
        let new = {
            let gate = Arc::clone(&new_gate);
            flights.begin_anew(&"a", |_| async move {
                gate.notified().await;
                2
            })
        };
        old_gate.notify_one();
        assert_eq!(old.wait().await, Some(1));
        let follower = flight(flights.board(&"a", || None, |_| async { 3 }));
        new_gate.notify_one();
        assert_eq!(new.wait().await, Some(2));
        assert_eq!(follower.wait().await, Some(2));
    }

    #[tokio::test]
    async fn when_too_many_are_under_way_none_is_begun_and_those_that_are_can_be_joined() {
        let flights = Flights::<u8, u8>::new(2);
        let never = |_| std::future::pending::<u8>();
        for key in [1, 2] {
            assert!(matches!(flights.board(&key, || None, never), Boarded::Flight(_)), "{key}");
        }
        assert!(matches!(flights.board(&3, || None, never), Boarded::Full));
        assert!(matches!(flights.board(&3, || Some(7), never), Boarded::Known(7)));
        assert!(matches!(flights.board(&2, || None, never), Boarded::Flight(_)), "joined");
        assert_eq!(
            flights.begin_anew(&3, |_| async { 8 }).wait().await,
            Some(8),
            "a probe is never one too many"
        );
    }
}
