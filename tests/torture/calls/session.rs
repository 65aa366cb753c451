//! One session with the server: started, written to, stopped, started again; while calls fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::start::Begins;
use crate::server::Server;
use crate::shim::{Failing, Shim, kind};

/// For what has to happen sooner or later.
const AMPLE: Duration = Duration::from_secs(30);
/// Writes of one run.
const WRITES: u32 = 14;

/// A service's version, none where it is not there.
type There = Option<String>;

/// What came of it.
pub(crate) struct Done {
    /// Calls that failed.
    pub(crate) failed: u64,
    /// Writes that were refused.
    pub(crate) refused: u64,
}

pub(crate) struct Session {
    shim: Shim,
    client: Client,
    runtime: Runtime,
    random: StdRng,
    /// As acknowledged or read.
    known: BTreeMap<String, There>,
    /// What writes that were refused would have made of it: after the next start it may be so.
    refused: BTreeMap<String, BTreeSet<There>>,
    done: Done,
    next: u32,
}

impl Session {
    /// Calls of a session in which none fails.
    pub(crate) fn calls_of(begins: Begins) -> u64 {
        let mut session = Self::new(begins, 1);
        session.play();
        session.shim.calls()
    }

    /// A session in which calls fail from this one on.
    pub(crate) fn run(begins: Begins, call: u64, failing: Failing, seed: u64) -> Done {
        let mut session = Self::new(begins, seed);
        session.shim.fail_after(call, failing);
        session.play();
        session.done.failed = session.shim.failed();
        session.done
    }

    fn new(begins: Begins, seed: u64) -> Self {
        let shim = Shim::new(kind::ALL);
        let known = begins.prepare(&shim.db()).into_iter().map(|(name, version)| (name, Some(version))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self {
            shim,
            client: crate::client(),
            runtime,
            random: StdRng::seed_from_u64(seed),
            known,
            refused: BTreeMap::new(),
            done: Done { failed: 0, refused: 0 },
            next: 0,
        }
    }

    fn play(&mut self) {
        let mut server = self.start();
        self.look(&server, true);
        for _ in 0..WRITES {
            self.write(&mut server);
        }
        self.history(&server);
        let ends_while_it_runs = self.random.random_bool(0.5);
        if ends_while_it_runs {
            self.shim.fail_never();
            self.goes_on(&mut server);
        }
        // What it cannot move into the file at its end stays in the log beside it.
        let status = server.stop();
        assert!(status.success(), "{status}: {}", server.said());
        let mut server = self.start();
        self.look(&server, true);
        self.shim.fail_never();
        self.goes_on(&mut server);
        server.kill_9();
        let server = self.start();
        self.look(&server, true);
    }

    /// Starts it. One that may not says why, touches nothing, and starts once the fault is over.
    fn start(&mut self) -> Server {
        let before = self.shim.failed();
        match Server::over(&self.shim) {
            Ok(server) => server,
            Err(ended) => {
                assert!(self.shim.failed() > before, "it did not start, without a fault: {ended:?}");
                assert_eq!(ended.status.code(), Some(1), "{ended:?}");
                let why = ended.said.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
                assert!(why.contains("services.db"), "it did not say which file: {}", ended.said);
                self.shim.fail_never();
                Server::over(&self.shim).unwrap_or_else(|again| panic!("first {ended:?}, then {again:?}"))
            }
        }
    }

    /// All that is read is what was promised. After a start a refused write may have come true.
    fn look(&mut self, server: &Server, started: bool) {
        let found = self.runtime.block_on(server.services(&self.client)).expect("the list is answered");
        let names: BTreeSet<_> = found.keys().chain(self.known.keys()).cloned().collect();
        for name in names {
            let now = found.get(&name).map(|service| service.version.clone());
            let (kept, refused) = (self.known.get(&name).cloned().flatten(), self.refused.get(&name));
            let came_true = started && refused.is_some_and(|refused| refused.contains(&now));
            assert!(
                now == kept || came_true,
                "{name} is {now:?}, was promised as {kept:?}, refused {refused:?}\n{}",
                server.said()
            );
            self.known.insert(name, now);
        }
        if started {
            self.refused.clear();
        }
    }

    /// Registers, changes or removes something. Whether it was acknowledged.
    fn write(&mut self, server: &mut Server) -> bool {
        self.next += 1;
        let name = format!("s{}", self.random.random_range(0..5));
        let there = self.known.get(&name).is_some_and(Option::is_some);
        let wanted = if there && self.random.random_bool(0.3) { None } else { Some(format!("2.0.{}", self.next)) };
        let (status, answer) = self.ask(server, &name, wanted.as_deref());
        assert!(server.runs(), "it ended: {}", server.said());
        if status == 200 {
            self.known.insert(name.clone(), wanted);
        } else {
            assert!(status >= 500, "{status}: {answer}");
            let said = (answer["error"].as_str(), answer["code"].as_str());
            assert!(matches!(said, (Some(error), Some(_)) if error.len() > 20), "{status} without words: {answer}");
            self.refused.entry(name.clone()).or_default().insert(wanted);
            self.done.refused += 1;
        }
        // By the very next read, whatever else fails.
        self.look(server, false);
        status == 200
    }

    fn ask(&self, server: &Server, name: &str, version: Option<&str>) -> (u16, Value) {
        let to = |method, target: &str| self.client.request(method, format!("{}/api/v1/services/{target}", server.url));
        let request = match version {
            Some(version) => {
                let body = json!({"name": name, "version": version, "base_url": "http://10.0.0.1:80"});
                to(Method::POST, "register").json(&body)
            }
            None => to(Method::DELETE, &format!("deregister?name={name}")),
        };
        self.runtime.block_on(async {
            let answer = request.send().await.expect("an answer");
            (answer.status().as_u16(), answer.json().await.expect("JSON"))
        })
    }

    /// The past may be unreadable for a moment, but is never a wrong answer.
    fn history(&self, server: &Server) {
        let asked = self.client.get(format!("{}/api/v1/services", server.url));
        let list: Value = self.runtime.block_on(async { asked.send().await?.json().await }).expect("the list");
        let Some(id) = list["data"][0]["id"].as_str() else { return };
        let asked = self.client.get(format!("{}/api/v1/services/{id}/history", server.url));
        let status = self.runtime.block_on(async { asked.send().await }).expect("an answer").status().as_u16();
        assert!(status == 200 || status >= 500, "{status}");
    }

    /// Once the fault is over it takes writes again, without being started again.
    fn goes_on(&mut self, server: &mut Server) {
        let began = Instant::now();
        while !self.write(server) {
            assert!(began.elapsed() < AMPLE, "it takes no writes although all is well again: {}", server.said());
        }
    }
}
