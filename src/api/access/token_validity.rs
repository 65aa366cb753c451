//! Whether a token is still valid, and its holder still allowed to read, for answers that outlast their request: a watch ends with the token
//! that opened it, or with the right that it needed.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::secrets::{KeyId, Secrets};
use crate::api::file_work::FileWork;
use crate::api::http::envelope::Code;
use crate::model::time::{Clock, UnixMs};

/// Time between two looks at a right.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Keys that verify tokens, and change.
pub(super) trait Keyring: fmt::Debug + Send + Sync {
    /// Whether that key is in force.
    fn holds(&self, id: KeyId) -> bool;

    /// Receives the generation of each change from now on.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// What the cluster allowed a caller, and may withdraw.
pub(super) trait Right: fmt::Debug + Send + Sync {
    /// Whether it stands, as far as is known: a withdrawal is known a minute later. Never waits.
    fn stands(&self) -> bool;
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
    /// RBAC no longer allows its holder to read what it asked for.
    #[error("RBAC no longer allows the token's holder to read these services")]
    Withdrawn,
}

impl TokenEnd {
    /// The code that would refuse a request with the token.
    pub fn code(self) -> Code {
        match self {
            Self::Expired => Code::TokenExpired,
            Self::Revoked => Code::TokenInvalid,
            Self::Withdrawn => Code::NamespaceForbidden,
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
    right: Option<FollowedRight>,
    clock: Clock,
}

/// A right, and when to look at it next.
#[derive(Debug)]
struct FollowedRight {
    right: Arc<dyn Right>,
    /// Steady clock.
    next: UnixMs,
    withdrawn: bool,
}

impl FollowedRight {
    fn is_withdrawn(&mut self, now: UnixMs) -> bool {
        if now >= self.next {
            self.next = now.plus(LOOK_EVERY);
            self.withdrawn = !self.right.stands();
        }
        self.withdrawn
    }
}

impl TokenValidity {
    pub(super) fn new(
        credential: Credential,
        keyring: Arc<dyn Keyring>,
        right: Option<Arc<dyn Right>>,
        clock: Clock,
    ) -> Self {
        let changes = keyring.changes();
        // The keys may have changed since the request.
        let revoked = !keyring.holds(credential.key);
        let next = clock.now().steady.plus(LOOK_EVERY);
        let right = right.map(|right| FollowedRight { right, next, withdrawn: false });
        Self { credential, keyring, changes, revoked, right, clock }
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
        let now = self.clock.now();
        if now.wall >= self.credential.ends {
            return Some(TokenEnd::Expired);
        }
        let right = self.right.as_mut()?;
        right.is_withdrawn(now.steady).then_some(TokenEnd::Withdrawn)
    }

    /// Time after which [`Self::ended`] may answer differently although the keys have not changed.
    pub fn remaining(&self) -> Duration {
        let now = self.clock.now();
        let expires = self.credential.ends.since(now.wall);
        self.right.as_ref().map_or(expires, |right| expires.min(right.next.since(now.steady)))
    }

    /// Resolves when the keys have changed and [`Self::ended`] may answer differently.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The sender is gone: the server is stopping.
            std::future::pending::<()>().await;
        }
        self.changes.mark_changed();
    }

    /// Resolves once it has ended; never where none is needed. It looks again after `every` at the latest, because a timer counts neither
    /// jumps of the wall clock nor the time that the machine is suspended.
    pub async fn end(validity: Option<&mut Self>, every: Duration) -> TokenEnd {
        let Some(validity) = validity else { return std::future::pending().await };
        loop {
            if let Some(end) = validity.ended() {
                return end;
            }
            let next = sleep(validity.remaining().min(every));
            tokio::select! {
                () = next => {}
                () = validity.changed() => {}
            }
        }
    }
}

/// Checks the secrets' file, so that requests and open watches notice added and removed secrets.
#[derive(Debug)]
pub struct SecretsRefresher {
    pub(super) secrets: Arc<Secrets>,
    pub(super) files: FileWork,
    pub(super) clock: Clock,
}

/// Time between checks.
const CHECK_EVERY: Duration = Duration::from_millis(500);

impl SecretsRefresher {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// Never fails.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.check() => {}
            }
        }
    }

    async fn check(&self) {
        let (secrets, clock) = (Arc::clone(&self.secrets), self.clock.clone());
        self.files.run(move || secrets.refresh(clock.now().steady)).await;
        sleep(CHECK_EVERY).await;
    }
}

#[cfg(test)]
mod fixture {
    use super::*;

    #[derive(Debug)]
    struct AnyKey;

    impl Keyring for AnyKey {
        fn holds(&self, _: KeyId) -> bool {
            true
        }

        fn changes(&self) -> watch::Receiver<u64> {
            watch::channel(0).1
        }
    }

    impl TokenValidity {
        /// That of a token which only the clock ends.
        pub(in crate::api) fn until(ends: UnixMs, clock: Clock) -> Self {
            Self::new(Credential { ends, key: KeyId::of("a key") }, Arc::new(AnyKey), None, clock)
        }
    }
}
