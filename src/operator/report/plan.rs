//! What an object's status should say now, and how urgent that is.

use std::sync::Arc;

use super::queue::Urgency;
use crate::catalog::Catalog;
use crate::model::name::ServiceKey;
use crate::model::outcome::Reason;
use crate::model::time::UnixMs;
use crate::operator::crd::{HealthValue, ServiceStatus};
use crate::operator::ingest::{Ingest, ObservedObject};
use crate::operator::replicas::installs::Installs;
use crate::operator::status::{self, Findings};

/// A write that is to be made.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The object that it was made from.
    pub(super) known: Arc<ObservedObject>,
    /// The status to write.
    pub(super) status: ServiceStatus,
    /// How bad the news is.
    pub(super) urgency: Urgency,
    /// Whether a verdict will follow within moments, so that one write can tell both.
    pub(super) is_provisional: bool,
}

/// What is to be written of `key` now; none when its status says it already, when another install
/// writes it, or when the catalog is about to change for it.
pub(super) fn plan(key: &ServiceKey, ingest: &Ingest, catalog: &Catalog, installs: &Installs) -> Option<Plan> {
    let known = ingest.known(key)?;
    if !installs.may_write(known.status()) {
        return None;
    }
    let entry = catalog.read().get(key.as_str()).cloned();
    let service = match (&known.understood.mirrored, &entry) {
        (None, _) => None,
        // A verdict on another state of the object: both are about to meet, and the key is marked again then.
        (Some(_), Some(entry)) if entry.service().id == known.id() && entry.service().revision == known.revision() => {
            Some(entry.service())
        }
        (Some(_), _) => return None,
    };
    let wanted = status::of(&Findings {
        before: known.status(),
        install: installs.own(),
        generation: known.generation(),
        understood: &known.understood,
        service: service.map(|service| &**service),
        say: &|instance| instance.message.as_deref().map(str::to_owned),
        now: UnixMs::wall(),
    });
    let said = known.status();
    if said.is_some_and(|said| status::same(said, &wanted)) {
        return None;
    }
    let urgency = urgency(said, &wanted);
    let is_provisional = wanted.instances.iter().any(|i| i.reason == Reason::Probing.as_str());
    Some(Plan { known, status: wanted, urgency, is_provisional })
}

fn urgency(said: Option<&ServiceStatus>, wanted: &ServiceStatus) -> Urgency {
    let before = |name: &str| said.and_then(|said| said.instances.iter().find(|i| i.name == name)).map(|i| i.health);
    let became = |health| wanted.instances.iter().any(|i| i.health == health && before(&i.name) != Some(health));
    match () {
        () if became(HealthValue::Unhealthy) => Urgency::Fall,
        () if became(HealthValue::Healthy) => Urgency::Recovery,
        () => Urgency::Rest,
    }
}
