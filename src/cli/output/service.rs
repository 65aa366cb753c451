//! Services and instances as rows.

use std::collections::BTreeSet;

use super::paint::{Cell, Tone};
use super::table::{Table, foreign};
use super::time::since;
use crate::console::check;
use crate::model::availability::percent_text;
use crate::model::outcome::Health;
use crate::model::text::escape;
use crate::model::time::UnixMs;
use crate::wire::{Check, Instance, Service};

/// A service as a row shows it.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Row<'a> {
    /// The service.
    pub(in crate::cli) service: &'a Service,
    /// Whether it was removed; then the row shows its last state.
    pub(in crate::cli) removed: bool,
    /// Its availability over the last day in percent, where that is known.
    pub(in crate::cli) available: Option<f64>,
}

impl<'a> From<&'a Service> for Row<'a> {
    fn from(service: &'a Service) -> Self {
        Self { service, removed: false, available: None }
    }
}

/// Healthy instances of all: `1/2`.
pub(in crate::cli) fn ratio(service: &Service) -> String {
    let healthy = service.instances.iter().filter(|i| i.health == Health::Healthy).count();
    format!("{healthy}/{}", service.instances.len())
}

/// How many of so many instances are drained: ` (1 drained)`; empty for none.
pub(in crate::cli) fn drained(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" ({count} drained)") }
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
        head.extend(["AVAIL(24H)", "CHECKED", "AGE", "SOURCE", "ID"]);
    }
    head.push("BASE_URL");
    if wide {
        head.extend(["DESCRIPTION", "ACKNOWLEDGED"]);
    }
    let mut table = Table::new(&head);
    for row in rows {
        table.row(cells(row, namespaces, wide, now));
    }
    table
}

fn cells(Row { service: s, removed, available }: Row<'_>, namespaces: bool, wide: bool, now: UnixMs) -> Vec<Cell> {
    let mut row = Vec::with_capacity(14);
    if namespaces {
        row.push(foreign(&s.namespace));
    }
    let status = if removed { Cell::health("removed") } else { Cell::health(s.health.as_str()) };
    row.extend([foreign(&s.name), foreign(&s.version), status, instances_cell(s)]);
    row.extend([foreign(&s.reason), since(s.since(), now).into()]);
    if wide {
        row.push(percent_text(available).into());
        row.extend([since(s.last_health_check, now).into(), since(s.registered_at, now).into()]);
        row.extend([foreign(&s.source), foreign(&s.id.to_string())]);
    }
    row.push(foreign(&s.base_url));
    if wide {
        row.push(foreign(&s.description));
        row.push(foreign(
            &s.acknowledged.as_ref().map_or_else(String::new, |known| format!("{}: {}", known.by, known.note)),
        ));
    }
    row
}

/// Healthy instances of all, and how many are drained: `3/3 (1 drained)`.
fn instances_cell(service: &Service) -> Cell {
    match service.instances.iter().filter(|i| i.drain.is_some()).count() {
        0 => ratio(service).into(),
        some => Cell::new(format!("{}{}", ratio(service), drained(some)), Tone::Unsure),
    }
}

/// One row per instance.
pub(in crate::cli) fn instances(instances: &[Instance], wide: bool, now: UnixMs) -> Table {
    let mut head = vec!["INSTANCE", "VERSION", "STATUS", "REASON", "SINCE", "WEIGHT", "ZONE", "BASE_URL"];
    if wide {
        head.extend(["HEALTH_URL", "GENERATION", "METADATA", "TAGS", "EXTERNAL_ID", "OWNER"]);
    }
    let mut table = Table::new(&head);
    for i in instances {
        let weight = match &i.drain {
            None if i.weight > 0 => i.weight.to_string().into(),
            _ => Cell::new(format!("{} (drained)", i.weight), Tone::Unsure),
        };
        let mut row = vec![foreign(&i.name), foreign(&i.version), Cell::health(i.health.as_str()), foreign(&i.reason)];
        row.extend([since(i.since, now).into(), weight, foreign(&i.zone), foreign(&i.base_url)]);
        if wide {
            row.extend([foreign(&i.health_url), i.generation.to_string().into(), foreign(&pairs(i.metadata.iter()))]);
            let tags: Vec<&str> = i.tags.iter().map(AsRef::as_ref).collect();
            row.extend([foreign(&tags.join(", ")), foreign(i.external_id.as_deref().unwrap_or(""))]);
            row.push(foreign(&i.owner.as_deref().map(ToString::to_string).unwrap_or_default()));
        }
        table.row(row);
    }
    table
}

/// What the table has no room for: one line each about warnings, drains, acknowledgements, the version that runs, and further checks.
pub(in crate::cli) fn remarks(instances: &[Instance], now: UnixMs) -> Vec<String> {
    let mut lines = Vec::new();
    let until = |end: Option<UnixMs>| end.map_or_else(String::new, |end| format!(", until {end}"));
    for i in instances {
        let mut add = |what: String| lines.push(format!("{}  {}", escape(&i.name, 100), escape(&what, 700)));
        if let Some(warning) = &i.warning {
            let message = if warning.message.is_empty() { String::new() } else { format!(": {}", warning.message) };
            add(format!("warning of check {}: {}{message}", warning.check, warning.reason));
        }
        if let Some(drain) = &i.drain {
            let (lasted, until) = (since(drain.since, now), until(drain.until));
            add(format!("drained for {lasted}{until}, by {}: {}", drain.by, drain.reason));
        }
        if let Some(known) = &i.acknowledged {
            let (lasted, until) = (since(known.since, now), until(known.until));
            add(format!("acknowledged for {lasted}{until}, by {}: {}", known.by, known.note));
        }
        if let Some(observed) = i.observed_version.as_deref().filter(|observed| **observed != *i.version) {
            let registered =
                if i.version.is_empty() { "none is registered".into() } else { format!("registered is {}", i.version) };
            add(format!("runs version {observed}; {registered}"));
        }
        if let Some(decided_by) = &i.decided_by {
            add(format!("its status is that of check {decided_by}"));
        }
        checks(i).into_iter().for_each(&mut add);
    }
    lines
}

/// One line per check of an instance that has several.
fn checks(instance: &Instance) -> Vec<String> {
    if instance.checks.is_empty() {
        return Vec::new();
    }
    let named = instance.checks.iter().map(|named| {
        let check = serde_json::from_str::<Check>(named.get()).ok();
        let advisory = if named.is_advisory() { ", advisory" } else { "" };
        format!("check {}: {}{advisory}", named.name(), check::words(check.as_ref()))
    });
    let plain = instance.check.is_some() || !instance.health_url.is_empty();
    let plain = plain.then(|| format!("check default: {}", check::words(instance.check.as_ref())));
    plain.into_iter().chain(named).collect()
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
    let owners: BTreeSet<String> =
        s.instances.iter().filter_map(|i| i.owner.as_deref()).map(ToString::to_string).collect();
    let owners = owners.into_iter().collect::<Vec<_>>().join(", ");
    let mut facts = vec![
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
        ("Owner", foreign(&owners)),
        ("ID", foreign(&s.id.to_string())),
    ];
    // Unknown for manifests, with auth off, and to those who ask without a token.
    facts.retain(|(name, _)| *name != "Owner" || !owners.is_empty());
    facts
}
