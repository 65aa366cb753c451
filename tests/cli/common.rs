//! The binary in a clean environment, a server of it, and a server of canned answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef-for-tests";
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// `portolan` in an empty environment.
pub(crate) fn portolan() -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.env_clear().timeout(PATIENCE);
    command
}

/// The same for a process that the test watches while it runs.
pub(crate) fn process() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.env_clear().stdin(Stdio::null());
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// The exit code, and stderr for the message of a failed test.
pub(crate) fn ended(output: &Output) -> (i32, String) {
    (output.status.code().expect("an exit code"), stderr(output))
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap_or_else(|e| panic!("{e} in {} {}", stdout(output), stderr(output)))
}

/// A running `portolan serve`, killed when it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) folder: TempDir,
    child: Child,
    _log: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::on(&folder.path().join("services.db"), folder, env)
    }

    /// A server of a file that stays.
    pub(crate) fn of(db: &Path, env: &[(&str, &str)]) -> Self {
        Self::on(db, tempfile::tempdir().expect("a folder"), env)
    }

    fn on(db: &Path, folder: TempDir, env: &[(&str, &str)]) -> Self {
        let mut command = process();
        command.arg("serve").env("SERVER_PORT", "0").env("DB_PATH", db);
        command.env("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0").env("HEALTH_CHECK_INTERVAL", "1");
        let mut child = command.envs(env.iter().copied()).stderr(Stdio::piped()).spawn().expect("it starts");
        let (url, log) = listening(child.stderr.take().expect("piped"));
        Self { url, folder, child, _log: log }
    }

    /// The answer to a GET, head and all.
    pub(crate) fn get(&self, target: &str) -> String {
        let address = self.url.strip_prefix("http://").expect("plain http");
        let mut stream = TcpStream::connect(address).expect("it listens");
        let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// The client, pointed at this server.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("it runs")
    }

    pub(crate) fn command(&self, args: &[&str]) -> assert_cmd::Command {
        let mut command = portolan();
        command.args(args).env("PORTOLAN_SERVER", &self.url);
        command
    }

    /// The client with a token of that subject and those further flags of `portolan token`.
    pub(crate) fn as_subject(&self, subject: &str, more: &[&str], args: &[&str]) -> Output {
        let minted = portolan().env("JWT_SECRET", SECRET).args(["token", "--subject", subject]).args(more).output();
        let token = stdout(&minted.expect("it runs"));
        self.command(args).env("PORTOLAN_TOKEN", token).output().expect("it runs")
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it is running");
    }

    /// SIGSTOP, and waits until it stands still.
    pub(crate) fn pause(&self) {
        control_plane::pause(self.pid()).expect("SIGSTOP");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server whose log is read line by line.
pub(crate) struct Logged {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Logged {
    pub(crate) fn start(folder: &Path, env: &[(&str, &str)]) -> Self {
        let mut command = process();
        command.arg("serve").env("SERVER_PORT", "0").env("DB_PATH", folder.join("services.db"));
        command.env("PORTOLAN_BIND_ADDRESS", "127.0.0.1").envs(env.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        Self { child, log }
    }

    /// The next line that holds `wanted`.
    pub(crate) fn until(&mut self, wanted: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.log.read_line(&mut line).expect("UTF-8"), 0, "it ended before {wanted:?}");
            if line.contains(wanted) {
                return line;
            }
        }
    }

    /// All lines from here on. Only for a server that is stopping.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        self.log.by_ref().lines().map(|line| line.expect("UTF-8")).collect()
    }

    /// Where it listens, as the log says once.
    pub(crate) fn url(&mut self) -> String {
        let line = self.until("listening on ");
        let (_, rest) = line.split_once("listening on ").expect("an address");
        rest.split_whitespace().next().expect("an address").to_owned()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).expect("it is running");
    }

    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the line that names the address, then reads on so that the log never blocks.
fn listening(log: ChildStderr) -> (String, JoinHandle<()>) {
    let (found, url) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut seen = String::new();
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("listening on ") {
                let _ = found.send(Ok(rest.split_whitespace().next().unwrap_or("").to_owned()));
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        let _ = found.send(Err(seen));
    });
    let url = url.recv_timeout(PATIENCE).expect("a line about listening");
    (url.unwrap_or_else(|log| panic!("the server ended: {log}")), reader)
}

/// Answers every request with the same body, until the test's process ends.
pub(crate) fn canned_forever(body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut chunk = [0; 4096];
            // A request of the client's arrives in one piece on loopback.
            while stream.read(&mut chunk).is_ok_and(|n| n > 0) && stream.write_all(reply.as_bytes()).is_ok() {}
        }
    });
    url
}

/// Answers all requests, on connections that stay open: `answer` makes a status and a body of the connection's number, from 0, and the
/// request.
pub(crate) fn answering(answer: impl Fn(usize, &str) -> (&'static str, String) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                while let Some(request) = next_request(&mut stream) {
                    let (status, body) = answer(number, &request);
                    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json");
                    let reply = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    if stream.get_mut().write_all(reply.as_bytes()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}

/// The next request of a connection, head and body; none once its client has closed it.
fn next_request(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if stream.read_line(&mut request).ok()? == 0 {
            return None;
        }
    }
    let mut fields = request.lines().filter_map(|line| line.split_once(": "));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.map_or(0, |(_, bytes)| bytes.parse().expect("a number"))];
    stream.read_exact(&mut body).ok()?;
    Some(request + std::str::from_utf8(&body).expect("UTF-8"))
}

/// Answers one request with `reply`, and returns the request.
pub(crate) fn canned(status: &str, body: &str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let reply = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        while !request.windows(4).any(|w| w == b"\r\n\r\n") {
            let n = stream.read(&mut chunk).expect("a request");
            request.extend_from_slice(&chunk[..n]);
        }
        // The client may stop reading early.
        let _ = stream.write_all(reply.as_bytes());
        String::from_utf8(request).expect("UTF-8")
    });
    (url, asked)
}

/// Answers each request with a head and then the same piece over and over, for as long as it is read.
pub(crate) fn endless(head: &'static str, first: &'static str, piece: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let piece = piece.clone();
            std::thread::spawn(move || {
                // A request of the client's arrives in one piece on loopback.
                let _ = stream.read(&mut [0; 4096]);
                let begun = stream.write_all(format!("{head}\r\n\r\n{first}").as_bytes());
                while begun.is_ok() && stream.write_all(piece.as_bytes()).is_ok() {}
            });
        }
    });
    url
}
