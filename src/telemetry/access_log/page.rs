//! Access records that wait for the log's thread: packed, so that the same little memory serves request after request.

use std::net::IpAddr;
use std::time::Instant;

use super::Record;

/// Bytes that are kept of a target.
const TARGET: usize = 160;
/// Bytes that are kept of a user agent.
const USER_AGENT: usize = 48;
/// Records that an emptied page keeps room for: ten milliseconds at 200,000 requests/s.
const KEPT: usize = 2048;
/// Bytes of text of a usual record.
const USUAL: usize = 96;

/// Records in order, their texts one behind the other.
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

/// How much of a text was kept.
#[derive(Debug, Clone, Copy)]
struct Length {
    len: u8,
    cut: bool,
}

/// A text, and whether there was more of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) cut: bool,
}

/// A record as it is read back.
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
        let target = self.keep(record.target.as_bytes(), TARGET);
        let user_agent = self.keep(record.user_agent.unwrap_or_default(), USER_AGENT);
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

    fn keep(&mut self, text: &[u8], most: usize) -> Length {
        let kept = text.get(..most).unwrap_or(text);
        self.texts.extend_from_slice(kept);
        Length { len: u8::try_from(kept.len()).unwrap_or(u8::MAX), cut: kept.len() < text.len() }
    }

    /// The records in their order.
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

    /// Forgets the records, and the memory that only a burst needs.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.texts.clear();
        self.slots.shrink_to(KEPT);
        self.texts.shrink_to(KEPT * USUAL);
    }
}
