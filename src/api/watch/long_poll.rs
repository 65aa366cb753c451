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

use http::Uri;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::limiter::WatchLimiter;
use super::refusal::refused;
use crate::api::access::{TokenEnd, TokenValidity, token_ended};
use crate::api::http::envelope::ApiError;
use crate::api::http::query::Query;
use crate::catalog::{Batch, Catalog, FeedError, Snapshot};
use crate::model::value_error::ValueError;
use crate::model::wait_time::WaitTime;
use crate::telemetry::metrics::Metrics;

/// The header with the cursor of an answer.
const CURSOR: HeaderName = HeaderName::from_static("portolan-cursor");
/// Time between two comparisons, however many commits concern the answer: it may be a list of thousands.
const PACE: Duration = Duration::from_millis(100);

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
    /// Of the token, where one is needed.
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

    /// Waits until the answer is no longer the one that the client has: `cursor` gives that of a snapshot, and `concerns` tells whether a
    /// commit may have changed it. Also ends when the time is up or the server stops; the answer is then given as it is.
    ///
    /// # Errors
    /// 429 `too_many_watches` without a place to wait in, and 401 once the token has ended.
    pub(in crate::api) async fn wait(
        self,
        waiting: Waiting<'_>,
        cursor: impl Fn(&Snapshot) -> AnswerCursor,
        concerns: impl Fn(&Batch) -> bool,
    ) -> Result<(), ApiError> {
        let Some(known) = self.known else { return Ok(()) };
        let Waiting { catalog, watches, metrics, client, mut validity } = waiting;
        let (snapshot, mut feed) = catalog.subscribe();
        if cursor(&snapshot) != known {
            return Ok(());
        }
        drop(snapshot);
        let permit = watches.acquire(client).map_err(|full| refused(full, metrics))?;
        let over = Instant::now() + self.time.0;
        // When to compare next, if anything concerned the answer.
        let (mut compared, mut next) = (None::<Instant>, None::<Instant>);
        loop {
            tokio::select! {
                () = permit.closed() => return Ok(()),
                end = token_end(&mut validity) => return Err(token_ended(end)),
                () = sleep_until(over) => return Ok(()),
                () = sleep_until(next.unwrap_or(over)), if next.is_some() => {
                    if cursor(&catalog.snapshot()) != known {
                        return Ok(());
                    }
                    (compared, next) = (Some(Instant::now()), None);
                }
                batch = feed.next() => {
                    let concerned = match batch {
                        Ok(batch) => concerns(&batch),
                        Err(FeedError::Lagged) => {
                            feed = catalog.subscribe().1;
                            true
                        }
                        Err(FeedError::Ended) => return Ok(()),
                    };
                    if concerned {
                        let now = Instant::now();
                        next.get_or_insert_with(|| compared.map_or(now, |compared| now.max(compared + PACE)));
                    }
                }
            }
        }
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

/// Resolves once the token is no longer valid; never where none is needed.
async fn token_end(validity: &mut Option<TokenValidity>) -> TokenEnd {
    let Some(validity) = validity else { return std::future::pending().await };
    loop {
        if let Some(end) = validity.ended() {
            return end;
        }
        let expires = Instant::now() + validity.remaining();
        tokio::select! {
            () = sleep_until(expires) => {}
            () = validity.changed() => {}
        }
    }
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
            .ok_or_else(|| ValueError::is_not("the Portolan-Cursor of an answer to a request with wait, as it came"))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;

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
