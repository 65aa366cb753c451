//! The process's long-running parts in one set: each has a name, none is detached, and they stop in stages.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Parts stop in this order: first no more requests, then no more probes, then no more writes to the cluster, whose Lease is given back
/// after them, and last what all write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Serving,
    Probing,
    Reporting,
    Leading,
    Storing,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Serving, Self::Probing, Self::Reporting, Self::Leading, Self::Storing];
}

/// What of a shutdown's time the first stage may take: the prober needs up to two seconds after it, and the store the rest.
pub(super) fn grace(limit: Duration) -> Duration {
    limit.saturating_sub((limit / 2).min(Duration::from_secs(3)))
}

/// Why the process ends although nobody asked it to, or not as it should.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A part failed.
    #[error("{name} failed: {why}")]
    Failed {
        /// The part.
        name: &'static str,
        /// What it said.
        why: String,
    },
    /// A part panicked.
    #[error("{name} panicked; this is a bug in Portolan, the log says where")]
    Panicked {
        /// The part.
        name: &'static str,
    },
    /// A part returned while the process was to go on.
    #[error("{name} ended by itself")]
    Ended {
        /// The part.
        name: &'static str,
    },
    /// Parts that did not stop in time.
    #[error("{} did not stop within {} s; what was acknowledged is safe in the store", .names.join(", "), .limit.as_secs_f32())]
    Late {
        /// The parts.
        names: Vec<&'static str>,
        /// The time that they had.
        limit: Duration,
    },
}

/// The set.
pub(super) struct Tasks {
    set: JoinSet<Result<(), String>>,
    running: HashMap<Id, (Stage, &'static str)>,
    stops: HashMap<&'static str, (Stage, CancellationToken)>,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self { set: JoinSet::new(), running: HashMap::new(), stops: HashMap::new() }
    }

    /// Starts a part on the runtime of the caller; `make` gets the token that asks it to stop.
    pub(super) fn start<F, E>(&mut self, stage: Stage, name: &'static str, make: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + 'static,
    {
        let stop = CancellationToken::new();
        let part = to_the_end(make(stop.clone()));
        let task = self.set.spawn(part);
        self.note(&task, stage, name, stop);
    }

    /// Starts a part on another runtime, which must outlive the set. What the part spawns runs there too.
    pub(super) fn start_on<F, E>(
        &mut self,
        runtime: &Handle,
        stage: Stage,
        name: &'static str,
        make: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + 'static,
    {
        let stop = CancellationToken::new();
        let part = to_the_end(make(stop.clone()));
        let task = self.set.spawn_on(part, runtime);
        self.note(&task, stage, name, stop);
    }

    fn note(&mut self, task: &AbortHandle, stage: Stage, name: &'static str, stop: CancellationToken) {
        self.running.insert(task.id(), (stage, name));
        self.stops.insert(name, (stage, stop));
    }

    /// Waits until a part ends though none was asked to.
    pub(super) async fn unexpected_end(&mut self) -> TaskError {
        match self.next().await {
            Some((name, Ok(()))) => TaskError::Ended { name },
            Some((_, Err(error))) => error,
            None => std::future::pending().await,
        }
    }

    /// Asks one stage after the other to stop and waits for each, `limit` in all.
    pub(super) async fn stop(mut self, limit: Duration) -> Result<(), TaskError> {
        let deadline = Instant::now() + limit;
        let mut first_error = None;
        for stage in Stage::ALL {
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
        let name = self.running.remove(&id).map_or("an unknown part", |(_, name)| name);
        let result = match ended {
            Ok((_, Ok(()))) => Ok(()),
            Ok((_, Err(why))) => Err(TaskError::Failed { name, why }),
            Err(_) => Err(TaskError::Panicked { name }),
        };
        Some((name, result))
    }
}

async fn to_the_end<E: Display>(part: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    part.await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_most_of_the_time_and_the_later_stages_some() {
        let grace = |seconds| grace(Duration::from_secs(seconds)).as_millis();
        assert_eq!([grace(1), grace(4), grace(10), grace(600)], [500, 2000, 7000, 597_000]);
    }

    async fn until_stopped(stop: CancellationToken) -> Result<(), String> {
        stop.cancelled().await;
        Ok(())
    }

    #[tokio::test]
    async fn an_unexpected_end_says_who_and_why() {
        let mut tasks = Tasks::new();
        tasks.start(Stage::Storing, "the writer", until_stopped);
        tasks.start(Stage::Serving, "the api", |_| async { Err::<(), _>("no more sockets") });
        assert_eq!(tasks.unexpected_end().await.to_string(), "the api failed: no more sockets");
        tasks.start(Stage::Probing, "the prober", |_| async { Ok::<(), String>(()) });
        assert_eq!(tasks.unexpected_end().await.to_string(), "the prober ended by itself");
        tasks.stop(Duration::from_secs(5)).await.expect("the rest stops");
    }

    #[tokio::test]
    async fn stages_stop_in_order() {
        let (order, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = Tasks::new();
        let parts = [
            (Stage::Storing, "store"),
            (Stage::Leading, "elector"),
            (Stage::Serving, "api"),
            (Stage::Reporting, "status"),
            (Stage::Probing, "prober"),
        ];
        for (stage, name) in parts {
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
    async fn a_part_that_does_not_stop_is_named() {
        let mut tasks = Tasks::new();
        tasks.start(Stage::Serving, "the api", |_| std::future::pending::<Result<(), String>>());
        let error = tasks.stop(Duration::from_millis(50)).await.expect_err("it is late");
        assert!(error.to_string().starts_with("the api did not stop within 0.05 s"), "{error}");
    }
}
