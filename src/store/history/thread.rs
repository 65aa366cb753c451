//! The thread that reads history.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{HistoryPage, HistoryQuery, Removals, page, removed_since};
use crate::model::name::ServiceKey;
use crate::store::error::StoreError;
use crate::store::file::connect::{Gate, connect_aside, connect_reader};
use crate::store::queue::job::Job;

/// Questions that may wait.
pub(in crate::store) const QUEUE: usize = 64;
/// A question on its way to the reader.
pub(in crate::store) enum Question {
    /// Answer this. The key is known where the service is registered now.
    Page(HistoryQuery, Option<(Uuid, ServiceKey)>, oneshot::Sender<Result<HistoryPage, StoreError>>),
    /// What was removed after that revision; none where that is no longer known.
    Removed(u64, oneshot::Sender<Result<Option<Removals>, StoreError>>),
    /// No more questions after those that are queued.
    Stop,
}

/// What the reader's thread owns.
pub(in crate::store) struct Reader {
    pub(in crate::store) file: Reading,
    pub(in crate::store) questions: mpsc::Receiver<Question>,
    /// Where the writer is told of rows that cannot be read.
    pub(in crate::store) jobs: mpsc::Sender<Job>,
}

/// How the reader reaches the file.
pub(in crate::store) enum Reading {
    /// Beside the writer.
    Open(Connection),
    /// While nothing can be written: opened for each question, until the gate says that the writer has begun.
    Aside(PathBuf, Gate),
}

impl Reading {
    fn ask<T>(&mut self, question: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let Self::Aside(path, gate) = self else {
            let Self::Open(db) = self else { return Err(StoreError::Closed) };
            return question(db);
        };
        let gate = Arc::clone(gate);
        let settled = gate.lock().unwrap_or_else(PoisonError::into_inner);
        if !*settled {
            return question(&connect_aside(path)?);
        }
        let db = connect_reader(path)?;
        let answer = question(&db);
        *self = Self::Open(db);
        answer
    }
}

impl Reader {
    /// Answers until it is told to stop or nobody can ask any more.
    pub(in crate::store) fn serve(mut self) {
        while let Some(question) = self.questions.blocking_recv() {
            self.answer(question);
        }
    }

    pub(in crate::store) fn answer(&mut self, question: Question) {
        let mut bad = Vec::new();
        match question {
            Question::Stop => self.questions.close(),
            // A waiter that went away needs no answer.
            Question::Removed(since, reply) => {
                drop(reply.send(self.file.ask(|db| Ok(removed_since(db, since, &mut bad)?))));
            }
            Question::Page(query, known, reply) => {
                drop(reply.send(self.file.ask(|db| page(db, &query, known, &mut bad))));
            }
        }
        if !bad.is_empty() {
            // Where the queue is full the next reader of these rows says it again.
            drop(self.jobs.try_send(Job::Quarantine(bad)));
        }
    }
}
