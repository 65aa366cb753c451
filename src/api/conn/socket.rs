//! The socket under hyper: records progress, and replaces hyper's own refusals with answers in the envelope.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::refusals;
use super::transport::Transport;
use crate::api::http::envelope::ApiError;

/// Bytes that are kept of the newest read, for the message about a request that cannot be parsed.
const RECENT: usize = 256;

/// The most that is read and dropped after the last answer.
const DISCARD: usize = 1024 * 1024;

/// A client's socket.
#[derive(Debug)]
pub(super) struct ClientSocket {
    stream: Transport,
    activity: Arc<Activity>,
    /// What is left to write of our answer in place of hyper's.
    replacement: Option<Bytes>,
    end: End,
    /// The first bytes of the newest read: the head of the request that hyper refuses, unless it arrived in pieces or after another.
    recent: [u8; RECENT],
    len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// Our side is shut down; this many bytes more are read, so that the peer gets the answer and not a reset.
    Draining(usize),
}

impl ClientSocket {
    pub(super) fn new(stream: Transport, activity: Arc<Activity>) -> Self {
        Self { stream, activity, replacement: None, end: End::Open, recent: [0; RECENT], len: 0 }
    }

    fn keep(&mut self, read: &[u8]) {
        self.len = read.len().min(RECENT);
        self.recent[..self.len].copy_from_slice(&read[..self.len]);
    }

    /// One attempt to send an answer of ours.
    pub(super) fn try_send(&mut self, error: ApiError) {
        self.stream.try_send(&refusals::raw_response(error));
    }

    /// Answers that this is not HTTP, unless hyper has answered.
    pub(super) fn refuse_unless_refused(&mut self) {
        if self.replacement.is_none() {
            self.try_send(refusals::not_http());
        }
    }

    /// Has the system drop what the peer did not read, which it would keep for minutes.
    pub(super) fn discard_unsent(&self) {
        let _ = self.stream.tcp().set_zero_linger();
    }

    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.wrote(&polled);
        polled
    }

    /// Writes our answer; reports hyper's as written once ours is.
    fn write_replacement(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<io::Result<usize>> {
        while let Some(rest) = self.replacement.as_mut().filter(|rest| !rest.is_empty()) {
            let written = Pin::new(&mut self.stream).poll_write(cx, rest);
            self.activity.wrote(&written);
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => rest.advance(n),
            }
        }
        Poll::Ready(Ok(len))
    }

    #[cold]
    fn refuses(&mut self, head: &[u8]) -> bool {
        if self.replacement.is_none()
            && let Some(error) = refusals::for_refusal(head, self.recent.get(..self.len).unwrap_or_default())
        {
            self.replacement = Some(refusals::raw_response(error));
            self.activity.body_left();
        }
        self.replacement.is_some()
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let read = buf.filled().get(before..).unwrap_or_default();
        if !read.is_empty() {
            this.keep(read);
            this.activity.read();
        }
        polled
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.activity.expects_write() && this.refuses(buf) {
            return this.write_replacement(cx, buf.len());
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
        if !this.activity.expects_write() && this.refuses(bufs.first().map_or(&[], |first| first)) {
            return this.write_replacement(cx, bufs.iter().map(|buf| buf.len()).sum());
        }
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper calls this when its own buffer is empty.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Transport::Tls(stream) = &mut this.stream {
            let flushed = Pin::new(stream).poll_flush(cx);
            this.activity.held_back(flushed.is_pending());
            ready!(flushed)?;
        }
        this.activity.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.end == End::Open {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.activity.leaves_unread() {
                return Poll::Ready(Ok(()));
            }
            this.activity.close();
            this.end = End::Draining(DISCARD);
        }
        let mut room = [0; 4096];
        while let End::Draining(left) = this.end {
            let mut buf = ReadBuf::new(&mut room);
            // Below TLS: what is dropped need not be decrypted.
            ready!(Pin::new(this.stream.tcp_mut()).poll_read(cx, &mut buf))?;
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
