//! What a line of the audit log says. Foreign text in it is bounded and escaped; no token, header or body gets here.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Serialize;
use uuid::Uuid;

use super::AUDIT_TARGET;
use crate::model::text::escape;
use crate::model::time::UnixMs;

/// Longest name of a service, an instance or a namespace, in characters: as it came, where it is refused.
const MAX_NAME: usize = 100;
/// Longest issuer or subject, in characters.
const MAX_WHO: usize = 256;
/// Longest note, in characters.
const MAX_NOTE: usize = 256;
/// Longest id that a client gave its request, in characters.
const MAX_ID: usize = 64;

/// Who asked for a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who<'a> {
    /// How the caller is known.
    pub kind: Kind,
    /// The token's issuer; empty where there is none.
    pub issuer: &'a str,
    /// The token's subject; empty where there is none.
    pub subject: &'a str,
}

impl Who<'_> {
    /// A caller whose token, if any, was not accepted: nothing that it says of itself is believed.
    pub const UNVERIFIED: Self = Self { kind: Kind::Unverified, issuer: "", subject: "" };
}

/// How a caller is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By a token that a secret of ours signed.
    Token,
    /// By a token of one of the cluster's ServiceAccounts.
    ServiceAccount,
    /// By a client's certificate.
    Certificate,
    /// Not at all: auth is off.
    Anonymous,
    /// Not at all: the request was refused before.
    Unverified,
    /// As the user of a command on the server's machine; the subject is the user's id.
    Local,
}

impl Kind {
    /// Its name in a line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::ServiceAccount => "service_account",
            Self::Certificate => "certificate",
            Self::Anonymous => "anonymous",
            Self::Unverified => "unverified",
            Self::Local => "local",
        }
    }
}

/// One write, done or refused.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Our id of the request.
    pub request_id: &'a str,
    /// The id that the client gave it (`X-Request-Id`).
    pub client_request_id: Option<&'a str>,
    /// Who asked.
    pub who: Who<'a>,
    /// The client's address: the one that a trusted proxy forwards, else the peer's. None for a command.
    pub client: Option<IpAddr>,
    /// The connection's peer.
    pub peer: Option<IpAddr>,
    /// What was asked: a word of a closed set.
    pub action: &'static str,
    /// The service's namespace, as far as it is known.
    pub namespace: &'a str,
    /// The service's name.
    pub service: &'a str,
    /// The service's id.
    pub id: Option<Uuid>,
    /// The instance, where one is meant.
    pub instance: &'a str,
    /// Its generation, as `If-Match` names it: after the write, or before its removal.
    pub generation: Option<u64>,
    /// The service's revision, likewise.
    pub revision: Option<u64>,
    /// What the caller gives as the reason of a drain, or as the note of an acknowledgement.
    pub note: &'a str,
    /// The answer's status; 0 for a command.
    pub status: u16,
    /// The code of a refusal.
    pub code: Option<&'static str>,
    /// Another replica passed the request on.
    pub passed_on: bool,
}

/// A record, ready to be written.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    timestamp: UnixMs,
    target: &'static str,
    action: &'static str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    passed_on: bool,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_request_id: Option<Cow<'a, str>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's calling form")]
fn is_zero(status: &u16) -> bool {
    *status == 0
}

impl<'a> Line<'a> {
    pub(super) fn of(record: &Record<'a>) -> Self {
        Self {
            timestamp: UnixMs::wall(),
            target: AUDIT_TARGET,
            action: record.action,
            outcome: outcome(record.status),
            status: record.status,
            code: record.code,
            kind: record.who.kind.as_str(),
            issuer: shown(record.who.issuer, MAX_WHO),
            subject: shown(record.who.subject, MAX_WHO),
            client: record.client.map(|address| address.to_canonical()),
            peer: record.peer.map(|address| address.to_canonical()),
            namespace: shown(record.namespace, MAX_NAME),
            service: shown(record.service, MAX_NAME),
            id: record.id,
            instance: shown(record.instance, MAX_NAME),
            generation: record.generation,
            revision: record.revision,
            note: shown(record.note, MAX_NOTE),
            passed_on: record.passed_on,
            request_id: record.request_id,
            client_request_id: record.client_request_id.and_then(|id| shown(id, MAX_ID)),
        }
    }

    /// One line of JSON, with its line break.
    pub(super) fn json(&self) -> Vec<u8> {
        // Our own types always serialise.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// The same as an event of the process's log.
    pub(super) fn log(&self) {
        tracing::info!(
            target: AUDIT_TARGET,
            action = self.action,
            outcome = self.outcome,
            status = Some(self.status).filter(|status| *status != 0),
            code = self.code,
            kind = self.kind,
            issuer = self.issuer.as_deref(),
            subject = self.subject.as_deref(),
            client = self.client.map(tracing::field::display),
            peer = self.peer.map(tracing::field::display),
            namespace = self.namespace.as_deref(),
            service = self.service.as_deref(),
            id = self.id.map(tracing::field::display),
            instance = self.instance.as_deref(),
            generation = self.generation,
            revision = self.revision,
            note = self.note.as_deref(),
            passed_on = Some(true).filter(|_| self.passed_on),
            request_id = self.request_id,
            client_request_id = self.client_request_id.as_deref(),
            "{}: {}",
            self.action,
            self.outcome,
        );
    }
}

/// What came of it, in a word.
fn outcome(status: u16) -> &'static str {
    match status {
        // As nginx counts it: the client left before the answer.
        499 => "unknown",
        400..=498 => "refused",
        500.. => "failed",
        _ => "done",
    }
}

/// A text as it may be shown; none where it is empty. Nearly all are short and plain.
fn shown(text: &str, max: usize) -> Option<Cow<'_, str>> {
    let plain = text.len() <= max && text.bytes().all(|b| matches!(b, b' '..=b'~'));
    (!text.is_empty()).then(|| if plain { Cow::Borrowed(text) } else { Cow::Owned(escape(text, max)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            request_id: "0123456789abcdef",
            client_request_id: None,
            who: Who { kind: Kind::Token, issuer: "", subject: "ci" },
            client: None,
            peer: None,
            action: "register",
            namespace: "shop",
            service: "cart",
            id: None,
            instance: "a",
            generation: Some(3),
            revision: Some(7),
            note: "",
            status: 200,
            code: None,
            passed_on: false,
        }
    }

    fn line(record: &Record<'_>) -> serde_json::Value {
        let bytes = Line::of(record).json();
        assert_eq!(memchr::memchr_iter(b'\n', &bytes).count(), 1);
        serde_json::from_slice(&bytes).expect("JSON")
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let line = line(&record());
        assert_eq!(
            (&line["outcome"], &line["subject"], &line["generation"]),
            (&"done".into(), &"ci".into(), &3.into())
        );
        for absent in ["issuer", "client", "peer", "code", "note", "passed_on", "client_request_id", "id"] {
            assert!(line.get(absent).is_none(), "{absent}: {line}");
        }
    }

    #[test]
    fn foreign_text_is_escaped_and_bounded() {
        let hostile = format!("a\n{{\"action\":\"forged\"}}\u{1b}[2J\u{202e}{}", "x".repeat(5000));
        let who = Who { kind: Kind::Token, issuer: &hostile, subject: &hostile };
        let (name, id) = (&*hostile, Some(&*hostile));
        let record = Record {
            who,
            service: name,
            instance: name,
            namespace: name,
            note: name,
            client_request_id: id,
            ..record()
        };
        let bytes = Line::of(&record).json();
        assert!(bytes.len() < 4000, "{}", bytes.len());
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(!text.trim_end().contains(['\n', '\u{1b}', '\u{202e}']), "{text}");
        assert!(text.contains(r"a\\u{a}{"), "{text}");
    }
}
