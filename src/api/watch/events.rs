//! The bytes of events.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::api::access::TokenEnd;
use crate::api::http::segments::Segments;
use crate::catalog::Entry;
use crate::model::name::ServiceKey;
use crate::telemetry::server_events::{self, ServerEvents};
use crate::wire::events::{End, Removed, ServerEvent};

/// Sent after a while of silence: a comment, which clients ignore.
pub(super) const KEEP_ALIVE: Bytes = Bytes::from_static(b":\n\n");
/// Services fill an event up to this many bytes; a single one may take more.
pub(super) const MAX_BYTES: usize = 16 * 1024;
/// Tells a client to reconnect soon when the stream ends.
pub(super) const RETRY: Bytes = Bytes::from_static(b"retry: 1000\n\n");

/// A service, and whether its owners are shown.
pub(super) type Shown = (Arc<Entry>, bool);

/// Some services of a snapshot; only the last such event has a cursor.
pub(super) fn snapshot(entries: &[Shown], first: bool, cursor: Option<&str>) -> Segments {
    let mut segments = open("snapshot", cursor, b"{\"services\":[", entries);
    list(&mut segments, entries);
    segments.text(b"],\"first\":");
    segments.text(if first { b"true" } else { b"false" });
    segments.text(b",\"last\":");
    segments.text(if cursor.is_some() { b"true" } else { b"false" });
    segments.text(b"}\n\n");
    segments
}

/// A commit, or some of it; only the last such event has a cursor.
pub(super) fn change(upserts: &[Shown], removed: &[(ServiceKey, Uuid)], cursor: Option<&str>) -> Segments {
    let mut segments = open("change", cursor, b"{\"upserts\":[", upserts);
    list(&mut segments, upserts);
    segments.text(b"],\"removed\":[");
    for (n, (key, id)) in removed.iter().enumerate() {
        if n > 0 {
            segments.text(b",");
        }
        let removed = Removed { id: *id, namespace: key.namespace().into(), name: key.name().into() };
        // Our own types always serialise.
        segments.text(&serde_json::to_vec(&removed).unwrap_or_default());
    }
    segments.text(b"]}\n\n");
    segments
}

/// All recent events of the server itself. They have no cursor, since continuing does not depend on them.
pub(super) fn server(events: &ServerEvents) -> Bytes {
    let render = || {
        let mut out = b"event: server\ndata: ".to_vec();
        // Our own types always serialise, and writing to a Vec cannot fail.
        let events: Vec<ServerEvent> = events.events.iter().map(event).collect();
        let _ = serde_json::to_writer(&mut out, &events);
        out.extend_from_slice(b"\n\n");
        out.into()
    };
    events.rendered.get_or_init(render).clone()
}

fn event(event: &server_events::ServerEvent) -> ServerEvent {
    let message = (&*event.message).into();
    ServerEvent { at: event.at, part: event.component.as_str().into(), good: event.good, message }
}

/// The last event of a watch whose token has become invalid, with the code that would refuse a request with it.
pub(super) fn token_end(end: TokenEnd) -> Bytes {
    let mut out = b"event: end\ndata: ".to_vec();
    // Our own types always serialise, and writing to a Vec cannot fail.
    let _ = serde_json::to_writer(&mut out, &End { code: end.code().as_str().into(), error: end.to_string().into() });
    out.extend_from_slice(b"\n\n");
    out.into()
}

fn open(event: &str, cursor: Option<&str>, data: &[u8], entries: &[Shown]) -> Segments {
    let bytes: usize = entries.iter().map(|(entry, _)| entry.json_len() + 1).sum();
    let mut segments = Segments::with_capacity(128 + bytes.min(MAX_BYTES));
    for (field, value) in [("event", Some(event)), ("id", cursor)] {
        if let Some(value) = value {
            segments.text(&[field.as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        }
    }
    segments.text(b"data: ");
    segments.text(data);
    segments
}

/// One data line is enough: compact JSON holds line breaks only in strings, escaped.
fn list(segments: &mut Segments, entries: &[Shown]) {
    for (n, (entry, owners)) in entries.iter().enumerate() {
        if n > 0 {
            segments.text(b",");
        }
        segments.entry(entry, &entry.variant(*owners));
    }
}
