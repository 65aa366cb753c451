//! Work on files off the threads that serve: a folder that does not answer, such as one on a network file system, delays no request.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Time after which the log says that the files do not answer.
const SLOW: Duration = Duration::from_secs(10);

/// Works on files of one kind, one piece of work at a time, so that files that do not answer hold one thread. Clones share the turn.
#[derive(Debug, Clone)]
pub(in crate::api) struct FileWork {
    files: &'static str,
    turn: Arc<Mutex<()>>,
}

impl FileWork {
    /// `files` is what the log calls them.
    pub(in crate::api) fn new(files: &'static str) -> Self {
        Self { files, turn: Arc::default() }
    }

    /// Runs `work` on a thread that may block, once earlier work has ended. Nothing can stop it: if the caller stops waiting, it continues and
    /// keeps its turn. Panics if `work` does.
    pub(in crate::api) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let mut running = spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        let ended = if let Ok(ended) = timeout(SLOW, &mut running).await {
            ended
        } else {
            let seconds = SLOW.as_secs();
            tracing::warn!("{} did not answer within {seconds} s; what was read before stays in force", self.files);
            running.await
        };
        match ended.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(result) => result,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime ends, and the caller with it.
            Err(Err(_)) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
pub(in crate::api) mod tests {
    use std::sync::mpsc;

    use super::*;

    /// The result of `work` on a runtime with a single thread; fails if something blocks that thread.
    pub(in crate::api) fn on_one_thread<F>(work: F) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (done, result) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let _ = done.send(runtime.block_on(work));
            runtime.shutdown_background();
        });
        result.recv_timeout(Duration::from_secs(30)).expect("the runtime's thread is free")
    }

    #[test]
    fn files_that_do_not_answer_hold_one_thread_and_delay_only_those_that_wait_for_them() {
        let (answer, hanging) = mpsc::channel::<()>();
        on_one_thread(async move {
            let (files, other) = (FileWork::new("the files"), FileWork::new("other files"));
            let patience = Duration::from_millis(50);
            let stuck = timeout(patience, files.run(move || hanging.recv().is_err())).await;
            assert!(stuck.is_err(), "it hangs");
            let second = timeout(patience, files.clone().run(|| unreachable!("one at a time"))).await;
            assert!(second.is_err(), "it waits for its turn");
            assert_eq!(other.run(|| 7).await, 7);
            drop(answer);
            assert_eq!(files.run(|| 8).await, 8, "the turn comes back");
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_turn_comes_back() {
        on_one_thread(async {
            let files = FileWork::new("the files");
            let panicking = files.clone();
            let ended = tokio::spawn(async move { panicking.run(|| panic!("on purpose")).await }).await;
            assert!(ended.is_err_and(|error| error.is_panic()));
            files.run(|| ()).await;
        });
    }
}
