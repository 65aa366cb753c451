//! A line of `portolan export`: a register call, and with `--for-import` what a register call cannot express.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::rows::{Candidate, Content, Note, shown};
use crate::model::service::{Drain, MAX_DRAIN_REASON, MAX_OWNER, Owner};
use crate::model::text;
use crate::model::time::UnixMs;
use crate::model::value_error::{ValueError, json_sentence};
use crate::store::Origin;

/// Longest line, in bytes: the longest register call that a server takes, and what is added for an import.
pub(super) const MAX_LINE: usize = 64 * 1024 + 4096;

/// The fields that are not a register call's.
const ADDED: [&str; 4] = ["id", "owner", "registered_at", "drain"];

/// An owner as a line names it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedOwner {
    subject: Box<str>,
    #[serde(default)]
    issuer: Box<str>,
}

/// Reads a line.
pub(super) fn read(number: u64, line: &[u8]) -> Candidate {
    let mut row = Candidate {
        number,
        name: String::new(),
        content: Content::Refused,
        notes: Vec::new(),
        owner: None,
        origin: Origin::default(),
    };
    if line.len() > MAX_LINE {
        row.notes
            .push(Note::new("line", format!("is longer than {MAX_LINE} bytes, the most that a registration needs")));
        return row;
    }
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    match serde_json::from_slice::<Map<String, Value>>(line) {
        Ok(mut fields) => {
            row.name = fields.get("name").and_then(Value::as_str).map(shown).unwrap_or_default();
            added(&mut fields, &mut row);
            if row.notes.is_empty() {
                // As it came where nothing was taken out of it: a field that is given twice is noticed later.
                let own =
                    ADDED.iter().all(|name| memchr::memmem::find(line, format!("\"{name}\"").as_bytes()).is_none());
                let same = if own { std::str::from_utf8(line).ok().map(str::to_owned) } else { None };
                row.content = Content::Registration(same.unwrap_or_else(|| Value::Object(fields).to_string()));
            }
        }
        Err(error) => row.notes.push(Note::new("line", json_sentence(&error))),
    }
    row
}

/// Takes out what is not a register call's.
fn added(fields: &mut Map<String, Value>, row: &mut Candidate) {
    row.origin.id = take::<Uuid>(fields, "id", row);
    row.origin.registered_at = take::<UnixMs>(fields, "registered_at", row);
    row.origin.drain = take::<Drain>(fields, "drain", row).map(Arc::new);
    row.owner = take::<NamedOwner>(fields, "owner", row)
        .map(|owner| Owner::Token { issuer: (*owner.issuer).into(), subject: (*owner.subject).into() });
    let mut refuse = |field: &str, text: &str, max: usize| {
        if let Err(error) = text::accept(text, max) {
            row.notes.push(Note::new(field, error.to_string()));
        }
    };
    if let Some(drain) = &row.origin.drain {
        refuse("drain.reason", &drain.reason, MAX_DRAIN_REASON);
        refuse("drain.by", &drain.by, MAX_DRAIN_REASON);
    }
    if let Some(Owner::Token { issuer, subject }) = &row.owner {
        refuse("owner.issuer", issuer, MAX_OWNER);
        refuse("owner.subject", subject, MAX_OWNER);
        if subject.is_empty() {
            row.notes.push(Note::new("owner.subject", "is empty; leave the owner out where nobody owns the instance"));
        }
    }
}

fn take<T: for<'de> Deserialize<'de>>(fields: &mut Map<String, Value>, name: &str, row: &mut Candidate) -> Option<T> {
    let value = fields.remove(name).filter(|value| !value.is_null())?;
    match serde_json::from_value(value) {
        Ok(value) => Some(value),
        Err(error) => {
            row.notes.push(Note::new(name, ValueError::of_json(&error).problem));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(row: &Candidate) -> Value {
        let Content::Registration(json) = &row.content else { panic!("{row:?}") };
        serde_json::from_str(json).expect("JSON")
    }

    #[test]
    fn what_no_register_call_can_say_is_taken_out() {
        let line = br#"{"name":"a","base_url":"http://h:1","id":"01a209ab-ae14-7591-8a83-7d88ad4ab853",
            "registered_at":"2026-11-23T18:29:35.892Z","owner":{"subject":"ci"},
            "drain":{"reason":"disk","by":"ops","since":"2026-11-23T18:30:00.000Z"}}"#;
        let row = read(3, line);
        assert_eq!(registration(&row), serde_json::json!({"name": "a", "base_url": "http://h:1"}));
        assert_eq!(row.owner.as_ref().map(Owner::to_stored).as_deref(), Some("token:\nci"));
        assert!(row.origin.id.is_some() && row.origin.registered_at.is_some(), "{row:?}");
        assert_eq!(row.origin.drain.as_ref().map(|drain| drain.reason.as_str()), Some("disk"));
    }

    #[test]
    fn a_line_that_cannot_be_read_says_why() {
        let said = |line: &[u8]| read(1, line).notes.iter().map(Note::sentence).collect::<Vec<_>>().join(" | ");
        assert!(said(b"{\"name\":").contains("is not JSON"), "{}", said(b"{\"name\":"));
        assert!(said(b"[1]").contains("not an object"), "{}", said(b"[1]"));
        assert!(
            said(br#"{"name":"a","owner":"ci"}"#).starts_with("owner is the string"),
            "{}",
            said(br#"{"owner":"ci"}"#)
        );
        assert!(said(br#"{"name":"a","owner":{"subject":""}}"#).contains("owner.subject is empty"));
        assert!(said(&vec![b'x'; MAX_LINE + 1]).contains("is longer than"));
    }
}
