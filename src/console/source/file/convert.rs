//! From the rows of the store's file to what the console keeps.

use std::time::Duration;

use uuid::Uuid;

use crate::catalog::Entry;
use crate::console::data::{ProbingOfInstance, ProbingOfService, Service};
use crate::model::health::FLAP_HOLD;
use crate::model::outcome::Verdict;
use crate::store::reader::Probed;
use crate::wire;

pub(super) fn service(entry: &Entry) -> Service {
    wire::Service::new(entry.service(), entry.last_check().get()).into()
}

pub(super) fn probing(id: Uuid, known: Vec<Probed>) -> ProbingOfService {
    ProbingOfService { id, live: false, instances: known.into_iter().map(instance).collect() }
}

fn instance(Probed { instance, check, row }: Probed) -> ProbingOfInstance {
    // Only the thresholds count here, whatever the interval.
    let timing = check.timing.resolve(Duration::from_secs(1));
    ProbingOfInstance {
        instance: instance.as_str().into(),
        streak: row.state.progress(&timing).into(),
        next_due: Some(row.next_due),
        held: row.state.held().then(|| FLAP_HOLD.into()),
        last_fail: row.last.clone().filter(|last| last.verdict == Verdict::Fail).map(Into::into),
        last: row.last.map(Into::into),
        last_pass: row.last_pass.map(Into::into),
        samples: row.samples.into_iter().map(Into::into).collect(),
    }
}
