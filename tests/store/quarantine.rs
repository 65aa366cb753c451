//! Rows that cannot be read are kept and named, and cost only their own content.

use std::path::Path;

use portolan::store::reader::FileReader;
use rusqlite::Connection;
use serde_json::Value;

use crate::common::{Running, damage, folder, is_sound, refusal, registration, removal, says, settings, spec, until};
use crate::health::{make_healthy, row};

const SERVICES: u32 = 10;

/// A file of ten services, closed, of which one has two instances, one has history, and one was probed.
async fn closed() -> tempfile::TempDir {
    let (folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    for n in 0..SERVICES {
        s.register(registration(&format!("s{n}"), "a", spec(1))).await.expect("registers");
    }
    s.register(registration("s1", "b", spec(2))).await.expect("registers");
    for _ in 0..3 {
        make_healthy(&s, "s2", "a").await;
    }
    s.store.record_probes(vec![row(&s.instance("s2", "a"), 7)]).await.expect("records");
    s.register(registration("gone", "a", spec(1))).await.expect("registers");
    s.remove(removal("gone", None)).await.expect("removes");
    s.stop().await;
    folder
}

fn run(path: &Path, sql: &str) {
    Connection::open(path).expect("opens").execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Writes a value that the table's types forbid.
fn loosely(path: &Path, table: &str, sql: &str) {
    let declared: String = Connection::open(path)
        .and_then(|db| db.query_row("SELECT sql FROM sqlite_schema WHERE name = ?1", [table], |row| row.get(0)))
        .expect("reads");
    declare(path, table, declared.strip_suffix(" STRICT").expect("a strict table"));
    run(path, sql);
    declare(path, table, &declared);
}

fn declare(path: &Path, table: &str, sql: &str) {
    let db = Connection::open(path).expect("opens");
    db.pragma_update(None, "writable_schema", true).expect("allows it");
    db.execute("UPDATE sqlite_schema SET sql = ?2 WHERE name = ?1", [table, sql]).expect("writes");
}

fn kept(path: &Path) -> Vec<Value> {
    FileReader::open(path).and_then(|reader| reader.quarantine()).expect("reads")
}

/// Starts on the damaged file: all but one service is served, the row is kept and named, and the next start is clean.
async fn costs_one_row(path: &Path, what: &str, table: &str, left: usize) {
    let s = Running::open(settings(path)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(s.all().len(), left, "{what}");
    let (rows, named) = s.store.quarantined();
    assert!(rows >= 1 && named.iter().any(|row| row.starts_with(table)), "{what}: {rows} {named:?}");
    assert_eq!(s.metrics.quarantined_rows.get(), i64::try_from(rows).expect("few"), "{what}");
    let lines = kept(path);
    assert_eq!(lines.len() as u64, rows, "{what}: {lines:?}");
    let row = lines.iter().find(|row| row["table"] == table).unwrap_or_else(|| panic!("{what}: {lines:?}"));
    assert!(!row["reason"].as_str().expect("words").is_empty() && row["content"].is_object(), "{what}: {row}");
    // What it held can be registered again, and everything else still works.
    for n in 0..SERVICES {
        s.register(registration(&format!("s{n}"), "a", spec(3)))
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    s.stop().await;
    let s = Running::open(settings(path)).expect("opens");
    assert_eq!((s.all().len(), s.store.quarantined().0), (10.max(left), rows), "{what}: nothing new is found");
    s.stop().await;
}

#[tokio::test]
async fn any_column_of_an_instance_costs_that_instance() {
    for set in [
        "base_url = 'http://a b/'",
        "health_url = 'ftp://x'",
        "name = 'Not A Label'",
        "owner = 'nobody we know'",
        "generation = -1",
        "generation = 9223372036854775807",
        "check_json = '{\"ttl\":1}'",
        "check_json = '{\"http\":{\"path\":\"/x\",\"of_a_newer_version\":true}}'",
        "check_json = '{'",
        "metadata = '{\"a\":'",
        "metadata = '[]'",
        "weight = -5",
        "weight = 99999999999",
        "health = 'hurt'",
        "reason = 'Because'",
        "version = CAST(x'ff41' AS TEXT)",
        "zone = CAST(x'c328' AS TEXT)",
        "description = CAST(x'e28028' AS TEXT)",
        "fence = -1",
    ] {
        let folder = closed().await;
        let path = folder.path().join("p.db");
        run(&path, &format!("UPDATE instance SET {set} WHERE service = (SELECT row FROM service WHERE name = 's5')"));
        costs_one_row(&path, set, "instance", 9).await;
    }
}

#[tokio::test]
async fn any_column_of_a_service_costs_that_service() {
    for set in [
        "name = 'Ünder_score'",
        "name = 's3'",
        "namespace = ''",
        "id = x'00'",
        "source = 'hearsay'",
        "revision = -4",
        "name = CAST(x'ff' AS TEXT)",
    ] {
        let folder = closed().await;
        let path = folder.path().join("p.db");
        run(&path, &format!("UPDATE service SET {set} WHERE name = 's5'"));
        costs_one_row(&path, set, "service", 9).await;
    }
}

#[tokio::test]
async fn a_value_of_another_type_goes_into_quarantine() {
    for (table, set) in [
        ("instance", "weight = 'heavy'"),
        ("instance", "since = 'yesterday'"),
        ("instance", "base_url = x'00'"),
        ("service", "registered_at = 'once'"),
        ("service", "name = x'07'"),
    ] {
        let folder = closed().await;
        let path = folder.path().join("p.db");
        let number = if table == "service" { "row" } else { "service" };
        let sql = format!("UPDATE {table} SET {set} WHERE {number} = (SELECT row FROM service WHERE name = 's5')");
        loosely(&path, table, &sql);
        costs_one_row(&path, set, table, 9).await;
    }
}

#[tokio::test]
async fn the_other_instances_of_its_service_stay() {
    let folder = closed().await;
    let path = folder.path().join("p.db");
    run(&path, "UPDATE instance SET base_url = '' WHERE name = 'b'");
    let s = Running::open(settings(&path)).expect("opens");
    let names: Vec<_> = s.service("s1").instances.iter().map(|instance| instance.name.to_string()).collect();
    assert_eq!((s.all().len(), names), (10, vec!["a".to_owned()]));
    s.register(registration("s1", "b", spec(2))).await.expect("registers again");
    s.stop().await;
}

#[tokio::test]
async fn an_instance_without_a_service_goes_into_quarantine() {
    let folder = closed().await;
    let path = folder.path().join("p.db");
    run(&path, "PRAGMA foreign_keys = 0; DELETE FROM service WHERE name IN ('s5', 's9')");
    costs_one_row(&path, "no service", "instance", 8).await;
}

#[tokio::test]
async fn readers_start_over_if_something_is_missing() {
    let folder = closed().await;
    let path = folder.path().join("p.db");
    let s = Running::open(settings(&path)).expect("opens");
    let line = s.catalog().read().epoch().clone();
    s.stop().await;
    run(&path, "UPDATE service SET name = 'No' WHERE name = 's5'");
    let s = Running::open(settings(&path)).expect("opens");
    assert_ne!(s.catalog().read().epoch(), &line, "no cursor goes on past a service that vanished");
    s.stop().await;
}

#[tokio::test]
async fn a_damaged_probe_row_costs_only_that_row() {
    for set in ["state = '{}'", "last = 'now'", "samples = x'01'", "generation = -1", "last_pass = CAST(x'ff' AS TEXT)"]
    {
        let folder = closed().await;
        let path = folder.path().join("p.db");
        run(&path, &format!("UPDATE probe SET {set}"));
        costs_one_row(&path, set, "probe", 10).await;
    }
}

#[tokio::test]
async fn a_damaged_entry_of_history_costs_only_that_entry() {
    for set in ["from_health = 'x'", "reason = 'x'", "instance = ''", "evidence = '{'", "message = CAST(x'ff' AS TEXT)"]
    {
        let folder = closed().await;
        let path = folder.path().join("p.db");
        run(&path, &format!("UPDATE transition SET {set} WHERE id = (SELECT min(id) FROM transition)"));
        let s = Running::open(settings(&path)).expect("opens");
        let before = s.history("s2").await.len();
        until("it is in quarantine", async || s.metrics.quarantined_rows.get() == 1).await;
        assert_eq!(s.history("s2").await.len(), before, "{set}: the rest is recorded");
        s.stop().await;
        let [row] = kept(&path).try_into().expect("one");
        let row: Value = row;
        assert_eq!(row["table"], "transition", "{set}");
        assert!(row["name"].as_str().expect("a name").starts_with("default/s2"), "{set}: {row}");
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_read_lets_readers_start_over() {
    let folder = closed().await;
    let path = folder.path().join("p.db");
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(s.store.removed_since(1).await.expect("tells").expect("known").len(), 1);
    s.stop().await;
    run(&path, "UPDATE change SET key = 'no key' WHERE deleted = 1");
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(s.store.removed_since(1).await.expect("tells"), None, "it is not known what was removed");
    until("it is in quarantine", async || s.metrics.quarantined_rows.get() == 1).await;
    assert_eq!(s.store.removed_since(1).await.expect("tells"), None, "nor once the row is gone");
    let newest = s.revision();
    assert!(s.store.removed_since(newest).await.expect("tells").expect("known").is_empty());
    s.register(registration("late", "a", spec(1))).await.expect("registers");
    s.remove(removal("late", None)).await.expect("removes");
    assert_eq!(s.store.removed_since(newest).await.expect("tells").expect("known").len(), 1);
    s.stop().await;
}

#[tokio::test]
async fn a_damaged_meta_row_is_derived_again() {
    for sql in [
        "UPDATE meta SET epoch = 'no epoch'",
        "UPDATE meta SET run = CAST(x'ff' AS TEXT)",
        "UPDATE meta SET revision = -1",
        "UPDATE meta SET serial = -1",
        "UPDATE meta SET serial = 0",
        "UPDATE meta SET revision = 2",
        "UPDATE meta SET floor = -1",
        "UPDATE meta SET mirror = 9",
        "DELETE FROM meta",
    ] {
        let folder = closed().await;
        let path = folder.path().join("p.db");
        // Without the lock file, which would prove that a revision is missing.
        std::fs::remove_file(folder.path().join("p.db.lock")).expect("removes");
        run(&path, sql);
        let s = Running::open(settings(&path)).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(s.all().len(), 10, "{sql}");
        for n in 0..3 {
            s.register(registration(&format!("new{n}"), "a", spec(1))).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
        s.stop().await;
        let s = Running::open(settings(&path)).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(s.all().len(), 13, "{sql}");
        s.stop().await;
    }
}

#[tokio::test]
async fn a_registry_without_a_readable_service_does_not_start_empty() {
    let folder = closed().await;
    let path = folder.path().join("p.db");
    run(&path, "UPDATE instance SET check_json = '{\"of_a_newer_version\":{}}'");
    says(&refusal(&path), &["none of its 10 services can be read", "nothing was changed", "--start-empty"]);
}

#[tokio::test]
async fn an_index_that_does_not_match_its_table_is_rebuilt() {
    let folder = closed().await;
    let path = folder.path().join("p.db");
    // One byte of an instance's name, only in the table.
    damage(&path, b"banonymous", b'x');
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!((s.all().len(), s.store.quarantined().0), (10, 0));
    s.remove(removal("s1", Some("x"))).await.expect("a row can be changed and removed");
    s.stop().await;
    is_sound(&path);
}

#[tokio::test]
async fn a_row_with_its_siblings_name_goes_into_quarantine() {
    let folder = closed().await;
    let path = folder.path().join("p.db");
    damage(&path, b"banonymous", b'a');
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!((s.all().len(), s.store.quarantined().0), (10, 1));
    assert_eq!(s.service("s1").instances.len(), 1);
    s.register(registration("s1", "b", spec(2))).await.expect("registers again");
    s.stop().await;
    is_sound(&path);
    let [row] = kept(&path).try_into().expect("one");
    let row: Value = row;
    assert_eq!((&row["table"], &row["content"]["name"]), (&"instance".into(), &"a".into()), "{row}");
}
