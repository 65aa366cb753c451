//! Faults: `kill -9` at any moment, power cuts, calls that fail, pauses, and a wall clock that jumps. Whatever the server acknowledged
//! must survive, and no reader may go back in time.
//!
//! `PORTOLAN_TORTURE_ROUNDS` asks for more rounds (`make torture`), `PORTOLAN_TORTURE_SEED` repeats a run: each prints its own.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the test runner shows it where a test fails")]
#![cfg(target_os = "linux")]

mod backend;
mod calls;
mod history;
mod importing;
mod kill;
mod power;
mod server;
mod shim;
mod starts;
mod writer;

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn client() -> reqwest::Client {
    portolan::crypto::http_client().no_proxy().build().expect("a client")
}

/// Rounds of a test: `usual`, or of what was asked for one in `share`.
fn rounds(usual: u64, share: u64) -> u64 {
    from_env("PORTOLAN_TORTURE_ROUNDS").map_or(usual, |asked| (asked / share).max(1))
}

/// What all that is random follows from.
fn seed() -> u64 {
    let seed = from_env("PORTOLAN_TORTURE_SEED").unwrap_or_else(rand::random);
    println!("PORTOLAN_TORTURE_SEED={seed}");
    seed
}
