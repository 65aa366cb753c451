//! The thread that answers history queries.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::availability::{AvailabilityQuery, OutagePage, OutageQuery, availability, outages};
use super::{HistoryPage, HistoryQuery, Removals, page, removed_since};
use crate::model::availability::Availability;
use crate::model::name::ServiceKey;
use crate::store::error::StoreError;
use crate::store::file::connect::{Gate, connect_aside, connect_reader};
use crate::store::queue::job::Job;
use crate::store::schema;

/// Most questions that may wait.
pub(crate) const QUEUE: usize = 64;
/// A question for the reader's thread.
pub(crate) enum Question {
    /// A page. The key is known if the service is registered now.
    Page(HistoryQuery, Option<(Uuid, ServiceKey)>, oneshot::Sender<Result<HistoryPage, StoreError>>),
    /// The services removed after a revision; none if some are forgotten.
    Removed(u64, oneshot::Sender<Result<Option<Removals>, StoreError>>),
    /// The availability of some services or instances.
    Availability(AvailabilityQuery, oneshot::Sender<Result<Vec<Availability>, StoreError>>),
    /// A page of outages.
    Outages(OutageQuery, oneshot::Sender<Result<OutagePage, StoreError>>),
    /// Closes the queue: the thread stops after the questions that are queued.
    Stop,
}

/// What the reader's thread owns.
pub(crate) struct Reader {
    pub(crate) file: Reading,
    pub(crate) questions: mpsc::Receiver<Question>,
    /// Where rows that cannot be read are reported.
    pub(crate) jobs: mpsc::Sender<Job>,
}

/// How the thread reads the file.
pub(crate) enum Reading {
    /// Through its own connection.
    Open(Connection),
    /// The same, and the file is not migrated yet.
    OpenOld(Connection),
    /// While nothing can be written: through a connection for each question, until the gate says that the writer has begun.
    Aside(PathBuf, Gate),
}

impl Reading {
    /// Through this connection.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn through(db: Connection) -> rusqlite::Result<Self> {
        if schema::version(&db)? == schema::NEWEST {
            return Ok(Self::Open(db));
        }
        schema::read_as_newest(&db)?;
        Ok(Self::OpenOld(db))
    }

    fn ask<T>(&mut self, question: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match self {
            Self::Open(db) => question(db),
            Self::OpenOld(db) if schema::version(db)? != schema::NEWEST => question(db),
            Self::OpenOld(db) => {
                // Harmless where an earlier question has done it.
                schema::read_as_it_is(db)?;
                question(db)
            }
            Self::Aside(path, gate) => {
                let (path, gate) = (path.clone(), Arc::clone(gate));
                let settled = gate.lock().unwrap_or_else(PoisonError::into_inner);
                if !*settled {
                    let db = connect_aside(&path)?;
                    schema::read_as_newest(&db)?;
                    return question(&db);
                }
                let db = connect_reader(&path)?;
                let answer = question(&db);
                *self = Self::Open(db);
                answer
            }
        }
    }
}

impl Reader {
    /// Answers until it is stopped or no caller is left.
    pub(crate) fn serve(mut self) {
        while let Some(question) = self.questions.blocking_recv() {
            self.answer(question);
        }
    }

    pub(crate) fn answer(&mut self, question: Question) {
        let mut bad = Vec::new();
        match question {
            Question::Stop => self.questions.close(),
            // A caller that went away needs no answer.
            Question::Removed(since, reply) => {
                drop(reply.send(self.file.ask(|db| Ok(removed_since(db, since, &mut bad)?))));
            }
            Question::Availability(query, reply) => {
                drop(reply.send(self.file.ask(|db| availability(db, query, &mut bad))));
            }
            Question::Outages(query, reply) => {
                drop(reply.send(self.file.ask(|db| outages(db, &query, &mut bad))));
            }
            Question::Page(query, known, reply) => {
                drop(reply.send(self.file.ask(|db| page(db, &query, known, &mut bad))));
            }
        }
        if !bad.is_empty() {
            // If the queue is full, the next reader of these rows reports them again.
            drop(self.jobs.try_send(Job::Quarantine(bad)));
        }
    }
}
