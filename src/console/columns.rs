//! The columns of the table of services. A column is one value: its title, width, cell and order.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::data::{ProbingOfInstance, Service};
use super::status::Status;
use super::text::format::{short, short_millis};
use super::text::sanitize::sanitize;
use super::text::{Meaning, Segment, plain, segment, sparkline};
use crate::model::time::UnixMs;

/// What a cell may show.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    /// The row's service.
    pub service: &'a Service,
    /// The probing of its instance that is down, else of its first.
    pub probing: Option<&'a ProbingOfInstance>,
    /// Whether the row is marked.
    pub marked: bool,
    /// Wall clock.
    pub now: UnixMs,
    /// Only ASCII characters.
    pub ascii: bool,
}

/// What rows are ordered by.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The service.
    pub service: &'a Service,
    status: Status,
    since: Option<UnixMs>,
    latency: &'a HashMap<Uuid, Duration>,
}

impl<'a> Row<'a> {
    /// A row; `latency` has the median latencies that are known, by service.
    pub fn new(service: &'a Service, latency: &'a HashMap<Uuid, Duration>) -> Self {
        Self { service, status: Status::of(service), since: service.since(), latency }
    }

    fn latency(&self) -> Option<Duration> {
        self.latency.get(&self.service.id).copied()
    }
}

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
    /// Its status; the worst first, the newest fault before older ones.
    #[default]
    Status {
        title: "STATUS",
        width: 10,
        cell: |row| Status::of(row.service).label(row.ascii),
        order: Some(by("worst first", |a, b| (a.status, Reverse(a.since)).cmp(&(b.status, Reverse(b.since))))),
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
    /// Healthy instances of all; most instances first.
    Ready {
        title: "READY",
        width: 5,
        drops: 3,
        cell: |row| plain(format!("{}/{}", row.service.healthy(), row.service.instances.len())),
        order: Some(by("instances", |a, b| b.service.instances.len().cmp(&a.service.instances.len()))),
    }
    /// How long it has had its health, shortest first.
    Since {
        title: "SINCE",
        width: 8,
        drops: 2,
        cell: |row| plain(row.service.since().map_or_else(String::new, |at| short(row.now.since(at)))),
        order: Some(by("since", |a, b| b.since.cmp(&a.since))),
    }
    /// Why.
    Reason {
        title: "REASON",
        width: 16,
        grows: 1,
        drops: 1,
        cell: |row| {
            let meaning = if row.service.is_faulty() { Meaning::Plain } else { Meaning::Faint };
            segment(sanitize(row.service.why(), 64), meaning)
        },
    }
    /// Its latest latencies.
    Latency {
        title: "LATENCY",
        width: 12,
        grows: 1,
        drops: 6,
        cell: |row| {
            plain(row.probing.map_or_else(String::new, |known| sparkline::text(&known.samples, 14, row.ascii)))
        },
    }
    /// Its median latency; the slowest first, unknown ones last.
    P50 {
        title: "P50",
        width: 8,
        drops: 5,
        cell: |row| plain(percentile(row, 50)),
        order: Some(by("latency", |a, b| b.latency().cmp(&a.latency()))),
    }
    /// The 99th percentile of its latency.
    P99 {
        title: "P99",
        width: 8,
        drops: 8,
        cell: |row| plain(percentile(row, 99)),
    }
    /// The status code of its newest probe.
    Code {
        title: "CODE",
        width: 4,
        drops: 9,
        cell: |row| {
            let code = row.probing.and_then(|known| known.last.as_ref()).and_then(|last| last.code);
            plain(code.map_or_else(String::new, |code| code.to_string()))
        },
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
    /// The address of its first instance.
    Url {
        title: "URL",
        width: 28,
        grows: 2,
        drops: 12,
        wide: true,
        cell: |row| {
            let first = row.service.instances.first();
            segment(first.map_or_else(String::new, |first| sanitize(&first.base_url, 512)), Meaning::Faint)
        },
    }
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
