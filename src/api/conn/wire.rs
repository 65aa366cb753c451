//! The socket under hyper: notes progress, and puts hyper's own refusals into the envelope.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::answer;
use super::watch::Watch;
use crate::api::envelope::ApiError;

/// Bytes that are kept of what was read last, for the words about a request that cannot be read.
const NEWEST: usize = 256;

/// The most that is read and dropped after the last answer.
const DISCARD: usize = 1024 * 1024;

/// A client's socket.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    watch: Arc<Watch>,
    /// Our answer in place of hyper's, as far as it is not written yet.
    instead: Option<Bytes>,
    end: End,
    /// How the newest bytes began: the head of the request that hyper refuses, unless it came in pieces or behind another.
    newest: [u8; NEWEST],
    len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// Our side is shut; this much more is read, so that the peer gets the answer and not a reset.
    Draining(usize),
}

impl Wire {
    pub(super) fn new(stream: TcpStream, watch: Arc<Watch>) -> Self {
        Self { stream, watch, instead: None, end: End::Open, newest: [0; NEWEST], len: 0 }
    }

    fn keep(&mut self, read: &[u8]) {
        self.len = read.len().min(NEWEST);
        self.newest[..self.len].copy_from_slice(&read[..self.len]);
    }

    /// One attempt to send an answer of ours.
    pub(super) fn try_say(&self, error: ApiError) {
        let _ = self.stream.try_write(&answer::last_words(error));
    }

    /// Says that this is no HTTP, unless hyper has.
    pub(super) fn refuse_unless_refused(&self) {
        if self.instead.is_none() {
            self.try_say(answer::no_http());
        }
    }

    /// Has the system drop what the peer never took, which it would keep for minutes more.
    pub(super) fn forget_unsent(&self) {
        let _ = self.stream.set_zero_linger();
    }

    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.watch.wrote(&polled);
        polled
    }

    /// Writes our answer; says that all of hyper's was taken once ours has left.
    fn write_instead(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<io::Result<usize>> {
        while let Some(rest) = self.instead.as_mut().filter(|rest| !rest.is_empty()) {
            let written = Pin::new(&mut self.stream).poll_write(cx, rest);
            self.watch.wrote(&written);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => rest.advance(n),
            }
        }
        Poll::Ready(Ok(len))
    }

    #[cold]
    fn refuses(&mut self, head: &[u8]) -> bool {
        if self.instead.is_none()
            && let Some(error) = answer::for_refusal(head, self.newest.get(..self.len).unwrap_or_default())
        {
            self.instead = Some(answer::last_words(error));
            self.watch.body_left();
        }
        self.instead.is_some()
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let read = buf.filled().get(before..).unwrap_or_default();
        if !read.is_empty() {
            this.keep(read);
            this.watch.read();
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.watch.expects_write() && this.refuses(buf) {
            return this.write_instead(cx, buf.len());
        }
        let polled = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.wrote(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.watch.expects_write() && this.refuses(bufs.first().map_or(&[], |first| first)) {
            return this.write_instead(cx, bufs.iter().map(|buf| buf.len()).sum());
        }
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// A TCP stream has nothing to flush; hyper calls this when its own buffer is empty.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.end == End::Open {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.watch.leaves_unread() {
                return Poll::Ready(Ok(()));
            }
            this.watch.close();
            this.end = End::Draining(DISCARD);
        }
        let mut room = [0; 4096];
        while let End::Draining(left) = this.end {
            let mut buf = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf))?;
            match buf.filled().len() {
                0 => break,
                n => this.end = End::Draining(left.saturating_sub(n)),
            }
            if this.end == End::Draining(0) {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
