//! The store's work without its threads, for simulations: transactions run on the caller's task, when the caller's clock says so.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::run::Writer;
use super::{BATCH, TRIM};
use crate::store::history::thread::Question;
use crate::store::queue::job::Job;

impl Writer {
    /// As [`Writer::run`], but each transaction is one step of this future, `pause` after its first job came: that is how slow the disk is.
    /// Dropping the future in between leaves what a crash would leave.
    #[doc(hidden)]
    pub async fn run_inline(self, shutdown: CancellationToken, mut pause: impl FnMut() -> Duration) {
        let Self { mut engine, mut reader, jobs: own, questions: _own } = self;
        let (mut jobs, mut trim) = (Vec::with_capacity(BATCH), tokio::time::interval(TRIM));
        loop {
            tokio::select! {
                biased;
                taken = engine.jobs.recv_many(&mut jobs, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    tokio::time::sleep(pause()).await;
                    // Jobs that came meanwhile are part of it.
                    while jobs.len() < BATCH && let Ok(job) = engine.jobs.try_recv() {
                        jobs.push(job);
                    }
                    engine.batch(&mut jobs);
                }
                Some(question) = reader.questions.recv() => reader.answer(question),
                () = shutdown.cancelled(), if !engine.jobs.is_closed() => drop(own.try_send(Job::Stop)),
                _ = trim.tick() => drop(own.try_send(Job::Trim)),
            }
        }
        while let Ok(question) = reader.questions.try_recv() {
            reader.answer(question);
        }
        reader.answer(Question::Stop);
        drop(reader);
        engine.close();
    }
}
