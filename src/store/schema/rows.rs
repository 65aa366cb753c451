//! Between rows and the model's types.

use std::sync::Arc;

use rusqlite::types::{FromSql, FromSqlResult, ValueRef};
use rusqlite::{Connection, Row};

use super::codec::{Cells, Count, Id, Json, Parsed, damaged, int, is_content, time, unpack};
use crate::model::check::Check;
use crate::model::name::{InstanceName, Namespace, ServiceKey, ServiceName};
use crate::model::outcome::Outcome;
use crate::model::probe::ProbeRow;
use crate::model::service::{Instance, InstanceId, InstanceSpec, Owner, Service, Source};
use crate::model::url::EndpointUrl;

/// Every service's row.
pub(in crate::store) const SERVICES: &str =
    "SELECT row, id, namespace, name, source, registered_at, updated_at, revision, unreported FROM service";

/// Every instance's row, in the order in which it is read.
pub(in crate::store) const INSTANCES: &str =
    "SELECT service, id, name, owner, generation, fence, created_at, health, reason, since, base_url, health_url,
    check_json, version, description, metadata, weight, zone FROM instance";

/// What a row's names say it belongs to: of the columns at these places, as far as they are text.
pub(in crate::store) fn name(row: &Row<'_>, at: &[usize]) -> String {
    let part = |at: &usize| match row.get_ref(*at) {
        Ok(ValueRef::Text(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => "?".to_owned(),
    };
    at.iter().map(part).collect::<Vec<_>>().join("/")
}

/// The error, with the column's name instead of its place.
pub(in crate::store) fn told(row: &Row<'_>, error: &rusqlite::Error) -> String {
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

/// A row of [`SERVICES`], with what [`members`] read.
pub(in crate::store) fn service(row: &Row<'_>, instances: Vec<Instance>) -> rusqlite::Result<Service> {
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
pub(in crate::store) fn members(db: &Connection, service: i64) -> rusqlite::Result<Vec<Instance>> {
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
pub(in crate::store) fn instance(row: &Row<'_>) -> rusqlite::Result<Instance> {
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

/// A row of `probe`.
pub(in crate::store) fn probe(row: &Row<'_>) -> rusqlite::Result<ProbeRow> {
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
