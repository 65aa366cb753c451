//! From the file to the first snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::catalog::{Epoch, LastCheck, Snapshot};
use crate::model::check::Check;
use crate::model::name::{InstanceName, Namespace, ServiceKey, ServiceName};
use crate::model::outcome::Outcome;
use crate::model::probe::ProbeRow;
use crate::model::service::{Instance, InstanceId, InstanceSpec, Owner, Service, Source};
use crate::model::time::UnixMs;
use crate::model::url::EndpointUrl;

use super::codec::{Cells, Count, Id, Json, Parsed, damaged, int, time, unpack};
use super::damage::is_content;
use super::joined;
use super::mirror::Mirror;
use super::quarantine::{BadRow, Table};
use super::state::{Index, State};

/// Every service's row.
pub(super) const SERVICES: &str =
    "SELECT row, id, namespace, name, source, registered_at, updated_at, revision, unreported FROM service";

/// Every instance's row, in the order in which it is read.
pub(super) const INSTANCES: &str =
    "SELECT service, id, name, owner, generation, fence, created_at, health, reason, since, base_url, health_url,
    check_json, version, description, metadata, weight, zone FROM instance";

/// The one row of `meta`.
#[derive(Debug, Clone)]
pub(super) struct Meta {
    pub(super) epoch: Epoch,
    pub(super) run: String,
    pub(super) revision: u64,
    pub(super) serial: u64,
    pub(super) floor: u64,
    pub(super) kind: Kind,
    /// When the file was made.
    pub(super) began: UnixMs,
}

/// What `meta` has to say at least, from the other tables: after its row was lost, or a number in it.
pub(super) fn least(db: &Connection) -> rusqlite::Result<(u64, u64)> {
    let sql =
        "SELECT max(coalesce((SELECT max(revision) FROM service), 0), coalesce((SELECT max(revision) FROM change), 0)),
        max(coalesce((SELECT max(row) FROM service), 0), coalesce((SELECT max(id) FROM instance), 0),
        coalesce((SELECT max(generation) FROM instance), 0))";
    db.query_row(sql, [], |row| {
        let number = |at| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
        Ok((number(0)?, number(1)?))
    })
}

/// Whether there is anything in the file, and whether it looks like a mirror's.
pub(super) fn traces(db: &Connection) -> rusqlite::Result<(bool, bool)> {
    let sql = "SELECT exists (SELECT 1 FROM service) OR exists (SELECT 1 FROM instance),
        exists (SELECT 1 FROM instance WHERE fence IS NOT NULL)";
    db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The record itself.
    Record,
    /// A mirror of another record.
    Mirror {
        /// Whether it has once held all.
        complete: bool,
    },
}

impl Kind {
    /// Its number in the file.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Record => 0,
            Self::Mirror { complete } => 1 + u8::from(complete),
        }
    }
}

impl FromSql for Kind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::Record),
            1 => Ok(Self::Mirror { complete: false }),
            2 => Ok(Self::Mirror { complete: true }),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

/// Reads it; none in a new file.
pub(super) fn meta(db: &Connection) -> rusqlite::Result<Option<Meta>> {
    let mut statement = db.prepare("SELECT epoch, run, revision, serial, floor, mirror, began FROM meta")?;
    let mut rows = statement.query_map([], |row| {
        Ok(Meta {
            epoch: row.get::<_, Parsed<Epoch>>("epoch")?.0,
            run: row.get("run")?,
            revision: row.get::<_, Count>("revision")?.0,
            serial: row.get::<_, Count>("serial")?.0,
            floor: row.get::<_, Count>("floor")?.0,
            kind: row.get("mirror")?,
            began: time(row, "began")?,
        })
    })?;
    rows.next().transpose()
}

/// What was registered when the file was last written.
pub(super) struct Registered {
    pub(super) state: State,
    pub(super) index: Index,
    /// What probing left behind, of each instance's current generation.
    pub(super) probes: HashMap<InstanceId, ProbeRow>,
    /// Rows that could not be read, those of an instance before that of its service.
    pub(super) bad: Vec<BadRow>,
    /// Whether this is not what readers saw at the last revision.
    pub(super) differs: bool,
}

/// Everything that was registered, and what probing left behind.
pub(super) fn everything(db: &Connection, meta: &Meta) -> rusqlite::Result<Registered> {
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

/// What a row's names say it belongs to: of the columns at these places, as far as they are text.
pub(super) fn name(row: &Row<'_>, at: &[usize]) -> String {
    let part = |at: &usize| match row.get_ref(*at) {
        Ok(ValueRef::Text(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => "?".to_owned(),
    };
    at.iter().map(part).collect::<Vec<_>>().join("/")
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

/// The error, with the column's name instead of its place.
pub(super) fn told(row: &Row<'_>, error: &rusqlite::Error) -> String {
    use rusqlite::Error as E;
    // Where it is not known which column it was, the reason says it.
    let of = |at: &usize| row.as_ref().column_name(*at).map(|name| format!("{name}: ")).unwrap_or_default();
    match error {
        E::FromSqlConversionFailure(at, _, why) => format!("{}{why}", of(at)),
        E::InvalidColumnType(at, _, found) => format!("{}a value of type {found}", of(at)),
        E::IntegralValueOutOfRange(at, n) => format!("{}{n} is out of range", of(at)),
        E::Utf8Error(at, why) => format!("{}{why}", of(at)),
        error => error.to_string(),
    }
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

/// A row of [`SERVICES`], with what [`members`] read.
pub(super) fn service(row: &Row<'_>, instances: Vec<Instance>) -> rusqlite::Result<Service> {
    let mut cells = Cells::of(row);
    let _number: i64 = cells.next()?;
    let id = cells.next::<Id>()?.0;
    let (namespace, name): (Parsed<Namespace>, Parsed<ServiceName>) = (cells.next()?, cells.next()?);
    let source = cells.next::<StoredSource>()?.0;
    let (registered_at, updated_at) = (cells.time()?, cells.time()?);
    let revision = cells.next::<Count>()?.0;
    Ok(Service {
        id,
        key: ServiceKey::new(&namespace.0, &name.0),
        source,
        registered_at,
        updated_at,
        revision,
        sequence: revision,
        unreported: None,
        instances,
    })
}

struct StoredSource(Source);

impl FromSql for StoredSource {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "rest" => Ok(Self(Source::Rest)),
            "manifest" => Ok(Self(Source::Manifest)),
            other => Err(damaged(format!("source {other:?}"))),
        }
    }
}

/// The instances of one service row that can be read, in order of name.
pub(super) fn members(db: &Connection, service: i64) -> rusqlite::Result<Vec<Instance>> {
    let mut statement = db.prepare_cached(&format!("{INSTANCES} WHERE service = ?1 ORDER BY name"))?;
    let mut rows = statement.query([service])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        match instance(row) {
            Ok(instance) => all.push(instance),
            Err(error) if is_content(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// A row of [`INSTANCES`].
pub(super) fn instance(row: &Row<'_>) -> rusqlite::Result<Instance> {
    let mut cells = Cells::of(row);
    let _service: i64 = cells.next()?;
    Ok(Instance {
        id: InstanceId(int(cells.next::<Count>()?.0)),
        name: cells.next::<Parsed<InstanceName>>()?.0,
        owner: Owner::from_stored(&cells.next::<String>()?).ok_or_else(|| damaged("an owner"))?,
        generation: cells.next::<Count>()?.0,
        fence: cells.next::<Option<Count>>()?.map(|fence| fence.0),
        created_at: cells.time()?,
        health: cells.next::<Parsed<_>>()?.0,
        reason: cells.next::<Parsed<_>>()?.0,
        since: cells.time()?,
        message: None,
        spec: Arc::new(spec(&mut cells)?),
    })
}

fn spec(cells: &mut Cells<'_, '_>) -> rusqlite::Result<InstanceSpec> {
    let url = |parsed: Result<EndpointUrl, _>| parsed.map_err(damaged);
    Ok(InstanceSpec {
        base_url: url(EndpointUrl::base(&cells.next::<String>()?))?,
        health_url: cells.next::<Option<String>>()?.map(|text| url(EndpointUrl::health(&text))).transpose()?,
        check: cells.next::<Option<Json<Check>>>()?.map(|c| c.0).unwrap_or_default(),
        version: cells.next()?,
        description: cells.next()?,
        metadata: cells.next::<Option<Json<_>>>()?.map(|m| m.0).unwrap_or_default(),
        weight: cells.next()?,
        zone: cells.next()?,
    })
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

/// A row of `probe`.
pub(super) fn probe(row: &Row<'_>) -> rusqlite::Result<ProbeRow> {
    let outcome = |column: &str| row.get::<_, Option<Json<Outcome>>>(column).map(|o| o.map(|o| o.0));
    let samples = row.get_ref("samples")?.as_blob().and_then(unpack)?;
    Ok(ProbeRow {
        instance: InstanceId(row.get("instance")?),
        generation: row.get::<_, Count>("generation")?.0,
        state: row.get::<_, Json<_>>("state")?.0,
        next_due: time(row, "next_due")?,
        last: outcome("last")?,
        last_pass: outcome("last_pass")?,
        samples,
    })
}
