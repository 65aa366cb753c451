//! A real pseudo-terminal with a program in it.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use tempfile::TempDir;

/// Longest wait for anything.
const TIMEOUT: Duration = Duration::from_mins(2);

/// The terminal.
pub(crate) struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    reader: JoinHandle<()>,
    hangs_up: Arc<AtomicBool>,
    child: Box<dyn portable_pty::Child + Send + Sync>,
    shown: Arc<Mutex<Output>>,
}

/// What the program wrote so far.
pub(crate) struct Output {
    pub(crate) parser: vt100::Parser,
    pub(crate) bytes: usize,
    /// The last of it, as it came.
    pub(crate) raw: Vec<u8>,
}

/// Most bytes that are kept as they came.
const MAX_RAW: usize = 1 << 20;

impl Terminal {
    /// Starts a program in it. With 0 columns and rows, it does not say how large it is, and shows 80 and 24.
    pub(crate) fn start(command: CommandBuilder, (cols, rows): (u16, u16)) -> Self {
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let child = pair.slave.spawn_command(command).expect("it starts");
        let mut written = pair.master.try_clone_reader().expect("a reader");
        let keys = pair.master.take_writer().expect("a writer");
        let (wide, high) = if (cols, rows) == (0, 0) { (80, 24) } else { (cols, rows) };
        let shown = Arc::new(Mutex::new(Output {
            parser: vt100::Parser::new(cells(high), cells(wide), 0),
            bytes: 0,
            raw: Vec::new(),
        }));
        let screen = Arc::clone(&shown);
        let hangs_up = Arc::new(AtomicBool::new(false));
        let enough = Arc::clone(&hangs_up);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // An error is the terminal's end.
            while let Ok(read @ 1..) = written.read(&mut buffer) {
                let mut shown = lock(&screen);
                shown.parser.process(&buffer[..read]);
                shown.bytes += read;
                if shown.raw.len() < MAX_RAW {
                    shown.raw.extend_from_slice(&buffer[..read]);
                }
                if enough.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        Self { master: pair.master, keys, reader, hangs_up, child, shown }
    }

    pub(crate) fn shown(&self) -> MutexGuard<'_, Output> {
        lock(&self.shown)
    }

    pub(crate) fn text(&self) -> String {
        self.shown().parser.screen().contents()
    }

    pub(crate) fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("it takes keys");
    }

    pub(crate) fn resize(&mut self, (cols, rows): (u16, u16)) {
        self.shown().parser.screen_mut().set_size(cells(rows), cells(cols));
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        self.master.resize(size).expect("another size");
    }

    /// Waits until the screen fits `wanted`.
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        let began = Instant::now();
        while !wanted(&self.text()) {
            assert!(began.elapsed() < TIMEOUT, "{what} is not shown:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn wait_for(&self, text: &str) {
        self.wait(text, |shown| shown.contains(text));
    }

    /// The process in it.
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        let pid = self.child.process_id().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
        rustix::process::Pid::from_raw(pid).expect("a process")
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("it runs");
    }

    /// Closes the terminal; the program goes on without it, if it can.
    pub(crate) fn hang_up(mut self) -> Box<dyn portable_pty::Child + Send + Sync> {
        self.hangs_up.store(true, Ordering::SeqCst);
        // The reader holds the terminal too, until it reads something.
        self.keys("?");
        self.reader.join().expect("it ends");
        self.child
    }

    /// Waits for the program's end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return status;
            }
            assert!(began.elapsed() < TIMEOUT, "it does not end:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the terminal is as it was: what the program wrote last may come after its end.
    pub(crate) fn becomes_clean(&self) {
        let began = Instant::now();
        while !self.is_clean() {
            assert!(began.elapsed() < TIMEOUT, "the terminal was not restored:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether the terminal is as it was: first screen, cursor shown, no mouse, no bracketed paste.
    pub(crate) fn is_clean(&self) -> bool {
        let shown = self.shown();
        let screen = shown.parser.screen();
        !screen.alternate_screen()
            && !screen.hide_cursor()
            && !screen.bracketed_paste()
            && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
    }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("a terminal of that size")
}

fn lock(shown: &Mutex<Output>) -> MutexGuard<'_, Output> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server of the real program on a port of its own, which can be killed and started again.
pub(crate) struct Server {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    child: Child,
}

impl Server {
    pub(crate) fn start(program: PathBuf) -> Self {
        Self::start_in(program, tempfile::tempdir().expect("a folder"))
    }

    /// On the file in that folder, if there is one.
    pub(crate) fn start_in(program: PathBuf, folder: TempDir) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let child = serve(&program, &folder, port);
        let server = Self { program, folder, port, child };
        server.listens();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Registers a service that is probed at that port of this machine.
    pub(crate) fn register(&self, name: &str, port: u16) {
        self.register_with(name, port, &[]);
    }

    /// The same with further arguments.
    pub(crate) fn register_with(&self, name: &str, port: u16, more: &[&str]) {
        let url = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(&self.program);
        command.env_clear().args([
            "register",
            "--name",
            name,
            "--base-url",
            &url,
            "--check-tcp",
            "--server",
            &self.url(),
        ]);
        command.args(more);
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("it ends");
    }

    pub(crate) fn restart(&mut self) {
        self.child = serve(&self.program, &self.folder, self.port);
        self.listens();
    }

    /// Deletes what it writes to; it notices at the next write.
    pub(crate) fn lose_file(&self) {
        std::fs::remove_file(self.folder.path().join("services.db")).expect("deleted");
    }

    fn listens(&self) {
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < TIMEOUT, "the server does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The console, to be started in a terminal.
    pub(crate) fn console(&self, arguments: &[&str]) -> CommandBuilder {
        let mut command = CommandBuilder::new(&self.program);
        command.env_clear();
        command.env("TERM", "xterm-256color");
        command.arg("console");
        command.args(arguments);
        command
    }
}

fn serve(program: &PathBuf, folder: &TempDir, port: u16) -> Child {
    let mut command = Command::new(program);
    command.env_clear().arg("serve").env("SERVER_PORT", port.to_string());
    command.env("DB_PATH", folder.path().join("services.db")).env("HEALTH_CHECK_INTERVAL", "1");
    command.env("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0").stdin(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("it starts")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
