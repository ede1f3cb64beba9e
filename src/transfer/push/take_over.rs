//! Blobs that a layout lacks, because an earlier one brought them: taken over from where they are.

use crate::image::Reference;

use super::{
    super::{
        failure::{Part, TransferError},
        manifest::Descriptor,
        origin::Origin,
    },
    Way,
};

impl Way<'_> {
    /// Takes a blob over from another place: a repository of this registry that is known to have it, or one where an
    /// image of an earlier layout went. Where the registry mounts nothing, it is fetched from there and sent. `is_absent`:
    /// it is known that it is not here.
    pub(super) async fn take_over(
        &self,
        blob: &Descriptor,
        home: Option<&str>,
        is_absent: bool,
    ) -> Result<(), TransferError> {
        let left = match self.origin {
            Origin::Bundle(bundle) => bundle.left(&blob.digest),
            Origin::Registry(..) => None,
        };
        let what = || Part::Blob(blob.digest.clone());
        let home = home.and_then(|home| Reference::parse(&format!("{}/{home}", self.place.registry())).ok());
        let mut places: Vec<_> = home.iter().collect();
        places.extend(left.iter().flatten().flat_map(|(_, places)| *places));
        // Out of its own registry it is mounted.
        places.sort_by_key(|place| place.registry() != self.place.registry());
        for place in places {
            if place.name() == self.place.name() {
                continue;
            }
            let Ok(repository) = self.run.content.source(place) else { continue };
            match self.ask(what, async || repository.has_blob(&blob.digest).await).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(TransferError::Push { source, .. }) if !source.is_passing() => continue,
                Err(error) => return Err(error),
            }
            let from = (place.registry() == self.place.registry()).then(|| place.repository());
            let origin = Origin::Registry(repository, self.run.options.retry);
            return self.send(blob, &origin, from, None, is_absent).await;
        }
        Err(match left {
            Some(images) => TransferError::NotBrought {
                what: what(),
                images: images.into_iter().map(|(image, _)| image.clone()).collect(),
            },
            None => TransferError::Lacking { what: what() },
        })
    }
}
