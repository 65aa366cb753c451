//! Answers that carry services as the catalog rendered them: bytes around bytes, nothing serialised again.
//!
//! What fits into one piece is copied once. Anything larger is made while it is sent, so that a slow reader costs a few pieces and not
//! a copy of what it reads. Its length is known all the same: the moment of the newest probe alone changes meanwhile, and only in place.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;

use super::Body;
use super::body::PIECE;
use super::envelope::json_reply;
use super::etag;
use super::parts::{COPIED, Parts};
use crate::catalog::render::{Rendered, Stamp};
use crate::catalog::{Catalog, Entry, Pin, Snapshot};

const BEFORE: &[u8] = br#"{"success":true,"message":""#;
const AFTER: &[u8] = br#"","data":"#;

/// What comes before `data`; the message needs no escaping.
fn open(message: &'static str, room: usize) -> Parts {
    let mut parts = Parts::with_room(room);
    parts.text(&[BEFORE, message.as_bytes(), AFTER].concat());
    parts
}

/// 200 with these parts.
fn reply(mut parts: Parts, pin: Pin) -> Response<Body> {
    let len = parts.len();
    let body = if len <= PIECE {
        Body::from(parts.pull(PIECE).unwrap_or_default())
    } else {
        Body::made(len, 0, std::iter::from_fn(move || parts.pull(PIECE)), pin)
    };
    json_reply(StatusCode::OK, body)
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
pub(super) fn found(catalog: &Catalog, snapshot: &Snapshot, entry: &Arc<Entry>, asked: &HeaderMap) -> Response<Body> {
    const FOUND: &str = "Service found";
    const BEFORE_DATA: &[u8] = br#"{"success":true,"message":"Service found","data":"#;
    let tag = entry.tag(snapshot.epoch());
    if let Some(unchanged) = etag::not_modified(&tag, asked) {
        return unchanged;
    }
    let mut response = if entry.json_len() > PIECE {
        entry_with(catalog, FOUND, entry, None::<(_, ())>)
    } else {
        json_reply(StatusCode::OK, entry.json_between(BEFORE_DATA, b"}"))
    };
    etag::put(&tag, &mut response);
    response
}

/// 200 with one service whole and, where `extra` is some, one more field beside `data`.
pub(super) fn entry_with<T: Serialize>(
    catalog: &Catalog,
    message: &'static str,
    entry: &Arc<Entry>,
    extra: Option<(&'static str, T)>,
) -> Response<Body> {
    let mut parts = open(message, entry.json_len().min(PIECE) + 128);
    parts.entry(entry, &entry.stamp());
    let mut end = Vec::new();
    if let Some((name, value)) = extra {
        beside(&mut end, name, &value);
    }
    end.push(b'}');
    parts.text(&end);
    reply(parts, catalog.pin())
}

/// 200 with a service as it was rendered for this request.
pub(super) fn rendered(message: &'static str, service: &Rendered, entry: &Entry) -> Response<Body> {
    let open = [BEFORE, message.as_bytes(), AFTER].concat();
    json_reply(StatusCode::OK, service.between(&open, entry.last_check().get(), b"}"))
}

/// 200 with a list; `next` is the cursor of the page after it, `hint` where else to look. `pin` is as old as the entries.
pub(super) fn list(
    message: &'static str,
    entries: Vec<Arc<Entry>>,
    pin: Pin,
    next: Option<String>,
    hint: Option<String>,
) -> Response<Body> {
    let mut end = b"]".to_vec();
    for (name, value) in [("next_cursor", next), ("hint", hint)] {
        if let Some(value) = value {
            beside(&mut end, name, &value);
        }
    }
    end.push(b'}');
    let probed: Box<[bool]> = entries.iter().map(|entry| entry.last_check().get().is_some()).collect();
    let services: usize =
        entries.iter().zip(&probed).map(|(entry, probed)| entry.text().len_stamped(&stamp(entry, *probed))).sum();
    let mut parts = open(message, (services + 256).min(PIECE + COPIED));
    parts.text(b"[");
    let len = parts.len() + services + entries.len().saturating_sub(1) + end.len();
    let kept = entries.len() * (size_of::<Arc<Entry>>() + size_of::<bool>());
    let mut pieces = Listed { parts, entries: entries.into_iter(), probed, sent: 0, end };
    if len <= PIECE {
        return json_reply(StatusCode::OK, pieces.next().unwrap_or_default());
    }
    json_reply(StatusCode::OK, Body::made(len, kept, pieces, pin))
}

/// The newest probe in as many bytes as were announced.
fn stamp(entry: &Entry, probed: bool) -> Stamp {
    if probed { Stamp::wide(entry.last_check().get()) } else { Stamp::null() }
}

/// A list on its way: what is left of it are references.
struct Listed {
    parts: Parts,
    entries: std::vec::IntoIter<Arc<Entry>>,
    /// Whether each had been probed when the length was told.
    probed: Box<[bool]>,
    sent: usize,
    end: Vec<u8>,
}

impl Iterator for Listed {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.parts.len() < PIECE {
            let Some(entry) = self.entries.next() else {
                self.parts.text(&std::mem::take(&mut self.end));
                break;
            };
            if self.sent > 0 {
                self.parts.text(b",");
            }
            let probed = self.probed.get(self.sent).copied().unwrap_or_default();
            self.sent += 1;
            self.parts.entry(&entry, &stamp(&entry, probed));
        }
        self.parts.pull(PIECE)
    }
}
