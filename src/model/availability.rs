//! Availability: how long a service or an instance was proved to be up or down. Pure.
//!
//! The store records sparse [`Span`]s in which something was not plainly healthy; the rest of the time is healthy. From them:
//!
//! - *known* time is that in which it was proved up or down: neither unknown nor drained;
//! - *availability* is `1 - unhealthy / known`, and none where nothing is known;
//! - a service is unhealthy while none of its instances that are not drained is healthy, and one is unhealthy. While one is healthy and
//!   another is unhealthy, it is degraded, which counts as available;
//! - time in which no server ran (a *gap*) is unknown, whatever was the case before and after.

use std::time::Duration;

use uuid::Uuid;

use super::name::{CheckName, InstanceName, ServiceKey};
use super::outcome::{Health, Reason};
use super::service::{Instance, Service, health_of};
use super::time::{self, UnixMs};
use super::value_error::ValueError;

/// The longest window, and how long spans are kept.
pub const MAX_WINDOW: Duration = Duration::from_hours(30 * 24);
/// Most cells of a strip.
pub const MAX_CELLS: usize = 96;
/// Most instances that an outage names.
pub const MAX_NAMED: usize = 16;

/// How a service or an instance stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Proved up.
    Healthy,
    /// Out of selection on purpose; a service, if all of its instances are.
    Drained,
    /// Not proved.
    Unknown,
    /// The service is up, but one of its instances is not; services only.
    Degraded,
    /// Proved down.
    Unhealthy,
}

impl Standing {
    /// Every standing, the better ones first.
    pub const ALL: &[Self] = &[Self::Healthy, Self::Drained, Self::Unknown, Self::Degraded, Self::Unhealthy];

    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Drained => "drained",
            Self::Unknown => "unknown",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// Its character in a strip.
    pub const fn letter(self) -> char {
        match self {
            Self::Healthy => 'h',
            Self::Drained => 'd',
            Self::Unknown => '?',
            Self::Degraded => 'g',
            Self::Unhealthy => 'u',
        }
    }

    /// That of an instance.
    pub fn of_instance(instance: &Instance) -> Self {
        match instance.health {
            _ if instance.is_drained() => Self::Drained,
            Health::Healthy => Self::Healthy,
            Health::Unhealthy => Self::Unhealthy,
            Health::Unknown => Self::Unknown,
        }
    }

    /// That of a service.
    pub fn of_service(service: &Service) -> Self {
        let in_selection = || service.instances.iter().filter(|instance| !instance.is_drained());
        if in_selection().next().is_none() {
            return Self::Drained;
        }
        match health_of(in_selection()) {
            Health::Healthy if in_selection().any(|instance| instance.health == Health::Unhealthy) => Self::Degraded,
            Health::Healthy => Self::Healthy,
            Health::Unhealthy => Self::Unhealthy,
            Health::Unknown => Self::Unknown,
        }
    }
}

impl std::str::FromStr for Standing {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|standing| standing.as_str() == text).ok_or("an unknown standing")
    }
}

/// The form of a [`Window`], as a regular expression of JSON Schema: no longer than [`MAX_WINDOW`] in any unit.
pub const WINDOW_PATTERN: &str = concat!(
    "^(([1-9]|[12][0-9]|30)d|([1-9][0-9]?|[1-6][0-9]{2}|7[01][0-9]|720)h",
    "|([1-9][0-9]{0,3}|[1-3][0-9]{4}|4[0-2][0-9]{3}|43[01][0-9]{2}|43200)m",
    "|([1-9][0-9]{0,5}|1[0-9]{6}|2[0-4][0-9]{5}|25[0-8][0-9]{4}|259[01][0-9]{3}|2592000)s)$"
);

/// How far back to look: `24h`, `7d`, `90m`; at most [`MAX_WINDOW`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window(Duration);

impl Window {
    /// Its length.
    pub fn length(self) -> Duration {
        self.0
    }

    /// From when until when it is if it ends at `until`.
    pub fn ending(self, until: UnixMs) -> (UnixMs, UnixMs) {
        (until.minus(self.0), until)
    }
}

impl Default for Window {
    fn default() -> Self {
        Self(Duration::from_hours(24))
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_secs() {
            s if s.is_multiple_of(86_400) && s > 86_400 => write!(f, "{}d", s / 86_400),
            s if s.is_multiple_of(3600) => write!(f, "{}h", s / 3600),
            s if s.is_multiple_of(60) => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

impl std::str::FromStr for Window {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let unit = time::unit(unit).filter(|unit| *unit >= Duration::from_secs(1));
        let length = digits.parse().ok().zip(unit).and_then(|(number, unit)| time::several(number, unit));
        let length = length.filter(|length| !length.is_zero() && *length <= MAX_WINDOW);
        length.map(Self).ok_or_else(|| ValueError::is_not("a time such as 90m, 24h, 7d or 30d, at most 30d"))
    }
}

/// A percentage for people, everywhere: four decimals at most, never rounded up to more, and a dash for none.
///
/// ```
/// use portolan::model::availability::percent_text;
///
/// let shown = [Some(100.0), Some(99.9871), Some(97.5), Some(99.999_99), Some(f64::NAN), None].map(percent_text);
/// assert_eq!(shown, ["100%", "99.9871%", "97.5%", "99.9999%", "–", "–"]);
/// ```
pub fn percent_text(percent: Option<f64>) -> String {
    let Some(percent) = percent.filter(|percent| percent.is_finite()) else { return "–".to_owned() };
    // What the server has rounded down already stays what it is, although a float is a little off.
    let floored = (percent.clamp(0.0, 100.0) * 10_000.0 + 1e-6).floor() / 10_000.0;
    format!("{floored}%")
}

/// A time in which a service or an instance was not plainly healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its number; grows with time.
    pub id: i64,
    /// How it stood.
    pub standing: Standing,
    /// From when on, wall clock.
    pub started: UnixMs,
    /// Until when; none while it lasts.
    pub ended: Option<UnixMs>,
    /// Why it began.
    pub reason: Reason,
    /// The check that decided that.
    pub check: CheckName,
}

/// A time without a server, wall clock: from, until.
pub type Gap = (UnixMs, UnixMs);

/// What availability is asked for: a registered service, or one of its instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The service's id.
    pub service: Uuid,
    /// Its namespace and name.
    pub key: ServiceKey,
    /// The instance; none for the service as a whole.
    pub instance: Option<InstanceName>,
    /// When it was registered.
    pub began: UnixMs,
    /// How it stands now.
    pub standing: Standing,
}

impl Subject {
    /// The service as a whole.
    pub fn service(service: &Service) -> Self {
        Self {
            service: service.id,
            key: service.key.clone(),
            instance: None,
            began: service.registered_at,
            standing: Standing::of_service(service),
        }
    }

    /// One instance.
    pub fn instance(service: &Service, instance: &Instance) -> Self {
        Self {
            instance: Some(instance.name.clone()),
            began: instance.created_at,
            standing: Standing::of_instance(instance),
            ..Self::service(service)
        }
    }
}

/// How long something stood how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Proved up or down; includes `unhealthy` and `degraded`.
    pub known: Duration,
    /// Proved down.
    pub unhealthy: Duration,
    /// Up, but an instance was not.
    pub degraded: Duration,
    /// Not proved, or no server ran.
    pub unknown: Duration,
    /// Out of selection on purpose.
    pub drained: Duration,
}

impl Totals {
    /// Availability in percent with four decimals, rounded down, so that 100 means no outage; none if nothing is known.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a month")]
    pub fn percent(&self) -> Option<f64> {
        let known = self.known.as_millis();
        (known > 0).then(|| {
            let up = known.saturating_sub(self.unhealthy.as_millis());
            (up * 1_000_000 / known) as f64 / 10_000.0
        })
    }

    fn add(&mut self, standing: Standing, time: Duration) {
        match standing {
            Standing::Unknown => self.unknown += time,
            Standing::Drained => self.drained += time,
            Standing::Healthy => self.known += time,
            Standing::Degraded => {
                self.known += time;
                self.degraded += time;
            }
            Standing::Unhealthy => {
                self.known += time;
                self.unhealthy += time;
            }
        }
    }
}

/// A time in which a service or an instance was proved down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// Its number; grows with time.
    pub id: i64,
    /// The service's id.
    pub service: Uuid,
    /// Its namespace and name.
    pub key: ServiceKey,
    /// The instance; none for the service as a whole.
    pub instance: Option<InstanceName>,
    /// When it began, wall clock.
    pub started: UnixMs,
    /// When it ended; none while it lasts.
    pub ended: Option<UnixMs>,
    /// How long it was proved: without gaps.
    pub lasted: Duration,
    /// Why it began.
    pub reason: Reason,
    /// The check that decided that.
    pub check: CheckName,
    /// Instances that were unhealthy meanwhile, at most [`MAX_NAMED`], by name.
    pub instances: Vec<InstanceName>,
    /// How many there were.
    pub instance_count: usize,
}

/// What became of a subject in a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Availability {
    /// The service or instance that it describes.
    pub subject: Subject,
    /// The window, wall clock.
    pub from: UnixMs,
    /// Its end, which is the present.
    pub until: UnixMs,
    /// From when on there is a record; not before `from`.
    pub since: UnixMs,
    /// How long it stood how.
    pub totals: Totals,
    /// How often it was down.
    pub outage_count: usize,
    /// The longest outage.
    pub longest_outage: Duration,
    /// How long the outages that ended lasted on average; none if none did.
    pub recovery: Option<Duration>,
    /// The newest outages, newest first.
    pub outages: Vec<Outage>,
    /// The worst standing in each cell of the window, oldest first; none without a record.
    pub strip: Vec<Option<Standing>>,
}

/// A piece of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    from: UnixMs,
    until: UnixMs,
    standing: Standing,
}

/// The record of one subject.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Since when anything was recorded of it.
    pub since: UnixMs,
    /// Its spans, oldest first.
    pub spans: &'a [Span],
    /// The gaps, oldest first, without overlaps.
    pub gaps: &'a [Gap],
}

impl Record<'_> {
    /// What became of `subject` from `from` to `until`, with `cells` cells and at most `listed` outages, which name no instances yet.
    pub fn evaluate(
        &self,
        subject: Subject,
        (from, until): (UnixMs, UnixMs),
        cells: usize,
        listed: usize,
    ) -> Availability {
        let since = from.max(self.since).max(subject.began).min(until);
        let pieces = self.pieces(since, until, subject.standing);
        let mut totals = Totals::default();
        for piece in &pieces {
            totals.add(piece.standing, piece.until.since(piece.from));
        }
        let mut outages: Vec<Outage> =
            self.spans.iter().rev().filter_map(|span| self.outage(&subject, span, since, until)).collect();
        let outage_count = outages.len();
        let longest_outage = outages.iter().map(|outage| outage.lasted).max().unwrap_or_default();
        let ended = || outages.iter().filter(|outage| outage.ended.is_some());
        let recovered = u32::try_from(ended().count()).unwrap_or(u32::MAX);
        let recovery = ended().map(|outage| outage.lasted).sum::<Duration>().checked_div(recovered);
        outages.truncate(listed);
        let strip = strip(&pieces, from, until, cells);
        Availability { subject, from, until, since, totals, outage_count, longest_outage, recovery, outages, strip }
    }

    /// The outage that `span` is, if it is one, overlaps the time, and was proved at all.
    fn outage(&self, of: &Subject, span: &Span, since: UnixMs, until: UnixMs) -> Option<Outage> {
        let ended = span.ended.unwrap_or(until);
        let is_one = span.standing == Standing::Unhealthy && ended > since && span.started < until;
        let lasted = proved(self.gaps, span.started, ended);
        (is_one && !lasted.is_zero()).then(|| Outage {
            id: span.id,
            service: of.service,
            key: of.key.clone(),
            instance: of.instance.clone(),
            started: span.started,
            ended: span.ended,
            lasted,
            reason: span.reason,
            check: span.check.clone(),
            instances: Vec::new(),
            instance_count: 0,
        })
    }

    /// The time from `since` to `until` without holes or overlaps.
    fn pieces(&self, since: UnixMs, until: UnixMs, now: Standing) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(2 * self.spans.len() + 1);
        let mut at = since;
        let mut put = |pieces: &mut Vec<Piece>, to: UnixMs, standing| {
            if to > at {
                self.split(Piece { from: at, until: to, standing }, pieces);
                at = to;
            }
        };
        for span in self.spans {
            put(&mut pieces, span.started.min(until), Standing::Healthy);
            put(&mut pieces, span.ended.unwrap_or(until).min(until), span.standing);
        }
        // What was never proved has no span.
        let open = self.spans.iter().any(|span| span.ended.is_none());
        let rest = if now == Standing::Unknown && !open { Standing::Unknown } else { Standing::Healthy };
        put(&mut pieces, until, rest);
        pieces
    }

    /// Adds a piece, with the gaps in it.
    fn split(&self, piece: Piece, pieces: &mut Vec<Piece>) {
        let mut at = piece.from;
        let first = self.gaps.partition_point(|gap| gap.1 <= piece.from);
        for (from, until) in self.gaps.iter().skip(first).take_while(|gap| gap.0 < piece.until) {
            let (from, until) = ((*from).max(at), (*until).min(piece.until));
            if from > at {
                pieces.push(Piece { from: at, until: from, standing: piece.standing });
            }
            if until > from {
                pieces.push(Piece { from, until, standing: Standing::Unknown });
                at = until;
            }
        }
        if piece.until > at {
            pieces.push(Piece { from: at, ..piece });
        }
    }
}

/// How much of the time a server ran.
pub fn proved(gaps: &[Gap], from: UnixMs, until: UnixMs) -> Duration {
    let first = gaps.partition_point(|gap| gap.1 <= from);
    let inside = gaps.iter().skip(first).take_while(|gap| gap.0 < until);
    let lost: Duration = inside.map(|gap| gap.1.min(until).since(gap.0.max(from))).sum();
    until.since(from).saturating_sub(lost)
}

fn strip(pieces: &[Piece], from: UnixMs, until: UnixMs, cells: usize) -> Vec<Option<Standing>> {
    let cells_i = i64::try_from(cells).unwrap_or(1).max(1);
    let edge = |n: i64| UnixMs(from.0 + (until.0 - from.0).saturating_mul(n) / cells_i);
    let mut first = 0;
    (0..cells_i)
        .take(cells)
        .map(|n| {
            let (from, until) = (edge(n), edge(n + 1));
            while pieces.get(first).is_some_and(|piece| piece.until <= from) {
                first += 1;
            }
            let inside = pieces.iter().skip(first).take_while(|piece| piece.from < until);
            shown(inside, from, until)
        })
        .collect()
}

/// What a cell shows: that something failed, however short it was, else what lasted longest, so that a restart of the server does not hide
/// what was proved around it.
fn shown<'a>(inside: impl Iterator<Item = &'a Piece>, from: UnixMs, until: UnixMs) -> Option<Standing> {
    let mut lasted = [(0, Standing::Healthy), (0, Standing::Drained), (0, Standing::Unknown)];
    let mut worst = None;
    for piece in inside {
        worst = worst.max(Some(piece.standing));
        if let Some((sum, _)) = lasted.iter_mut().find(|(_, standing)| *standing == piece.standing) {
            *sum += piece.until.min(until).0 - piece.from.max(from).0;
        }
    }
    let longest = lasted.into_iter().max().map(|(_, standing)| standing);
    worst.and_then(|worst| if worst >= Standing::Degraded { Some(worst) } else { longest })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_has_the_form_of_a_window_is_one(text in WINDOW_PATTERN.trim_matches(['^', '$'])) {
            proptest::prop_assert!(text.parse::<Window>().is_ok());
        }
    }
}
