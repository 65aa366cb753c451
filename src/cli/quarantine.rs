//! `portolan quarantine`: rows of the store's file that could not be read.

use std::path::PathBuf;

use clap::Args;

use super::backup::store_path;
use super::exit::{Exit, Failure};
use super::output::Streams;
use crate::store::reader::{FileReader, ReaderError};

/// Flags of `quarantine`.
#[derive(Debug, Args)]
pub(super) struct QuarantineArgs {
    /// The store's file, also while a server has it open; DB_PATH unless given, else ./services.db
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

/// Prints each row as a line of JSON.
///
/// # Errors
/// The file's and the output stream's.
pub(super) fn run(args: &QuarantineArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let path = store_path(args.file.as_ref());
    let rows = FileReader::open(&path).and_then(|reader| reader.quarantine()).map_err(|error| failure(&error))?;
    for row in rows {
        streams.line(&row.to_string())?;
    }
    Ok(Exit::Ok)
}

fn failure(error: &ReaderError) -> Failure {
    let exit = if matches!(error, ReaderError::Missing(_)) { Exit::NotFound } else { Exit::Unreachable };
    Failure::new(exit, error.to_string())
}
