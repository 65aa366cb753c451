//! How the parts of every server stand, in words.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use super::{Word, Words};
use crate::model::ports::WriteError;
use crate::prober::{ProberReport, ProberStatus};
use crate::store::Store;
use crate::telemetry::told::Part;

/// Probes start late from here on, in milliseconds.
const LATE: u64 = 5000;
/// Until none starts later than this.
const ON_TIME: u64 = 1000;

/// Of the parts that every server has. Ready until it is told to stop: a full disk or a holding guard is told, and is no reason to take the
/// server out of service, since reads go on.
pub(in crate::app) struct LocalWords {
    store: Store,
    prober: Arc<ProberStatus>,
    stop: CancellationToken,
    late: AtomicBool,
}

impl LocalWords {
    pub(in crate::app) fn new(store: Store, prober: Arc<ProberStatus>, stop: CancellationToken) -> Self {
        Self { store, prober, stop, late: AtomicBool::new(false) }
    }

    fn server(&self) -> Word {
        if self.stop.is_cancelled() {
            Word::not_ready("it was told to stop: it is not ready any more, and answers until it has ended")
        } else {
            Word::good("it started, and serves")
        }
    }

    fn store(&self) -> Word {
        let (rows, newest) = self.store.quarantined();
        let word = match self.store.failure().as_deref() {
            _ if self.store.is_closed() => Word::not_ready("it has ended, the log says why"),
            None if rows == 0 => Word::good("writes succeed").usual(),
            None => Word::bad(
                "writes succeed; rows that could not be read are in quarantine, `portolan quarantine` prints them",
            ),
            Some(error) => Word::bad(failed(error)),
        };
        let snapshot = self.store.catalog().read();
        let counts = snapshot.total();
        let (services, instances, revision) = (counts.total(), counts.instances, snapshot.revision());
        let mut detail = format!("{services} services, {instances} instances, revision {revision}");
        if rows > 0 {
            detail = format!("{detail}; {rows} rows in quarantine, the newest: {}", newest.join("; "));
        }
        word.with(detail)
    }

    fn prober(&self, report: &ProberReport) -> Word {
        let lag = report.worst_lag_ms;
        let late = lag >= if self.late.load(Ordering::Relaxed) { ON_TIME } else { LATE };
        self.late.store(late, Ordering::Relaxed);
        let word = if late {
            Word::bad("probes start more than 5 s late: more are due than its slots or their addresses' budgets allow")
        } else {
            Word::good("probes start on time").usual()
        };
        word.with(format!(
            "{} probed, {} of {} slots used, {} waiting, {} delayed by an address's budget, worst start lag {lag} ms",
            report.tracked, report.in_flight, report.slots, report.queued, report.delayed
        ))
    }
}

fn guard(report: &ProberReport) -> Word {
    let word = if report.guard_holding {
        Word::bad("most of what is probed seems lost at once: changes to unhealthy are held")
    } else {
        Word::good("health follows the probes").usual()
    };
    word.with(report.guard.to_string())
}

/// What SQLite says may hold paths, so only what is our own sentence is passed on.
fn failed(error: &WriteError) -> Cow<'static, str> {
    match error {
        WriteError::FileLost | WriteError::DiskFull | WriteError::ReadOnly | WriteError::Locked => {
            format!("writes fail: {error}").into()
        }
        _ => "writes fail, the log says why; reads go on".into(),
    }
}

impl Words for LocalWords {
    fn words(&self) -> Vec<(Part, Word)> {
        let report = self.prober.read();
        vec![
            (Part::Server, self.server()),
            (Part::Store, self.store()),
            (Part::Prober, self.prober(&report)),
            (Part::Guard, guard(&report)),
        ]
    }
}
