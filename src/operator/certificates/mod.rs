//! Reads the certificates that checks name in ConfigMaps and Secrets of their own namespaces.
//!
//! In: what probes ask for. Out: the text, or why there is none. Only objects that a check names are read, each by its name and with the verb
//! `get`, which the namespace's owner grants for that name; and only on the replica that probes. What no probe asks for any more is forgotten.
//!
//! 1. This file: the handle that probes ask. [`table`]: what is known, and what is read next. [`mod@read`]: one reading. [`task`]: the task.
//!
//! An object is read again each minute, and earlier after a handshake that it did not serve. A watch would be faster, but needs two more verbs
//! and a connection for each object.

mod read;
mod table;
mod task;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::future::BoxFuture;
use tokio::sync::{Notify, watch};

use self::table::{Answer, Table};
pub use self::task::CertificateReader;
use crate::model::certificates::{CertificateError, CertificateObject, ObjectPart, Pem};
use crate::model::ports::{CertificateObjects, Leadership};
use crate::telemetry::metrics::Metrics;

/// What probes ask for certificates. Clones share it.
#[derive(Clone)]
pub struct Certificates(Arc<Shared>);

struct Shared {
    table: Mutex<Table>,
    /// Something was read.
    news: watch::Sender<()>,
    /// Something is to be read.
    wanted: Notify,
    metrics: Metrics,
}

/// Shows nothing of what it holds.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

impl Certificates {
    /// The handle, and the task that reads while this replica probes.
    pub fn new(client: kube::Client, leadership: Arc<dyn Leadership>, metrics: Metrics) -> (Self, CertificateReader) {
        let shared = Shared { table: Mutex::default(), news: watch::Sender::new(()), wanted: Notify::new(), metrics };
        let certificates = Self(Arc::new(shared));
        (certificates.clone(), CertificateReader::new(certificates, client, leadership))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CertificateObjects for Certificates {
    fn get(
        &self,
        object: CertificateObject,
        part: ObjectPart,
    ) -> BoxFuture<'static, Result<Arc<Pem>, CertificateError>> {
        let certificates = self.clone();
        Box::pin(async move {
            let mut news = certificates.0.news.subscribe();
            loop {
                let answer = certificates.table().ask(&object, &part, Instant::now());
                match answer {
                    Answer::Known(known) => return known,
                    Answer::Full(bound) => {
                        certificates.0.metrics.reject("certificate_objects_full");
                        return Err(CertificateError::TooMany(bound));
                    }
                    Answer::Wanted => certificates.0.wanted.notify_one(),
                }
                if news.changed().await.is_err() {
                    return Err(CertificateError::Pending);
                }
            }
        })
    }

    fn doubt(&self, object: &CertificateObject) {
        self.table().doubt(object, Instant::now());
        self.0.wanted.notify_one();
    }
}
