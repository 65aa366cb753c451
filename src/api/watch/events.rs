//! The events' bytes.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use crate::api::access::Ended;
use crate::catalog::{Entry, Snapshot};
use crate::model::name::ServiceKey;
use crate::telemetry::told::Told;

/// Sent when nothing else was for a while: a comment, which clients pass over.
pub(super) const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");
/// Tells a client to come back soon when the stream ends.
pub(super) const RETRY: Bytes = Bytes::from_static(b"retry: 1000\n\n");

#[derive(Serialize)]
struct Removed<'a> {
    id: Uuid,
    namespace: &'a str,
    name: &'a str,
}

/// A part of everything; the last carries the cursor.
pub(super) fn snapshot(entries: &[&Arc<Entry>], first: bool, cursor: Option<&str>) -> Bytes {
    let mut out = open("snapshot", cursor, b"{\"services\":[", entries);
    list(&mut out, entries);
    out.extend_from_slice(b"],\"first\":");
    out.extend_from_slice(if first { b"true" } else { b"false" });
    out.extend_from_slice(b",\"last\":");
    out.extend_from_slice(if cursor.is_some() { b"true" } else { b"false" });
    close(out)
}

/// What changed.
pub(super) fn change(upserts: &[&Arc<Entry>], removed: &[&(ServiceKey, Uuid)], cursor: &str) -> Bytes {
    let mut out = open("change", Some(cursor), b"{\"upserts\":[", upserts);
    list(&mut out, upserts);
    out.extend_from_slice(b"],\"removed\":[");
    for (n, (key, id)) in removed.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        let gone = Removed { id: *id, namespace: key.namespace(), name: key.name() };
        // Our own types always serialise, and writing to a Vec cannot fail.
        let _ = serde_json::to_writer(&mut out, &gone);
    }
    out.push(b']');
    close(out)
}

/// What the server tells of itself: all that is kept. It has no cursor, for where to go on does not depend on it.
pub(super) fn told(told: &Told) -> Bytes {
    let render = || {
        let mut out = b"event: server\ndata: ".to_vec();
        // Our own types always serialise, and writing to a Vec cannot fail.
        let _ = serde_json::to_writer(&mut out, &told.events);
        out.extend_from_slice(b"\n\n");
        out.into()
    };
    told.rendered.get_or_init(render).clone()
}

#[derive(Serialize)]
struct End {
    code: &'static str,
    error: String,
}

/// The last event of a watch whose token counts no more: what a request with it would be refused with.
pub(super) fn ended(why: Ended) -> Bytes {
    let mut out = b"event: end\ndata: ".to_vec();
    // Our own types always serialise, and writing to a Vec cannot fail.
    let _ = serde_json::to_writer(&mut out, &End { code: why.code().as_str(), error: why.to_string() });
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// The cursor that a snapshot's events carry.
pub(super) fn cursor(snapshot: &Snapshot) -> String {
    format!("{}.{}", snapshot.epoch(), snapshot.revision())
}

fn open(event: &str, cursor: Option<&str>, data: &[u8], entries: &[&Arc<Entry>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + entries.iter().map(|entry| entry.json_len() + 1).sum::<usize>());
    for (field, value) in [("event", Some(event)), ("id", cursor)] {
        if let Some(value) = value {
            out.extend_from_slice(field.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.push(b'\n');
        }
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out
}

/// JSON holds no line break outside of strings, and in them only escaped: one data line is enough.
fn list(out: &mut Vec<u8>, entries: &[&Arc<Entry>]) {
    for (n, entry) in entries.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        entry.write_json(out);
    }
}

fn close(mut out: Vec<u8>) -> Bytes {
    out.extend_from_slice(b"}\n\n");
    out.into()
}
