//! From the file to the first snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, Row};

use crate::catalog::{Epoch, LastCheck, Snapshot};
use crate::model::check::Check;
use crate::model::name::{InstanceName, Namespace, ServiceKey, ServiceName};
use crate::model::outcome::Outcome;
use crate::model::probe::ProbeRow;
use crate::model::service::{Instance, InstanceId, InstanceSpec, Owner, Service, Source};
use crate::model::time::UnixMs;
use crate::model::url::EndpointUrl;

use super::codec::{Count, Id, Json, Parsed, damaged, time, unpack};
use super::damage::is_content;
use super::mirror::Mirror;
use super::state::{Index, State};

/// Every service's row.
pub(super) const SERVICES: &str =
    "SELECT row, id, namespace, name, source, registered_at, updated_at, revision, unreported FROM service";

/// The one row of `meta`.
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
}

/// Everything that was registered, and what probing left behind.
pub(super) fn everything(db: &Connection, meta: &Meta) -> rusqlite::Result<Registered> {
    let (mut probes, mut checked) = probes(db)?;
    let mut instances = instances(db)?;
    probes.retain(|id, row| instances.generations.get(id) == Some(&row.generation));
    let mut state = nothing(meta);
    if state.mirror.is_some() {
        // Only who leads knows of probes, and begins anew.
        (probes, checked) = Probes::default();
    }
    let mut index = Index::default();
    let mut statement = db.prepare(SERVICES)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get("row")?;
        let members =
            instances.of.remove(&number).ok_or_else(|| damaged(format!("service row {number} has no instance")))?;
        let last = members.iter().filter_map(|i| checked.get(&i.id)).max().copied();
        let mut service = service(row, members)?;
        if let Some(mirror) = &state.mirror {
            service.sequence = 0;
            service.unreported = row.get::<_, bool>("unreported")?.then_some(mirror.replica);
        }
        index.add(&service, number);
        state.adopt(service, LastCheck::starting(last));
    }
    Ok(Registered { state, index, probes })
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

/// A service's row, with what [`members`] read.
pub(super) fn service(row: &Row<'_>, instances: Vec<Instance>) -> rusqlite::Result<Service> {
    let namespace: Parsed<Namespace> = row.get("namespace")?;
    let name: Parsed<ServiceName> = row.get("name")?;
    let source = match row.get_ref("source")?.as_str()? {
        "rest" => Source::Rest,
        "manifest" => Source::Manifest,
        other => return Err(damaged(format!("source {other:?}")).into()),
    };
    let revision = row.get::<_, Count>("revision")?.0;
    Ok(Service {
        id: row.get::<_, Id>("id")?.0,
        key: ServiceKey::new(&namespace.0, &name.0),
        source,
        registered_at: time(row, "registered_at")?,
        updated_at: time(row, "updated_at")?,
        revision,
        sequence: revision,
        unreported: None,
        instances,
    })
}

/// The instances of all services.
#[derive(Default)]
pub(super) struct Instances {
    /// By service row, in order of name.
    pub(super) of: HashMap<i64, Vec<Instance>>,
    generations: HashMap<InstanceId, u64>,
}

/// Every instance.
pub(super) fn instances(db: &Connection) -> rusqlite::Result<Instances> {
    let mut all = Instances::default();
    let mut statement = db.prepare("SELECT * FROM instance ORDER BY service, name")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let instance = instance(row)?;
        all.generations.insert(instance.id, instance.generation);
        all.of.entry(row.get("service")?).or_default().push(instance);
    }
    Ok(all)
}

/// The instances of one service row, in order of name.
pub(super) fn members(db: &Connection, service: i64) -> rusqlite::Result<Vec<Instance>> {
    let mut statement = db.prepare_cached("SELECT * FROM instance WHERE service = ?1 ORDER BY name")?;
    statement.query_map([service], instance)?.collect()
}

fn instance(row: &Row<'_>) -> rusqlite::Result<Instance> {
    let owner: String = row.get("owner")?;
    Ok(Instance {
        id: InstanceId(row.get("id")?),
        name: row.get::<_, Parsed<InstanceName>>("name")?.0,
        spec: Arc::new(spec(row)?),
        owner: Owner::from_stored(&owner).ok_or_else(|| damaged("an owner"))?,
        generation: row.get::<_, Count>("generation")?.0,
        fence: row.get::<_, Option<Count>>("fence")?.map(|fence| fence.0),
        created_at: time(row, "created_at")?,
        health: row.get::<_, Parsed<_>>("health")?.0,
        reason: row.get::<_, Parsed<_>>("reason")?.0,
        since: time(row, "since")?,
        message: None,
    })
}

fn spec(row: &Row<'_>) -> rusqlite::Result<InstanceSpec> {
    let base: String = row.get("base_url")?;
    let health: Option<String> = row.get("health_url")?;
    let url = |parsed: Result<EndpointUrl, _>| parsed.map_err(damaged);
    Ok(InstanceSpec {
        base_url: url(EndpointUrl::base(&base))?,
        health_url: health.map(|text| url(EndpointUrl::health(&text))).transpose()?,
        check: row.get::<_, Option<Json<Check>>>("check_json")?.map(|c| c.0).unwrap_or_default(),
        version: row.get("version")?,
        description: row.get("description")?,
        metadata: row.get::<_, Option<Json<_>>>("metadata")?.map(|m| m.0).unwrap_or_default(),
        weight: row.get("weight")?,
        zone: row.get("zone")?,
    })
}

type Probes = (HashMap<InstanceId, ProbeRow>, HashMap<InstanceId, UnixMs>);

/// The rows, and when each instance was last probed, also as an older generation. They are a cache: one that cannot be read is left
/// out, and its instance is probed as if it were new.
fn probes(db: &Connection) -> rusqlite::Result<Probes> {
    let (mut all, mut checked) = (HashMap::new(), HashMap::new());
    let mut statement = db.prepare("SELECT * FROM probe")?;
    let mut rows = statement.query([])?;
    let mut unreadable = 0_u32;
    while let Some(row) = rows.next()? {
        let probe = match probe(row) {
            Ok(probe) => probe,
            Err(error) if is_content(&error) => {
                if unreadable == 0 {
                    tracing::warn!("what was known of a probe could not be read and is dropped: {error}");
                }
                unreadable += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(last) = &probe.last {
            checked.insert(probe.instance, last.at);
        }
        all.insert(probe.instance, probe);
    }
    if unreadable > 1 {
        tracing::warn!("{unreadable} such rows were dropped");
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
