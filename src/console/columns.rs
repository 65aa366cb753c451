//! The columns of the table of services. A column is one value: its title, width, cell and order.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::check;
use super::data::{Acknowledgement, Instance, ProbingOfInstance, Service, Warning};
use super::facet::Dimension;
use super::filter::{Latency, is_slow};
use super::latency::Took;
use super::status::Status;
use super::text::format::{short, short_millis};
use super::text::sanitize::sanitize;
use super::text::{Meaning, Segment, fit, plain, reason, segment, sparkline};
use crate::model::outcome::Verdict;
use crate::model::time::UnixMs;

/// What a cell may show. Everything about one instance is about the same: the worst of the service.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    /// The row's service.
    pub service: &'a Service,
    /// Its status.
    pub status: Status,
    /// The probing of its worst instance.
    pub probing: Option<&'a ProbingOfInstance>,
    /// When the first certificate of its instances expires.
    pub certificate: Option<UnixMs>,
    /// Columns of text that the cell has room for.
    pub room: usize,
    /// Whether the row is marked.
    pub marked: bool,
    /// Wall clock.
    pub now: UnixMs,
    /// Only ASCII characters.
    pub ascii: bool,
}

/// What probes measured, by service, where it is known.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// How long they take.
    pub latency: HashMap<Uuid, Took>,
    /// When the first certificate expires.
    pub certificates: HashMap<Uuid, UnixMs>,
    /// The 99th percentile above which a healthy service is slow, where the user's file has one.
    pub slow: Option<Duration>,
}

impl Measured {
    /// How long the probes of all instances of a service take.
    pub fn latency_of(&self, service: &Service) -> Option<Latency> {
        self.latency.get(&service.id).and_then(|took| took.all)
    }

    /// The status of a service's row.
    pub fn status(&self, service: &Service) -> Status {
        let latency = self.slow.and_then(|_| self.latency_of(service));
        if is_slow(service, latency, self.slow) { Status::Slow } else { Status::of(service) }
    }
}

/// What rows are ordered by.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The service.
    pub service: &'a Service,
    status: Status,
    since: Option<UnixMs>,
    place: u8,
    /// What its cells show, of the worst instance; where rows are ordered by it.
    latency: Option<Latency>,
    measured: &'a Measured,
}

impl<'a> Row<'a> {
    /// A row of a list in that order.
    pub fn new(service: &'a Service, measured: &'a Measured, order: Column) -> Self {
        let place = match (service.is_faulty(), service.is_acknowledged()) {
            (true, false) => 0,
            (true, true) => 1,
            (false, _) => 2,
        };
        let known = || measured.latency.get(&service.id)?.of_instance(service.worst()?);
        let latency = matches!(order, Column::P50 | Column::P99).then(known).flatten();
        Self { service, status: measured.status(service), since: service.since(), place, latency, measured }
    }

    /// When its first certificate expires; unknown ones come last.
    fn certificate(&self) -> UnixMs {
        self.measured.certificates.get(&self.service.id).copied().unwrap_or(UnixMs(i64::MAX))
    }
}

/// A column that the user added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// The value of the worst instance.
    Of(Dimension),
    /// How available the service was in 24 hours, in percent.
    Availability,
}

impl Added {
    /// Names that are no dimension.
    pub const NAMES: &[&str] = &["avail"];

    /// The column of a name: availability, else a dimension.
    pub fn named(name: &str) -> Self {
        if Self::NAMES.contains(&name) { Self::Availability } else { Self::Of(Dimension::named(name)) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Of(dimension) => dimension.name(),
            Self::Availability => Self::NAMES[0],
        }
    }
}

/// Marks the reason of a row of which somebody knows.
const KNOWN: &str = "ack";
/// A certificate that expires within this time stands out.
const SOON: Duration = Duration::from_hours(14 * 24);
/// Most samples of a row, however wide it is.
const MAX_SAMPLES: usize = 48;

/// An order of the rows.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Its name in the picker.
    pub label: &'static str,
    /// Compares two rows; equal ones follow in the order of namespace, name and id.
    pub compare: fn(&Row<'_>, &Row<'_>) -> Ordering,
}

/// What a column is.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Its title.
    pub title: &'static str,
    /// Minimum width in terminal cells.
    pub width: u16,
    /// Share of the width that is left over.
    pub grows: u16,
    /// The highest leave first; 0 never leaves.
    pub drops: u8,
    /// Whether only the wide table has it.
    pub wide: bool,
    /// Its cell in a row.
    pub cell: fn(&Cell<'_>) -> Segment,
    /// The order by this column, where there is one.
    pub order: Option<Order>,
}

/// A column one cell wide without content.
const EMPTY: Spec = Spec { title: "", width: 1, grows: 0, drops: 0, wide: false, cell: |_| plain(""), order: None };

macro_rules! columns {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $value:expr,)+ })+) => {
        /// Every column, from left to right.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub enum Column { $($(#[$meta])* $name,)+ }

        impl Column {
            /// Every column, from left to right.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// What it is.
            pub const fn spec(self) -> &'static Spec {
                match self { $(Self::$name => const { &Spec { $($field: $value,)+ ..EMPTY } },)+ }
            }
        }
    };
}

columns! {
    /// Whether the row is marked.
    Mark {
        cell: |row| plain(if row.marked { "*" } else { "" }),
    }
    /// Its status; the worst first, the newest fault before older ones, and faults that somebody knows about after the others.
    #[default]
    Status {
        title: "STATUS",
        width: 10,
        cell: |row| {
            let label = row.status.label(row.ascii);
            if row.service.is_acknowledged() { Segment { meaning: Meaning::Faint, ..label } } else { label }
        },
        order: Some(by("worst first", worst_first)),
    }
    /// Its name.
    Name {
        title: "NAME",
        width: 14,
        grows: 4,
        cell: |row| plain(sanitize(&row.service.name, 128)),
        order: Some(by("name", |a, b| a.service.name.cmp(&b.service.name))),
    }
    /// Its namespace, where the list has several.
    Namespace {
        title: "NAMESPACE",
        width: 10,
        grows: 1,
        drops: 4,
        cell: |row| plain(sanitize(&row.service.namespace, 128)),
        order: Some(by("namespace", |a, b| a.service.namespace.cmp(&b.service.namespace))),
    }
    /// Instances that serve, of all; most instances first.
    Ready {
        title: "READY",
        width: 5,
        drops: 3,
        cell: |row| plain(ready(row.service)),
        order: Some(by("instances", |a, b| b.service.instances.len().cmp(&a.service.instances.len()))),
    }
    /// How long ago it changed last, see [`Service::since`]; the newest change first.
    Since {
        title: "SINCE",
        width: 7,
        drops: 1,
        cell: |row| plain(row.service.since().map_or_else(String::new, |at| short(row.now.since(at)))),
        order: Some(by("since", |a, b| b.since.cmp(&a.since))),
    }
    /// Why, and of which instance where there are several.
    Reason {
        title: "REASON",
        width: 22,
        grows: 2,
        drops: 2,
        cell: why,
    }
    /// Its latest latencies, and what the highest block means.
    Latency {
        title: "LATENCY",
        width: 18,
        grows: 1,
        drops: 7,
        cell: |row| {
            let samples = row.probing.map(|known| sparkline::scaled(&known.samples, row.room.min(MAX_SAMPLES), row.ascii));
            plain(samples.unwrap_or_default())
        },
    }
    /// Its median latency; the slowest first, unknown ones last.
    P50 {
        title: "P50",
        width: 8,
        drops: 5,
        cell: |row| plain(percentile(row, 50)),
        order: Some(by("latency (p50)", |a, b| b.latency.map(|l| l.p50).cmp(&a.latency.map(|l| l.p50)))),
    }
    /// The 99th percentile of its latency; the slowest first, unknown ones last.
    P99 {
        title: "P99",
        width: 8,
        drops: 8,
        cell: |row| plain(percentile(row, 99)),
        order: Some(by("latency (p99)", |a, b| b.latency.map(|l| l.p99).cmp(&a.latency.map(|l| l.p99)))),
    }
    /// The status code of its newest probe.
    Code {
        title: "CODE",
        width: 7,
        drops: 9,
        cell: |row| {
            let last = row.probing.and_then(|known| known.last.as_ref());
            let code = last.and_then(|last| Some(reason::code(last.code?, last.verdict == Verdict::Pass)));
            plain(code.unwrap_or_default())
        },
    }
    /// When its first certificate expires; the next one first, unknown ones last.
    Certificate {
        title: "CERT",
        width: 18,
        drops: 6,
        wide: true,
        cell: |row| row.certificate.map_or_else(|| plain(""), |expires| expiry(expires, row.now)),
        order: Some(by("certificate", |a, b| a.certificate().cmp(&b.certificate()))),
    }
    /// Outcomes of one kind in a row.
    Streak {
        title: "STREAK",
        width: 7,
        drops: 10,
        wide: true,
        cell: |row| {
            let streak = row.probing.map(|known| known.streak);
            let sign = |passing| if passing { '+' } else { '-' };
            let text = streak.map_or_else(String::new, |streak| format!("{}{}", sign(streak.passing), streak.count));
            segment(text, Meaning::Faint)
        },
    }
    /// Its version, as text.
    Version {
        title: "VERSION",
        width: 8,
        drops: 7,
        cell: |row| segment(sanitize(&row.service.version, 64), Meaning::Faint),
        order: Some(by("version", |a, b| a.service.version.cmp(&b.service.version))),
    }
    /// `manifest` or `rest`.
    Source {
        title: "SOURCE",
        width: 8,
        drops: 11,
        wide: true,
        cell: |row| segment(sanitize(&row.service.source, 16), Meaning::Faint),
        order: Some(by("source", |a, b| a.service.source.cmp(&b.service.source))),
    }
    /// The address of its worst instance.
    Url {
        title: "URL",
        width: 28,
        grows: 2,
        drops: 12,
        wide: true,
        cell: |row| {
            segment(row.service.worst().map_or_else(String::new, |of| sanitize(&of.base_url, 512)), Meaning::Faint)
        },
    }
}

fn worst_first(a: &Row<'_>, b: &Row<'_>) -> Ordering {
    (a.place, a.status, Reverse(a.since)).cmp(&(b.place, b.status, Reverse(b.since)))
}

/// `1/2`, or `–` where nothing is checked.
fn ready(service: &Service) -> String {
    if service.is_unchecked() { "–".to_owned() } else { format!("{}/{}", service.serving(), service.instances.len()) }
}

fn why(row: &Cell<'_>) -> Segment {
    let Some(worst) = row.service.worst() else { return segment(sanitize(&row.service.reason, 64), Meaning::Faint) };
    let why = Why {
        of: worst,
        known: row.service.acknowledged.as_deref(),
        warning: row.service.warning(),
        probing: row.probing,
        usual: if row.service.is_faulty() { Meaning::Plain } else { Meaning::Faint },
    };
    let is_named = row.service.instances.len() > 1 && !worst.serves();
    why.cell(is_named.then_some(&*worst.name), row.room)
}

/// Why a row has its status: the drain, the warning or the reason of an instance, and that somebody knows about it.
#[derive(Debug, Clone, Copy)]
pub struct Why<'a> {
    /// The instance that the row is about.
    pub of: &'a Instance,
    /// Who knows about its failure.
    pub known: Option<&'a Acknowledgement>,
    /// What does not pass although it serves.
    pub warning: Option<&'a Warning>,
    /// Its probing.
    pub probing: Option<&'a ProbingOfInstance>,
    /// What a reason alone means in the row.
    pub usual: Meaning,
}

impl Why<'_> {
    /// In the longest wording that fits into `room` columns, after the instance's name where the row does not say it:
    /// `b: nothing listens on 10.0.0.5:801`, `ack 503 (wants 2xx) (ops: disk ordered)`, `ack 503`.
    pub fn cell(&self, name: Option<&str>, room: usize) -> Segment {
        let (mut wordings, mut meaning) = self.wordings();
        if let Some(known) = self.known.filter(|_| !self.of.is_drained()) {
            let note = wordings
                .first()
                .map(|first| format!("{first} ({}: {})", sanitize(&known.by, 64), sanitize(&known.note, 384)));
            wordings = note.into_iter().chain(wordings).map(|words| format!("{KNOWN} {words}")).collect();
            meaning = Meaning::Faint;
        }
        if let Some(name) = name {
            let name = sanitize(name, 63);
            for words in &mut wordings {
                *words = format!("{name}: {words}");
            }
        }
        segment(fit::wording(wordings, room), meaning)
    }

    fn wordings(&self) -> (Vec<String>, Meaning) {
        if let Some(drain) = &self.of.drain {
            let (reason, by) = (sanitize(&drain.reason, 256), sanitize(&drain.by, 64));
            // The status says that it is drained.
            return (vec![format!("drained: {reason}; by {by}"), format!("{reason}; by {by}"), reason], self.usual);
        }
        match self.warning.filter(|_| self.of.serves()) {
            Some(warning) => (vec![format!("warning {}", sanitize(&warning.reason, 64))], Meaning::Warn),
            None => (wordings(self.of, self.probing), self.usual),
        }
    }
}

/// Why an instance is what it is: what a probe found says more than the reason alone.
pub fn instance_why(of: &Instance, probing: Option<&ProbingOfInstance>) -> String {
    wordings(of, probing).into_iter().next().unwrap_or_default()
}

/// The same in every wording, the longest first.
fn wordings(of: &Instance, probing: Option<&ProbingOfInstance>) -> Vec<String> {
    let fail = probing.and_then(|known| known.last_fail.as_ref()).filter(|fail| fail.reason == of.reason);
    let dialled = fail.and_then(|fail| fail.address).map(|address| address.to_string());
    let status = fail.and_then(|fail| fail.code).map(|code| (code, check::wanted(of)));
    // A check beside the plain one may be of another address.
    let named = || of.authorities().last().filter(|_| of.decided_by.is_none());
    let address = dialled.or_else(|| named().map(Into::into));
    reason::wordings(&of.reason, &reason::Found { address, status })
}

/// `in 12 d`, `in 5 h`, or `expired 2026-01-01`.
pub fn expiry(expires: UnixMs, now: UnixMs) -> Segment {
    let left = expires.since(now);
    if left.is_zero() {
        let date = expires.to_string();
        return segment(format!("expired {}", date.get(..10).unwrap_or(&date)), Meaning::Bad);
    }
    let hours = left.as_secs() / 3600;
    let text = if hours < 48 { format!("in {hours} h") } else { format!("in {} d", hours / 24) };
    segment(text, if left < SOON { Meaning::Warn } else { Meaning::Faint })
}

const fn by(label: &'static str, compare: fn(&Row<'_>, &Row<'_>) -> Ordering) -> Order {
    Order { label, compare }
}

fn percentile(row: &Cell<'_>, percent: usize) -> String {
    let us = row.probing.and_then(|known| sparkline::percentile(&known.samples, percent));
    us.map_or_else(String::new, short_millis)
}

impl Column {
    /// The order by this column, where there is one.
    pub const fn order(self) -> Option<Order> {
        self.spec().order
    }

    /// The columns that rows can be ordered by.
    pub fn sortable() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|column| column.order().is_some())
    }

    /// The sortable column `steps` to the right of this one, wrapping around.
    #[must_use]
    pub fn sortable_after(self, steps: isize) -> Self {
        let all: Vec<Self> = Self::sortable().collect();
        let at = all.iter().position(|column| *column == self).unwrap_or_default();
        let len = isize::try_from(all.len()).unwrap_or(1).max(1);
        let next = (isize::try_from(at).unwrap_or_default() + steps).rem_euclid(len);
        all.get(usize::try_from(next).unwrap_or_default()).copied().unwrap_or(self)
    }
}
