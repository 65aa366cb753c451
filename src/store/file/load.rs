//! From the file to the writer's first state.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use crate::catalog::{LastCheck, Snapshot};
use crate::model::probe::ProbeRow;
use crate::model::service::{Instance, InstanceId};
use crate::model::time::UnixMs;
use crate::store::rules::state::{Index, Mirror, State};
use crate::store::schema::codec::is_content;
use crate::store::schema::joined;
use crate::store::schema::meta::{Kind, Meta};
use crate::store::schema::quarantine::{BadRow, Table};
use crate::store::schema::rows::{name, probe, told};

/// What was registered when the file was last written.
pub(in crate::store) struct Registered {
    pub(in crate::store) state: State,
    pub(in crate::store) index: Index,
    /// What probing left behind, of each instance's current generation.
    pub(in crate::store) probes: HashMap<InstanceId, ProbeRow>,
    /// Rows that could not be read, those of an instance before that of its service.
    pub(in crate::store) bad: Vec<BadRow>,
    /// Whether this is not what readers saw at the last revision.
    pub(in crate::store) differs: bool,
}

/// Everything that was registered, and what probing left behind.
pub(in crate::store) fn everything(db: &Connection, meta: &Meta) -> rusqlite::Result<Registered> {
    let mut state = nothing(meta);
    let mut bad = Vec::new();
    let (mut probes, checked) = match &state.mirror {
        // Only the leader knows about probes, and a new one starts without.
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
        // A number in one of the two rows is damaged: what is given next must be new all the same.
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
    place(db, &mut bad)?;
    probes.retain(|id, row| generations.get(id) == Some(&row.generation));
    let differs = ahead || bad.iter().any(BadRow::is_registered);
    Ok(Registered { state, index, probes, bad, differs })
}

/// The highest number that an instance was given.
fn number(instance: &Instance) -> u64 {
    instance.generation.max(count(instance.id.0))
}

fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// Puts the names of their services before those of instances.
fn place(db: &Connection, bad: &mut [BadRow]) -> rusqlite::Result<()> {
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

type Probes = (HashMap<InstanceId, ProbeRow>, HashMap<InstanceId, UnixMs>);

/// The rows, and when each instance was last probed, also as an older generation. An instance whose row cannot be read is probed as if
/// it were new.
fn probes(db: &Connection, bad: &mut Vec<BadRow>) -> rusqlite::Result<Probes> {
    let (mut all, mut checked) = (HashMap::new(), HashMap::new());
    let mut statement = db.prepare("SELECT * FROM probe")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let probe = match probe(row) {
            Ok(probe) => probe,
            Err(error) if is_content(&error) => {
                let instance: i64 = row.get("instance")?;
                let name = format!("instance row {instance}");
                bad.push(BadRow { name, ..BadRow::new(Table::Probe, instance, &told(row, &error)) });
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(last) = &probe.last {
            checked.insert(probe.instance, last.at);
        }
        all.insert(probe.instance, probe);
    }
    Ok((all, checked))
}
