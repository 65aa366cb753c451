//! The TLS handshake of a connection, in the connection's own task and with its place in the limits.

use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::task::Poll;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use super::transport::Transport;
use super::{ConnSettings, REFUSAL_TIME, refusals, send_refusal};
use crate::api::tls::{Loaded, Peer, ServerTls};
use crate::telemetry::metrics::Metrics;

/// Bytes that TLS may hold back from a slow reader. More would hide for too long that the reader takes them: see
/// [`ConnSettings::write_rate`](super::ConnSettings::write_rate).
const WRITE_BUFFER: usize = 32 * 1024;
/// First byte of a TLS connection: a record with a handshake message ([RFC 8446 §5.1](https://www.rfc-editor.org/rfc/rfc8446#section-5.1)).
const HANDSHAKE: u8 = 22;

/// Opens the connection; none if it is over.
pub(super) async fn open(
    stream: TcpStream,
    tls: &ServerTls,
    activity: &Activity,
    (settings, metrics, drain): (&ConnSettings, &Metrics, &CancellationToken),
) -> Option<(Transport, Option<Peer>)> {
    let ends = Instant::now() + settings.head;
    let opening = async {
        let Ok(first) = timeout_at(ends, first_byte(&stream)).await else {
            metrics.reject("silent_connection");
            return None;
        };
        match first? {
            HANDSHAKE => {}
            other => {
                refuse_plain(stream, other, metrics).await;
                return None;
            }
        }
        let loaded = tls.current();
        let Ok(shaken) = timeout_at(ends, shake(stream, &loaded)).await else {
            metrics.reject("slow_handshake");
            return None;
        };
        match shaken {
            Ok(stream) => {
                let chain = stream.get_ref().1.peer_certificates();
                let peer = chain.and_then(|chain| Peer::verified(chain, &loaded, tls));
                Some((Transport::Tls(Box::new(stream)), peer))
            }
            Err((error, stream)) => {
                metrics.reject("tls_handshake");
                tracing::debug!("a TLS handshake failed: {error}");
                // Closing at once would reset the connection, and the client would not get the alert.
                let _ = tokio::time::timeout(REFUSAL_TIME, linger(stream)).await;
                None
            }
        }
    };
    tokio::select! {
        biased;
        opened = opening => opened,
        () = evicted(activity) => None,
        () = drain.cancelled() => None,
    }
}

/// None if the client closes before.
async fn first_byte(stream: &TcpStream) -> Option<u8> {
    let mut first = [0];
    let read = stream.peek(&mut first).await;
    read.is_ok_and(|read| read > 0).then_some(first[0])
}

/// Answers plain HTTP with a sentence, and anything else not at all.
async fn refuse_plain(stream: TcpStream, first: u8, metrics: &Metrics) {
    // Every method of HTTP begins with a capital letter.
    if first.is_ascii_uppercase() {
        metrics.reject("plain_http");
        send_refusal(stream, refusals::plain_http()).await;
    } else {
        metrics.reject("tls_handshake");
    }
}

fn shake(
    stream: TcpStream,
    loaded: &Loaded,
) -> impl Future<Output = Result<TlsStream<TcpStream>, (io::Error, TcpStream)>> {
    let acceptor = TlsAcceptor::from(Arc::clone(&loaded.config));
    acceptor.accept_with(stream, |session| session.set_buffer_limit(Some(WRITE_BUFFER))).into_fallible()
}

async fn linger(mut stream: TcpStream) -> io::Result<()> {
    tokio::io::AsyncWriteExt::shutdown(&mut stream).await?;
    super::discard(&mut stream).await
}

async fn evicted(activity: &Activity) {
    poll_fn(|cx| {
        activity.register(cx.waker());
        if activity.is_evicted() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
