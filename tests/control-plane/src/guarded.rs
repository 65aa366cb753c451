//! A child process that does not outlive its parent.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Runs `"$@"`, prints its pid and ends as it ends. Its stdin is a pipe from the parent: when that closes, because the parent let go of it
/// or died in whatever way, the program is killed and the folder `$0` removed.
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
  rm -rf "$0"
} >/dev/null 2>&1 &
guard=$!
exec 3<&-
wait "$child"
code=$?
kill "$guard" 2>/dev/null
exit "$code"
"#;

/// A running program whose output goes to a log file.
#[derive(Debug)]
pub(crate) struct Guarded {
    wrapper: Child,
    pid: Pid,
    /// Held open: its closing is what ends the program.
    alive: Option<ChildStdin>,
}

impl Guarded {
    /// Starts `program`. `folder` is removed when this process ends without [`Guarded::kill`].
    pub(crate) fn start(folder: &Path, log: &Path, program: &Path, args: &[String]) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log).context("cannot open a log")?;
        let mut wrapper = Command::new("sh")
            .arg("-c")
            .arg(WRAPPER)
            .arg(folder)
            .arg(program)
            .args(args)
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

    /// Sends a signal to the program; one that has ended is past caring.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        match kill_process(self.pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).context("cannot send a signal"),
        }
    }

    /// Whether the program ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.wrapper.try_wait(), Ok(None))
    }

    /// `kill -9`, and waits until it is gone. The folder stays.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if !self.has_ended() {
            self.signal(Signal::KILL)?;
        }
        self.wrapper.wait().context("cannot wait for a program")?;
        Ok(())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.alive.take());
        // What cannot be waited for is gone.
        drop(self.wrapper.wait());
    }
}
