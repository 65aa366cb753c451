//! The rules of acknowledgements: what one is given for, and when it ends. Pure.

use std::sync::Arc;

use super::acknowledgement::{Acknowledgement, End, Failure};
use super::name::InstanceName;
use super::ports::{AcknowledgementChange, AcknowledgementOrder, WriteError};
use super::service::{Instance, Service};
use super::time::UnixMs;

/// An acknowledgement that ended because of what became of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The instance that ended it: the one that recovered, or that newly fails.
    pub instance: InstanceName,
    /// Why.
    pub why: End,
    /// What ended.
    pub acknowledgement: Arc<Acknowledgement>,
}

/// Ends the acknowledgements of `after` that no longer apply, where `before` is the service before the change. An acknowledgement given for
/// the whole service that ends is returned once. One that comes with the change was given for what the change shows.
pub fn settle(before: &Service, after: &mut Service) -> Vec<Ended> {
    if after.instances.iter().all(|instance| instance.acknowledged.is_none()) {
        return Vec::new();
    }
    let newly_failing =
        after.instances.iter().find(|instance| newly_fails(before, instance)).map(|failing| failing.name.clone());
    let mut ended: Vec<Ended> = Vec::new();
    for instance in &mut after.instances {
        let Some(known) = instance.acknowledged.clone() else { continue };
        let (by, why) = match (known.failure.left(instance.failure()), &newly_failing) {
            (_, Some(newly_failing)) if known.whole && stood(before, instance, &known) => {
                (newly_failing, End::NewFailure)
            }
            (Ok(left), _) => {
                if left != known.failure {
                    instance.acknowledged = Some(Arc::new(Acknowledgement { failure: left, ..(*known).clone() }));
                }
                continue;
            }
            (Err(why), _) => (&instance.name, why),
        };
        let is_listed = |ended: &Ended| known.whole && ended.acknowledgement.whole && ended.why == why;
        if !ended.iter().any(is_listed) {
            ended.push(Ended { instance: by.clone(), why, acknowledgement: known });
        }
        instance.acknowledged = None;
    }
    ended
}

/// Whether the acknowledgement of `instance` stood before the change, perhaps for more.
fn stood(before: &Service, instance: &Instance, known: &Acknowledgement) -> bool {
    let before = before.instance(instance.name.as_str()).and_then(|before| before.acknowledged.as_deref());
    before.is_some_and(|before| before.is_same(known))
}

/// Whether `instance` fails in a way in which it did not fail before the change.
fn newly_fails(before: &Service, instance: &Instance) -> bool {
    let Some(now) = instance.failure() else { return false };
    let old = before.instance(instance.name.as_str()).and_then(Instance::failure);
    old.is_none_or(|old| old.left(Some(now)) == Err(End::NewFailure))
}

/// Why an acknowledgement is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Because of what became of the service.
    Failure(End),
    /// Its time was up.
    Expired,
    /// Somebody withdrew it.
    Withdrawn,
}

/// Why the acknowledgement `known` of an instance of `before` is gone at `now`, where `after` is all that is known.
pub fn why_ended(before: &Service, after: &Service, of: &InstanceName, known: &Acknowledgement, now: UnixMs) -> Why {
    let own = after.instance(of.as_str()).and_then(Instance::failure);
    match known.failure.left(own) {
        Err(why) => Why::Failure(why),
        Ok(_) if known.whole && after.instances.iter().any(|instance| newly_fails(before, instance)) => {
            Why::Failure(End::NewFailure)
        }
        Ok(_) if known.until.is_some_and(|until| until <= now) => Why::Expired,
        Ok(_) => Why::Withdrawn,
    }
}

/// The position of an instance, and its new acknowledgement, or none.
pub type Change = (usize, Option<Arc<Acknowledgement>>);

/// What `change` does to the acknowledgements of `service`, or of one instance of it.
///
/// # Errors
/// The refusal: no such instance, or nothing that fails.
pub fn acknowledge(
    service: &Service,
    instance: Option<&InstanceName>,
    change: &AcknowledgementChange,
    now: UnixMs,
) -> Result<Vec<Change>, WriteError> {
    let is_meant = |one: &Instance| instance.is_none_or(|name| one.name == *name);
    let meant: Vec<(usize, &Instance)> =
        service.instances.iter().enumerate().filter(|(_, one)| is_meant(one)).collect();
    if meant.is_empty() {
        return Err(WriteError::InstanceNotFound);
    }
    let ends = |wanted: &dyn Fn(&Acknowledgement) -> bool| {
        let ends = meant.iter().filter(|(_, one)| one.acknowledged.as_ref().is_some_and(|known| wanted(known)));
        ends.map(|(at, _)| (*at, None)).collect()
    };
    match change {
        AcknowledgementChange::Start(order) => {
            let failing: Vec<(usize, &Instance, Failure)> =
                meant.iter().filter_map(|(at, one)| Some((*at, *one, one.failure()?))).collect();
            if failing.is_empty() {
                return Err(WriteError::NothingToAcknowledge { instance: instance.is_some() });
            }
            let whole = instance.is_none();
            let given = failing.into_iter().filter_map(|(at, one, failure)| {
                let new = given(order, whole, failure, now);
                let is_repeated = one.acknowledged.as_deref().is_some_and(|old| is_repeated(old, &new));
                (!is_repeated).then(|| (at, Some(Arc::new(new))))
            });
            Ok(given.collect())
        }
        AcknowledgementChange::End => Ok(ends(&|_| true)),
        AcknowledgementChange::Expire(until) => Ok(ends(&|known| known.until == Some(*until))),
    }
}

fn given(order: &AcknowledgementOrder, whole: bool, failure: Failure, now: UnixMs) -> Acknowledgement {
    let AcknowledgementOrder { note, by, until } = order.clone();
    Acknowledgement { note, by, since: now, until, whole, failure }
}

/// Whether the new one differs in nothing but its date.
fn is_repeated(old: &Acknowledgement, new: &Acknowledgement) -> bool {
    *old == Acknowledgement { since: old.since, ..new.clone() }
}

#[cfg(test)]
mod tests;
