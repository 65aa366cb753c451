//! The server under test: a process that is started, stopped, killed and paused, always on the same port and file.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

pub(crate) struct Server {
    child: Mutex<Option<Child>>,
    runs: AtomicU32,
    port: u16,
    folder: PathBuf,
    /// Until then a request may fail because of what we did to the server.
    faulty_until: Mutex<Instant>,
}

/// The program that `cargo` built next to this example.
fn program() -> Result<PathBuf> {
    let here = std::env::current_exe().context("where is this program?")?;
    let program = here.parent().and_then(Path::parent).context("no folder above this program")?.join("portolan");
    if program.is_file() { Ok(program) } else { bail!("{} does not exist: run `make soak`", program.display()) }
}

impl Server {
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let server = Self {
            child: Mutex::new(None),
            runs: AtomicU32::new(0),
            port,
            folder: folder.to_owned(),
            faulty_until: Mutex::new(Instant::now()),
        };
        server.run().await?;
        Ok(server)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    async fn run(&self) -> Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(self.log())?;
        let child = Command::new(program()?)
            .arg("serve")
            .env("SERVER_PORT", self.port.to_string())
            .env("DB_PATH", self.folder.join("services.db"))
            .env("MAX_SERVICES", "0")
            .env("HEALTH_CHECK_INTERVAL", "2")
            .env("LOG_LEVEL", "warn")
            .env("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0")
            .env("PORTOLAN_READ_RATE_LIMIT_PER_MINUTE", "0")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("the server does not start")?;
        *self.child() = Some(child);
        self.runs.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            if began.elapsed() > Duration::from_mins(1) {
                bail!("the server does not listen: {}", std::fs::read_to_string(self.log()).unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.expect_trouble(Duration::from_secs(2));
        Ok(())
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pid(&self) -> Option<Pid> {
        self.child().as_ref().and_then(|child| Pid::from_raw(i32::try_from(child.id()).ok()?))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // It may have ended already.
            let _ = kill_process(pid, signal);
        }
    }

    /// Requests may fail because of us from now on, for this long.
    fn expect_trouble(&self, lasts: Duration) {
        let mut faulty_until = self.faulty_until.lock().unwrap_or_else(PoisonError::into_inner);
        *faulty_until = (*faulty_until).max(Instant::now() + lasts);
    }

    /// Whether a request that began at this moment may have failed because of us.
    pub(crate) fn was_troubled(&self, began: Instant) -> bool {
        *self.faulty_until.lock().unwrap_or_else(PoisonError::into_inner) >= began
    }

    /// Ends it, in order or not, and starts it again.
    pub(crate) async fn restart(&self, kill: bool) -> Result<()> {
        self.expect_trouble(Duration::from_mins(2));
        self.signal(if kill { Signal::KILL } else { Signal::TERM });
        let child = self.child().take();
        if let Some(mut child) = child {
            tokio::task::spawn_blocking(move || child.wait()).await??;
        }
        self.run().await?;
        *self.faulty_until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + Duration::from_secs(2);
        Ok(())
    }

    /// Pauses it for a while.
    pub(crate) async fn pause(&self, lasts: Duration) {
        self.expect_trouble(lasts + Duration::from_secs(15));
        self.signal(Signal::STOP);
        tokio::time::sleep(lasts).await;
        self.go_on();
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Which run it is, its resident memory in KiB and its open descriptors.
    pub(crate) fn size(&self) -> Option<(u32, u64, u32)> {
        let pid = self.pid()?.as_raw_nonzero();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let memory =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok())?;
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        Some((self.runs.load(Ordering::Relaxed), memory, u32::try_from(descriptors).ok()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.go_on();
        if let Some(mut child) = self.child().take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
