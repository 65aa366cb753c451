//! A library of our own under the server (`disk.c`), and what a test says to it.

pub(crate) mod disk;
mod file;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// Kinds of calls, as the library has them.
pub(crate) mod kind {
    /// Of one that is there, to read it.
    pub(crate) const OPEN: u64 = 1;
    pub(crate) const READ: u64 = 2;
    pub(crate) const WRITE: u64 = 4;
    pub(crate) const TRUNCATE: u64 = 8;
    pub(crate) const SYNC: u64 = 16;
    pub(crate) const UNLINK: u64 = 32;
    pub(crate) const RENAME: u64 = 64;
    /// Of one that is not there.
    pub(crate) const CREATE: u64 = 128;
    /// Of one that is there.
    pub(crate) const OPEN_TO_WRITE: u64 = 256;
    /// What changes something, or makes it durable.
    pub(crate) const CHANGES: u64 = CREATE | WRITE | TRUNCATE | SYNC | UNLINK | RENAME;
    pub(crate) const ALL: u64 = CHANGES | OPEN | OPEN_TO_WRITE | READ;
    /// What a disk that is full refuses.
    pub(crate) const NEEDS_SPACE: u64 = CREATE | WRITE | TRUNCATE | SYNC | RENAME;
    /// What a file system that became read-only refuses.
    pub(crate) const NEEDS_LEAVE: u64 = CREATE | OPEN_TO_WRITE | WRITE | TRUNCATE | UNLINK | RENAME;
}

/// Where in a call the process ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Where {
    Before,
    After,
    /// With half of it done, if it is a write.
    Amid,
}

/// The words of the library's control, by their place.
#[derive(Debug, Clone, Copy)]
enum Word {
    ClockOffset,
    Counted,
    Calls,
    EndAt,
    EndWhere,
    FailFrom,
    FailFor,
    FailKinds,
    FailWith,
    Failed,
}

/// Calls that fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failing {
    pub(crate) kinds: u64,
    pub(crate) errno: rustix::io::Errno,
    /// How many in a row; the rest succeed.
    pub(crate) times: u64,
}

/// What stands under one server after the other in one folder.
pub(crate) struct Shim {
    home: tempfile::TempDir,
    pub(crate) folder: PathBuf,
    control: File,
}

impl Shim {
    /// An empty folder, in which calls of these kinds count.
    pub(crate) fn new(counted: u64) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().canonicalize().expect("a path").join("data");
        std::fs::create_dir(&folder).expect("a folder");
        let file = File::options().read(true).write(true).create_new(true).open(home.path().join("control"));
        let shim = Self { home, folder, control: file.expect("a file") };
        shim.control.set_len(4096).expect("grows");
        shim.set(Word::Counted, counted);
        File::create(shim.journal()).expect("a journal");
        shim
    }

    pub(crate) fn db(&self) -> PathBuf {
        self.folder.join("services.db")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.home.path().join("journal")
    }

    /// Puts the library under a program that is to be started.
    pub(crate) fn under(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", library())
            .env("TORTURE_FOLDER", &self.folder)
            .env("TORTURE_CONTROL", self.home.path().join("control"))
            .env("TORTURE_JOURNAL", self.journal());
    }

    /// How many calls were counted.
    pub(crate) fn calls(&self) -> u64 {
        self.get(Word::Calls)
    }

    /// How many of them failed.
    pub(crate) fn failed(&self) -> u64 {
        self.get(Word::Failed)
    }

    /// The process ends in the `after`th call from now, 1 being the next.
    pub(crate) fn end_after(&self, after: u64, place: Where) {
        self.set(Word::EndWhere, place as u64);
        self.set(Word::EndAt, self.calls() + after);
    }

    /// Nothing ends any more. Whether something may have ended already.
    pub(crate) fn end_never(&self) -> bool {
        let at = self.get(Word::EndAt);
        self.set(Word::EndAt, 0);
        at != 0 && self.calls() >= at
    }

    /// Calls fail from the `after`th from now on.
    pub(crate) fn fail_after(&self, after: u64, failing: Failing) {
        self.set(Word::FailFor, failing.times);
        self.set(Word::FailKinds, failing.kinds);
        self.set(Word::FailWith, u64::from(failing.errno.raw_os_error().unsigned_abs()));
        self.set(Word::FailFrom, self.calls() + after);
    }

    /// Every call succeeds again.
    pub(crate) fn fail_never(&self) {
        self.set(Word::FailFrom, 0);
    }

    /// Sets the wall clock forwards or backwards, from the true time.
    pub(crate) fn set_clock(&self, ahead: bool, by: Duration) {
        let by = i64::try_from(by.as_nanos()).expect("less than 292 years");
        self.set(Word::ClockOffset, (if ahead { by } else { -by }).cast_unsigned());
    }

    fn set(&self, word: Word, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), word as u64 * 8).expect("the control is written");
    }

    fn get(&self, word: Word) -> u64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, word as u64 * 8).expect("the control is read");
        u64::from_ne_bytes(bytes)
    }
}

/// The library, compiled at its first use.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture/shim/disk.c");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (library, fresh) = (folder.join("libdisk.so"), folder.join(format!("libdisk.{}.so", std::process::id())));
        let flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-pthread", "-o"];
        let made = Command::new("cc").args(flags).arg(&fresh).arg(source).output().expect("a C compiler, cc");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // Another run may be using the one that is there.
        std::fs::rename(&fresh, &library).expect("renamed");
        library
    })
}
