//! A write without an answer: reading the object afterwards shows whether it was made.

use super::merge::{CurrentObject, Done, Merged, ObjectChange, ObjectInstance};
use crate::model::ports::WriteError;

/// What was to be written, and what it was to change.
pub(super) struct Attempt {
    before: Option<CurrentObject>,
    merged: Merged,
}

impl Attempt {
    /// A write that changes the object from `before`.
    pub(super) fn new(before: Option<CurrentObject>, merged: Merged) -> Self {
        Self { before, merged }
    }

    /// What the calls get, if the object, as the API server has it `now`, has what was to be written, and nothing that was to be removed.
    /// Somebody else may have done the same, which comes to the same.
    pub(super) fn done(&self, now: Option<&CurrentObject>) -> Option<Vec<Result<Done, WriteError>>> {
        let is_done = match &self.merged.change {
            ObjectChange::Nothing => false,
            ObjectChange::Delete => self.before_in(now).is_none_or(|same| same.deleting),
            ObjectChange::Create(wanted) => now.is_some_and(|now| has_all(now, wanted)),
            ObjectChange::Replace(wanted) => match self.before_in(now) {
                Some(same) => has_all(same, wanted) && !self.has_removed(same, wanted),
                None => wanted.iter().all(|instance| !is_touched(instance)),
            },
        };
        is_done.then(|| self.merged.answers.clone())
    }

    /// `now`, if it is the object that was to be changed, and not another one of its name.
    fn before_in<'a>(&self, now: Option<&'a CurrentObject>) -> Option<&'a CurrentObject> {
        now.filter(|now| self.before.as_ref().is_some_and(|before| before.id == now.id))
    }

    /// Whether an instance is there that was to be removed.
    fn has_removed(&self, now: &CurrentObject, wanted: &[ObjectInstance]) -> bool {
        let mut before = self.before.iter().flat_map(|before| &before.instances);
        before.any(|instance| {
            let removed = wanted.iter().all(|kept| kept.name != instance.name);
            removed && find(now, instance).is_some_and(|found| found.generation == instance.generation)
        })
    }
}

fn is_touched(instance: &ObjectInstance) -> bool {
    instance.changed || instance.redrained
}

/// Whether the object has all instances of `wanted` that were to be written, as they were to be.
fn has_all(now: &CurrentObject, wanted: &[ObjectInstance]) -> bool {
    wanted.iter().filter(|instance| is_touched(instance)).all(|wanted| {
        find(now, wanted).is_some_and(|found| {
            let same_spec = !wanted.changed || found.spec == wanted.spec;
            let same_drain = !wanted.redrained || found.drain == wanted.drain;
            found.generation == wanted.generation && found.owner == wanted.owner && same_spec && same_drain
        })
    })
}

fn find<'a>(now: &'a CurrentObject, instance: &ObjectInstance) -> Option<&'a ObjectInstance> {
    now.instances.iter().find(|found| found.name == instance.name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::model::service::{Drain, Owner, Source};
    use crate::model::time::UnixMs;

    fn instance(name: &str, generation: u64) -> ObjectInstance {
        ObjectInstance {
            name: name.parse().expect("a label"),
            owner: Owner::Anonymous,
            generation: Some(generation),
            spec: None,
            healthy: false,
            unhealthy_since: None,
            drain: None,
            beyond_limit: false,
            changed: false,
            redrained: false,
        }
    }

    fn written(name: &str, generation: u64) -> ObjectInstance {
        ObjectInstance { changed: true, ..instance(name, generation) }
    }

    fn object(id: u128, instances: Vec<ObjectInstance>) -> CurrentObject {
        CurrentObject { id: Uuid::from_u128(id), source: Source::Rest, deleting: false, instances }
    }

    fn is_done(before: Option<CurrentObject>, change: ObjectChange, now: Option<&CurrentObject>) -> bool {
        let answers = vec![Ok(Done::Removed)];
        Attempt::new(before, Merged { change, answers: answers.clone() })
            .done(now)
            .inspect(|done| assert_eq!(*done, answers))
            .is_some()
    }

    #[test]
    fn a_registration_is_done_where_its_generation_is() {
        let (before, wanted) = (object(1, vec![instance("a", 5)]), vec![instance("a", 5), written("b", 9)]);
        let (there, other) = (object(1, wanted.clone()), object(1, vec![instance("a", 5), instance("b", 10)]));
        let replace = || ObjectChange::Replace(wanted.clone());
        assert!(is_done(Some(before.clone()), replace(), Some(&there)));
        for now in [Some(&before), Some(&other), Some(&object(2, wanted.clone())), None] {
            assert!(!is_done(Some(before.clone()), replace(), now), "{now:?}");
        }
        let create = || ObjectChange::Create(vec![written("a", 5)]);
        assert!(is_done(None, create(), Some(&before)));
        assert!(!is_done(None, create(), Some(&object(1, vec![instance("a", 6)]))) && !is_done(None, create(), None));
    }

    #[test]
    fn another_drain_of_a_drained_instance_is_done_where_it_is_the_one() {
        let drained = |reason: &str| {
            let drain = Drain { reason: reason.to_owned(), by: "ann".to_owned(), since: UnixMs(1), until: None };
            ObjectInstance { drain: Some(Arc::new(drain)), ..instance("a", 5) }
        };
        let before = || object(1, vec![drained("disk")]);
        let replace = || ObjectChange::Replace(vec![ObjectInstance { redrained: true, ..drained("fan") }]);
        assert!(!is_done(Some(before()), replace(), Some(&before())));
        assert!(is_done(Some(before()), replace(), Some(&object(1, vec![drained("fan")]))));
    }

    #[test]
    fn a_removal_is_done_where_what_it_removed_is_gone_and_takes_no_successor() {
        let before = object(1, vec![instance("a", 5), instance("b", 6)]);
        let replace = || ObjectChange::Replace(vec![instance("b", 6)]);
        let again = object(1, vec![instance("a", 7), instance("b", 6)]);
        for now in
            [Some(&object(1, vec![instance("b", 6)])), Some(&again), Some(&object(2, vec![instance("a", 5)])), None]
        {
            assert!(is_done(Some(before.clone()), replace(), now), "{now:?}");
        }
        assert!(!is_done(Some(before.clone()), replace(), Some(&before)));
        let (going, successor) =
            (CurrentObject { deleting: true, ..before.clone() }, object(2, before.instances.clone()));
        for now in [Some(&going), Some(&successor), None] {
            assert!(is_done(Some(before.clone()), ObjectChange::Delete, now), "{now:?}");
        }
        assert!(!is_done(Some(before.clone()), ObjectChange::Delete, Some(&before)));
    }
}
