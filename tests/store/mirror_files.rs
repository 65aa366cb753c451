//! The file of a mirror: when it is reused, when it is created again, and that no record is touched.

use std::fs;
use std::path::Path;

use portolan::catalog::Epoch;
use portolan::model::mirror::VerdictsFrom;
use portolan::store::{OpenError, StoreSettings};
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use crate::common::{Running, at, damage, files, folder, fresh, leads, registration, settings, spec};
use crate::health::healthy;
use crate::mirror::{instance, mirror_settings, object, put};

/// A complete mirror, closed.
async fn closed() -> TempDir {
    let (folder, path) = folder();
    let s = Running::open(mirror_settings(&path)).expect("opens");
    let users = object("users", 1, 10, vec![instance("a", spec(1), None)]);
    s.store.mirror_all(vec![users], 20, VerdictsFrom::Here).await.expect("mirrors");
    let change = healthy(&s.instance("users", "a"), 5);
    s.store.commit_health(vec![change], leads()).await.expect("commits");
    s.stop().await;
    folder
}

/// The old file is set aside as `what`.
async fn is_created_again(folder: &TempDir, settings: StoreSettings, what: &str) {
    let s = Running::open_at(settings, at(99)).expect("opens");
    assert_eq!((s.all().len(), s.revision(), s.store.is_complete()), (0, 0, false));
    assert_eq!(s.store.history_since(), Some(at(99).wall));
    s.stop().await;
    assert!(
        files(folder).iter().any(|name| name.contains(&format!(".{what}-"))),
        "nothing is deleted, and each is called what it is"
    );
}

#[tokio::test]
async fn a_mirror_continues_where_it_was() {
    let folder = closed().await;
    let s = Running::open_at(mirror_settings(&folder.path().join("p.db")), at(99)).expect("opens");
    assert_eq!((s.all().len(), s.revision(), s.store.is_complete()), (1, 20, true));
    assert_eq!(s.store.history_since(), Some(at(0).wall));
    let unreported = s.service("users").unreported;
    assert!(unreported.is_some(), "no status carries what was found here");
    assert_eq!(s.history("users").await.len(), 1);
    assert_eq!(s.catalog().read().find("default", "users").expect("there").last_check().get(), None);
    assert!(s.probes.is_empty(), "the next leader starts afresh");
    s.store
        .mirror(put(object("users", 1, 10, vec![instance("a", spec(1), None)])), VerdictsFrom::Status)
        .await
        .expect("mirrors");
    assert_eq!(s.service("users").unreported, None);
    s.stop().await;
}

#[tokio::test]
async fn another_clusters_mirror_is_created_again() {
    let folder = closed().await;
    let other = StoreSettings { epoch: Some(Epoch::random()), ..mirror_settings(&folder.path().join("p.db")) };
    is_created_again(&folder, other, "other-cluster").await;
}

#[tokio::test]
async fn a_mirror_whose_indexes_cannot_be_rebuilt_is_created_again() {
    let (folder, path) = folder();
    let s = Running::open(mirror_settings(&path)).expect("opens");
    let both = ["a", "b"].map(|name| instance(name, spec(1), None)).to_vec();
    s.store.mirror_all(vec![object("users", 1, 10, both)], 20, VerdictsFrom::Here).await.expect("mirrors");
    s.stop().await;
    damage(&path, b"banonymous", b'a');
    is_created_again(&folder, mirror_settings(&path), "corrupt").await;
}

#[tokio::test]
async fn a_newer_versions_mirror_is_created_again() {
    let folder = closed().await;
    let path = folder.path().join("p.db");
    Connection::open(&path).expect("opens").pragma_update(None, "user_version", 9).expect("writes");
    is_created_again(&folder, mirror_settings(&path), "newer").await;
}

#[tokio::test]
async fn a_damaged_mirror_is_created_again() {
    let folder = closed().await;
    let path = folder.path().join("p.db");
    let bytes = fs::read(&path).expect("reads");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("writes");
    is_created_again(&folder, mirror_settings(&path), "corrupt").await;
}

fn refused(settings: StoreSettings) -> OpenError {
    let before = fs::read(&settings.path).expect("reads");
    let (path, error) = (settings.path.clone(), Running::open(settings).err().expect("refused"));
    assert!(fs::read(path).expect("reads") == before, "nothing was changed");
    error
}

#[tokio::test]
async fn a_record_is_no_mirror_and_a_mirror_is_no_record() {
    let (folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.stop().await;
    let error = refused(mirror_settings(&folder.path().join("p.db")));
    assert!(
        matches!(&error, OpenError::Record(_)) && error.to_string().contains("PORTOLAN_MODE=standalone"),
        "{error}"
    );
    let folder = closed().await;
    let error = refused(settings(&folder.path().join("p.db")));
    assert!(matches!(&error, OpenError::Mirror(_)) && error.to_string().contains("PORTOLAN_MODE=cluster"), "{error}");
}

/// A file as servers of the first schema left it.
pub(crate) fn of_the_first_schema(path: &Path) {
    let db = Connection::open(path).expect("opens");
    db.execute_batch(include_str!("../../src/store/schema/migrations/0001.sql")).expect("makes");
    db.execute_batch(include_str!("first_schema.sql")).expect("fills");
}

fn schema(path: &Path) -> Vec<(String, String)> {
    let db = Connection::open(path).expect("opens");
    let mut tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").expect("reads");
    let tables = tables.query_map([], |row| row.get::<_, String>(0)).expect("reads");
    let mut all = Vec::new();
    for table in tables.map(|table| table.expect("a name")) {
        let sql = "SELECT name || ' ' || type || ' ' || \"notnull\" || ' ' || coalesce(dflt_value, '') FROM pragma_table_info(?1)";
        let mut columns = db.prepare(sql).expect("reads");
        let columns = columns.query_map([&table], |row| row.get::<_, String>(0)).expect("reads");
        all.extend(columns.map(|column| (table.clone(), column.expect("a column"))));
    }
    all
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_migrated() {
    let (_folder, path) = folder();
    of_the_first_schema(&path);
    let s = Running::open(settings(&path)).expect("opens");
    let service = s.service("users");
    assert_eq!((service.revision, service.sequence, service.unreported), (7, 7, None));
    assert_eq!(
        (service.id, service.instances[0].shown_generation()),
        (Uuid::from_u128(0x0198_c0ff_ee00_7000_8000_0000_0000_abcd), 3)
    );
    s.register(registration("users", "b", spec(2))).await.expect("registers");
    s.stop().await;
    let s = Running::open(settings(&path)).expect("opens again");
    assert_eq!((s.service("users").instances.len(), s.revision()), (2, 8));
    s.stop().await;
    let (_other, new) = folder_with_store().await;
    assert_eq!(schema(&path), schema(&new));
}

async fn folder_with_store() -> (TempDir, std::path::PathBuf) {
    let (folder, s) = fresh();
    s.stop().await;
    let path = folder.path().join("p.db");
    (folder, path)
}

#[tokio::test]
async fn a_record_of_the_first_schema_is_no_mirror_either() {
    let (_folder, path) = folder();
    of_the_first_schema(&path);
    assert!(matches!(refused(mirror_settings(&path)), OpenError::Record(_)));
}
