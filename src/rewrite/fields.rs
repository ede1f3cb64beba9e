//! Which of a Pod's texts name an image.

use std::fmt;

use crate::review::{Container, Pod, Volume};

/// One text of a Pod that names an image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field<'a> {
    /// In which list of the Pod it stands, and where there.
    pub place: Place,
    /// The container's or the volume's name.
    pub name: &'a str,
    /// The image as written; empty if there is none.
    pub image: &'a str,
    /// How the kubelet pulls it.
    pub pull: Pull,
}

/// Where in a Pod an image stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// The list.
    pub list: List,
    /// The position in it.
    pub index: usize,
}

/// The lists of a Pod whose elements name images.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum List {
    /// `spec.containers[].image`
    Containers,
    /// `spec.ephemeralContainers[].image`, through the subresource only
    EphemeralContainers,
    /// `spec.initContainers[].image`
    InitContainers,
    /// `spec.volumes[].image.reference`
    Volumes,
}

/// The image pull policy, as far as it decides anything here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pull {
    /// The kubelet asks the registry at every start.
    Always,
    /// The image is on the node already or nothing runs.
    Never,
    /// Anything else.
    Sometimes,
}

/// What of a Pod a request is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// The subresource `ephemeralcontainers`: those containers and nothing else.
    EphemeralContainers,
    /// The Pod itself: containers, init containers and volumes.
    Pod,
}

impl Scope {
    /// The lists that are looked at.
    const fn lists(self) -> [Option<List>; 3] {
        match self {
            Self::EphemeralContainers => [Some(List::EphemeralContainers), None, None],
            Self::Pod => [Some(List::Containers), Some(List::InitContainers), Some(List::Volumes)],
        }
    }
}

/// Every text in `pod` that names an image, in the order of the lists.
pub fn fields<'a>(pod: &'a Pod<'a>, scope: Scope) -> impl Iterator<Item = Field<'a>> {
    let [first, second, third] = scope.lists().map(|list| in_list(pod, list));
    // Not flattened, so that the length is known before.
    first.chain(second).chain(third)
}

/// The text of the container or volume `name` in the same list of another version of the Pod.
pub fn same_name<'a>(pod: &'a Pod<'a>, list: List, name: &str) -> Option<&'a str> {
    in_list(pod, Some(list)).find(|field| field.name == name).map(|field| field.image)
}

impl List {
    /// The field's name in `spec`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::EphemeralContainers => "ephemeralContainers",
            Self::InitContainers => "initContainers",
            Self::Volumes => "volumes",
        }
    }
}

impl Place {
    /// The JSON pointer (RFC 6901) to the text, but for the position that stands between its parts. Nothing in it can
    /// need an escape.
    pub(crate) const fn pointer(self) -> (&'static str, &'static str) {
        match self.list {
            List::Containers => ("/spec/containers/", "/image"),
            List::EphemeralContainers => ("/spec/ephemeralContainers/", "/image"),
            List::InitContainers => ("/spec/initContainers/", "/image"),
            List::Volumes => ("/spec/volumes/", "/image/reference"),
        }
    }
}

/// As a JSON pointer (RFC 6901) to the text.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, behind) = self.pointer();
        f.write_str(before)?;
        f.write_str(itoa::Buffer::new().format(self.index))?;
        f.write_str(behind)
    }
}

impl Pull {
    fn from_word(word: &str) -> Self {
        match word {
            "Always" => Self::Always,
            "Never" => Self::Never,
            _ => Self::Sometimes,
        }
    }
}

fn in_list<'a>(pod: &'a Pod<'a>, list: Option<List>) -> impl Iterator<Item = Field<'a>> {
    let spec = pod.spec.as_ref();
    let containers: &[Container<'a>] = spec
        .and_then(|spec| match list {
            Some(List::Containers) => spec.containers.as_deref(),
            Some(List::EphemeralContainers) => spec.ephemeral_containers.as_deref(),
            Some(List::InitContainers) => spec.init_containers.as_deref(),
            Some(List::Volumes) | None => None,
        })
        .unwrap_or_default();
    let volumes: &[Volume<'a>] = spec
        .filter(|_| list == Some(List::Volumes))
        .and_then(|spec| spec.volumes.as_deref())
        .unwrap_or_default();
    // Without a list nothing is walked, and this stands nowhere.
    let list = list.unwrap_or(List::Containers);
    let containers = containers.iter().enumerate().map(move |(index, container)| Field {
        place: Place { list, index },
        name: &container.name,
        image: &container.image,
        pull: Pull::from_word(&container.image_pull_policy),
    });
    let volumes = volumes.iter().enumerate().filter_map(move |(index, volume)| {
        let image = volume.image.as_ref()?;
        Some(Field {
            place: Place { list, index },
            name: &volume.name,
            image: image.reference.as_deref().unwrap_or_default(),
            pull: Pull::from_word(&image.pull_policy),
        })
    });
    containers.chain(volumes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_text_that_names_an_image_is_a_field_with_its_place_and_how_it_is_pulled() {
        let text = json!({"spec": {
            "containers": [
                {"name": "app", "image": "a", "imagePullPolicy": "Always"},
                {"name": "side", "image": "b", "imagePullPolicy": "IfNotPresent"},
            ],
            "ephemeralContainers": [{"name": "debug", "image": "c", "imagePullPolicy": "Never"}],
            "initContainers": [{"name": "app", "image": "d"}],
            "volumes": [
                {"name": "none"},
                {"name": "model", "image": {"reference": "e", "pullPolicy": "Never"}},
                {"name": "empty", "image": {"pullPolicy": "Always"}},
            ],
        }})
        .to_string();
        let pod: Pod<'_> = serde_json::from_str(&text).unwrap();
        let found = |scope| -> Vec<_> {
            fields(&pod, scope)
                .map(|field| (field.place.to_string(), field.name, field.image, field.pull))
                .collect()
        };
        assert_eq!(
            found(Scope::Pod),
            [
                ("/spec/containers/0/image".into(), "app", "a", Pull::Always),
                ("/spec/containers/1/image".into(), "side", "b", Pull::Sometimes),
                ("/spec/initContainers/0/image".into(), "app", "d", Pull::Sometimes),
                ("/spec/volumes/1/image/reference".into(), "model", "e", Pull::Never),
                ("/spec/volumes/2/image/reference".into(), "empty", "", Pull::Always),
            ]
        );
        assert_eq!(
            found(Scope::EphemeralContainers),
            [("/spec/ephemeralContainers/0/image".into(), "debug", "c", Pull::Never)]
        );
        assert_eq!(same_name(&pod, List::InitContainers, "app"), Some("d"));
        assert_eq!(same_name(&pod, List::InitContainers, "side"), None);
        assert_eq!(same_name(&pod, List::Volumes, "model"), Some("e"));
    }
}
