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
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::kept_keys::KeptKeys;
use crate::api::access::secrets::KeyId;
use crate::api::access::token_validity::Keyring;
use crate::api::file_work::FileWork;
use crate::model::ports::{Authority, AuthorityError, IssuerKey, KeyForm, TokenIssuer};
use crate::model::time::Clock;

/// Time between two readings.
const READ_EVERY: Duration = Duration::from_mins(5);
/// The least time between two readings, whatever tokens come: anybody can send one with an unknown key.
const AT_LEAST: Duration = Duration::from_secs(10);
/// The same while no key is known, so that no token can be verified.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait for the file of the kept keys.
const FILE_TIMEOUT: Duration = Duration::from_secs(1);

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
    kept: Option<Arc<KeptKeys>>,
    kept_files: FileWork,
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
        let (kept, kept_files) = (file.map(KeptKeys::new).map(Arc::new), FileWork::new("the file with the kept keys"));
        Self { authority, issuer, changes, unknown_key: Notify::new(), kept, kept_files, clock }
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
        let now = self.clock.now().wall;
        if self.with_kept(move |kept| kept.keep(&issuer, now)).await.is_none() && self.kept.is_some() {
            tracing::warn!("the keys of the cluster's tokens are not kept for a restart: their file does not answer");
        }
        Ok(())
    }

    async fn read_or_recall(&self) -> Result<(), AuthorityError> {
        let read = self.read().await;
        if read.is_err() {
            self.recall().await;
        }
        read
    }

    /// Puts the keys that an earlier run read into force, unless this one has read some.
    async fn recall(&self) {
        if self.current().generation > 0 {
            return;
        }
        let now = self.clock.now().wall;
        if let Some((issuer, age)) = self.with_kept(move |kept| kept.read(now)).await.flatten()
            && self.put(&issuer)
        {
            let minutes = age.as_secs() / 60;
            tracing::warn!("the Kubernetes API does not answer: using the keys that it gave {minutes} minutes ago");
        }
    }

    /// Works on the file of the kept keys, which may block; none without a file. If the file does not answer in time, the work continues without
    /// anyone waiting for it, and later calls give up until it has ended: only a restart needs the file.
    async fn with_kept<T: Send + 'static>(&self, work: impl FnOnce(&KeptKeys) -> T + Send + 'static) -> Option<T> {
        let kept = Arc::clone(self.kept.as_ref()?);
        timeout(FILE_TIMEOUT, self.kept_files.run(move || work(&kept))).await.ok()
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
                read = keys.read_or_recall() => read,
            };
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use secrecy::SecretString;

    use super::*;
    use crate::api::file_work::tests::on_one_thread;
    use crate::model::name::Namespace;
    use crate::model::ports::{AccessVerb, ReviewedToken, ServiceAccount};

    /// A cluster with one key.
    struct OneKey;

    impl Authority for OneKey {
        fn issuer(&self) -> BoxFuture<'static, Result<TokenIssuer, AuthorityError>> {
            let form = KeyForm::Rsa { modulus: "AQ".to_owned(), exponent: "AQAB".to_owned() };
            let keys = vec![IssuerKey { id: "a".to_owned(), form }];
            std::future::ready(Ok(TokenIssuer { name: "https://cluster".to_owned(), keys })).boxed()
        }

        fn review(
            &self,
            _: SecretString,
            _: Arc<[String]>,
        ) -> BoxFuture<'static, Result<Option<ReviewedToken>, AuthorityError>> {
            unreachable!("only keys are read")
        }

        fn allows(
            &self,
            _: Arc<ServiceAccount>,
            _: AccessVerb,
            _: Option<Namespace>,
        ) -> BoxFuture<'static, Result<bool, AuthorityError>> {
            unreachable!("only keys are read")
        }
    }

    #[test]
    fn keys_are_read_while_the_file_that_keeps_them_does_not_answer() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        let keys = Arc::new(AccountKeys::new(Arc::new(OneKey), Some(path.clone()), Clock::system()));
        let hanging = keys.kept.as_ref().expect("a file").hang();
        let read = Arc::clone(&keys);
        on_one_thread(async move {
            for _ in 0..2 {
                read.read().await.expect("read");
            }
        });
        assert_eq!(keys.current().generation, 1);
        assert!(!path.exists());
        drop(hanging);
        let read = Arc::clone(&keys);
        on_one_thread(async move { read.read().await.expect("read") });
        assert!(path.exists(), "kept once it answers");
    }
}
