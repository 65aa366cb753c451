//! What a mirror's file says about itself, read before the decision whether to open it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::config::DbConfig;

use super::connect::connect;
use super::inspect::{Found, inspect};
use super::paths::suffixed;
use crate::catalog::Epoch;
use crate::store::schema::meta::{self, Kind};

/// A file that holds a complete mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorFile {
    /// The line of revisions that it mirrors.
    pub epoch: Epoch,
    /// Time since it was last written, wall clock.
    pub age: Duration,
}

impl MirrorFile {
    /// Reads the file; none if it holds no complete mirror that can be read.
    pub fn peek(path: &Path) -> Option<Self> {
        if !matches!(inspect(path), Ok(Found::Ours)) {
            return None;
        }
        let age = [path.to_owned(), suffixed(path, "-wal")].iter().filter_map(|file| written(file)).min()?;
        let db = connect(path).ok()?;
        // Nobody knows yet whether it is sound, so its write-ahead log stays as it is.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).ok()?;
        let meta = meta::read(&db).ok().flatten()?;
        (meta.kind == Kind::Mirror { complete: true }).then_some(Self { epoch: meta.epoch, age })
    }
}

/// How long ago it was written; zero if the clock was set back.
fn written(file: &Path) -> Option<Duration> {
    let at = std::fs::metadata(file).ok()?.modified().ok()?;
    Some(SystemTime::now().duration_since(at).unwrap_or_default())
}
