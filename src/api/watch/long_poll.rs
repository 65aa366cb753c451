//! Long polls: a read whose answer waits until it differs from the one that the client has.
//!
//! The cursor of an answer identifies what it says, and nothing else: no history is kept for it, every replica gives equal answers equal
//! cursors, and a cursor that is older than the server only means that the answer differs. While a request waits, commits that do not concern
//! it cost a comparison of names.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::limiter::WatchLimiter;
use super::refusal::refused;
use crate::api::access::{TokenValidity, token_ended};
use crate::api::http::envelope::ApiError;
use crate::api::http::query::Query;
use crate::catalog::{Batch, Catalog, FeedError, Snapshot};
use crate::model::value_error::ValueError;
use crate::model::wait_time::WaitTime;
use crate::telemetry::metrics::Metrics;

/// The header with the cursor of an answer.
const CURSOR: HeaderName = HeaderName::from_static("portolan-cursor");
/// Least time between two comparisons, however many commits concern the answer.
const PACE: Duration = Duration::from_millis(100);
/// The same in multiples of the last comparison, which may be of a list of thousands, and of the watches and polls that the client has open:
/// together, a client's polls take at most 2 % of a thread.
const REST: u32 = 50;
/// Longest time between two looks at the token while nothing happens.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// What a client asks for: how long it waits, and for which answer to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct LongPoll {
    time: WaitTime,
    /// None in a first request, which is answered at once.
    known: Option<AnswerCursor>,
}

/// Identifies what an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct AnswerCursor(u64);

/// Makes a cursor of the parts of an answer.
#[derive(Default)]
pub(in crate::api) struct CursorOf(DefaultHasher);

/// Who waits: what a long poll needs of its request.
pub(in crate::api) struct Waiting<'a> {
    pub(in crate::api) catalog: &'a Catalog,
    pub(in crate::api) watches: &'a Arc<WatchLimiter>,
    pub(in crate::api) metrics: &'a Metrics,
    pub(in crate::api) client: std::net::IpAddr,
    /// How long the token stays valid, where one is needed.
    pub(in crate::api) validity: Option<TokenValidity>,
}

impl LongPoll {
    /// Takes `wait`, and with it `cursor`, from a query; none where the request does not wait.
    ///
    /// # Errors
    /// 400 `invalid_parameter` for a time that is none or too long, and a cursor that no answer has.
    pub(in crate::api) fn take(query: &mut Query<'_>) -> Result<Option<Self>, ApiError> {
        let Some(time) = query.parse::<WaitTime>("wait")? else { return Ok(None) };
        Ok(Some(Self { time, known: query.parse("cursor")? }))
    }

    /// Waits until the answer is no longer the one that the client has: `cursor` gives that of a snapshot, `concerns` tells whether a commit
    /// may have changed it, and the future that `news` returns resolves once something else may have. Also ends when the time is up or the
    /// server stops; the answer is then given as it is.
    ///
    /// # Errors
    /// 429 `too_many_watches` without a place to wait in, and 401 once the token has ended.
    pub(in crate::api) async fn wait(
        self,
        waiting: Waiting<'_>,
        cursor: impl Fn(&Snapshot) -> AnswerCursor,
        concerns: impl Fn(&Batch) -> bool,
        news: impl Fn() -> BoxFuture<'static, ()>,
    ) -> Result<(), ApiError> {
        let Some(known) = self.known else { return Ok(()) };
        let Waiting { catalog, watches, metrics, client, mut validity } = waiting;
        let (snapshot, mut feed) = catalog.subscribe();
        let mut more = news();
        if cursor(&snapshot) != known {
            return Ok(());
        }
        drop(snapshot);
        let permit = watches.acquire(client).map_err(|full| refused(full, metrics))?;
        let over = Instant::now() + self.time.0;
        // When to compare next, if anything concerned the answer, and when at the earliest.
        let (mut next, mut earliest) = (None::<Instant>, Instant::now());
        loop {
            let concerned = tokio::select! {
                () = permit.closed() => break,
                end = TokenValidity::end(validity.as_mut(), LOOK_EVERY) => return Err(token_ended(end)),
                () = sleep_until(over) => break,
                () = sleep_until(next.unwrap_or(over)), if next.is_some() => {
                    let begun = std::time::Instant::now();
                    if cursor(&catalog.snapshot()) != known {
                        break;
                    }
                    (next, earliest) = (None, Instant::now() + pause(begun.elapsed(), permit.of_client()));
                    false
                }
                () = &mut more => {
                    more = news();
                    true
                }
                batch = feed.next() => match batch {
                    Ok(batch) => next.is_none() && concerns(&batch),
                    Err(FeedError::Lagged) => {
                        feed = catalog.subscribe().1;
                        true
                    }
                    Err(FeedError::Ended) => break,
                },
            };
            if concerned {
                next.get_or_insert(earliest);
            }
        }
        // What ended the wait may have been ready together with the token's end.
        validity.as_mut().and_then(TokenValidity::ended).map_or(Ok(()), |end| Err(token_ended(end)))
    }
}

/// The head of a request in memory of its own, if the request may wait. As it came, it shares the buffer that its connection read it into,
/// and then hyper takes a second one of 8 KiB to notice that the client leaves.
pub(in crate::api) fn detached(mut head: Parts) -> Parts {
    if !head.uri.query().is_some_and(|query| query.contains("wait=")) {
        return head;
    }
    // What was a URI and a header's value is one again.
    if let Ok(uri) = Uri::try_from(head.uri.to_string()) {
        head.uri = uri;
    }
    for value in head.headers.values_mut() {
        if let Ok(copy) = HeaderValue::from_bytes(value.as_bytes()) {
            *value = copy;
        }
    }
    head
}

/// The pause after a comparison that took so long, for a client that has so many watches and polls open.
fn pause(took: Duration, open: usize) -> Duration {
    let open = u32::try_from(open).unwrap_or(u32::MAX);
    PACE.max(took.saturating_mul(REST.saturating_mul(open)))
}

impl AnswerCursor {
    /// Puts it into the headers of the answer, which no cache may keep: the next one to the same request differs.
    pub(in crate::api) fn put(self, headers: &mut HeaderMap) {
        // Hex digits are always a header's value.
        if let Ok(value) = HeaderValue::try_from(self.to_string()) {
            headers.insert(CURSOR, value);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

impl CursorOf {
    /// Adds a part in its JSON.
    pub(in crate::api) fn json(&mut self, part: &impl Serialize) {
        // What is rendered for answers has no way to fail.
        self.bytes(&serde_json::to_vec(part).unwrap_or_default());
    }

    /// Adds a part.
    pub(in crate::api) fn bytes(&mut self, part: &[u8]) {
        self.0.write_usize(part.len());
        self.0.write(part);
    }

    pub(in crate::api) fn finish(&self) -> AnswerCursor {
        AnswerCursor(self.0.finish())
    }
}

impl fmt::Display for AnswerCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for AnswerCursor {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = plain.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number
            .map(Self)
            .ok_or_else(|| ValueError::is_not("the unchanged Portolan-Cursor of a response to a request with wait"))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::pin::pin;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::{future, thread};

    use bytes::Bytes;
    use http::Request;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::api::http::envelope::Code;
    use crate::api::watch::WatchLimits;
    use crate::catalog::Epoch;
    use crate::model::time::{Clock, Now, UnixMs};

    /// A server, and a client whose token ends in an hour.
    struct World {
        catalog: Catalog,
        watches: Arc<WatchLimiter>,
        clock: Clock,
    }

    impl World {
        fn new() -> Self {
            let catalog = Catalog::new(Snapshot::empty(Epoch::random(), 1));
            let clock = Clock::manual(Now { steady: UnixMs(0), wall: UnixMs(0) });
            Self { catalog, watches: WatchLimiter::new(WatchLimits::default()), clock }
        }

        /// Waits for the cursor to become another than 1.
        async fn wait(&self, cursor: impl Fn() -> u64) -> Result<(), ApiError> {
            let waiting = Waiting {
                catalog: &self.catalog,
                watches: &self.watches,
                metrics: &Metrics::default(),
                client: IpAddr::V4(Ipv4Addr::LOCALHOST),
                validity: Some(TokenValidity::until(UnixMs(3_600_000), self.clock.clone())),
            };
            let poll = LongPoll { time: WaitTime(Duration::from_mins(5)), known: Some(AnswerCursor(1)) };
            poll.wait(waiting, |_| AnswerCursor(cursor()), |_| true, || Box::pin(future::pending())).await
        }

        fn commit(&self) {
            let mut next = Snapshot::clone(&self.catalog.snapshot());
            let sequence = next.sequence() + 1;
            next.advance(sequence, sequence);
            self.catalog.publish(next, Batch { sequence, revision: sequence, ..Batch::default() });
        }

        /// As after a suspend: the token has ended, and no timer has moved.
        fn jump(&self) {
            self.clock.set(Now { steady: UnixMs(0), wall: UnixMs(3_600_000) });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_soon_after_the_wall_clock_has_passed_its_tokens_end() {
        let world = World::new();
        let mut wait = pin!(world.wait(|| 1));
        assert!(timeout(Duration::from_mins(1), &mut wait).await.is_err(), "an hour is left");
        world.jump();
        let refused = timeout(LOOK_EVERY, wait).await.expect("in time").expect_err("a refusal");
        assert_eq!(refused.code, Code::TokenExpired);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_has_ended_gets_no_answer_to_a_change() {
        for stops in [false, true].repeat(16) {
            let (world, cursor) = (World::new(), AtomicU64::new(1));
            let mut wait = pin!(world.wait(|| cursor.load(Ordering::Relaxed)));
            assert!(futures::poll!(&mut wait).is_pending());
            world.jump();
            cursor.store(2, Ordering::Relaxed);
            if stops {
                world.watches.close();
            } else {
                world.commit();
            }
            assert_eq!(wait.await.expect_err("a refusal").code, Code::TokenExpired);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn comparisons_that_take_long_are_rare() {
        let (world, compared) = (World::new(), AtomicU64::new(0));
        let wait = world.wait(|| {
            // Of the system's time; the time between comparisons is the test's.
            thread::sleep(Duration::from_millis(20));
            compared.fetch_add(1, Ordering::Relaxed);
            1
        });
        let commits = async {
            for _ in 0..60 {
                world.commit();
                sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            _ = wait => panic!("nothing changed"),
            () = commits => {}
        }
        let compared = compared.into_inner();
        assert!((2..=5).contains(&compared), "{compared} in three seconds: at first, at once, and each second");
    }

    #[tokio::test(start_paused = true)]
    async fn the_polls_of_one_client_share_the_time_for_comparisons() {
        let (world, compared) = (World::new(), AtomicU64::new(0));
        let wait = || {
            world.wait(|| {
                // Of the system's time; the time between comparisons is the test's.
                thread::sleep(Duration::from_millis(20));
                compared.fetch_add(1, Ordering::Relaxed);
                1
            })
        };
        let mut waits = pin!(futures::future::join_all((0..20).map(|_| wait())));
        let commits = async |seconds: usize| {
            for _ in 0..seconds * 10 {
                world.commit();
                sleep(Duration::from_millis(100)).await;
            }
        };
        let mut counts = [0; 2];
        for (count, seconds) in counts.iter_mut().zip([1, 30]) {
            tokio::select! {
                _ = &mut waits => panic!("nothing changed"),
                () = commits(seconds) => {}
            }
            *count = compared.load(Ordering::Relaxed);
        }
        let [begun, all] = counts;
        assert!(begun >= 40, "{begun}: each at first and at once");
        assert!(all - begun <= 60, "{} in 30 seconds, where a poll alone would compare about 30 times", all - begun);
    }

    #[test]
    fn the_head_of_a_request_that_waits_leaves_its_buffer() {
        for (target, leaves) in
            [("/list?name=a&wait=30s", true), ("http://host/list?wait=1s", true), ("/wait?a=b", false)]
        {
            let buffer = Bytes::from(format!("{target} value"));
            let uri = Uri::from_maybe_shared(buffer.slice(..target.len())).expect("a URI");
            let value = HeaderValue::from_maybe_shared(buffer.slice(target.len() + 1..)).expect("a value");
            let (head, ()) = Request::get(uri).header("x-test", value).body(()).expect("a request").into_parts();
            let head = detached(head);
            assert_eq!((head.uri.to_string().as_str(), head.headers["x-test"].to_str().ok()), (target, Some("value")));
            assert_eq!(buffer.is_unique(), leaves, "{target}");
        }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        let mut of = CursorOf::default();
        of.bytes(b"users");
        let cursor = of.finish();
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        of.bytes(b"");
        assert_ne!(of.finish(), cursor, "each part counts");
        for text in ["", "1", "0123456789ABCDEF", "0123456789abcdefg", "0123456789abcde/", "+123456789abcdef"] {
            assert!(text.parse::<AnswerCursor>().is_err(), "{text}");
        }
    }
}
