//! The public keys of the cluster's tokens: kept while the Kubernetes API is away, and read again at a bounded rate. The API server publishes
//! the keys of all its `--service-account-key-file`s, so during a rotation one reading has the old and the new ones.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::kept_keys::KeptKeys;
use crate::api::access::secrets::KeyId;
use crate::api::access::token_validity::Keyring;
use crate::model::ports::{Authority, AuthorityError, IssuerKey, KeyForm, TokenIssuer};
use crate::model::time::Clock;

/// Time between two readings.
const READ_EVERY: Duration = Duration::from_mins(5);
/// The least time between two readings, whatever tokens come: anybody can send one with an unknown key.
const AT_LEAST: Duration = Duration::from_secs(10);
/// The same while no key is known, so that no token can be verified.
const FIRST: Duration = Duration::from_secs(1);

/// A key that verifies.
pub(super) struct AccountKey {
    pub(super) kid: String,
    pub(super) id: KeyId,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

impl AccountKey {
    /// None if its numbers are not base64url.
    fn of(key: &IssuerKey) -> Option<Self> {
        let (algorithm, decoding) = match &key.form {
            KeyForm::Rsa { modulus, exponent } => {
                (Algorithm::RS256, DecodingKey::from_rsa_components(modulus, exponent))
            }
            KeyForm::P256 { x, y } => (Algorithm::ES256, DecodingKey::from_ec_components(x, y)),
        };
        let id = KeyId::of(key);
        Some(Self { kid: key.id.clone(), id, algorithm, decoding: decoding.ok()? })
    }
}

/// The keys of one reading.
#[derive(Default)]
pub(super) struct Issuer {
    /// Differs between two readings with different keys; 0 before the first.
    pub(super) generation: u64,
    /// The `iss` of its tokens.
    pub(super) name: String,
    pub(super) keys: Vec<AccountKey>,
}

/// The keys that are in force.
pub(in crate::api::access) struct AccountKeys {
    authority: Arc<dyn Authority>,
    issuer: ArcSwap<Issuer>,
    /// The generation of `issuer`, for those that wait for the next one.
    changes: watch::Sender<u64>,
    unknown_key: Notify,
    kept: Option<KeptKeys>,
    clock: Clock,
}

impl fmt::Debug for AccountKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountKeys").field("generation", &self.current().generation).finish_non_exhaustive()
    }
}

impl Keyring for AccountKeys {
    fn holds(&self, id: KeyId) -> bool {
        self.current().keys.iter().any(|key| key.id == id)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl AccountKeys {
    /// With `file`, keys outlast a restart.
    pub(super) fn new(authority: Arc<dyn Authority>, file: Option<PathBuf>, clock: Clock) -> Self {
        let (issuer, changes) = (ArcSwap::default(), watch::Sender::new(0));
        let kept = file.map(KeptKeys::new);
        Self { authority, issuer, changes, unknown_key: Notify::new(), kept, clock }
    }

    pub(super) fn current(&self) -> arc_swap::Guard<Arc<Issuer>> {
        self.issuer.load()
    }

    /// A token names a key that is not known. Reads the keys again soon, and not before [`AT_LEAST`] has passed since the last time.
    pub(super) fn look_for_new(&self) {
        self.unknown_key.notify_one();
    }

    /// Reads the keys. Those that were read before stay in force if that fails.
    async fn read(&self) -> Result<(), AuthorityError> {
        let issuer = self.authority.issuer().await?;
        if !self.put(&issuer) {
            let why = "it publishes no key for RS256 or ES256".to_owned();
            return Err(AuthorityError::Refused(why));
        }
        if let Some(kept) = &self.kept {
            kept.keep(&issuer, self.clock.now().wall);
        }
        Ok(())
    }

    /// Puts the keys that an earlier run read into force, unless this one has read some.
    fn recall(&self) {
        let Some(kept) = self.kept.as_ref().filter(|_| self.current().generation == 0) else { return };
        if let Some((issuer, age)) = kept.read(self.clock.now().wall)
            && self.put(&issuer)
        {
            let minutes = age.as_secs() / 60;
            tracing::warn!("the Kubernetes API does not answer: using the keys that it gave {minutes} minutes ago");
        }
    }

    /// Puts keys into force; false if none of them can be used.
    fn put(&self, issuer: &TokenIssuer) -> bool {
        let TokenIssuer { name, keys } = issuer;
        let keys: Vec<_> = keys.iter().filter_map(AccountKey::of).collect();
        if keys.is_empty() {
            return false;
        }
        let before = self.current();
        if before.name != *name || !before.keys.iter().map(|key| key.id).eq(keys.iter().map(|key| key.id)) {
            let generation = before.generation + 1;
            tracing::info!(issuer = name, keys = keys.len(), "read the keys of the cluster's tokens");
            self.issuer.store(Arc::new(Issuer { generation, name: name.clone(), keys }));
            self.changes.send_replace(generation);
        }
        true
    }
}

/// Keeps the keys current.
#[derive(Debug)]
pub struct KeysRefresher(pub(in crate::api::access) Arc<AccountKeys>);

impl KeysRefresher {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// Never fails; failures are logged once until the keys are read again.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let keys = &*self.0;
        let mut failing = false;
        loop {
            let read = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                read = keys.read() => read,
            };
            if read.is_err() {
                keys.recall();
            }
            if let Err(error) = &read
                && !failing
            {
                let kept =
                    if keys.current().generation > 0 { "the known ones stay in force" } else { "none is known yet" };
                tracing::warn!(%error, "cannot read the keys of the cluster's tokens; {kept}");
            }
            failing = read.is_err();
            let at_least = if keys.current().generation == 0 { FIRST } else { AT_LEAST };
            let regular = sleep(if failing { at_least } else { READ_EVERY });
            let asked = async {
                sleep(at_least).await;
                keys.unknown_key.notified().await;
            };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = regular => {}
                () = asked => {}
            }
        }
    }
}
