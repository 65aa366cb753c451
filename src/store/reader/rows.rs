//! Rows as entries of the catalog.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::Probed;
use crate::catalog::{Entry, LastCheck};
use crate::model::check::Check;
use crate::model::service::InstanceId;
use crate::model::time::UnixMs;
use crate::store::schema::codec::{Json, Parsed, is_content};
use crate::store::schema::{joined, rows as stored};

/// Every service.
pub(super) fn all<T>(db: &Connection, each: impl Fn(&Entry) -> T) -> rusqlite::Result<Vec<T>> {
    let checked = checked(db)?;
    let mut all = Vec::new();
    // Rows that cannot be read are left out; the server keeps and names them when it starts.
    joined::each(db, &mut Vec::new(), |_, _, service| {
        let last = service.instances.iter().filter_map(|i| checked.get(&i.id)).max().copied();
        all.push(each(&Entry::new(service, LastCheck::starting(last))));
        Ok(())
    })?;
    Ok(all)
}

/// When each instance was probed last.
fn checked(db: &Connection) -> rusqlite::Result<HashMap<InstanceId, UnixMs>> {
    let sql = "SELECT instance, json_extract(last, '$.at') FROM probe WHERE last IS NOT NULL";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok((InstanceId(row.get(0)?), row.get::<_, Parsed<UnixMs>>(1)?.0)))?;
    // A row that cannot be read is left out, as at the server's start.
    Ok(rows.flatten().collect())
}

/// One service; none if it does not exist.
pub(super) fn one(db: &Connection, id: Uuid) -> rusqlite::Result<Option<Entry>> {
    let mut statement = db.prepare_cached(&format!("{} WHERE id = ?1", stored::SERVICES))?;
    let mut rows = statement.query([id.as_bytes().as_slice()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let number: i64 = row.get(0)?;
    let members = stored::members(db, number)?;
    let last = last(db, number)?;
    match stored::service(row, members) {
        Ok(service) if !service.instances.is_empty() => Ok(Some(Entry::new(service, LastCheck::starting(last)))),
        Ok(_) => Ok(None),
        Err(error) if is_content(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn last(db: &Connection, service: i64) -> rusqlite::Result<Option<UnixMs>> {
    let sql = "SELECT max(json_extract(last, '$.at')) FROM probe JOIN instance ON instance.id = probe.instance
        WHERE instance.service = ?1";
    let newest = db.prepare_cached(sql)?.query_row([service], |row| row.get::<_, Option<String>>(0));
    // Probe rows are a cache: one that cannot be read counts as missing.
    Ok(newest.ok().flatten().and_then(|text| text.parse().ok()))
}

/// The service's instances with their probe rows, in order of name; none if the service does not exist.
pub(super) fn probing(db: &Connection, id: Uuid) -> rusqlite::Result<Option<Vec<Probed>>> {
    let row = db
        .prepare_cached("SELECT row FROM service WHERE id = ?1")?
        .query_row([id.as_bytes().as_slice()], |row| row.get::<_, i64>(0))
        .optional()?;
    let Some(number) = row else { return Ok(None) };
    let sql = "SELECT probe.*, instance.name AS instance_name, instance.check_json
        FROM instance JOIN probe ON probe.instance = instance.id AND probe.generation = instance.generation
        WHERE instance.service = ?1 ORDER BY instance.name";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([number], |row| {
        Ok(Probed {
            instance: row.get::<_, Parsed<_>>("instance_name")?.0,
            check: row.get::<_, Option<Json<Check>>>("check_json")?.map(|c| c.0).unwrap_or_default(),
            row: stored::probe(row)?,
        })
    })?;
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
