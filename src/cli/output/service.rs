//! Services and instances as rows.

use super::paint::{Cell, Tone};
use super::table::{Table, foreign};
use super::time::since;
use crate::cli::client::{InstanceView, ServiceView};
use crate::model::text::escape;
use crate::model::time::UnixMs;

/// One row a service. `namespaces` puts theirs first, `wide` adds what is rarely asked.
pub(in crate::cli) fn services(services: &[ServiceView], namespaces: bool, wide: bool, now: UnixMs) -> Table {
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
    for service in services {
        table.row(service_row(service, namespaces, wide, now));
    }
    table
}

fn service_row(s: &ServiceView, namespaces: bool, wide: bool, now: UnixMs) -> Vec<Cell> {
    let mut row = Vec::with_capacity(13);
    if namespaces {
        row.push(foreign(&s.namespace));
    }
    row.extend([foreign(&s.name), foreign(&s.version), Cell::health(&s.status), s.ratio().into()]);
    row.extend([foreign(&s.reason), since(s.since(), now).into()]);
    if wide {
        row.extend([since(s.last_health_check, now).into(), since(s.registered_at, now).into()]);
        row.extend([foreign(&s.source), foreign(&s.id)]);
    }
    row.push(foreign(&s.base_url));
    if wide {
        row.push(foreign(&s.description));
    }
    row
}

/// One row an instance.
pub(in crate::cli) fn instances(instances: &[InstanceView], wide: bool, now: UnixMs) -> Table {
    let mut head = vec!["INSTANCE", "VERSION", "STATUS", "REASON", "SINCE", "WEIGHT", "ZONE", "BASE_URL"];
    if wide {
        head.extend(["HEALTH_URL", "GENERATION", "METADATA"]);
    }
    let mut table = Table::new(&head);
    for i in instances {
        let weight = if i.weight == 0 { Cell::new("0 (drained)", Tone::Unsure) } else { i.weight.to_string().into() };
        let mut row = vec![foreign(&i.name), foreign(&i.version), Cell::health(&i.status), foreign(&i.reason)];
        row.extend([since(i.since, now).into(), weight, foreign(&i.zone), foreign(&i.base_url)]);
        if wide {
            row.extend([foreign(&i.health_url), i.generation.to_string().into(), foreign(&pairs(i.metadata.iter()))]);
        }
        table.row(row);
    }
    table
}

/// `k=v, k=v`, not yet escaped.
pub(in crate::cli) fn pairs<'a>(entries: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    entries.map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(", ")
}

/// `name  value` lines about one service, as a replica knows it that probes or that does not.
pub(in crate::cli) fn facts(s: &ServiceView, probed_elsewhere: bool, now: UnixMs) -> Vec<(&'static str, Cell)> {
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
        ("Status", Cell::health(&s.status)),
        ("Reason", foreign(&s.reason)),
        ("Base URL", foreign(&s.base_url)),
        ("Version", foreign(&s.version)),
        ("Description", Cell::from(escape(&s.description, 2000))),
        ("Metadata", foreign(&pairs(s.metadata.iter()))),
        ("Registered", time(s.registered_at)),
        ("Updated", time(s.updated_at)),
        ("Last check", last_check),
        ("Source", foreign(&s.source)),
        ("ID", foreign(&s.id)),
    ]
}
