//! Reading the file, on a thread that may block.

use std::path::Path;

use uuid::Uuid;

use super::convert;
use crate::console::availability::{COLUMN_WINDOW, Subject};
use crate::console::data::{Availability, Service};
use crate::console::outage::{KEPT_OUTAGES, OutageList};
use crate::console::source::SourceEvent;
use crate::console::window::Window;
use crate::model::time::UnixMs;
use crate::store::reader::{FileChanges, FileReader, ReaderError};

/// Entries of one page of history.
const PAGE_SIZE: usize = 100;

/// Why the file cannot be read, and what helps.
pub(super) struct Lost(pub(super) Box<str>);

impl From<ReaderError> for Lost {
    fn from(error: ReaderError) -> Self {
        Self(error.to_string().into())
    }
}

/// The result of a poll.
pub(super) struct Poll {
    pub(super) event: Option<SourceEvent>,
    /// Whether the file had to be opened again.
    pub(super) reopened: bool,
    /// Whether a server has it open, where that was checked.
    pub(super) served: Option<bool>,
    /// When it was last written, where no server has it open.
    pub(super) written_at: Option<UnixMs>,
}

/// Looks for changes. After a failure it tries once more with the file reopened.
pub(super) fn poll(path: &Path, reader: &mut Option<FileReader>, ask_server: bool) -> Result<Poll, Lost> {
    let polled = reader.take().map(|mut file| file.poll(convert::service).map(|changes| (file, changes)));
    let reopened = matches!(polled, Some(Err(_)));
    let (file, changes) = match polled {
        Some(Ok(polled)) => polled,
        Some(Err(_)) | None => open(path)?,
    };
    let served = ask_server.then(|| file.is_served());
    let written_at = if served == Some(false) { file.written_at() } else { None };
    *reader = Some(file);
    let event = match changes {
        FileChanges::None => None,
        FileChanges::All(services) => Some(SourceEvent::Snapshot(services)),
        FileChanges::Some(upserts, removed) => Some(SourceEvent::Changes(upserts, removed)),
    };
    Ok(Poll { event, reopened, served, written_at })
}

fn open(path: &Path) -> Result<(FileReader, FileChanges<Service>), Lost> {
    let mut file = FileReader::open(path)?;
    let changes = file.poll(convert::service)?;
    Ok((file, changes))
}

/// A page of a service's history; none while no file is open.
pub(super) fn history(reader: Option<&FileReader>, id: Uuid, before: Option<i64>) -> Result<Option<SourceEvent>, Lost> {
    let Some(reader) = reader else { return Ok(None) };
    let page = reader.history(id, before, PAGE_SIZE)?;
    let (entries, next) = page.map_or((Vec::new(), None), |page| (page.entries, page.next));
    Ok(Some(SourceEvent::History(id, entries.into_iter().map(Into::into).collect(), next)))
}

/// How available a service or an instance was in each window; none when it does not exist, or while no file is open.
pub(super) fn strips(reader: Option<&FileReader>, subject: &Subject) -> Result<Vec<(Window, Availability)>, Lost> {
    let Some(reader) = reader else { return Ok(Vec::new()) };
    let mut all = Vec::with_capacity(Window::ALL.len());
    for window in Window::ALL {
        let found = reader.availability(&[(subject.0, subject.1.as_deref())], window.read(), window.cells())?;
        all.extend(found.into_iter().map(|of| (window, Availability::of(of, false))));
    }
    Ok(all)
}

/// How available services were in the column's window.
pub(super) fn shares(reader: Option<&FileReader>, ids: &[Uuid]) -> Result<Vec<Availability>, Lost> {
    let Some(reader) = reader else { return Ok(Vec::new()) };
    let of: Vec<(Uuid, Option<&str>)> = ids.iter().map(|id| (*id, None)).collect();
    let found = reader.availability(&of, COLUMN_WINDOW.read(), 0)?;
    Ok(found.into_iter().map(|of| Availability::of(of, false)).collect())
}

/// The outages of a window.
pub(super) fn outages(reader: Option<&FileReader>, window: Window) -> Result<OutageList, Lost> {
    let Some(reader) = reader else { return Ok(OutageList::default()) };
    let page = reader.outages(window.read(), None, KEPT_OUTAGES)?;
    let outages = page.outages.into_iter().map(Into::into).collect();
    Ok(OutageList { outages, more: page.next.is_some(), since: Some(page.since) })
}

/// The probing of services.
pub(super) fn probing(reader: Option<&FileReader>, ids: &[Uuid]) -> Result<Vec<SourceEvent>, Lost> {
    let Some(reader) = reader else { return Ok(Vec::new()) };
    let mut all = Vec::with_capacity(ids.len());
    for id in ids {
        let known = reader.probing(*id)?;
        all.push(SourceEvent::Probing(*id, known.map(|known| Box::new(convert::probing(*id, known)))));
    }
    Ok(all)
}
