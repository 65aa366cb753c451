//! The leader's verdict on an instance, as its status gives it.

use std::sync::Arc;

use crate::model::acknowledgement::{Acknowledgement, Failure, MAX_ACKNOWLEDGEMENT_NOTE};
use crate::model::mirror::ReportedHealth;
use crate::model::name::CheckName;
use crate::model::outcome::{Health, Reason};
use crate::model::service::Warning;
use crate::model::text;
use crate::model::time::UnixMs;
use crate::operator::crd::{AcknowledgementStatus, InstanceStatus, MAX_DRAINED_BY, WarningStatus};

/// A reason of a newer version is unknown here, but its health counts; the sentence says the rest.
pub(super) fn read(status: &InstanceStatus) -> ReportedHealth {
    let health = Health::from(status.health);
    let unknown = if health == Health::Healthy { Reason::Passed } else { Reason::Unproven };
    ReportedHealth {
        health,
        reason: status.reason.parse().unwrap_or(unknown),
        since: status.since.unwrap_or(UnixMs(0)),
        message: status.message.clone(),
        decided_by: check_name(&status.decided_by),
        warning: status.warning.as_ref().map(warning).map(Arc::new),
        also_failing: status.also_failing.iter().filter_map(|name| name.parse().ok()).collect(),
        observed_version: Some(status.observed_version.as_str()).filter(|version| !version.is_empty()).map(Into::into),
    }
}

/// The acknowledgement, which is about the failure that the same status reports; none where nothing fails, or where its text is not what
/// Portolan writes.
pub(super) fn acknowledgement(status: &InstanceStatus, reported: &ReportedHealth) -> Option<Acknowledgement> {
    let AcknowledgementStatus { note, by, since, until, whole_service } = status.acknowledgement.clone()?;
    text::accept(&note, MAX_ACKNOWLEDGEMENT_NOTE).ok()?;
    text::accept(&by, MAX_DRAINED_BY).ok()?;
    let down = (reported.health == Health::Unhealthy).then(|| (reported.decided_by.clone(), reported.since));
    let warning = reported.warning.as_ref().map(|warning| warning.check.clone());
    let failure = Failure::of(down, warning, &reported.also_failing)?;
    Some(Acknowledgement { note, by, since, until, whole: whole_service, failure })
}

fn warning(status: &WarningStatus) -> Warning {
    Warning {
        check: check_name(&status.check),
        reason: status.reason.parse().unwrap_or(Reason::ReportedWarning),
        message: status.message.clone(),
    }
}

fn check_name(text: &str) -> CheckName {
    text.parse().unwrap_or_default()
}
