//! What becomes of an object when calls are merged into it, one after the other, by the rules of [`registration`]. Pure.
//!
//! In: an object, or none, and the calls that wait for it. Out: the object to write, if it changed, and each call's answer.
//!
//! This file has all of it; `tests` compare it with the standalone store.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use uuid::Uuid;

use crate::model::name::{InstanceName, ServiceKey};
use crate::model::ports::{Caller, DrainChange, InstanceRef, Registration, Removal, ReplacedUrl, WriteError};
use crate::model::registration::{self, Change, Current, DrainStep, InstanceView, Limits, Removed};
use crate::model::service::{Drain, InstanceSpec, Owner, Source};
use crate::model::time::UnixMs;

/// What a call does.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// Adds, changes or renews an instance.
    Register(Box<Registration>),
    /// Removes an instance or the service.
    Remove(Removal),
    /// Drains an instance, or ends that.
    Drain(InstanceRef, DrainChange),
}

/// A call.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) op: Op,
    pub(super) caller: Caller,
}

/// An object as it is known.
#[derive(Debug, Clone)]
pub(super) struct CurrentObject {
    /// Its uid.
    pub(super) id: Uuid,
    /// Who keeps it.
    pub(super) source: Source,
    /// Whether it is being deleted.
    pub(super) deleting: bool,
    /// In order of name.
    pub(super) instances: Vec<ObjectInstance>,
}

/// An instance of an object.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of an instance")]
pub(super) struct ObjectInstance {
    pub(super) name: InstanceName,
    /// Who registered it.
    pub(super) owner: Owner,
    /// None where somebody wrote the entry by hand.
    pub(super) generation: Option<u64>,
    /// None where the entry cannot be read.
    pub(super) spec: Option<Arc<InstanceSpec>>,
    /// Whether the catalog shows it as healthy.
    pub(super) healthy: bool,
    /// Since when the catalog shows it as unhealthy, if it does.
    pub(super) unhealthy_since: Option<UnixMs>,
    /// Its drain, if it has one that is not over.
    pub(super) drain: Option<Arc<Drain>>,
    /// Whether it is left out, since the policies of its namespace allow fewer instances.
    pub(super) beyond_limit: bool,
    /// Whether its entry has to be written again.
    pub(super) changed: bool,
    /// Whether its entry gets another drain.
    pub(super) redrained: bool,
}

impl InstanceView for ObjectInstance {
    fn name(&self) -> &InstanceName {
        &self.name
    }

    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn generation(&self) -> Option<u64> {
        self.generation
    }

    fn spec(&self) -> Option<&InstanceSpec> {
        self.spec.as_deref()
    }

    fn is_healthy(&self) -> bool {
        self.healthy
    }

    fn unhealthy_since(&self) -> Option<UnixMs> {
        self.unhealthy_since
    }

    fn drain(&self) -> Option<&Arc<Drain>> {
        self.drain.as_ref()
    }

    fn is_beyond_limit(&self) -> bool {
        self.beyond_limit
    }
}

/// Gives generations: each greater than all before it, and not below the wall clock's milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Generations(pub(super) u64);

impl Generations {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// What was done for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    /// The instance is registered as requested.
    Registered {
        /// Its name, which may have been derived.
        instance: InstanceName,
        /// For `If-Match`.
        generation: u64,
        /// Whether nothing differed.
        renewed: bool,
        /// URLs of the instance that were replaced.
        replaced: Vec<ReplacedUrl>,
    },
    /// It is drained, or is no longer, as the call wanted.
    Drained,
    Removed,
}

/// What has to be written for the calls that were merged.
#[derive(Debug, Clone)]
pub(super) enum ObjectChange {
    Nothing,
    /// A new object with these instances.
    Create(Vec<ObjectInstance>),
    /// The object with these instances instead of its own.
    Replace(Vec<ObjectInstance>),
    Delete,
}

/// What became of the first calls: as many as there are answers, at least one.
#[derive(Debug, Clone)]
pub(super) struct Merged {
    pub(super) change: ObjectChange,
    /// One for each call, in order; true only once the change is written.
    pub(super) answers: Vec<Result<Done, WriteError>>,
}

/// What a call does to the object.
enum Step {
    /// It is answered.
    Answered(Result<Done, WriteError>),
    /// It removes the last instance, and so the object.
    Delete,
    /// It has to wait until what the calls before it change is written.
    Wait,
}

struct Work<'a> {
    key: &'a ServiceKey,
    object: Option<&'a CurrentObject>,
    instances: Vec<ObjectInstance>,
    changed: bool,
    registered: bool,
    /// Its `instances` are those of all other objects.
    limits: Limits,
    generations: &'a mut Generations,
    now: UnixMs,
}

/// Merges the calls into the object of `key`, none where there is no such object.
pub(super) fn merge(
    key: &ServiceKey,
    object: Option<&CurrentObject>,
    calls: &[Request],
    limits: Limits,
    generations: &mut Generations,
    now: UnixMs,
) -> Merged {
    let instances = object.map(|object| object.instances.clone()).unwrap_or_default();
    let limits = Limits { instances: limits.instances.saturating_sub(instances.len()), ..limits };
    let highest = instances.iter().filter_map(|instance| instance.generation).max().unwrap_or(0);
    generations.0 = generations.0.max(highest);
    let mut work = Work { key, object, instances, changed: false, registered: false, limits, generations, now };
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        match work.take(call) {
            Step::Answered(answer) => answers.push(answer),
            Step::Delete => {
                answers.push(Ok(Done::Removed));
                return Merged { change: ObjectChange::Delete, answers };
            }
            Step::Wait => break,
        }
    }
    Merged { change: work.change(), answers }
}

impl Work<'_> {
    fn change(self) -> ObjectChange {
        match self.object {
            _ if !self.changed => ObjectChange::Nothing,
            None => ObjectChange::Create(self.instances),
            Some(_) => ObjectChange::Replace(self.instances),
        }
    }

    fn take(&mut self, call: &Request) -> Step {
        match &call.op {
            Op::Register(registration) => Step::Answered(self.register(registration, &call.caller)),
            Op::Drain(instance, change) => Step::Answered(self.drain(instance, change, &call.caller)),
            Op::Remove(removal) => {
                self.remove(removal, &call.caller).unwrap_or_else(|error| Step::Answered(Err(error)))
            }
        }
    }

    /// The object with what the calls so far change. One that they create has no uid yet.
    fn current(&self) -> Option<Current<'_, ObjectInstance>> {
        let instances = &self.instances[..];
        match self.object {
            Some(object) => {
                Some(Current { id: Some(object.id), source: object.source, deleting: object.deleting, instances })
            }
            None if instances.is_empty() => None,
            None => Some(Current { id: None, source: Source::Rest, deleting: false, instances }),
        }
    }

    fn register(&mut self, registration: &Registration, caller: &Caller) -> Result<Done, WriteError> {
        let limits = Limits { instances: self.limits.instances + self.instances.len(), ..self.limits };
        let instance = registration::name_of(&self.instances, registration);
        let registration = &Registration { instance: instance.clone(), ..registration.clone() };
        match registration::register(self.current(), registration, caller, limits)? {
            Change::Renew { generation } => {
                Ok(Done::Registered { instance, generation, renewed: true, replaced: Vec::new() })
            }
            Change::Create => Ok(self.add(0, registration, caller)),
            Change::Add(at) => Ok(self.add(at, registration, caller)),
            Change::Update { at, restart, replaced } => self.update(at, restart, replaced, registration),
        }
    }

    fn add(&mut self, at: usize, registration: &Registration, caller: &Caller) -> Done {
        let generation = self.generations.next();
        let instance = ObjectInstance {
            name: registration.instance.clone(),
            owner: caller.owner.clone(),
            generation: Some(generation),
            spec: Some(Arc::new(registration.spec.clone())),
            healthy: false,
            unhealthy_since: None,
            drain: None,
            beyond_limit: false,
            changed: true,
            redrained: false,
        };
        self.instances.insert(at, instance);
        (self.changed, self.registered) = (true, true);
        let instance = registration.instance.clone();
        Done::Registered { instance, generation, renewed: false, replaced: Vec::new() }
    }

    fn update(
        &mut self,
        at: usize,
        restart: bool,
        replaced: Vec<ReplacedUrl>,
        registration: &Registration,
    ) -> Result<Done, WriteError> {
        let Some(instance) = self.instances.get_mut(at) else { return Err(WriteError::InstanceNotFound) };
        let kept = instance.generation.filter(|_| !restart);
        let generation = kept.unwrap_or_else(|| self.generations.next());
        instance.spec = Some(Arc::new(registration.spec.clone()));
        instance.healthy &= kept.is_some();
        instance.unhealthy_since = instance.unhealthy_since.filter(|_| kept.is_some());
        instance.generation = Some(generation);
        instance.changed = true;
        (self.changed, self.registered) = (true, true);
        let instance = registration.instance.clone();
        Ok(Done::Registered { instance, generation, renewed: false, replaced })
    }

    fn drain(&mut self, of: &InstanceRef, change: &DrainChange, caller: &Caller) -> Result<Done, WriteError> {
        let step = registration::drain(self.key, self.current(), of, change, caller, self.now)?;
        if let DrainStep::Set(at, drain) = step {
            let instance = self.instances.get_mut(at).ok_or(WriteError::InstanceNotFound)?;
            (instance.drain, instance.redrained) = (drain, true);
            self.changed = true;
        }
        Ok(Done::Drained)
    }

    fn remove(&mut self, removal: &Removal, caller: &Caller) -> Result<Step, WriteError> {
        let leaving = match registration::deregister(self.key, self.current(), removal, caller)? {
            // What was registered just before has to be there first; otherwise its caller got a false answer.
            Removed::Service => return Ok(if self.registered { Step::Wait } else { Step::Delete }),
            Removed::Instances(leaving) => leaving,
        };
        let mut at = 0..;
        self.instances.retain(|_| at.next().is_some_and(|at| leaving.binary_search(&at).is_err()));
        self.changed = true;
        Ok(Step::Answered(Ok(Done::Removed)))
    }
}
