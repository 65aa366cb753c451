//! Acknowledgements: carries out what the rules of [`acknowledging`] decide.

use std::sync::Arc;

use super::state::Work;
use super::status_acknowledgements::is_same;
use crate::model::acknowledgement::{Acknowledgement, End};
use crate::model::acknowledging::{self, Ended, Why};
use crate::model::history::HistoryEvent;
use crate::model::name::InstanceName;
use crate::model::ports::{AcknowledgementChange, Caller, WriteError};
use crate::model::service::{Instance, InstanceId, Owner, Service};
use crate::model::text;
use crate::store::queue::job::AcknowledgeCall;
use crate::store::schema::write::{HistoryRow, Write};

/// Most instances that a sentence names.
const MAX_NAMED: usize = 5;

impl Work<'_> {
    /// Acknowledges what fails, or ends that. Returns the service as it is then. One entry of history, however many instances it is about.
    pub(crate) fn acknowledge(&mut self, call: &AcknowledgeCall) -> Result<Arc<Service>, WriteError> {
        let AcknowledgeCall { service, instance, change, caller } = call;
        let entry = self.find(service).ok_or(WriteError::ServiceNotFound)?;
        let old = entry.service();
        let changes = acknowledging::acknowledge(old, instance.as_ref(), change, self.now)?;
        let Some((first, _)) = changes.first() else { return Ok(Arc::clone(old)) };
        let first = *first;
        let row = self.row(old)?;
        let mut service = Service::clone(old);
        let mut shown = None;
        let mut names = Vec::new();
        for (at, new) in changes {
            let Some(instance) = service.instances.get_mut(at) else { return Err(WriteError::InstanceNotFound) };
            names.push(instance.name.to_string());
            shown = new.clone().or(instance.acknowledged.take());
            if let (Some(given), Some(mirror)) = (&new, &mut self.state.mirror) {
                mirror.acknowledgements.give(instance.id, given);
            }
            instance.acknowledged = new;
        }
        service.unreported = self.state.mirror.as_ref().map(|mirror| mirror.replica);
        let service = self.put(service, entry.last_check().clone());
        self.writes.push(Write::Touch(row, Arc::clone(&service)));
        if let (Some(known), Some(instance)) = (shown, service.instances.get(first)) {
            let (event, message) = match change {
                AcknowledgementChange::Start(_) => (HistoryEvent::Acknowledged, given(&known, &names)),
                AcknowledgementChange::End => (HistoryEvent::Unacknowledged, withdrawn(&known, caller)),
                AcknowledgementChange::Expire(_) => {
                    (HistoryEvent::Unacknowledged, sentence_of_end(&known, Why::Expired))
                }
            };
            self.writes.push(Write::History(HistoryRow::unchanged(event, &service, instance, self.now, message)));
        }
        Ok(service)
    }

    /// Writes what became of the acknowledgements of a service that changed from `old`.
    pub(super) fn note_acknowledgements(&mut self, old: &Service, service: &Arc<Service>, ended: &[Ended]) {
        let none = |service: &Service| service.instances.iter().all(|instance| instance.acknowledged.is_none());
        if none(old) && none(service) {
            return;
        }
        for instance in &service.instances {
            let before = old.instance(instance.name.as_str()).filter(|before| before.id == instance.id);
            if before.is_some_and(|before| before.acknowledged != instance.acknowledged) {
                self.writes.push(Write::PutAcknowledged(Arc::clone(service), instance.id));
            }
        }
        for Ended { instance, why, acknowledgement } in ended {
            let Some(of) = service.instance(instance.as_str()) else { continue };
            let message = sentence_of_end(acknowledgement, Why::Failure(*why));
            let event = HistoryEvent::Unacknowledged;
            self.writes.push(Write::History(HistoryRow::unchanged(event, service, of, self.now, message)));
        }
    }

    /// Writes which acknowledgements the status of an object brought or ended, where `service` changed from `old`. It does not say who withdrew
    /// one; the history of the leader does.
    pub(super) fn note_mirrored_acknowledgements(&mut self, old: &Service, service: &Arc<Service>, news: &[News]) {
        let mut noted: Vec<&News> = Vec::new();
        for one in news {
            let Some(instance) = service.instances.iter().find(|instance| instance.id == one.id) else { continue };
            if noted.iter().any(|noted| noted.is_of_the_same_call(one)) {
                continue;
            }
            noted.push(one);
            let (event, message) = match (&one.before, &one.after) {
                (_, Some(known)) => {
                    let with = news.iter().filter(|other| one.is_of_the_same_call(other) || other.id == one.id);
                    let names: Vec<String> = with.map(|one| one.name.to_string()).collect();
                    (HistoryEvent::Acknowledged, given(known, &names))
                }
                (Some(known), None) => {
                    let why = acknowledging::why_ended(old, service, &one.name, known, self.now);
                    (HistoryEvent::Unacknowledged, sentence_of_end(known, why))
                }
                (None, None) => continue,
            };
            self.writes.push(Write::History(HistoryRow::unchanged(event, service, instance, self.now, message)));
        }
    }
}

/// What the status of an object changes in the acknowledgement of an instance.
pub(super) struct News {
    id: InstanceId,
    name: InstanceName,
    before: Option<Arc<Acknowledgement>>,
    after: Option<Arc<Acknowledgement>>,
}

impl News {
    /// None where it stays what it was.
    pub(super) fn of(before: Option<&Instance>, after: &Instance) -> Option<Self> {
        let before = before.and_then(|before| before.acknowledged.clone());
        let is_news = !is_same(before.as_ref(), after.acknowledged.as_ref());
        is_news.then(|| Self { id: after.id, name: after.name.clone(), before, after: after.acknowledged.clone() })
    }

    /// What was given or ended.
    fn known(&self) -> Option<&Arc<Acknowledgement>> {
        self.after.as_ref().or(self.before.as_ref())
    }

    /// Whether both come from one call for the whole service.
    fn is_of_the_same_call(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.known(), other.known());
        let is_whole = ours.is_some_and(|known| known.whole);
        is_whole && self.after.is_some() == other.after.is_some() && is_same(ours, theirs)
    }
}

/// `alice (the note)`.
fn who(known: &Acknowledgement) -> String {
    format!("{} ({})", text::escape(&known.by, 100), text::escape(&known.note, 256))
}

fn given(known: &Acknowledgement, names: &[String]) -> String {
    let until = known.until.map(|until| format!(", until {until}")).unwrap_or_default();
    let of = match names.len() {
        _ if !known.whole => String::new(),
        0..=MAX_NAMED => format!(" for the service, failing: {}", names.join(", ")),
        all => format!(" for the service, failing: {} and {} more", names[..MAX_NAMED].join(", "), all - MAX_NAMED),
    };
    format!("acknowledged by {}{of}{until}: {}", text::escape(&known.by, 100), text::escape(&known.note, 256))
}

fn withdrawn(known: &Acknowledgement, caller: &Caller) -> String {
    let sentence = sentence_of_end(known, Why::Withdrawn);
    match &caller.owner {
        Owner::Anonymous => sentence,
        Owner::Token { subject, .. } => format!("{sentence} by {}", text::escape(subject, 100)),
    }
}

fn sentence_of_end(known: &Acknowledgement, why: Why) -> String {
    let how = match why {
        Why::Failure(End::Recovered) => "ended with the failure",
        Why::Failure(End::NewFailure) => "ended because this is a new failure",
        Why::Expired => "ended by itself",
        Why::Withdrawn => "was withdrawn",
    };
    format!("the acknowledgement by {} {how}", who(known))
}
