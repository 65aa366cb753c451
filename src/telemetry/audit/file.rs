//! The audit file: appended to, and opened again wherever its path leads to another file, as after a rotation.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;

use super::{AUDIT_TARGET, AuditError};
use crate::model::text::escape;

/// Permissions of a new file: lines name people and addresses.
const MODE: u32 = 0o600;

/// Where lines end up; written by one thread.
pub(super) struct AuditFile {
    path: PathBuf,
    /// Set to have the file opened again, whatever its path leads to.
    again: Arc<AtomicBool>,
    open: Option<Open>,
    /// The last write ended within a line, whose rest belongs to the same file.
    within_line: bool,
    failing: bool,
}

struct Open {
    file: File,
    /// Device and inode.
    identity: (u64, u64),
}

impl Open {
    /// Opens or creates the file. Never waits for a pipe's reader.
    fn at(path: &Path) -> io::Result<Self> {
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(nonblocking).open(path)?;
        let about = file.metadata()?;
        let mut open = Self { file, identity: (about.dev(), about.ino()) };
        if about.is_file() && about.len() > 0 {
            open.follow_up(path)?;
        }
        Ok(open)
    }

    /// Continues what an earlier process wrote, whose last line may have been cut off.
    fn follow_up(&mut self, path: &Path) -> io::Result<()> {
        let (mut first, mut last) = ([0], [0]);
        let mut known = File::open(path)?;
        known.read_exact(&mut first)?;
        known.seek(SeekFrom::End(-1))?;
        known.read_exact(&mut last)?;
        if !matches!(&first, b"{" | b"\n") {
            return Err(io::Error::new(ErrorKind::InvalidData, "it holds something else"));
        }
        if &last == b"\n" { Ok(()) } else { self.file.write_all(b"\n") }
    }
}

/// Whether the file can be used, before anything is written to it.
///
/// # Errors
/// [`AuditError`], unless what is wrong may change by itself: a full disk, a pipe that nobody reads.
pub(super) fn try_open(path: &Path) -> Result<(), AuditError> {
    let Err(why) = Open::at(path) else { return Ok(()) };
    let shown = escape(&path.to_string_lossy(), 200);
    match why.kind() {
        ErrorKind::InvalidData => Err(AuditError::Other(shown)),
        ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::InvalidInput => Err(AuditError::Open { path: shown, why }),
        _ => Ok(()),
    }
}

impl AuditFile {
    pub(super) fn new(path: PathBuf, again: Arc<AtomicBool>) -> Self {
        Self { path, again, open: None, within_line: false, failing: false }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.within_line && (self.again.swap(false, Ordering::Relaxed) || self.leads_elsewhere()) {
            self.open = None;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::at(&self.path)?),
        };
        let wrote = open.file.write(bytes);
        match &wrote {
            Ok(n) => self.within_line = n.checked_sub(1).and_then(|last| bytes.get(last)) != Some(&b'\n'),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            // The rest of a line is lost, and a pipe may have another reader.
            Err(_) => (self.open, self.within_line) = (None, false),
        }
        wrote
    }

    /// Whether the path leads to another file than the one that is open.
    fn leads_elsewhere(&self) -> bool {
        let there = fs::metadata(&self.path).ok().map(|about| (about.dev(), about.ino()));
        self.open.as_ref().is_some_and(|open| there != Some(open.identity))
    }

    /// Says once that lines get lost, and once that they no longer do.
    fn say(&mut self, wrote: &io::Result<usize>) {
        let path = escape(&self.path.to_string_lossy(), 200);
        match wrote {
            Ok(_) if std::mem::take(&mut self.failing) => {
                tracing::info!(target: AUDIT_TARGET, "{path} can be written again");
            }
            Err(error)
                if !matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
                    && !std::mem::replace(&mut self.failing, true) =>
            {
                tracing::error!(
                    target: AUDIT_TARGET,
                    "{path} cannot be written: {error}; until it can be, lines are dropped, and portolan_audit_dropped_total counts them"
                );
            }
            _ => {}
        }
    }
}

impl Write for AuditFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wrote = self.append(bytes);
        self.say(&wrote);
        wrote
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
