//! The process's long-running tasks in one set: each has a name, none is detached, and they stop in stages.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Tasks stop in this order: requests, probes, writes to the cluster, the Lease (released after the last write), and finally the
/// store that all of them write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ShutdownStage {
    Serving,
    Probing,
    Reporting,
    Leading,
    Storing,
}

impl ShutdownStage {
    const ALL: [Self; 5] = [Self::Serving, Self::Probing, Self::Reporting, Self::Leading, Self::Storing];
}

/// How much of a shutdown's time the first stage may take. The prober then needs up to two seconds, the store the rest.
pub(super) fn grace(limit: Duration) -> Duration {
    limit.saturating_sub((limit / 2).min(Duration::from_secs(3)))
}

/// Why the process ends unexpectedly, or not in order.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A task failed.
    #[error("{name} failed: {why}")]
    Failed {
        /// The task.
        name: &'static str,
        /// Its error.
        why: String,
    },
    /// A task panicked.
    #[error("{name} panicked; this is a bug in Portolan, see the log for the location")]
    Panicked {
        /// The task.
        name: &'static str,
    },
    /// A task returned although the process should go on.
    #[error("{name} ended unexpectedly")]
    Ended {
        /// The task.
        name: &'static str,
    },
    /// Tasks that did not stop in time.
    #[error("{} did not stop within {} s; everything acknowledged is safe in the store", .names.join(", "), .limit.as_secs_f32())]
    Late {
        /// The tasks.
        names: Vec<&'static str>,
        /// The time they had.
        limit: Duration,
    },
}

pub(super) struct Tasks {
    set: JoinSet<Result<(), String>>,
    running: HashMap<Id, (ShutdownStage, &'static str)>,
    stops: HashMap<&'static str, (ShutdownStage, CancellationToken)>,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self { set: JoinSet::new(), running: HashMap::new(), stops: HashMap::new() }
    }

    /// Starts a task on the caller's runtime. `make` gets the token that tells it to stop.
    pub(super) fn start<F, E>(
        &mut self,
        stage: ShutdownStage,
        name: &'static str,
        make: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + 'static,
    {
        self.start_on(&Handle::current(), stage, name, make);
    }

    /// Starts a task on another runtime, which must outlive the set. Whatever the task spawns runs there too.
    pub(super) fn start_on<F, E>(
        &mut self,
        runtime: &Handle,
        stage: ShutdownStage,
        name: &'static str,
        make: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + 'static,
    {
        let stop = CancellationToken::new();
        let task = self.set.spawn_on(with_error_text(make(stop.clone())), runtime);
        self.running.insert(task.id(), (stage, name));
        self.stops.insert(name, (stage, stop));
    }

    /// Waits until a task ends that was not asked to stop.
    pub(super) async fn unexpected_end(&mut self) -> TaskError {
        match self.next().await {
            Some((name, Ok(()))) => TaskError::Ended { name },
            Some((_, Err(error))) => error,
            None => std::future::pending().await,
        }
    }

    /// Stops one stage after the other and waits for each, for `limit` in total.
    pub(super) async fn stop(mut self, limit: Duration) -> Result<(), TaskError> {
        let deadline = Instant::now() + limit;
        let mut first_error = None;
        for stage in ShutdownStage::ALL {
            self.stops.values().filter(|(of, _)| *of == stage).for_each(|(_, stop)| stop.cancel());
            while self.running.values().any(|(of, _)| *of == stage) {
                match timeout_at(deadline, self.next()).await {
                    Ok(Some((_, Ok(())))) => {}
                    Ok(Some((_, Err(error)))) => first_error = first_error.or(Some(error)),
                    Ok(None) => break,
                    Err(_) => return Err(self.late(limit)),
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    fn late(&self, limit: Duration) -> TaskError {
        let mut names: Vec<_> = self.running.values().map(|(_, name)| *name).collect();
        names.sort_unstable();
        TaskError::Late { names, limit }
    }

    async fn next(&mut self) -> Option<(&'static str, Result<(), TaskError>)> {
        let ended = self.set.join_next_with_id().await?;
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let name = self.running.remove(&id).map_or("an unknown task", |(_, name)| name);
        let result = match ended {
            Ok((_, Ok(()))) => Ok(()),
            Ok((_, Err(why))) => Err(TaskError::Failed { name, why }),
            Err(_) => Err(TaskError::Panicked { name }),
        };
        Some((name, result))
    }
}

async fn with_error_text<E: Display>(task: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    task.await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_get_most_of_the_time_and_the_later_stages_the_rest() {
        let grace = |seconds| grace(Duration::from_secs(seconds)).as_millis();
        assert_eq!([grace(1), grace(4), grace(10), grace(600)], [500, 2000, 7000, 597_000]);
    }

    async fn until_stopped(stop: CancellationToken) -> Result<(), String> {
        stop.cancelled().await;
        Ok(())
    }

    #[tokio::test]
    async fn an_unexpected_end_names_the_task_and_the_reason() {
        let mut tasks = Tasks::new();
        tasks.start(ShutdownStage::Storing, "the writer", until_stopped);
        tasks.start(ShutdownStage::Serving, "the api", |_| async { Err::<(), _>("no more sockets") });
        assert_eq!(tasks.unexpected_end().await.to_string(), "the api failed: no more sockets");
        tasks.start(ShutdownStage::Probing, "the prober", |_| async { Ok::<(), String>(()) });
        assert_eq!(tasks.unexpected_end().await.to_string(), "the prober ended unexpectedly");
        tasks.stop(Duration::from_secs(5)).await.expect("the rest stops");
    }

    #[tokio::test]
    async fn stages_stop_in_order() {
        let (order, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = Tasks::new();
        let stages = [
            (ShutdownStage::Storing, "store"),
            (ShutdownStage::Leading, "elector"),
            (ShutdownStage::Serving, "api"),
            (ShutdownStage::Reporting, "status"),
            (ShutdownStage::Probing, "prober"),
        ];
        for (stage, name) in stages {
            let order = order.clone();
            tasks.start(stage, name, move |stop| async move {
                stop.cancelled().await;
                order.send(name).map_err(|error| error.to_string())
            });
        }
        tasks.stop(Duration::from_secs(5)).await.expect("all stop");
        let seen: Vec<_> = std::iter::from_fn(|| ended.try_recv().ok()).collect();
        assert_eq!(seen, ["api", "prober", "status", "elector", "store"]);
    }

    #[tokio::test]
    async fn a_task_that_does_not_stop_is_named() {
        let mut tasks = Tasks::new();
        tasks.start(ShutdownStage::Serving, "the api", |_| std::future::pending::<Result<(), String>>());
        let error = tasks.stop(Duration::from_millis(50)).await.expect_err("it is late");
        assert!(error.to_string().starts_with("the api did not stop within 0.05 s"), "{error}");
    }
}
