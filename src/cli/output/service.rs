//! Services and instances as rows.

use super::paint::{Cell, Tone};
use super::table::{Table, foreign};
use super::time::since;
use crate::model::outcome::Health;
use crate::model::text::escape;
use crate::model::time::UnixMs;
use crate::wire::{Instance, Service};

/// A service as a row shows it.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Row<'a> {
    /// The service.
    pub(in crate::cli) service: &'a Service,
    /// Whether it was removed; then the row shows its last state.
    pub(in crate::cli) removed: bool,
}

impl<'a> From<&'a Service> for Row<'a> {
    fn from(service: &'a Service) -> Self {
        Self { service, removed: false }
    }
}

/// Healthy instances of all: `1/2`.
pub(in crate::cli) fn ratio(service: &Service) -> String {
    let healthy = service.instances.iter().filter(|i| i.health == Health::Healthy).count();
    format!("{healthy}/{}", service.instances.len())
}

/// One row per service. `namespaces` begins with a column of namespaces, `wide` adds columns that are rarely needed.
pub(in crate::cli) fn services<'a>(
    rows: impl IntoIterator<Item = Row<'a>>,
    namespaces: bool,
    wide: bool,
    now: UnixMs,
) -> Table {
    let mut head = vec!["NAME", "VERSION", "STATUS", "INSTANCES", "REASON", "SINCE"];
    if namespaces {
        head.insert(0, "NAMESPACE");
    }
    if wide {
        head.extend(["CHECKED", "AGE", "SOURCE", "ID"]);
    }
    head.push("BASE_URL");
    if wide {
        head.push("DESCRIPTION");
    }
    let mut table = Table::new(&head);
    for row in rows {
        table.row(cells(row, namespaces, wide, now));
    }
    table
}

fn cells(Row { service: s, removed }: Row<'_>, namespaces: bool, wide: bool, now: UnixMs) -> Vec<Cell> {
    let mut row = Vec::with_capacity(13);
    if namespaces {
        row.push(foreign(&s.namespace));
    }
    let status = if removed { Cell::health("removed") } else { Cell::health(s.health.as_str()) };
    row.extend([foreign(&s.name), foreign(&s.version), status, ratio(s).into()]);
    row.extend([foreign(&s.reason), since(s.since(), now).into()]);
    if wide {
        row.extend([since(s.last_health_check, now).into(), since(s.registered_at, now).into()]);
        row.extend([foreign(&s.source), foreign(&s.id.to_string())]);
    }
    row.push(foreign(&s.base_url));
    if wide {
        row.push(foreign(&s.description));
    }
    row
}

/// One row per instance.
pub(in crate::cli) fn instances(instances: &[Instance], wide: bool, now: UnixMs) -> Table {
    let mut head = vec!["INSTANCE", "VERSION", "STATUS", "REASON", "SINCE", "WEIGHT", "ZONE", "BASE_URL"];
    if wide {
        head.extend(["HEALTH_URL", "GENERATION", "METADATA"]);
    }
    let mut table = Table::new(&head);
    for i in instances {
        let weight = if i.weight == 0 { Cell::new("0 (drained)", Tone::Unsure) } else { i.weight.to_string().into() };
        let mut row = vec![foreign(&i.name), foreign(&i.version), Cell::health(i.health.as_str()), foreign(&i.reason)];
        row.extend([since(i.since, now).into(), weight, foreign(&i.zone), foreign(&i.base_url)]);
        if wide {
            row.extend([foreign(&i.health_url), i.generation.to_string().into(), foreign(&pairs(i.metadata.iter()))]);
        }
        table.row(row);
    }
    table
}

/// `k=v, k=v`, not yet escaped.
pub(in crate::cli) fn pairs<'a>(entries: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    entries.map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(", ")
}

/// `name  value` lines about one service. With `probed_elsewhere` the replica that answered does not know the last check.
pub(in crate::cli) fn facts(s: &Service, probed_elsewhere: bool, now: UnixMs) -> Vec<(&'static str, Cell)> {
    let time = |at: Option<UnixMs>| match at {
        Some(moment) => Cell::from(format!("{moment} ({} ago)", since(at, now))),
        None => Cell::new("never", Tone::Faint),
    };
    let last_check = match s.last_health_check {
        None if probed_elsewhere => Cell::new("known to the replica that leads", Tone::Faint),
        known => time(known),
    };
    vec![
        ("Name", foreign(&s.name)),
        ("Namespace", foreign(&s.namespace)),
        ("Status", Cell::health(s.health.as_str())),
        ("Reason", foreign(&s.reason)),
        ("Base URL", foreign(&s.base_url)),
        ("Version", foreign(&s.version)),
        ("Description", Cell::from(escape(&s.description, 2000))),
        ("Metadata", foreign(&pairs(s.metadata.iter()))),
        ("Registered", time(s.registered_at)),
        ("Updated", time(s.updated_at)),
        ("Last check", last_check),
        ("Source", foreign(&s.source)),
        ("ID", foreign(&s.id.to_string())),
    ]
}
