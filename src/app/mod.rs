//! Wires the parts, line by line in the order of the picture in `lib.rs`, and runs them until the process is to end.

mod base;
mod cluster;
mod component_status;
mod descriptors;
mod parts;
mod probing;
mod readiness;
mod reload;
mod tasks;

use std::net::SocketAddr;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{BoxStream, pending};
use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

use crate::api::access::SecretsError;
use crate::api::conn::ConnError;
use crate::config::{Mode, NotWatched, Settings};
use crate::model::ports::AlwaysLeads;
use crate::operator::kubernetes::client::ClientError;
use crate::operator::replicas::pass_on::LeaderLineError;
use crate::store::OpenError;
use base::{Base, Plugs};
use component_status::{EventReporter, LocalWords, Words};
use readiness::PartsReadiness;
use tasks::{Stage, Tasks};

pub use tasks::TaskError;

/// Why the server did not start, or did not end well. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {why}; {hint}")]
    Listen {
        /// As set.
        address: SocketAddr,
        /// The system's word.
        why: std::io::Error,
        /// What helps.
        hint: &'static str,
    },
    /// The system gives no more threads.
    #[error(
        "cannot start the threads that probe: {0}; raise the limit of processes (ulimit -u, or the pod's pids limit)"
    )]
    Threads(std::io::Error),
    /// The listening socket broke.
    #[error(transparent)]
    Connections(#[from] ConnError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The secrets cannot be used.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// There is no Kubernetes API to ask.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Registrations would go where nobody looks.
    #[error(transparent)]
    NotWatched(#[from] NotWatched),
    /// The leader cannot be asked.
    #[error(transparent)]
    LeaderLine(#[from] LeaderLineError),
    /// A part ended.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// What a caller of [`run`] chooses besides the settings.
pub struct Surroundings {
    /// Cancelled when the server is to stop.
    pub shutdown: CancellationToken,
    /// Each item asks the server to read its secrets again at once.
    pub reload: BoxStream<'static, ()>,
    /// Where access lines go.
    pub access_log: Option<Box<dyn std::io::Write + Send>>,
    /// Counts the lines that the process's log drops.
    pub log_dropped: Counter,
}

impl Surroundings {
    /// Of a server inside another program, which keeps no log of it.
    pub fn without_log(shutdown: CancellationToken) -> Self {
        Self { shutdown, reload: pending().boxed(), access_log: None, log_dropped: Counter::default() }
    }
}

/// Starts everything, calls `ready` with the address that is listened on, and runs until `shutdown`, then stops in order.
///
/// # Errors
/// [`AppError`] when a part cannot start, ends by itself, or does not stop within `SHUTDOWN_SECONDS`.
pub async fn run(settings: Settings, around: Surroundings, ready: impl FnOnce(SocketAddr)) -> Result<(), AppError> {
    match settings.mode.clone() {
        Mode::Standalone => Box::pin(standalone(Base::new(settings, around)?, ready)).await,
        Mode::Cluster(told) => Box::pin(cluster::run(Base::new(settings, around)?, &told, ready)).await,
    }
}

/// The store is the record, and this process does everything.
async fn standalone(mut base: Base, ready: impl FnOnce(SocketAddr)) -> Result<(), AppError> {
    let policy = parts::policy(&base.settings, base.address);
    let engine = base.engine(None, policy.clone(), Arc::new(AlwaysLeads))?;
    let words = LocalWords::new(engine.store.clone(), Arc::clone(engine.probing.status()), base.shutdown.clone());
    let words: Arc<dyn Words> = Arc::new(words);
    let teller = EventReporter::new(Arc::clone(&words), base.shutdown.clone());
    let plugs = Plugs {
        registrar: Arc::new(engine.store.clone()),
        addresses: Arc::new(policy),
        readiness: Arc::new(PartsReadiness(words)),
        freshness: None,
        pass_on: None,
        told: teller.hear(),
        default_namespace: base.settings.default_namespace.clone().unwrap_or_default(),
    };
    let api = base.api(&engine, plugs);
    let mut tasks = Tasks::new();
    engine.start(&mut tasks, &base.probing);
    tasks.start(Stage::Serving, "the teller", |stop| teller.run(stop));
    base.announce();
    base.serve(api, tasks, ready).await
}
