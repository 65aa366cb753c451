//! Every service with its instances, in one pass over both tables, for a start and for [`FileReader`](crate::store::reader::FileReader).
//!
//! A row that cannot be read is left out and named, and the pass goes on.

use rusqlite::{Connection, Row, Rows};

use super::codec::is_content;
use super::instance;
use super::quarantine::{BadRow, Table};
use super::rows::{self, SERVICES};
use crate::model::service::{Instance, Service};

/// Calls `take` with each service and its row of [`SERVICES`], its instances in order of name. Rows that cannot be read go to `bad`.
///
/// Both tables are sorted by their rows' content and not by an index, which might differ.
pub(crate) fn each(
    db: &Connection,
    bad: &mut Vec<BadRow>,
    mut take: impl FnMut(&Row<'_>, i64, Service) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut members = db.prepare(&format!("{} ORDER BY +service, +name", *instance::SELECT))?;
    let mut members = Members::new(members.query([])?, bad)?;
    let mut services = db.prepare(&format!("{SERVICES} ORDER BY row"))?;
    let mut rows = services.query([])?;
    while let Some(row) = rows.next()? {
        let number = row.get(0)?;
        let instances = members.of(number, bad)?;
        if let Some(service) = with_instances(row, number, instances, bad)? {
            take(row, number, service)?;
        }
    }
    members.rest(bad)
}

/// The service; none if it cannot be read, or if none of its instances can.
fn with_instances(
    row: &Row<'_>,
    number: i64,
    instances: Vec<Instance>,
    bad: &mut Vec<BadRow>,
) -> rusqlite::Result<Option<Service>> {
    let orphans: Vec<_> = instances.iter().map(|instance| instance.id.0).collect();
    let reason = match rows::service(row, instances) {
        Ok(service) if !orphans.is_empty() => return Ok(Some(service)),
        Ok(_) => "it has no instance that can be read".to_owned(),
        Err(error) if is_content(&error) => rows::describe(row, &error),
        Err(error) => return Err(error),
    };
    let name = rows::name(row, &[2, 3]);
    for id in orphans {
        let reason = format!("its service, row {number}, cannot be read");
        bad.push(BadRow { name: name.clone(), ..BadRow::new(Table::Instance, id, &reason) });
    }
    bad.push(BadRow { name, ..BadRow::new(Table::Service, number, &reason) });
    Ok(None)
}

/// All instances, read along with the services in the same order.
struct Members<'s> {
    rows: Rows<'s>,
    /// The next instance, and the row of its service.
    next: Option<(i64, Instance)>,
}

impl<'s> Members<'s> {
    fn new(rows: Rows<'s>, bad: &mut Vec<BadRow>) -> rusqlite::Result<Self> {
        let mut members = Self { rows, next: None };
        members.step(bad)?;
        Ok(members)
    }

    /// The instances of the service in that row.
    fn of(&mut self, service: i64, bad: &mut Vec<BadRow>) -> rusqlite::Result<Vec<Instance>> {
        let mut all = Vec::with_capacity(1);
        while let Some((of, instance)) = self.next.take_if(|(of, _)| *of <= service) {
            if of == service {
                all.push(instance);
            } else {
                bad.push(orphan(of, &instance));
            }
            self.step(bad)?;
        }
        Ok(all)
    }

    /// Reports the remaining instances, which belong to no service.
    fn rest(&mut self, bad: &mut Vec<BadRow>) -> rusqlite::Result<()> {
        while let Some((of, instance)) = self.next.take() {
            bad.push(orphan(of, &instance));
            self.step(bad)?;
        }
        Ok(())
    }

    /// Advances to the next instance that can be read.
    fn step(&mut self, bad: &mut Vec<BadRow>) -> rusqlite::Result<()> {
        while let Some(row) = self.rows.next()? {
            let read = row.get(0).and_then(|service| Ok((service, instance::read(row)?)));
            match read {
                Ok(next) => {
                    self.next = Some(next);
                    return Ok(());
                }
                Err(error) if is_content(&error) => {
                    let (name, service) = (rows::name(row, &[2]), row.get(0).ok());
                    let reason = rows::describe(row, &error);
                    bad.push(BadRow { name, service, ..BadRow::new(Table::Instance, row.get(1)?, &reason) });
                }
                Err(error) => return Err(error),
            }
        }
        self.next = None;
        Ok(())
    }
}

/// An instance without a service, which the schema forbids.
fn orphan(service: i64, instance: &Instance) -> BadRow {
    let reason = format!("its service, row {service}, does not exist");
    BadRow { name: instance.name.to_string(), ..BadRow::new(Table::Instance, instance.id.0, &reason) }
}
