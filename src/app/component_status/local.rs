//! The components that every server has.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

use super::{ComponentStatus, StatusSource};
use crate::api::tls::{ServerTls, TlsStatus, Validity};
use crate::model::ports::WriteError;
use crate::model::time::UnixMs;
use crate::prober::{ProberReport, ProberStatus};
use crate::store::Store;
use crate::telemetry::audit::AuditLog;
use crate::telemetry::server_events::Component;

/// Probes are late once one has waited this long, in milliseconds.
const LATE: u64 = 5000;
/// They are late this early, in milliseconds, while intervals are stretched by [`STRETCHED`].
const LATE_IF_STRETCHED: u64 = 1000;
/// From this factor on, in thousandths, intervals count as stretched.
const STRETCHED: u64 = 1500;
/// Late probes are on time again once none waits this long, in milliseconds, and intervals are no longer stretched.
const ON_TIME: u64 = 1000;
/// Below this factor, in thousandths, intervals are no longer stretched.
const UNSTRETCHED: u64 = 1200;

/// No probe is late. An atomic holds this or one of the next two.
const NONE_LATE: u8 = 0;
/// Only probes that may hang are late.
const HANGING_LATE: u8 = 1;
/// All probes are late.
const ALL_LATE: u8 = 2;

/// Ready until shutdown. A full disk or a guard that holds is reported, but `/readyz` still succeeds, because reads go on.
pub(in crate::app) struct LocalStatus {
    store: Store,
    prober: Arc<ProberStatus>,
    audit: AuditLog,
    shutdown: CancellationToken,
    tls: Option<ServerTls>,
    /// Which probes were late at the last reading.
    late: AtomicU8,
}

impl LocalStatus {
    pub(in crate::app) fn new(
        store: Store,
        prober: Arc<ProberStatus>,
        audit: AuditLog,
        tls: Option<ServerTls>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { store, prober, audit, shutdown, tls, late: AtomicU8::new(NONE_LATE) }
    }

    fn server(&self) -> ComponentStatus {
        if self.shutdown.is_cancelled() {
            ComponentStatus::not_ready("shutting down; still serving requests")
        } else {
            ComponentStatus::good("started; serving requests")
        }
    }

    fn store(&self) -> ComponentStatus {
        let (rows, newest) = self.store.quarantined();
        let status = match self.store.failure().as_deref() {
            _ if self.store.is_closed() => ComponentStatus::not_ready("the store has stopped; see the log"),
            None if rows == 0 => ComponentStatus::good("writes succeed").usual(),
            None => ComponentStatus::bad(
                "writes succeed, but unreadable rows are in quarantine; `portolan quarantine` prints them",
            ),
            Some(error) => ComponentStatus::bad(write_failure(error)),
        };
        let snapshot = self.store.catalog().read();
        let counts = snapshot.total();
        let (services, instances, revision) = (counts.total(), counts.instances, snapshot.revision());
        let mut detail = format!("{services} services, {instances} instances, revision {revision}");
        if rows > 0 {
            detail = format!("{detail}; {rows} rows in quarantine, the newest: {}", newest.join("; "));
        }
        status.with(detail)
    }

    fn prober(&self, report: &ProberReport) -> ComponentStatus {
        let late = which_late(report, self.late.load(Ordering::Relaxed));
        self.late.store(late, Ordering::Relaxed);
        let status = match late {
            ALL_LATE => ComponentStatus::bad("probing cannot keep up: all intervals are stretched by the same factor"),
            HANGING_LATE => ComponentStatus::bad(
                "targets that hang wait for probe slots: their intervals are stretched, all others are probed on schedule",
            ),
            _ => ComponentStatus::good("probes start on time").usual(),
        };
        let ProberReport { tracked, in_flight, slots, queued, delayed, all_known_s, .. } = report;
        let lag = report.worst_lag_ms.max(report.hanging_lag_ms);
        status.with(format!(
            "{tracked} instances probed, {in_flight} of {slots} slots in use, {queued} probes waiting for up to {lag} ms, \
             {delayed} delayed by the budget of their address; intervals stretched by {}, those of targets that hang by {}; \
             if all targets hung, all would be known to be down within {all_known_s} s",
            factor(report.stretch),
            factor(report.hanging_stretch)
        ))
    }
}

/// None where there is no audit file.
fn audit(is_losing: Option<bool>) -> Option<ComponentStatus> {
    Some(if is_losing? {
        ComponentStatus::bad(
            "the audit file cannot be written: its lines are dropped, but requests are still carried out",
        )
    } else {
        ComponentStatus::good("the audit file is written").usual()
    })
}

/// Which probes are late. With hysteresis: `before` stays until the lag is clearly over.
fn which_late(report: &ProberReport, before: u8) -> u8 {
    let late = |lag: u64, stretch: u64, was_late: bool| {
        let late = lag >= LATE || (lag >= LATE_IF_STRETCHED && stretch >= STRETCHED);
        late || (was_late && (lag >= ON_TIME || stretch >= UNSTRETCHED))
    };
    if late(report.worst_lag_ms, report.stretch, before == ALL_LATE) {
        ALL_LATE
    } else if late(report.hanging_lag_ms, report.hanging_stretch, before != NONE_LATE) {
        HANGING_LATE
    } else {
        NONE_LATE
    }
}

/// Thousandths as `2.4`.
fn factor(thousandths: u64) -> String {
    format!("{}.{}", thousandths / 1000, thousandths % 1000 / 100)
}

/// A certificate that clients refuse is not a reason to fail `/readyz`: the old pods of a rollout have the same one.
fn certificate(tls: &TlsStatus) -> ComponentStatus {
    let status = match (tls.validity, &tls.failure) {
        (Validity::Ended, _) => {
            ComponentStatus::bad("the server's certificate has expired, so clients refuse it: renew it")
        }
        (Validity::NotYet, _) => {
            ComponentStatus::bad("the server's certificate is not valid yet, so clients refuse it: is a clock wrong?")
        }
        (_, Some(_)) => ComponentStatus::bad("the newest certificate files cannot be used; the old ones stay in force"),
        (Validity::EndsSoon, None) => ComponentStatus::bad("the server's certificate ends soon: renew it"),
        (Validity::Fine, None) => ComponentStatus::good("the server's certificate is valid").usual(),
    };
    let failure = tls.failure.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
    status.with(format!("until {}{failure}", tls.expires_at))
}

fn guard(report: &ProberReport) -> ComponentStatus {
    let status = if report.guard_holding {
        ComponentStatus::bad("most targets seem to have failed at once: changes to unhealthy are on hold")
    } else {
        ComponentStatus::good("health follows the probes").usual()
    };
    status.with(report.guard.to_string())
}

/// SQLite's own messages may contain paths, so only our sentences are passed on.
fn write_failure(error: &WriteError) -> Cow<'static, str> {
    match error {
        WriteError::FileLost | WriteError::DiskFull | WriteError::ReadOnly | WriteError::Locked => {
            format!("writes fail: {error}").into()
        }
        _ => "writes fail, see the log; reads still work".into(),
    }
}

impl StatusSource for LocalStatus {
    fn statuses(&self) -> Vec<(Component, ComponentStatus)> {
        let report = self.prober.read();
        let mut all = vec![
            (Component::Server, self.server()),
            (Component::Store, self.store()),
            (Component::Prober, self.prober(&report)),
            (Component::Guard, guard(&report)),
        ];
        let tls = self.tls.as_ref().map(|tls| (Component::Tls, certificate(&tls.status(UnixMs::wall()))));
        all.extend(tls);
        all.extend(audit(self.audit.is_losing()).map(|status| (Component::Audit, status)));
        all
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
    fn late_targets_that_hang_are_reported_apart_and_until_it_is_over() {
        assert_eq!(which_late(&report([900, 900], [4000, 4000]), NONE_LATE), NONE_LATE, "under a second is not late");
        assert_eq!(
            which_late(&report([1500, 0], [1600, 1000]), NONE_LATE),
            ALL_LATE,
            "an interval of a second is stretched"
        );
        assert_eq!(which_late(&report([5000, 0], [1010, 1000]), NONE_LATE), ALL_LATE);
        assert_eq!(which_late(&report([10, 60_000], [1000, 12_000]), NONE_LATE), HANGING_LATE);
        assert_eq!(which_late(&report([10, 60_000], [1300, 12_000]), ALL_LATE), ALL_LATE, "it is not over");
        assert_eq!(which_late(&report([10, 60_000], [1000, 12_000]), ALL_LATE), HANGING_LATE);
        assert_eq!(which_late(&report([10, 10], [1000, 1100]), HANGING_LATE), NONE_LATE);
    }
}
