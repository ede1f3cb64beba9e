//! `portolan serve`: the webhook.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::{ArgAction, Args, ValueEnum};

use super::{ExitStatus, parse_duration};
use crate::{
    admission, cluster,
    registry::CachePolicy,
    rewrite::{self, PodOptOut},
    server::{
        self, AuditDestination, CertificateSource, ConfigMapName, KeepAnswers, Loopback, Settings,
        SharedPolicy, TableSource,
    },
    tls::Lives,
};

/// How the webhook is to run.
#[derive(Debug, Args)]
#[command(
    after_help = "Logins to registries are the Secrets that the table names; outside a cluster those in the files
of podman and docker (`portolan save --help` says which), whose credential helpers are not run.

Examples:
  portolan serve --table mirrors.yaml --tls-self
  portolan serve --table-configmap portolan/portolan-table --tls-self
  portolan serve --table-configmap portolan/portolan-table --tls-dir /etc/portolan/tls

Exit codes:
  0  a signal asked it to stop, and it did
  2  it could not start, or a part of it ended that it cannot do without"
)]
pub(super) struct ServeArgs {
    /// File with the mapping table
    #[arg(long, env = "PORTOLAN_TABLE", value_name = "FILE", conflicts_with = "table_configmap")]
    table: Option<PathBuf>,

    /// ConfigMap with the mapping table, key `table.yaml` [default: `portolan-table` in Portolan's namespace]
    #[arg(long, env = "PORTOLAN_TABLE_CONFIGMAP", value_name = "NS/NAME")]
    table_configmap: Option<ConfigMapName>,

    /// File with the lock [default: the ConfigMaps labelled `portolan.dev/lock: "true"` in Portolan's namespace]
    #[arg(long, env = "PORTOLAN_LOCK", value_name = "FILE")]
    lock: Option<PathBuf>,

    /// Where the webhook listens (HTTPS)
    #[arg(long, env = "PORTOLAN_LISTEN", value_name = "ADDRESS", default_value = ":9443", value_parser = parse_address)]
    listen: SocketAddr,

    /// Where /livez, /readyz and /metrics are (plain HTTP)
    #[arg(long, env = "PORTOLAN_OPS_LISTEN", value_name = "ADDRESS", default_value = ":9441", value_parser = parse_address)]
    ops_listen: SocketAddr,

    /// Where /status and a page of the same content are (plain HTTP, loopback only: `kubectl port-forward`)
    #[arg(long, env = "PORTOLAN_STATUS_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:9442", value_parser = parse_loopback)]
    status_listen: Loopback,

    /// Certificate chain in PEM
    #[arg(long, env = "PORTOLAN_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Private key to it in PEM (SEC1, PKCS#1 or PKCS#8)
    #[arg(long, env = "PORTOLAN_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Folder with `tls.crt` and `tls.key`, such as a mounted Secret
    #[arg(long, env = "PORTOLAN_TLS_DIR", value_name = "DIR", conflicts_with_all = ["tls_cert", "tls_self"])]
    tls_dir: Option<PathBuf>,

    /// Make the certificate: in a cluster one for all replicas, renewed and made known to the API server; elsewhere, or if
    /// a file is named that its CA is to be written to, one for this process alone
    #[arg(long, env = "PORTOLAN_TLS_SELF", value_name = "CA-FILE", num_args = 0..=1, require_equals = true, default_missing_value = "", conflicts_with = "tls_cert")]
    tls_self: Option<OsString>,

    /// How long a certificate of `--tls-self` that replicas share is valid. For tests.
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = parse_duration, hide = true)]
    tls_self_life: Duration,

    /// How long its authority is. For tests.
    #[arg(long, value_name = "TIME", default_value = "730d", value_parser = parse_duration, hide = true)]
    tls_self_authority_life: Duration,

    /// How long a new authority is trusted before it signs. For tests.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_duration, hide = true)]
    tls_self_pace: Duration,

    /// File that audit lines are appended to [default: stdout]
    #[arg(long, env = "PORTOLAN_AUDIT_LOG", value_name = "FILE")]
    audit_log: Option<PathBuf>,

    /// Most admissions that wait to be written to the audit log
    #[arg(long, env = "PORTOLAN_AUDIT_QUEUE", value_name = "N", default_value_t = 16_384)]
    audit_queue: usize,

    /// `audit`: decide, log and warn, but change nothing
    #[arg(long, env = "PORTOLAN_MODE", value_enum, default_value = "enforce")]
    mode: Mode,

    /// Whether Pods may opt out by the label `portolan.dev/rewrite: disabled`; with `false` the webhook configuration's
    /// objectSelector must not leave them out either (the chart's `podOptOut`)
    #[arg(long, env = "PORTOLAN_POD_OPT_OUT", value_name = "BOOL", action = ArgAction::Set, default_value_t = true)]
    pod_opt_out: bool,

    /// Longest time that an admission waits for registries
    #[arg(long, env = "PORTOLAN_RESOLVE_TIMEOUT", value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    resolve_timeout: Duration,

    /// How long an answer is used without asking again
    #[arg(long, env = "PORTOLAN_FRESH", value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    fresh: Duration,

    /// How long an older answer is used while no registry answers
    #[arg(long, env = "PORTOLAN_KEEP_STALE", value_name = "TIME", default_value = "7d", value_parser = parse_duration)]
    keep_stale: Duration,

    /// How long it is remembered that an image is missing
    #[arg(long, env = "PORTOLAN_NEGATIVE", value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    negative: Duration,

    /// Most answers that are remembered
    #[arg(long, env = "PORTOLAN_CACHE_ENTRIES", value_name = "N", default_value_t = 50_000)]
    cache_entries: u64,

    /// Most missing images that are remembered
    #[arg(long, env = "PORTOLAN_NEGATIVE_ENTRIES", value_name = "N", default_value_t = 10_000)]
    negative_entries: u64,

    /// Most answers that are kept in the cluster, for a start without registries; 0: none
    #[arg(long, env = "PORTOLAN_KEEP_ANSWERS", value_name = "N", default_value_t = 10_000)]
    keep_answers: usize,

    /// Shortest time between two times that answers are written to the cluster. For tests.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration, hide = true)]
    keep_answers_every: Duration,

    /// How often every locked digest is looked for in its mirror, in the background
    #[arg(long, env = "PORTOLAN_LOCK_CHECK", value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    lock_check: Duration,

    /// How often one replica looks for Pods that were admitted while no Portolan answered; `0s`: never
    #[arg(long, env = "PORTOLAN_FIND_UNREWRITTEN", value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    find_unrewritten: Duration,

    /// How long new requests are still answered after SIGTERM
    #[arg(long, env = "PORTOLAN_DRAIN_DELAY", value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    drain_delay: Duration,
}

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Audit,
    Enforce,
}

pub(super) fn run(args: ServeArgs) -> anyhow::Result<ExitStatus> {
    server::log_to_stderr();
    let settings = settings(args)?;
    // The API server's calls are short and the audit log has a thread of its own: workers follow the CPUs that the
    // process may use, and more than four only contend for memory.
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(server::run(settings))?;
    Ok(ExitStatus::Yes)
}

/// Puts the flags together and checks what only they can say.
fn settings(args: ServeArgs) -> anyhow::Result<Settings> {
    let own_namespace = cluster::own_namespace();
    let table = match (args.table, args.table_configmap) {
        (Some(path), _) => TableSource::File(path),
        (None, Some(name)) => TableSource::ConfigMap(name),
        (None, None) => TableSource::ConfigMap(ConfigMapName {
            namespace: own_namespace.clone().context(
                "no mapping table: outside a cluster name one with `--table FILE` or `--table-configmap NS/NAME`",
            )?,
            name: "portolan-table".to_owned(),
        }),
    };
    let certificate = match (args.tls_dir, args.tls_cert.zip(args.tls_key), args.tls_self) {
        (Some(folder), ..) => CertificateSource::Directory(folder),
        (None, Some((certificate, key)), _) => CertificateSource::Files { certificate, key },
        (None, None, Some(ca)) if ca.is_empty() && own_namespace.is_some() => {
            CertificateSource::Shared(SharedPolicy {
                lives: Lives { authority: args.tls_self_authority_life, certificate: args.tls_self_life },
                pace: args.tls_self_pace,
            })
        }
        (None, None, Some(ca)) => CertificateSource::SelfSigned {
            ca_file: Some(ca).filter(|path| !path.is_empty()).map(PathBuf::from),
        },
        (None, None, None) => anyhow::bail!(
            "no certificate: name one with `--tls-dir DIR` or `--tls-cert FILE --tls-key FILE`, or make one with `--tls-self`"
        ),
    };
    Ok(Settings {
        table,
        certificate,
        lock: args.lock,
        lock_check_every: args.lock_check,
        listen: args.listen,
        ops_listen: args.ops_listen,
        status_listen: args.status_listen,
        audit: args.audit_log.map_or(AuditDestination::Stdout, AuditDestination::File),
        audit_queue: args.audit_queue,
        admission: admission::Options {
            own_namespace,
            mode: match args.mode {
                Mode::Audit => rewrite::Mode::Audit,
                Mode::Enforce => rewrite::Mode::Enforce,
            },
            pod_opt_out: if args.pod_opt_out { PodOptOut::Honoured } else { PodOptOut::Ignored },
            resolve_timeout: args.resolve_timeout,
        },
        cache: CachePolicy {
            fresh_for: args.fresh,
            stale_for: args.keep_stale,
            negative_for: args.negative,
            entries: args.cache_entries,
            negative_entries: args.negative_entries,
            ..CachePolicy::default()
        },
        keep_answers: KeepAnswers { entries: args.keep_answers, every: args.keep_answers_every },
        find_unrewritten: args.find_unrewritten,
        drain_delay: args.drain_delay,
    })
}

/// Reads `host:port`, or `:port` for every address.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| format!("`{text}` is no address; write it as in `127.0.0.1:9443` or `:9443`"))
}

/// Reads an address that only this machine reaches.
fn parse_loopback(text: &str) -> Result<Loopback, String> {
    Loopback::try_from(parse_address(text)?).map_err(|error| error.to_string())
}
