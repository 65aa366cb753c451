//! Many registrations in one transaction, into a file that no server has open.
//!
//! In: rows. Out: what each does ([`Effect`]) or why not ([`RowError`]), and one commit of all of them.
//!
//! An import takes the lock of the file as a server does, and not a way through a running one: a hundred thousand registrations in one
//! transaction would hold up the server's writer for seconds, and everything on the way there would need a place to wait. So a stopped
//! server's file is imported into, or a new one; a kill in the middle leaves what was there, since SQLite rolls the transaction back.
//!
//! The rules are those of a register call by an administrator. The bounds on services and instances protect a server from its clients and
//! do not apply; [`Totals`] lets a caller say what they mean for the next registration.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::error::OpenError;
use super::file::load;
use super::queue::job::{Origin, Register};
use super::reader::ReaderError;
use super::reader::file_access::{self, FileAccess};
use super::rules::state::{Draft, Index, Limits, State, Work};
use super::schema;
use super::schema::meta::{self, Kind};
use super::schema::write::SpecColumns;
use super::writer::Engine;
use super::{Opened, Store, StoreSettings};
use crate::catalog::{Epoch, Snapshot};
use crate::model::name::InstanceName;
use crate::model::ports::{Caller, Registration, WriteError};
use crate::model::registration::name_of;
use crate::model::service::Owner;
use crate::model::time::{Clock, UnixMs};
use crate::telemetry::metrics::Metrics;

/// One registration, and what a register call cannot say of it.
#[derive(Debug, Clone)]
pub struct ImportRow {
    /// What to register.
    pub registration: Registration,
    /// Who owns it, if it is new.
    pub owner: Owner,
    /// What it was before, if it is new.
    pub origin: Origin,
}

/// What a row does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Its instance is new.
    Added,
    /// Its instance was registered with other content.
    Changed,
    /// Its instance is registered like that.
    Unchanged,
}

/// What a row did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// What it does.
    pub effect: Effect,
    /// Its instance's name: the given one, or the one that its external id has.
    pub instance: InstanceName,
}

/// Why a row does nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The instance is there with other content, which was to be kept.
    #[error("is registered in the store with other content; --replace takes the imported one")]
    Differs,
    /// The rules refuse it.
    #[error(transparent)]
    Refused(#[from] WriteError),
}

/// What was asked of an import.
#[derive(Debug, Clone, Copy)]
pub struct ImportOptions {
    /// Whether rows replace instances with other content.
    pub replace: bool,
    /// Interval of a check without one, as the server has it.
    pub interval: Duration,
}

/// How much a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Services registered over REST.
    pub services: usize,
    /// Instances of all services.
    pub instances: usize,
}

/// What rows do, each in its place, and how much the file holds afterwards.
#[derive(Debug)]
pub struct Planned {
    /// The effect of each row.
    pub effects: Vec<Result<Entered, RowError>>,
    /// The file's content after the commit.
    pub totals: Totals,
}

/// What keeps a file from being looked at.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// It cannot be read.
    #[error(transparent)]
    Reader(#[from] ReaderError),
    /// It is not a record of registrations.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A locked file.
pub struct Import(Box<Engine>);

/// A transaction that was not begun yet.
pub struct Plan {
    engine: Box<Engine>,
    draft: Draft,
}

impl Import {
    /// Locks the file as a server does, or creates it. Blocks.
    ///
    /// # Errors
    /// [`OpenError`], with the remedy; [`OpenError::InUse`] while a server runs.
    pub fn lock(settings: StoreSettings) -> Result<Self, OpenError> {
        let Opened { writer, .. } = Store::open(settings, Clock::system(), Metrics::default())?;
        // Its connection to the file ends before the writer's own.
        drop(writer.reader);
        Ok(Self(Box::new(writer.engine)))
    }

    /// How many rows of the file are in quarantine.
    pub fn quarantined(&self) -> u64 {
        self.0.quarantine.read().0
    }

    /// What `rows` do, in this order. `progress` gets how many were judged.
    pub fn plan(self, rows: Vec<ImportRow>, options: ImportOptions, progress: impl FnMut(usize)) -> (Planned, Plan) {
        let (planned, draft) = judge(&self.0.state, &self.0.index, rows, options, progress);
        (planned, Plan { engine: self.0, draft })
    }
}

impl Plan {
    /// Commits everything, and closes the file in order. `progress` gets how much was written, and of how much. Blocks.
    ///
    /// # Errors
    /// [`WriteError`]; then nothing was written.
    pub fn commit(self, progress: impl FnMut(usize, usize) + Send + 'static) -> Result<(), WriteError> {
        let Self { mut engine, draft, .. } = self;
        engine.watch = Some(Box::new(progress));
        let done = engine.apply(draft);
        engine.close();
        done
    }

    /// Closes the file in order, as it was.
    pub fn abandon(mut self) {
        self.engine.close();
    }
}

/// What `rows` would do to the file at `path`, which a server may have open; a missing one counts as empty. Writes and locks nothing. Blocks.
///
/// # Errors
/// [`PreviewError`], with the remedy.
pub fn preview(
    path: &Path,
    rows: Vec<ImportRow>,
    options: ImportOptions,
    progress: impl FnMut(usize),
) -> Result<Planned, PreviewError> {
    let (state, index) = read(path)?;
    Ok(judge(&state, &index, rows, options, progress).0)
}

fn read(path: &Path) -> Result<(State, Index), PreviewError> {
    let nothing = || (State::empty(Snapshot::empty(Epoch::random(), 0), 0, None), Index::default());
    if std::fs::metadata(path).map_or(0, |about| about.len()) == 0 {
        return Ok(nothing());
    }
    let path = file_access::whole(path)?;
    let (db, _, _) = FileAccess::open_older(&path)?;
    let failed = |error| ReaderError::of(&path, error);
    schema::read_as_newest(&db).map_err(failed)?;
    // One transaction, for a consistent view.
    let moment = db.unchecked_transaction().map_err(failed)?;
    let Some(meta) = meta::read(&moment).map_err(failed)? else { return Ok(nothing()) };
    if meta.kind != Kind::Record {
        return Err(OpenError::Mirror(path).into());
    }
    let registered = load::everything(&moment, &meta).map_err(failed)?;
    Ok((registered.state, registered.index))
}

fn judge(
    state: &State,
    index: &Index,
    rows: Vec<ImportRow>,
    options: ImportOptions,
    mut progress: impl FnMut(usize),
) -> (Planned, Draft) {
    let unlimited = Limits { services: 0, instances: usize::MAX, interval: options.interval };
    let mut work = Work::new(state.clone(), UnixMs::wall(), &unlimited, index);
    let mut effects = Vec::with_capacity(rows.len());
    for row in rows {
        effects.push(work.import(row, options.replace));
        progress(effects.len());
    }
    let draft = work.finish();
    let totals = Totals { services: draft.state.rest, instances: draft.state.snapshot.total().instances };
    (Planned { effects, totals }, draft)
}

impl Work<'_> {
    fn import(&mut self, row: ImportRow, replace: bool) -> Result<Entered, RowError> {
        let ImportRow { mut registration, owner, mut origin } = row;
        let entry = self.state.snapshot.get(registration.key().as_str());
        let instances = entry.map(|entry| &entry.service().instances[..]);
        registration.instance = name_of(instances.unwrap_or_default(), &registration);
        let known = entry.and_then(|entry| entry.service().instance(registration.instance.as_str()));
        let known = known.map(|instance| Arc::clone(&instance.spec));
        if known.as_ref().is_some_and(|spec| **spec != registration.spec) && !replace {
            return Err(RowError::Differs);
        }
        // Another service may have taken the id meanwhile.
        origin.id = origin.id.filter(|id| self.state.snapshot.by_id(id).is_none());
        let columns = SpecColumns::of(&registration.spec);
        let caller = Caller { owner, admin: true };
        let done = self.register(Register { registration, caller, columns, origin })?;
        let effect = match known {
            None => Effect::Added,
            Some(_) if done.renewed => Effect::Unchanged,
            Some(_) => Effect::Changed,
        };
        Ok(Entered { effect, instance: done.instance })
    }
}
