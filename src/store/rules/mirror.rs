//! The rules of mirroring: what the Kubernetes API says replaces what was known, by revision.

use std::collections::HashSet;
use std::sync::Arc;

use crate::catalog::{Entry, LastCheck};
use crate::model::mirror::{MirrorChange, Mirrored, MirroredInstance, ReportedHealth, VerdictsFrom};
use crate::model::name::{InstanceName, ServiceKey};
use crate::model::outcome::{Health, Reason};
use crate::model::ports::WriteError;
use crate::model::service::{Instance, InstanceId, Service, Source};
use crate::model::time::UnixMs;

use super::state::Work;
use crate::store::queue::job::List;
use crate::store::schema::codec::int;
use crate::store::schema::write::{Past, SpecColumns, Write};

/// What an instance was and what it is now.
struct Merged {
    before: Option<Instance>,
    after: Instance,
    /// What the object's status says of it.
    told: Option<ReportedHealth>,
}

impl Work<'_> {
    /// Takes in what the watch or a write's answer says.
    pub(in crate::store) fn mirror(
        &mut self,
        changes: Vec<MirrorChange>,
        verdicts: VerdictsFrom,
    ) -> Result<(), WriteError> {
        self.is_mirror()?;
        for change in changes {
            match change {
                MirrorChange::Put(object) => self.take_in(object, verdicts),
                MirrorChange::Remove { key, id, revision } => {
                    let known = self.state.snapshot.get(key.as_str()).cloned();
                    let known = known.filter(|known| known.service().id == id && known.service().revision <= revision);
                    if let Some(known) = known {
                        self.let_go(&known, "removed: its object was deleted, or is no longer valid");
                    }
                    self.note_gone(key, revision);
                    self.saw(revision);
                }
            }
        }
        Ok(())
    }

    /// Takes in a finished list: what it lacks is gone, unless it is newer than the list.
    pub(in crate::store) fn mirror_all(&mut self, list: List) -> Result<(), WriteError> {
        self.is_mirror()?;
        let List { all, revision, verdicts } = list;
        let listed: HashSet<&ServiceKey> = all.iter().map(|object| &object.key).collect();
        let lacks = |entry: &&Arc<Entry>| {
            let service = entry.service();
            service.revision <= revision && !listed.contains(&service.key)
        };
        let absent: Vec<_> = self.state.snapshot.newest_first(None).filter(lacks).cloned().collect();
        for entry in absent {
            self.let_go(&entry, "removed: its object was found to be gone");
            self.note_gone(entry.service().key.clone(), revision);
        }
        for object in all {
            self.take_in(object, verdicts);
        }
        self.saw(revision);
        if let Some(mirror) = self.state.mirror.as_mut().filter(|mirror| !mirror.complete) {
            mirror.complete = true;
            self.writes.push(Write::Complete);
        }
        Ok(())
    }

    fn is_mirror(&self) -> Result<(), WriteError> {
        let mirror = self.state.mirror.is_some();
        if mirror { Ok(()) } else { Err(WriteError::Store("it mirrors nothing: it is the record itself".to_owned())) }
    }

    fn take_in(&mut self, object: Mirrored, verdicts: VerdictsFrom) {
        let revision = object.revision;
        let known = self.state.snapshot.get(object.key.as_str()).cloned();
        if self.is_news(&object, known.as_deref()) {
            match known {
                Some(known) if known.service().id == object.id => self.renew(&known, object, verdicts),
                known => {
                    if let Some(known) = known {
                        self.let_go(&known, "removed: another object took its name");
                    }
                    self.adopt(object);
                }
            }
        }
        self.saw(revision);
    }

    /// Whether it is newer than what is known. At the revision that is known it may still take back a verdict of our own.
    fn is_news(&self, object: &Mirrored, known: Option<&Entry>) -> bool {
        match known.map(Entry::service) {
            Some(known) if known.id == object.id => {
                known.revision < object.revision || known.revision == object.revision && known.unreported.is_some()
            }
            known => {
                let gone = self.state.mirror.as_ref().and_then(|mirror| mirror.gone.revision(&object.key));
                known.map(|known| known.revision).max(gone).is_none_or(|newest| newest < object.revision)
            }
        }
    }

    fn adopt(&mut self, object: Mirrored) {
        let row = int(self.number());
        let Mirrored { key, id, source, registered_at, updated_at, revision, instances } = object;
        let merged = instances.into_iter().map(|told| self.fresh(told, registered_at, updated_at)).collect::<Vec<_>>();
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
            mirror.gone.forget(&service.key);
        }
        self.added.insert(id, row);
        self.state.rest += usize::from(source == Source::Rest);
        let service = self.put(service, LastCheck::default());
        self.writes.push(Write::AddService(row, Arc::clone(&service)));
        for instance in &service.instances {
            self.add_instance(row, &service, instance);
        }
    }

    fn renew(&mut self, entry: &Entry, object: Mirrored, verdicts: VerdictsFrom) {
        let old = entry.service();
        let Ok(row) = self.row(old) else { return };
        let mut merged = Vec::with_capacity(object.instances.len());
        for told in object.instances {
            merged.push(match old.instance(told.name.as_str()) {
                Some(known) => self.merge(known, told, verdicts, object.updated_at),
                None => self.fresh(told, object.registered_at, object.updated_at),
            });
        }
        let reported = merged.iter().all(|merged| self.is_told(merged));
        let replica = self.state.mirror.as_ref().map(|mirror| mirror.replica);
        let service = Service {
            updated_at: newest(object.updated_at, &merged),
            revision: object.revision,
            unreported: replica.filter(|_| !reported),
            instances: merged.iter().map(|merged| merged.after.clone()).collect(),
            ..Service::clone(old)
        };
        if service == **old {
            return;
        }
        let service = self.put(service, entry.last_check().clone());
        self.writes.push(Write::Touch(row, Arc::clone(&service)));
        self.write_merged(row, &service, &merged);
        let stays = |gone: &&Instance| service.instance(gone.name.as_str()).is_none();
        for gone in old.instances.iter().filter(stays) {
            self.writes.push(Write::DropInstance(gone.id));
            self.farewell(old, gone, "removed from its object");
        }
    }

    fn write_merged(&mut self, row: i64, service: &Arc<Service>, merged: &[Merged]) {
        for Merged { before, after, told } in merged {
            match before {
                None => self.add_instance(row, service, after),
                Some(before) if before == after => {}
                Some(before) => {
                    let columns = SpecColumns::of(&after.spec);
                    self.writes.push(Write::PutInstance(Arc::clone(service), after.id, columns));
                    self.remember(service, before, after, told.as_ref());
                }
            }
        }
    }

    fn add_instance(&mut self, row: i64, service: &Arc<Service>, instance: &Instance) {
        let columns = SpecColumns::of(&instance.spec);
        self.writes.push(Write::AddInstance(row, Arc::clone(service), instance.id, columns));
    }

    /// An instance that was not known: status is all that there is to go by.
    fn fresh(&mut self, object: MirroredInstance, registered_at: UnixMs, updated_at: UnixMs) -> Merged {
        let number = self.number();
        let MirroredInstance { name, spec, owner, generation, told } = object;
        let (health, reason) = self.unproved(&spec);
        let mut after = Instance {
            id: InstanceId(int(number)),
            name,
            spec,
            owner,
            generation: number,
            fence: Some(generation.unwrap_or(0)),
            created_at: registered_at,
            health,
            reason,
            since: updated_at,
            message: None,
        };
        if let Some(told) = &told {
            (after.health, after.reason, after.since) = (told.health, told.reason, told.since);
        }
        Merged { before: None, after, told }
    }

    fn merge(
        &mut self,
        known: &Instance,
        object: MirroredInstance,
        verdicts: VerdictsFrom,
        updated_at: UnixMs,
    ) -> Merged {
        let MirroredInstance { name: _, spec, owner, generation, told } = object;
        let changed = spec.probes_differ(&known.spec);
        let mut after = Instance { spec, owner, fence: Some(generation.unwrap_or(0)), ..known.clone() };
        if changed {
            after.generation = self.number();
        }
        if changed || verdicts == VerdictsFrom::Status {
            let unproved = self.unproved(&after.spec);
            after.message = None;
            (after.health, after.reason, after.since) = match &told {
                Some(told) => (told.health, told.reason, told.since),
                None if (known.health, known.reason) == unproved => (known.health, known.reason, known.since),
                None => (unproved.0, unproved.1, updated_at),
            };
        }
        Merged { before: Some(known.clone()), after, told }
    }

    /// Whether readers of other replicas see the same.
    fn is_told(&self, Merged { after, told, .. }: &Merged) -> bool {
        match told {
            Some(told) => (told.health, told.reason, told.since) == (after.health, after.reason, after.since),
            None => (after.health, after.reason) == self.unproved(&after.spec),
        }
    }

    /// Notes a change of health as this replica saw it.
    fn remember(&mut self, service: &Service, before: &Instance, after: &Instance, told: Option<&ReportedHealth>) {
        let held = after.reason == Reason::Flapping && before.reason != Reason::Flapping;
        if before.health == after.health && !held {
            return;
        }
        let (at, message) = match told {
            Some(told) if told.message.is_empty() => (told.since, format!("{} ({})", told.health, told.reason)),
            Some(told) => (told.since, told.message.clone()),
            None if before.generation != after.generation => (self.now, "its address or check was changed".to_owned()),
            None => (self.now, "its status was taken back".to_owned()),
        };
        let to = Some((after.health, after.reason));
        self.writes.push(Write::Remember(past(service, &after.name, at, before.health, to, message)));
    }

    /// Removes a service, and says so in its history.
    fn let_go(&mut self, entry: &Entry, why: &str) {
        let service = entry.service();
        let Ok(row) = self.row(service) else { return };
        for instance in &service.instances {
            self.farewell(service, instance, why);
        }
        self.remove(row, service);
    }

    fn farewell(&mut self, service: &Service, gone: &Instance, why: &str) {
        let past = past(service, &gone.name, self.now, gone.health, None, why.to_owned());
        self.writes.push(Write::Remember(past));
    }

    fn note_gone(&mut self, key: ServiceKey, revision: u64) {
        if let Some(mirror) = &mut self.state.mirror {
            mirror.gone.note(key, revision);
        }
    }

    /// The public revision is the highest that was seen, also where it changed nothing here.
    fn saw(&mut self, revision: u64) {
        let snapshot = &mut self.state.snapshot;
        if revision > snapshot.revision() {
            snapshot.advance(revision, snapshot.sequence() + 1);
        }
    }
}

/// When a reader could last notice a change: the object's last write, or a verdict that came later.
fn newest(updated_at: UnixMs, merged: &[Merged]) -> UnixMs {
    merged.iter().map(|merged| merged.after.since).fold(updated_at, UnixMs::max)
}

fn past(
    service: &Service,
    instance: &InstanceName,
    at: UnixMs,
    from: Health,
    to: Option<(Health, Reason)>,
    message: String,
) -> Past {
    let (id, key, instance) = (service.id, service.key.clone(), instance.clone());
    Past { service: id, key, instance, at, from, to, message, evidence: None }
}
