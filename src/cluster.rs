//! The Kubernetes API, as far as Portolan asks it: the ConfigMaps of table and lock, the last good table and answers
//! of registries kept beside them, Events on the one and on owners of Pods, the Secrets that the table names, the
//! certificate that replicas share, Portolan's own webhook configurations, and the Lease by which one replica does what
//! one is enough for.
//!
//! What is read is published as plain values, as text and as bytes; what it means is for others to say. Nothing of
//! kube's types leaves this room.
//!
//! **Watches never end silently.** Whatever goes wrong, a watch goes on trying with growing pauses, keeps the last
//! value published and says what is wrong in [`Trouble`]. It ends when nobody holds its receivers any more; should
//! it die of a bug, the receivers' `changed` fails, and their owner has to end the process.

mod answers;
mod backoff;
mod certificate_secret;
mod client;
mod events;
mod last_good;
mod lease;
mod lock_watch;
mod owner_events;
mod secrets;
mod table_watch;
mod trouble;
mod watcher;
mod webhook_configurations;
mod webhook_probe;
mod workloads;

pub(crate) use self::answers::aside;
pub use self::{
    answers::{Answers, AnswersProblem, Kept, KeptAnswer, LineProblem, Plan, answers_names},
    certificate_secret::{CERTIFICATE_SECRET, CertificateSecret, SecretContent},
    client::{CallError, Client, ConnectError, WatchPolicy, Written, own_namespace},
    events::{Events, Notice},
    last_good::{LAST_GOOD, LastGood},
    lease::{LEASE, Lease, LeasePolicy},
    lock_watch::{LockTexts, LockWatch, read_lock, watch_lock},
    owner_events::{OwnerEvents, OwnerNotice},
    secrets::{Secret, SecretNames, SecretState, Secrets, SecretsWatch, watch_secrets},
    table_watch::{TABLE_KEY, TableText, TableWatch, read_table, watch_table},
    trouble::Trouble,
    webhook_configurations::{
        CONFIGURATION, Configuration, ConfigurationEntry, ConfigurationKind, ConfigurationWatch,
        Configurations,
    },
    webhook_probe::webhook_answers,
    workloads::{Listed, read_list, read_live_pods},
};
