//! What becomes of an object when calls are merged into it: the same rules as the standalone store's, call after call. Pure.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use uuid::Uuid;

use crate::model::name::{InstanceName, ServiceKey};
use crate::model::ports::{Caller, FullService, Registration, Removal, ReplacedUrl, ServiceRef, WriteError};
use crate::model::service::{InstanceSpec, MAX_INSTANCES_PER_SERVICE, Owner, Source};
use crate::model::time::UnixMs;

/// What a call wants.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    /// An instance added, changed or renewed.
    Register(Box<Registration>),
    /// An instance or the service removed.
    Remove(Removal),
}

/// A call.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// What for.
    pub(super) wish: Wish,
    /// By whom.
    pub(super) caller: Caller,
}

/// An object as it is known.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Its uid.
    pub(super) id: Uuid,
    /// Who keeps it.
    pub(super) source: Source,
    /// Whether it is on its way out.
    pub(super) deleting: bool,
    /// By name.
    pub(super) slots: Vec<Slot>,
}

/// An instance of an object.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// Its name.
    pub(super) name: InstanceName,
    /// Who registered it.
    pub(super) owner: Owner,
    /// None where somebody wrote the entry by hand.
    pub(super) generation: Option<u64>,
    /// None where the entry cannot be read.
    pub(super) spec: Option<Arc<InstanceSpec>>,
    /// Whether the catalog shows it as healthy.
    pub(super) healthy: bool,
    /// Since when the catalog shows it as unhealthy, where it does.
    pub(super) unhealthy_since: Option<UnixMs>,
    /// Whether its entry is to be written anew.
    pub(super) changed: bool,
}

/// The bounds that a registration meets, and what there is of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Most services registered over REST; 0 is unlimited.
    pub(super) most_services: usize,
    /// Services registered over REST.
    pub(super) services: usize,
    /// Most instances.
    pub(super) most_instances: usize,
    /// Instances of all services.
    pub(super) instances: usize,
}

/// Gives generations: each greater than all before it, and not below the wall clock's milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp(pub(super) u64);

impl Stamp {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// What was done for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    /// The instance is as it was asked for.
    Registered {
        /// For `If-Match`.
        generation: u64,
        /// Nothing differed.
        renewed: bool,
        /// URLs of the instance that are others now.
        replaced: Vec<ReplacedUrl>,
    },
    /// It is gone.
    Removed,
}

/// What is to be written for the calls that were taken.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// Nothing.
    Nothing,
    /// A new object with these instances.
    Create(Vec<Slot>),
    /// The object with these instead.
    Replace(Vec<Slot>),
    /// No object.
    Delete,
}

/// What became of the first calls: as many as there are answers, at least one.
#[derive(Debug, Clone)]
pub(super) struct Merged {
    /// To be written, and true only once it is.
    pub(super) write: Write,
    /// One a call, in order.
    pub(super) answers: Vec<Result<Done, WriteError>>,
}

/// What a call does to the object.
enum Step {
    /// It is answered.
    Taken(Result<Done, WriteError>),
    /// It removes the last instance, and so the object.
    Last,
    /// It has to wait for what those before it write.
    Later,
}

struct Work<'a> {
    key: &'a ServiceKey,
    held: Option<&'a Held>,
    slots: Vec<Slot>,
    changed: bool,
    registered: bool,
    room: Room,
    stamp: &'a mut Stamp,
}

/// Merges the calls into the object of `key`, none where there is no such object.
pub(super) fn merge(key: &ServiceKey, held: Option<&Held>, calls: &[Asked], room: Room, stamp: &mut Stamp) -> Merged {
    let slots = held.map(|held| held.slots.clone()).unwrap_or_default();
    let room = Room { instances: room.instances.saturating_sub(slots.len()), ..room };
    let highest = slots.iter().filter_map(|slot| slot.generation).max().unwrap_or(0);
    stamp.0 = stamp.0.max(highest);
    let mut work = Work { key, held, slots, changed: false, registered: false, room, stamp };
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        match work.take(call) {
            Step::Taken(answer) => answers.push(answer),
            Step::Last => {
                answers.push(Ok(Done::Removed));
                return Merged { write: Write::Delete, answers };
            }
            Step::Later => break,
        }
    }
    Merged { write: work.write(), answers }
}

impl Work<'_> {
    fn write(self) -> Write {
        match self.held {
            _ if !self.changed => Write::Nothing,
            None => Write::Create(self.slots),
            Some(_) => Write::Replace(self.slots),
        }
    }

    fn take(&mut self, call: &Asked) -> Step {
        match &call.wish {
            Wish::Register(registration) => Step::Taken(self.register(registration, &call.caller)),
            Wish::Remove(removal) => self.remove(removal, &call.caller).unwrap_or_else(|error| Step::Taken(Err(error))),
        }
    }

    fn register(&mut self, registration: &Registration, caller: &Caller) -> Result<Done, WriteError> {
        match self.held {
            Some(held) if held.source == Source::Manifest => return Err(WriteError::ManifestOwned(self.key.clone())),
            Some(held) if held.deleting => return Err(WriteError::Terminating(self.key.clone())),
            _ => {}
        }
        match self.slots.binary_search_by(|slot| slot.name.cmp(&registration.instance)) {
            Ok(at) => self.change(at, registration, caller),
            Err(at) => self.join(at, registration, caller),
        }
    }

    /// The owner stays: it is the instance's, not the last caller's.
    fn change(&mut self, at: usize, registration: &Registration, caller: &Caller) -> Result<Done, WriteError> {
        let Some(slot) = self.slots.get_mut(at) else { return Err(WriteError::InstanceNotFound) };
        if !caller.may_change(&slot.owner) {
            return Err(WriteError::NotOwner);
        }
        let same = slot.spec.as_deref().filter(|spec| **spec == registration.spec).and(slot.generation);
        if let Some(generation) = same {
            return Ok(Done::Registered { generation, renewed: true, replaced: Vec::new() });
        }
        let old = slot.spec.replace(Arc::new(registration.spec.clone()));
        let replaced = old.as_ref().map(|old| ReplacedUrl::between(old, &registration.spec, slot.healthy));
        let kept = slot.generation.filter(|_| old.is_some_and(|old| !registration.spec.probes_differ(&old)));
        let generation = kept.unwrap_or_else(|| self.stamp.next());
        slot.healthy &= kept.is_some();
        slot.unhealthy_since = slot.unhealthy_since.filter(|_| kept.is_some());
        slot.generation = Some(generation);
        slot.changed = true;
        (self.changed, self.registered) = (true, true);
        Ok(Done::Registered { generation, renewed: false, replaced: replaced.unwrap_or_default() })
    }

    /// A further instance takes an owner of one that is there; the first makes the service.
    fn join(&mut self, at: usize, registration: &Registration, caller: &Caller) -> Result<Done, WriteError> {
        if self.slots.is_empty() {
            self.room_for_service()?;
        } else if !self.slots.iter().any(|slot| caller.may_change(&slot.owner)) {
            return Err(WriteError::NotOwner);
        }
        if self.slots.len() >= MAX_INSTANCES_PER_SERVICE {
            let instances = self.slots.iter().map(|slot| (&slot.name, slot.unhealthy_since));
            return Err(WriteError::ServiceFull(FullService::of(instances)));
        }
        if self.room.instances + self.slots.len() >= self.room.most_instances {
            return Err(WriteError::TooManyInstances(self.room.most_instances));
        }
        let generation = self.stamp.next();
        let slot = Slot {
            name: registration.instance.clone(),
            owner: caller.owner.clone(),
            generation: Some(generation),
            spec: Some(Arc::new(registration.spec.clone())),
            healthy: false,
            unhealthy_since: None,
            changed: true,
        };
        self.slots.insert(at, slot);
        (self.changed, self.registered) = (true, true);
        Ok(Done::Registered { generation, renewed: false, replaced: Vec::new() })
    }

    fn room_for_service(&self) -> Result<(), WriteError> {
        let Room { most_services: most, services, .. } = self.room;
        let full = most > 0 && services >= most && self.held.is_none();
        if full { Err(WriteError::TooManyServices(most)) } else { Ok(()) }
    }

    fn remove(&mut self, removal: &Removal, caller: &Caller) -> Result<Step, WriteError> {
        if matches!(removal.service, ServiceRef::Id(id) if self.held.is_none_or(|held| held.id != id)) {
            return Err(WriteError::ServiceNotFound);
        }
        match self.held {
            Some(held) if held.source == Source::Manifest => return Err(WriteError::ManifestOwned(self.key.clone())),
            Some(held) if held.deleting => return Err(WriteError::ServiceNotFound),
            _ => {}
        }
        if self.slots.is_empty() {
            return Err(WriteError::ServiceNotFound);
        }
        let gone = leaving(&self.slots, removal, caller)?;
        if gone.len() == self.slots.len() {
            // What was registered just before has to be there first, or its caller was told an untruth.
            return Ok(if self.registered { Step::Later } else { Step::Last });
        }
        self.slots.retain(|slot| !gone.contains(&slot.name));
        self.changed = true;
        Ok(Step::Taken(Ok(Done::Removed)))
    }
}

/// The instances that the call means and may remove. Ownership is judged before anything that tells of the instance's state.
fn leaving(slots: &[Slot], removal: &Removal, caller: &Caller) -> Result<Vec<InstanceName>, WriteError> {
    let meant = |slot: &&Slot| removal.instance.as_ref().is_none_or(|name| slot.name == *name);
    let gone: Vec<&Slot> = slots.iter().filter(meant).collect();
    if gone.is_empty() {
        return Err(WriteError::InstanceNotFound);
    }
    let mine = gone.iter().filter(|slot| caller.may_change(&slot.owner)).count();
    let several = gone.len() > 1 && !removal.all;
    if mine == 0 || (mine < gone.len() && !several) {
        return Err(WriteError::NotOwner);
    }
    if several {
        return Err(WriteError::HasInstances(gone.len()));
    }
    let names = || gone.iter().map(|slot| slot.name.clone()).collect();
    let Some(asked) = removal.if_generation else { return Ok(names()) };
    match gone.iter().find(|slot| slot.generation != Some(asked)) {
        Some(slot) => Err(WriteError::StaleGeneration { asked, current: slot.generation.unwrap_or(0) }),
        None => Ok(names()),
    }
}
