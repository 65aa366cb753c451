//! Answers with services as the catalog rendered them: their bytes are copied, nothing is serialised again.
//!
//! An answer of one piece is copied once. A larger one is made while it is sent, so that a slow reader costs a few pieces of memory and not
//! the whole answer. Its length is known in advance: only the time of the newest probe changes meanwhile, and in place.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;

use super::body::PIECE;
use super::envelope::json_reply;
use super::etag;
use super::segments::{COPIED, Segments};
use crate::api::http::body::Body;
use crate::catalog::render::{Rendered, Variant};
use crate::catalog::{Catalog, Entry, Pin, Snapshot};

const BEFORE: &[u8] = br#"{"success":true,"message":""#;
const AFTER: &[u8] = br#"","data":"#;

/// The start of the envelope, up to `data`; the message needs no escaping.
fn open(message: &'static str, capacity: usize) -> Segments {
    let mut segments = Segments::with_capacity(capacity);
    segments.text(&[BEFORE, message.as_bytes(), AFTER].concat());
    segments
}

/// 200 with these segments.
fn reply(mut segments: Segments, pin: Pin) -> Response<Body> {
    let len = segments.len();
    let body = if len <= PIECE {
        Body::from(segments.pull(PIECE).unwrap_or_default())
    } else {
        Body::made(len, 0, std::iter::from_fn(move || segments.pull(PIECE)), pin)
    };
    json_reply(StatusCode::OK, body)
}

/// Adds `,"name":value` after `data`.
fn append_field(out: &mut Vec<u8>, name: &'static str, value: &impl Serialize) {
    // Our own types always serialise, and writing to a Vec cannot fail.
    let value = serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec());
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(&value);
}

/// 200 "Service found" with one service whole, with or without owners, or 304 when the client has it. This is the fast path's answer.
pub(in crate::api) fn found(
    catalog: &Catalog,
    snapshot: &Snapshot,
    entry: &Arc<Entry>,
    owners: bool,
    request: &HeaderMap,
) -> Response<Body> {
    const FOUND: &str = "Service found";
    const BEFORE_DATA: &[u8] = br#"{"success":true,"message":"Service found","data":"#;
    let tag = entry.tag(snapshot.epoch(), owners);
    if let Some(unchanged) = etag::not_modified(&tag, request) {
        return unchanged;
    }
    let mut response = if entry.json_len() > PIECE {
        entry_with(catalog, FOUND, entry, owners, None::<(_, ())>)
    } else {
        json_reply(StatusCode::OK, entry.json_between(BEFORE_DATA, owners, b"}"))
    };
    etag::put(&tag, &mut response);
    response
}

/// 200 with one service whole, with or without owners, and, where `extra` is given, one more field beside `data`.
pub(in crate::api) fn entry_with<T: Serialize>(
    catalog: &Catalog,
    message: &'static str,
    entry: &Arc<Entry>,
    owners: bool,
    extra: Option<(&'static str, T)>,
) -> Response<Body> {
    let mut segments = open(message, entry.json_len().min(PIECE) + 128);
    segments.entry(entry, &entry.variant(owners));
    let mut end = Vec::new();
    if let Some((name, value)) = extra {
        append_field(&mut end, name, &value);
    }
    end.push(b'}');
    segments.text(&end);
    reply(segments, catalog.pin())
}

/// 200 with a service as it was rendered for this request.
pub(in crate::api) fn rendered(
    message: &'static str,
    service: &Rendered,
    entry: &Entry,
    owners: bool,
) -> Response<Body> {
    let open = [BEFORE, message.as_bytes(), AFTER].concat();
    json_reply(StatusCode::OK, service.between(&open, &entry.variant(owners), b"}"))
}

/// 200 with a list, each service with or without owners; `next` is the cursor of the next page, `hint` says where else to look. `pin` is as old as the entries.
pub(in crate::api) fn list(
    message: &'static str,
    entries: Vec<(Arc<Entry>, bool)>,
    pin: Pin,
    next: Option<String>,
    hint: Option<String>,
) -> Response<Body> {
    let mut end = b"]".to_vec();
    for (name, value) in [("next_cursor", next), ("hint", hint)] {
        if let Some(value) = value {
            append_field(&mut end, name, &value);
        }
    }
    end.push(b'}');
    let entries: Vec<Listed> = entries
        .into_iter()
        .map(|(entry, owners)| Listed { probed: entry.last_check().get().is_some(), entry, owners })
        .collect();
    let services: usize = entries.iter().map(|listed| listed.entry.text().len_of(&listed.variant())).sum();
    let mut segments = open(message, (services + 256).min(PIECE + COPIED));
    segments.text(b"[");
    let len = segments.len() + services + entries.len().saturating_sub(1) + end.len();
    let maker_bytes = entries.len() * size_of::<Listed>();
    let mut pieces = ListPieces { segments, entries: entries.into_iter(), sent: 0, end };
    if len <= PIECE {
        return json_reply(StatusCode::OK, pieces.next().unwrap_or_default());
    }
    json_reply(StatusCode::OK, Body::made(len, maker_bytes, pieces, pin))
}

/// A service of a list.
struct Listed {
    entry: Arc<Entry>,
    /// Whether it had been probed when the length was announced.
    probed: bool,
    /// Whether its owners are shown.
    owners: bool,
}

impl Listed {
    /// With the newest probe, in the announced number of bytes.
    fn variant(&self) -> Variant {
        if self.probed { Variant::wide(self.entry.last_check().get(), self.owners) } else { Variant::null(self.owners) }
    }
}

/// A list while it is sent; the rest of it are references.
struct ListPieces {
    segments: Segments,
    entries: std::vec::IntoIter<Listed>,
    sent: usize,
    end: Vec<u8>,
}

impl Iterator for ListPieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.segments.len() < PIECE {
            let Some(listed) = self.entries.next() else {
                self.segments.text(&std::mem::take(&mut self.end));
                break;
            };
            if self.sent > 0 {
                self.segments.text(b",");
            }
            self.sent += 1;
            self.segments.entry(&listed.entry, &listed.variant());
        }
        self.segments.pull(PIECE)
    }
}
