//! Our own port-forward to a server inside a cluster, which reconnects.
//!
//! In: connections to a Unix socket that nobody else can reach. Out: for each one a forwarded stream to a ready pod of Portolan, through the
//! Kubernetes API and with the rights of a context of the kubeconfig file. When a stream breaks, its connection ends; the next connection
//! looks for a ready pod again, preferably another one. In order:
//!
//! - this file: the tunnel, from its opening to its end
//! - [`pods`]: which pods are ready
//! - [`pod_forwarder`]: from a context to a stream into a pod
//! - [`mod@relay`]: one connection and its stream
//! - [`socket`]: the Unix socket
//! - [`error`]: what went wrong, and what to do about it

mod error;
mod pod_forwarder;
mod pods;
mod relay;
mod socket;

use std::path::Path;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::exit::Failure;
use crate::model::name::Namespace;
use error::TunnelError;
use pod_forwarder::{Forward, PodForwarder};
use relay::relay;
use socket::Socket;

/// Most connections at once; more wait. The console has at most 16 requests and a watch open.
const MAX_CONNECTIONS: usize = 32;
/// How often the pods in use are checked for readiness.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// Pause after a connection could not be accepted, usually for lack of a file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running tunnel. Dropping it ends every connection and leaves nothing behind.
#[derive(Debug)]
pub(super) struct Tunnel {
    context: String,
    forwarder: PodForwarder,
    socket: Socket,
    _tasks: JoinSet<()>,
}

impl Tunnel {
    /// Opens a stream to a ready pod in `namespace` of the cluster that `context` of the kubeconfig file names, within `longest`.
    ///
    /// # Errors
    /// A [`Failure`] that says what is missing: the context, a right, a ready pod, an answer.
    pub(super) async fn open(context: &str, namespace: &Namespace, longest: Duration) -> Result<Self, Failure> {
        let opening = async {
            let forwarder = PodForwarder::find(context, namespace).await?;
            // Only an attempt shows whether this user may forward.
            let first = forwarder.open_first().await?;
            Ok((forwarder, first))
        };
        let opened = timeout(longest, opening).await.unwrap_or_else(|_| Err(TunnelError::late(longest)));
        let (forwarder, first) = opened.map_err(|error| error.failure(context, namespace))?;
        let (socket, listener) = Socket::bind()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, forwarder.clone(), first));
        tasks.spawn(refresh(forwarder.clone()));
        Ok(Self { context: context.to_owned(), forwarder, socket, _tasks: tasks })
    }

    /// The socket that requests go to.
    pub(super) fn path(&self) -> &Path {
        self.socket.path()
    }

    /// Why the last connection broke; none while the newest one works.
    pub(super) fn error(&self) -> Option<Failure> {
        let error = self.forwarder.error()?;
        Some(error.failure(&self.context, self.forwarder.namespace()))
    }
}

/// Relays each connection, a bounded number at once.
async fn serve(listener: UnixListener, forwarder: PodForwarder, first: Forward) {
    let mut first = Some(first);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((client, _)) => {
                    connections.spawn(relay(client, forwarder.clone(), first.take()));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

/// Lists the pods regularly while there are streams; a stream ends when its pod is no longer ready and another is.
async fn refresh(forwarder: PodForwarder) {
    let mut ticks = interval_at(Instant::now() + REFRESH_INTERVAL, REFRESH_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if forwarder.is_used() {
            forwarder.refresh().await;
        }
    }
}
