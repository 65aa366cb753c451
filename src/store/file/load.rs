//! From the file to the writer's first state.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use crate::catalog::{LastCheck, Snapshot};
use crate::model::name::CheckName;
use crate::model::probe::ProbeRow;
use crate::model::service::{Instance, InstanceId};
use crate::model::time::UnixMs;
use crate::store::rules::state::{Index, Mirror, State};
use crate::store::schema::codec::is_content;
use crate::store::schema::joined;
use crate::store::schema::meta::{Kind, Meta};
use crate::store::schema::quarantine::{BadRow, Table};
use crate::store::schema::rows::{describe, name, probe};

/// What the file holds.
pub(crate) struct Registered {
    pub(crate) state: State,
    pub(crate) index: Index,
    /// The probe rows of each instance's current generation, by check.
    pub(crate) probes: ProbeRows,
    /// Rows that could not be read, an instance's before its service's.
    pub(crate) bad: Vec<BadRow>,
    /// Whether this differs from what readers saw at the last revision.
    pub(crate) differs: bool,
}

/// Reads everything that was registered, and the probe rows.
pub(crate) fn everything(db: &Connection, meta: &Meta) -> rusqlite::Result<Registered> {
    let mut state = nothing(meta);
    let mut bad = Vec::new();
    let (mut probes, checked) = match &state.mirror {
        // Only the leader knows about probes, and a new leader starts without them.
        Some(_) => Probes::default(),
        None => probes(db, &mut bad)?,
    };
    let mut index = Index::default();
    let mut generations = HashMap::new();
    let mut twins = Vec::new();
    let (mut ahead, mut serial) = (false, state.serial);
    joined::each(db, &mut bad, |row, number_of_row, mut service| {
        if state.snapshot.get(service.key.as_str()).is_some() {
            twins.push((number_of_row, service));
            return Ok(());
        }
        generations.extend(service.instances.iter().map(|instance| (instance.id, instance.generation)));
        // Numbers that are given from now on must be new even if the one in the meta row is damaged.
        serial = service.instances.iter().map(number).fold(serial, u64::max).max(count(number_of_row));
        if state.mirror.is_none() && service.revision > meta.revision {
            (service.revision, service.sequence, ahead) = (meta.revision, meta.revision, true);
        }
        let last = service.instances.iter().filter_map(|i| checked.get(&i.id)).max().copied();
        if let Some(mirror) = &state.mirror {
            service.sequence = 0;
            service.unreported = row.get::<_, bool>("unreported")?.then_some(mirror.replica);
        }
        index.add(&service, number_of_row);
        state.adopt(service, LastCheck::starting(last));
        Ok(())
    })?;
    for (number, service) in twins {
        let row = |table, row| {
            let name = service.key.as_str().to_owned();
            BadRow { name, ..BadRow::new(table, row, &"another row has the service's name") }
        };
        bad.extend(service.instances.iter().map(|instance| row(Table::Instance, instance.id.0)));
        bad.push(row(Table::Service, number));
    }
    state.serial = serial;
    prefix_names(db, &mut bad)?;
    probes.retain(|(id, _), row| generations.get(id) == Some(&row.generation));
    let differs = ahead || bad.iter().any(BadRow::is_registered);
    Ok(Registered { state, index, probes, bad, differs })
}

/// The highest number given to the instance.
fn number(instance: &Instance) -> u64 {
    instance.generation.max(count(instance.id.0))
}

fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// Prefixes the names of instances with those of their services.
fn prefix_names(db: &Connection, bad: &mut [BadRow]) -> rusqlite::Result<()> {
    let mut names = db.prepare("SELECT namespace, name FROM service WHERE row = ?1")?;
    for row in bad {
        let Some(service) = row.service else { continue };
        let of = names.query_row([service], |of| Ok(name(of, &[0, 1]))).optional()?;
        row.name = format!("{}/{}", of.unwrap_or_else(|| format!("service row {service}")), row.name);
    }
    Ok(())
}

fn nothing(meta: &Meta) -> State {
    let (epoch, revision) = (meta.epoch.clone(), meta.revision);
    match meta.kind {
        Kind::Record => State::empty(Snapshot::empty(epoch, revision), meta.serial, None),
        Kind::Mirror { complete } => {
            let mirror = Mirror::new(complete);
            State::empty(Snapshot::mirror(epoch, revision, mirror.replica), meta.serial, Some(mirror))
        }
    }
}

/// The probe row of each check of each instance.
pub(crate) type ProbeRows = HashMap<(InstanceId, CheckName), ProbeRow>;

type Probes = (ProbeRows, HashMap<InstanceId, UnixMs>);

/// The rows, and when each instance was last probed, in any generation. A check whose row cannot be read is made as if it were new.
fn probes(db: &Connection, bad: &mut Vec<BadRow>) -> rusqlite::Result<Probes> {
    let (mut all, mut checked) = (HashMap::new(), HashMap::new());
    let mut statement = db.prepare("SELECT * FROM probe")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let probe = match probe(row) {
            Ok(probe) => probe,
            Err(error) if is_content(&error) => {
                let name = format!("instance row {}", row.get::<_, i64>("instance")?);
                bad.push(BadRow { name, ..BadRow::new(Table::Probe, row.get("row")?, &describe(row, &error)) });
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(last) = &probe.last {
            let newest = checked.entry(probe.instance).or_insert(last.at);
            *newest = last.at.max(*newest);
        }
        all.insert((probe.instance, probe.check.clone()), probe);
    }
    Ok((all, checked))
}
