//! The http check: one request on a connection of its own; the status decides.
//!
//! The answer is read while the request is still being written, and a reset after a whole head changes nothing: the verdict stands once the
//! head is read. The body is then drained for a moment, so that an ordinary server finishes its answer undisturbed; a body that drips or
//! never ends changes nothing. Only a check that wants something of the body waits for it: it is kept up to 64 KiB, read, and dropped.
//! Where only the version is wanted, the verdict still stands before.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::http_body::{Collector, Progress};
use super::http_response::{Framing, Head, NoAnswer, Reader};
use super::identity::{judge_body, judge_headers};
use super::tls::errors::{broken_io, closed};
use super::trace::{Ending, Trace};
use crate::model::check::{Demands, wanted_statuses};
use crate::model::outcome::{Reason, Stage, Verdict};
use crate::model::request_options::{Method, RequestOptions};
use crate::model::url::{Host, Redacted};

/// The User-Agent header.
pub(crate) const AGENT: &str = concat!("portolan/", env!("CARGO_PKG_VERSION"));
/// Size of a read, in bytes.
const PIECE: usize = 4 * 1024;
/// Most bytes of a body that are drained.
const MAX_BODY: u64 = 512 * 1024;
/// How long a body is drained.
const DRAIN: Duration = Duration::from_millis(250);
/// How long to wait for the peer's FIN after its last byte. It was asked to close first, which spares us a port in TIME_WAIT.
const LAST: Duration = Duration::from_millis(20);

/// What is requested, and what passes.
pub(crate) struct Check<'a> {
    pub(crate) host: &'a Host,
    pub(crate) port: u16,
    pub(crate) target: &'a str,
    pub(crate) request_options: Option<&'a RequestOptions>,
    pub(crate) secure: bool,
    pub(crate) expected: &'a [u16],
    pub(crate) demands: Option<&'a Demands>,
}

/// Sends the request on an open connection and leaves the judgement in the trace.
pub(crate) async fn probe<S>(stream: &mut S, check: &Check<'_>, trace: &mut Trace)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    trace.enter(Stage::Request);
    let Some(request) = check.request() else {
        let message = "the health URL's path cannot be written into an HTTP request; percent-encode it";
        return trace.judge(Ending::fail(Reason::ProtocolError, message));
    };
    let wanted = check.demands.map(|demands| demands.identity.header.keys().cloned().collect()).unwrap_or_default();
    let mut exchange = Exchange { stream, request: &request, piece: vec![0; PIECE] };
    match exchange.head(Reader::wanting(wanted)).await {
        Ok((head, rest, headers)) => {
            trace.enter(Stage::Status);
            let mut left = check.body(&head);
            left.took(&exchange.piece[rest..]);
            exchange.judge(check, (&head, rest, &headers), &mut left, trace).await;
            // The verdict stands, however this ends.
            drop(timeout(DRAIN, exchange.drain(left)).await);
        }
        Err(mut ending) => {
            if !check.secure && ending.reason == Reason::ConnectionReset {
                // Many servers with TLS do this to a plain request.
                ending.message.push_str("; does it want https?");
            }
            trace.judge(ending);
        }
    }
}

/// One request and its answer.
struct Exchange<'a, S> {
    stream: &'a mut S,
    /// The rest that is not written yet.
    request: &'a [u8],
    /// The bytes read last.
    piece: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Reads up to the end of the final head. From the returned position on, `piece` belongs to the body. The lines of wanted headers
    /// follow.
    async fn head(&mut self, mut reader: Reader) -> Result<(Head, usize, Vec<(String, String)>), Ending> {
        loop {
            if self.read_or_end().await? == 0 {
                self.piece.clear();
                let head = reader.end().ok_or_else(closed)?;
                return Ok((head, 0, reader.into_kept()));
            }
            if let Some((head, rest)) = reader.take(&self.piece).map_err(no_answer)? {
                return Ok((head, rest, reader.into_kept()));
            }
        }
    }

    /// Reads; 0 at the end, also at that of TLS without close_notify.
    async fn read_or_end(&mut self) -> Result<usize, Ending> {
        match self.read().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            read => read.map_err(|error| broken_io(&error)),
        }
    }

    /// Judges the answer: its status, and what the check demands besides.
    async fn judge(
        &mut self,
        check: &Check<'_>,
        (head, rest, headers): (&Head, usize, &[(String, String)]),
        left: &mut Body,
        trace: &mut Trace,
    ) {
        let mut ending = check.judge(head.status);
        let demands = check.demands.filter(|_| ending.verdict == Verdict::Pass);
        let Some(demands) = demands else { return trace.judge(ending) };
        let code = head.status;
        if let Some(wrong) = judge_headers(demands, headers) {
            ending = wrong.with_code(code);
        } else if demands.reads_body() {
            if demands.identity.json.is_empty() {
                // The body decides nothing, so this stands even if it never ends.
                trace.judge(ending.clone());
            }
            // Unlike draining, this may take all the time that the probe has.
            let body = self.collect(left.framing, rest, left).await;
            match judge_body(demands, &body) {
                Ok(version) => trace.report_version(version),
                Err(wrong) => ending = wrong.with_code(code),
            }
        }
        trace.judge(ending);
    }

    /// Reads the body, of which `piece` has the beginning from `rest` on.
    async fn collect(&mut self, framing: Framing, rest: usize, left: &mut Body) -> Collector {
        let mut body = Collector::new(framing);
        body.take(self.piece.get(rest..).unwrap_or_default());
        while body.progress() == Progress::More {
            if self.read_or_end().await.unwrap_or(0) > 0 {
                left.took(&self.piece);
                body.take(&self.piece);
            } else {
                body.end();
            }
        }
        body
    }

    /// Reads into `piece` while writing what is left of the request. A write that fails is not a verdict: a peer that has answered may
    /// already be gone.
    async fn read(&mut self) -> io::Result<usize> {
        self.piece.resize(PIECE, 0);
        let read = poll_fn(|cx| {
            self.write(cx);
            let mut buffer = ReadBuf::new(&mut self.piece);
            ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut buffer))?;
            Poll::Ready(io::Result::Ok(buffer.filled().len()))
        })
        .await?;
        self.piece.truncate(read);
        Ok(read)
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        while !self.request.is_empty() {
            match Pin::new(&mut *self.stream).poll_write(cx, self.request) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    self.request = self.request.get(written..).unwrap_or_default();
                }
                Poll::Ready(_) => self.request = &[],
                Poll::Pending => return,
            }
        }
        // Under TLS, something may wait for this.
        let _ = Pin::new(&mut *self.stream).poll_flush(cx);
    }

    /// Drains the body, and then waits a moment for the peer to close.
    async fn drain(&mut self, mut left: Body) -> io::Result<()> {
        while !left.ended() {
            self.piece.resize(PIECE * 4, 0);
            let read = self.stream.read(&mut self.piece).await?;
            if read == 0 {
                return Ok(());
            }
            left.took(&self.piece[..read]);
        }
        // Whatever it still sends does not matter.
        drop(timeout(LAST, self.stream.read(&mut self.piece)).await);
        Ok(())
    }
}

/// A body being drained.
struct Body {
    framing: Framing,
    taken: u64,
    last_chunk: bool,
}

impl Body {
    fn took(&mut self, bytes: &[u8]) {
        self.taken += bytes.len() as u64;
        // A piece that happens to look like the last chunk only ends the wait early.
        self.last_chunk |= bytes.ends_with(b"0\r\n\r\n");
    }

    fn ended(&self) -> bool {
        let all = match self.framing {
            Framing::Length(length) => self.taken >= length,
            Framing::Chunked => self.last_chunk,
            Framing::Close => false,
        };
        all || self.taken >= MAX_BODY
    }
}

fn no_answer(why: NoAnswer) -> Ending {
    let message = match why {
        NoAnswer::Http2 => {
            "the server speaks HTTP/2 on this port, as gRPC servers do; use a grpc check, or its HTTP/1.1 port"
        }
        NoAnswer::Tls => "the server wants TLS on this port; use https",
        NoAnswer::Other => "the answer is not HTTP/1.1; does something else listen on this port?",
        NoAnswer::TooLong => "the head of the answer does not end within 128 KiB",
    };
    Ending::fail(Reason::ProtocolError, message)
}

impl Check<'_> {
    fn request(&self) -> Option<Vec<u8>> {
        if !self.target.bytes().all(|b| b > b' ' && b != 0x7f) {
            return None;
        }
        let mut text = String::with_capacity(256);
        let headers = self.request_options.map(|options| &options.headers);
        let given = |name: &str| headers.is_some_and(|headers| headers.contains_key(name));
        for part in [self.method().as_str(), " ", self.target, " HTTP/1.1\r\nhost: "] {
            text.push_str(part);
        }
        self.authority(&mut text);
        text.push_str("\r\n");
        let own = [("user-agent", AGENT), ("accept", "*/*")].into_iter().filter(|(name, _)| !given(name));
        let more = headers.into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(more) {
            for part in [name, ": ", value, "\r\n"] {
                text.push_str(part);
            }
        }
        text.push_str("connection: close\r\n\r\n");
        Some(text.into_bytes())
    }

    fn method(&self) -> Method {
        self.request_options.map_or_else(Method::default, |options| options.method)
    }

    /// The Host header: the manifest's, else the URL's host, with the port only where it is not the scheme's own.
    fn authority(&self, text: &mut String) {
        if let Some(host) = self.request_options.and_then(|options| options.host.as_ref()) {
            return text.push_str(host);
        }
        let usual = if self.secure { 443 } else { 80 };
        match self.host {
            Host::Name(name) => text.push_str(name),
            Host::Ip(_) => text.push_str(&self.host.to_string()),
        }
        if self.port != usual {
            text.push(':');
            text.push_str(itoa::Buffer::new().format(self.port));
        }
    }

    /// The body that follows a head.
    fn body(&self, head: &Head) -> Body {
        let none = self.method() == Method::Head || matches!(head.status, 204 | 304);
        let framing = if none { Framing::Length(0) } else { head.framing };
        Body { framing, taken: 0, last_chunk: false }
    }

    fn judge(&self, code: u16) -> Ending {
        let passes = if self.expected.is_empty() { (200..=299).contains(&code) } else { self.expected.contains(&code) };
        if passes {
            return Ending::pass(Some(code), ["status ", itoa::Buffer::new().format(code)].concat());
        }
        let wanted = wanted_statuses(self.expected);
        let message = format!("status {code}, expected {wanted}{}: {self}", hint(code));
        Ending::fail(Reason::UnexpectedStatus, message).with_code(code)
    }
}

/// What an unexpected status means, and what helps.
fn hint(code: u16) -> &'static str {
    match code {
        // A proxy or WebSocket server answers a plain request like this.
        101 => " (the server changed the protocol; probe a page of plain HTTP)",
        300..=303 | 305..=308 => " (redirects are not followed; name the page itself)",
        304 => " (not modified, although the request had no condition; let 304 pass if this is intended)",
        401 | 407 => " (it wants a login; probe a page that needs none)",
        403 => " (access is refused; probe a page that is open to this server)",
        404 | 410 => " (there is no such page; is the path right?)",
        405 => " (the method is not allowed there)",
        429 => " (the server limits how often it is asked; probe less often)",
        _ => "",
    }
}

impl std::fmt::Display for Check<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        let method = self.method().as_str();
        write!(f, "{method} {scheme}://{}:{}{}", self.host, self.port, Redacted(self.target))
    }
}
