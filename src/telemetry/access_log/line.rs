//! Formats access lines.

use std::io::Write;
use std::net::IpAddr;
use std::time::Instant;

use super::page::{Entry, Text};
use crate::model::text::escape;
use crate::model::time::UnixMs;
use crate::telemetry::log::ACCESS_TARGET;

/// Query fields whose values are shown: the names and selectors of the discovery API. Any other value could be a secret.
const SHOWN: &[&[u8]] = &[
    b"name",
    b"namespace",
    b"instance",
    b"version",
    b"zone",
    b"status",
    b"healthy",
    b"pick",
    b"limit",
    b"all",
    b"verbose",
];

/// The lines of a batch.
pub(super) struct Lines {
    json: bool,
    out: Vec<u8>,
    /// One moment on both clocks, to convert the times of entries.
    steady: Instant,
    wall: UnixMs,
    /// The second that `stamp` shows, up to its decimal point.
    second: i64,
    stamp: Vec<u8>,
    peer: Option<IpAddr>,
    peer_text: Vec<u8>,
    /// The target whose values are being hidden.
    scratch: Vec<u8>,
    digits: itoa::Buffer,
}

impl Lines {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            out: Vec::with_capacity(64 * 1024),
            steady: Instant::now(),
            wall: UnixMs::wall(),
            second: i64::MIN,
            stamp: Vec::new(),
            peer: None,
            peer_text: Vec::new(),
            scratch: Vec::new(),
            digits: itoa::Buffer::new(),
        }
    }

    /// Reads the clocks again, so that lines follow the wall clock when it is set.
    pub(super) fn anchor(&mut self) {
        self.steady = Instant::now();
        self.wall = UnixMs::wall();
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.out
    }

    pub(super) fn clear(&mut self) {
        self.out.clear();
    }

    pub(super) fn push(&mut self, entry: &Entry<'_>) {
        if self.json { self.push_json(entry) } else { self.push_text(entry) }
    }

    fn push_text(&mut self, entry: &Entry<'_>) {
        self.push_time(entry.started);
        self.put(b"  INFO ");
        self.put(ACCESS_TARGET.as_bytes());
        self.put(b": ");
        self.push_peer(entry.peer);
        self.put(b" ");
        self.put(entry.method.as_bytes());
        self.put(b" ");
        self.push_target(entry.target, b"");
        self.put(b" ");
        self.push_number(entry.status.into());
        self.put(b" ");
        self.push_number(entry.bytes);
        self.put(b"B ");
        self.push_number(entry.micros.into());
        self.put(b"us ");
        push_text(&mut self.out, entry.user_agent.bytes, entry.user_agent.cut, b"\"");
        self.put(b"\n");
    }

    fn push_json(&mut self, entry: &Entry<'_>) {
        self.put(b"{\"timestamp\":\"");
        self.push_time(entry.started);
        self.put(b"\",\"level\":\"INFO\",\"target\":\"");
        self.put(ACCESS_TARGET.as_bytes());
        self.put(b"\",\"peer\":\"");
        self.push_peer(entry.peer);
        self.put(b"\",\"method\":\"");
        self.put(entry.method.as_bytes());
        self.put(b"\",\"path\":");
        self.push_target(entry.target, b"\"");
        self.put(b",\"status\":");
        self.push_number(entry.status.into());
        self.put(b",\"bytes\":");
        self.push_number(entry.bytes);
        self.put(b",\"micros\":");
        self.push_number(entry.micros.into());
        self.put(b",\"user_agent\":");
        push_text(&mut self.out, entry.user_agent.bytes, entry.user_agent.cut, b"\"");
        self.put(b"}\n");
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn push_number(&mut self, n: u64) {
        self.out.extend_from_slice(self.digits.format(n).as_bytes());
    }

    /// RFC 3339 with three decimals; only the decimals change within a second.
    fn push_time(&mut self, started: Instant) {
        let age = self.steady.saturating_duration_since(started);
        let at = self.wall.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(0));
        let (second, milli) = (at.div_euclid(1000), at.rem_euclid(1000));
        if second != self.second {
            self.second = second;
            let text = UnixMs(second * 1000).to_string();
            self.stamp.clear();
            self.stamp.extend_from_slice(text.trim_end_matches("000Z").as_bytes());
        }
        self.out.extend_from_slice(&self.stamp);
        let digit = |n: i64| b'0' + u8::try_from(n % 10).unwrap_or(0);
        self.out.extend_from_slice(&[digit(milli / 100), digit(milli / 10), digit(milli), b'Z']);
    }

    fn push_peer(&mut self, peer: IpAddr) {
        if self.peer != Some(peer) {
            self.peer = Some(peer);
            self.peer_text.clear();
            // Writing to a vector cannot fail.
            let _ = write!(self.peer_text, "{}", peer.to_canonical());
        }
        self.out.extend_from_slice(&self.peer_text);
    }

    fn push_target(&mut self, target: Text<'_>, quote: &[u8]) {
        let bytes = target.bytes;
        let Some(mark) = memchr::memchr(b'?', bytes) else {
            return push_text(&mut self.out, bytes, target.cut, quote);
        };
        self.scratch.clear();
        self.scratch.extend_from_slice(&bytes[..=mark]);
        for (n, field) in bytes[mark + 1..].split(|b| *b == b'&').enumerate() {
            if n > 0 {
                self.scratch.push(b'&');
            }
            match memchr::memchr(b'=', field) {
                Some(at) if SHOWN.contains(&&field[..at]) => self.scratch.extend_from_slice(field),
                Some(at) => {
                    self.scratch.extend_from_slice(&field[..=at]);
                    self.scratch.extend_from_slice(b"***");
                }
                // A field without a value may be a secret whose name is missing.
                None if field.is_empty() || SHOWN.contains(&field) => self.scratch.extend_from_slice(field),
                None => self.scratch.extend_from_slice(b"***"),
            }
        }
        push_text(&mut self.out, &self.scratch, target.cut, quote);
    }
}

/// Writes plain text as it is, between `quote`s; escapes anything else for terminals and writes it as a JSON string.
fn push_text(out: &mut Vec<u8>, text: &[u8], cut: bool, quote: &[u8]) {
    if !cut && is_plain(text) {
        out.extend_from_slice(quote);
        out.extend_from_slice(text);
        out.extend_from_slice(quote);
        return;
    }
    let mut shown = escape(&String::from_utf8_lossy(text), text.len());
    if cut {
        shown.push('…');
    }
    // Writing to a vector cannot fail.
    let _ = serde_json::to_writer(out, &shown);
}

/// Whether no byte needs an escape. Counting all of them is vectorised; stopping at the first would not be.
fn is_plain(text: &[u8]) -> bool {
    let is_odd = |b: &&u8| !matches!(b, b' '..=b'~') || matches!(b, b'"' | b'\\');
    text.iter().filter(is_odd).count() == 0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::access_log::Record;
    use crate::telemetry::access_log::page::Page;

    fn line(json: bool, target: &str, user_agent: &[u8]) -> String {
        let mut page = Page::default();
        page.push(&Record {
            started: Instant::now(),
            peer: "::ffff:192.0.2.7".parse().expect("an address"),
            method: "GET",
            target,
            status: 404,
            took: Duration::from_micros(52),
            bytes: 183,
            user_agent: Some(user_agent),
        });
        let mut lines = Lines::new(json);
        page.entries().for_each(|entry| lines.push(&entry));
        String::from_utf8(lines.bytes().to_vec()).expect("lines are UTF-8")
    }

    #[test]
    fn a_text_line_looks_like_the_rest_of_the_log() {
        let text = line(false, "/api/v1/services/discover?name=a", b"curl/8");
        let (at, rest) = text.split_once("  ").expect("two spaces after the time");
        assert_eq!(
            rest,
            "INFO portolan::access: 192.0.2.7 GET /api/v1/services/discover?name=a 404 183B 52us \"curl/8\"\n"
        );
        let at: UnixMs = at.parse().expect("RFC 3339");
        assert!(UnixMs::wall().since(at) < Duration::from_mins(2));
    }

    #[test]
    fn unknown_query_values_are_hidden() {
        let text = line(false, "/x?token=hunter2&name=a&hunter3&namespace=b&&verbose&access_token=", b"");
        assert!(text.contains(" /x?token=***&name=a&***&namespace=b&&verbose&access_token=*** "), "{text}");
        assert!(!text.contains("hunter"), "{text}");
    }

    #[test]
    fn hostile_text_cannot_forge_a_line() {
        let agent = "\u{202e}evil\" \\ \u{1b}[2J\n".as_bytes();
        for json in [false, true] {
            let text = line(json, "/\u{202e}?name=\"", agent);
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert!(!text.contains(['\u{202e}', '\u{1b}']), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_json_line_parses(target in "/.{0,200}", agent in proptest::collection::vec(0u8.., 0..80)) {
            let text = line(true, &target, &agent);
            let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            proptest::prop_assert_eq!(&value["status"], 404);
            proptest::prop_assert!(text.len() < 2000);
        }
    }

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        let text = line(false, &format!("/{}", "a".repeat(500)), &[b'x'; 100]);
        assert!(text.contains("aaa…\"") && text.contains("xxx…\""), "{text}");
    }
}
