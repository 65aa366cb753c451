//! Parses an HTTP/1 response as far as a verdict needs it: the status of the final head, and where its body ends.
//!
//! The status line is parsed strictly. The rest is not judged: folded lines, odd bytes, many headers and bare line feeds change no
//! verdict ([RFC 9112 §2.2, §5.2](https://www.rfc-editor.org/rfc/rfc9112#section-5.2)). Only the two headers
//! that frame the body are parsed, and only to know when the response is complete.

/// Most bytes of all heads of one answer, informational ones included.
pub(crate) const MAX_HEAD: usize = 128 * 1024;
/// Bytes of one line that are kept; a framing header is shorter.
const MAX_LINE: usize = 128;
/// The same where headers are wanted.
const MAX_WANTED_LINE: usize = 512;
/// Most lines of wanted headers that are kept.
const MAX_WANTED: usize = 32;

/// Where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After this many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// Where the connection ends.
    Close,
}

/// The final head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// 100 to 999.
    pub(crate) status: u16,
    /// How the end of its body is found.
    pub(crate) framing: Framing,
}

/// Why bytes are not an HTTP/1 response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// They begin as HTTP/2 does.
    Http2,
    /// They begin as TLS does.
    Tls,
    /// They begin in an unknown way.
    Other,
    /// The head has no end within [`MAX_HEAD`].
    TooLong,
}

/// Parses a response piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    line: Vec<u8>,
    taken: usize,
    /// The status of the present head, once its status line is complete.
    status: Option<u16>,
    length: Option<u64>,
    chunked: bool,
    /// Names of headers whose lines are kept, in lower case.
    wanted: Vec<String>,
    kept: Vec<(String, String)>,
}

impl Reader {
    /// A reader that also keeps the lines of these headers, whose names are in lower case.
    pub(crate) fn wanting(wanted: Vec<String>) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// The name and value of each line of a wanted header of the final head.
    pub(crate) fn into_kept(self) -> Vec<(String, String)> {
        self.kept
    }

    /// Takes the next bytes. Returns the final head and how many of `bytes` belong to it; none while it is incomplete.
    ///
    /// # Errors
    /// [`NoAnswer`], as soon as it is certain.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Option<(Head, usize)>, NoAnswer> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let end = memchr::memchr(b'\n', rest);
            let piece = &rest[..end.unwrap_or(rest.len())];
            let most = if self.wanted.is_empty() { MAX_LINE } else { MAX_WANTED_LINE };
            let room = most.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            let consumed = piece.len() + usize::from(end.is_some());
            at += consumed;
            self.taken += consumed;
            if self.status.is_none() {
                begins(&self.line)?;
            }
            if end.is_some()
                && let Some(head) = self.end_line()?
            {
                return Ok(Some((head, at)));
            }
            if self.taken > MAX_HEAD {
                return Err(NoAnswer::TooLong);
            }
        }
        Ok(None)
    }

    /// The head if the peer ends in the middle: a complete status line is a response.
    pub(crate) fn end(&self) -> Option<Head> {
        self.status.filter(|status| !informational(*status)).map(|status| Head { status, framing: Framing::Close })
    }

    fn end_line(&mut self) -> Result<Option<Head>, NoAnswer> {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let mut done = None;
        match self.status {
            // Some servers send an extra empty line first.
            None if line.is_empty() => {}
            None => self.status = Some(status(line).ok_or(NoAnswer::Other)?),
            Some(status) if line.is_empty() => {
                done = Some(Head { status, framing: self.framing() });
            }
            Some(_) => {
                let (length, chunked) = framing(line);
                self.length = length.or(self.length);
                self.chunked |= chunked;
                let kept = wanted(line, &self.wanted).filter(|_| self.kept.len() < MAX_WANTED);
                self.kept.extend(kept);
            }
        }
        self.line.clear();
        let last = done.filter(|head| !informational(head.status));
        if done.is_some() && last.is_none() {
            (self.status, self.length, self.chunked) = (None, None, false);
            self.kept.clear();
        }
        Ok(last)
    }

    fn framing(&self) -> Framing {
        match self.length {
            _ if self.chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::Close,
        }
    }
}

/// Whether another head follows. 101 is final: what comes after it is not HTTP.
fn informational(status: u16) -> bool {
    (100..=199).contains(&status) && status != 101
}

/// Refuses a first line that cannot become a status line.
fn begins(line: &[u8]) -> Result<(), NoAnswer> {
    const BEGIN: &[u8] = b"HTTP/1.";
    let known = line.iter().zip(BEGIN).all(|(got, wanted)| got == wanted);
    if known || line == b"\r" {
        return Ok(());
    }
    match line {
        // A frame's type follows the three bytes of its length: SETTINGS, or GOAWAY.
        [0 | 0x15] | [0, _] | [0, _, _] => Ok(()),
        [0, _, _, 4 | 7, ..] => Err(NoAnswer::Http2),
        [0x15, 3, ..] => Err(NoAnswer::Tls),
        _ if line.starts_with(b"HTTP/2") => Err(NoAnswer::Http2),
        _ => Err(NoAnswer::Other),
    }
}

/// The status of `HTTP/1.1 200 OK`; the reason may hold anything, or be absent.
fn status(line: &[u8]) -> Option<u16> {
    let (version, rest) = line.strip_prefix(b"HTTP/1.")?.split_first()?;
    let rest = rest.strip_prefix(b" ").filter(|_| version.is_ascii_digit())?.trim_ascii_start();
    let (digits, after) = rest.split_at_checked(3)?;
    let status: u16 =
        std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit))?.parse().ok()?;
    (status >= 100 && !after.first().is_some_and(u8::is_ascii_digit)).then_some(status)
}

/// The name and value of a wanted header's line.
fn wanted(line: &[u8], names: &[String]) -> Option<(String, String)> {
    let colon = memchr::memchr(b':', line).filter(|_| !names.is_empty())?;
    let (name, value) = (line.get(..colon)?.trim_ascii(), line.get(colon + 1..)?.trim_ascii());
    let name = names.iter().find(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes()))?;
    Some((name.clone(), String::from_utf8_lossy(value).into_owned()))
}

/// What a header line says about the body: its length, whether it is chunked.
fn framing(line: &[u8]) -> (Option<u64>, bool) {
    let Some(colon) = memchr::memchr(b':', line) else { return (None, false) };
    let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
    if name.eq_ignore_ascii_case(b"content-length") {
        (std::str::from_utf8(value).ok().and_then(|value| value.parse().ok()), false)
    } else {
        let chunked =
            name.eq_ignore_ascii_case(b"transfer-encoding") && value.to_ascii_lowercase().ends_with(b"chunked");
        (None, chunked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses in pieces of every size, which must not matter.
    fn read(bytes: &[u8]) -> Result<Option<(Head, usize)>, NoAnswer> {
        let whole = Reader::default().take(bytes);
        for size in 1..bytes.len().min(80) {
            let mut reader = Reader::default();
            let mut at = 0;
            let mut pieces = bytes.chunks(size).map(|piece| {
                let read = reader.take(piece).map(|read| read.map(|(head, used)| (head, at + used)));
                at += piece.len();
                read
            });
            let read = pieces.find(|read| *read != Ok(None)).unwrap_or(Ok(None));
            assert_eq!(read, whole, "in pieces of {size}: {:?}", String::from_utf8_lossy(bytes));
        }
        whole
    }

    #[test]
    fn the_status_decides_whatever_the_other_lines_are() {
        for lines in [
            &b""[..],
            b"X-A: one\r\n   two\r\n",
            b"X-A: one\r\n\tcontent-length: two\r\n",
            b"x\xfc\x00\x01: \xff\r\n",
            b"no colon\r\n: no name\r\n",
            b"Content-Length: many\r\n",
            b"a : b\r\n",
            b"a: b\rc: d\r\n",
        ] {
            for line_end in ["\r\n", "\n"] {
                let mut head = format!("HTTP/1.1 204 Gone fishing{line_end}").into_bytes();
                head.extend_from_slice(lines);
                head.extend_from_slice(line_end.as_bytes());
                let length = head.len();
                assert_eq!(read(&head), Ok(Some((Head { status: 204, framing: Framing::Close }, length))));
            }
        }
        let many = format!("HTTP/1.0 200 OK\r\n{}\r\n", "x: y\r\n".repeat(5_000));
        assert!(matches!(read(many.as_bytes()), Ok(Some((Head { status: 200, .. }, _)))));
    }

    #[test]
    fn status_lines_are_read_strictly() {
        for (line, status) in [
            (&b"HTTP/1.1 200"[..], Some(200)),
            (b"HTTP/1.1 200 ", Some(200)),
            (b"HTTP/1.0  404 N\xf6", Some(404)),
            (b"HTTP/1.1 200OK", Some(200)),
            (b"HTTP/1.1 999 X", Some(999)),
            (b"HTTP/1.1 099 X", None),
            (b"HTTP/1.1 2000", None),
            (b"HTTP/1.1 20 X", None),
            (b"HTTP/1.1 +20 X", None),
            (b"HTTP/1.1200 X", None),
            (b"HTTP/1. 200 X", None),
            (b"HTTP/1.1\t200 X", None),
        ] {
            assert_eq!(super::status(line), status, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn informational_heads_come_before_the_final_one() {
        let heads = b"\r\nHTTP/1.1 103 Early\r\nContent-Length: 9\r\n\r\nHTTP/1.1 100 X\r\n\r\nHTTP/1.1 503 X\r\nTransfer-Encoding: gzip, Chunked\r\n\r\nbody";
        let head = Head { status: 503, framing: Framing::Chunked };
        assert_eq!(read(heads), Ok(Some((head, heads.len() - 4))));
        let switched = b"HTTP/1.1 101 Switching\r\ncontent-length: 7\r\n\r\n";
        assert_eq!(read(switched), Ok(Some((Head { status: 101, framing: Framing::Length(7) }, switched.len()))));
    }

    #[test]
    fn the_lines_of_wanted_headers_are_kept() {
        let mut reader = Reader::wanting(vec!["x-service".to_owned()]);
        let long = "a".repeat(1000);
        let head = format!(
            "HTTP/1.1 103 Early\r\nX-Service: early\r\n\r\nHTTP/1.1 200 OK\r\nX-SERVICE:  user \r\nx-other: 1\r\nx-service: {long}\r\n\r\n"
        );
        assert!(matches!(reader.take(head.as_bytes()), Ok(Some(_))));
        let kept = reader.into_kept();
        assert_eq!(kept.first(), Some(&("x-service".to_owned(), "user".to_owned())));
        assert!(kept.len() == 2 && kept.iter().all(|(_, value)| value.len() < MAX_WANTED_LINE), "{kept:?}");
    }

    #[test]
    fn what_is_not_http_1_is_named() {
        for (bytes, why) in [
            (&b"SSH-2.0-x\r\n"[..], NoAnswer::Other),
            (b"HTTP/2 200 OK\r\n", NoAnswer::Http2),
            (b"\0\0\x18\x04\0\0\0\0\0\0", NoAnswer::Http2),
            (b"\0\0\x08\x07\0", NoAnswer::Http2),
            (b"\x15\x03\x01\0\x02\x02\x46", NoAnswer::Tls),
            (b"\0\0\0\0", NoAnswer::Other),
            (b"http/1.1 200\r\n", NoAnswer::Other),
            (b"HTTP/1.1 nine\r\n", NoAnswer::Other),
        ] {
            assert_eq!(read(bytes), Err(why), "{bytes:?}");
        }
        let mut endless = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
        endless.resize(MAX_HEAD + 1, b'a');
        assert_eq!(Reader::default().take(&endless), Err(NoAnswer::TooLong));
    }

    #[test]
    fn a_status_line_is_an_answer_when_the_peer_ends_there() {
        for (bytes, status) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], Some(200)),
            (b"HTTP/1.1 500 X\nContent-Le", Some(500)),
            (b"HTTP/1.1 200", None),
            (b"HTTP/1.1 100 Continue\r\n", None),
            (b"HTTP/1.1 100 Continue\r\n\r\n", None),
        ] {
            let mut reader = Reader::default();
            assert_eq!(reader.take(bytes), Ok(None));
            assert_eq!(reader.end().map(|head| head.status), status);
        }
    }
}
