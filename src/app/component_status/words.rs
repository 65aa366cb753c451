//! How the parts of every server stand, in words.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

use super::{Word, Words};
use crate::model::ports::WriteError;
use crate::prober::{ProberReport, ProberStatus};
use crate::store::Store;
use crate::telemetry::server_events::Part;

/// Probes are late once one has waited this long, in milliseconds.
const LATE: u64 = 5000;
/// Or once one has waited this long and intervals are stretched by this factor, in thousandths.
const LATE_WHERE_STRETCHED: u64 = 1000;
const STRETCHED: u64 = 1500;
/// Until none waits longer than this, and intervals are stretched less.
const ON_TIME: u64 = 1000;
const UNSTRETCHED: u64 = 1200;

/// Whose probes are late.
const NOBODYS: u8 = 0;
const HANGING: u8 = 1;
const ALL: u8 = 2;

/// Of the parts that every server has. Ready until it is told to stop: a full disk or a holding guard is told, and is no reason to take the
/// server out of service, since reads go on.
pub(in crate::app) struct LocalWords {
    store: Store,
    prober: Arc<ProberStatus>,
    stop: CancellationToken,
    /// As last told.
    late: AtomicU8,
}

impl LocalWords {
    pub(in crate::app) fn new(store: Store, prober: Arc<ProberStatus>, stop: CancellationToken) -> Self {
        Self { store, prober, stop, late: AtomicU8::new(NOBODYS) }
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
        let late = whose(report, self.late.load(Ordering::Relaxed));
        self.late.store(late, Ordering::Relaxed);
        let word = match late {
            ALL => Word::bad("probing cannot keep up: all intervals are stretched alike until it can"),
            HANGING => Word::bad(
                "targets that hang wait for slots: their intervals are stretched, the others are probed as often as asked",
            ),
            _ => Word::good("probes start on time").usual(),
        };
        let ProberReport { tracked, in_flight, slots, queued, delayed, all_known_s, .. } = report;
        let lag = report.worst_lag_ms.max(report.hanging_lag_ms);
        word.with(format!(
            "{tracked} probed, {in_flight} of {slots} slots used, {queued} waiting for up to {lag} ms, {delayed} delayed by an address's budget, \
             intervals stretched by {} and of targets that hang by {}, all known to be down {all_known_s} s after all hang",
            factor(report.stretch),
            factor(report.hanging_stretch)
        ))
    }
}

/// Whose probes are late; what was told last is told until it is over.
fn whose(report: &ProberReport, before: u8) -> u8 {
    let late = |lag: u64, stretch: u64, was: bool| {
        let late = lag >= LATE || (lag >= LATE_WHERE_STRETCHED && stretch >= STRETCHED);
        late || (was && (lag >= ON_TIME || stretch >= UNSTRETCHED))
    };
    if late(report.worst_lag_ms, report.stretch, before == ALL) {
        ALL
    } else if late(report.hanging_lag_ms, report.hanging_stretch, before != NOBODYS) {
        HANGING
    } else {
        NOBODYS
    }
}

/// `2.4` of thousandths.
fn factor(thousandths: u64) -> String {
    format!("{}.{}", thousandths / 1000, thousandths % 1000 / 100)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lags: [u64; 2], stretches: [u64; 2]) -> ProberReport {
        let ([worst_lag_ms, hanging_lag_ms], [stretch, hanging_stretch]) = (lags, stretches);
        ProberReport { worst_lag_ms, hanging_lag_ms, stretch, hanging_stretch, ..ProberStatus::default().read() }
    }

    #[test]
    fn who_is_late_is_told_apart_and_told_until_it_is_over() {
        assert_eq!(whose(&report([900, 900], [4000, 4000]), NOBODYS), NOBODYS, "a wait of less than a second is none");
        assert_eq!(whose(&report([1500, 0], [1600, 1000]), NOBODYS), ALL, "an interval of a second is stretched");
        assert_eq!(whose(&report([5000, 0], [1010, 1000]), NOBODYS), ALL);
        assert_eq!(whose(&report([10, 60_000], [1000, 12_000]), NOBODYS), HANGING);
        assert_eq!(whose(&report([10, 60_000], [1300, 12_000]), ALL), ALL, "it is not over");
        assert_eq!(whose(&report([10, 60_000], [1000, 12_000]), ALL), HANGING);
        assert_eq!(whose(&report([10, 10], [1000, 1100]), HANGING), NOBODYS);
    }
}
