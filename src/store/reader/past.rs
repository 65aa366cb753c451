//! Availability and outages.

use uuid::Uuid;

use super::{FileReader, ReaderError, rows};
use crate::model::availability::{Availability, Subject, Window};
use crate::model::time::UnixMs;
use crate::store::error::StoreError;
use crate::store::history::availability::{self, AvailabilityQuery, OutagePage, OutageQuery};
use crate::store::schema::spans;

impl FileReader {
    /// How long services, or those of their instances, were proved up or down, without those that do not exist. The window ends now, or when
    /// a server last had the file open. Blocks.
    ///
    /// # Errors
    /// [`ReaderError`].
    pub fn availability(
        &self,
        of: &[(Uuid, Option<&str>)],
        window: Window,
        cells: usize,
    ) -> Result<Vec<Availability>, ReaderError> {
        let subjects = of.iter().map(|(id, instance)| self.subject(*id, *instance));
        let subjects: Vec<Subject> = subjects.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        let query = AvailabilityQuery { subjects, window: self.window(window)?, cells, listed: 0 };
        // Rows that cannot be read are left out; the file's server keeps and names them.
        availability::availability(&self.db, query, &mut Vec::new()).or_else(|error| self.unreadable(error))
    }

    /// A page of all services' outages, newest first: at most `limit`, with numbers below `before`. Blocks.
    ///
    /// # Errors
    /// [`ReaderError`].
    pub fn outages(&self, window: Window, before: Option<i64>, limit: usize) -> Result<OutagePage, ReaderError> {
        let window = self.window(window)?;
        let query = OutageQuery { window, namespaces: Box::new(|_| true), before, limit };
        let nothing = OutagePage { outages: Vec::new(), since: window.1, next: None };
        availability::outages(&self.db, &query, &mut Vec::new())
            .or_else(|error| self.unreadable::<()>(error).map(|_| nothing))
    }

    fn subject(&self, id: Uuid, instance: Option<&str>) -> Result<Option<Subject>, ReaderError> {
        let service = rows::one(&self.db, id).map_err(|error| ReaderError::of(&self.path, error))?;
        Ok(service.and_then(|service| match instance {
            Some(name) => service.instance(name).map(|found| Subject::instance(&service, found)),
            None => Some(Subject::service(&service)),
        }))
    }

    fn window(&self, window: Window) -> Result<(UnixMs, UnixMs), ReaderError> {
        let now = UnixMs::wall();
        if self.is_served() {
            return Ok(window.ending(now));
        }
        let recorded = spans::extent(&self.db).map_err(|error| ReaderError::of(&self.path, error))?;
        Ok(window.ending(recorded.map_or(now, |(_, alive)| alive.min(now))))
    }

    /// Nothing, or why the file cannot be read.
    fn unreadable<T>(&self, error: StoreError) -> Result<Vec<T>, ReaderError> {
        match error {
            StoreError::Sqlite(error) => Err(ReaderError::of(&self.path, error)),
            _ => Ok(Vec::new()),
        }
    }
}
