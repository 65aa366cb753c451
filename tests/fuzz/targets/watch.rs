//! A hostile server's watch: the console reports the problem, and neither panics nor hangs.

use std::sync::{Arc, OnceLock};

use portolan::console::source::api::ApiSource;
use portolan::console::source::{EVENT_QUEUE, Link, Source as _, SourceEvent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::http::show;
use super::server_client::To;
use super::{AMPLE, runtime};

/// One for all inputs: reading the system's certificates takes longer than an input.
fn client() -> reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| portolan::crypto::http_client().no_proxy().build().expect("a client")).clone()
}

/// The bytes are an event stream, which ends with its connection.
pub(crate) fn stream(data: &[u8]) {
    runtime().block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let to = Arc::new(To(listener.local_addr().expect("an address"), client()));
        let ((news, mut receiver), (_asks, asked)) = (mpsc::channel(EVENT_QUEUE), mpsc::channel(1));
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            drop(stream.read(&mut [0; 4096]).await);
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
            drop(stream.write_all(&[head, data].concat()).await);
            drop(stream.shutdown().await);
            // A reset would overtake what is not read yet.
            while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
        };
        let source = Box::new(ApiSource::new(to)).run(news, asked, CancellationToken::new());
        let listen = async {
            while let Some(news) = receiver.recv().await {
                if let SourceEvent::Link(Link::Lost { why, .. }) = news {
                    assert!(!why.is_empty() && !why.contains(char::is_control), "{why:?}");
                    return;
                }
            }
        };
        let all = async {
            tokio::select! {
                () = listen => {}
                () = source => panic!("a source does not end by itself"),
                () = async { server.await; std::future::pending().await } => {}
            }
        };
        timeout(AMPLE, all).await.unwrap_or_else(|_| panic!("the console hangs on {}", show(data)));
    });
}
