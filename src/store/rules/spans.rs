//! How a change of a service changes the record behind availability.
//!
//! Every change of a service passes [`Work::put`](super::state::Work::put), which compares how the service and its instances stood with how
//! they stand. What is healthy, and what was never proved, has no span.

use super::state::{OpenSpans, Work};
use crate::model::availability::Standing;
use crate::model::name::{CheckName, InstanceName};
use crate::model::outcome::{Health, Reason};
use crate::model::service::{Instance, Service};
use crate::model::time::UnixMs;
use crate::store::schema::spans::SpanChange;
use crate::store::schema::write::Write;

impl Work<'_> {
    /// Writes what differs between `old` and `new`.
    pub(super) fn record(&mut self, old: Option<&Service>, new: &Service) {
        let old = old.filter(|old| old.id == new.id);
        let now = self.now;
        let mut steps: Vec<SpanChange> = Vec::new();
        for (position, after) in new.instances.iter().enumerate() {
            let before = old.and_then(|old| named(old, &after.name, position));
            steps.extend(instance_step(new, before, after, now));
        }
        for (position, before) in old.map(|old| &old.instances[..]).unwrap_or_default().iter().enumerate() {
            if named(new, &before.name, position).is_none() {
                steps.push(SpanChange { instance: Some(before.name.clone()), ..ending(new, now) });
            }
        }
        let moment = steps.iter().map(|step| step.at).max().unwrap_or(now);
        steps.extend(service_step(old, new, moment));
        self.writes.extend(steps.into_iter().map(Write::Span));
    }

    /// Marks when a service that is being removed from a mirror went, for its object may come back: its spans end at once.
    pub(super) fn note_departure(&mut self, service: &Service) {
        let names = service.instances.iter().map(|instance| Some(instance.name.clone())).chain([None]);
        let begins = Some((Standing::Unknown, Reason::Probing, CheckName::default()));
        let now = self.now;
        let steps = names.map(|instance| SpanChange { instance, begins: begins.clone(), ..ending(service, now) });
        self.writes.extend(steps.map(Write::Span));
    }
}

/// The instance with that name; `position` is where it probably is.
fn named<'a>(service: &'a Service, name: &InstanceName, position: usize) -> Option<&'a Instance> {
    service.instances.get(position).filter(|at| at.name == *name).or_else(|| service.instance(name.as_str()))
}

fn ending(service: &Service, at: UnixMs) -> SpanChange {
    SpanChange { service: service.id, key: service.key.clone(), instance: None, at, unproved_since: None, begins: None }
}

fn instance_step(service: &Service, before: Option<&Instance>, after: &Instance, now: UnixMs) -> Option<SpanChange> {
    // An instance that took another's name ends what lasted for that one.
    let replaced = before.is_some_and(|before| before.id != after.id);
    let known = before.filter(|_| !replaced).map(Standing::of_instance);
    let standing = Standing::of_instance(after);
    if known == Some(standing) || before.is_none() && matches!(standing, Standing::Healthy | Standing::Unknown) {
        return None;
    }
    let by_drain = after.is_drained() || known == Some(Standing::Drained);
    let at = if by_drain || known.is_none() { now } else { after.since.min(now) };
    let unproved = matches!(known, Some(Standing::Unknown)) || !replaced && known.is_none();
    // What is not proved yet after another's time has no span either.
    let begins = !(replaced && standing == Standing::Unknown);
    let reason = (standing, after.reason, after.decided_by.clone());
    Some(SpanChange {
        instance: Some(after.name.clone()),
        unproved_since: unproved.then_some(after.created_at),
        begins: Some(reason).filter(|(standing, _, _)| begins && *standing != Standing::Healthy),
        ..ending(service, at)
    })
}

fn service_step(old: Option<&Service>, new: &Service, at: UnixMs) -> Option<SpanChange> {
    let known = old.map(Standing::of_service);
    let standing = Standing::of_service(new);
    if known == Some(standing) || known.is_none() && matches!(standing, Standing::Healthy | Standing::Unknown) {
        return None;
    }
    Some(SpanChange {
        unproved_since: known.is_none_or(|known| known == Standing::Unknown).then_some(new.registered_at),
        begins: (standing != Standing::Healthy).then(|| cause(new, standing)),
        ..ending(new, at)
    })
}

/// The cause of how a service stands: that of the instance that fell last.
fn cause(service: &Service, standing: Standing) -> (Standing, Reason, CheckName) {
    let fell = service.instances.iter().filter(|i| i.health == Health::Unhealthy && !i.is_drained());
    let fell = fell.max_by_key(|instance| instance.since).or_else(|| service.front());
    fell.map_or((standing, Reason::Probing, CheckName::default()), |i| (standing, i.reason, i.decided_by.clone()))
}

/// What has to be written so that the record matches the services: after a migration, or where rows were lost. `open` says what lasts by the
/// record.
pub(crate) fn reconcile<'a>(
    services: impl Iterator<Item = &'a Service>,
    mut open: OpenSpans,
    now: UnixMs,
) -> Vec<Write> {
    let mut writes = Vec::new();
    for service in services {
        let mut compare = |name: Option<&InstanceName>, (standing, reason, check): (Standing, Reason, CheckName)| {
            let text = name.map_or("", InstanceName::as_str);
            let recorded = open.remove(&(service.id, text.to_owned())).map(|(_, standing)| standing);
            let expected = (standing != Standing::Healthy).then_some(standing);
            // What was never proved has no span.
            if recorded == expected || recorded.is_none() && standing == Standing::Unknown {
                return;
            }
            let begins = expected.map(|standing| (standing, reason, check));
            writes.push(Write::Span(SpanChange { instance: name.cloned(), begins, ..ending(service, now) }));
        };
        for instance in &service.instances {
            let stands = (Standing::of_instance(instance), instance.reason, instance.decided_by.clone());
            compare(Some(&instance.name), stands);
        }
        compare(None, cause(service, Standing::of_service(service)));
    }
    writes.extend(open.into_values().map(|(id, _)| Write::EndSpan(id, now)));
    writes
}
