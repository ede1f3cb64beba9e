//! What is said while images are moved: a line for each image, and between them how far it all is.

use std::{
    cell::{Cell, RefCell},
    fmt::Write as _,
    time::{Duration, Instant},
};

use super::{Printer, printer::in_line};
use crate::{
    image::Reference,
    transfer::{Event, Loaded, Saved, TransferError},
};

/// Shows progress on stderr: on a terminal in one line that changes, elsewhere in a line now and then.
pub(super) struct Progress<'p> {
    printer: RefCell<&'p mut Printer>,
    images: usize,
    ended: Cell<usize>,
    needed: Cell<u64>,
    received: Cell<u64>,
    kept: Cell<u64>,
    begun: Instant,
    shown: Cell<Instant>,
    is_watched: bool,
}

impl<'p> Progress<'p> {
    pub(super) fn new(images: usize, printer: &'p mut Printer) -> Self {
        let now = Instant::now();
        Self {
            is_watched: printer.is_watched(),
            printer: RefCell::new(printer),
            images,
            ended: Cell::default(),
            needed: Cell::default(),
            received: Cell::default(),
            kept: Cell::default(),
            begun: now,
            shown: Cell::new(now),
        }
    }

    /// Takes note of what happened.
    pub(super) fn on(&self, event: &Event<'_>) {
        let add = |cell: &Cell<u64>, bytes| cell.set(cell.get() + bytes);
        match event {
            Event::Needed(bytes) => add(&self.needed, *bytes),
            Event::Received(bytes) => add(&self.received, *bytes),
            Event::Kept(bytes) => add(&self.kept, *bytes),
            Event::Retried { image, error, pause } => {
                let error = in_line(anyhow::Chain::new(*error));
                let text = format!("`{image}`: {error}; trying again in {:.1} s", pause.as_secs_f64());
                self.say(|printer| printer.warning(&text));
            }
            Event::Placed { image, place, result } => {
                self.ended.set(self.ended.get() + 1);
                self.say(|printer| placed(printer, image, place, result));
            }
            Event::Ended { image, result } => {
                self.ended.set(self.ended.get() + 1);
                self.say(|printer| ended(printer, image, result));
            }
        }
        let every = if self.is_watched { LIVE_EVERY } else { PLAIN_EVERY };
        if self.shown.get().elapsed() >= every {
            self.shown.set(Instant::now());
            let text = self.standing();
            let mut printer = self.printer.borrow_mut();
            if self.is_watched { printer.status(&text) } else { printer.note(&text) }
        }
    }

    /// How many bytes came, and how many were there.
    pub(super) fn finish(self) -> (u64, u64) {
        self.say(|_| {});
        (self.received.get(), self.kept.get())
    }

    fn say(&self, say: impl FnOnce(&mut Printer)) {
        let mut printer = self.printer.borrow_mut();
        if self.is_watched {
            printer.status("");
        }
        say(&mut printer);
    }

    /// How far it all is.
    fn standing(&self) -> String {
        let (done, needed) = (self.received.get() + self.kept.get(), self.needed.get());
        let mut text =
            format!("{} of {} images, {} of {}", self.ended.get(), self.images, amount(done), amount(needed));
        let seconds = self.begun.elapsed().as_secs().max(1);
        let speed = self.received.get() / seconds;
        if let Some(left) = needed.saturating_sub(done).checked_div(speed) {
            // What is needed grows while manifests are read.
            let _ = write!(text, ", {}/s, {}:{:02} left", amount(speed), left / 60, left % 60);
        }
        text
    }
}

fn ended(printer: &mut Printer, image: &Reference, result: &Result<Saved, TransferError>) {
    match result {
        Ok(saved) => {
            let mut text = format!("saved {image} {} ({}", saved.digest, amount(saved.size));
            if saved.received < saved.size {
                let _ = write!(text, ", {} of it fetched", amount(saved.received));
            }
            if saved.left_out > 0 {
                let _ = write!(text, ", {} layers left out: not distributable", saved.left_out);
            }
            text.push(')');
            printer.note(&text);
        }
        Err(error) => {
            failed(printer, &format!("`{image}` is not saved"), error);
        }
    }
}

fn placed(
    printer: &mut Printer,
    image: &Reference,
    place: &Reference,
    result: &Result<Loaded, TransferError>,
) {
    match result {
        Ok(loaded) => {
            let is_all_there = loaded.was_whole();
            let mut text = if is_all_there { "there".to_owned() } else { "loaded".to_owned() };
            let _ = write!(text, " {image} as {place} {} ({}", loaded.digest, amount(loaded.size));
            if !is_all_there {
                let _ = write!(text, ", {} of it sent", amount(loaded.sent));
                if loaded.mounted > 0 {
                    let _ = write!(text, ", {} mounted", amount(loaded.mounted));
                }
            }
            if loaded.left_out > 0 {
                let _ = write!(text, ", {} platforms left out", loaded.left_out);
            }
            text.push(')');
            printer.note(&text);
        }
        Err(error) => {
            failed(printer, &format!("`{image}` is not loaded as `{place}`"), error);
        }
    }
}

/// Says what did not come about, why not, and what to do.
fn failed(printer: &mut Printer, what: &str, error: &TransferError) {
    let causes = in_line(anyhow::Chain::new(error));
    printer.error(&anyhow::Error::msg(format!("{what}: {causes}")));
    if let Some(remedy) = error.remedy() {
        printer.hint(remedy);
    }
}

/// An amount of bytes for people.
pub(super) fn amount(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for larger in units {
        if tenths < 10 * 1024 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// How often the state of things is shown.
const LIVE_EVERY: Duration = Duration::from_millis(200);
const PLAIN_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_in_the_unit_that_leaves_few_digits() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1024 * 1024 - 1, "1023.9 KiB"),
            (5 * 1024 * 1024 / 2, "2.5 MiB"),
            (3 << 30, "3.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(amount(bytes), expected);
        }
    }
}
