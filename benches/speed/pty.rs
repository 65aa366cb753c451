//! A program in a real pseudo-terminal. Records when each piece of its output was processed.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};

/// Longest wait for anything.
const LONG: Duration = Duration::from_secs(30);

/// The terminal and its program.
pub(crate) struct Pty {
    child: Box<dyn portable_pty::Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    shown: Arc<(Mutex<Shown>, Condvar)>,
    started: Instant,
    // Kept so that the program's terminal stays open.
    _master: Box<dyn MasterPty + Send>,
}

struct Shown {
    parser: vt100::Parser,
    bytes: usize,
    /// When the newest output was processed.
    at: Instant,
}

impl Pty {
    /// Starts a program.
    pub(crate) fn start(command: &Command, (columns, rows): (u16, u16)) -> Result<Self> {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size)?;
        let mut written = pair.master.try_clone_reader()?;
        let keys = pair.master.take_writer()?;
        let cells = |n| NonZeroU16::new(n).context("a size");
        let parser = vt100::Parser::new(cells(rows)?, cells(columns)?, 0);
        let shown = Arc::new((Mutex::new(Shown { parser, bytes: 0, at: Instant::now() }), Condvar::new()));
        let reader = Arc::clone(&shown);
        let mut builder = CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        builder.env_clear();
        builder.env("TERM", "xterm-256color");
        let started = Instant::now();
        let child = pair.slave.spawn_command(builder)?;
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            // An error means the end of the terminal.
            while let Ok(read @ 1..) = written.read(&mut buffer) {
                let mut shown = lock(&reader.0);
                shown.parser.process(&buffer[..read]);
                shown.bytes += read;
                shown.at = Instant::now();
                drop(shown);
                reader.1.notify_all();
            }
        });
        Ok(Self { child, keys, shown, started, _master: pair.master })
    }

    /// The program's process id.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.process_id().context("it runs")
    }

    /// Time from the start until the screen matched.
    pub(crate) fn since_start(&self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) -> Result<Duration> {
        Ok(self.wait(what, wanted)? - self.started)
    }

    /// Waits until the screen matches; returns when it did.
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) -> Result<Instant> {
        let mut shown = lock(&self.shown.0);
        let until = Instant::now() + LONG;
        while !wanted(shown.parser.screen()) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{what} is not shown:\n{}", shown.parser.screen().contents());
            }
            shown = self.shown.1.wait_timeout(shown, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(shown.at)
    }

    /// Reads something from the screen.
    pub(crate) fn look<T>(&self, what: impl Fn(&vt100::Screen) -> T) -> T {
        what(lock(&self.shown.0).parser.screen())
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.shown.0).bytes
    }

    /// Presses keys; returns when.
    pub(crate) fn press(&mut self, keys: &str) -> Result<Instant> {
        let at = Instant::now();
        self.keys.write_all(keys.as_bytes())?;
        self.keys.flush()?;
        Ok(at)
    }
}

fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
