//! Killed at any moment: what was acknowledged is there, and readers' cursors stay valid.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rand::RngExt;

use crate::common::{Running, folder, registration, removal, settings, spec};

/// Set in the child: the file, and the number of the round.
const CHILD: &str = "PORTOLAN_TEST_CRASH";
/// Concurrent registrations.
const WRITERS: usize = 8;
const ROUNDS: usize = 6;

/// The child: keeps registering, removes every third service again, and prints what was acknowledged.
async fn write_until_killed(path: &Path, round: &str) {
    let s = Arc::new(Running::open(settings(path)).expect("opens"));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (s, round) = (Arc::clone(&s), round.to_owned());
        writers.spawn(async move {
            for n in 0.. {
                let name = format!("r{round}-w{writer}-n{n}");
                s.register(registration(&name, "a", spec(1))).await.expect("registers");
                acknowledge('+', &name);
                if n % 3 == 0 {
                    s.remove(removal(&name, None)).await.expect("removes");
                    acknowledge('-', &name);
                }
            }
        });
    }
    writers.join_all().await;
}

fn acknowledge(sign: char, name: &str) {
    // One write each, so that no line is torn by the kill.
    std::io::stdout().write_all(format!("{sign}{name}\n").as_bytes()).expect("prints");
}

/// What the child acknowledged before it was killed, after about `lines` of them.
fn killed_after(path: &Path, round: usize, lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "crash::what_was_acknowledged_survives_a_kill", "--nocapture"])
        .env(CHILD, format!("{}\n{round}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut output = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
    let mut said: Vec<_> = output.by_ref().take(lines).collect();
    child.kill().expect("kills");
    said.extend(output);
    child.wait().expect("ends");
    said.retain(|line| line.starts_with(['+', '-']));
    assert!(!said.is_empty(), "round {round} wrote nothing");
    said
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    if let Ok(child) = std::env::var(CHILD) {
        let (path, round) = child.split_once('\n').expect("two parts");
        return write_until_killed(Path::new(path), round).await;
    }
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    let (epoch, mut revision) = (s.catalog().read().epoch().clone(), 0);
    s.stop().await;
    for round in 0..ROUNDS {
        let said = killed_after(&path, round, rand::rng().random_range(20..200));
        let s = Running::open(settings(&path)).expect("opens");
        assert_eq!(s.catalog().read().epoch(), &epoch, "a crash loses no revision");
        assert!(s.revision() >= revision + said.len() as u64);
        revision = s.revision();
        for line in &said {
            let (sign, name) = line.split_at(1);
            let stays = name.rsplit_once('n').and_then(|(_, n)| n.parse::<u64>().ok()).expect("a number") % 3 != 0;
            match sign {
                "+" if stays => assert!(s.find(name).is_some(), "{name} was acknowledged and is lost"),
                "-" => assert!(s.find(name).is_none(), "{name} was removed and is back"),
                _ => {}
            }
        }
        s.stop().await;
    }
}
