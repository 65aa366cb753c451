//! The calls about one object, from the first look at it to the last answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::current;
use super::error::RequestError;
use super::merge::{self, Asked, Done, Merged, Stamp, Write};
use super::waiting::Waiting;
use crate::model::name::ServiceKey;
use crate::model::ports::{ClusterError, Registered, WriteError};
use crate::model::time::UnixMs;
use crate::operator::ingest::{IngestError, ObservedObject};
use crate::operator::read::raw::RawObject;

/// Time in which a write has to win against other writers.
const CONTENTION: Duration = Duration::from_secs(10);
/// Time in which an API server has to answer again.
const SILENCE: Duration = Duration::from_secs(5);
/// The first pause after a lost write, and the longest; a random part of it is waited.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// One object's calls.
pub(super) struct ObjectWriter {
    shared: Arc<Shared>,
    key: ServiceKey,
    waiting: VecDeque<Waiting>,
    stop: CancellationToken,
    since: Instant,
    tries: u32,
    /// The API server itself was asked what there is.
    fresh: bool,
    /// Calls that are merged at once: fewer after one of them spoilt a write.
    most: usize,
}

/// Why calls are not answered with what was merged.
enum Halt {
    /// To be tried again.
    Again,
    /// Every call that was to change something hears this.
    Failed(WriteError),
}

impl ObjectWriter {
    pub(super) fn new(shared: Arc<Shared>, waiting: Vec<Waiting>, key: ServiceKey, stop: CancellationToken) -> Self {
        let waiting = VecDeque::from(waiting);
        Self { shared, key, waiting, stop, since: Instant::now(), tries: 0, fresh: false, most: usize::MAX }
    }

    /// Answers every call, or lets go of those that are left when the server stops.
    pub(super) async fn run(mut self) {
        while !self.waiting.is_empty() && !self.stop.is_cancelled() {
            let known = self.shared.ingest.known(&self.key);
            let merged = self.merge(known.as_deref());
            let answers = merged.answers.clone();
            match self.carry_out(known.as_deref(), merged).await {
                Ok(()) => {
                    for answer in answers {
                        self.answer_next(answer);
                    }
                    self.most = self.most.saturating_mul(2);
                    self.begin_anew();
                }
                Err(Halt::Again) => {}
                Err(Halt::Failed(error)) => {
                    for answer in answers {
                        self.answer_next(if may_stand(&answer) { answer } else { Err(error.clone()) });
                    }
                    self.begin_anew();
                }
            }
        }
    }

    fn begin_anew(&mut self) {
        (self.since, self.tries, self.fresh) = (Instant::now(), 0, false);
    }

    fn merge(&self, known: Option<&ObservedObject>) -> Merged {
        let snapshot = self.shared.catalog.snapshot();
        let held = known.map(|known| current::current(known, &snapshot));
        let calls: Vec<Asked> = self.waiting.iter().take(self.most).map(|waiting| waiting.asked.clone()).collect();
        let mut stamp = Stamp(self.shared.last_stamp(UnixMs::wall()));
        let merged = merge::merge(&self.key, held.as_ref(), &calls, self.shared.room(&snapshot), &mut stamp);
        self.shared.stamped(stamp.0);
        merged
    }

    async fn carry_out(&mut self, known: Option<&ObservedObject>, merged: Merged) -> Result<(), Halt> {
        let calls = merged.answers.len();
        let written = match (&merged.write, known) {
            (Write::Nothing, _)
                if self.fresh || merged.answers.iter().all(|answer| answer.is_ok() || may_stand(answer)) =>
            {
                return Ok(());
            }
            (Write::Nothing, _) => return self.look_again().await,
            (Write::Replace(slots), Some(ObservedObject { object: Some(object), .. })) => {
                self.shared.requests.replace(&self.key, &current::replaced(object, slots)).await.map(Some)
            }
            (Write::Create(slots) | Write::Replace(slots), _) => {
                self.shared.requests.create(&self.key, &current::created(&self.key, slots)).await.map(Some)
            }
            (Write::Delete, Some(known)) => self.shared.requests.delete(&self.key, known).await,
            (Write::Delete, None) => return Ok(()),
        };
        match written {
            Ok(seen) => self.take_in(known, seen).await,
            Err(trouble) => self.recover(trouble, calls).await,
        }
    }

    /// Makes what was written, or that it is gone, what the next read here shows.
    async fn take_in(&self, known: Option<&ObservedObject>, seen: Option<RawObject>) -> Result<(), Halt> {
        let taken = match (seen, known) {
            (Some(seen), _) => self.shared.ingest.put_raw(seen).await,
            (None, Some(known)) => self.shared.ingest.gone(self.key.clone(), known.id(), known.revision() + 1).await,
            (None, None) => Ok(()),
        };
        taken.map_err(|error| Halt::Failed(untaken(error)))
    }

    /// Asks the API server itself: another replica's change may not have come here yet.
    async fn look_again(&mut self) -> Result<(), Halt> {
        match self.shared.requests.get(&self.key).await {
            Ok(seen) => {
                let known = self.shared.ingest.known(&self.key);
                self.take_in(known.as_deref(), seen).await?;
                self.fresh = true;
                Err(Halt::Again)
            }
            Err(trouble) => Box::pin(self.recover(trouble, 1)).await,
        }
    }

    async fn recover(&mut self, trouble: RequestError, calls: usize) -> Result<(), Halt> {
        match trouble {
            RequestError::Content(_) if calls > 1 => {
                self.most = calls / 2;
                Err(Halt::Again)
            }
            RequestError::Content(error) | RequestError::Refused(error) => Err(Halt::Failed(error.into())),
            RequestError::Moved => {
                self.pause(CONTENTION, self.jitter(), ClusterError::Contended(self.key.clone())).await?;
                self.look_again().await
            }
            RequestError::Overloaded(pause) => {
                let retry_after = pause.as_secs().max(1);
                self.pause(SILENCE, pause, ClusterError::Overloaded { retry_after }).await?;
                Err(Halt::Again)
            }
            RequestError::Unheard(error) => {
                let error = self.shared.away().unwrap_or(error);
                self.pause(SILENCE, self.jitter(), error).await?;
                // It may have been done, or another server may have taken over.
                self.look_again().await
            }
        }
    }

    /// Waits, unless that would be later than `limit` after the first try.
    async fn pause(&mut self, limit: Duration, pause: Duration, else_say: ClusterError) -> Result<(), Halt> {
        self.tries += 1;
        let away = matches!(else_say, ClusterError::Away { .. });
        if away || self.since.elapsed() + pause > limit {
            return Err(Halt::Failed(else_say.into()));
        }
        tokio::select! {
            () = self.stop.cancelled() => Err(Halt::Failed(WriteError::Closed)),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    fn jitter(&self) -> Duration {
        let (first, longest) = PAUSES;
        let upper = first.saturating_mul(1 << self.tries.min(10)).min(longest);
        rand::rng().random_range(Duration::ZERO..=upper)
    }

    fn answer_next(&mut self, answer: Result<Done, WriteError>) {
        let Some(Waiting { reply, ticket, .. }) = self.waiting.pop_front() else { return };
        let answer = answer.and_then(|done| match done {
            Done::Removed => Ok(None),
            Done::Registered { generation, renewed, replaced } => {
                let service = self.shared.shown(&self.key)?;
                Ok(Some(Registered { service, generation, renewed, replaced }))
            }
        });
        drop(ticket);
        // Who gave up waiting needs no answer.
        drop(reply.send(answer));
    }
}

/// Whether it is a refusal that the newest object would hardly change: a manifest's stays one, and an owner its own.
fn may_stand(answer: &Result<Done, WriteError>) -> bool {
    use WriteError::{ManifestOwned, NotOwner, TooManyInstances, TooManyServices};
    matches!(answer, Err(ManifestOwned(_) | NotOwner | TooManyInstances(_) | TooManyServices(_)))
}

fn untaken(error: IngestError) -> WriteError {
    match error {
        IngestError::Closed => WriteError::Closed,
        IngestError::Store(error) => error,
        IngestError::Nameless(_) => ClusterError::Failed.into(),
    }
}
