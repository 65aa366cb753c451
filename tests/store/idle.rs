//! An idle server moves everything into its database file.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::common::{Running, fresh, registration, settings, spec, until};

/// Services in the database file without its companions, as in a copy of only that file.
fn in_the_file_alone(path: &Path) -> u32 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let url = format!("file:{}?immutable=1", path.display());
    let db = Connection::open_with_flags(url, flags).expect("opens");
    // During the checkpoint the file may be in between.
    db.query_row("SELECT count(*) FROM service", [], |row| row.get(0)).unwrap_or(0)
}

#[tokio::test]
async fn an_idle_servers_file_is_complete() {
    let (folder, s) = fresh();
    let path = folder.path().join("p.db");
    for round in 1..=3_u32 {
        for n in 0..10 {
            s.register(registration(&format!("r{round}n{n}"), "a", spec(1))).await.expect("registers");
        }
        until("all is in the file", async || in_the_file_alone(&path) == 10 * round).await;
    }
    let (elsewhere, copy) = crate::common::folder();
    std::fs::copy(&path, &copy).expect("copies");
    let t = Running::open(settings(&copy)).expect("the copy opens");
    assert_eq!(t.all().len(), 30);
    assert_ne!(t.catalog().read().epoch(), s.catalog().read().epoch(), "no cursor goes on in a copy");
    t.stop().await;
    drop(elsewhere);
    s.stop().await;
}
