//! What `/readyz` says of what runs in this process.

use tokio_util::sync::CancellationToken;

use crate::api::{Part, PartState, Readiness};
use crate::model::ports::WriteError;
use crate::prober::{ProberHandle, ProberReport};
use crate::store::Store;

/// Ready once the store is open and the prober runs, and until the server is told to stop. A full disk or a holding guard is told
/// and is no reason to take the server out of service: reads go on.
pub(super) struct LocalReadiness {
    store: Store,
    probing: ProberHandle,
    stop: CancellationToken,
}

impl LocalReadiness {
    pub(super) fn new(store: Store, probing: ProberHandle, stop: CancellationToken) -> Self {
        Self { store, probing, stop }
    }

    fn server(&self) -> Part {
        let state = if self.stop.is_cancelled() {
            PartState::NotReady("it was told to stop".to_owned())
        } else {
            PartState::Ready("serving".to_owned())
        };
        Part { name: "server", state }
    }

    fn store(&self) -> Part {
        let snapshot = self.store.catalog().read();
        let counts = snapshot.total();
        let how = format!(
            "{} services, {} instances, revision {}{}",
            counts.total(),
            counts.instances,
            snapshot.revision(),
            self.store.failure().map_or_else(String::new, |error| failed(&error))
        );
        let state = if self.store.is_closed() {
            PartState::NotReady("it has ended; the log says why".to_owned())
        } else {
            PartState::Ready(how)
        };
        Part { name: "store", state }
    }
}

fn failed(error: &WriteError) -> String {
    match error {
        // What SQLite says may hold paths, and everybody may ask.
        WriteError::Store(_) => "; the newest write FAILED, the log says why; reads go on".to_owned(),
        error => format!("; the newest write FAILED: {error}"),
    }
}

fn prober(report: &ProberReport) -> Part {
    let how = format!(
        "{} probed, {} of {} slots used, {} waiting, {} delayed by an address's budget, worst start lag {} ms",
        report.tracked, report.in_flight, report.slots, report.queued, report.delayed, report.worst_lag_ms
    );
    Part { name: "prober", state: PartState::Ready(how) }
}

fn guard(report: &ProberReport) -> Part {
    Part { name: "guard", state: PartState::Ready(report.guard.to_string()) }
}

impl Readiness for LocalReadiness {
    fn parts(&self) -> Vec<Part> {
        let report = self.probing.status().read();
        vec![self.server(), self.store(), prober(&report), guard(&report)]
    }
}
