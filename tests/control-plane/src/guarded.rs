//! A child process that does not outlive its parent.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};

use crate::signals::{pause, send};

/// Runs `"$@"`, prints its pid and ends as it ends. Its stdin is a pipe from the parent: when that closes, because the parent let go of it
/// or died in whatever way, the program is killed and the folder `$0`, if it is one, removed.
const WRAPPER: &str = r#"
exec 3<&0
"$@" </dev/null >&2 3<&- &
child=$!
echo "$child"
exec >&-
{
  cat <&3
  trap '' TERM
  kill -9 "$child"
  while kill -0 "$child"; do sleep 0.02; done
  [ "$0" = - ] || rm -rf "$0"
} >/dev/null 2>&1 &
guard=$!
exec 3<&-
wait "$child"
code=$?
kill "$guard" 2>/dev/null
exit "$code"
"#;

/// Time in which the guard kills the program, once its pipe is closed.
const GUARD: Duration = Duration::from_secs(5);
/// Time between two looks at whether it did.
const LOOK: Duration = Duration::from_millis(5);

/// A running program that ends when this is dropped, and when this process ends, however that happens.
#[derive(Debug)]
pub struct Guarded {
    wrapper: Child,
    pid: Pid,
    /// Held open: its closing is what ends the program.
    alive: Option<ChildStdin>,
}

impl Guarded {
    /// Starts `command`: its program, arguments and environment count, its output goes to the end of `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &Command, log: &Path) -> Result<Self> {
        Self::with_folder(command, log, Path::new("-"))
    }

    /// The same, and `folder` is removed when this process ends without [`Guarded::kill`].
    pub(crate) fn with_folder(command: &Command, log: &Path, folder: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log).context("cannot open a log")?;
        let program = command.get_program();
        let mut shell = Command::new("sh");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let mut wrapper = shell
            .args(["-c", WRAPPER])
            .arg(folder)
            .arg(program)
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C is for the parent, whose end is noticed soon enough.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut line = String::new();
        BufReader::new(wrapper.stdout.take().context("no stdout")?).read_line(&mut line)?;
        let pid = line.trim().parse().ok().and_then(Pid::from_raw).context("the wrapper gave no pid")?;
        let alive = wrapper.stdin.take();
        Ok(Self { wrapper, pid, alive })
    }

    /// The program's process id; of no meaning once it has ended.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// SIGSTOP; see [`pause`].
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn pause(&self) -> Result<()> {
        pause(self.pid())
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM: asks it to end. See [`Guarded::has_ended`].
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Whether the program ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.wrapper.try_wait(), Ok(None))
    }

    /// SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        if !self.has_ended() {
            self.signal(Signal::KILL)?;
        }
        self.wrapper.wait().context("cannot wait for a program")?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        send(self.pid, signal)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.alive.take());
        let until = Instant::now() + GUARD;
        while !self.has_ended() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        // Its guard may have been ended by somebody's mistake. What cannot be waited for is gone.
        drop(self.kill());
    }
}
