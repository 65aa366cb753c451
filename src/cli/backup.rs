//! `portolan backup`: copies the store's file, even while a server writes it.

use std::path::PathBuf;

use clap::Args;

use super::exit::{Exit, Failure};
use super::output::Streams;
use super::output::progress::{Progress, counted};
use crate::model::text::escape;
use crate::store::backup::{self, BackupError};
use crate::store::reader::ReaderError;

/// Flags of `backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The file to write; its folder must exist
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The store's file, also while a server has it open; DB_PATH unless given, else ./services.db
    #[arg(long, value_name = "PATH")]
    db: Option<PathBuf>,
    /// Replace the new file if it exists
    #[arg(long)]
    force: bool,
}

/// The store's file: as given, or as the server's environment names it.
pub(super) fn store_path(given: Option<&PathBuf>) -> PathBuf {
    let named = std::env::var_os("DB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    given.cloned().or(named).unwrap_or_else(|| PathBuf::from("./services.db"))
}

/// Copies the file.
///
/// # Errors
/// The file's, and those of the new one; then there is no new file.
pub(super) fn run(args: &BackupArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let from = store_path(args.db.as_ref());
    let mut progress = Progress::begin();
    let copying = move |done: u64, all: u64| progress.show(|| format!("copying {} of about {}", size(done), size(all)));
    let copied = backup::backup(&from, &args.file, args.force, copying).map_err(|error| failure(&error))?;
    let [services, instances] = [copied.services, copied.instances].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let file = escape(&args.file.to_string_lossy(), 500);
    streams.line(&format!(
        "{file}: {} with {} at revision {}, {}, checked",
        counted(services, "service"),
        counted(instances, "instance"),
        copied.revision,
        size(copied.bytes)
    ))?;
    Ok(Exit::Ok)
}

fn size(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes.div_ceil(1 << 10)) } else { format!("{} MiB", bytes >> 20) }
}

fn failure(error: &BackupError) -> Failure {
    let exit = match error {
        BackupError::Reader(ReaderError::Missing(_)) => Exit::NotFound,
        BackupError::Exists(_) | BackupError::Itself(_) | BackupError::InUse(_) | BackupError::Leftover(_) => {
            Exit::Refused
        }
        BackupError::Create { .. } | BackupError::Mirror(_) => Exit::Usage,
        _ => Exit::Unreachable,
    };
    Failure::new(exit, error.to_string())
}
