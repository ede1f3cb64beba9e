//! What is said while images are moved: a line for each image when it is done, and how far it all is: on a terminal below
//! these lines as [`bars`], elsewhere between them.

use std::{
    cell::{Cell, RefCell},
    fmt::Write as _,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Printer, printer::in_line, screen::Size};
use crate::{
    image::Reference,
    transfer::{Event, Loaded, Saved, TransferError},
};

mod bars;
mod events;

use bars::{Bars, Total, clock};
pub(super) use events::ProgressFormat;

/// Shows progress on stderr: on a terminal in bars, elsewhere in a line now and then, or in JSON.
pub(super) struct Progress<'p> {
    printer: RefCell<&'p mut Printer>,
    bars: RefCell<Bars>,
    images: usize,
    ended: Cell<usize>,
    failed: Cell<usize>,
    needed: Cell<u64>,
    received: Cell<u64>,
    kept: Cell<u64>,
    begun: Instant,
    shown: Cell<Instant>,
    is_watched: bool,
    is_json: bool,
}

impl<'p> Progress<'p> {
    /// `at_once`: how many blobs are on their way at once.
    pub(super) fn new(
        images: usize,
        format: ProgressFormat,
        at_once: usize,
        printer: &'p mut Printer,
    ) -> Self {
        let now = Instant::now();
        Self {
            is_watched: format == ProgressFormat::Auto && printer.is_watched(),
            is_json: format == ProgressFormat::Json,
            printer: RefCell::new(printer),
            bars: RefCell::new(Bars::new(at_once)),
            images,
            ended: Cell::default(),
            failed: Cell::default(),
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
        let end = |is_failure: bool| {
            self.ended.set(self.ended.get() + 1);
            self.failed.set(self.failed.get() + usize::from(is_failure));
        };
        match event {
            Event::Needed(_, bytes) => add(&self.needed, *bytes),
            Event::Received(_, bytes) => add(&self.received, *bytes),
            Event::Kept(_, bytes) => add(&self.kept, *bytes),
            Event::Placed { result, .. } => end(result.is_err()),
            Event::Ended { result, .. } => end(result.is_err()),
            Event::Begun(_) | Event::Retried { .. } => {}
        }
        if self.is_watched {
            self.bars.borrow_mut().on(event, Instant::now());
        }
        if self.is_json {
            if let Some(object) = events::object(event) {
                self.printer.borrow_mut().event(&object);
            }
        } else {
            self.tell(event);
        }
        let every = match (self.is_json, self.is_watched) {
            (true, _) => JSON_EVERY,
            (false, true) => LIVE_EVERY,
            (false, false) => PLAIN_EVERY,
        };
        self.show_after(every);
    }

    /// Shows how far it all is, unless that was shown a moment ago.
    fn show_after(&self, every: Duration) {
        if self.shown.get().elapsed() >= every {
            self.shown.set(Instant::now());
            self.show();
        }
    }

    /// Waits for what moves the images; meanwhile bars go on, also where nothing comes.
    pub(super) async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(LIVE_EVERY, &mut work).await {
                Ok(result) => return result,
                Err(_) if self.is_watched => self.show_after(LIVE_EVERY),
                Err(_) => {}
            }
        }
    }

    /// Says what happened, for people.
    fn tell(&self, event: &Event<'_>) {
        match event {
            Event::Begun(_) | Event::Needed(..) | Event::Received(..) | Event::Kept(..) => {}
            Event::Retried { image, error, pause } => {
                let error = in_line(anyhow::Chain::new(*error));
                let text = format!("`{image}`: {error}; trying again in {:.1} s", pause.as_secs_f64());
                self.say(|printer| printer.warning(&text));
            }
            Event::Placed { image, place, result } => {
                self.say(|printer| placed(printer, image, place, result));
            }
            Event::Ended { image, result } => {
                self.say(|printer| ended(printer, image, result));
            }
        }
    }

    /// Shows how far it all is.
    fn show(&self) {
        let mut printer = self.printer.borrow_mut();
        if self.is_json {
            let (received, kept, needed) = (self.received.get(), self.kept.get(), self.needed.get());
            printer.event(&json!({
                "event": "progress", "images": self.images, "ended": self.ended.get(), "failed": self.failed.get(),
                "bytes": needed, "moved": received, "there": kept, "secondsLeft": self.seconds_left(),
            }));
        } else if self.is_watched {
            let lines = self.lines(printer.size());
            printer.stand(lines);
        } else {
            printer.note(&self.standing());
        }
    }

    /// How many bytes came, and how many were there.
    pub(super) fn finish(self) -> (u64, u64) {
        if self.is_json {
            self.show();
        }
        if self.is_watched {
            self.printer.borrow_mut().stand(Vec::new());
        }
        (self.received.get(), self.kept.get())
    }

    fn say(&self, say: impl FnOnce(&mut Printer)) {
        let mut printer = self.printer.borrow_mut();
        // What is over in a moment needs no bars.
        if self.is_watched && self.begun.elapsed() >= LIVE_EVERY {
            Printer::stand_below(self.lines(printer.size()));
        }
        say(&mut printer);
    }

    /// The bars.
    fn lines(&self, size: Size) -> Vec<String> {
        let text = self.standing();
        let (done, needed) = (self.received.get() + self.kept.get(), self.needed.get());
        self.bars.borrow().lines(Total { text: &text, done, needed }, size, Instant::now())
    }

    /// How far it all is.
    fn standing(&self) -> String {
        let (done, needed) = (self.received.get() + self.kept.get(), self.needed.get());
        let mut text =
            format!("{} of {} images, {} of {}", self.ended.get(), self.images, amount(done), amount(needed));
        if let Some(left) = self.seconds_left() {
            let _ = write!(text, ", {}/s, {} left", amount(self.speed()), clock(left));
        }
        text
    }

    /// Bytes a second.
    fn speed(&self) -> u64 {
        self.received.get() / self.begun.elapsed().as_secs().max(1)
    }

    /// How long it will take, by what is known to be needed: that grows while manifests are read.
    fn seconds_left(&self) -> Option<u64> {
        let done = self.received.get() + self.kept.get();
        self.needed.get().saturating_sub(done).checked_div(self.speed())
    }
}

fn ended(printer: &mut Printer, image: &Reference, result: &Result<Saved, TransferError>) {
    match result {
        Ok(saved) if !saved.is_carried => {
            printer.note(&format!("carried before: {image} {}", saved.digest));
        }
        Ok(saved) => {
            let mut text = format!("saved {image} {} ({}", saved.digest, amount(saved.size));
            if saved.received < saved.size {
                let _ = write!(text, ", {} of it fetched", amount(saved.received));
            }
            if saved.earlier > 0 {
                let _ = write!(text, ", {} carried before", amount(saved.earlier));
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
const JSON_EVERY: Duration = Duration::from_secs(1);
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
