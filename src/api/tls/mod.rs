//! TLS of the server: its certificate and key, read again when their files change, and who a client with a certificate is.
//!
//! In: files. Out: the settings of each handshake, the identity of a verified client, and what to say about the files. A changed file that
//! cannot be used leaves the old ones in force.
//!
//! Read the files in this order: this one (what is in force, and what its status is), `files` (from files to settings), `client` (whom a client's
//! certificate names), `replicas` (certificates between the replicas of a cluster), `refresher` (the task that notices changes).

mod client;
mod files;
mod refresher;
mod replicas;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ClientConfig;

pub(in crate::api) use client::{Peer, is_subject, namespace};
pub(in crate::api) use files::Loaded;
pub use files::TlsError;
pub use refresher::TlsRefresher;

use crate::api::file_work::FileWork;
use crate::crypto::stamp::Stamp;
use crate::model::time::UnixMs;
use crate::telemetry::metrics::Metrics;

/// A certificate that ends sooner than this ends soon, unless its whole life is short.
const SOON: Duration = Duration::from_hours(7 * 24);
/// The share of its life, one part in this many, after which a short-lived certificate ends soon.
const SOON_PART: u32 = 4;

/// The files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The server's certificate with its chain, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// The CAs of clients' certificates; without it no client is asked for one.
    pub client_ca: Option<PathBuf>,
    /// The CAs of the other replicas' certificates.
    pub peer_ca: Option<PathBuf>,
}

impl TlsSettings {
    fn files(&self) -> impl Iterator<Item = &Path> {
        let optional = [self.client_ca.as_deref(), self.peer_ca.as_deref()];
        [&*self.cert, &*self.key].into_iter().chain(optional.into_iter().flatten())
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.files().map(Stamp::of).collect()
    }
}

/// The server's TLS. Clones share it.
#[derive(Debug, Clone)]
pub struct ServerTls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: TlsSettings,
    current: ArcSwap<Loaded>,
    /// The versions that were read last, usable or not.
    last_read: Mutex<Vec<Option<Stamp>>>,
    /// Why the files that were read last are not in force.
    failure: ArcSwapOption<TlsError>,
    files: FileWork,
    metrics: Metrics,
}

/// The result of reading the files again on request.
#[derive(Debug)]
pub enum TlsReload {
    /// What was read is in force.
    Read,
    /// What was in force stays.
    Unusable(Arc<TlsError>),
}

/// How long the certificate in force lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// For long enough.
    Fine,
    /// It should have been renewed by now.
    EndsSoon,
    /// Clients refuse it.
    Ended,
    /// Clients refuse it until it begins.
    NotYet,
}

/// What is in force, for people.
#[derive(Debug, Clone)]
pub struct TlsStatus {
    /// How long the certificate lasts.
    pub validity: Validity,
    /// When it ends.
    pub expires_at: UnixMs,
    /// Why the files that were read last are not in force.
    pub failure: Option<Arc<TlsError>>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] when one cannot be used.
    pub fn load(settings: TlsSettings, metrics: Metrics) -> Result<Self, TlsError> {
        let last_read = Mutex::new(settings.stamps());
        let loaded = files::load(&settings)?;
        loaded.announce(&settings, UnixMs::wall());
        let tls = Self(Arc::new(Inner {
            settings,
            current: ArcSwap::from_pointee(loaded),
            last_read,
            failure: ArcSwapOption::empty(),
            files: FileWork::new("the certificate files"),
            metrics,
        }));
        tls.gauge();
        Ok(tls)
    }

    /// What is in force.
    pub(in crate::api) fn current(&self) -> Arc<Loaded> {
        self.0.current.load_full()
    }

    /// Reads the files again now, whether or not they have changed.
    pub async fn reload(&self) -> TlsReload {
        let tls = self.clone();
        self.0.files.run(move || tls.reload_here()).await
    }

    fn reload_here(&self) -> TlsReload {
        let mut last_read = self.0.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        *last_read = self.0.settings.stamps();
        match self.read() {
            Ok(()) => TlsReload::Read,
            Err(why) => TlsReload::Unusable(why),
        }
    }

    /// Reads the files again if they have changed, or could not be used. Logs the certificate's validity if it differs from `announced`, and
    /// returns it.
    async fn refresh(&self, announced: Validity) -> Validity {
        let tls = self.clone();
        let refreshed = self.0.files.run(move || {
            tls.refresh_here();
            tls.announce_change(announced)
        });
        refreshed.await
    }

    fn announce_change(&self, announced: Validity) -> Validity {
        let now = UnixMs::wall();
        let validity = self.status(now).validity;
        if validity != announced {
            self.current().announce(&self.0.settings, now);
        }
        validity
    }

    /// A few microseconds if nothing has changed. Logs a failure once.
    fn refresh_here(&self) {
        let mut last_read = self.0.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.0.settings.stamps();
        let changed = *last_read != now;
        if !changed && self.0.failure.load().is_none() {
            return;
        }
        *last_read = now;
        match self.read() {
            Err(_) if !changed => {}
            Ok(()) => tracing::info!("read the changed certificate files: {}", self.current().summary()),
            Err(error) => {
                tracing::error!("the changed certificate files cannot be used; the old ones stay in force: {error}");
            }
        }
    }

    /// Callers hold the lock of what was read last.
    fn read(&self) -> Result<(), Arc<TlsError>> {
        let (before, now) = (self.current(), UnixMs::wall());
        let loaded = files::load(&self.0.settings).and_then(|loaded| {
            // A renewal that has already ended, or has not begun, is a mistake, unless clients refuse what is in force, too.
            match (loaded.validity(now), before.validity(now)) {
                (_, Validity::Ended | Validity::NotYet) => Ok(loaded),
                (Validity::Ended, _) => Err(loaded.expired(&self.0.settings)),
                (Validity::NotYet, _) => Err(loaded.not_yet(&self.0.settings)),
                _ => Ok(loaded),
            }
        });
        match loaded {
            Ok(loaded) => {
                loaded.announce(&self.0.settings, now);
                self.0.current.store(Arc::new(loaded.replacing(&before)));
                before.superseded.cancel();
                self.0.failure.store(None);
                self.gauge();
                Ok(())
            }
            Err(error) => {
                let error = Arc::new(error);
                self.0.failure.store(Some(Arc::clone(&error)));
                self.gauge();
                Err(error)
            }
        }
    }

    fn gauge(&self) {
        let metrics = &self.0.metrics;
        metrics.tls_certificate_expiry.set(self.current().not_after);
        metrics.tls_reload_failed.set(i64::from(self.0.failure.load().is_some()));
    }

    /// What is in force, at this time of the wall clock.
    pub fn status(&self, now: UnixMs) -> TlsStatus {
        let current = self.current();
        TlsStatus {
            validity: current.validity(now),
            expires_at: current.expires_at(),
            failure: self.0.failure.load_full(),
        }
    }

    /// How this replica connects to another: it shows its own certificate, and accepts the same one, or one of its own names from the CA file
    /// for replicas. Always what is in force at the time of the connection.
    ///
    /// # Errors
    /// [`TlsError::Tls`].
    pub fn to_replicas(&self) -> Result<ClientConfig, TlsError> {
        replicas::client_config(self.clone()).map_err(|error| TlsError::Tls(error.to_string()))
    }
}
