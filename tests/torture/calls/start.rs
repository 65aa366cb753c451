//! What a session begins with.

use std::path::Path;

use rusqlite::Connection;

use crate::server::Server;

/// What lies in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    /// Nothing.
    Fresh,
    /// What a server left that was killed: much is in the write-ahead log alone.
    Killed,
    /// A file of the first schema.
    Old,
}

/// Services that there are.
const SERVICES: usize = 12;

impl Begins {
    pub(crate) const ALL: [Self; 3] = [Self::Fresh, Self::Killed, Self::Old];

    /// Fills the folder; what is then registered, by name and version.
    pub(crate) fn prepare(self, db: &Path) -> Vec<(String, String)> {
        match self {
            Self::Fresh => Vec::new(),
            Self::Killed => killed(db),
            Self::Old => {
                of_the_first_schema(db);
                vec![("users".to_owned(), "1.0".to_owned())]
            }
        }
    }
}

fn killed(db: &Path) -> Vec<(String, String)> {
    let mut server = Server::start(db);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = crate::client();
    let registered = (0..SERVICES).map(|n| {
        let (name, version) = (format!("old{n}"), format!("1.0.{n}"));
        let body = serde_json::json!({"name": name, "version": version, "base_url": "http://10.0.0.1:80"});
        let sent = client.post(format!("{}/api/v1/services/register", server.url)).json(&body);
        assert_eq!(runtime.block_on(async { sent.send().await }).expect("an answer").status(), 200);
        (name, version)
    });
    let registered = registered.collect();
    server.kill_9();
    registered
}

fn of_the_first_schema(db: &Path) {
    let db = Connection::open(db).expect("opens");
    db.execute_batch(include_str!("../../../src/store/schema/migrations/0001.sql")).expect("makes");
    db.execute_batch(include_str!("../../store/first_schema.sql")).expect("fills");
}
