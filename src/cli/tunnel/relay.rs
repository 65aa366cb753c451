//! One connection: bytes from the socket into a pod and back.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::error::TunnelError;
use super::pod_forwarder::{Forward, PodForwarder};
use crate::model::text::escape;

/// How long to wait for the reason after a stream has ended.
const REASON_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the pod may take to notice that the connection ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How a connection ended.
enum End {
    /// Our side closed it.
    Client,
    /// The pod, its node or the Kubernetes API closed it; whether the pod had sent anything before.
    Pod { answered: bool },
    /// The pod is no longer ready, and another is.
    Unready,
}

/// Relays `client` until either side ends, over `ready` or else over a new stream. The forwarder learns of errors before the connection closes.
pub(super) async fn relay(mut client: UnixStream, forwarder: PodForwarder, ready: Option<Forward>) {
    let opened = match ready {
        Some(forward) => Ok(forward),
        None => forwarder.connect().await,
    };
    let mut forward = match opened {
        Ok(forward) => forward,
        Err(error) => return forwarder.set_error(error),
    };
    let end = pass(&mut client, &mut forward, &forwarder).await;
    let pod = escape(&forward.pod.name, 63);
    match end {
        End::Client => {
            // The stream's end tells the pod; the future of its error resolves when everything has ended.
            drop(forward.stream.shutdown().await);
            drop(timeout(CLOSE_TIMEOUT, &mut forward.error).await);
        }
        End::Pod { answered } => {
            let said = timeout(REASON_TIMEOUT, &mut forward.error).await.ok().flatten();
            forwarder.note_failure(&forward.pod.name).await;
            forwarder.set_error(if answered {
                TunnelError::Broke(pod)
            } else {
                TunnelError::unanswered(&forward.pod, said)
            });
        }
        End::Unready => forwarder.set_error(TunnelError::NoLongerReady(pod)),
    }
}

async fn pass(client: &mut UnixStream, forward: &mut Forward, forwarder: &PodForwarder) -> End {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_pod, mut to_pod) = split(&mut forward.stream);
    let mut ready = forwarder.ready();
    let pod = &forward.pod.name;
    let down = async {
        let mut first = vec![0; 16 * 1024];
        let read = from_pod.read(&mut first).await.unwrap_or(0);
        if read == 0 {
            return End::Pod { answered: false };
        }
        forwarder.clear_error();
        // Reading from memory does not fail, so a failure means that the client is gone.
        let copied = async {
            to_client.write_all(&first[..read]).await?;
            copy(&mut from_pod, &mut to_client).await
        };
        if copied.await.is_ok() { End::Pod { answered: true } } else { End::Client }
    };
    tokio::select! {
        // First, since a stream that ended accepts no bytes either.
        biased;
        end = down => end,
        _ = copy(&mut from_client, &mut to_pod) => End::Client,
        _ = ready.wait_for(|ready| !ready.is_empty() && !ready.contains(pod)) => End::Unready,
    }
}
