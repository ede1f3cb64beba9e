//! One line of the audit log while it is written: a JSON object, field by field.
//!
//! By hand and not by a serialiser: a line has two dozen fields, and half of what Portolan does beyond answering is
//! writing them.

use jiff::{Timestamp, fmt::temporal::DateTimePrinter};

use crate::{
    review::{push_escaped, push_json},
    rewrite::Place,
};

/// A line that has at least its time.
///
/// Names are arrays with all that stands around them (`,"name":`), so that copying one is a few instructions and no call.
pub(super) struct Line<'b> {
    buffer: &'b mut Vec<u8>,
}

impl<'b> Line<'b> {
    /// Begins a line with its time, to the microsecond.
    pub(super) fn begin(buffer: &'b mut Vec<u8>, time: &Timestamp) -> Self {
        buffer.extend_from_slice(br#"{"time":""#);
        TIME.print_timestamp(time, &mut *buffer).expect("writing to memory cannot fail");
        buffer.push(b'"');
        Self { buffer }
    }

    /// Goes on with a line whose beginning stands at the buffer's end.
    pub(super) fn go_on(buffer: &'b mut Vec<u8>) -> Self {
        Self { buffer }
    }

    pub(super) fn end(self) {
        self.buffer.extend_from_slice(b"}\n");
    }

    pub(super) fn text<const N: usize>(&mut self, name: &[u8; N], value: &str) {
        self.buffer.extend_from_slice(name);
        push_json(self.buffer, value);
    }

    pub(super) fn optional<const N: usize>(&mut self, name: &[u8; N], value: Option<&str>) {
        self.buffer.extend_from_slice(name);
        match value {
            Some(value) => push_json(self.buffer, value),
            None => self.buffer.extend_from_slice(b"null"),
        }
    }

    pub(super) fn flag<const N: usize>(&mut self, name: &[u8; N], value: bool) {
        self.buffer.extend_from_slice(name);
        self.buffer.extend_from_slice(if value { b"true" } else { b"false" });
    }

    pub(super) fn number<const N: usize>(&mut self, name: &[u8; N], value: u64) {
        self.buffer.extend_from_slice(name);
        push_escaped(self.buffer, itoa::Buffer::new().format(value));
    }

    pub(super) fn list<const N: usize>(&mut self, name: &[u8; N], values: Option<&[Box<str>]>) {
        self.buffer.extend_from_slice(name);
        let Some(values) = values else { return self.buffer.extend_from_slice(b"null") };
        self.buffer.push(b'[');
        for (number, value) in values.iter().enumerate() {
            if number > 0 {
                self.buffer.push(b',');
            }
            push_json(self.buffer, value);
        }
        self.buffer.push(b']');
    }

    /// As a JSON pointer (RFC 6901).
    pub(super) fn place<const N: usize>(&mut self, name: &[u8; N], place: Place) {
        self.buffer.extend_from_slice(name);
        let (before, behind) = place.pointer();
        self.buffer.push(b'"');
        push_escaped(self.buffer, before);
        push_escaped(self.buffer, itoa::Buffer::new().format(place.index));
        push_escaped(self.buffer, behind);
        self.buffer.push(b'"');
    }
}

/// RFC 3339, always as long.
const TIME: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
