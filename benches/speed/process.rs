//! A server under measurement: started, found by the address that it prints, read from /proc, ended by its id.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The program under measurement: the one built with this bench, or another (for example an older version) that
/// `PORTOLAN_BENCH_PROGRAM` names.
pub(crate) fn program() -> OsString {
    std::env::var_os("PORTOLAN_BENCH_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_portolan").into())
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
}

impl Server {
    /// Starts `command` and waits for the line with its address.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("start the server")?;
        let mut log = BufReader::new(child.stderr.take().context("its stderr")?);
        let mut seen = String::new();
        while log.read_line(&mut seen)? > 0 {
            let line = seen.lines().last().unwrap_or_default();
            if let Some(at) = line.find("http://127.0.0.1:") {
                let digits: String = line[at + 17..].chars().take_while(char::is_ascii_digit).collect();
                // In large pieces: reading line by line costs more than the server spends on writing.
                std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
                return Ok(Self { child, url: format!("http://127.0.0.1:{digits}") });
            }
        }
        bail!("the server ended before it listened:\n{seen}")
    }

    /// Starts a program that does not say where it listens, and waits until it does.
    pub(crate) fn listening_on(mut command: Command, port: u16) -> Result<Self> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start the server")?;
        let mut server = Self { child, url: format!("http://127.0.0.1:{port}") };
        let until = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(ended) = server.child.try_wait()? {
                bail!("the server ended before it listened: {ended}");
            }
            anyhow::ensure!(Instant::now() < until, "the server does not listen on port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// `portolan serve` on a free port with the given database and settings.
    pub(crate) fn portolan(db: &std::path::Path, settings: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(program());
        command.arg("serve").env("SERVER_PORT", "0").env("DB_PATH", db).env("MAX_SERVICES", "0");
        command.envs(settings.iter().copied());
        Self::start(command)
    }

    /// This binary in another role.
    pub(crate) fn role(args: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--role").args(args);
        Self::start(command)
    }

    /// CPU time used so far, user and system.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        measure::cpu(self.child.id())
    }

    /// Resident memory, in MB of 10^6 bytes.
    pub(crate) fn resident_mb(&self) -> Result<f64> {
        measure::resident_mb(self.child.id())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)?;
        Ok(())
    }

    /// Ends it like an operator would, and waits.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.signal(rustix::process::Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
