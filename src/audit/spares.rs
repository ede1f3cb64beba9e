//! Records that are done, for the next admissions: what they took from the heap is not given back and taken again.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::record::Record;

/// Empty records. Nobody waits for another: who finds them in use goes without.
#[derive(Debug, Default)]
pub(super) struct Spares {
    #[expect(clippy::vec_box, reason = "a record goes through the queue in its box, and comes back in it")]
    kept: Mutex<Vec<Box<Record>>>,
}

impl Spares {
    /// An empty record: one that is kept, else a new one.
    pub(super) fn take(&self) -> Box<Record> {
        self.lock().and_then(|mut kept| kept.pop()).unwrap_or_else(|| Box::new(Record::empty()))
    }

    /// Keeps what is small of `done`, as far as there is room, and lets go of the rest.
    #[expect(clippy::vec_box, reason = "as above")]
    pub(super) fn keep(&self, done: &mut Vec<Box<Record>>) {
        for record in &mut *done {
            record.clear();
        }
        done.retain(|record| record.is_small());
        if let Some(mut kept) = self.lock() {
            let room = MOST.saturating_sub(kept.len()).min(done.len());
            kept.extend(done.drain(..room));
        }
        done.clear();
    }

    #[expect(clippy::vec_box, reason = "as above")]
    fn lock(&self) -> Option<MutexGuard<'_, Vec<Box<Record>>>> {
        match self.kept.try_lock() {
            Ok(kept) => Some(kept),
            Err(TryLockError::Poisoned(poisoned)) => Some(PoisonError::into_inner(poisoned)),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// How many are kept: more than an ordinary batch has. They take 1 MiB at the most.
const MOST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::Head,
        rewrite::{Decision, List, Place, Reason},
    };

    fn with_images(spares: &Spares, images: usize) -> Box<Record> {
        let mut record = spares.take();
        record.begin(&Head::default());
        for index in 0..images {
            let place = Place { list: List::Containers, index };
            record.push(place, "app", "auto", Decision::kept(Reason::Placeholder));
        }
        record
    }

    #[test]
    fn what_is_done_is_given_out_again_empty() {
        let spares = Spares::default();
        let record = with_images(&spares, 3);
        let address = std::ptr::from_ref(&*record);
        spares.keep(&mut vec![record]);
        let again = spares.take();
        assert_eq!((std::ptr::from_ref(&*again), again.len()), (address, 0));
        assert_ne!(std::ptr::from_ref(&*spares.take()), address);
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_and_size() {
        let spares = Spares::default();
        // The first is large.
        let images = |number| if number == 0 { 1000 } else { 1 };
        let mut done: Vec<_> = (0..2 * MOST).map(|number| with_images(&spares, images(number))).collect();
        spares.keep(&mut done);
        assert!(done.is_empty());
        spares.keep(&mut vec![with_images(&Spares::default(), 1)]);
        let kept = spares.kept.lock().unwrap();
        assert_eq!(kept.len(), MOST);
        assert!(kept.iter().all(|record| record.is_small()));
    }

    #[test]
    fn nobody_waits_for_another() {
        let spares = Spares::default();
        let _in_use = spares.kept.lock().unwrap();
        spares.keep(&mut vec![with_images(&spares, 1)]);
        assert!(spares.take().is_empty());
    }
}
