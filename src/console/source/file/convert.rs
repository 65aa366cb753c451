//! From the rows of the store's file to what the console keeps.

use std::time::Duration;

use uuid::Uuid;

use crate::console::data::{ProbingOfInstance, ProbingOfService, Service};
use crate::model::health::FLAP_HOLD;
use crate::model::outcome::Verdict;
use crate::model::service;
use crate::store::reader::Probed;
use crate::wire;

/// When it was probed last is known with its probing.
pub(super) fn service(of: &service::Service) -> Service {
    wire::Service::new(of, None).into()
}

pub(super) fn probing(id: Uuid, known: Vec<Probed>) -> ProbingOfService {
    ProbingOfService { id, live: false, instances: known.into_iter().map(instance).collect() }
}

fn instance(Probed { instance, check, advisory, row }: Probed) -> ProbingOfInstance {
    // Only the thresholds count here, whatever the interval.
    let timing = check.timing.resolve(Duration::from_secs(1));
    ProbingOfInstance {
        instance: instance.as_str().into(),
        check: (!row.check.is_default()).then(|| row.check.as_str().into()),
        advisory,
        health: row.state.health(),
        reason: row.state.reason().as_str().into(),
        since: Some(row.state.since()),
        streak: row.state.progress(&timing).into(),
        next_due: Some(row.next_due),
        held: row.state.held().then(|| FLAP_HOLD.into()),
        last_fail: row.last.clone().filter(|last| last.verdict == Verdict::Fail).map(Into::into),
        last: row.last.map(Into::into),
        last_pass: row.last_pass.map(Into::into),
        samples: row.samples.into_iter().map(Into::into).collect(),
    }
}
