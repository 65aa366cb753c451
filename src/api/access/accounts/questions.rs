//! Questions to the cluster that are waiting or being asked. Each is asked once, however many callers want the answer, and by a task of its
//! own: a caller may leave, or need not wait at all. Bounded in number, in all and for each account.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::api::clients::{ClientCounts, ClientKey};
use crate::model::name::Namespace;
use crate::model::ports::{AccessVerb, AuthorityError};
use crate::model::sync::{Mutex, MutexGuard, PoisonError};

/// Most questions asked at once.
const AT_ONCE: usize = 32;
/// The part of these that one account may use, so that a busy program does not keep the others waiting.
const OF_ONE_ACCOUNT: usize = 8;
/// Most questions that are waiting or being asked.
const OPEN: usize = 1024;
/// The part of these that one account may use: a Deployment of this many pods may start at once.
const OPEN_OF_ONE_ACCOUNT: usize = 256;
/// Time for an answer, and the longest that a question waits for its turn.
pub(super) const DEADLINE: Duration = Duration::from_secs(4);

/// What the cluster is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Question {
    /// Whether a token is in force. By the token's hash: 32 bytes instead of a secret of a kilobyte.
    Token([u8; 32]),
    /// Whether a user may do that in a namespace, or, without one, in all.
    Right(String, AccessVerb, Option<Namespace>),
}

/// Yes or no, or why there is no answer.
pub(super) type Reply = Result<bool, AuthorityError>;
/// The answer to come.
pub(super) type Pending = watch::Receiver<Option<Reply>>;
/// The request to the cluster.
pub(super) type Asked = BoxFuture<'static, Reply>;

/// The questions.
#[derive(Default)]
pub(super) struct Questions {
    open: Mutex<Open>,
    added: Notify,
}

#[derive(Default)]
struct Open {
    by_question: HashMap<Question, OpenQuestion>,
    /// Those that are not being asked yet, the oldest first.
    waiting: VecDeque<Question>,
    /// Questions per account that wait or are being asked.
    of_account: ClientCounts,
    /// Questions per account that are being asked.
    asked: ClientCounts,
}

struct OpenQuestion {
    account: ClientKey,
    since: Instant,
    reply: watch::Sender<Option<Reply>>,
    /// None once it is being asked.
    request: Option<Asked>,
}

/// The answer, if it comes within `limit`.
pub(super) async fn reply(mut pending: Pending, limit: Duration) -> Reply {
    let answered = timeout(limit, pending.wait_for(Option::is_some)).await;
    answered.ok().and_then(Result::ok).and_then(|reply| reply.clone()).unwrap_or(Err(AuthorityError::NoAnswer))
}

impl Questions {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks with `request`, unless the question is open already. None when too many are open.
    pub(super) fn ask(
        &self,
        question: &Question,
        account: ClientKey,
        request: impl FnOnce() -> Asked,
    ) -> Option<Pending> {
        let mut open = self.open();
        if let Some(known) = open.by_question.get(question) {
            return Some(known.reply.subscribe());
        }
        if open.by_question.len() >= OPEN || open.of_account.of(account) >= OPEN_OF_ONE_ACCOUNT {
            return None;
        }
        let (reply, pending) = watch::channel(None);
        let added = OpenQuestion { account, since: Instant::now(), reply, request: Some(request()) };
        open.by_question.insert(question.clone(), added);
        open.waiting.push_back(question.clone());
        open.of_account.add(Some(account));
        drop(open);
        self.added.notify_one();
        Some(pending)
    }

    /// Asks the questions until `shutdown`. `record` gets each answer before those that wait for it do.
    pub(super) async fn run(&self, record: impl Fn(&Question, &Reply), shutdown: CancellationToken) {
        let mut asked = FuturesUnordered::new();
        loop {
            while asked.len() < AT_ONCE
                && let Some((question, request)) = self.open().next()
            {
                asked.push(async move {
                    (question, timeout(DEADLINE, request).await.unwrap_or(Err(AuthorityError::NoAnswer)))
                });
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.added.notified() => {}
                Some((question, reply)) = asked.next(), if !asked.is_empty() => {
                    record(&question, &reply);
                    self.open().end(&question, reply);
                }
            }
        }
    }
}

impl Open {
    /// The oldest question of an account that has not its share yet. Those for which nobody waits any more end here.
    fn next(&mut self) -> Option<(Question, Asked)> {
        while let Some(oldest) = self.waiting.front().filter(|oldest| self.is_late(oldest)).cloned() {
            self.waiting.pop_front();
            self.end(&oldest, Err(AuthorityError::NoAnswer));
        }
        let has_share = |open: &OpenQuestion| self.asked.of(open.account) < OF_ONE_ACCOUNT;
        let at = self.waiting.iter().position(|question| self.by_question.get(question).is_some_and(has_share))?;
        let question = self.waiting.remove(at)?;
        let open = self.by_question.get_mut(&question)?;
        let request = open.request.take()?;
        self.asked.add(Some(open.account));
        Some((question, request))
    }

    fn is_late(&self, question: &Question) -> bool {
        self.by_question.get(question).is_none_or(|open| open.since.elapsed() >= DEADLINE)
    }

    fn end(&mut self, question: &Question, reply: Reply) {
        let Some(ended) = self.by_question.remove(question) else { return };
        self.of_account.remove(Some(ended.account));
        if ended.request.is_none() {
            self.asked.remove(Some(ended.account));
        }
        ended.reply.send_replace(Some(reply));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn question(n: usize) -> Question {
        Question::Right(n.to_string(), AccessVerb::List, None)
    }

    fn never() -> Asked {
        std::future::pending().boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_has_its_share_of_the_questions_and_gets_it_back() {
        let questions = Questions::default();
        let [one, other] = [1, 2].map(ClientKey::Subject);
        let first = questions.ask(&question(0), one, never).expect("room");
        assert!(questions.ask(&question(0), one, || unreachable!("asked once")).is_some());
        for n in 1..OPEN_OF_ONE_ACCOUNT {
            questions.ask(&question(n), one, never).expect("its share");
        }
        assert!(questions.ask(&question(OPEN), one, never).is_none(), "no more than that");
        questions.ask(&question(OPEN), other, never).expect("another account still asks");
        let mut asked = Vec::new();
        while let Some((question, _)) = questions.open().next() {
            asked.push(question);
        }
        let expected: Vec<_> = (0..OF_ONE_ACCOUNT).chain([OPEN]).map(question).collect();
        assert_eq!(asked, expected, "the other account did not wait for the first one's");
        questions.open().end(&question(0), Ok(true));
        assert_eq!(reply(first, Duration::ZERO).await, Ok(true));
        assert_eq!(questions.open().next().map(|(next, _)| next), Some(question(OF_ONE_ACCOUNT)));

        let late = questions.ask(&question(OPEN + 1), one, never).expect("room");
        tokio::time::advance(DEADLINE).await;
        assert!(questions.open().next().is_none());
        assert_eq!(reply(late, Duration::ZERO).await, Err(AuthorityError::NoAnswer), "nobody waits for it any more");
        assert_eq!(questions.open().of_account.total(), OF_ONE_ACCOUNT + 1, "those that are being asked");
    }

    #[tokio::test]
    async fn all_questions_have_a_bound() {
        let questions = Questions::default();
        let room = (0..2 * OPEN).filter(|n| {
            let account = ClientKey::Subject(u64::try_from(*n).expect("small"));
            questions.ask(&question(*n), account, never).is_some()
        });
        assert_eq!(room.count(), OPEN);
    }
}
