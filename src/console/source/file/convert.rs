//! From the store's types to the console's.

use std::cmp::Reverse;
use std::time::Duration;

use crate::catalog::Entry;
use crate::console::data::{Instance, InstanceProbing, Past, Probing, Service, Streak};
use crate::model::health::{FLAP_HOLD, StreakProgress};
use crate::model::outcome::{Health, Verdict};
use crate::model::service::{self, newest_of};
use crate::store::HistoryEntry;
use crate::store::reader::Probed;

pub(super) fn service(entry: &Entry) -> Service {
    let known = entry.service();
    let newest = newest_of(known.instances.iter()).map(|newest| &newest.spec);
    let mut instances: Vec<&service::Instance> = known.instances.iter().collect();
    instances.sort_by_key(|i| (i.health != Health::Healthy, Reverse(i.spec.weight), i.name.clone()));
    Service {
        id: known.id,
        namespace: known.key.namespace().into(),
        name: known.key.name().into(),
        version: newest.map(|spec| spec.version.as_str().into()).unwrap_or_default(),
        description: newest.map(|spec| spec.description.as_str().into()).unwrap_or_default(),
        health: entry.health(),
        reason: entry.reason().as_str().into(),
        source: known.source.as_str().into(),
        revision: known.revision,
        registered_at: Some(known.registered_at),
        updated_at: Some(known.updated_at),
        last_health_check: entry.last_check().get(),
        metadata: newest
            .map(|spec| spec.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect())
            .unwrap_or_default(),
        instances: instances.into_iter().map(instance).collect(),
    }
}

fn instance(known: &service::Instance) -> Instance {
    let spec = &known.spec;
    Instance {
        name: known.name.as_str().into(),
        base_url: spec.base_url.to_string().into(),
        health_url: spec.health_url.as_ref().map(ToString::to_string).unwrap_or_default().into(),
        health: known.health,
        reason: known.reason.as_str().into(),
        since: Some(known.since),
        weight: spec.weight,
        zone: spec.zone.as_str().into(),
        version: spec.version.as_str().into(),
        generation: known.shown_generation(),
    }
}

pub(super) fn probing(known: Vec<Probed>) -> Probing {
    Probing { instances: known.into_iter().map(of).collect(), live: false }
}

fn of(Probed { instance, check, row }: Probed) -> InstanceProbing {
    // The interval does not matter for the thresholds.
    let timing = check.timing.resolve(Duration::from_secs(1));
    let StreakProgress { passing, count, of } = row.state.progress(&timing);
    let streak = Streak { passing, count, of };
    let held = row.state.held().then(|| FLAP_HOLD.into());
    InstanceProbing {
        instance: instance.as_str().into(),
        streak,
        next_due: Some(row.next_due),
        held,
        last_fail: row.last.clone().filter(|last| last.verdict == Verdict::Fail),
        last: row.last,
        last_pass: row.last_pass,
        samples: row.samples,
    }
}

pub(super) fn past(entry: HistoryEntry) -> Past {
    Past {
        id: entry.id,
        instance: entry.instance.as_str().into(),
        at: entry.at,
        from: entry.from,
        to: entry.to,
        reason: entry.reason.map(|reason| reason.as_str().into()),
        message: entry.message.into(),
        evidence: entry.evidence,
    }
}
