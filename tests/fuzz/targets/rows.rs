//! A database with one damaged row: the store opens or says why not, and never panics.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use portolan::model::health::CheckState;
use portolan::model::name::{CheckName, ServiceKey};
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::{
    AcknowledgementChange, AcknowledgementOrder, AlwaysLeads, Caller, DrainChange, DrainOrder, InstanceRef,
    Registrar as _, Registration, ServiceRef,
};
use portolan::model::probe::HealthChange;
use portolan::model::service::{InstanceSpec, Owner, Warning};
use portolan::model::time::Clock;
use portolan::model::url::EndpointUrl;
use portolan::store::{Store, StoreSettings};
use portolan::telemetry::metrics::Metrics;
use rusqlite::types::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::runtime;

/// Services in the file.
const SERVICES: usize = 4;

fn settings(path: PathBuf) -> StoreSettings {
    StoreSettings {
        path,
        max_services: 0,
        max_instances: 1000,
        history_days: 30,
        history_rows: 1000,
        default_interval: Duration::from_secs(30),
        epoch: None,
        durable: false,
    }
}

fn registration(number: usize) -> Registration {
    let url = format!("http://127.0.0.1:{}/health", 9000 + number);
    Registration {
        namespace: "default".parse().expect("a label"),
        service: format!("s{number}").parse().expect("a label"),
        instance: "default".parse().expect("a label"),
        derived: false,
        spec: InstanceSpec {
            health_url: Some(EndpointUrl::health(&url).expect("a URL")),
            check: serde_json::from_value(serde_json::json!({"interval_seconds": 7})).expect("a check"),
            version: "1.2.3".to_owned(),
            description: "one of a few".to_owned(),
            metadata: [("team".to_owned(), "a".to_owned())].into(),
            zone: "z".to_owned(),
            tags: vec!["a=b".to_owned()],
            external_id: Some("e:1".to_owned()),
            deregister_after_seconds: Some(600),
            checks: vec![serde_json::from_str(r#"{"name":"disk","tcp":{}}"#).expect("a check")],
            ..InstanceSpec::at(EndpointUrl::base(&url).expect("a URL"))
        },
    }
}

/// A whole file, to copy.
fn whole() -> &'static Path {
    static WHOLE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = WHOLE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("services.db");
        let opened = Store::open(settings(path.clone()), Clock::system(), Metrics::default()).expect("a new file");
        runtime().block_on(async {
            let stop = CancellationToken::new();
            let writer = tokio::spawn(opened.writer.run(stop.clone()));
            for number in 0..SERVICES {
                let caller = Caller { owner: Owner::Anonymous, admin: false };
                opened.store.register(registration(number), caller).await.expect("registers");
            }
            for number in 0..SERVICES {
                fill(&opened.store, number).await;
            }
            stop.cancel();
            writer.await.expect("no panic").expect("ends well");
        });
        (folder, path)
    });
    path
}

/// Gives the service a row in every table and a value in every column.
async fn fill(store: &Store, number: usize) {
    let Registration { namespace, service, instance: name, .. } = registration(number);
    let key = ServiceKey::new(&namespace, &service);
    let found = store.catalog().read().get(key.as_str()).expect("there").service().instances[0].clone();
    let order = DrainOrder { reason: "why".to_owned(), by: "who".to_owned(), until: None };
    let service = key.clone();
    let of = InstanceRef { service: ServiceRef::Key(key), instance: name };
    let caller = Caller { owner: Owner::Anonymous, admin: false };
    store.drain(of, DrainChange::Start(order), caller).await.expect("drains");
    let check: CheckName = "disk".parse().expect("a name");
    let now = Clock::system().now();
    let warning = Warning { check: check.clone(), reason: Reason::Timeout, message: "late".to_owned() };
    let change = HealthChange {
        instance: found.id,
        generation: found.generation,
        health: Health::Healthy,
        reason: Reason::Passed,
        since: now.wall,
        message: None,
        check,
        warning: Some(warning),
        also_failing: Box::default(),
        observed_version: Some("1.2.4".to_owned()),
        transition: None,
        state: CheckState::new(now),
    };
    assert_eq!(store.commit_health(vec![change], Arc::new(AlwaysLeads)).await, Ok(vec![true]));
    let order = AcknowledgementOrder { note: "known".to_owned(), by: "who".to_owned(), until: None };
    let caller = Caller { owner: Owner::Anonymous, admin: false };
    let (of, change) = (ServiceRef::Key(service), AcknowledgementChange::Start(order));
    store.acknowledge(of, None, change, caller).await.expect("the warning is known");
}

/// In memory where the machine has such a folder: nothing here cuts the power, and a disk would take most of the time.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder")
}

/// A value of the kind that the byte chooses, made from the data.
fn value(kind: u8, data: &[u8]) -> Value {
    match kind % 6 {
        0 => Value::Null,
        1 => Value::Integer(data.iter().take(8).fold(0, |all, byte| all << 8 | i64::from(*byte))),
        2 => Value::Real(f64::from_bits(data.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte)))),
        3 => Value::Blob(data.to_vec()),
        _ => Value::Text(String::from_utf8_lossy(data).into_owned()),
    }
}

fn columns(db: &rusqlite::Connection) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for table in ["service", "instance", "probe", "transition", "change"] {
        let mut statement = db.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).expect("a table");
        let names = statement.query_map([], |row| row.get::<_, String>(0)).expect("columns");
        found.extend(names.map(|name| (table.to_owned(), name.expect("a name"))));
    }
    found
}

/// The first byte chooses the column, the second the kind of value; the rest is the value. It goes into one row of the table.
pub(crate) fn row(data: &[u8]) {
    let [column, kind, rest @ ..] = data else { return };
    let folder = folder();
    let path = folder.path().join("services.db");
    std::fs::copy(whole(), &path).expect("copied");
    let db = rusqlite::Connection::open(&path).expect("opens");
    let columns = columns(&db);
    let (table, name) = &columns[usize::from(*column) % columns.len()];
    db.pragma_update(None, "ignore_check_constraints", true).expect("set");
    let change = format!("UPDATE OR IGNORE {table} SET {name} = ?1 WHERE rowid = (SELECT min(rowid) FROM {table})");
    // A constraint may keep the value out: then the file is whole.
    let changed = db.execute(&change, [value(*kind, rest)]).unwrap_or_default();
    drop(db);
    let what = || format!("{table}.{name} = {:?}", value(*kind, rest));
    match Store::open(settings(path), Clock::system(), Metrics::default()) {
        Ok(opened) => {
            let left = opened.catalog.snapshot().total().total();
            assert!(left + changed >= SERVICES, "{left} services are left of {SERVICES}: {}", what());
        }
        Err(error) => panic!("one row keeps the store from opening: {error}: {}", what()),
    }
}
