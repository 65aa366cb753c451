//! Whether a token is still valid, for answers that outlast their request: a watch ends with the token that opened it.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::secrets::{KeyId, Secrets};
use crate::api::http::envelope::Code;
use crate::model::time::{Clock, UnixMs};

/// Keys that verify tokens, and change.
pub(super) trait Keyring: fmt::Debug + Send + Sync {
    /// Whether that key is in force.
    fn holds(&self, id: KeyId) -> bool;

    /// Receives the generation of each change from now on.
    fn changes(&self) -> watch::Receiver<u64>;
}

impl Keyring for Secrets {
    fn holds(&self, id: KeyId) -> bool {
        self.holds(id)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes()
    }
}

/// What a verified token's validity still depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credential {
    /// When it expires, leeway included; wall clock.
    pub(super) ends: UnixMs,
    /// The key that verified it.
    pub(super) key: KeyId,
}

/// Why a token is no longer valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenEnd {
    /// It has expired.
    #[error("the token expired; ask again with a new one")]
    Expired,
    /// Its key is no longer in force.
    #[error("the key that signed the token is no longer in force; ask again with a token signed by a current one")]
    Revoked,
}

impl TokenEnd {
    /// The code that would refuse a request with the token.
    pub fn code(self) -> Code {
        match self {
            Self::Expired => Code::TokenExpired,
            Self::Revoked => Code::TokenInvalid,
        }
    }
}

/// Follows a token's validity while an answer is sent.
#[derive(Debug)]
pub struct TokenValidity {
    credential: Credential,
    keyring: Arc<dyn Keyring>,
    changes: watch::Receiver<u64>,
    revoked: bool,
    clock: Clock,
}

impl TokenValidity {
    pub(super) fn new(credential: Credential, keyring: Arc<dyn Keyring>, clock: Clock) -> Self {
        let changes = keyring.changes();
        // The keys may have changed since the request.
        let revoked = !keyring.holds(credential.key);
        Self { credential, keyring, changes, revoked, clock }
    }

    /// Why it is no longer valid, if so. Reads the clock.
    pub fn ended(&mut self) -> Option<TokenEnd> {
        if self.changes.has_changed().unwrap_or(false) {
            self.changes.mark_unchanged();
            self.revoked = !self.keyring.holds(self.credential.key);
        }
        if self.revoked {
            return Some(TokenEnd::Revoked);
        }
        (self.clock.now().wall >= self.credential.ends).then_some(TokenEnd::Expired)
    }

    /// Time until it expires.
    pub fn remaining(&self) -> Duration {
        self.credential.ends.since(self.clock.now().wall)
    }

    /// Resolves when the keys have changed and [`Self::ended`] may answer differently.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The sender is gone: the server is stopping.
            std::future::pending::<()>().await;
        }
        self.changes.mark_changed();
    }
}

/// Checks the secrets' file when no request does, so that open watches notice a removed secret.
#[derive(Debug)]
pub struct SecretsRefresher {
    pub(super) secrets: Arc<Secrets>,
    pub(super) clock: Clock,
}

/// Time between checks; the file is read at most once a second.
const CHECK_EVERY: Duration = Duration::from_millis(500);

impl SecretsRefresher {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// Never fails.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let mut ticks = tokio::time::interval(CHECK_EVERY);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => drop(self.secrets.current(self.clock.now().steady)),
            }
        }
    }
}
