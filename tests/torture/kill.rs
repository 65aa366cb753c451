//! `kill -9` at random moments under concurrent writers: after each restart every acknowledged registration and
//! deregistration is there, and nothing else; and what a reader saw to be healthy still is.

use std::time::Duration;

use rand::{RngExt, SeedableRng};

use crate::backend::Backend;
use crate::server::Server;
use crate::writer::{self, Writer};
use crate::{client, rounds, seed};

const WRITERS: u64 = 8;

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let (rounds, seed) = (rounds(60, 1), seed());
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let db = folder.path().join("services.db");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let backend = runtime.block_on(Backend::start());
    let mut writers: Vec<Writer> = (0..WRITERS).map(|n| Writer::new(n, seed, &backend.url)).collect();
    // Made once: reading the system's certificates takes longer than most rounds.
    let client = client();
    let (mut acknowledged, mut unanswered) = (0, 0);
    for round in 0..rounds {
        let server = Server::start(&db);
        let found = runtime.block_on(server.services(&client)).expect("the list is answered");
        let known: usize = writers.iter_mut().map(|writer| writer.verify(&found, round)).sum();
        assert_eq!(found.len(), known, "round {round}: a service that nobody registered");
        let until_kill = Duration::from_micros(random.random_range(500..120_000));
        let load = runtime.spawn(writer::write_until_cut(writers, client.clone(), server.url.clone()));
        runtime.block_on(server.kill_9_after(until_kill));
        writers = runtime.block_on(load).expect("the writers end");
        acknowledged += writers.iter_mut().map(Writer::take_acknowledged).sum::<u64>();
        assert_eq!(writers.iter_mut().map(Writer::take_failed).sum::<u64>(), 0, "round {round}: a write failed");
        unanswered += writers.iter().map(Writer::unanswered).sum::<usize>();
    }
    let healthy: u64 = writers.iter().map(Writer::kept_healthy).sum();
    println!(
        "{rounds} kills, {acknowledged} acknowledged writes kept, {unanswered} cut off in flight, {healthy} kept healthy"
    );
    assert!(healthy > 0, "no service was healthy before a kill, so nothing was proved of health");
    assert!(acknowledged > rounds, "the writers hardly wrote ({acknowledged}), so nothing was proved");
}
