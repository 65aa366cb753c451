//! Whether a token still counts, for answers that outlast their request: a watch ends with what opened it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::secrets::{KeyId, Secrets};
use crate::api::envelope::Code;
use crate::model::time::{Clock, UnixMs};

/// What a token's validity depends on after it was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credential {
    /// From then on it is expired, the leeway included; wall clock.
    pub(super) ends: UnixMs,
    /// The secret that verified it.
    pub(super) key: KeyId,
}

/// Why a token counts no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// Its time is over.
    #[error("the token expired; ask again with a new one")]
    Expired,
    /// Its secret is not among those in force.
    #[error("the secret that signed the token is no longer in force; ask again with a token of a current one")]
    Revoked,
}

impl Ended {
    /// What a request with the token would be refused with.
    pub fn code(self) -> Code {
        match self {
            Self::Expired => Code::TokenExpired,
            Self::Revoked => Code::TokenInvalid,
        }
    }
}

/// A token that is looked after for as long as an answer goes on.
#[derive(Debug)]
pub struct Standing {
    credential: Credential,
    secrets: Arc<Secrets>,
    changes: watch::Receiver<u64>,
    revoked: bool,
    clock: Clock,
}

impl Standing {
    pub(super) fn new(credential: Credential, secrets: Arc<Secrets>, clock: Clock) -> Self {
        let changes = secrets.changes();
        // Between the request and now they may have changed.
        let revoked = !secrets.holds(credential.key);
        Self { credential, secrets, changes, revoked, clock }
    }

    /// Why it counts no more, if so. Costs a look at the clock.
    pub fn ended(&mut self) -> Option<Ended> {
        if self.changes.has_changed().unwrap_or(false) {
            self.changes.mark_unchanged();
            self.revoked = !self.secrets.holds(self.credential.key);
        }
        if self.revoked {
            return Some(Ended::Revoked);
        }
        (self.clock.now().wall >= self.credential.ends).then_some(Ended::Expired)
    }

    /// Time until it expires.
    pub fn remaining(&self) -> Duration {
        self.credential.ends.since(self.clock.now().wall)
    }

    /// Resolves when the secrets have changed, and [`Self::ended`] is worth asking.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // Nobody changes them any more: the server is ending.
            std::future::pending::<()>().await;
        }
        self.changes.mark_changed();
    }
}

/// Looks at the secrets' file when no request does: what is open must notice that its secret was taken out.
#[derive(Debug)]
pub struct SecretsKeeper {
    pub(super) secrets: Arc<Secrets>,
    pub(super) clock: Clock,
}

/// Time between two looks; the file is read at most once a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl SecretsKeeper {
    /// Looks until `shutdown`.
    ///
    /// # Errors
    /// Never.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => drop(self.secrets.current(self.clock.now().steady)),
            }
        }
    }
}
