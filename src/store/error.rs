//! The store's errors, each with its remedy.

use std::io;
use std::path::PathBuf;

/// Why the store was not opened. Nothing was overwritten.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder does not exist.
    #[error("the store's folder {} does not exist or is not a folder; create it, or give another DB_PATH", .0.display())]
    FolderMissing(PathBuf),
    /// Nothing can be created in the folder.
    #[error("the store cannot create {}: {source}; make its folder writable for this user, or give another DB_PATH", .path.display())]
    FolderReadOnly {
        /// The file that could not be created.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A folder, socket or device where the file should be.
    #[error("{} is not a file; DB_PATH names the store's file, not its folder", .0.display())]
    NotAFile(PathBuf),
    /// The file's permissions forbid it.
    #[error("{} cannot be read and written: {source}; give the file and its folder to the user that runs Portolan, or give another DB_PATH", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another server holds the lock.
    #[error("{} is in use by another Portolan server{}; stop that one, or give another DB_PATH", .path.display(), pid_text(*.pid))]
    InUse {
        /// The file.
        path: PathBuf,
        /// The holder's process id, if the lock file names it.
        pid: Option<u32>,
    },
    /// A symbolic link that leads nowhere.
    #[error(
        "{} is a symbolic link to {}, which is not there; mount what it leads to, or remove the link", .path.display(), .target.display()
    )]
    DanglingLink {
        /// The link.
        path: PathBuf,
        /// Its target.
        target: PathBuf,
    },
    /// A link, or something else than a plain file, in the place of one of the store's own files.
    #[error("{} is a link or has several names (hard links), so it is neither followed nor written; find out who put it there, and remove \
        it", .0.display())]
    PlantedLink(PathBuf),
    /// The file has other names, which the lock would not cover.
    #[error(
        "{path} has more than one name (hard links), and a server on another of them would not be noticed; remove the others \
         (find -samefile {path} lists them), or give DB_PATH a copy of it", path = .0.display()
    )]
    HardLinked(PathBuf),
    /// Some other kind of file.
    #[error(
        "{} is not an SQLite file; nothing was changed; give another DB_PATH, or if it was a store, restore a backup (`portolan serve \
         --start-empty` sets it aside and starts without services)", .0.display()
    )]
    NotSqlite(PathBuf),
    /// Some other program's SQLite file.
    #[error("{} is an SQLite file of another program; nothing was changed; give another DB_PATH", .0.display())]
    Foreign(PathBuf),
    /// The legacy gateway's file.
    #[error(
        "{path} is the database of the Go microservice gateway (table service_infos); nothing was changed; give another DB_PATH, and import \
            its services with `portolan import {path} --db NEW_DB_PATH`", path = .0.display()
    )]
    Seed(PathBuf),
    /// Written by a later version.
    #[error(
        "{} was written by a newer Portolan: its schema is {found}, this version knows {known}; nothing was changed; \
         start that newer version, or give another DB_PATH", .path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema that this version knows.
        known: u32,
    },
    /// A mirror, but the record is needed.
    #[error(
        "{} mirrors the services of a cluster; nothing was changed; start with PORTOLAN_MODE=cluster, or give another DB_PATH",
        .0.display()
    )]
    Mirror(PathBuf),
    /// The record, but a mirror is needed.
    #[error(
        "{} holds the services of a standalone server; nothing was changed; start with PORTOLAN_MODE=standalone, or give \
         another DB_PATH", .0.display()
    )]
    Record(PathBuf),
    /// The file is damaged.
    #[error(
        "{path} is damaged ({detail}); nothing was changed. Restore a backup of it, or recover what can be read with `sqlite3 {path} \
         .recover`; `portolan serve --start-empty` sets it aside under a dated name and starts without services", path = .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// No file, or an empty one, where there was one with content.
    #[error(
        "{path} is {}, but {evidence}; put the file back or mount its volume, or restore a backup; `portolan serve --start-empty` starts \
         without services, keeping what is there under a dated name", if *.empty { "empty" } else { "not there" }, path = .path.display()
    )]
    Emptied {
        /// The file.
        path: PathBuf,
        /// Whether there is an empty file.
        empty: bool,
        /// What proves that there was content.
        evidence: String,
    },
    /// Commits are missing at the end of the file: its log was removed, cut off, or belongs to another file.
    #[error(
        "{path} has lost what was written last: {detail}; nothing was changed. Put {path}-wal back if it was moved away; move {path}-wal and \
         {path}-shm away if they were left there by the file that {path} replaced; or restore a backup; `portolan serve --accept-loss` goes \
         on with what is left, as after restoring an older copy", path = .path.display()
    )]
    LogLost {
        /// The file.
        path: PathBuf,
        /// What is missing.
        detail: String,
    },
    /// Another program has locked it, for readers too.
    #[error("{} is locked by another program; close that one (`fuser -v {}` lists it) and start again", .0.display(), .0.display())]
    Locked(PathBuf),
    /// No space for the write-ahead log or a new file.
    #[error("the disk that holds {} is full; free some space and start again", .0.display())]
    DiskFull(PathBuf),
    /// The file is damaged and could not be renamed.
    #[error("{} is damaged ({detail}) and could not be set aside: {source}; move it away by hand", .path.display())]
    SetAside {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
        /// Why it could not be renamed.
        source: io::Error,
    },
    /// A file that was just created reads back damaged.
    #[error("{} was just created and reads back damaged ({detail}); check the disk", .path.display())]
    BadDisk {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// SQLite failed otherwise.
    #[error("{} could not be opened: {source}", .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
}

impl OpenError {
    /// For a file that could not be created.
    pub(crate) fn cannot_create(path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(path),
            _ => Self::FolderReadOnly { path, source },
        }
    }
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

/// Why the store stopped, or could not answer a query.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Neither registered nor in history.
    #[error("Service not found")]
    ServiceNotFound,
    /// The queue is full.
    #[error("too many history queries are waiting; try again")]
    Busy,
    /// The server is stopping.
    #[error("the server is shutting down; try again")]
    Closed,
    /// One of the store's threads ended unexpectedly.
    #[error("the store's {0} thread ended unexpectedly; see the log above")]
    ThreadDied(&'static str),
    /// A thread could not be started.
    #[error("the store could not start a thread: {0}")]
    Thread(#[from] io::Error),
    /// SQLite failed.
    #[error("the store's file failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
}
