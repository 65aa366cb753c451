//! Files for the tests that move services: the legacy gateway's, and what is in a store.

use std::path::{Path, PathBuf};
use std::process::Output;

use rusqlite::{Connection, params};
use serde_json::Value;

use crate::common::{ended, portolan, stdout};

/// What the gateway's library makes of its `ServiceInfo`: `docs/moving-from-the-gateway.md` says how this was found out.
const GATEWAY_SCHEMA: &str = r#"
CREATE TABLE `service_infos` (`id` text,`name` text NOT NULL,`version` text,`description` text,`base_url` text NOT NULL,`health_url` text,`status` text DEFAULT "unknown",`metadata` text,`last_health_check` datetime,`registered_at` datetime,`updated_at` datetime,PRIMARY KEY (`id`));
CREATE INDEX `idx_service_infos_name` ON `service_infos`(`name`);
"#;

/// A row of the gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GatewayRow<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) base_url: &'a str,
    pub(crate) health_url: &'a str,
    pub(crate) metadata: &'a str,
    pub(crate) registered_at: &'a str,
}

impl GatewayRow<'_> {
    pub(crate) const PLAIN: GatewayRow<'static> = GatewayRow {
        id: "0d3ad6bb-8c27-4d4f-9e4e-4f4f6f1d2a10",
        name: "user-service",
        base_url: "http://127.0.0.1:8081",
        health_url: "http://127.0.0.1:8081/health",
        metadata: r#"{"environment":"production","team":"backend"}"#,
        registered_at: "2025-03-04 09:30:00.123456789+08:00",
    };
}

/// The gateway's database with these rows.
pub(crate) fn gateway(path: &Path, rows: &[GatewayRow<'_>]) {
    let mut db = Connection::open(path).expect("opens");
    db.execute_batch(GATEWAY_SCHEMA).expect("a table");
    let all = db.transaction().expect("begins");
    for row in rows {
        all.execute(
            "INSERT INTO service_infos VALUES (?1, ?2, '1.0.0', 'User management service', ?3, ?4, 'healthy', ?5,
             '0001-01-01 00:00:00+00:00', ?6, ?6)",
            params![row.id, row.name, row.base_url, row.health_url, row.metadata, row.registered_at],
        )
        .expect("a row");
    }
    all.commit().expect("commits");
}

/// `portolan ARGS` in `folder`, whose store is `portolan.db`.
pub(crate) fn run_in(folder: &Path, args: &[&str]) -> Output {
    portolan().current_dir(folder).env("DB_PATH", "portolan.db").args(args).output().expect("it runs")
}

/// The lines of `portolan export` of a store's file.
pub(crate) fn exported(folder: &Path, more: &[&str]) -> Vec<Value> {
    let output = run_in(folder, &[&["export", "--db", "portolan.db"], more].concat());
    assert_eq!(ended(&output).0, 0, "{output:?}");
    lines(&stdout(&output))
}

pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"))).collect()
}

/// Every file in the folder with its content, so that a test can say that nothing changed.
pub(crate) fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
    let mut all: Vec<_> = paths.map(|path| (path.clone(), std::fs::read(&path).expect("reads"))).collect();
    all.sort();
    all
}
