//! Text around services, rendered while it is sent: only references and a few kilobytes of text wait.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::catalog::Entry;
use crate::catalog::render::Variant;

/// A sequence of texts and services, taken piece by piece.
#[derive(Debug, Default)]
pub(in crate::api) struct Segments {
    queue: VecDeque<Segment>,
    /// Bytes of the whole queue.
    left: usize,
    /// Capacity of a new text.
    capacity: usize,
}

#[derive(Debug)]
enum Segment {
    Text(Vec<u8>),
    Shared(Bytes),
    Service(EntryRest),
}

/// A service's JSON from byte `at` on.
#[derive(Debug)]
struct EntryRest {
    entry: Arc<Entry>,
    variant: Variant,
    at: usize,
}

/// A service whose JSON is longer stays a reference until it is sent.
pub(in crate::api) const COPIED: usize = 8 * 1024;

impl Segments {
    /// Empty; texts start with that capacity, in bytes.
    pub(in crate::api) fn with_capacity(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// One text that other answers share.
    pub(in crate::api) fn of(text: Bytes) -> Self {
        let mut segments = Self::default();
        segments.shared(text);
        segments
    }

    /// The whole, in one piece.
    pub(in crate::api) fn into_bytes(mut self) -> Bytes {
        self.pull(usize::MAX).unwrap_or_default()
    }

    /// Bytes that are left.
    pub(in crate::api) fn len(&self) -> usize {
        self.left
    }

    /// Adds text.
    pub(in crate::api) fn text(&mut self, text: &[u8]) {
        self.left += text.len();
        self.write(|out| out.extend_from_slice(text));
    }

    /// Adds text that other answers share.
    pub(in crate::api) fn shared(&mut self, text: Bytes) {
        self.left += text.len();
        self.queue.push_back(Segment::Shared(text));
    }

    /// Adds a service's JSON.
    pub(in crate::api) fn entry(&mut self, entry: &Arc<Entry>, variant: &Variant) {
        let text = entry.text();
        let len = text.len_of(variant);
        self.left += len;
        if len <= COPIED {
            self.write(|out| text.write(variant, out));
        } else {
            self.queue.push_back(Segment::Service(EntryRest { entry: Arc::clone(entry), variant: *variant, at: 0 }));
        }
    }

    /// Appends to the last text, or begins one.
    fn write(&mut self, more: impl FnOnce(&mut Vec<u8>)) {
        if let Some(Segment::Text(text)) = self.queue.back_mut() {
            more(text);
        } else {
            let mut text = Vec::with_capacity(self.capacity);
            more(&mut text);
            self.queue.push_back(Segment::Text(text));
        }
    }

    /// Takes the next piece, of at most `max` bytes; none at the end.
    pub(in crate::api) fn pull(&mut self, max: usize) -> Option<Bytes> {
        if let Some(whole) = self.pull_whole(max) {
            return Some(whole);
        }
        let mut out = Vec::with_capacity(max.min(self.left));
        while let Some(part) = self.queue.front_mut() {
            let room = max - out.len();
            if room == 0 {
                break;
            }
            if part.move_to(room, &mut out) {
                self.queue.pop_front();
            }
        }
        self.left -= out.len();
        (!out.is_empty()).then(|| out.into())
    }

    /// The first segment without a copy, where it is a piece of its own.
    fn pull_whole(&mut self, max: usize) -> Option<Bytes> {
        let alone = self.queue.len() == 1;
        let piece: Bytes = match self.queue.front_mut()? {
            Segment::Shared(rest) if rest.len() > max => rest.split_to(max),
            Segment::Shared(rest) => std::mem::take(rest),
            Segment::Text(text) if alone && text.len() <= max => std::mem::take(text).into(),
            Segment::Text(text) if alone => {
                let mut rest = Vec::with_capacity(self.capacity);
                rest.extend(text.drain(max..));
                std::mem::replace(text, rest).into()
            }
            _ => return None,
        };
        if self.queue.front().is_some_and(Segment::is_empty) {
            self.queue.pop_front();
        }
        self.left -= piece.len();
        (!piece.is_empty()).then_some(piece)
    }
}

impl Segment {
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Shared(rest) => rest.is_empty(),
            Self::Service(_) => false,
        }
    }

    /// Moves up to `room` bytes; returns whether that was the rest.
    fn move_to(&mut self, room: usize, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Text(text) if text.len() <= room => {
                out.append(text);
                true
            }
            Self::Text(text) => {
                out.extend(text.drain(..room));
                false
            }
            Self::Shared(rest) => {
                out.extend_from_slice(&rest.split_to(room.min(rest.len())));
                rest.is_empty()
            }
            Self::Service(cut) => {
                let text = cut.entry.text();
                text.write_part(&cut.variant, cut.at, room, out);
                cut.at += room;
                cut.at >= text.len_of(&cut.variant)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_make_the_whole() {
        for most in [1, 2, 7, 100, 100_000] {
            let mut parts = Segments::default();
            parts.text(b"one ");
            parts.text(b"two ");
            parts.shared(Bytes::from_static(b"three "));
            parts.shared(Bytes::from_static(b"four "));
            parts.text(b"five");
            assert_eq!(parts.len(), 23);
            let pieces: Vec<Bytes> = std::iter::from_fn(|| parts.pull(most)).collect();
            assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= most), "{pieces:?}");
            assert_eq!(pieces.concat(), b"one two three four five", "{most}");
            assert_eq!(parts.len(), 0);
        }
    }
}
