//! Every service with its instances, in one pass over both tables: the start of a server and a reader of its file take them so.

use rusqlite::{Connection, Row, Rows};

use super::codec::damaged;
use super::load::{self, INSTANCES, SERVICES};
use crate::model::service::Instance;

/// Calls `take` with each row of [`SERVICES`], its number, and its instances in order of name.
pub(super) fn each(
    db: &Connection,
    mut take: impl FnMut(&Row<'_>, i64, Vec<Instance>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut members = db.prepare(&format!("{INSTANCES} ORDER BY service, name"))?;
    let mut members = Members::new(members.query([])?)?;
    let mut services = db.prepare(&format!("{SERVICES} ORDER BY row"))?;
    let mut rows = services.query([])?;
    while let Some(row) = rows.next()? {
        let number = row.get(0)?;
        take(row, number, members.of(number)?)?;
    }
    Ok(())
}

/// Every instance, read along with the services, in the same order.
struct Members<'s> {
    rows: Rows<'s>,
    /// The next one, and the row of its service.
    next: Option<(i64, Instance)>,
}

impl<'s> Members<'s> {
    fn new(rows: Rows<'s>) -> rusqlite::Result<Self> {
        let mut members = Self { rows, next: None };
        members.step()?;
        Ok(members)
    }

    /// Those of the service in that row.
    fn of(&mut self, service: i64) -> rusqlite::Result<Vec<Instance>> {
        let mut all = Vec::with_capacity(1);
        // An earlier one would be of no service, which the schema forbids.
        while let Some((of, instance)) = self.next.take_if(|(of, _)| *of <= service) {
            if of == service {
                all.push(instance);
            }
            self.step()?;
        }
        if all.is_empty() {
            return Err(damaged(format!("service row {service} has no instance")).into());
        }
        Ok(all)
    }

    fn step(&mut self) -> rusqlite::Result<()> {
        self.next = match self.rows.next()? {
            Some(row) => Some((row.get(0)?, load::instance(row)?)),
            None => None,
        };
        Ok(())
    }
}
