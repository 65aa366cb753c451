//! What the cluster says about a caller: whether its token is in force, and what it may do. Answers are remembered for a short while.
//!
//! Nothing that serves waits for a slow API server if something is known: a heartbeat goes by what is known, and a read by a recent yes, while
//! the question is asked behind it.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::questions::{Asked, DEADLINE, Pending, Question, Questions, Reply, reply};
use super::recent::{Answer, Recent};
use crate::api::access::token_validity::Right;
use crate::api::clients::ClientKey;
use crate::model::name::Namespace;
use crate::model::ports::{AccessVerb, Authority, AuthorityError, ServiceAccount};
use crate::model::time::{Clock, UnixMs};
use crate::telemetry::metrics::Metrics;

/// Most questions of one account that are answered with no within [`REFUSED_WITHIN`]. Each namespace is another question, and callers invent
/// them at no cost; programs that are set up well are refused hardly ever.
const REFUSED: usize = 32;
const REFUSED_WITHIN: Duration = Duration::from_mins(1);
/// Time for a newer answer where an older one will do without it.
const NEWER_DEADLINE: Duration = Duration::from_secs(1);
/// For how long a yes is good enough for a write.
const FRESH: Duration = Duration::from_secs(30);
/// For how long a no is: people who grant a right try at once whether it works.
const DENIED: Duration = Duration::from_secs(5);
/// For how long a yes is good enough for a read, which asks behind it once it is no longer fresh. Also the time after which a right is asked
/// about again for an answer that is still being sent.
const READ: Duration = Duration::from_mins(1);
/// For how long a yes about a token is good enough for a heartbeat or a renewal: thousands of them come every few seconds.
const RENEWAL: Duration = Duration::from_mins(5);
/// For how long an answer about a right is good enough for a read, a heartbeat or a renewal while there is no newer one.
const WHILE_AWAY: Duration = Duration::from_mins(10);

/// What an answer is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A change. It needs the Kubernetes API anyway.
    Write,
    /// A read in another namespace. Reads do not depend on whether a token is in force.
    Read,
    /// A heartbeat, or a registration that only renews. The Kubernetes API may be away or slow: leases must not expire because of that.
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
pub(in crate::api::access) struct Reviews {
    authority: Arc<dyn Authority>,
    audiences: Arc<[String]>,
    tokens: Recent<Question>,
    rights: Recent<Question>,
    questions: Questions,
    /// Tells accounts apart in `questions`.
    accounts: RandomState,
    /// Whether the last refusal of the Kubernetes API was logged.
    complained: AtomicBool,
    metrics: Metrics,
    clock: Clock,
}

impl fmt::Debug for Reviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reviews").finish_non_exhaustive()
    }
}

impl Reviews {
    pub(super) fn new(authority: Arc<dyn Authority>, audiences: Arc<[String]>, metrics: Metrics, clock: Clock) -> Self {
        Self {
            authority,
            audiences,
            tokens: Recent::default(),
            rights: Recent::default(),
            questions: Questions::default(),
            accounts: RandomState::new(),
            complained: AtomicBool::new(false),
            metrics,
            clock,
        }
    }

    /// Asks what is to be asked until `shutdown`.
    pub(super) async fn run(&self, shutdown: CancellationToken) {
        self.questions.run(|question, reply| self.record(question, reply), shutdown).await;
    }

    fn now(&self) -> UnixMs {
        self.clock.steady()
    }

    /// Requires that the cluster accepts the token of `account`, which was verified. A renewal goes by the last answer and waits for none.
    pub(super) async fn require_token(
        &self,
        token: &str,
        account: &ServiceAccount,
        need: Need,
    ) -> Result<(), ReviewError> {
        let question = Question::Token(Sha256::digest(token).into());
        let known = self.tokens.get(&question, self.now());
        let enough = if need == Need::Renewal { RENEWAL } else { FRESH };
        let required = |yes| if yes { Ok(()) } else { Err(ReviewError::Revoked) };
        if let Some(yes) = settled(known, enough) {
            return required(yes);
        }
        let pending = self.ask(&question, account, || self.review(token, account.user()));
        if need == Need::Renewal {
            return required(known.is_none_or(|known| known.yes));
        }
        match self.answer(pending, DEADLINE).await {
            Ok(yes) => required(yes),
            Err(_) if known.is_some_and(|known| !known.yes && known.age < RENEWAL) => Err(ReviewError::Revoked),
            Err(error) => Err(error),
        }
    }

    fn review(&self, token: &str, user: String) -> Asked {
        let audiences = Arc::clone(&self.audiences);
        let review = self.authority.review(SecretString::from(token), Arc::clone(&audiences));
        let review = async move {
            let ours = |audience: &String| audiences.contains(audience);
            // An API server that does not know audiences names none.
            Ok(review.await?.is_some_and(|it| it.user == user && it.audiences.iter().any(ours)))
        };
        review.boxed()
    }

    /// Whether `account` may do that in a namespace, or, without one, in all.
    pub(super) async fn allows(
        &self,
        account: &Arc<ServiceAccount>,
        (verb, namespace): (AccessVerb, Option<&Namespace>),
        need: Need,
    ) -> Result<bool, ReviewError> {
        let question = Question::Right(account.user(), verb, namespace.cloned());
        let known = self.rights.get(&question, self.now());
        if let Some(yes) = settled(known, FRESH) {
            return Ok(yes);
        }
        if known.is_none_or(|known| !known.yes) && self.is_refused_much(account) {
            self.metrics.reject("reviews_refused");
            return known.map(|known| known.yes).ok_or(ReviewError::Busy);
        }
        let pending = self.ask_right(&question, account);
        let known = known.filter(|known| need != Need::Write && known.age < WHILE_AWAY);
        let at_once = if need == Need::Renewal { WHILE_AWAY } else { READ };
        if known.is_some_and(|known| known.yes && known.age < at_once) {
            return Ok(true);
        }
        let limit = if known.is_some() { NEWER_DEADLINE } else { DEADLINE };
        match (self.answer(pending, limit).await, known) {
            (Err(ReviewError::Busy | ReviewError::Authority(AuthorityError::NoAnswer)), Some(known)) => Ok(known.yes),
            (answer, _) => answer,
        }
    }

    fn is_refused_much(&self, account: &ServiceAccount) -> bool {
        let user = account.user();
        let of_account = |other: &Question| matches!(other, Question::Right(of, ..) if *of == user);
        self.rights.refused(of_account, self.now(), REFUSED_WITHIN) >= REFUSED
    }

    /// Whether a right that was granted still stands, as far as is known. Asks again behind that.
    fn still_allows(&self, account: &Arc<ServiceAccount>, question: &Question) -> bool {
        let known = self.rights.get(question, self.now());
        if known.is_none_or(|known| known.age >= if known.yes { READ } else { DENIED }) {
            self.ask_right(question, account);
        }
        known.is_none_or(|known| known.yes)
    }

    fn ask_right(&self, question: &Question, account: &Arc<ServiceAccount>) -> Option<Pending> {
        let Question::Right(_, verb, namespace) = question else { return None };
        let request = || self.authority.allows(Arc::clone(account), *verb, namespace.clone());
        self.ask(question, account, request)
    }

    fn ask(&self, question: &Question, account: &ServiceAccount, request: impl FnOnce() -> Asked) -> Option<Pending> {
        let account = ClientKey::Subject(self.accounts.hash_one(account.user()));
        let pending = self.questions.ask(question, account, request);
        if pending.is_none() {
            self.metrics.reject("reviews_full");
        }
        pending
    }

    async fn answer(&self, pending: Option<Pending>, limit: Duration) -> Result<bool, ReviewError> {
        let pending = pending.ok_or(ReviewError::Busy)?;
        reply(pending, limit).await.map_err(ReviewError::Authority)
    }

    fn record(&self, question: &Question, reply: &Reply) {
        match (reply, question) {
            (Ok(yes), Question::Token(_)) => self.tokens.put(question.clone(), *yes, self.now(), RENEWAL),
            (Ok(yes), Question::Right(..)) => self.rights.put(question.clone(), *yes, self.now(), WHILE_AWAY),
            (Err(_), _) => {}
        }
        match reply {
            Ok(_) => self.complained.store(false, Ordering::Relaxed),
            Err(AuthorityError::Refused(why)) if !self.complained.swap(true, Ordering::Relaxed) => {
                tracing::error!(
                    "cannot ask about callers with ServiceAccount tokens, so their writes are refused: {why}"
                );
            }
            Err(_) => {}
        }
    }
}

/// The answer that is known, if it is young enough.
fn settled(known: Option<Answer>, enough: Duration) -> Option<bool> {
    let known = known?;
    (known.age < if known.yes { enough } else { DENIED }).then_some(known.yes)
}

/// The rights of an account that an answer still depends on.
#[derive(Debug)]
pub(super) struct GrantedRights {
    reviews: Arc<Reviews>,
    account: Arc<ServiceAccount>,
    questions: Vec<Question>,
}

impl GrantedRights {
    pub(super) fn new(
        reviews: Arc<Reviews>,
        account: Arc<ServiceAccount>,
        rights: &[(AccessVerb, Option<Namespace>)],
    ) -> Self {
        let user = account.user();
        let question = |(verb, namespace): &(AccessVerb, Option<Namespace>)| {
            Question::Right(user.clone(), *verb, namespace.clone())
        };
        let questions = rights.iter().map(question).collect();
        Self { reviews, account, questions }
    }
}

impl Right for GrantedRights {
    fn stands(&self) -> bool {
        self.questions.iter().all(|question| self.reviews.still_allows(&self.account, question))
    }
}
