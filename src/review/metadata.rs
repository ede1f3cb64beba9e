//! Of an object's labels and annotations the few that Portolan reads, recognised without keeping the others.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

use super::text::Text;

/// Of a Pod's labels, the one that Portolan reads.
#[derive(Debug, Default)]
pub struct Labels<'a> {
    /// The value of `portolan.dev/rewrite`.
    pub rewrite: Option<Text<'a>>,
}

/// Of a Pod's annotations, those that Portolan reads.
#[derive(Debug, Default)]
pub struct Annotations<'a> {
    /// The value of `portolan.dev/sources`.
    pub sources: Option<Text<'a>>,
    /// Whether `kubernetes.io/config.mirror` is there: the Pod mirrors a static Pod.
    pub is_mirror: bool,
    /// The bytes of all keys and values, which the API server bounds.
    pub size: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Labels<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Labels<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut labels = Labels::default();
                while let Some(Key(which)) = map.next_key()? {
                    match which {
                        WhichKey::Rewrite => labels.rewrite = Some(map.next_value()?),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(labels)
            }
        }

        deserializer.deserialize_map(Read)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Annotations<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Annotations<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut annotations = Annotations::default();
                while let Some(Key(which)) = map.next_key()? {
                    annotations.size += which.length();
                    match which {
                        WhichKey::Sources => {
                            let value: Text<'de> = map.next_value()?;
                            annotations.size += value.len();
                            annotations.sources = Some(value);
                        }
                        which => {
                            annotations.is_mirror |= matches!(which, WhichKey::ConfigMirror);
                            annotations.size += map.next_value::<Length>()?.0;
                        }
                    }
                }
                Ok(annotations)
            }
        }

        deserializer.deserialize_map(Read)
    }
}

/// A key of labels or annotations, recognised without being kept.
struct Key(WhichKey);

enum WhichKey {
    ConfigMirror,
    Other { length: usize },
    Rewrite,
    Sources,
}

impl WhichKey {
    fn length(&self) -> usize {
        match self {
            Self::ConfigMirror => CONFIG_MIRROR.len(),
            Self::Other { length } => *length,
            Self::Rewrite => REWRITE.len(),
            Self::Sources => SOURCES.len(),
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_bytes<E: Error>(self, key: &[u8]) -> Result<Self::Value, E> {
                Ok(Key(match key {
                    key if key == CONFIG_MIRROR.as_bytes() => WhichKey::ConfigMirror,
                    key if key == REWRITE.as_bytes() => WhichKey::Rewrite,
                    key if key == SOURCES.as_bytes() => WhichKey::Sources,
                    other => WhichKey::Other { length: other.len() },
                }))
            }
        }

        deserializer.deserialize_bytes(Read)
    }
}

/// The length of a string that is not kept.
struct Length(usize);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Self::Value, E> {
                Ok(Length(text.len()))
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Length(0))
            }
        }

        deserializer.deserialize_bytes(Read)
    }
}

/// Annotation of a Pod, written by Portolan: what each image that it changed was written as. It is read only to put an
/// image back when an unedited manifest is applied again (`restored`), and speaks for its own Pod alone.
pub const SOURCES: &str = "portolan.dev/sources";

/// Label of a Pod: `disabled` leaves its images alone. Label of a namespace, by which the API server chooses the
/// webhook: `enabled`, `audit` (decided, logged and warned of, never changed) or `disabled`; without it enabled, except
/// in namespaces that begin with `kube-` or `openshift-`.
pub const REWRITE: &str = "portolan.dev/rewrite";

/// Annotation of a Pod that the kubelet makes to mirror one of its static Pods: its images are left alone.
// `v1.MirrorPodAnnotationKey`
pub const CONFIG_MIRROR: &str = "kubernetes.io/config.mirror";
