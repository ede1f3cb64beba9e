//! Keeps the certificate that all replicas share, and the trust of API servers in it.
//!
//! Every replica reads the Secret every few seconds and serves what is in it. Who holds the Lease also writes: what is
//! to be done says [`Shared::step`], and what the webhook configurations are to trust [`Sightings::wanted`]; here it
//! is only carried out. Who is not ready, and was left waiting, writes as well. A write that somebody else outran is no
//! harm: what is there then is looked at.
//!
//! Invariant: a replica that serves goes over to another authority only after all who call have trusted that one for a
//! while, or when what it serves has ended. Certificates are judged by the API server's clock, since it is the API
//! server that accepts them or does not; ours may be wrong.

mod report;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use self::report::{Report, Standing};
use super::Condition;
use crate::{
    cluster::{
        CERTIFICATE_SECRET, CallError, CertificateSecret, Client, Configuration, ConfigurationEntry,
        ConfigurationKind, ConfigurationWatch, Configurations, Lease, SecretContent, Written,
    },
    metrics::{Metrics, seconds},
    tls::{
        Bundle, Expiry, Facts, IssueError, LivePair, Lives, Shared, SharedProblem, Sightings, Step,
        is_server_name, wall_clock,
    },
};

/// How the shared certificate is kept.
#[derive(Clone, Copy, Debug)]
pub struct SharedPolicy {
    /// How long certificates live.
    pub lives: Lives,
    /// How long a new authority is trusted before it signs. It is looked twelve times as often what there is to do, and
    /// authorities that are used no more are trusted ten times as long.
    pub pace: Duration,
}

/// The task's own.
pub(super) struct CertificateKeeper {
    secret: CertificateSecret,
    configurations: Configurations,
    watches: [ConfigurationWatch; 2],
    lease: Lease,
    live: Arc<LivePair>,
    metrics: Arc<Metrics>,
    namespace: String,
    policy: SharedPolicy,
    sightings: Sightings,
    /// The authority of the live pair, with that pair's serial number.
    serving: Option<(Bundle, String)>,
    repairs: [Repairs; 2],
    report: Report,
    /// When it was looked for the first time.
    begun: Option<Instant>,
}

/// Why a look ended early. It is begun anew with the next one.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepCertificateError {
    #[error("cannot {verb} {} `{}`", kind.name(), crate::cluster::CONFIGURATION)]
    Configuration { verb: &'static str, kind: ConfigurationKind, source: CallError },
    #[error("cannot make a certificate")]
    Issue(#[from] IssueError),
    #[error("cannot {verb} Secret `{namespace}/{CERTIFICATE_SECRET}`")]
    Secret { verb: &'static str, namespace: String, source: CallError },
    #[error("a certificate was made for {} that would not be accepted", names.join(", "))]
    Useless { names: Vec<String> },
}

/// What a look came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Progress {
    /// Something was written: look again at once.
    Again,
    /// Nothing is left to be done for now.
    Done,
}

/// When a configuration was last mended, and how long it is left alone after it: somebody may set it back each time.
#[derive(Debug, Default)]
struct Repairs {
    last: Option<Instant>,
    pause: Duration,
}

impl SharedPolicy {
    fn look_every(&self) -> Duration {
        (self.pace / 12).max(Duration::from_millis(20))
    }

    fn patience(&self) -> Duration {
        self.pace / 6
    }

    fn keep_foreign(&self) -> Duration {
        self.pace * 10
    }
}

impl Default for SharedPolicy {
    fn default() -> Self {
        Self { lives: Lives::default(), pace: Duration::from_mins(1) }
    }
}

impl CertificateKeeper {
    /// Of the replicas in `namespace`. The condition is met when the certificate can be served and API servers trust
    /// it, or do not for want of somebody else; then `ready` is sent, too.
    pub(super) fn new(
        client: &Client,
        namespace: &str,
        policy: SharedPolicy,
        lease: Lease,
        (live, metrics): (Arc<LivePair>, Arc<Metrics>),
        (condition, ready): (Condition, watch::Sender<bool>),
    ) -> Self {
        let configurations = Configurations::new(client);
        Self {
            secret: CertificateSecret::new(client, namespace),
            watches: ConfigurationKind::ALL.map(|kind| configurations.watch(kind)),
            configurations,
            lease,
            live,
            metrics,
            namespace: namespace.to_owned(),
            policy,
            sightings: Sightings::default(),
            serving: None,
            repairs: Default::default(),
            report: Report::new(condition, ready),
            begun: None,
        }
    }

    /// Goes on until a watch dies, which its owner has to take for the end of the process.
    pub(super) async fn run(mut self) {
        loop {
            let done = self.look().await;
            let pause =
                if matches!(done, Ok(Progress::Again)) { SHORTEST_PAUSE } else { self.policy.look_every() };
            if let Err(error) = done {
                self.metrics.certificate_errors.inc();
                self.report.failed(&error, Instant::now());
            }
            let [mutating, validating] = &mut self.watches;
            let may_write = self.lease.is_held();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.lease.acquired(), if !may_write => {}
                changed = mutating.configuration.changed() => if changed.is_err() { return },
                changed = validating.configuration.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Looks at everything once, serves what is to be served, and takes at most one step.
    async fn look(&mut self) -> Result<Progress, KeepCertificateError> {
        let instant = Instant::now();
        self.begun.get_or_insert(instant);
        let content = self.secret.read().await.map_err(|source| self.secret_error("read", source))?;
        let own = wall_clock();
        let now = content.server_time.unwrap_or(own);
        self.report.clocks(own, now);
        let configurations =
            self.watches.each_mut().map(|watch| watch.configuration.borrow_and_update().clone());
        let entries = all_entries(&configurations);
        let names = names(&self.namespace, entries.as_deref().unwrap_or_default());
        let shared = match Shared::read(&content.data) {
            Ok(shared) => shared,
            Err(problem) => return self.begin(problem, &content, &names, now, instant).await,
        };
        let bundles = entries.as_deref().map(bundles);
        self.sightings.see(bundles.as_deref(), &shared.bundle(), instant);
        self.serve(&shared, now, instant);
        let mut progress = Progress::Done;
        if self.may_write(instant) {
            let ours = shared.bundle();
            progress = self.step(shared, &content, &names, now, instant).await?;
            if progress == Progress::Done {
                progress = self.mend(&configurations, &ours, now, instant).await?;
            }
        }
        self.report.looked(&self.standing(&configurations), instant);
        Ok(progress)
    }

    /// Makes everything anew, because what the Secret holds is of no use.
    async fn begin(
        &mut self,
        problem: SharedProblem,
        content: &SecretContent,
        names: &[String],
        now: SystemTime,
        instant: Instant,
    ) -> Result<Progress, KeepCertificateError> {
        let secret = format!("{}/{CERTIFICATE_SECRET}", self.namespace);
        if !self.may_write(instant) {
            self.report.waiting(&format!(
                "Secret `{secret}`: {problem}; who holds the Lease will fill it, or we do"
            ));
            return Ok(Progress::Done);
        }
        if problem != SharedProblem::Empty {
            self.metrics.certificate_errors.inc();
            tracing::warn!(secret, %problem, "the shared certificate is of no use, so it is made anew");
        }
        let shared = Shared::begin(names, self.policy.lives, now)?;
        self.write(&shared, content, Step::Begin).await
    }

    /// With the Lease; and also without, if whoever holds it has left us waiting: a replica that does without
    /// `--tls-self` holds it as well, and is to end only when we are ready. Two that write at once do no harm.
    fn may_write(&self, instant: Instant) -> bool {
        let waits_for = self.begun.map_or(Duration::ZERO, |begun| instant.saturating_duration_since(begun));
        self.lease.is_held() || !self.report.is_ready() && waits_for >= self.policy.patience()
    }

    /// Takes the step that is due, if any. Only if we may write.
    async fn step(
        &mut self,
        shared: Shared,
        content: &SecretContent,
        names: &[String],
        now: SystemTime,
        instant: Instant,
    ) -> Result<Progress, KeepCertificateError> {
        let next_trusted_for = shared.next().and_then(|next| self.sightings.trusted_for(next, instant));
        let facts = Facts { now, names, next_trusted_for, settle: self.policy.pace };
        let step = shared.step(&facts);
        if step == Step::Nothing {
            return Ok(Progress::Done);
        }
        // A watch may be late; that of a clean switch is asked once more.
        if step == Step::Switch && next_trusted_for.is_some() && !self.is_confirmed(&shared).await? {
            return Ok(Progress::Done);
        }
        let shared = shared.after(step, names, self.policy.lives, now)?;
        let facts = Facts { next_trusted_for: None, ..facts };
        if shared.step(&facts) == step {
            return Err(KeepCertificateError::Useless { names: names.to_vec() });
        }
        self.write(&shared, content, step).await
    }

    async fn write(
        &self,
        shared: &Shared,
        content: &SecretContent,
        step: Step,
    ) -> Result<Progress, KeepCertificateError> {
        let written = self.secret.replace(content, &shared.to_data()).await;
        match written.map_err(|source| self.secret_error("write", source))? {
            Written::Done => {
                tracing::info!(step = ?step, secret = CERTIFICATE_SECRET, "shared certificate written");
            }
            Written::Outrun => tracing::debug!("another replica was faster"),
        }
        Ok(Progress::Again)
    }

    /// Whether every entry of both configurations trusts the next authority, as they are now.
    async fn is_confirmed(&self, shared: &Shared) -> Result<bool, KeepCertificateError> {
        let Some(next) = shared.next() else { return Ok(false) };
        for kind in ConfigurationKind::ALL {
            let read = self.configurations.read(kind).await;
            let read = read.map_err(|source| configuration_error("read", kind, source))?;
            let entries = read.entries().unwrap_or_default();
            if !entries.iter().all(|entry| Bundle::parse(&entry.bundle).holds(next)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Has the configurations trust what they should. Only if we may write.
    async fn mend(
        &mut self,
        configurations: &[Configuration; 2],
        ours: &Bundle,
        now: SystemTime,
        instant: Instant,
    ) -> Result<Progress, KeepCertificateError> {
        let (mut progress, mut failed) = (Progress::Done, None);
        let each = ConfigurationKind::ALL.into_iter().zip(configurations).zip(&mut self.repairs);
        for ((kind, configuration), repairs) in each {
            let entries = configuration.entries().unwrap_or_default();
            let keep = self.policy.keep_foreign();
            let wanted = self.sightings.wanted(&bundles(entries), ours, keep, now, instant).to_pem();
            if entries.iter().all(|entry| entry.bundle == wanted.as_bytes()) || !repairs.is_due(instant) {
                continue;
            }
            repairs.done(kind, instant);
            match self.configurations.trust(kind, configuration, &wanted).await {
                Ok(Written::Done) => {
                    tracing::info!(configuration = kind.name(), "caBundle written");
                    progress = Progress::Again;
                }
                Ok(Written::Outrun) => tracing::debug!(configuration = kind.name(), "it has just changed"),
                Err(source) => {
                    failed.get_or_insert_with(|| configuration_error("patch", kind, source));
                }
            }
        }
        failed.map_or(Ok(progress), Err)
    }

    /// Takes the pair into use, if it is another and API servers accept it.
    fn serve(&mut self, shared: &Shared, now: SystemTime, instant: Instant) {
        self.metrics.certificate_authority_expiry.set(seconds(shared.authority_ends()));
        let Ok(pair) = shared.pair() else { return };
        let authority = shared.authority();
        if let Some((bundle, serial)) = &self.serving {
            if serial == pair.serial() && bundle.holds(authority) {
                return;
            }
            let has_ended = self.live.current().is_none_or(|live| live.expiry(now) == Expiry::Ended);
            let is_trusted = self.sightings.trusted_for(authority, instant);
            let is_settled = is_trusted.is_some_and(|time| time >= self.policy.pace);
            if !bundle.holds(authority) && !is_settled && !has_ended {
                return;
            }
        }
        tracing::info!(serial = pair.serial(), secret = CERTIFICATE_SECRET, "certificate in use");
        self.metrics.certificate_expiry.set(seconds(pair.ends()));
        self.serving = Some((std::iter::once(authority.clone()).collect(), pair.serial().to_owned()));
        self.live.replace(pair.clone());
    }

    /// How far API servers trust what is served.
    fn standing(&self, configurations: &[Configuration; 2]) -> Standing {
        let Some((authority, _)) = &self.serving else { return Standing::NotServed };
        let trouble = self.watches.iter().find_map(|watch| watch.trouble.borrow().clone());
        let trusts = |entry: &ConfigurationEntry| {
            let bundle = Bundle::parse(&entry.bundle);
            authority.clone().into_iter().all(|authority| bundle.holds(&authority))
        };
        let distrust = |configuration: &&Configuration| {
            configuration.entries().is_some_and(|entries| !entries.iter().all(trusts))
        };
        let untrusting = configurations.iter().filter(distrust).count();
        self.metrics.certificate_untrusted.set(i64::try_from(untrusting).unwrap_or(i64::MAX));
        let is_distrusted = |(kind, configuration): (ConfigurationKind, &Configuration)| {
            distrust(&configuration).then_some(kind)
        };
        let mut kinds = ConfigurationKind::ALL.into_iter().zip(configurations);
        match kinds.find_map(is_distrusted) {
            _ if trouble.is_some() => Standing::Unknown(trouble),
            Some(kind) => Standing::Distrusted(kind),
            None if configurations.contains(&Configuration::Unread) => Standing::Unknown(None),
            None => Standing::Trusted,
        }
    }

    fn secret_error(&self, verb: &'static str, source: CallError) -> KeepCertificateError {
        KeepCertificateError::Secret { verb, namespace: self.namespace.clone(), source }
    }
}

impl Repairs {
    fn is_due(&self, instant: Instant) -> bool {
        self.last.is_none_or(|last| instant.saturating_duration_since(last) >= self.pause)
    }

    fn done(&mut self, kind: ConfigurationKind, instant: Instant) {
        let since = self.last.map(|last| instant.saturating_duration_since(last));
        let is_calm = since.is_none_or(|since| since >= self.pause * 10);
        self.pause = if is_calm { FIRST_REPAIR } else { LONGEST_REPAIR.min(self.pause * 2) };
        if self.pause == LONGEST_REPAIR {
            tracing::warn!(
                configuration = kind.name(),
                "somebody else sets the caBundle again and again; \
                 is there an annotation of cert-manager beside `--tls-self`?"
            );
        }
        self.last = Some(instant);
    }
}

fn configuration_error(
    verb: &'static str,
    kind: ConfigurationKind,
    source: CallError,
) -> KeepCertificateError {
    KeepCertificateError::Configuration { verb, kind, source }
}

/// The entries of both; `None`: they are not known.
fn all_entries(configurations: &[Configuration; 2]) -> Option<Vec<ConfigurationEntry>> {
    let entries: Option<Vec<_>> = configurations.iter().map(Configuration::entries).collect();
    Some(entries?.concat())
}

fn bundles(entries: &[ConfigurationEntry]) -> Vec<Bundle> {
    entries.iter().map(|entry| Bundle::parse(&entry.bundle)).collect()
}

/// What the server is called: by its Service's usual name, and as the entries say.
fn names(namespace: &str, entries: &[ConfigurationEntry]) -> Vec<String> {
    let usual = format!("portolan.{namespace}.svc");
    let mut names = vec![format!("{usual}.cluster.local"), usual];
    names.extend(entries.iter().filter_map(|entry| entry.called.clone()));
    names.retain(|name| is_server_name(name));
    names.sort();
    names.dedup();
    names.truncate(MOST_NAMES);
    names
}

/// The pause between two steps that follow each other.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// How soon a configuration is mended again, at first and at last.
const FIRST_REPAIR: Duration = Duration::from_millis(100);
const LONGEST_REPAIR: Duration = Duration::from_mins(1);

/// More than two configurations of ours call.
const MOST_NAMES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(called: Option<&str>) -> ConfigurationEntry {
        let called = called.map(str::to_owned);
        ConfigurationEntry { name: "pods.portolan.dev".to_owned(), called, bundle: Vec::new() }
    }

    #[test]
    fn the_server_is_called_as_its_service_and_as_the_configurations_say() {
        let usual = ["portolan.ns.svc", "portolan.ns.svc.cluster.local"];
        assert_eq!(names("ns", &[]), usual);
        let called =
            [Some("portolan.ns.svc"), Some("webhook.ns.svc"), Some("127.0.0.1"), Some("no name"), None];
        let found = names("ns", &called.map(entry));
        assert_eq!(found, ["127.0.0.1", usual[0], usual[1], "webhook.ns.svc"]);
        let many: Vec<_> = (0..40).map(|number| entry(Some(&format!("r{number}.ns.svc")))).collect();
        assert_eq!(names("ns", &many).len(), MOST_NAMES);
    }

    #[test]
    fn who_sets_a_bundle_back_each_time_makes_pauses_longer_and_calm_makes_them_short_again() {
        let mut repairs = Repairs::default();
        let mut instant = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert!(repairs.is_due(instant));
            repairs.done(ConfigurationKind::Mutating, instant);
            assert!(!repairs.is_due(instant + repairs.pause.saturating_sub(Duration::from_millis(1))));
            pauses.push(repairs.pause.as_millis());
            instant += repairs.pause;
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        instant += LONGEST_REPAIR * 10;
        repairs.done(ConfigurationKind::Mutating, instant);
        assert_eq!(repairs.pause, FIRST_REPAIR);
    }
}
