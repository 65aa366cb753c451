//! Questions to the cluster about a caller: whether its token is in force, and what it may do. Bounded in time and number; answers are
//! remembered for a short while.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::recent::{Answer, Recent};
use crate::api::clients::{ClientCounts, ClientKey};
use crate::model::name::Namespace;
use crate::model::ports::{AccessVerb, Authority, AuthorityError, ServiceAccount};
use crate::model::sync::{Mutex, PoisonError};
use crate::model::time::{Clock, UnixMs};
use crate::telemetry::metrics::Metrics;

/// Most questions at once; further ones wait.
const AT_ONCE: usize = 32;
/// Of these, for one account: a program that asks for much keeps no other waiting.
const OF_ONE_ACCOUNT: usize = 8;
/// Most questions of one account that are answered with no within [`REFUSED_WITHIN`]. Each namespace is another question, and callers invent
/// them at no cost; programs that are set up well are refused hardly ever.
const REFUSED: usize = 32;
const REFUSED_WITHIN: Duration = Duration::from_mins(1);
/// Time for an answer, with the wait.
const DEADLINE: Duration = Duration::from_secs(4);
/// The same for a heartbeat, which is accepted without an answer.
const BEAT_DEADLINE: Duration = Duration::from_secs(1);
/// For how long a yes is good enough for a write.
const FRESH: Duration = Duration::from_secs(30);
/// For how long a no is.
const DENIED: Duration = Duration::from_secs(5);
/// For how long a yes is good enough for a heartbeat or a renewal: thousands of them come every few seconds.
const RENEWAL: Duration = Duration::from_mins(5);
/// For how long an answer is good enough for a read, a heartbeat or a renewal while the Kubernetes API is away.
const WHILE_AWAY: Duration = Duration::from_mins(10);

/// What the token of a request must be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A change. It needs the Kubernetes API anyway.
    Write,
    /// A heartbeat, or a registration that only renews. The Kubernetes API may be away: leases must not expire because of that.
    Renewal,
}

/// Why a question is not answered with yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReviewError {
    /// The token is no longer in force.
    Revoked,
    /// Too many questions wait.
    Busy,
    /// No answer.
    Authority(AuthorityError),
}

/// Asks the cluster.
pub(super) struct Reviews {
    authority: Arc<dyn Authority>,
    audiences: Arc<[String]>,
    /// By the token's hash: 32 bytes instead of a secret of a kilobyte.
    tokens: Recent<[u8; 32]>,
    rights: Recent<(String, AccessVerb, Option<Namespace>)>,
    places: Semaphore,
    waiting: Waiting,
    /// Tells accounts apart in `waiting`.
    accounts: RandomState,
    /// Whether the last refusal of the Kubernetes API was logged.
    complained: AtomicBool,
    metrics: Metrics,
    clock: Clock,
}

impl Reviews {
    pub(super) fn new(authority: Arc<dyn Authority>, audiences: Arc<[String]>, metrics: Metrics, clock: Clock) -> Self {
        Self {
            authority,
            audiences,
            tokens: Recent::default(),
            rights: Recent::default(),
            places: Semaphore::new(AT_ONCE),
            waiting: Waiting::default(),
            accounts: RandomState::new(),
            complained: AtomicBool::new(false),
            metrics,
            clock,
        }
    }

    fn now(&self) -> UnixMs {
        self.clock.steady()
    }

    /// Requires that the cluster accepts the token of `account`, which was verified.
    pub(super) async fn require_token(
        &self,
        token: &str,
        account: &ServiceAccount,
        need: Need,
    ) -> Result<(), ReviewError> {
        let question: [u8; 32] = Sha256::digest(token).into();
        let known = self.tokens.get(&question, self.now());
        let (enough, deadline) = match need {
            Need::Write => (FRESH, DEADLINE),
            Need::Renewal => (RENEWAL, BEAT_DEADLINE),
        };
        if let Some(yes) = settled(known, enough) {
            return if yes { Ok(()) } else { Err(ReviewError::Revoked) };
        }
        let asked = self.authority.review(SecretString::from(token), Arc::clone(&self.audiences));
        match self.ask(&account.user(), deadline, asked).await {
            Ok(review) => {
                let ours = |audience: &String| self.audiences.contains(audience);
                // An API server that does not know audiences names none.
                let yes = review.is_some_and(|it| it.user == account.user() && it.audiences.iter().any(ours));
                self.tokens.put(question, yes, self.now(), RENEWAL);
                if yes { Ok(()) } else { Err(ReviewError::Revoked) }
            }
            Err(_) if known.is_some_and(|known| !known.yes && known.age < RENEWAL) => Err(ReviewError::Revoked),
            Err(ReviewError::Busy | ReviewError::Authority(AuthorityError::NoAnswer)) if need == Need::Renewal => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether `account` may do that in a namespace, or, without one, in all. Where that `can_wait` for a new answer, one of the last minutes
    /// counts while there is none.
    pub(super) async fn allows(
        &self,
        account: &Arc<ServiceAccount>,
        (verb, namespace): (AccessVerb, Option<&Namespace>),
        can_wait: bool,
    ) -> Result<bool, ReviewError> {
        let question = (account.user(), verb, namespace.cloned());
        let known = self.rights.get(&question, self.now());
        if let Some(yes) = settled(known, FRESH) {
            return Ok(yes);
        }
        if known.is_none() && self.rights.refused(|other| other.0 == question.0, self.now(), REFUSED_WITHIN) >= REFUSED
        {
            self.metrics.reject("reviews_refused");
            return Err(ReviewError::Busy);
        }
        let asked = self.authority.allows(Arc::clone(account), verb, namespace.cloned());
        match (self.ask(&question.0, DEADLINE, asked).await, known) {
            (Ok(yes), _) => {
                self.rights.put(question, yes, self.now(), WHILE_AWAY);
                Ok(yes)
            }
            (Err(ReviewError::Busy | ReviewError::Authority(AuthorityError::NoAnswer)), Some(known))
                if can_wait && known.age < WHILE_AWAY =>
            {
                Ok(known.yes)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The answer, if a place gets free and the answer comes within `limit`.
    async fn ask<T>(
        &self,
        account: &str,
        limit: Duration,
        asked: impl Future<Output = Result<T, AuthorityError>>,
    ) -> Result<T, ReviewError> {
        let deadline = Instant::now() + limit;
        let Some(_turn) = self.waiting.enter(ClientKey::Subject(self.accounts.hash_one(account))) else {
            self.metrics.reject("reviews_full");
            return Err(ReviewError::Busy);
        };
        let Ok(Ok(_place)) = timeout_at(deadline, self.places.acquire()).await else {
            self.metrics.reject("reviews_full");
            return Err(ReviewError::Busy);
        };
        let answer = timeout_at(deadline, asked).await.unwrap_or(Err(AuthorityError::NoAnswer));
        match &answer {
            Ok(_) => self.complained.store(false, Ordering::Relaxed),
            Err(AuthorityError::Refused(why)) if !self.complained.swap(true, Ordering::Relaxed) => {
                tracing::error!(
                    "cannot ask about callers with ServiceAccount tokens, so their writes are refused: {why}"
                );
            }
            Err(_) => {}
        }
        answer.map_err(ReviewError::Authority)
    }
}

/// The answer that is known, if it is young enough.
fn settled(known: Option<Answer>, enough: Duration) -> Option<bool> {
    let known = known?;
    (known.age < if known.yes { enough } else { DENIED }).then_some(known.yes)
}

/// How many questions of each account wait or are asked.
#[derive(Default)]
struct Waiting(Mutex<ClientCounts>);

/// One of them; it ends when dropped.
struct Turn<'a> {
    waiting: &'a Waiting,
    account: ClientKey,
}

impl Waiting {
    /// `None` when the account has its share already.
    fn enter(&self, account: ClientKey) -> Option<Turn<'_>> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.of(account) >= OF_ONE_ACCOUNT {
            return None;
        }
        waiting.add(Some(account));
        Some(Turn { waiting: self, account })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner).remove(Some(self.account));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_its_share_of_the_places_and_gets_it_back() {
        let waiting = Waiting::default();
        let [one, other] = [1, 2].map(ClientKey::Subject);
        let mut turns: Vec<Turn<'_>> = (0..OF_ONE_ACCOUNT).map(|_| waiting.enter(one).expect("its share")).collect();
        assert!(waiting.enter(one).is_none(), "no more than that");
        assert!(waiting.enter(other).is_some(), "another account still asks");
        turns.pop();
        assert!(waiting.enter(one).is_some(), "a place that became free");
    }
}
