//! Answers the calls about one object: merges them, writes the object, and tries again if another writer was first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::attempt::Attempt;
use super::current;
use super::error::RequestError;
use super::merge::{self, CurrentObject, Done, Generations, Merged, ObjectChange, Request};
use super::pending_calls::{Answered, PendingCall};
use crate::catalog::Snapshot;
use crate::model::backoff::Backoff;
use crate::model::name::ServiceKey;
use crate::model::ports::{ClusterError, Registered, WriteError};
use crate::model::time::UnixMs;
use crate::operator::ingest::{IngestError, ObservedObject};
use crate::operator::read::raw::RawObject;

/// Time in which a write has to succeed against other writers.
const CONTENTION: Duration = Duration::from_secs(10);
/// Time in which the API server has to answer again.
const SILENCE: Duration = Duration::from_secs(5);
/// Pauses after a lost write.
const CONFLICT_PAUSES: Backoff = Backoff::full_jitter(Duration::from_millis(10), Duration::from_millis(500));

/// One object's calls.
pub(super) struct ObjectWriter {
    shared: Arc<Shared>,
    key: ServiceKey,
    calls: VecDeque<PendingCall>,
    stop: CancellationToken,
    since: Instant,
    backoff: Backoff,
    /// Whether the object was read from the API server itself.
    fresh: bool,
    /// The object as it was written last.
    written: Option<RawObject>,
    /// A write that may have been done.
    unanswered: Option<Attempt>,
    /// Most calls that are merged together: fewer after one of them spoilt a write.
    batch_size: usize,
}

/// Why calls do not get the merged answers.
enum Interruption {
    /// Try again.
    Again,
    /// Every call that would have changed something gets this error.
    Failed(WriteError),
}

impl ObjectWriter {
    pub(super) fn new(shared: Arc<Shared>, calls: Vec<PendingCall>, key: ServiceKey, stop: CancellationToken) -> Self {
        let calls = VecDeque::from(calls);
        Self {
            shared,
            key,
            calls,
            stop,
            since: Instant::now(),
            backoff: CONFLICT_PAUSES,
            fresh: false,
            written: None,
            unanswered: None,
            batch_size: usize::MAX,
        }
    }

    /// Answers every call, or drops the remaining ones when the server stops.
    pub(super) async fn run(mut self) {
        while !self.calls.is_empty() && !self.stop.is_cancelled() {
            let observed = self.shared.ingest.known(&self.key);
            let merged = self.done_or_merged(observed.as_deref());
            let answers = merged.answers.clone();
            match self.carry_out(observed.as_deref(), merged).await {
                Ok(()) => {
                    for answer in answers {
                        self.answer_next(answer);
                    }
                    self.batch_size = self.batch_size.saturating_mul(2);
                    self.start_over();
                }
                Err(Interruption::Again) => {}
                Err(Interruption::Failed(error)) => {
                    for answer in answers {
                        self.answer_next(if is_final(&answer) { answer } else { Err(error.clone()) });
                    }
                    self.start_over();
                }
            }
        }
    }

    fn start_over(&mut self) {
        (self.since, self.fresh, self.written, self.unanswered) = (Instant::now(), false, None, None);
        self.backoff.reset();
    }

    /// What a write without an answer did, once the object was read; or else what the calls do to the object.
    fn done_or_merged(&self, observed: Option<&ObservedObject>) -> Merged {
        let snapshot = self.shared.catalog.snapshot();
        let object = observed.map(|observed| current::current(observed, &snapshot));
        let attempt = self.unanswered.as_ref().filter(|_| self.fresh);
        match attempt.and_then(|attempt| attempt.done(object.as_ref())) {
            Some(answers) => Merged { change: ObjectChange::Nothing, answers },
            None => self.merge(object.as_ref(), &snapshot),
        }
    }

    fn merge(&self, object: Option<&CurrentObject>, snapshot: &Snapshot) -> Merged {
        let calls: Vec<Request> = self.calls.iter().take(self.batch_size).map(|call| call.request.clone()).collect();
        let mut generations = Generations(self.shared.generation_floor(UnixMs::wall()));
        let (limits, now) = (self.shared.limits(&self.key, snapshot), UnixMs::wall());
        let merged = merge::merge(&self.key, object, &calls, limits, &mut generations, now);
        self.shared.note_generation(generations.0);
        merged
    }

    async fn carry_out(&mut self, observed: Option<&ObservedObject>, merged: Merged) -> Result<(), Interruption> {
        let calls = merged.answers.len();
        match (&merged.change, observed) {
            // Whether that was done is known once the object was read.
            _ if self.unanswered.is_some() && !self.fresh => return self.read_again().await,
            (ObjectChange::Nothing, _)
                if self.fresh || merged.answers.iter().all(|answer| answer.is_ok() || is_final(answer)) =>
            {
                return Ok(());
            }
            (ObjectChange::Nothing, _) => return self.read_again().await,
            (ObjectChange::Delete, None) => return Ok(()),
            _ => self.fail_if_away()?,
        }
        match self.write(observed, &merged.change).await {
            Ok(raw) => {
                self.written.clone_from(&raw);
                self.ingest(observed, raw).await
            }
            Err(error) => {
                if matches!(error, RequestError::NoAnswer(_)) {
                    let snapshot = self.shared.catalog.snapshot();
                    let before = observed.map(|observed| current::current(observed, &snapshot));
                    (self.unanswered, self.fresh) = (Some(Attempt::new(before, merged)), false);
                }
                self.recover(error, calls).await?;
                self.read_again().await
            }
        }
    }

    /// The object after the change; none if it was removed, or if there is nothing to change.
    async fn write(
        &self,
        observed: Option<&ObservedObject>,
        change: &ObjectChange,
    ) -> Result<Option<RawObject>, RequestError> {
        match (change, observed) {
            (ObjectChange::Replace(instances), Some(ObservedObject { object: Some(object), .. })) => {
                self.shared.requests.replace(&self.key, &current::replaced(object, instances)).await.map(Some)
            }
            (ObjectChange::Create(instances) | ObjectChange::Replace(instances), _) => {
                self.shared.requests.create(&self.key, &current::created(&self.key, instances)).await.map(Some)
            }
            (ObjectChange::Delete, Some(observed)) => self.shared.requests.delete(&self.key, observed).await,
            (ObjectChange::Delete, None) | (ObjectChange::Nothing, _) => Ok(None),
        }
    }

    /// Fails while the API server is away: a request would wait for its timeout, and other objects for this one's slot.
    fn fail_if_away(&self) -> Result<(), Interruption> {
        let Some(away) = self.shared.away() else { return Ok(()) };
        let error = if self.unanswered.is_some() { ClusterError::Unanswered } else { away };
        Err(Interruption::Failed(error.into()))
    }

    /// Makes sure that the next read here shows what was written or removed.
    async fn ingest(&self, observed: Option<&ObservedObject>, raw: Option<RawObject>) -> Result<(), Interruption> {
        let taken = match (raw, observed) {
            (Some(raw), _) => self.shared.ingest.put_raw(raw).await,
            (None, Some(observed)) => {
                self.shared.ingest.remove(self.key.clone(), observed.id(), observed.revision() + 1).await
            }
            (None, None) => Ok(()),
        };
        taken.map_err(|error| Interruption::Failed(ingest_failure(error)))
    }

    /// Reads the object from the API server, as often as it takes: another replica's change may not have arrived here yet.
    async fn read_again(&mut self) -> Result<(), Interruption> {
        loop {
            self.fail_if_away()?;
            // What is known before the request: if the answer is that there is no such object, a newer one may have come meanwhile.
            let observed = self.shared.ingest.known(&self.key);
            match self.shared.requests.get(&self.key).await {
                Ok(raw) => {
                    self.ingest(observed.as_deref(), raw).await?;
                    self.fresh = true;
                    return Err(Interruption::Again);
                }
                Err(error) => self.recover(error, 1).await?,
            }
        }
    }

    /// Waits as the failure of a request asks. Ok means that the object must be read now: the request may have been done, by this replica or
    /// by another, or another API server may have taken over.
    async fn recover(&mut self, error: RequestError, calls: usize) -> Result<(), Interruption> {
        match error {
            RequestError::Content(_) if calls > 1 => {
                self.batch_size = calls / 2;
                Err(Interruption::Again)
            }
            RequestError::Content(error) | RequestError::Refused(error) => Err(Interruption::Failed(error.into())),
            RequestError::Moved => {
                let pause = self.backoff.next();
                self.pause(CONTENTION, pause, ClusterError::Contended(self.key.clone())).await
            }
            RequestError::Overloaded(pause) => {
                let retry_after = pause.as_secs().max(1);
                self.pause(SILENCE, pause, ClusterError::Overloaded { retry_after }).await?;
                Err(Interruption::Again)
            }
            RequestError::NoAnswer(error) => {
                self.fail_if_away()?;
                let pause = self.backoff.next();
                self.pause(SILENCE, pause, error).await
            }
        }
    }

    /// Waits, unless that would end later than `limit` after the first attempt.
    async fn pause(&mut self, limit: Duration, pause: Duration, otherwise: ClusterError) -> Result<(), Interruption> {
        if self.since.elapsed() + pause > limit {
            return Err(Interruption::Failed(otherwise.into()));
        }
        tokio::select! {
            () = self.stop.cancelled() => Err(Interruption::Failed(WriteError::Closed)),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    fn answer_next(&mut self, answer: Result<Done, WriteError>) {
        let Some(PendingCall { reply, ticket, .. }) = self.calls.pop_front() else { return };
        let answer = answer.and_then(|done| match done {
            Done::Removed => Ok(Answered::Removed),
            Done::Drained => self.shared.shown(&self.key, self.written.as_ref()).map(Answered::Drained),
            Done::Registered { instance, generation, renewed, replaced } => {
                let service = self.shared.shown(&self.key, self.written.as_ref())?;
                Ok(Answered::Registered(Registered { service, instance, generation, renewed, replaced }))
            }
        });
        drop(ticket);
        // A caller that gave up needs no answer.
        drop(reply.send(answer));
    }
}

/// Whether it is a refusal that a newer object would hardly change: a manifest stays one, and an instance keeps its owner.
fn is_final(answer: &Result<Done, WriteError>) -> bool {
    use WriteError::{ManifestDrain, ManifestOwned, NotOwner, TooManyInstances, TooManyServices};
    matches!(answer, Err(ManifestOwned(_) | ManifestDrain { .. } | NotOwner | TooManyInstances(_) | TooManyServices(_)))
}

fn ingest_failure(error: IngestError) -> WriteError {
    match error {
        IngestError::Closed => WriteError::Closed,
        IngestError::Store(error) => error,
        IngestError::Nameless(_) => ClusterError::Failed.into(),
    }
}
