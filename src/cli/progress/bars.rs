//! Bars for a terminal: one for all, and below it one for each image whose bytes move.
//!
//! What is drawn is a matter of what happened, of the time and of the terminal's size, which are given. There are no
//! colours. A blob that several images share is the matter of the one that moves it ([`Event`] says which).

use std::{fmt::Write as _, time::Instant};

use super::amount;
use crate::{cli::screen::Size, image::Reference, transfer::Event};

/// The bars of one run.
#[derive(Debug)]
pub(super) struct Bars {
    /// How many blobs move at once: no more images have a bar.
    at_once: usize,
    /// Images that were begun and have no bar yet.
    waiting: Vec<Bar>,
    /// Those that have one, the oldest first: a bar moves up when one above it goes, and not otherwise.
    moving: Vec<Bar>,
}

/// How far all of it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Total<'a> {
    /// In words.
    pub(super) text: &'a str,
    pub(super) done: u64,
    pub(super) needed: u64,
}

/// How far one image is.
#[derive(Debug)]
struct Bar {
    image: Reference,
    /// How many of its places are on their way.
    places: usize,
    needed: u64,
    received: u64,
    kept: u64,
    /// Since when its bytes move.
    moving: Option<Instant>,
}

impl Bars {
    pub(super) fn new(at_once: usize) -> Self {
        Self { at_once, waiting: Vec::new(), moving: Vec::new() }
    }

    /// Takes note of what happened.
    pub(super) fn on(&mut self, event: &Event<'_>, now: Instant) {
        match event {
            Event::Begun(image) => match self.find(image) {
                Some(bar) => bar.places += 1,
                None => self.waiting.push(Bar::new(image)),
            },
            Event::Needed(image, bytes) => {
                if let Some(bar) = self.find(image) {
                    bar.needed += bytes;
                }
            }
            Event::Kept(image, bytes) => {
                if let Some(bar) = self.find(image) {
                    bar.kept += bytes;
                }
            }
            Event::Received(image, bytes) => {
                if let Some(bar) = self.find(image) {
                    bar.received += bytes;
                    bar.moving.get_or_insert(now);
                }
                self.show();
            }
            Event::Placed { image, .. } | Event::Ended { image, .. } => {
                if let Some(bar) = self.find(image) {
                    bar.places -= 1;
                }
                self.waiting.retain(|bar| bar.places > 0);
                self.moving.retain(|bar| bar.places > 0);
                self.show();
            }
            Event::Retried { .. } => {}
        }
    }

    /// What to draw: a line for all of it, then those of the images, as far as there is room.
    pub(super) fn lines(&self, total: Total<'_>, size: Size, now: Instant) -> Vec<String> {
        // In the last column a terminal may go on to the next row.
        let width = size.columns.saturating_sub(1).max(1);
        let bar = match width {
            100.. => 20,
            72.. => 10,
            _ => 0,
        };
        let gauge = gauge(bar, total.done, total.needed);
        // The words say it all; without room for both they go alone.
        let is_room = bar > 0 && gauge.len() + 2 + total.text.len() <= width;
        let total = if is_room { format!("{gauge}  {}", total.text) } else { total.text.to_owned() };
        // Besides, there is the row of the cursor.
        let rows = size.rows.saturating_sub(2);
        let images = self.moving.iter().take(rows).map(|image| image.line(width, bar, now));
        std::iter::once(total).chain(images).map(|line| line.chars().take(width).collect()).collect()
    }

    /// Gives those a bar whose bytes move, while there is room.
    fn show(&mut self) {
        while self.moving.len() < self.at_once {
            let Some(next) = self.waiting.iter().position(|bar| bar.moving.is_some()) else { return };
            self.moving.push(self.waiting.remove(next));
        }
    }

    fn find(&mut self, image: &Reference) -> Option<&mut Bar> {
        self.moving.iter_mut().chain(&mut self.waiting).find(|bar| bar.image == *image)
    }
}

impl Bar {
    fn new(image: &Reference) -> Self {
        Self { image: image.clone(), places: 1, needed: 0, received: 0, kept: 0, moving: None }
    }

    /// One line: name, bar, bytes and time left; the less of it, the narrower the terminal is.
    fn line(&self, width: usize, bar: usize, now: Instant) -> String {
        let done = self.received + self.kept;
        if width < 40 {
            let percent = done.saturating_mul(100).checked_div(self.needed).unwrap_or_default();
            return format!("{}  {percent:>3}%", fitting(self.image.as_str(), width.saturating_sub(6)));
        }
        let mut right = format!("  {:>22}", format!("{} of {}", amount(done), amount(self.needed)));
        if width >= 56 {
            let left = self.seconds_left(now).map(|left| format!("{} left", clock(left)));
            let _ = write!(right, "  {:>11}", left.unwrap_or_default());
        }
        if bar > 0 {
            right.insert_str(0, &format!("  {}", gauge(bar, done, self.needed)));
        }
        let name = fitting(self.image.as_str(), width.saturating_sub(right.chars().count()).min(MAX_NAME));
        format!("{name}{right}").trim_end().to_owned()
    }

    /// How long it will take at its own speed, by what is known to be needed.
    fn seconds_left(&self, now: Instant) -> Option<u64> {
        let elapsed = now.saturating_duration_since(self.moving?).as_secs().max(1);
        let left = self.needed.saturating_sub(self.received + self.kept);
        left.checked_div(self.received / elapsed)
    }
}

/// A bar with so many steps.
fn gauge(steps: usize, done: u64, needed: u64) -> String {
    let filled = u128::from(done.min(needed)) * steps as u128;
    let filled = filled.checked_div(needed.into()).and_then(|filled| usize::try_from(filled).ok());
    let filled = filled.unwrap_or_default();
    let head = if filled < steps { ">" } else { "" };
    format!("[{:<steps$}]", format!("{}{head}", "=".repeat(filled)))
}

/// A name in so many columns: shortened in the middle, its end says more than its beginning.
fn fitting(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width {
        return format!("{name:<width$}");
    }
    let Some(room) = width.checked_sub(1) else { return String::new() };
    let begin = room / 3;
    let end = room - begin;
    name.chars().take(begin).chain(['…']).chain(name.chars().skip(length - end)).collect()
}

/// A time in minutes and seconds.
pub(super) fn clock(seconds: u64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// The most columns for a name: on a wide terminal the figures are to stand near it.
const MAX_NAME: usize = 72;

#[cfg(test)]
mod tests;
