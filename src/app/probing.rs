//! The probing runtime: probes run on threads with a lower priority than all others, so that no answer waits for a probe.
//!
//! The two runtimes share only the catalog's feed, bounded channels and atomics. Whatever the prober starts (probes, lookups, reading CA
//! files, waiting for the store) runs here too, because a task on this runtime starts it.

use std::thread::available_parallelism;

use tokio::runtime::{Builder, Handle, Runtime};

use super::AppError;

/// The nice value of its threads. On a full machine a thread at 10 gets a tenth of the time of one at 0
/// ([sched(7)](https://man7.org/linux/man-pages/man7/sched.7.html)), plus whatever the others leave.
const NICE: i32 = 10;
/// Most threads for reading files, which is rare.
const BLOCKING_THREADS: usize = 4;

/// The runtime of the prober and the resolver. Dropping it ends its tasks without waiting for them.
#[derive(Debug)]
pub(super) struct ProbingRuntime {
    handle: Handle,
    /// `Some` until it is dropped.
    runtime: Option<Runtime>,
}

impl ProbingRuntime {
    /// Starts one thread per core.
    ///
    /// # Errors
    /// [`AppError::Threads`].
    pub(super) fn start() -> Result<Self, AppError> {
        let cores = available_parallelism().map_or(1, std::num::NonZero::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("probing")
            .on_thread_start(lower_priority)
            .enable_all()
            .build()
            .map_err(AppError::Threads)?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for ProbingRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Blocking is not allowed inside another runtime, and pointless: the prober has stopped, or did not stop in time.
            runtime.shutdown_background();
        }
    }
}

/// Lowers the calling thread's priority. On other systems than Linux this would affect the whole process.
fn lower_priority() {
    // A sandbox may forbid it; then all threads are equals.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICE);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, RwLock};
    use std::time::{Duration, Instant};

    use tokio::sync::oneshot;
    use tokio_util::sync::CancellationToken;

    use crate::app::startup::Startup;
    use crate::app::{AppError, RunOptions, TaskError, standalone};
    use crate::config::{ServeArgs, Settings};

    const AMPLE: Duration = Duration::from_mins(1);

    fn settings(folder: &tempfile::TempDir) -> Settings {
        let database = folder.path().join("services.db").into_os_string();
        let env = |name: &str| match name {
            "SERVER_PORT" => Some("0".into()),
            "DB_PATH" => Some(database.clone()),
            "PORTOLAN_SHUTDOWN_SECONDS" => Some("1".into()),
            _ => None,
        };
        Settings::load(&ServeArgs::default(), env).expect("settings")
    }

    #[expect(clippy::await_holding_lock, reason = "the lock keeps the probing threads busy")]
    #[tokio::test]
    async fn requests_are_served_while_all_probing_threads_are_busy_and_shutdown_does_not_wait_for_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let shutdown = CancellationToken::new();
        let options = RunOptions::without_log(shutdown.clone());
        let startup = Startup::new(settings(&folder), options).expect("a startup");
        let probing = startup.probing.handle().clone();
        let (ready, listening) = oneshot::channel();
        let server = tokio::spawn(standalone(startup, |address| ready.send(address).expect("somebody waits")));
        let url = format!("http://{}", listening.await.expect("it listens"));

        let (gate, busy) = (Arc::new(RwLock::new(())), Arc::new(AtomicUsize::new(0)));
        let closed = gate.write().expect("not poisoned");
        let threads = probing.metrics().num_workers();
        for _ in 0..threads {
            let (gate, busy) = (Arc::clone(&gate), Arc::clone(&busy));
            probing.spawn(async move {
                busy.fetch_add(1, Ordering::SeqCst);
                drop(gate.read());
            });
        }
        let started = Instant::now();
        while busy.load(Ordering::SeqCst) < threads {
            assert!(started.elapsed() < AMPLE, "the threads were not all kept busy");
            tokio::task::yield_now().await;
        }

        let client = crate::crypto::http_client().build().expect("a client");
        let service =
            r#"{"name": "user-service", "base_url": "http://127.0.0.1:9", "health_url": "http://127.0.0.1:9/"}"#;
        let register = client.post(format!("{url}/api/v1/services/register"));
        let register = register.header("content-type", "application/json").body(service).send();
        let registered = tokio::time::timeout(AMPLE, register).await.expect("in time").expect("an answer");
        assert!(registered.status().is_success(), "{registered:?}");
        let found = client.get(format!("{url}/api/v1/services/discover?name=user-service")).send();
        let found = tokio::time::timeout(AMPLE, found).await.expect("in time").expect("an answer");
        assert_eq!(found.status(), 200);

        shutdown.cancel();
        let ended = tokio::time::timeout(AMPLE, server).await.expect("in time").expect("no panic");
        drop(closed);
        let late = |names: &[&str]| names.contains(&"the prober");
        assert!(matches!(&ended, Err(AppError::Task(TaskError::Late { names, .. })) if late(names)), "{ended:?}");
    }
}
