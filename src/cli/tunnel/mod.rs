//! The way to a server inside a cluster: a port-forward of our own, which heals.
//!
//! Requests go over a Unix socket that nobody else can reach. Each connection there becomes one forwarded stream to a ready pod of
//! Portolan, through the Kubernetes API and with the rights of a context of the kubeconfig file. A stream that breaks ends its connection;
//! the next connection finds a ready pod anew, another one if there is.

mod carry;
mod pods;
mod socket;
mod trouble;
mod way;

use std::path::Path;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::exit::Failure;
use crate::model::name::Namespace;
use carry::carry;
use socket::Socket;
use trouble::Trouble;
use way::{Forward, Way};

/// Connections at once. The console has 16 requests and a watch under way at most; what is more waits.
const CONNECTIONS: usize = 32;
/// Time between two looks at whether the pods in use are still ready.
const LOOK: Duration = Duration::from_secs(5);
/// Pause where the system gives no further file descriptor.
const PAUSE: Duration = Duration::from_millis(100);

/// A running one. Its end ends every connection, and leaves nothing behind.
#[derive(Debug)]
pub(super) struct Tunnel {
    context: String,
    way: Way,
    socket: Socket,
    _tasks: JoinSet<()>,
}

impl Tunnel {
    /// Opens the way to a ready pod in `namespace` of the cluster that `context` of the kubeconfig file names, within `longest`.
    ///
    /// # Errors
    /// A [`Failure`] that says what is missing: the context, a right, a ready pod, an answer.
    pub(super) async fn open(context: &str, namespace: &Namespace, longest: Duration) -> Result<Self, Failure> {
        let opening = async {
            let way = Way::find(context, namespace).await?;
            // Whether it may be taken is known only once it is.
            let first = way.first().await?;
            Ok((way, first))
        };
        let opened = timeout(longest, opening).await.unwrap_or_else(|_| Err(Trouble::late(longest)));
        let (way, first) = opened.map_err(|trouble| trouble.failure(context, namespace))?;
        let (socket, listener) = Socket::bind()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, way.clone(), first));
        tasks.spawn(look(way.clone()));
        Ok(Self { context: context.to_owned(), way, socket, _tasks: tasks })
    }

    /// Where requests go.
    pub(super) fn path(&self) -> &Path {
        self.socket.path()
    }

    /// Why the last connection broke; none while the newest one works.
    pub(super) fn trouble(&self) -> Option<Failure> {
        let trouble = self.way.trouble()?;
        Some(trouble.failure(&self.context, self.way.namespace()))
    }
}

/// Carries each connection, a bounded number at once.
async fn serve(listener: UnixListener, way: Way, first: Forward) {
    let mut first = Some(first);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((client, _)) => {
                    connections.spawn(carry(client, way.clone(), first.take()));
                }
                Err(_) => sleep(PAUSE).await,
            },
        }
    }
}

/// Looks at the pods now and then while there are streams, which end when theirs is no longer ready and another is.
async fn look(way: Way) {
    let mut ticks = interval_at(Instant::now() + LOOK, LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if way.is_used() {
            way.look().await;
        }
    }
}
