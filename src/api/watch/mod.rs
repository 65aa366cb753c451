//! `GET /api/v1/watch`: every change as it is committed, as server-sent events
//! ([HTML §9.2](https://html.spec.whatwg.org/multipage/server-sent-events.html)).
//!
//! A client that gives the cursor of the last event that it saw gets what it missed; without one, or with one that cannot be continued
//! from, it gets everything first, in `snapshot` events. Then each commit is one `change` event, or several where it is large.

mod ahead;
mod cursor;
mod events;
mod seats;
mod stream;
mod wanted;

use std::sync::Arc;

use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};

use super::Body;
use super::call::Call;
use super::dispatch::{NotCounted, Sends};
use super::envelope::{ApiError, Code};
use super::openapi::{labels, schemas};
use super::query::bad_parameter;
use super::scope::Reach;
use crate::catalog::{Mark, Snapshot};
use cursor::WatchCursor;
use stream::{Missed, Seen, Watched};
use wanted::Wanted;

pub(super) use seats::Seats;
pub use seats::WatchLimits;

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
/// A proxy that keeps pieces back, or packs them, would make a watch late.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store, no-transform");
/// The same for nginx, which knows no other way
/// ([X-Accel-Buffering](https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering)).
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Bytes that a watch which goes on may be sent without counting.
const LITTLE: usize = 32 * 1024;

/// Streams changes. Events: `snapshot` (`{"services":[…],"first":…,"last":…}`), `change` (`{"upserts":[…],"removed":[…]}`), and `server`
/// (`[{"at":…,"part":…,"good":…,"message":…}]`), which is all that this server lately told of itself, oldest first, each time that it grows;
/// its parts are `server`, `store`, `prober`, `guard`, `leader`, `mirror` and `installs`. The id of an event is the cursor to go on from; of several
/// `snapshot` events, and of several `change` events of one commit, only the last has one. A comment line comes after 15 s of silence.
/// Where a token opened the watch, `end` (`{"code":…,"error":…}`) is its last event once the token has expired or its secret is no longer in
/// force. With `name`, `snapshot` and `change` hold services of that name alone. What is sent at the start counts like a list of it; a watch that goes on from a cursor and missed little does not count.
#[utoipa::path(
    get,
    operation_id = "watch",
    tag = "discovery",
    path = "/api/v1/watch",
    params(
        ("namespace" = inline(Option<labels::Namespaces>), Query, description = "One namespace, or `*` for all that you may see; the default one when absent"),
        ("name" = Option<String>, Query, description = "Only services of this name; one that is not there yet is waited for"),
        ("cursor" = Option<String>, Query, description = "The id of the last event seen; the header `Last-Event-ID` says the same"),
    ),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
        (status = 400, description = "`invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 429, description = "`too_many_watches`: the server or this client holds as many as it may; `rate_limited`", body = schemas::Refusal),
    )
)]
pub(super) async fn watch(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let mut query = call.query()?;
    let reach = Reach::take(&mut query, &call.api.settings.default_namespace)?;
    let wanted = Wanted { reach, name: query.parse("name")? };
    let asked = query.take("cursor").map(std::borrow::Cow::into_owned);
    query.end(&["namespace", "name", "cursor"])?;
    let cursor = match asked.as_deref().or_else(|| last_event(call)) {
        None => None,
        Some(text) => Some(text.parse::<WatchCursor>().map_err(|expected| bad_parameter("cursor", expected))?),
    };
    let seat = call.api.watchers.take(call.client).map_err(|full| refused(call, full))?;
    if let Some(cursor) = &cursor {
        ahead::caught_up(&call.api.catalog, cursor).await;
    }
    let pin = call.api.catalog.pin();
    let (snapshot, feed) = call.api.catalog.subscribe();
    let missed = match &cursor {
        None => Missed::Everything,
        Some(cursor) => missed(call, &snapshot, cursor).await,
    };
    let since = if let Missed::Since(seen, _) = &missed { Some(*seen) } else { None };
    let sends = stream::size(&snapshot, call.who, &wanted, since);
    let goes_on = since.is_some() && sends <= LITTLE;
    if call.renewals_only && !goes_on {
        return Err(ApiError::rate_limited());
    }
    let watched = Watched {
        catalog: Arc::clone(&call.api.catalog),
        flight: Arc::clone(&call.api.flight),
        feed,
        told: call.api.told.from_the_start(),
        epoch: snapshot.epoch().clone(),
        replica: snapshot.mark().map(|mark| mark.replica),
        who: (*call.who).clone(),
        standing: call.api.access.standing(call.who),
        wanted,
    };
    let mut response = Response::new(Body::Stream(stream::stream(watched, seat, snapshot, pin, missed)));
    response.extensions_mut().insert(Sends(sends));
    if goes_on {
        response.extensions_mut().insert(NotCounted);
    }
    response.headers_mut().insert(CONTENT_TYPE, EVENT_STREAM);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event<'a>(call: &Call<'a>) -> Option<&'a str> {
    let header = call.head.headers.get("last-event-id")?.to_str().ok()?.trim();
    (!header.is_empty()).then_some(header)
}

/// What happened since the cursor; everything where that cannot be told.
async fn missed(call: &Call<'_>, snapshot: &Snapshot, cursor: &WatchCursor) -> Missed {
    if cursor.epoch != *snapshot.epoch() {
        return Missed::Everything;
    }
    if let Some(mine) = snapshot.mark() {
        return missed_here(snapshot, cursor.mark, mine);
    }
    if cursor.revision > snapshot.revision() {
        return Missed::Everything;
    }
    match call.api.history.removed_since(cursor.revision).await {
        Ok(Some(removed)) => Missed::Since(Seen::Revision(cursor.revision), removed),
        // Too long ago, or the reader is busy: everything is the same with more bytes.
        Ok(None) | Err(_) => Missed::Everything,
    }
}

/// The same of a mirror. News of different objects come to each replica in another order, the answers to its own writes ahead of the rest,
/// and a verdict may come without a revision: what was missed is told by the replica's own order, and a cursor of another tells nothing.
fn missed_here(snapshot: &Snapshot, theirs: Option<Mark>, mine: Mark) -> Missed {
    let own = theirs.filter(|theirs| theirs.replica == mine.replica && theirs.sequence <= mine.sequence);
    let since = own.and_then(|own| Some((own.sequence, snapshot.removed_since(own.sequence)?)));
    since.map_or(Missed::Everything, |(sequence, removed)| Missed::Since(Seen::Sequence(sequence), removed))
}

fn refused(call: &Call<'_>, full: seats::Full) -> ApiError {
    call.api.metrics.reject(match full {
        seats::Full::Server => "watch_limit",
        seats::Full::Client => "client_watches",
    });
    ApiError::new(Code::TooManyWatches, full.to_string()).retry_after(5)
}
