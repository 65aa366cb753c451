//! Untrusted bytes: input from clients, backends, servers and files is thrown at the code that reads it, both nearly valid and arbitrary.
//! Inputs that once broke something are in `seeds/` and are tried first. `make fuzz` drives the same targets by coverage for longer.

#![expect(clippy::print_stdout, reason = "the test runner shows it where a test fails")]

mod inputs;
mod targets;

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::TestRunner;

/// Time for one target, in seconds; `FUZZ_SECONDS` sets another.
const SECONDS: u64 = 3;

/// Tries the seeds, then the strategy's inputs until the time is over. A failing input is minimised before it is shown.
fn fuzz(name: &str, inputs: &impl Strategy<Value = Vec<u8>>, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(name);
    for seed in std::fs::read_dir(&folder).into_iter().flatten() {
        let path = seed.expect("a seed").path();
        println!("{}", path.display());
        target(&std::fs::read(&path).expect("readable"));
    }
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let (started, mut runner, mut tried) = (Instant::now(), TestRunner::default(), 0);
    while started.elapsed() < Duration::from_secs(seconds) {
        let mut input = inputs.new_tree(&mut runner).expect("an input");
        tried += 1;
        if !breaks(target, &input.current()) {
            continue;
        }
        while input.simplify() {
            if !breaks(target, &input.current()) && !input.complicate() {
                break;
            }
        }
        let bytes = input.current();
        let text: String = bytes.iter().flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
        panic!("{name} breaks on b\"{text}\"; keep it in {}", folder.display());
    }
    println!("{name}: {tried} inputs");
    assert!(tried > 0);
}

fn breaks(target: fn(&[u8]), input: &[u8]) -> bool {
    std::panic::catch_unwind(|| target(input)).is_err()
}

#[test]
fn raw_bytes_to_a_connection() {
    fuzz("request", &inputs::requests(), targets::requests::raw);
}

#[test]
fn a_registration() {
    fuzz("registration", &inputs::registrations(), targets::requests::registration);
}

#[test]
fn a_token() {
    fuzz("token", &inputs::tokens(), targets::requests::bearer);
}

#[test]
fn a_query() {
    fuzz("query", &inputs::queries(), targets::requests::query);
}

#[test]
fn a_cursor() {
    fuzz("cursor", &inputs::cursors(), targets::requests::cursor);
}

#[test]
fn an_event_stream() {
    fuzz("watch", &inputs::streams(), targets::watch::stream);
}

#[test]
fn the_answer_to_a_probe() {
    fuzz("probe", &inputs::answers(), targets::probe::answer);
}

#[test]
fn a_row_of_the_database() {
    fuzz("row", &inputs::rows(), targets::rows::row);
}
