//! Broken pages: what can be read is copied into a new file, what is missing is named, and the damaged file is kept.

use std::fs;
use std::path::Path;

use portolan::store::reader::FileReader;
use tempfile::TempDir;

use crate::common::{Running, at, files, fresh, leads, registration, settings, spec};
use crate::health::healthy;

const SERVICES: usize = 200;
const PAGE: usize = 4096;

/// A closed file with several pages of every table.
async fn closed() -> TempDir {
    let (folder, s) = fresh();
    for n in 0..SERVICES {
        s.register(registration(&format!("s{n}"), "a", spec(1))).await.expect("registers");
    }
    for millis in 0..300 {
        let change = healthy(&s.instance("s1", "a"), millis);
        s.store.commit_health(vec![change], leads()).await.expect("commits");
    }
    s.stop().await;
    folder
}

/// The offset of the only row with these bytes.
fn place(bytes: &[u8], row: &[u8]) -> usize {
    let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(row)).collect();
    *places.first().expect("the row is in the file")
}

/// Makes a table's page lose the row at `at`, by an impossible offset.
fn lose(bytes: &mut [u8], at: usize) {
    let page = at / PAGE * PAGE;
    assert_eq!(bytes[page], 13, "a leaf of a table");
    let number = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let pointers = (0..number(page + 3)).map(|n| page + 8 + 2 * n);
    let pointer = pointers.filter(|p| number(*p) <= at - page).max_by_key(|p| number(*p)).expect("a row before it");
    bytes[pointer..pointer + 2].fill(0xff);
}

fn is_kept(folder: &TempDir, damaged: &[u8]) -> bool {
    let aside = files(folder).into_iter().filter(|name| name.contains(".corrupt-"));
    aside.into_iter().any(|name| fs::read(folder.path().join(name)).expect("reads") == damaged)
}

fn quarantined(path: &Path) -> Vec<String> {
    let rows = FileReader::open(path).and_then(|reader| reader.quarantine()).expect("reads");
    rows.iter().map(|row| format!("{} {}", row["table"], row["reason"]).replace('"', "")).collect()
}

#[tokio::test]
async fn an_unreachable_row_costs_only_that_row() {
    let folder = closed().await;
    let path = folder.path().join("p.db");
    let mut bytes = fs::read(&path).expect("reads");
    let at = place(&bytes, b"defaults77rest");
    lose(&mut bytes, at);
    fs::write(&path, &bytes).expect("writes");
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!((s.all().len(), s.find("s77")), (SERVICES - 1, None));
    assert_eq!(s.history("s1").await.len(), 300);
    let rows = quarantined(&path);
    assert!(rows.iter().any(|row| row.starts_with("service its page is damaged")), "{rows:?}");
    assert!(rows.iter().any(|row| row.starts_with("instance its service")), "{rows:?}");
    assert!(is_kept(&folder, &bytes), "the damaged file is kept");
    s.register(registration("s77", "a", spec(1))).await.expect("registers again");
    s.stop().await;
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(s.all().len(), SERVICES);
    s.stop().await;
}

#[tokio::test]
async fn a_broken_page_of_history_costs_part_of_history() {
    let folder = closed().await;
    let path = folder.path().join("p.db");
    let mut bytes = fs::read(&path).expect("reads");
    let text = format!("passed at {}", 150);
    let page = place(&bytes, text.as_bytes()) / PAGE * PAGE;
    bytes[page..page + PAGE].fill(0xa5);
    fs::write(&path, &bytes).expect("writes");
    let s = Running::open_at(settings(&path), at(0)).expect("opens");
    assert_eq!(s.all().len(), SERVICES);
    let left = s.history("s1").await.len();
    assert!((200..300).contains(&left), "{left} entries are left of both sides of the break");
    assert!(is_kept(&folder, &bytes), "the damaged file is kept");
    s.stop().await;
}
