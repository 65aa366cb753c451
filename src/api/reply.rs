//! Answers that carry services as the catalog rendered them: bytes around bytes, nothing serialised again.

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;

use super::Body;
use super::envelope::json_reply;
use super::etag;
use crate::catalog::render::Rendered;
use crate::catalog::{Entry, Snapshot};

/// What comes before `data`; the message needs no escaping.
fn open(message: &'static str, data: usize) -> Vec<u8> {
    const BEFORE: &[u8] = br#"{"success":true,"message":""#;
    const AFTER: &[u8] = br#"","data":"#;
    let mut out = Vec::with_capacity(BEFORE.len() + message.len() + AFTER.len() + data + 1);
    out.extend_from_slice(BEFORE);
    out.extend_from_slice(message.as_bytes());
    out.extend_from_slice(AFTER);
    out
}

fn close(mut out: Vec<u8>) -> Response<Body> {
    out.push(b'}');
    json_reply(StatusCode::OK, out)
}

/// Adds `,"name":value` beside `data`.
fn beside(out: &mut Vec<u8>, name: &'static str, value: &impl Serialize) {
    // Our own types always serialise, and writing to a Vec cannot fail.
    let value = serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec());
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(&value);
}

/// 200 "Service found" with one service whole, or 304 when the client holds it. This is the hot path's answer.
pub(super) fn found(snapshot: &Snapshot, entry: &Entry, asked: &HeaderMap) -> Response<Body> {
    const BEFORE: &[u8] = br#"{"success":true,"message":"Service found","data":"#;
    let tag = entry.tag(snapshot.epoch());
    if let Some(unchanged) = etag::not_modified(&tag, asked) {
        return unchanged;
    }
    let mut response = json_reply(StatusCode::OK, entry.json_between(BEFORE, b"}"));
    etag::put(&tag, &mut response);
    response
}

/// 200 with one service whole and, where `extra` is some, one more field beside `data`.
pub(super) fn entry_with<T: Serialize>(
    message: &'static str,
    entry: &Entry,
    extra: Option<(&'static str, T)>,
) -> Response<Body> {
    let mut out = open(message, entry.json_len());
    entry.write_json(&mut out);
    if let Some((name, value)) = extra {
        beside(&mut out, name, &value);
    }
    close(out)
}

/// 200 with a service as it was rendered for this request.
pub(super) fn rendered(message: &'static str, service: &Rendered, entry: &Entry) -> Response<Body> {
    let mut out = open(message, service.len());
    service.write(entry.last_check().get(), &mut out);
    close(out)
}

/// 200 with a list; `next` is the cursor of the page after it, `hint` where else to look.
pub(super) fn list(
    message: &'static str,
    entries: &[&Arc<Entry>],
    next: Option<String>,
    hint: Option<String>,
) -> Response<Body> {
    let bytes: usize = entries.iter().map(|entry| entry.json_len() + 1).sum();
    let mut out = open(message, bytes + 256);
    out.push(b'[');
    for (n, entry) in entries.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        entry.write_json(&mut out);
    }
    out.push(b']');
    for (name, value) in [("next_cursor", next), ("hint", hint)] {
        if let Some(value) = value {
            beside(&mut out, name, &value);
        }
    }
    close(out)
}
