//! Everything outside the table: the lock, what registries say and memory holds, and the Pod around an image.

use super::{
    asking::{Refusal, Says, Standing},
    image::Image,
    random::Random,
};

/// What a case plays in.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    /// What registries say hangs on this and on the mirror's reference, so that it is the same for the model and the
    /// code, however either comes to ask.
    pub(crate) seed: u64,
    /// Nobody is to be asked.
    pub(crate) offline: bool,
    pub(crate) lock: Vec<LockLine>,
}

/// A line of the lock.
#[derive(Clone, Debug)]
pub(crate) struct LockLine {
    pub(crate) place: Image,
    pub(crate) digest: String,
    /// Asking the mirror brought to light that it has not the digest.
    pub(crate) is_gone: bool,
    /// … or that the tag has moved.
    pub(crate) has_moved: bool,
}

impl LockLine {
    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.place.text(), self.digest)
    }
}

impl World {
    /// Whether the digest of a line is gone from its mirror: whichever line of the repository it was seen by.
    pub(crate) fn is_gone(&self, line: &LockLine) -> bool {
        self.lock
            .iter()
            .any(|one| one.is_gone && one.place.name() == line.place.name() && one.digest == line.digest)
    }

    /// What is known and could be learnt about a mirror's reference.
    pub(crate) fn standing(&self, place: &str) -> Standing {
        let mut random = Random::of(self.seed, place);
        let own = Image::read(place).and_then(|image| image.digest);
        let digest = |random: &mut Random| own.clone().unwrap_or_else(|| digest_of(random.below(4)));
        let refusal =
            |random: &mut Random| if random.chance(70) { Refusal::Missing } else { Refusal::Unauthorized };
        let mut standing = Standing::default();
        match random.below(100) {
            0..8 => standing.fresh = Some(digest(&mut random)),
            8..24 => standing.stale = Some(digest(&mut random)),
            24..32 => standing.refused = Some(refusal(&mut random)),
            32..36 => {
                standing.refused = Some(Refusal::Unauthorized);
                standing.stale = Some(digest(&mut random));
            }
            _ => {}
        }
        standing.left_alone = random.chance(10);
        standing.says = match random.below(100) {
            0..30 => Says::Found(digest(&mut random)),
            30..84 => Says::Refused(refusal(&mut random)),
            _ => Says::Silent,
        };
        standing
    }
}

/// A few digests, so that lock, memory and registries agree and disagree.
pub(crate) fn digest_of(number: usize) -> String {
    format!("sha256:{}", format!("{number:x}").repeat(64))
}
