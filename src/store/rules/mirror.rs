//! The rules of mirroring: what the Kubernetes API says replaces what was known, by revision.
//!
//! The operator's index of objects judges news before it comes here. Only the store knows what an earlier run's file holds, and which
//! of this replica's verdicts no status carries yet.

use std::collections::HashSet;
use std::sync::Arc;

use crate::catalog::{Entry, LastCheck};
use crate::model::acknowledgement::Acknowledgement;
use crate::model::mirror::{MirrorChange, Mirrored, MirroredInstance, ReportedHealth, VerdictsFrom};
use crate::model::name::ServiceKey;
use crate::model::outcome::{Health, Reason};
use crate::model::ports::WriteError;
use crate::model::service::{Instance, InstanceId, Service, Source};
use crate::model::time::UnixMs;

use super::acknowledge::News;
use super::drain::drained;
use super::state::Work;
use super::status_acknowledgements::is_same;
use crate::store::queue::job::List;
use crate::store::schema::codec::int;
use crate::store::schema::write::{HistoryRow, SpecColumns, Write};

/// An instance before and after.
struct Merged {
    before: Option<Instance>,
    after: Instance,
    /// What the object's status says of it.
    reported: Option<ReportedHealth>,
    /// The acknowledgement that the object's status shows.
    said: Option<Arc<Acknowledgement>>,
}

impl Work<'_> {
    /// Applies news from the watch or from a write's answer.
    pub(crate) fn mirror(&mut self, changes: Vec<MirrorChange>, verdicts: VerdictsFrom) -> Result<(), WriteError> {
        self.require_mirror()?;
        for change in changes {
            match change {
                MirrorChange::Put(object) => self.put_object(object, verdicts),
                MirrorChange::Remove { key, id, revision } => {
                    let known = self.state.snapshot.get(key.as_str()).cloned();
                    let known = known.filter(|known| known.service().id == id && known.service().revision <= revision);
                    if let Some(known) = known {
                        self.remove_with_history(&known, "removed: its object was deleted, or is no longer valid");
                    }
                    self.note_removal(key, revision);
                    self.advance_to(revision);
                }
            }
        }
        Ok(())
    }

    /// Applies a finished list: what it lacks is removed, unless it is newer than the list.
    pub(crate) fn mirror_all(&mut self, list: List) -> Result<(), WriteError> {
        self.require_mirror()?;
        let List { all, kept, revision, verdicts } = list;
        let listed: HashSet<&ServiceKey> = all.iter().map(|object| &object.key).collect();
        let lacks = |entry: &&Arc<Entry>| {
            let service = entry.service();
            service.revision <= revision && !listed.contains(&service.key) && !kept.contains(&service.key)
        };
        let absent: Vec<_> = self.state.snapshot.newest_first(None).filter(lacks).cloned().collect();
        for entry in absent {
            self.remove_with_history(&entry, "removed: its object no longer exists");
            self.note_removal(entry.service().key.clone(), revision);
        }
        for object in all {
            self.put_object(object, verdicts);
        }
        self.advance_to(revision);
        if let Some(mirror) = self.state.mirror.as_mut().filter(|mirror| !mirror.complete) {
            mirror.complete = true;
            self.writes.push(Write::Complete);
        }
        Ok(())
    }

    fn require_mirror(&self) -> Result<(), WriteError> {
        let mirror = self.state.mirror.is_some();
        if mirror { Ok(()) } else { Err(WriteError::Store("it mirrors nothing: it is the record itself".to_owned())) }
    }

    fn put_object(&mut self, object: Mirrored, verdicts: VerdictsFrom) {
        let revision = object.revision;
        let known = self.state.snapshot.get(object.key.as_str()).cloned();
        if self.is_news(&object, known.as_deref()) {
            match known {
                Some(known) if known.service().id == object.id => self.update_mirrored(&known, object, verdicts),
                known => {
                    if let Some(known) = known {
                        self.remove_with_history(&known, "removed: another object took its name");
                    }
                    self.create_mirrored(object);
                }
            }
        }
        self.advance_to(revision);
    }

    /// Whether it is newer than what is known. At the same revision it may still replace a verdict of our own.
    fn is_news(&self, object: &Mirrored, known: Option<&Entry>) -> bool {
        match known.map(Entry::service) {
            Some(known) if known.id == object.id => {
                known.revision < object.revision || known.revision == object.revision && known.unreported.is_some()
            }
            known => {
                let removed = self.state.mirror.as_ref().and_then(|mirror| mirror.tombstones.order(&object.key));
                known.map(|known| known.revision).max(removed).is_none_or(|newest| newest < object.revision)
            }
        }
    }

    fn create_mirrored(&mut self, object: Mirrored) {
        let row = int(self.next_number());
        let Mirrored { key, id, source, registered_at, updated_at, revision, instances } = object;
        let merged =
            instances.into_iter().map(|one| self.new_instance(one, registered_at, updated_at)).collect::<Vec<_>>();
        let service = Service {
            id,
            key,
            source,
            registered_at,
            updated_at: newest(updated_at, &merged),
            revision,
            sequence: 0,
            unreported: None,
            instances: merged.into_iter().map(|merged| merged.after).collect(),
        };
        if let Some(mirror) = &mut self.state.mirror {
            mirror.tombstones.forget(&service.key);
        }
        self.added.insert(id, row);
        self.state.rest += usize::from(source == Source::Rest);
        let service = self.put(service, LastCheck::default());
        self.writes.push(Write::AddService(row, Arc::clone(&service)));
        for instance in &service.instances {
            self.add_instance(row, &service, instance);
        }
    }

    fn update_mirrored(&mut self, entry: &Entry, object: Mirrored, verdicts: VerdictsFrom) {
        let old = entry.service();
        let Ok(row) = self.row(old) else { return };
        let mut merged = Vec::with_capacity(object.instances.len());
        for one in object.instances {
            merged.push(match old.instance(one.name.as_str()) {
                Some(known) => self.merge(known, one, verdicts, object.updated_at),
                None => self.new_instance(one, object.registered_at, object.updated_at),
            });
        }
        let all_reported = merged.iter().all(|merged| self.is_reported(merged));
        let replica = self.state.mirror.as_ref().map(|mirror| mirror.replica);
        let service = Service {
            updated_at: newest(object.updated_at, &merged),
            revision: object.revision,
            unreported: replica.filter(|_| !all_reported),
            instances: merged.iter().map(|merged| merged.after.clone()).collect(),
            ..Service::clone(old)
        };
        if service == **old {
            return;
        }
        let service = self.put(service, entry.last_check().clone());
        self.writes.push(Write::Touch(row, Arc::clone(&service)));
        self.write_merged(row, &service, &merged);
        let news: Vec<News> = merged.iter().filter_map(|one| News::of(one.before.as_ref(), &one.after)).collect();
        self.note_mirrored_acknowledgements(old, &service, &news);
        let is_removed = |instance: &&Instance| service.instance(instance.name.as_str()).is_none();
        for removed in old.instances.iter().filter(is_removed) {
            self.writes.push(Write::DropInstance(removed.id));
            self.forget_acknowledgement(removed.id);
            self.note_removed_instance(old, removed, "removed from its object");
        }
    }

    fn write_merged(&mut self, row: i64, service: &Arc<Service>, merged: &[Merged]) {
        for Merged { before, after, reported, .. } in merged {
            match before {
                None => self.add_instance(row, service, after),
                Some(before) if before == after => {}
                Some(before) => {
                    let columns = SpecColumns::of(&after.spec);
                    self.writes.push(Write::PutInstance(Arc::clone(service), after.id, columns));
                    if before.generation != after.generation {
                        self.writes.push(Write::DropNamedProbes(after.id));
                    }
                    self.add_history(service, before, after, reported.as_ref());
                    self.add_drain(service, before, after);
                }
            }
        }
    }

    fn add_instance(&mut self, row: i64, service: &Arc<Service>, instance: &Instance) {
        let columns = SpecColumns::of(&instance.spec);
        self.writes.push(Write::AddInstance(row, Arc::clone(service), instance.id, columns));
    }

    /// A new instance: only status says anything about its health.
    fn new_instance(&mut self, object: MirroredInstance, registered_at: UnixMs, updated_at: UnixMs) -> Merged {
        let number = self.next_number();
        let MirroredInstance { name, spec, owner, generation, drain, reported, acknowledged: said } = object;
        let unproved = spec.unproved(self.limits.interval);
        let new = Instance::new(InstanceId(int(number)), name, spec, unproved, updated_at);
        let fence = Some(generation.unwrap_or(0));
        let mut after = Instance { owner, generation: number, fence, created_at: registered_at, drain, ..new };
        if let Some(reported) = &reported {
            show(&mut after, reported);
            show_readiness(&mut after, reported);
        }
        after.acknowledged = self.acknowledgement(after.id, None, said.clone(), VerdictsFrom::Status);
        Merged { before: None, after, reported, said }
    }

    fn merge(
        &mut self,
        known: &Instance,
        object: MirroredInstance,
        verdicts: VerdictsFrom,
        updated_at: UnixMs,
    ) -> Merged {
        let MirroredInstance { name: _, spec, owner, generation, drain, reported, acknowledged: said } = object;
        let changed = spec.probes_differ(&known.spec);
        let mut after = Instance { spec, owner, fence: Some(generation.unwrap_or(0)), drain, ..known.clone() };
        if changed {
            after.generation = self.next_number();
        }
        if changed || verdicts == VerdictsFrom::Status {
            let unproved = after.spec.unproved(self.limits.interval);
            let since = if (known.health, known.reason) == unproved { known.since } else { updated_at };
            let unproved = ReportedHealth::new(unproved.0, unproved.1, since);
            after.message = None;
            show(&mut after, reported.as_ref().unwrap_or(&unproved));
        }
        if let Some(reported) = &reported {
            show_readiness(&mut after, reported);
        }
        after.acknowledged = self.acknowledgement(known.id, known.acknowledged.as_ref(), said.clone(), verdicts);
        Merged { before: Some(known.clone()), after, reported, said }
    }

    /// The acknowledgement of an instance that shows `ours`, once its object's status says `theirs`.
    fn acknowledgement(
        &mut self,
        instance: InstanceId,
        ours: Option<&Arc<Acknowledgement>>,
        theirs: Option<Arc<Acknowledgement>>,
        verdicts: VerdictsFrom,
    ) -> Option<Arc<Acknowledgement>> {
        self.state.mirror.as_mut()?.acknowledgements.merge(instance, ours, theirs, verdicts)
    }

    fn forget_acknowledgement(&mut self, instance: InstanceId) {
        if let Some(mirror) = &mut self.state.mirror {
            mirror.acknowledgements.forget(instance);
        }
    }

    /// Whether readers of other replicas see the same health and acknowledgement.
    fn is_reported(&self, Merged { after, reported, said, .. }: &Merged) -> bool {
        let same_health = match reported {
            Some(reported) => {
                (reported.health, reported.reason, reported.since) == (after.health, after.reason, after.since)
                    && reported.decided_by == after.decided_by
                    && reported.warning == after.warning
                    && reported.also_failing == after.also_failing
                    && reported.observed_version == after.observed_version
            }
            None => {
                (after.health, after.reason) == after.spec.unproved(self.limits.interval)
                    && after.warning.is_none()
                    && after.also_failing.is_empty()
                    && after.observed_version.is_none()
            }
        };
        same_health && is_same(said.as_ref(), after.acknowledged.as_ref())
    }

    /// Adds a change of health, as this replica sees it, to history.
    fn add_history(
        &mut self,
        service: &Service,
        before: &Instance,
        after: &Instance,
        reported: Option<&ReportedHealth>,
    ) {
        let held = after.reason == Reason::Flapping && before.reason != Reason::Flapping;
        if before.health == after.health && !held {
            return;
        }
        let (at, message) = match reported {
            Some(reported) if reported.message.is_empty() => {
                (reported.since, format!("{} ({})", reported.health, reported.reason))
            }
            Some(reported) => (reported.since, reported.message.clone()),
            None if before.generation != after.generation => (self.now, "its address or check was changed".to_owned()),
            None => (self.now, "its status was withdrawn".to_owned()),
        };
        self.writes.push(Write::History(HistoryRow::health(service, before, after, at, message)));
    }

    /// Adds a drain that the object begins, changes or ends to history. Where it ends before its time was up, nothing says who ended it.
    fn add_drain(&mut self, service: &Service, before: &Instance, after: &Instance) {
        let message = match (&before.drain, &after.drain) {
            (before, after) if before == after => return,
            (_, Some(drain)) => drained(drain),
            (before, None) if before.as_ref().and_then(|drain| drain.until).is_some_and(|until| until <= self.now) => {
                "its drain ended by itself".to_owned()
            }
            (_, None) => "its drain was ended".to_owned(),
        };
        self.writes.push(Write::History(HistoryRow::drain(service, after, self.now, message)));
    }

    /// Removes a service, with a row of history for each instance.
    fn remove_with_history(&mut self, entry: &Entry, why: &str) {
        let service = entry.service();
        let Ok(row) = self.row(service) else { return };
        for instance in &service.instances {
            self.note_removed_instance(service, instance, why);
            self.forget_acknowledgement(instance.id);
        }
        self.remove(row, service);
    }

    /// An object does not say who removed an instance of it, or why. Its last health does, where a lease ran out.
    fn note_removed_instance(&mut self, service: &Service, removed: &Instance, why: &str) {
        let message = match (removed.health, removed.reason) {
            (Health::Unhealthy, Reason::LeaseExpired) => {
                format!("{why}; its lease was not renewed since {}", removed.since)
            }
            (Health::Unhealthy, reason) => format!("{why}; it was unhealthy since {}: {reason}", removed.since),
            _ => why.to_owned(),
        };
        self.writes.push(Write::History(HistoryRow::removal(service, removed, self.now, message)));
    }

    fn note_removal(&mut self, key: ServiceKey, revision: u64) {
        if let Some(mirror) = &mut self.state.mirror {
            mirror.tombstones.note(key, revision);
        }
    }

    /// Advances the public revision to the highest one seen, even if nothing changed here.
    fn advance_to(&mut self, revision: u64) {
        let snapshot = &mut self.state.snapshot;
        if revision > snapshot.revision() {
            snapshot.advance(revision, snapshot.sequence() + 1);
        }
    }
}

/// When a reader could last notice a change: the object's last write, or a later verdict.
fn newest(updated_at: UnixMs, merged: &[Merged]) -> UnixMs {
    merged.iter().map(|merged| merged.after.since).fold(updated_at, UnixMs::max)
}

/// Gives the instance the leader's verdict.
fn show(instance: &mut Instance, reported: &ReportedHealth) {
    (instance.health, instance.reason, instance.since) = (reported.health, reported.reason, reported.since);
    instance.decided_by = reported.decided_by.clone();
    instance.warning.clone_from(&reported.warning);
    instance.also_failing.clone_from(&reported.also_failing);
    instance.observed_version.clone_from(&reported.observed_version);
}

/// Gives an adopted instance what Kubernetes reports, whoever probes: every replica sees that for itself.
fn show_readiness(instance: &mut Instance, reported: &ReportedHealth) {
    if instance.spec.check.is_readiness() {
        (instance.health, instance.reason, instance.since) = (reported.health, reported.reason, reported.since);
        instance.decided_by = reported.decided_by.clone();
        instance.message = Some(reported.message.as_str().into());
    }
}
