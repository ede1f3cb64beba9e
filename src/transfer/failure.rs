//! Why an image, or all of them, could not be moved.

use std::{fmt, io, path::PathBuf};

use crate::{
    image::{Digest, Platform},
    registry::ContentError,
};

use super::manifest::ManifestError;

/// Why an image could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A registry did not give or take something.
    #[error("cannot get {what}")]
    Content {
        /// What.
        what: Part,
        /// Why not.
        source: ContentError,
    },
    /// A manifest says what cannot be.
    #[error("cannot use {what}")]
    Manifest {
        /// Which.
        what: Part,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// It is for none of the platforms that were asked for.
    #[error("it is for {}, and for none of those asked for", listed(.there))]
    NoPlatform {
        /// Those that it is for.
        there: Vec<Platform>,
    },
    /// The layout cannot be read or written: no other image can be, either.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What came is not what the manifest says.
    #[error("{what} has not the {expected} bytes that what names it says")]
    WrongSize {
        /// What.
        what: Part,
        /// How long it is to be.
        expected: u64,
    },
}

/// A part of an image, in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Part {
    /// A configuration or a layer.
    Blob(Digest),
    /// A manifest or an index; `None`: the one that the image's name stands for.
    Manifest(Option<Digest>),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest) => write!(f, "its blob `{digest}`"),
            Self::Manifest(Some(digest)) => write!(f, "its manifest `{digest}`"),
            Self::Manifest(None) => f.write_str("its manifest"),
        }
    }
}

/// Why a layout cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else is at work there.
    #[error("another run is writing to `{path}`")]
    Busy {
        /// The layout.
        path: PathBuf,
    },
    /// There is something else.
    #[error("`{path}` is there and is no OCI image layout: {why}")]
    Foreign {
        /// The path.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// The system says no.
    #[error("cannot {act} `{path}`")]
    Io {
        /// What was to be done: `read`, `write` …
        act: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl TransferError {
    /// What to do about it, if we know.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Content { what, source } => match source {
                ContentError::Busy { status: 429, .. } => Some(
                    "the registry limits how much is pulled: log in to it, or run the command again later",
                ),
                ContentError::Busy { .. } | ContentError::Stalled { .. } => {
                    Some("run the command again: it goes on from here")
                }
                ContentError::Corrupt { .. } => {
                    Some("something on the way or in the registry changes content: see what stands between")
                }
                ContentError::Missing => Some(match what {
                    Part::Manifest(None) => "see whether name and tag are right",
                    Part::Blob(_) | Part::Manifest(Some(_)) => {
                        "the registry lacks a part of the image: have it pushed there anew"
                    }
                }),
                ContentError::NotManifest => Some(
                    "see whether this is a registry's address; images of schema version 1 must be pushed anew",
                ),
                ContentError::Unauthorized { .. } => Some(
                    "log in (`docker login`, or a file named by REGISTRY_AUTH_FILE), or see whether the name is right: \
                          many registries say so of what does not exist",
                ),
                ContentError::Unreachable(_) => Some(
                    "see name, network, proxy (HTTPS_PROXY, NO_PROXY) and certificate, and run the command again: it goes on \
                          from here",
                ),
                ContentError::Protocol { .. } | ContentError::Refused { .. } => None,
            },
            Self::NoPlatform { .. } => Some("name another `--platform`, or `all`"),
            Self::Store(error) => error.remedy(),
            Self::Manifest { .. } | Self::WrongSize { .. } => None,
        }
    }
}

impl StoreError {
    /// What to do about it, if we know.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("make room and run the command again: what is there is not fetched again")
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::QuotaExceeded => {
                Some("raise the quota and run the command again: what is there is not fetched again")
            }
            Self::Io { .. } => None,
            Self::Busy { .. } => Some("wait for it to end"),
            Self::Foreign { .. } => Some("name another place"),
        }
    }
}

fn listed(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "no platform that it names".to_owned();
    }
    platforms.iter().map(|platform| format!("`{platform}`")).collect::<Vec<_>>().join(", ")
}
