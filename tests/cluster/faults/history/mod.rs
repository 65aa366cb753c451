//! Histories of clients that write, read and watch the same few names through two replicas, while these are paused, killed and started
//! again. Writes make sense whichever replica took them; at each replica a read shows what was answered there before, and nothing goes back;
//! a watch that goes on at its replica misses nothing, and one that goes on at the other goes back as little.

#[path = "../../../torture/history/check.rs"]
mod check;
mod clients;
mod sessions;
#[path = "../../../torture/history/watcher.rs"]
mod watcher;

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Cluster;
use super::replica::Replica;
use crate::sync::replica::until;
use clients::Visitor;
use sessions::Sessions;
use watcher::Watcher;

/// Writers at each replica.
const WRITERS: usize = 2;
/// What a writer does in a round, unless its replica is killed before.
const WRITES: u32 = 12;

/// What is done to one of the two in a round.
#[derive(Debug, Clone, Copy)]
enum Trial {
    Nothing,
    Pause,
    Kill,
}

const TRIALS: [Trial; 4] = [Trial::Nothing, Trial::Pause, Trial::Kill, Trial::Pause];

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

struct Run {
    cluster: Cluster<'static>,
    replicas: [Option<Replica>; 2],
    sessions: Arc<Sessions>,
    /// Each with the replicas at which it watches in turn.
    watchers: Vec<(&'static [usize], Watcher)>,
    random: StdRng,
}

const REPLICAS: [&str; 2] = ["one", "two"];

impl Run {
    fn urls(&self) -> [String; 2] {
        [0, 1].map(|at| self.replicas[at].as_ref().expect("it runs").url.clone())
    }

    async fn round(&mut self, round: usize) {
        let (trial, victim) = (TRIALS[round % TRIALS.len()], self.random.random_range(0..2));
        let (urls, end) = (self.urls(), CancellationToken::new());
        let (mut writing, mut reading) = (JoinSet::new(), JoinSet::new());
        for (at, url) in urls.iter().enumerate() {
            let visitor = Visitor::new(at, url, &self.sessions);
            for number in 0..WRITERS {
                let label = format!("r{round}-{at}{number}");
                writing.spawn(visitor.clone().write(label, self.random.random(), WRITES));
            }
            reading.spawn(visitor.clone().read(end.clone()));
            reading.spawn(visitor.keep_listing(end.clone()));
        }
        let watching = self.watchers.drain(..).map(|(places, mut watcher)| {
            let (replicas, over) = (places.iter().map(|at| urls[*at].clone()).collect::<Vec<_>>(), end.clone());
            tokio::spawn(async move {
                clients::watch_in_turn(&mut watcher, &replicas, &over).await;
                (places, watcher)
            })
        });
        let watching: Vec<_> = watching.collect();
        let after = self.random.random_range(4..40);
        tokio::select! {
            () = done(&mut writing) => {}
            () = self.sessions.answers(after) => {}
        }
        self.suffer(trial, victim).await;
        done(&mut writing).await;
        end.cancel();
        done(&mut reading).await;
        for watching in watching {
            self.watchers.push(watching.await.expect("a watcher that is satisfied"));
        }
        if self.replicas[victim].is_none() {
            self.replicas[victim] = Some(self.cluster.start(REPLICAS[victim]).await);
        }
        self.agree().await;
    }

    async fn suffer(&mut self, trial: Trial, victim: usize) {
        let replica = self.replicas[victim].as_ref().expect("it runs");
        match trial {
            Trial::Nothing => {}
            Trial::Pause => {
                replica.pause();
                // The other one goes on meanwhile, or has nothing to do.
                let url = replica.url.clone();
                let asked = clients::client().get(url).timeout(clients::SILENCE).send().await;
                assert!(asked.is_err(), "it answered while it was stopped");
                replica.resume();
            }
            Trial::Kill => self.replicas[victim].take().expect("it runs").kill(),
        }
    }

    /// When nobody writes any more both come to show the same, and so does whoever watched.
    async fn agree(&mut self) {
        let urls = self.urls();
        for replica in self.replicas.iter().flatten() {
            replica.until_ready().await;
        }
        let visitors = [0, 1].map(|at| Visitor::new(at, &urls[at], &self.sessions));
        until("both show the same", async || {
            let [(_, here), (_, there)] =
                [visitors[0].list().await.expect("a list"), visitors[1].list().await.expect("a list")];
            here == there
        })
        .await;
        let (_, shown) = visitors[0].list().await.expect("a list");
        for (places, watcher) in &mut self.watchers {
            for at in *places {
                let (revision, _) = visitors[*at].list().await.expect("a list");
                let caught_up = |watcher: &Watcher| watcher.revision() >= revision && watcher.there() == shown;
                let client = clients::client();
                let watch = watcher.watch(&client, &urls[*at], caught_up);
                tokio::time::timeout(clients::AMPLE, watch).await.expect("the watch catches up");
            }
        }
        self.sessions.settle(&shown);
    }
}

/// Waits for all of them, each of which is to be satisfied.
async fn done(tasks: &mut JoinSet<()>) {
    while let Some(task) = tasks.join_next().await {
        task.expect("a client that is satisfied");
    }
}

fn watcher(places: &[usize]) -> Watcher {
    let mut watcher = Watcher::default();
    (watcher.is_at_replicas, watcher.moves) = (true, places.len() > 1);
    watcher
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_through_two_replicas_make_sense() {
    let seed = from_env("PORTOLAN_TORTURE_SEED").unwrap_or_else(rand::random);
    let rounds = from_env("PORTOLAN_TORTURE_ROUNDS").map_or(4, |rounds| rounds.div_ceil(20).max(4));
    println!("PORTOLAN_TORTURE_SEED={seed}");
    let cluster = Cluster::shared().await;
    let (one, two) = cluster.two().await;
    let mut run = Run {
        cluster,
        replicas: [Some(one), Some(two)],
        sessions: Arc::new(Sessions::default()),
        watchers: [&[0][..], &[1], &[0, 1]].map(|places| (places, watcher(places))).into(),
        random: StdRng::seed_from_u64(seed),
    };
    for round in 0..usize::try_from(rounds).expect("it fits") {
        run.round(round).await;
    }
    let written = run.sessions.all_written();
    let events: usize = run.watchers.iter().map(|(_, watcher)| watcher.missed_nothing(&written)).sum();
    let operations = run.sessions.judge();
    println!("{rounds} rounds, {operations} operations, {} sights, {events} events", written.len());
    assert!(operations > 200 && events > 20, "hardly anything was done, so nothing was proved");
    for replica in run.replicas.into_iter().flatten() {
        replica.stop().await;
    }
}
