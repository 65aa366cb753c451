//! Rows of services and probes as the model's types.

use rusqlite::types::{FromSql, FromSqlResult, ValueRef};
use rusqlite::{Connection, Row};

use super::codec::{Cells, Count, Id, Json, Parsed, damaged, is_content, time, unpack};
use super::instance;
use crate::model::name::{Namespace, ServiceKey, ServiceName};
use crate::model::outcome::Outcome;
use crate::model::probe::ProbeRow;
use crate::model::service::{Instance, InstanceId, Service, Source};

/// Every service.
pub(crate) const SERVICES: &str =
    "SELECT row, id, namespace, name, source, registered_at, updated_at, revision, unreported FROM service";

/// What a row belongs to: the texts in the columns at these positions, joined by a slash.
pub(crate) fn name(row: &Row<'_>, at: &[usize]) -> String {
    let part = |at: &usize| match row.get_ref(*at) {
        Ok(ValueRef::Text(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => "?".to_owned(),
    };
    at.iter().map(part).collect::<Vec<_>>().join("/")
}

/// The error in words, with the column's name instead of its number.
pub(crate) fn describe(row: &Row<'_>, error: &rusqlite::Error) -> String {
    use rusqlite::Error as E;
    // If the column is unknown, the message itself names the cause.
    let of = |at: &usize| row.as_ref().column_name(*at).map(|name| format!("{name}: ")).unwrap_or_default();
    match error {
        E::FromSqlConversionFailure(at, _, why) => format!("{}{why}", of(at)),
        E::InvalidColumnType(at, _, found) => format!("{}a value of type {found}", of(at)),
        E::IntegralValueOutOfRange(at, n) => format!("{}{n} is out of range", of(at)),
        E::Utf8Error(at, why) => format!("{}{why}", of(at)),
        error => error.to_string(),
    }
}

/// Reads a row of [`SERVICES`], with its [`members`].
pub(crate) fn service(row: &Row<'_>, instances: Vec<Instance>) -> rusqlite::Result<Service> {
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

/// The readable instances of the service in that row, in order of name.
pub(crate) fn members(db: &Connection, service: i64) -> rusqlite::Result<Vec<Instance>> {
    let mut statement = db.prepare_cached(&format!("{} WHERE service = ?1 ORDER BY name", *instance::SELECT))?;
    let mut rows = statement.query([service])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        match instance::read(row) {
            Ok(instance) => all.push(instance),
            Err(error) if is_content(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Reads a row of `probe`.
pub(crate) fn probe(row: &Row<'_>) -> rusqlite::Result<ProbeRow> {
    let outcome = |column: &str| row.get::<_, Option<Json<Outcome>>>(column).map(|o| o.map(|o| o.0));
    let samples = row.get_ref("samples")?.as_blob().and_then(unpack)?;
    Ok(ProbeRow {
        instance: InstanceId(row.get("instance")?),
        check: row.get::<_, Parsed<_>>("check_name")?.0,
        generation: row.get::<_, Count>("generation")?.0,
        state: row.get::<_, Json<_>>("state")?.0,
        next_due: time(row, "next_due")?,
        last: outcome("last")?,
        last_pass: outcome("last_pass")?,
        samples,
    })
}
