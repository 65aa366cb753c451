//! `GET /api/v1/watch`: every change as it is committed, as server-sent events
//! ([HTML §9.2](https://html.spec.whatwg.org/multipage/server-sent-events.html)).
//!
//! A client that gives the cursor of the last event that it got receives what it missed. Without a cursor, or with one that cannot be
//! continued from, it receives everything first, in `snapshot` events. Then each commit is a `change` event, or several when it is large.

use std::borrow::Cow;
use std::sync::Arc;

use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};

use super::Answer;
use super::request::RequestContext;
use crate::api::access::{NamespaceFilter, NotCounted, SentAtOnce};
use crate::api::http::body::Body;
use crate::api::http::envelope::ApiError;
use crate::api::http::query::bad_parameter;
use crate::api::openapi::{labels, schemas};
use crate::api::watch::{self, Backlog, Position, WatchCursor, WatchFilter, Watcher};
use crate::catalog::{Mark, Snapshot};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
/// A proxy that withholds or compresses pieces would delay events.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store, no-transform");
/// The same for nginx, which ignores the header above
/// ([X-Accel-Buffering](https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering)).
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Bytes that a continued watch may receive without counting as a request.
const UNCOUNTED_BYTES: usize = 32 * 1024;

/// Streams changes. Events: `snapshot` (`{"services":[…],"first":…,"last":…}`), `change` (`{"upserts":[…],"removed":[…]}`), and `server`
/// (`[{"at":…,"part":…,"good":…,"message":…}]`), all recent events of this server itself, oldest first, each time that one is added;
/// its parts are `server`, `tls`, `store`, `prober`, `guard`, `leader`, `mirror`, `installs` and `annotated`. The id of an event is the cursor to
/// continue from; of several `snapshot` events, and of several `change` events of one commit, only the last has one. A comment line comes after 15 s of silence.
/// Where a token opened the watch, `end` (`{"code":…,"error":…}`) is its last event, sent once the token has expired or its secret is no
/// longer in force; in the middle of another event the stream ends without it. With `name`, `snapshot` and `change` hold services of that name alone. What is sent at the start counts like a list of the same size; a watch that continues from a cursor and missed little does not count.
#[utoipa::path(
    get,
    operation_id = "watch",
    tag = "discovery",
    path = "/api/v1/watch",
    params(
        ("namespace" = inline(Option<labels::Namespaces>), Query, description = "One namespace, or `*` for all that you may see; the default one when absent"),
        ("name" = Option<String>, Query, description = "Only services of this name, also one that is registered later"),
        ("cursor" = Option<String>, Query, pattern = r"^[0-9a-f]{16}\.[0-9]{1,19}([~+].*)?$", description = "The id of the last event seen; the header `Last-Event-ID` says the same"),
    ),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
        (status = 400, description = "`invalid_parameter`; `details` name it", body = schemas::Refusal),
        (status = 429, description = "`too_many_watches`: the server or this client has as many open as it may; `rate_limited`", body = schemas::Refusal),
    )
)]
pub(super) async fn watch(request: &RequestContext<'_>) -> Answer {
    let state = request.state;
    let mut query = request.query()?;
    let namespaces = NamespaceFilter::take(&mut query, &state.settings.default_namespace)?;
    let filter = WatchFilter { namespaces, name: query.parse("name")? };
    let text = query.take("cursor").map(Cow::into_owned);
    query.end(&["namespace", "name", "cursor"])?;
    let cursor = match text.as_deref().or_else(|| last_event_id(request)) {
        None => None,
        Some(text) => Some(text.parse::<WatchCursor>().map_err(|expected| bad_parameter("cursor", expected))?),
    };
    let permit = state.watches.acquire(request.client).map_err(|full| watch::refused(full, &state.metrics))?;
    if let Some(cursor) = &cursor {
        watch::catch_up(&state.catalog, cursor).await;
    }
    let pin = state.catalog.pin();
    let (snapshot, feed) = state.catalog.subscribe();
    let backlog = match &cursor {
        None => Backlog::Everything,
        Some(cursor) => backlog(request, &snapshot, cursor).await,
    };
    let since = if let Backlog::Since(position, _) = &backlog { Some(*position) } else { None };
    let bytes = watch::backlog_bytes(&snapshot, request.principal, &filter, since);
    let uncounted = since.is_some() && bytes <= UNCOUNTED_BYTES;
    if request.renewals_only && !uncounted {
        return Err(ApiError::rate_limited());
    }
    let watcher = Watcher {
        catalog: Arc::clone(&state.catalog),
        in_flight: Arc::clone(&state.in_flight),
        feed,
        server_events: state.server_events.from_the_start(),
        epoch: snapshot.epoch().clone(),
        replica: snapshot.mark().map(|mark| mark.replica),
        principal: (*request.principal).clone(),
        validity: state.access.token_validity(request.principal),
        filter,
    };
    let mut response = Response::new(Body::Stream(watch::stream(watcher, permit, snapshot, pin, backlog)));
    response.extensions_mut().insert(SentAtOnce(bytes));
    if uncounted {
        response.extensions_mut().insert(NotCounted);
    }
    response.headers_mut().insert(CONTENT_TYPE, EVENT_STREAM);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response.headers_mut().insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event_id<'a>(request: &RequestContext<'a>) -> Option<&'a str> {
    let header = request.head.headers.get("last-event-id")?.to_str().ok()?.trim();
    (!header.is_empty()).then_some(header)
}

/// What happened since the cursor; everything where that is not known.
async fn backlog(request: &RequestContext<'_>, snapshot: &Snapshot, cursor: &WatchCursor) -> Backlog {
    if cursor.epoch != *snapshot.epoch() {
        return Backlog::Everything;
    }
    if let Some(mine) = snapshot.mark() {
        return mirror_backlog(snapshot, cursor.mark, mine);
    }
    if cursor.revision > snapshot.revision() {
        return Backlog::Everything;
    }
    match request.state.history.removed_since(cursor.revision).await {
        Ok(Some(removed)) => Backlog::Since(Position::Revision(cursor.revision), removed),
        // Too long ago, or the reader is busy: everything says the same in more bytes.
        Ok(None) | Err(_) => Backlog::Everything,
    }
}

/// The same in a mirror. Each replica learns of changes in another order, of its own writes before the rest, and a verdict may come without
/// a revision. So only the replica's own sequence says what was missed, and a cursor of another replica does not.
fn mirror_backlog(snapshot: &Snapshot, theirs: Option<Mark>, mine: Mark) -> Backlog {
    let own = theirs.filter(|theirs| theirs.replica == mine.replica && theirs.sequence <= mine.sequence);
    let since = own.and_then(|own| Some((own.sequence, snapshot.removed_since(own.sequence)?)));
    since.map_or(Backlog::Everything, |(sequence, removed)| Backlog::Since(Position::Sequence(sequence), removed))
}
