//! What an object's status should say now, and how urgent that is.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::model::name::ServiceKey;
use crate::model::outcome::Reason;
use crate::model::time::UnixMs;
use crate::operator::crd::{HealthValue, ServiceStatus};
use crate::operator::ingest::{Ingest, ObservedObject};
use crate::operator::publish::Publications;
use crate::operator::queue::Urgency;
use crate::operator::replicas::installs::Installs;
use crate::operator::status::{self, StatusInput};

/// A planned write.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The object that it is based on.
    pub(super) observed: Arc<ObservedObject>,
    /// The status to write.
    pub(super) status: ServiceStatus,
    /// How bad the news is.
    pub(super) urgency: Urgency,
    /// Whether a verdict will follow within moments, so that one write can report both.
    pub(super) is_provisional: bool,
}

/// The write for `key`; none if its status is up to date, if another install writes it, or if the catalog is about to change for it.
pub(super) fn plan(
    key: &ServiceKey,
    ingest: &Ingest,
    catalog: &Catalog,
    installs: &Installs,
    publications: &Publications,
) -> Option<Plan> {
    let Some(observed) = ingest.known(key) else { return withdrawal(ingest.known_aside(key)?, installs) };
    if observed.parsed.is_awaiting() || !installs.may_write(observed.status()) {
        return None;
    }
    let entry = catalog.read().get(key.as_str()).cloned();
    let service = match (&observed.parsed.mirrored, &entry) {
        (None, _) => None,
        // The verdict is about another version of the object. Both are about to match, and the key is marked again then.
        (Some(_), Some(entry)) if observed.is_shown_as(entry.service()) => Some(entry.service()),
        (Some(_), _) => return None,
    };
    let publication = publications.of(&observed);
    let wanted = status::of(&StatusInput {
        before: observed.status(),
        install: installs.own(),
        generation: observed.generation(),
        parsed: &observed.parsed,
        service: service.map(|service| &**service),
        message: &|instance| instance.message.as_deref().map(str::to_owned),
        publication: publication.as_ref(),
        now: UnixMs::wall(),
    });
    let current = observed.status();
    if current.is_some_and(|current| status::same(current, &wanted)) {
        return None;
    }
    let urgency = urgency(current, &wanted);
    let is_provisional = wanted.instances.iter().any(|i| i.reason == Reason::Probing.as_str());
    Some(Plan { observed, status: wanted, urgency, is_provisional })
}

/// The status of an object whose namespace is no longer watched says nothing, so that another install may take it over.
fn withdrawal(observed: Arc<ObservedObject>, installs: &Installs) -> Option<Plan> {
    if !installs.owns(observed.status()) {
        return None;
    }
    Some(Plan { observed, status: ServiceStatus::unwritten(), urgency: Urgency::Other, is_provisional: false })
}

fn urgency(current: Option<&ServiceStatus>, wanted: &ServiceStatus) -> Urgency {
    let before =
        |name: &str| current.and_then(|current| current.instances.iter().find(|i| i.name == name)).map(|i| i.health);
    let became = |health| wanted.instances.iter().any(|i| i.health == health && before(&i.name) != Some(health));
    match () {
        () if became(HealthValue::Unhealthy) => Urgency::Fall,
        () if became(HealthValue::Healthy) => Urgency::Recovery,
        () => Urgency::Other,
    }
}
