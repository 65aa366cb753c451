//! `portolan import` and `portolan backup`, ended at any call that changes a file, by `kill -9` or, for imports, by a power cut: the store
//! holds what it held or all that was imported, and there is a whole backup or none.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::server::Server;
use crate::shim::disk::Disk;
use crate::shim::{Shim, Where, kind};
use crate::{client, rounds, seed};

/// Rows of an import: enough for several pages of each table.
const ROWS: usize = 300;

fn lines(prefix: &str, count: usize) -> String {
    let line = |n| format!("{{\"name\":\"{prefix}{n}\",\"base_url\":\"http://127.0.0.1:{}\"}}", 1000 + n);
    (0..count).map(line).collect::<Vec<_>>().join("\n")
}

/// Runs `portolan ARGS` over the folder's store.
fn run(shim: &Shim, args: &[&str], input: &Path) -> ExitStatus {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.args(args).env("DB_PATH", shim.db()).stdout(Stdio::null()).stderr(Stdio::null());
    command.stdin(std::fs::File::open(input).expect("opens"));
    shim.under(&mut command);
    command.status().expect("it runs")
}

fn place(random: &mut StdRng) -> Where {
    [Where::Before, Where::After, Where::Amid][random.random_range(0..3)]
}

#[test]
fn an_import_that_is_cut_off_leaves_all_or_nothing() {
    let mut random = StdRng::seed_from_u64(seed());
    let folder = tempfile::tempdir().expect("a folder");
    let (first, many) = (folder.path().join("first"), folder.path().join("many"));
    std::fs::write(&first, lines("first", 1)).expect("written");
    std::fs::write(&many, lines("s", ROWS)).expect("written");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let client = client();
    let shim = Shim::new(kind::CHANGES);
    assert!(run(&shim, &["import", "-"], &first).success());
    assert!(run(&shim, &["import", "-"], &many).success());
    let most = {
        let fresh = Shim::new(kind::CHANGES);
        assert!(run(&fresh, &["import", "-"], &first).success());
        let before = fresh.calls();
        assert!(run(&fresh, &["import", "-"], &many).success());
        fresh.calls() - before
    };
    assert!(most > 10, "an import makes {most} calls");
    let (mut nothing, mut all) = (0, 0);
    for round in 0..rounds(24, 10) {
        let shim = Shim::new(kind::CHANGES);
        assert!(run(&shim, &["import", "-"], &first).success());
        let mut disk = Disk::of(&shim);
        let (call, place, cut) = (random.random_range(1..=most), place(&mut random), random.random_bool(0.5));
        shim.end_after(call, place);
        let ended = run(&shim, &["import", "-"], &many);
        assert!(shim.end_never() && !ended.success() || ended.success(), "round {round}: {ended:?}");
        let lost = if cut {
            disk.follow();
            disk.cut(&mut random)
        } else {
            String::new()
        };
        let server = Server::over(&shim)
            .unwrap_or_else(|ended| panic!("round {round}, call {call} {place:?} {lost}: {ended:?}"));
        let found = runtime.block_on(server.services(&client)).expect("the list is answered").len();
        println!("round {round}: call {call} of {most}, {place:?}; {found} services; {lost}");
        match found {
            1 => nothing += 1,
            n if n == ROWS + 1 => all += 1,
            n => panic!("round {round}: {n} services, after call {call} {place:?}; {lost}"),
        }
        assert!(!ended.success() || found > 1, "round {round}: it had said that it was done");
    }
    println!("{nothing} with nothing of it, {all} with all");
    assert!(nothing > 0, "no import was cut off before its end");
}

#[test]
fn a_backup_that_is_cut_off_is_whole_or_not_there() {
    let mut random = StdRng::seed_from_u64(seed());
    let folder = tempfile::tempdir().expect("a folder");
    let input = folder.path().join("lines");
    std::fs::write(&input, lines("s", ROWS)).expect("written");
    let shim = Shim::new(kind::CHANGES);
    assert!(run(&shim, &["import", "-"], &input).success());
    let copy = shim.folder.join("copy.db");
    let copy_path = copy.to_str().expect("UTF-8").to_owned();
    let before = shim.calls();
    assert!(run(&shim, &["backup", &copy_path], &input).success());
    let most = shim.calls() - before;
    let (mut whole, mut none) = (0, 0);
    for round in 0..rounds(24, 10) {
        let _ = std::fs::remove_file(&copy);
        // The last calls are those that give it its name.
        let call = if round % 2 == 0 { random.random_range(1..=most) } else { most - random.random_range(0..3) };
        let place = place(&mut random);
        shim.end_after(call, place);
        let ended = run(&shim, &["backup", &copy_path], &input);
        shim.end_never();
        println!("round {round}: call {call} of {most}, {place:?}");
        if copy.exists() {
            let db = rusqlite::Connection::open(&copy).expect("opens");
            let sound: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checks");
            let services: u32 = db.query_row("SELECT count(*) FROM service", [], |row| row.get(0)).expect("counts");
            assert_eq!((sound.as_str(), services as usize), ("ok", ROWS), "round {round}: call {call} {place:?}");
            whole += 1;
        } else {
            assert!(!ended.success(), "round {round}: it had said that it was done");
            none += 1;
        }
    }
    println!("{whole} whole backups, {none} without one");
    assert!(none > 0 && whole > 0, "no backup was cut off before its end, or none right at it");
}
