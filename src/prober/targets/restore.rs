//! What a check begins with: its stored row, or what readers see of its instance.

use std::sync::Arc;

use super::Tracked;
use crate::model::health::{CheckState, CheckView, fold};
use crate::model::outcome::{Health, Reason};
use crate::model::probe::ProbeRow;
use crate::model::service::{Instance, Warning};
use crate::model::time::Now;

/// Goes on with the checks of an instance, in order of position, from the rows that there are. Without rows, a health found by another
/// replica stands, and the next probe comes at its regular time.
pub(crate) fn restore(checks: &mut [Tracked], rows: Vec<ProbeRow>, instance: &Instance, now: Now) {
    let rows: Vec<Option<ProbeRow>> = pair(checks, rows);
    let known = rows.iter().any(Option::is_some);
    if known && agree(checks, &rows, instance) {
        for (tracked, row) in checks.iter_mut().zip(&rows) {
            if let Some(row) = row {
                tracked.resume(row, now);
            }
        }
    } else {
        // Without rows, they are another replica's, or a crash lost them. With rows, a crash separated the two: what readers see stands,
        // and is proved again at once.
        let decider = decider(checks, instance);
        for (at, tracked) in checks.iter_mut().enumerate() {
            tracked.state = assumed(tracked, Some(at) == decider, instance, now);
            if !known && tracked.state.health() != Health::Unknown {
                tracked.be_regular(now.steady);
            }
        }
    }
    for (tracked, row) in checks.iter_mut().zip(rows) {
        if let Some(row) = row {
            tracked.take_evidence(row);
        }
        restore_notes(tracked, instance);
    }
    restore_version(checks, instance);
}

/// The row of each check.
fn pair(checks: &[Tracked], mut rows: Vec<ProbeRow>) -> Vec<Option<ProbeRow>> {
    let mut take = |tracked: &Tracked| {
        let at = rows.iter().position(|row| tracked.is_named(&row.check))?;
        Some(rows.swap_remove(at))
    };
    checks.iter().map(&mut take).collect()
}

/// Whether the rows add up to what readers see.
fn agree(checks: &[Tracked], rows: &[Option<ProbeRow>], instance: &Instance) -> bool {
    let view = |(tracked, row): (&Tracked, &Option<ProbeRow>)| {
        let state = row.as_ref().map_or(&tracked.state, |row| &row.state);
        CheckView { advisory: tracked.advisory, health: state.health(), reason: state.reason(), since: state.since() }
    };
    let decision = fold(checks.iter().zip(rows).map(view));
    (decision.health, decision.reason) == (instance.health, instance.reason)
}

/// The required check that readers see as the deciding one; the first one where that is gone.
fn decider(checks: &[Tracked], instance: &Instance) -> Option<usize> {
    let named = checks.iter().position(|tracked| !tracked.advisory && tracked.is_named(&instance.decided_by));
    named.or_else(|| checks.iter().position(|tracked| !tracked.advisory))
}

/// The state of a check as far as it follows from what readers see of the instance.
fn assumed(tracked: &Tracked, decides: bool, instance: &Instance, now: Now) -> CheckState {
    let (health, reason, since) = (instance.health, instance.reason, instance.since);
    if tracked.advisory {
        let warning = own_warning(tracked, instance).filter(|warning| is_failure(warning.reason));
        return warning.map_or_else(
            || CheckState::new(now),
            |warning| CheckState::shown_as(Health::Unhealthy, warning.reason, now.wall, now),
        );
    }
    match health {
        _ if decides => CheckState::shown_as(health, reason, since, now),
        Health::Healthy => CheckState::shown_as(Health::Healthy, Reason::Passed, since, now),
        Health::Unhealthy | Health::Unknown => CheckState::new(now),
    }
}

fn own_warning<'a>(tracked: &Tracked, instance: &'a Instance) -> Option<&'a Arc<Warning>> {
    instance.warning.as_ref().filter(|warning| tracked.is_named(&warning.check))
}

/// Whether a warning for this reason is an advisory check's failure.
fn is_failure(reason: Reason) -> bool {
    !matches!(reason, Reason::ReportedWarning | Reason::VersionDiffers | Reason::VersionNotFound)
}

fn restore_notes(tracked: &mut Tracked, instance: &Instance) {
    let Some(warning) = own_warning(tracked, instance).cloned() else { return };
    if is_failure(warning.reason) {
        if tracked.advisory && tracked.state.health() == Health::Unhealthy {
            tracked.notes().restore(Some(warning), None);
        }
    } else {
        tracked.notes().restore(None, Some(warning));
    }
}

/// The version belongs to the first check that reads one.
fn restore_version(checks: &mut [Tracked], instance: &Instance) {
    let Some(version) = &instance.observed_version else { return };
    if let Some(tracked) = checks.iter_mut().find(|tracked| tracked.version_from().is_some()) {
        tracked.notes().restore_version(Arc::clone(version));
    }
}
