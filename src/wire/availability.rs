//! How long services were proved up or down, and their outages.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::words::{reason, standing};
use crate::model::availability::{self as model, Standing};
use crate::model::time::UnixMs;

/// What became of a service, or of one instance, in a window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Availability {
    /// The service's id.
    #[schema(required = true)]
    pub id: Uuid,
    /// Its namespace.
    #[schema(required = true)]
    pub namespace: Box<str>,
    /// Its name.
    #[schema(required = true)]
    pub name: Box<str>,
    /// The instance; absent for the service as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub instance: Option<Box<str>>,
    /// Where the window begins.
    #[schema(required = true, value_type = String, format = DateTime)]
    pub from: UnixMs,
    /// Where it ends: the server's present.
    #[schema(required = true, value_type = String, format = DateTime)]
    pub until: UnixMs,
    /// From when on there is a record: later than `from` if it was registered later, or if recording began later.
    #[schema(required = true, value_type = String, format = DateTime)]
    pub since: UnixMs,
    /// How it stands now.
    #[schema(required = true, schema_with = standing)]
    pub status: Box<str>,
    /// `100 * (1 - unhealthy_seconds / known_seconds)`, rounded down to four decimals; null when nothing is known.
    #[schema(required = true, minimum = 0, maximum = 100)]
    pub percent: Option<f64>,
    /// Proved up or down; includes `unhealthy_seconds` and `degraded_seconds`.
    #[schema(required = true, minimum = 0)]
    pub known_seconds: f64,
    /// Proved down. A service is down while none of its undrained instances is healthy and at least one is unhealthy.
    #[schema(required = true, minimum = 0)]
    pub unhealthy_seconds: f64,
    /// Up, while an instance was unhealthy; counts as available.
    #[schema(required = true, minimum = 0)]
    pub degraded_seconds: f64,
    /// Not proved, or no server ran.
    #[schema(required = true, minimum = 0)]
    pub unknown_seconds: f64,
    /// Drained; of a service, every instance was.
    #[schema(required = true, minimum = 0)]
    pub drained_seconds: f64,
    /// Outages that overlap the window.
    #[schema(required = true)]
    pub outage_count: usize,
    /// The longest of them.
    #[schema(required = true, minimum = 0)]
    pub longest_outage_seconds: f64,
    /// How long those that ended lasted on average; null when none did.
    #[schema(required = true, minimum = 0)]
    pub recovery_seconds: Option<f64>,
    /// The newest 50 outages, newest first; absent where several services were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub outages: Option<Vec<Outage>>,
    /// With `cells`: a character for each cell of the window, oldest first, for a failure in it however short it was, else for what lasted
    /// longest: `u` unhealthy, `g` degraded, `?` unknown, `d` drained, `h` healthy, `-` no record.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, pattern = "^[ug?dh-]{1,96}$")]
    pub strip: Option<Box<str>>,
}

/// A time in which a service, or one instance, was proved down.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Outage {
    /// Its number, growing with time.
    #[schema(required = true)]
    pub id: i64,
    /// The service's id.
    #[schema(required = true)]
    pub service: Uuid,
    /// Its namespace.
    #[schema(required = true)]
    pub namespace: Box<str>,
    /// Its name.
    #[schema(required = true)]
    pub name: Box<str>,
    /// The instance; absent for the service as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub instance: Option<Box<str>>,
    /// When it began.
    #[schema(required = true, value_type = String, format = DateTime)]
    pub from: UnixMs,
    /// When it ended; absent while it lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<UnixMs>,
    /// How long it was proved: time in which no server ran does not count.
    #[schema(required = true, minimum = 0)]
    pub seconds: f64,
    /// Why it began.
    #[schema(required = true, schema_with = reason)]
    pub reason: Box<str>,
    /// The check that decided that; absent when that is `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub check: Option<Box<str>>,
    /// Instances that were unhealthy meanwhile, by name, at most 16.
    #[schema(required = true)]
    pub instances: Vec<Box<str>>,
    /// How many there were.
    #[schema(required = true)]
    pub instance_count: usize,
}

impl Outage {
    /// Whether it was longer than `proved` seconds: a time in which no server ran is left out. `now` is when `proved` holds; the server's
    /// clock may differ from the reader's by a minute.
    ///
    /// ```
    /// use portolan::model::time::UnixMs;
    /// use portolan::wire::Outage;
    ///
    /// let (from, minute_later, now) = (UnixMs(0), UnixMs(60_000), UnixMs(90_000));
    /// let ended = Outage { from, until: Some(minute_later), ..Outage::default() };
    /// assert!(ended.is_longer_than(45.0, now) && !ended.is_longer_than(59.5, now));
    /// let lasts = Outage { from, ..Outage::default() };
    /// assert!(lasts.is_longer_than(29.0, now) && !lasts.is_longer_than(31.0, now));
    /// ```
    pub fn is_longer_than(&self, proved: f64, now: UnixMs) -> bool {
        let (until, slack) = self.until.map_or((now, 60.0), |until| (until, 1.0));
        until.since(self.from).as_secs_f64() > proved + slack
    }
}

/// The envelope of one availability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OneAvailability {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: Box<str>,
    /// The availability.
    pub data: Availability,
}

/// The envelope of several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ManyAvailabilities {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: Box<str>,
    /// One for each service.
    pub data: Vec<Availability>,
    /// For `cursor`, when there is another page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The envelope of outages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Outages {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: Box<str>,
    /// The outages, newest first.
    pub data: Vec<Outage>,
    /// From when on there is a record; not before the window.
    #[schema(value_type = String, format = DateTime)]
    pub since: UnixMs,
    /// For `cursor`, when there is another page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl Availability {
    /// What a request for one service gets; one for several leaves the outages out.
    pub fn of(of: model::Availability, with_outages: bool) -> Self {
        let model::Availability { subject, totals, .. } = of;
        Self {
            id: subject.service,
            namespace: subject.key.namespace().into(),
            name: subject.key.name().into(),
            instance: subject.instance.map(|name| name.as_str().into()),
            from: of.from,
            until: of.until,
            since: of.since,
            status: subject.standing.as_str().into(),
            percent: totals.percent(),
            known_seconds: seconds(totals.known),
            unhealthy_seconds: seconds(totals.unhealthy),
            degraded_seconds: seconds(totals.degraded),
            unknown_seconds: seconds(totals.unknown),
            drained_seconds: seconds(totals.drained),
            outage_count: of.outage_count,
            longest_outage_seconds: seconds(of.longest_outage),
            recovery_seconds: of.recovery.map(seconds),
            outages: with_outages.then(|| of.outages.into_iter().map(Into::into).collect()),
            strip: (!of.strip.is_empty())
                .then(|| of.strip.iter().map(|cell| cell.map_or('-', Standing::letter)).collect()),
        }
    }
}

impl From<model::Outage> for Outage {
    fn from(of: model::Outage) -> Self {
        Self {
            id: of.id,
            service: of.service,
            namespace: of.key.namespace().into(),
            name: of.key.name().into(),
            instance: of.instance.map(|name| name.as_str().into()),
            from: of.started,
            until: of.ended,
            seconds: seconds(of.lasted),
            reason: of.reason.as_str().into(),
            check: (!of.check.is_default()).then(|| of.check.as_str().into()),
            instances: of.instances.iter().map(|name| name.as_str().into()).collect(),
            instance_count: of.instance_count,
        }
    }
}

/// In seconds, with at most three decimals.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of some months")]
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}
