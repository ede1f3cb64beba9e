//! The Lease: of all replicas one at a time does what only one should do.
//!
//! The object `portolan` of `coordination.k8s.io` in Portolan's namespace names its holder. Every write is a
//! compare-and-swap by resource version. Clocks of different machines are never compared: whoever waits takes the Lease when it has not
//! changed for as long as it lasts, by its own monotonic clock from when it first saw it so; its holder takes it for
//! lost after two thirds of that. So two hold it at once only if one's clock runs half as fast again as another's; what
//! is done under it must bear that all the same, for a write that was begun may end late.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::coordination::v1::{self, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tracing::{debug, error, warn};

use super::{
    client::{CONFLICT, CallError, Client},
    events::instance,
};
use crate::metrics::Metrics;

/// The Lease's name.
pub const LEASE: &str = "portolan";

/// Whether this replica holds the Lease, and the way to give it up. Clones share it; it is followed as long as one is
/// there.
#[derive(Clone, Debug)]
pub struct Lease {
    held: watch::Receiver<Held>,
    wish: watch::Sender<Wish>,
}

/// How long the Lease lasts, and how often it is renewed or looked at.
#[derive(Clone, Copy, Debug)]
pub struct LeasePolicy {
    /// How long it must not have changed until another may take it; whole seconds.
    pub duration: Duration,
    /// How often its holder renews it and the others look at it.
    pub every: Duration,
    /// How long a replica that has passed it on leaves it to others.
    pub pause: Duration,
}

impl Default for LeasePolicy {
    fn default() -> Self {
        let every = Duration::from_secs(5);
        // Every other replica has looked twice meanwhile.
        Self { duration: Duration::from_secs(15), every, pause: 2 * every }
    }
}

impl Lease {
    /// Follows the Lease in `namespace`, in a task of its own. Needs `create` on Leases there, and `get` and `update` on
    /// this one.
    pub fn follow(client: &Client, namespace: &str, policy: LeasePolicy, metrics: Arc<Metrics>) -> Self {
        let (sender, held) = watch::channel(Held::default());
        let (wish, wishes) = watch::channel(Wish::default());
        let random = RandomState::new().build_hasher().finish();
        let replica = Replica {
            client: client.clone(),
            api: Api::namespaced(client.kube.clone(), namespace),
            identity: format!("{}_{random:016x}", instance()),
            policy,
            metrics,
            held: sender,
        };
        tokio::spawn(async move {
            // One that failed leaves the Lease to run out.
            while tokio::spawn(Arc::new(replica.clone()).run(wishes.clone())).await.is_err() {
                error!("following the Lease failed, beginning anew");
                replica.metrics.lease_errors.inc();
                replica.publish(None);
                tokio::time::sleep(policy.every).await;
            }
        });
        Self { held, wish }
    }

    /// Whether this replica holds it now.
    pub fn is_held(&self) -> bool {
        let passes = self.wish.borrow().passes;
        self.held.borrow().counts(passes)
    }

    /// Waits until this replica holds it.
    pub async fn acquired(&self) {
        let mut held = self.held.clone();
        let passes = self.wish.borrow().passes;
        if held.wait_for(|held| held.counts(passes)).await.is_err() {
            // It was given back for good.
            std::future::pending::<()>().await;
        }
    }

    /// Gives it up and leaves it to the others for a while.
    pub fn pass_on(&self) {
        self.wish.send_modify(|wish| wish.passes += 1);
    }

    /// From now on looks more often whether it can be had: the process is about to end.
    pub fn hurry(&self) {
        self.wish.send_modify(|wish| wish.urgency = Urgency::Hurry);
    }

    /// Gives it back for good and waits until that is done.
    pub async fn end(&self) {
        self.wish.send_modify(|wish| wish.urgency = Urgency::End);
        let mut held = self.held.clone();
        while held.changed().await.is_ok() {}
    }
}

/// What the task has come to.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// Until when it is held, unless it is renewed.
    until: Option<Instant>,
    /// How often it was passed on.
    passes: u64,
}

/// What is wanted of the task.
#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    /// How often it was to be passed on.
    passes: u64,
    urgency: Urgency,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Urgency {
    End,
    Hurry,
    #[default]
    Usual,
}

/// The task's own.
#[derive(Clone)]
struct Replica {
    client: Client,
    api: Api<v1::Lease>,
    /// The Pod's name and something that no other process has.
    identity: String,
    policy: LeasePolicy,
    metrics: Arc<Metrics>,
    held: watch::Sender<Held>,
}

impl Held {
    /// Whether it is held now, and has been passed on as often as was wished.
    fn counts(&self, passes: u64) -> bool {
        self.passes == passes && self.until.is_some_and(|until| Instant::now() < until)
    }
}

/// A state of the Lease, and since when we have seen it so.
#[derive(Debug)]
struct Seen {
    resource_version: Option<String>,
    since: Instant,
}

/// What is to be done about the Lease.
#[derive(Debug, Eq, PartialEq)]
enum Step {
    Renew,
    Take,
    Wait,
}

impl Replica {
    /// Goes on until it is told to end, or nobody can tell it any more.
    async fn run(self: Arc<Self>, mut wishes: watch::Receiver<Wish>) {
        let (mut seen, mut is_well) = (None, true);
        loop {
            let wish = *wishes.borrow_and_update();
            let is_passed = wish.passes != self.held.borrow().passes;
            let done = if is_passed || wish.urgency == Urgency::End {
                self.publish(None);
                self.held.send_modify(|held| held.passes = wish.passes);
                self.release().await
            } else {
                self.try_to_hold(&mut seen).await
            };
            if let Err(error) = &done {
                self.metrics.lease_errors.inc();
                if is_well {
                    warn!(lease = LEASE, %error, "cannot read or write the Lease, trying again");
                }
                self.expire(Instant::now());
            }
            is_well = done.is_ok();
            let pause = match wish.urgency {
                Urgency::End => return,
                Urgency::Hurry => self.policy.every / HURRIED,
                Urgency::Usual if is_passed => self.policy.pause,
                Urgency::Usual => self.policy.every,
            };
            tokio::select! {
                changed = wishes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Renews it, takes it if it is free, or waits.
    async fn try_to_hold(&self, seen: &mut Option<Seen>) -> Result<(), CallError> {
        let begun = Instant::now();
        let written = match self.client.within_limit(self.api.get(LEASE)).await {
            Ok(lease) => {
                let now = Instant::now();
                let resource_version = lease.metadata.resource_version.clone();
                let known = seen.take().filter(|seen| seen.resource_version == resource_version);
                let known = seen.insert(known.unwrap_or(Seen { resource_version, since: now }));
                let unchanged = now.saturating_duration_since(known.since);
                let spec = lease.spec.clone().unwrap_or_default();
                let step = step(&spec, &self.identity, unchanged, self.policy.duration);
                if step == Step::Wait {
                    self.publish(None);
                    return Ok(());
                }
                let lease = v1::Lease { spec: Some(self.held_by_us(spec, &step)), ..lease };
                self.client.within_limit(self.api.replace(LEASE, &PostParams::default(), &lease)).await
            }
            Err(CallError::NotFound) => {
                let metadata = ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() };
                let spec = self.held_by_us(LeaseSpec::default(), &Step::Take);
                let lease = v1::Lease { metadata, spec: Some(spec) };
                self.client.within_limit(self.api.create(&PostParams::default(), &lease)).await
            }
            Err(error) => return Err(error),
        };
        match written {
            Ok(_) => {
                self.publish(Some(begun + self.policy.duration * 2 / 3));
                Ok(())
            }
            // Another was faster.
            Err(CallError::Refused { code: CONFLICT, .. }) => {
                self.publish(None);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Gives it up if it is ours.
    async fn release(&self) -> Result<(), CallError> {
        let lease = match self.client.within_limit(self.api.get(LEASE)).await {
            Ok(lease) => lease,
            Err(CallError::NotFound) => return Ok(()),
            Err(error) => return Err(error),
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&*self.identity) {
            return Ok(());
        }
        let spec = LeaseSpec { holder_identity: None, renew_time: Some(stamp()), ..spec };
        let lease = v1::Lease { spec: Some(spec), ..lease };
        match self.client.within_limit(self.api.replace(LEASE, &PostParams::default(), &lease)).await {
            Ok(_) | Err(CallError::Refused { code: CONFLICT, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn held_by_us(&self, spec: LeaseSpec, step: &Step) -> LeaseSpec {
        let now = stamp();
        let is_taken = *step == Step::Take;
        let seconds = i32::try_from(self.policy.duration.as_secs()).unwrap_or(i32::MAX).max(1);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(seconds),
            acquire_time: if is_taken { Some(now.clone()) } else { spec.acquire_time },
            renew_time: Some(now),
            lease_transitions: Some(spec.lease_transitions.unwrap_or(0).saturating_add(is_taken.into())),
            ..spec
        }
    }

    fn publish(&self, until: Option<Instant>) {
        let before = self.held.borrow().until;
        self.held.send_modify(|held| held.until = until);
        match (before, until) {
            (None, Some(_)) => debug!(lease = LEASE, "the Lease is ours"),
            (Some(_), None) => debug!(lease = LEASE, "the Lease is no longer ours"),
            _ => {}
        }
        self.metrics.lease_held.set(until.is_some().into());
    }

    /// Takes it for lost if it could not be renewed in time.
    fn expire(&self, now: Instant) {
        let is_over = self.held.borrow().until.is_some_and(|until| until <= now);
        if is_over {
            self.publish(None);
        }
    }
}

/// What to do about a Lease that has not changed for so long as far as we have seen; `usual` is how long one lasts that
/// does not say.
fn step(spec: &LeaseSpec, identity: &str, unchanged: Duration, usual: Duration) -> Step {
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let lasts = seconds.map_or(usual, Duration::from_secs).clamp(SHORTEST, LONGEST);
    match spec.holder_identity.as_deref() {
        None | Some("") => Step::Take,
        Some(holder) if holder == identity => Step::Renew,
        Some(_) if unchanged >= lasts => Step::Take,
        Some(_) => Step::Wait,
    }
}

fn stamp() -> MicroTime {
    #[expect(clippy::disallowed_methods, reason = "a stamp for people; nothing is decided by it")]
    let now = Timestamp::now();
    MicroTime(now)
}

/// How often it is looked at in the usual time when there is a hurry.
const HURRIED: u32 = 25;

/// A Lease that somebody wrote by hand may say anything.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(holder: Option<&str>, seconds: Option<i32>) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: seconds,
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_or_has_not_changed_for_as_long_as_it_lasts() {
        let usual = Duration::from_secs(15);
        for (holder, seconds, unchanged, expected) in [
            (None, None, 0, Step::Take),
            (Some(""), Some(15), 0, Step::Take),
            (Some("us"), Some(15), 0, Step::Renew),
            (Some("us"), Some(15), 100, Step::Renew),
            (Some("other"), Some(15), 0, Step::Wait),
            (Some("other"), Some(15), 14_999, Step::Wait),
            (Some("other"), Some(15), 15_000, Step::Take),
            (Some("other"), Some(5), 5_000, Step::Take),
            (Some("other"), None, 14_999, Step::Wait),
            (Some("other"), None, 15_000, Step::Take),
            // Written by hand.
            (Some("other"), Some(-1), 14_999, Step::Wait),
            (Some("other"), Some(0), 999, Step::Wait),
            (Some("other"), Some(i32::MAX), 60_000, Step::Take),
        ] {
            let found = step(&spec(holder, seconds), "us", Duration::from_millis(unchanged), usual);
            assert_eq!(found, expected, "{holder:?}, {seconds:?}, {unchanged} ms");
        }
    }
}
