//! Power cuts at any call that touches the file, also while the server starts, and several after one another: what was acknowledged is
//! there, whatever the disk made of all that was not synced.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::io::Errno;

use crate::backend::Backend;
use crate::server::Server;
use crate::shim::disk::Disk;
use crate::shim::{Failing, Shim, Where, kind};
use crate::writer::{self, Writer};
use crate::{client, rounds, seed};

const WRITERS: u64 = 6;

/// How a run of the server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The power goes, at a call.
    Cut,
    /// It is killed at a call, and the system lives on: what was not synced is still read, and may be lost later.
    Kill,
    /// It is asked to stop, and the power goes right after it.
    StopAndCut,
}

fn choose(random: &mut StdRng) -> End {
    match random.random_range(0..12) {
        0..=7 => End::Cut,
        8 | 9 => End::Kill,
        _ => End::StopAndCut,
    }
}

/// One of `most`, the small ones as likely as the great ones.
fn any_of(most: u32, random: &mut StdRng) -> u64 {
    let digits = most.ilog2();
    let at_most = 1 << random.random_range(0..=digits);
    random.random_range(1..=at_most)
}

struct Run {
    shim: Shim,
    disk: Disk,
    random: StdRng,
    writers: Vec<Writer>,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    _backend: Backend,
    in_a_start: u64,
    verified: u64,
    failed: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let backend = runtime.block_on(Backend::start());
        let shim = Shim::new(kind::CHANGES);
        let disk = Disk::of(&shim);
        let writers = (0..WRITERS).map(|n| Writer::new(n, seed, &backend.url)).collect();
        let (random, client) = (StdRng::seed_from_u64(seed), client());
        Self { shim, disk, random, writers, client, runtime, _backend: backend, in_a_start: 0, verified: 0, failed: 0 }
    }

    /// Starts it, checks what is there, writes, and ends it.
    fn round(&mut self, round: u64) {
        let end = choose(&mut self.random);
        let place = [Where::Before, Where::After, Where::Amid][self.random.random_range(0..3)];
        // Half of the time it may not get as far as to listen.
        let early = end != End::StopAndCut && self.random.random_bool(0.5);
        if early {
            self.shim.end_after(any_of(60, &mut self.random), place);
        }
        match Server::over(&self.shim) {
            Ok(mut server) => {
                if self.verify(&server, round) {
                    self.load(&mut server, end, if early { None } else { Some(place) });
                }
                if end == End::StopAndCut {
                    assert!(server.stop().success(), "{}", server.said());
                } else {
                    assert!(self.shim.end_never(), "a connection broke: {}", server.said());
                    server.end();
                }
            }
            Err(ended) => {
                assert!(ended.was_killed() && early, "round {round}: it did not start: {ended:?}");
                self.in_a_start += 1;
            }
        }
        self.shim.end_never();
        self.shim.fail_never();
        self.disk.follow();
        let lost = if end == End::Kill { String::new() } else { self.disk.cut(&mut self.random) };
        println!("round {round}: {end:?}, call {}; {lost}", self.shim.calls());
    }

    /// Whether the server lived long enough to tell.
    fn verify(&mut self, server: &Server, round: u64) -> bool {
        let Ok(found) = self.runtime.block_on(server.services(&self.client)) else { return false };
        let known: usize = self.writers.iter_mut().map(|writer| writer.verify(&found, round)).sum();
        assert_eq!(found.len(), known, "round {round}: a service that nobody registered\n{}", server.said());
        self.verified += 1;
        true
    }

    fn load(&mut self, server: &mut Server, end: End, place: Option<Where>) {
        if let Some(place) = place.filter(|_| end != End::StopAndCut) {
            // Now and then long enough for the log to be moved into the file.
            let most = if self.random.random_bool(0.2) { 4000 } else { 300 };
            self.shim.end_after(any_of(most, &mut self.random), place);
        }
        // What a failed sync should have written may be lost, although a later one succeeds.
        let fails = end != End::StopAndCut && self.random.random_bool(0.3);
        if fails {
            let failing = Failing { kinds: kind::SYNC, errno: Errno::IO, times: self.random.random_range(1..8) };
            self.shim.fail_after(any_of(100, &mut self.random), failing);
        }
        let writers = std::mem::take(&mut self.writers);
        let (client, url) = (self.client.clone(), server.url.clone());
        self.writers = if end == End::StopAndCut {
            self.runtime.block_on(writer::write_some(writers, client, url, 10))
        } else {
            self.runtime.block_on(writer::write_until_cut(writers, client, url))
        };
        let failed: u64 = self.writers.iter_mut().map(Writer::take_failed).sum();
        assert!(fails || failed == 0, "a write failed, and no sync did: {}", server.said());
        self.failed += failed;
    }
}

#[test]
fn what_was_acknowledged_survives_power_cuts() {
    let (rounds, seed) = (rounds(150, 1), seed());
    let mut run = Run::new(seed);
    for round in 0..rounds {
        run.round(round);
    }
    let acknowledged: u64 = run.writers.iter_mut().map(Writer::take_acknowledged).sum();
    println!(
        "{rounds} ends, {} while it started, {} times looked, {acknowledged} acknowledged, {} failed",
        run.in_a_start, run.verified, run.failed
    );
    assert!(run.in_a_start > 0 && run.verified > rounds / 3, "the ends were not where they should be");
    assert!(acknowledged > rounds, "the writers hardly wrote ({acknowledged}), so nothing was proved");
}
