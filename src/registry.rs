//! What registries say: which digest stands behind a reference, and whether a digest exists.
//!
//! A [`Resolver`] answers from memory where it may and asks otherwise: one request at a time for one reference,
//! never later than the caller's deadline, and a registry that does not answer is left alone for a while. Beside it
//! [`Content`] pulls and pushes what registries hold, for `transfer`, by the same small client. Whether an image has to
//! be resolved at all is decided by `rewrite`.
//!
//! From the wire up: `transport` sends bounded requests, `challenge` and `token` log in, `client` joins the
//! three for one registry, `manifest` reads digests with it; `credentials` knows logins, and programs that do; `host`
//! adds them, the `breaker` and the `flight`s under way in their `lane`, and `registries` holds them all; `memory` keeps
//! answers, `past` those of earlier processes, `resolver` asks in order by where each mirror's `standing` is, `refresh` asks again in the background, `verify`
//! looks for locked digests there, and `heard` is for `explain`. `content` moves manifests and blobs.
//!
//! Invariants: a credential leaves the process only towards the registry that it was written for or the token
//! service which that registry names, and appears in no error, log line or `Debug` output. Nothing is read without a
//! bound. No lock is held over I/O.

mod answer;
mod breaker;
mod challenge;
mod client;
mod content;
mod counters;
mod credentials;
mod endpoint;
mod flight;
mod heard;
mod host;
mod lane;
mod manifest;
mod memory;
mod past;
mod policy;
mod refresh;
mod registries;
mod resolver;
mod standing;
mod token;
mod transport;
mod trust;
mod verify;

pub use answer::{Answer, AnswerSource, Question, RegistryStatus, Status};
pub use content::{Blob, Body, Content, ContentError, Manifest, Mounted, Repository, Upload};
pub use counters::Counts;
pub use credentials::{
    Credentials, HelperError, HelperProblem, LocalLogins, NamedHelpers, ParseCredentialsError,
    ReadCredentialsError,
};
pub use endpoint::{ClientCertificate, ConfigureError, EndpointConfig};
pub use heard::{Heard, Said};
pub use past::{LoginName, PastAnswer};
pub use policy::CachePolicy;
pub use resolver::Resolver;
pub use transport::ByteStream;
pub use trust::TrustError;
pub use verify::Verified;
