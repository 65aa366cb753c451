//! The events' bytes.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::api::access::Ended;
use crate::api::parts::Parts;
use crate::catalog::Entry;
use crate::model::name::ServiceKey;
use crate::telemetry::server_events::{self, ServerEvents};
use crate::wire::events::{End, Removed, ServerEvent};

/// Sent when nothing else was for a while: a comment, which clients pass over.
pub(super) const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");
/// Tells a client to come back soon when the stream ends.
pub(super) const RETRY: Bytes = Bytes::from_static(b"retry: 1000\n\n");

/// A part of everything; the last carries the cursor.
pub(super) fn snapshot(entries: &[Arc<Entry>], first: bool, cursor: Option<&str>) -> Parts {
    let mut parts = open("snapshot", cursor, b"{\"services\":[", entries);
    list(&mut parts, entries);
    parts.text(b"],\"first\":");
    parts.text(if first { b"true" } else { b"false" });
    parts.text(b",\"last\":");
    parts.text(if cursor.is_some() { b"true" } else { b"false" });
    parts.text(b"}\n\n");
    parts
}

/// What changed, or a part of it; the last carries the cursor.
pub(super) fn change(upserts: &[Arc<Entry>], removed: &[(ServiceKey, Uuid)], cursor: Option<&str>) -> Parts {
    let mut parts = open("change", cursor, b"{\"upserts\":[", upserts);
    list(&mut parts, upserts);
    parts.text(b"],\"removed\":[");
    for (n, (key, id)) in removed.iter().enumerate() {
        if n > 0 {
            parts.text(b",");
        }
        let gone = Removed { id: *id, namespace: key.namespace().into(), name: key.name().into() };
        // Our own types always serialise.
        parts.text(&serde_json::to_vec(&gone).unwrap_or_default());
    }
    parts.text(b"]}\n\n");
    parts
}

/// What the server tells of itself: all that is kept. It has no cursor, for where to go on does not depend on it.
pub(super) fn told(told: &ServerEvents) -> Bytes {
    let render = || {
        let mut out = b"event: server\ndata: ".to_vec();
        // Our own types always serialise, and writing to a Vec cannot fail.
        let events: Vec<ServerEvent> = told.events.iter().map(event).collect();
        let _ = serde_json::to_writer(&mut out, &events);
        out.extend_from_slice(b"\n\n");
        out.into()
    };
    told.rendered.get_or_init(render).clone()
}

fn event(told: &server_events::ServerEvent) -> ServerEvent {
    ServerEvent { at: told.at, part: told.component.as_str().into(), good: told.good, message: (&*told.message).into() }
}

/// The last event of a watch whose token counts no more: what a request with it would be refused with.
pub(super) fn ended(why: Ended) -> Bytes {
    let mut out = b"event: end\ndata: ".to_vec();
    // Our own types always serialise, and writing to a Vec cannot fail.
    let _ = serde_json::to_writer(&mut out, &End { code: why.code().as_str().into(), error: why.to_string().into() });
    out.extend_from_slice(b"\n\n");
    out.into()
}

fn open(event: &str, cursor: Option<&str>, data: &[u8], entries: &[Arc<Entry>]) -> Parts {
    let room: usize = entries.iter().map(|entry| entry.json_len() + 1).sum();
    let mut parts = Parts::with_room(128 + room.min(super::stream::EVENT));
    for (field, value) in [("event", Some(event)), ("id", cursor)] {
        if let Some(value) = value {
            parts.text(&[field.as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        }
    }
    parts.text(b"data: ");
    parts.text(data);
    parts
}

/// JSON holds no line break outside of strings, and in them only escaped: one data line is enough.
fn list(parts: &mut Parts, entries: &[Arc<Entry>]) {
    for (n, entry) in entries.iter().enumerate() {
        if n > 0 {
            parts.text(b",");
        }
        parts.entry(entry, &entry.stamp());
    }
}
