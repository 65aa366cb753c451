//! Histories of clients that write, read and watch the same few names at once, while the server is killed, paused, stopped and started, and
//! its wall clock jumps: each read shows what was acknowledged before it, nobody goes back, and a watch misses nothing.

pub(crate) mod check;
mod clients;
pub(crate) mod record;
pub(crate) mod watcher;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::server::Server;
use crate::shim::{Shim, Where, kind};
use crate::{client, rounds, seed};
use check::There;
use clients::Setting;
use record::Record;
use watcher::Watcher;

const WRITERS: usize = 4;
const READERS: usize = 2;
const WATCHERS: usize = 2;
/// The number of the client that looks after each start.
const LOOKS: usize = 100;
/// What a writer does in a round, unless the server ends before.
const WRITES: u32 = 40;
/// For what has to happen sooner or later.
const AMPLE: Duration = Duration::from_mins(1);
/// How long an answer is waited for that must not come.
const SILENCE: Duration = Duration::from_millis(100);

struct Run {
    shim: Arc<Shim>,
    record: Arc<Record>,
    random: StdRng,
    client: Client,
    watchers: Vec<Watcher>,
    epoch: Option<String>,
    there: BTreeMap<String, There>,
    operations: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            shim: Arc::new(Shim::new(kind::CHANGES)),
            record: Arc::new(Record::default()),
            random: StdRng::seed_from_u64(seed),
            client: client(),
            watchers: (0..WATCHERS).map(|_| Watcher::default()).collect(),
            epoch: None,
            there: BTreeMap::new(),
            operations: 0,
        }
    }

    fn setting(&self, server: &Server) -> Setting {
        let (record, shim) = (Arc::clone(&self.record), Arc::clone(&self.shim));
        Setting { record, shim, url: server.url.clone(), client: self.client.clone() }
    }

    async fn round(&mut self, round: u64) {
        let mut server = Server::over(&self.shim).expect("it starts");
        self.look(&server).await;
        let kill = self.random.random_bool(0.6);
        if kill {
            let place = if self.random.random_bool(0.5) { Where::Before } else { Where::After };
            self.shim.end_after(self.random.random_range(1..500), place);
        }
        self.load(&server, round).await;
        if self.shim.end_never() {
            return server.kill_9();
        }
        self.look(&server).await;
        self.catch_up(&server).await;
        if kill {
            server.kill_9();
        } else {
            assert!(server.stop().success(), "{}", server.said());
        }
    }

    /// Reads everything, and judges all that was done since the last time.
    async fn look(&mut self, server: &Server) {
        let tag = self.setting(server).list(LOOKS).await.expect("the list is answered");
        assert_eq!(*self.epoch.get_or_insert_with(|| tag.epoch.clone()), tag.epoch, "the line of revisions broke");
        self.operations += self.record.settle(&self.there);
        let found = server.descriptions(&self.client).await.expect("the list is answered");
        self.there = found.into_iter().map(|(name, value)| (name, Some(value))).collect();
    }

    /// Writers, readers and watchers at once, a pause in between; until the writers are done or the server is gone.
    async fn load(&mut self, server: &Server, round: u64) {
        let (setting, end) = (self.setting(server), CancellationToken::new());
        let mut writing = JoinSet::new();
        for number in 0..WRITERS {
            writing.spawn(setting.clone().write(number, self.random.random(), round, WRITES));
        }
        let mut reading = JoinSet::new();
        for number in WRITERS..WRITERS + READERS {
            reading.spawn(setting.clone().read(number, end.clone()));
        }
        reading.spawn(setting.clone().keep_listing(WRITERS + READERS, end.clone()));
        let mut watching = JoinSet::new();
        for mut watcher in self.watchers.drain(..) {
            let (client, url, end) = (client(), server.url.clone(), end.clone());
            watching.spawn(async move {
                let watch = watcher.watch(&client, &url, |_| false);
                // Cut off wherever it is: what it was sent in part is sent again.
                let _ = end.run_until_cancelled(watch).await;
                watcher
            });
        }
        let pause_after = self.random.random_range(1..200);
        let writers = async {
            while let Some(done) = writing.join_next().await {
                done.expect("a writer that is satisfied");
            }
        };
        tokio::select! {
            () = writers => {}
            () = self.pause(server, pause_after) => while let Some(done) = writing.join_next().await {
                done.expect("a writer that is satisfied");
            },
        }
        // Also where the writers had their last answer while it was being stopped.
        server.signal(Signal::CONT);
        end.cancel();
        while let Some(done) = reading.join_next().await {
            done.expect("a reader that is satisfied");
        }
        while let Some(watcher) = watching.join_next().await {
            self.watchers.push(watcher.expect("a watcher that is satisfied"));
        }
    }

    /// After some answers: nothing runs for a while, and the clock is another afterwards, as of a machine that slept.
    async fn pause(&self, server: &Server, after: u64) {
        self.record.answers(after).await;
        server.pause();
        let asked = client().get(&server.url).timeout(SILENCE).send().await;
        assert!(asked.is_err(), "it answered while it was stopped");
        self.shim.set_clock(after.is_multiple_of(2), Duration::from_secs(after * 900));
        server.signal(Signal::CONT);
    }

    /// Each watcher comes to know what there is.
    async fn catch_up(&mut self, server: &Server) {
        let revision = self.setting(server).list(LOOKS).await.expect("the list is answered").revision;
        for watcher in &mut self.watchers {
            let watch = watcher.watch(&self.client, &server.url, |watcher| watcher.revision() >= revision);
            tokio::time::timeout(AMPLE, watch).await.expect("the watch catches up");
            let there: BTreeMap<String, There> = watcher.there().into_iter().map(|(name, v)| (name, Some(v))).collect();
            assert_eq!(there, self.there, "what a watcher was sent is what there is");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_make_sense_over_kills_pauses_and_clock_jumps() {
    let (rounds, seed) = (rounds(12, 2), seed());
    let mut run = Run::new(seed);
    for round in 0..rounds {
        run.round(round).await;
    }
    let server = Server::over(&run.shim).expect("it starts");
    run.look(&server).await;
    run.catch_up(&server).await;
    let written = run.record.all_written();
    let events: usize = run.watchers.iter().map(|watcher| watcher.missed_nothing(&written)).sum();
    println!("{rounds} rounds, {} operations, {} registrations, {events} events", run.operations, written.len());
    assert!(run.operations > 100 && events > 100, "hardly anything was done, so nothing was proved");
}
