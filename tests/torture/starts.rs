//! Two consecutive starts, each killed at any call: the third serves what was stored.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use portolan::catalog::Catalog;
use portolan::model::time::Clock;
use portolan::store::{Consent, Store, StoreSettings};
use portolan::telemetry::metrics::Metrics;

use crate::calls::start::Begins;
use crate::server::Server;
use crate::shim::{Shim, Where, kind};

type Files = BTreeMap<String, Vec<u8>>;

/// What lies in the folder, but for the index of the log, which is made again.
fn read(folder: &Path) -> Files {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let name = |path: &Path| path.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
    let kept = names.map(|path| (name(&path), path)).filter(|(name, _)| !name.ends_with("-shm"));
    kept.map(|(name, path)| (name, fs::read(path).expect("reads"))).collect()
}

fn put(folder: &Path, files: &Files) {
    for entry in fs::read_dir(folder).expect("a folder") {
        fs::remove_file(entry.expect("an entry").path()).expect("removes");
    }
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).expect("writes");
    }
}

/// The files, whoever held the lock.
fn without_pid(files: &Files) -> Files {
    let after =
        |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n').map_or(Vec::new(), |at| bytes[at..].to_vec());
    let is_lock = |name: &str| Path::new(name).extension().is_some_and(|extension| extension == "lock");
    files.iter().map(|(n, b)| (n.clone(), if is_lock(n) { after(b) } else { b.clone() })).collect()
}

/// What a start leaves that ends before its `at`th call; none if it listened before.
fn cut_off(shim: &Shim, from: &Files, at: u64) -> Option<Files> {
    put(&shim.folder, from);
    shim.end_after(at, Where::Before);
    let started = Server::over(shim);
    shim.end_never();
    match started {
        // It is killed when it is dropped.
        Ok(_) => None,
        Err(ended) => {
            assert!(ended.was_killed(), "{ended:?}");
            Some(read(&shim.folder))
        }
    }
}

/// How many services are served, and in which line of revisions.
fn serve(db: &Path) -> (usize, String) {
    let settings = StoreSettings {
        path: db.to_owned(),
        max_services: 0,
        max_instances: 100,
        history_days: 30,
        history_rows: 10_000,
        default_interval: Duration::from_secs(30),
        epoch: None,
        durable: true,
    };
    let opened = Store::open_with(settings, Consent::default(), Clock::system(), Metrics::default());
    let opened = opened.unwrap_or_else(|error| panic!("{error}"));
    let served = |catalog: &Catalog| (catalog.read().newest_first(None).count(), catalog.read().epoch().to_string());
    served(&opened.catalog)
}

#[test]
fn starts_that_are_cut_off_one_after_the_other_do_no_harm() {
    let shim = Shim::new(kind::CHANGES);
    let services = Begins::Killed.prepare(&shim.db()).len();
    let before = read(&shim.folder);
    let (mut pairs, line) = (0, serve(&shim.db()).1);
    // Calls that change nothing leave what was there before them: that is tried once.
    let (mut last, mut last_twice) = (Files::new(), Files::new());
    for first in 1.. {
        let Some(once) = cut_off(&shim, &before, first) else { break };
        if without_pid(&once) == without_pid(&last) {
            continue;
        }
        last.clone_from(&once);
        put(&shim.folder, &once);
        assert_eq!(serve(&shim.db()), (services, line.clone()), "one cut, at call {first}, begins no new line");
        for second in 1.. {
            let Some(twice) = cut_off(&shim, &once, second) else { break };
            if without_pid(&twice) == without_pid(&last_twice) {
                continue;
            }
            last_twice.clone_from(&twice);
            assert_eq!(serve(&shim.db()).0, services, "cut off at call {first}, then at call {second}");
            pairs += 1;
        }
    }
    println!("{pairs} pairs of cuts");
    assert!(pairs > 20, "the starts were hardly cut off: {pairs}");
}
