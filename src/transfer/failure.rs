//! Why an image, or all of them, could not be moved.

use std::{fmt, io, path::PathBuf};

use crate::{
    image::{Digest, Platform, Reference},
    registry::ContentError,
};

use super::{bundle::BundleError, manifest::ManifestError};

/// Why an image could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The layout that is read cannot be read, or not to the end.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Two images of one run go to one place.
    #[error("`{other}` goes there too, and is another image (`{digest}`)")]
    Clash {
        /// The other image.
        other: Reference,
        /// Its digest.
        digest: Digest,
    },
    /// A registry did not give something.
    #[error("cannot get {what}")]
    Content {
        /// What.
        what: Part,
        /// Why not.
        source: ContentError,
    },
    /// The layout that is read does not have something.
    #[error("the layout lacks {what}")]
    Lacking {
        /// What.
        what: Part,
    },
    /// A manifest says what cannot be.
    #[error("cannot use {what}")]
    Manifest {
        /// Which.
        what: Part,
        /// What is wrong with it.
        source: ManifestError,
    },
    /// A layout leaves something to an earlier one, and it is not where that was to bring it.
    #[error("{what} was left to an earlier layout, which had it {}, and no mirror has it", of_images(.images))]
    NotBrought {
        /// What.
        what: Part,
        /// Some images of that layout that it is of.
        images: Vec<Reference>,
    },
    /// It is for none of the platforms that were asked for.
    #[error("it is for {}, and for none of those asked for", listed(.there))]
    NoPlatform {
        /// Those that it is for.
        there: Vec<Platform>,
    },
    /// The image's own digest, or that of the place it goes to, is another one.
    #[error("`{named}` names it by another digest than its own, which is `{digest}`")]
    OtherDigest {
        /// What names it.
        named: Reference,
        /// Its digest.
        digest: Digest,
    },
    /// A registry did not take something.
    #[error("cannot put {what} there")]
    Push {
        /// What.
        what: Part,
        /// Why not.
        source: ContentError,
    },
    /// An index was refused, not all of whose manifests came along.
    #[error("the registry refuses its index, of which only some platforms came along")]
    Sparse(#[source] ContentError),
    /// The layout cannot be read or written: no other image can be, either.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rule names this one reference, and something else is under it.
    #[error("another image (`{digest}`) is there, under a tag that the rule itself names")]
    Taken {
        /// What is there.
        digest: Digest,
    },
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
                    "log in (`podman login`, `docker login`, or a file named by REGISTRY_AUTH_FILE), or see whether the name is right: \
                          many registries say so of what does not exist",
                ),
                ContentError::Unreachable(_) => Some(
                    "see name, network, proxy (HTTPS_PROXY, NO_PROXY) and certificate, and run the command again: it goes on \
                          from here",
                ),
                ContentError::Protocol { .. } | ContentError::Refused { .. } => None,
            },
            Self::NoPlatform { .. } => Some("name another `--platform`, or `all`"),
            Self::Bundle(error) => error.remedy(),
            Self::Clash { .. } => Some("give one of them a rule of its own in the table"),
            Self::Lacking { .. } => Some("it was damaged on its way, or not saved to its end: save it again"),
            Self::NotBrought { .. } => Some(
                "load the layout that `save --since` was given, which has that image, and then this one again; or save the \
                      image without `--since`",
            ),
            Self::Push { source, .. } => push_remedy(source),
            Self::Sparse(_) => Some("bring it with every platform: save or copy it without `--platform`"),
            Self::Store(error) => error.remedy(),
            Self::Taken { .. } => {
                Some("what such a rule names is chosen by hand: leave the image out, or remove what is there")
            }
            Self::Manifest { .. } | Self::OtherDigest { .. } | Self::WrongSize { .. } => None,
        }
    }
}

/// What to do when a registry does not take something.
fn push_remedy(error: &ContentError) -> Option<&'static str> {
    match error {
        ContentError::Busy { .. } | ContentError::Stalled { .. } | ContentError::Unreachable(_) => Some(
            "see registry, network and proxy, and run the command again: what is there is not sent again",
        ),
        ContentError::Missing => Some(
            "many registries want the project or repository made first: make it and run the command again",
        ),
        ContentError::Refused { status: 405, .. } => {
            Some("it takes no pushes: is it read-only, or the cache of another registry?")
        }
        ContentError::Refused { status: 413, .. } => Some(
            "something in front of the registry bounds what is sent: raise that (nginx: `client_max_body_size`)",
        ),
        ContentError::Refused { status: 507, .. } => Some("make room in the registry"),
        ContentError::Unauthorized { status: Some(403), .. } => Some(
            "see whether the login may push there and whether a quota is used up, then run the command again: what is \
                  there is not sent again",
        ),
        ContentError::Unauthorized { .. } => Some(
            "log in with an account that may push (`podman login`, `docker login`, or a file named by REGISTRY_AUTH_FILE)",
        ),
        ContentError::Corrupt { .. }
        | ContentError::NotManifest
        | ContentError::Protocol { .. }
        | ContentError::Refused { .. } => None,
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

fn of_images(images: &[Reference]) -> String {
    match images {
        [] => "of an image without a name".to_owned(),
        images => {
            let images: Vec<_> = images.iter().map(|image| format!("`{image}`")).collect();
            format!("of {}", images.join(", "))
        }
    }
}

fn listed(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "no platform that it names".to_owned();
    }
    platforms.iter().map(|platform| format!("`{platform}`")).collect::<Vec<_>>().join(", ")
}
