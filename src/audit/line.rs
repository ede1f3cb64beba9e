//! One line of the audit log while it is written: a JSON object, field by field.
//!
//! By hand and not by a serialiser: a line has two dozen fields, and half of what Portolan does beyond answering is
//! writing them.

use std::{fmt, io::Write as _};

use crate::review::{push_escaped, push_json};

/// A line that has at least its time.
pub(super) struct Line<'b> {
    buffer: &'b mut Vec<u8>,
}

impl<'b> Line<'b> {
    /// Begins a line with its time, whose text needs no escape.
    pub(super) fn begin(buffer: &'b mut Vec<u8>, time: fmt::Arguments<'_>) -> Self {
        write!(buffer, r#"{{"time":"{time}""#).expect("writing to memory cannot fail");
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
        self.name(name);
        push_json(self.buffer, value);
    }

    pub(super) fn optional<const N: usize>(&mut self, name: &[u8; N], value: Option<&str>) {
        self.name(name);
        match value {
            Some(value) => push_json(self.buffer, value),
            None => self.buffer.extend_from_slice(b"null"),
        }
    }

    pub(super) fn flag<const N: usize>(&mut self, name: &[u8; N], value: bool) {
        self.name(name);
        self.buffer.extend_from_slice(if value { b"true" } else { b"false" });
    }

    pub(super) fn number<const N: usize>(&mut self, name: &[u8; N], value: u64) {
        self.name(name);
        push_escaped(self.buffer, itoa::Buffer::new().format(value));
    }

    pub(super) fn list<const N: usize>(&mut self, name: &[u8; N], values: Option<&[Box<str>]>) {
        self.name(name);
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

    /// Names are arrays, so that copying one is a few instructions and no call.
    fn name<const N: usize>(&mut self, name: &[u8; N]) {
        self.buffer.extend_from_slice(b",\"");
        self.buffer.extend_from_slice(name);
        self.buffer.extend_from_slice(b"\":");
    }
}
