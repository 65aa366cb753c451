//! Rows as services and their probing.

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::Probed;
use crate::model::check::{Check, NamedCheck};
use crate::model::service::Service;
use crate::store::schema::codec::{Json, Parsed, is_content};
use crate::store::schema::{joined, rows as stored};

/// Every service.
pub(super) fn all<T>(db: &Connection, each: impl Fn(&Service) -> T) -> rusqlite::Result<Vec<T>> {
    let mut all = Vec::new();
    // Rows that cannot be read are left out; the server keeps and names them when it starts.
    joined::each(db, &mut Vec::new(), |_, _, service| {
        all.push(each(&service));
        Ok(())
    })?;
    Ok(all)
}

/// One service; none if it does not exist.
pub(super) fn one(db: &Connection, id: Uuid) -> rusqlite::Result<Option<Service>> {
    let mut statement = db.prepare_cached(&format!("{} WHERE id = ?1", stored::SERVICES))?;
    let mut rows = statement.query([id.as_bytes().as_slice()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let number: i64 = row.get(0)?;
    let members = stored::members(db, number)?;
    match stored::service(row, members) {
        Ok(service) if !service.instances.is_empty() => Ok(Some(service)),
        Ok(_) => Ok(None),
        Err(error) if is_content(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The service's instances with the probe rows of their checks, in order of both names; none if the service does not exist.
pub(super) fn probing(db: &Connection, id: Uuid) -> rusqlite::Result<Option<Vec<Probed>>> {
    let row = db
        .prepare_cached("SELECT row FROM service WHERE id = ?1")?
        .query_row([id.as_bytes().as_slice()], |row| row.get::<_, i64>(0))
        .optional()?;
    let Some(number) = row else { return Ok(None) };
    let sql = "SELECT probe.*, instance.name AS instance_name, instance.check_json, instance.checks
        FROM instance JOIN probe ON probe.instance = instance.id AND probe.generation = instance.generation
        WHERE instance.service = ?1 ORDER BY instance.name, probe.check_name <> 'default', probe.check_name";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([number], probed)?;
    let mut all = Vec::new();
    for probed in rows {
        match probed {
            Ok(probed) => all.push(probed),
            Err(error) if is_content(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(all))
}

fn probed(row: &Row<'_>) -> rusqlite::Result<Probed> {
    let probe = stored::probe(row)?;
    let named = row.get::<_, Option<Json<Vec<NamedCheck>>>>("checks")?.map(|checks| checks.0).unwrap_or_default();
    let (check, advisory) = match named.into_iter().find(|named| named.name == probe.check) {
        Some(named) => (named.check, named.advisory),
        None => (row.get::<_, Option<Json<Check>>>("check_json")?.map(|check| check.0).unwrap_or_default(), false),
    };
    Ok(Probed { instance: row.get::<_, Parsed<_>>("instance_name")?.0, check, advisory, row: probe })
}
