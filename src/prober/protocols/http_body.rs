//! Collects the body of an HTTP/1 response for a check that reads it: without its chunks' framing, up to [`MAX_BODY`].

use super::http_response::Framing;

/// Most bytes of a body that are read.
pub(crate) const MAX_BODY: usize = 64 * 1024;
/// Longest line that gives a chunk's size, in bytes.
const MAX_SIZE_LINE: usize = 128;

/// How far a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More follows.
    More,
    /// It is complete.
    Complete,
    /// It is longer than [`MAX_BODY`].
    TooLong,
    /// Its chunks are malformed, or it ended in the middle.
    Broken,
}

/// A body as it arrives.
#[derive(Debug)]
pub(crate) struct Collector {
    bytes: Vec<u8>,
    rest: Rest,
}

/// What follows.
#[derive(Debug)]
enum Rest {
    /// This many bytes.
    Length(u64),
    /// All until the end.
    Close,
    /// A chunk's size, of which this was read.
    Size(Vec<u8>),
    /// This many bytes of a chunk.
    Chunk(u64),
    /// The end of a chunk's last line.
    ChunkEnd,
    /// Nothing.
    Nothing(Progress),
}

impl Collector {
    pub(crate) fn new(framing: Framing) -> Self {
        let rest = match framing {
            Framing::Length(0) => Rest::Nothing(Progress::Complete),
            Framing::Length(length) if length > MAX_BODY as u64 => Rest::Nothing(Progress::TooLong),
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Size(Vec::new()),
            Framing::Close => Rest::Close,
        };
        Self { bytes: Vec::new(), rest }
    }

    /// Takes the next bytes.
    pub(crate) fn take(&mut self, mut input: &[u8]) -> Progress {
        while !input.is_empty() && !matches!(self.rest, Rest::Nothing(_)) {
            let used = self.step(input);
            input = input.get(used..).unwrap_or_default();
        }
        self.progress()
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> Progress {
        if let Rest::Nothing(progress) = self.rest { progress } else { Progress::More }
    }

    /// The peer sends no more.
    pub(crate) fn end(&mut self) -> Progress {
        let progress = match self.rest {
            Rest::Nothing(progress) => progress,
            Rest::Close => Progress::Complete,
            _ => Progress::Broken,
        };
        self.rest = Rest::Nothing(progress);
        progress
    }

    /// What was collected.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Handles the beginning of `input`, which is not empty; returns how much of it.
    fn step(&mut self, input: &[u8]) -> usize {
        match &mut self.rest {
            Rest::Nothing(_) => input.len(),
            Rest::Close => self.keep(input, u64::MAX).0,
            Rest::Length(left) => {
                let left = *left;
                let (used, after) = self.keep(input, left);
                self.then(if after == 0 { Rest::Nothing(Progress::Complete) } else { Rest::Length(after) });
                used
            }
            Rest::Chunk(left) => {
                let left = *left;
                let (used, after) = self.keep(input, left);
                self.then(if after == 0 { Rest::ChunkEnd } else { Rest::Chunk(after) });
                used
            }
            Rest::ChunkEnd => {
                match input.first() {
                    Some(b'\r') => {}
                    Some(b'\n') => self.rest = Rest::Size(Vec::new()),
                    _ => self.rest = Rest::Nothing(Progress::Broken),
                }
                1
            }
            Rest::Size(line) => {
                let end = memchr::memchr(b'\n', input);
                line.extend_from_slice(input.get(..end.unwrap_or(input.len())).unwrap_or_default());
                if line.len() > MAX_SIZE_LINE {
                    self.rest = Rest::Nothing(Progress::Broken);
                } else if end.is_some() {
                    self.rest = match size(line) {
                        None => Rest::Nothing(Progress::Broken),
                        // Trailers may follow, and do not matter.
                        Some(0) => Rest::Nothing(Progress::Complete),
                        Some(size) => Rest::Chunk(size),
                    };
                }
                end.map_or(input.len(), |end| end + 1)
            }
        }
    }

    /// Continues with `rest`, unless the body turned out to be too long.
    fn then(&mut self, rest: Rest) {
        if !matches!(self.rest, Rest::Nothing(_)) {
            self.rest = rest;
        }
    }

    /// Keeps at most `most` bytes of `input`; returns how many, and how many of `most` are left.
    fn keep(&mut self, input: &[u8], most: u64) -> (usize, u64) {
        let take = input.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let room = MAX_BODY.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(input.get(..take.min(room)).unwrap_or_default());
        if take > room {
            self.rest = Rest::Nothing(Progress::TooLong);
        }
        (take, most.saturating_sub(take as u64))
    }
}

/// A chunk's size: hex digits, perhaps with extensions after a semicolon
/// ([RFC 9112 §7.1](https://www.rfc-editor.org/rfc/rfc9112#section-7.1)).
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|b| *b == b';').next()?.trim_ascii();
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// Collects in pieces of every size, which must not matter.
    fn collect(framing: Framing, bytes: &[u8]) -> (Progress, Vec<u8>) {
        let whole = in_pieces(framing, bytes, bytes.len().max(1));
        for size in 1..bytes.len().min(20) {
            assert_eq!(in_pieces(framing, bytes, size), whole, "in pieces of {size}");
        }
        whole
    }

    fn in_pieces(framing: Framing, bytes: &[u8], size: usize) -> (Progress, Vec<u8>) {
        let mut collector = Collector::new(framing);
        let mut progress = collector.progress();
        for piece in bytes.chunks(size) {
            progress = collector.take(piece);
        }
        if progress == Progress::More {
            progress = collector.end();
        }
        (progress, collector.bytes().to_vec())
    }

    #[test]
    fn each_framing_is_taken_off() {
        for (framing, bytes, kept) in [
            (Framing::Length(5), &b"12345 more"[..], &b"12345"[..]),
            (Framing::Length(0), b"", b""),
            (Framing::Close, b"all of it", b"all of it"),
            (Framing::Chunked, b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n", b"abcde"),
            (Framing::Chunked, b"3\nabc\n0\n\n", b"abc"),
        ] {
            assert_eq!(collect(framing, bytes), (Progress::Complete, kept.to_vec()));
        }
    }

    #[test]
    fn what_is_cut_or_malformed_is_broken() {
        for (framing, bytes) in [
            (Framing::Length(5), &b"1234"[..]),
            (Framing::Chunked, b"3\r\nab"),
            (Framing::Chunked, b"3\r\nabc\r\n"),
            (Framing::Chunked, b"3\r\nabcd\r\n"),
            (Framing::Chunked, b"x\r\n"),
            (Framing::Chunked, b"-1\r\n"),
        ] {
            assert_eq!(collect(framing, bytes).0, Progress::Broken, "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(in_pieces(Framing::Chunked, &[b'0'; 1000], 100).0, Progress::Broken, "a size has an end");
    }

    #[test]
    fn a_long_body_is_cut() {
        let long = vec![b'a'; MAX_BODY + 1];
        assert_eq!(in_pieces(Framing::Close, &long, 1000).0, Progress::TooLong);
        assert_eq!(Collector::new(Framing::Length(MAX_BODY as u64 + 1)).progress(), Progress::TooLong);
        assert_eq!(in_pieces(Framing::Close, &long[1..], 1000).0, Progress::Complete);
        let mut chunked = format!("{:x}\r\n", u64::MAX).into_bytes();
        chunked.extend_from_slice(&long);
        let (progress, kept) = in_pieces(Framing::Chunked, &chunked, 999);
        assert_eq!((progress, kept.len()), (Progress::TooLong, MAX_BODY));
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), size in 1_usize..20) {
            for framing in [Framing::Chunked, Framing::Close, Framing::Length(7)] {
                in_pieces(framing, &bytes, size);
            }
        }

        #[test]
        fn chunks_are_joined(parts in proptest::collection::vec("[a-z]{1,40}", 0..6), size in 1_usize..20) {
            let mut text = String::new();
            for part in &parts {
                write!(text, "{:x}\r\n{part}\r\n", part.len()).expect("a string grows");
            }
            text.push_str("0\r\n\r\n");
            let (progress, kept) = in_pieces(Framing::Chunked, text.as_bytes(), size);
            proptest::prop_assert_eq!(progress, Progress::Complete);
            proptest::prop_assert_eq!(kept, parts.concat().into_bytes());
        }
    }
}
