//! Text around services, made while it is sent: what waits to be sent are references, and a few kilobytes of text.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::catalog::Entry;
use crate::catalog::render::Stamp;

/// Text and services in a row, taken piece by piece.
#[derive(Debug, Default)]
pub(super) struct Parts {
    queue: VecDeque<Part>,
    /// Bytes of the whole queue.
    left: usize,
    /// Room that a new text starts with.
    room: usize,
}

#[derive(Debug)]
enum Part {
    Text(Vec<u8>),
    Shared(Bytes),
    Service(Cut),
}

/// A service's JSON from byte `at` on.
#[derive(Debug)]
struct Cut {
    entry: Arc<Entry>,
    stamp: Stamp,
    at: usize,
}

/// A service whose JSON is longer stays a reference until it is sent.
pub(super) const COPIED: usize = 8 * 1024;

impl Parts {
    /// Nothing yet, and room for texts of that many bytes.
    pub(super) fn with_room(room: usize) -> Self {
        Self { room, ..Self::default() }
    }

    /// Text that others send too.
    pub(super) fn of(text: Bytes) -> Self {
        let mut parts = Self::default();
        parts.shared(text);
        parts
    }

    /// The whole, in one piece.
    pub(super) fn into_bytes(mut self) -> Bytes {
        self.pull(usize::MAX).unwrap_or_default()
    }

    /// Bytes that are left.
    pub(super) fn len(&self) -> usize {
        self.left
    }

    /// Adds text.
    pub(super) fn text(&mut self, text: &[u8]) {
        self.left += text.len();
        self.write(|out| out.extend_from_slice(text));
    }

    /// Adds text that others send too.
    pub(super) fn shared(&mut self, text: Bytes) {
        self.left += text.len();
        self.queue.push_back(Part::Shared(text));
    }

    /// Adds a service's JSON, with that value of `last_health_check`.
    pub(super) fn entry(&mut self, entry: &Arc<Entry>, stamp: &Stamp) {
        let text = entry.text();
        let len = text.len_stamped(stamp);
        self.left += len;
        if len <= COPIED {
            self.write(|out| text.write_stamped(stamp, out));
        } else {
            self.queue.push_back(Part::Service(Cut { entry: Arc::clone(entry), stamp: *stamp, at: 0 }));
        }
    }

    /// Writes behind the text at the end.
    fn write(&mut self, more: impl FnOnce(&mut Vec<u8>)) {
        if let Some(Part::Text(text)) = self.queue.back_mut() {
            more(text);
        } else {
            let mut text = Vec::with_capacity(self.room);
            more(&mut text);
            self.queue.push_back(Part::Text(text));
        }
    }

    /// Takes the next piece, of `most` bytes at most; none at the end.
    pub(super) fn pull(&mut self, most: usize) -> Option<Bytes> {
        if let Some(whole) = self.pull_whole(most) {
            return Some(whole);
        }
        let mut out = Vec::with_capacity(most.min(self.left));
        while let Some(part) = self.queue.front_mut() {
            let room = most - out.len();
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

    /// The first part without a copy, where it is a piece for itself.
    fn pull_whole(&mut self, most: usize) -> Option<Bytes> {
        let alone = self.queue.len() == 1;
        let piece: Bytes = match self.queue.front_mut()? {
            Part::Shared(rest) if rest.len() > most => rest.split_to(most),
            Part::Shared(rest) => std::mem::take(rest),
            Part::Text(text) if alone && text.len() <= most => std::mem::take(text).into(),
            Part::Text(text) if alone => {
                let mut rest = Vec::with_capacity(self.room);
                rest.extend(text.drain(most..));
                std::mem::replace(text, rest).into()
            }
            _ => return None,
        };
        if self.queue.front().is_some_and(Part::is_empty) {
            self.queue.pop_front();
        }
        self.left -= piece.len();
        (!piece.is_empty()).then_some(piece)
    }
}

impl Part {
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Shared(rest) => rest.is_empty(),
            Self::Service(_) => false,
        }
    }

    /// Moves up to `room` bytes; says whether that was the rest.
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
                text.write_part(&cut.stamp, cut.at, room, out);
                cut.at += room;
                cut.at >= text.len_stamped(&cut.stamp)
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
            let mut parts = Parts::default();
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
