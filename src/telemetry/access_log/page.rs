//! Access records that wait for the log's thread, packed so that the same small block of memory serves request after request.

use std::net::IpAddr;
use std::time::Instant;

use super::Record;

/// Most bytes of a target.
const MAX_TARGET: usize = 160;
/// Most bytes of a user agent.
const MAX_USER_AGENT: usize = 48;
/// Records that a cleared page still has room for: ten milliseconds at 200,000 requests/s.
const KEPT_CAPACITY: usize = 2048;
/// Bytes of text in a typical record.
const TYPICAL_TEXT: usize = 96;

/// Records in order, with their texts concatenated.
#[derive(Debug, Default)]
pub(super) struct Page {
    slots: Vec<Slot>,
    texts: Vec<u8>,
}

#[derive(Debug)]
struct Slot {
    started: Instant,
    bytes: u64,
    method: &'static str,
    peer: IpAddr,
    micros: u32,
    status: u16,
    target: Length,
    user_agent: Length,
}

#[derive(Debug, Clone, Copy)]
struct Length {
    len: u8,
    cut: bool,
}

/// A text, and whether it was cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) cut: bool,
}

/// A record as read back.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) started: Instant,
    pub(super) peer: IpAddr,
    pub(super) method: &'static str,
    pub(super) target: Text<'a>,
    pub(super) status: u16,
    pub(super) micros: u32,
    pub(super) bytes: u64,
    pub(super) user_agent: Text<'a>,
}

impl Page {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn push(&mut self, record: &Record<'_>) {
        let target = self.copy(record.target.as_bytes(), MAX_TARGET);
        let user_agent = self.copy(record.user_agent.unwrap_or_default(), MAX_USER_AGENT);
        self.slots.push(Slot {
            started: record.started,
            bytes: record.bytes,
            method: record.method,
            peer: record.peer,
            micros: u32::try_from(record.took.as_micros()).unwrap_or(u32::MAX),
            status: record.status,
            target,
            user_agent,
        });
    }

    fn copy(&mut self, text: &[u8], max: usize) -> Length {
        let copied = text.get(..max).unwrap_or(text);
        self.texts.extend_from_slice(copied);
        Length { len: u8::try_from(copied.len()).unwrap_or(u8::MAX), cut: copied.len() < text.len() }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = &self.texts[..];
        let mut text = move |length: Length| {
            let (bytes, after) = rest.split_at(length.len.into());
            rest = after;
            Text { bytes, cut: length.cut }
        };
        self.slots.iter().map(move |slot| Entry {
            started: slot.started,
            peer: slot.peer,
            method: slot.method,
            target: text(slot.target),
            status: slot.status,
            micros: slot.micros,
            bytes: slot.bytes,
            user_agent: text(slot.user_agent),
        })
    }

    /// Drops the records, and the memory that only a burst needs.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.texts.clear();
        self.slots.shrink_to(KEPT_CAPACITY);
        self.texts.shrink_to(KEPT_CAPACITY * TYPICAL_TEXT);
    }
}
