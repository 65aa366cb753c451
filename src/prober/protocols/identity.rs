//! Whether the right program answered: compares what an answer says of itself with what the check demands, and finds the version in it.
//!
//! What was found comes from a peer, so it enters a message only escaped and cut to [`MAX_SHOWN`].

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::http_body::{Collector, MAX_BODY, Progress};
use super::trace::Ending;
use crate::model::check::Demands;
use crate::model::outcome::Reason;
use crate::model::service::MAX_VERSION;
use crate::model::text;

/// Most characters of a found or expected text in a message.
pub(crate) const MAX_SHOWN: usize = 64;
/// Deepest nesting of a body that is read.
const MAX_DEPTH: usize = 32;

/// A body as far as demands read it.
#[derive(Debug)]
enum Document<'a> {
    Json(&'a RawValue),
    /// It is not JSON, and this is why, in words.
    Not(&'static str),
}

/// What stands at a pointer.
#[derive(Debug, PartialEq, Eq)]
enum Found<'a> {
    /// A text, or a number or truth value as it is written.
    Text(Cow<'a, str>),
    /// Something else, in words.
    Other(&'static str),
    Nothing,
}

/// Judges the headers of an answer; none if they are as demanded. `headers` has the lines of the demanded names.
pub(crate) fn judge_headers(demands: &Demands, headers: &[(String, String)]) -> Option<Ending> {
    demands.identity.header.iter().find_map(|(name, wanted)| {
        let mut lines = headers.iter().filter(|(of, _)| of == name).map(|(_, value)| value);
        let first = lines.next();
        if first == Some(wanted) || lines.any(|value| value == wanted) {
            return None;
        }
        let found = first.map_or_else(
            || format!("the answer has no header {name}"),
            |value| format!("the answer's header {name} is {}", quoted(value)),
        );
        Some(wrong(&found, wanted))
    })
}

/// Judges the body of an answer, and finds the version that it reports.
///
/// # Errors
/// The failure: what is demanded is not there.
pub(crate) fn judge_body(demands: &Demands, body: &Collector) -> Result<Option<String>, Ending> {
    if body.progress() == Progress::Broken && !demands.identity.json.is_empty() {
        let message = "the answer's body ends in the middle, or its chunks are malformed";
        return Err(Ending::fail(Reason::ProtocolError, message));
    }
    let document = read(body);
    for (pointer, wanted) in &demands.identity.json {
        let shown = text::escape(pointer, MAX_SHOWN);
        let found = match &document {
            Document::Not(why) => return Err(unreadable(why, &shown, wanted)),
            Document::Json(value) => match find(value, pointer) {
                Found::Text(text) if text == *wanted => continue,
                Found::Text(text) => format!("{shown} of the answer is {}", quoted(&text)),
                Found::Other(kind) => format!("{shown} of the answer is {kind}"),
                Found::Nothing => format!("the answer has no {shown}"),
            },
        };
        return Err(wrong(&found, wanted));
    }
    let Document::Json(value) = document else { return Ok(None) };
    let version = demands.version_from.as_ref().map(|pointer| find(value, pointer));
    Ok(match version {
        Some(Found::Text(text)) if !text.trim().is_empty() => Some(text::escape(text.trim(), MAX_VERSION - 1)),
        _ => None,
    })
}

/// The failure of a certificate with these names, the demanded one not among them.
pub(crate) fn wrong_names(wanted: &str, names: &[String]) -> Ending {
    let found = match names {
        [] => "the server's certificate has no subjectAltName".to_owned(),
        names => format!("the server's certificate is for {}", text::escape(&names.join(", "), MAX_SHOWN)),
    };
    wrong(&found, wanted)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text::escape(text, MAX_SHOWN))
}

fn wrong(found: &str, wanted: &str) -> Ending {
    let message = format!("{found}, expected {}: another program answers here", quoted(wanted));
    Ending::fail(Reason::WrongIdentity, message)
}

fn unreadable(why: &str, pointer: &str, wanted: &str) -> Ending {
    let message = format!("{why}, so {pointer} cannot be {}; does another program answer here?", quoted(wanted));
    Ending::fail(Reason::WrongIdentity, message)
}

fn read(body: &Collector) -> Document<'_> {
    match body.progress() {
        Progress::TooLong => Document::Not("the answer is longer than 64 KiB"),
        Progress::Broken => Document::Not("the answer's body is incomplete"),
        _ if body.bytes().is_empty() => Document::Not("the answer has no body"),
        Progress::More | Progress::Complete => parse(body.bytes()),
    }
}

fn parse(bytes: &[u8]) -> Document<'_> {
    let bytes = text::without_byte_order_mark(bytes);
    if depth(bytes) > MAX_DEPTH {
        return Document::Not("the answer is nested deeper than 32 levels");
    }
    serde_json::from_slice(bytes).map_or(Document::Not("the answer is not JSON"), Document::Json)
}

/// The deepest nesting of brackets outside of texts.
fn depth(bytes: &[u8]) -> usize {
    let (mut deepest, mut now, mut in_text, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => now += 1,
            b'}' | b']' if !in_text => now = now.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(now);
    }
    deepest
}

/// What stands at a pointer ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)). The text is searched, since a parsed number would lose how
/// it is written.
fn find<'a>(document: &'a RawValue, pointer: &str) -> Found<'a> {
    let tokens = match pointer.strip_prefix('/') {
        Some(tokens) => Some(tokens.split('/')),
        None if pointer.is_empty() => None,
        None => return Found::Nothing,
    };
    let step = |value, token: &str| member(value, &token.replace("~1", "/").replace("~0", "~"));
    match tokens.into_iter().flatten().try_fold(document, step) {
        Some(value) => found(value.get()),
        None => Found::Nothing,
    }
}

/// What an object has by this name, or a list at this position.
fn member<'a>(value: &'a RawValue, token: &str) -> Option<&'a RawValue> {
    let json = value.get();
    match json.as_bytes().first()? {
        b'{' => serde_json::from_str::<HashMap<String, &'a RawValue>>(json).ok()?.remove(token),
        b'[' => {
            let position = token.parse::<usize>().ok().filter(|n| n.to_string() == token)?;
            serde_json::from_str::<Vec<&'a RawValue>>(json).ok()?.get(position).copied()
        }
        _ => None,
    }
}

fn found(json: &str) -> Found<'_> {
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).map_or(Found::Other("not a readable text"), Found::Text),
        Some(b'n') => Found::Other("null"),
        Some(b'[') => Found::Other("a list"),
        Some(b'{') => Found::Other("an object"),
        _ => Found::Text(Cow::Borrowed(json)),
    }
}

const _: () = assert!(MAX_BODY == 64 * 1024, "a message names it");

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::http_response::Framing;
    use super::*;
    use crate::model::check::Identity;

    fn body(bytes: &[u8]) -> Collector {
        let mut body = Collector::new(Framing::Length(bytes.len() as u64));
        body.take(bytes);
        body
    }

    fn demand(pointer: &str, value: &str) -> Demands {
        let json = BTreeMap::from([(pointer.to_owned(), value.to_owned())]);
        Demands { identity: Identity { json, ..Identity::default() }, version_from: Some("/v".to_owned()) }
    }

    fn judge(pointer: &str, value: &str, bytes: &[u8]) -> Result<Option<String>, String> {
        judge_body(&demand(pointer, value), &body(bytes)).map_err(|ending| {
            assert_eq!(ending.reason, Reason::WrongIdentity);
            ending.message
        })
    }

    #[test]
    fn what_stands_at_the_pointer_decides() {
        let answer = br#"{"build":{"name":"user","number":42,"tags":["a",{"x/y":"z","m~n":true}]},"v":" 1.2.3 "}"#;
        let version = Ok(Some("1.2.3".to_owned()));
        for (pointer, value) in
            [("/build/name", "user"), ("/build/number", "42"), ("/build/tags/0", "a"), ("/build/tags/1/x~1y", "z")]
        {
            assert_eq!(judge(pointer, value, answer), version, "{pointer}");
        }
        assert_eq!(judge("/build/tags/1/m~0n", "true", answer), version);
        for (pointer, found) in [
            ("/build/name", "/build/name of the answer is \"user\", expected \"billing\""),
            ("/build/none", "the answer has no /build/none"),
            ("/build", "/build of the answer is an object"),
            ("/build/tags", "is a list"),
            ("/build/tags/01", "has no"),
        ] {
            let message = judge(pointer, "billing", answer).expect_err(pointer);
            assert!(message.contains(found), "{message}");
        }
        assert_eq!(judge("", "plain", b"\"plain\""), Ok(None));
    }

    #[test]
    fn numbers_stay_as_they_are_written() {
        for number in ["1.10", "18446744073709551616", "-0", "1E2", "1e999", "0.1000000000000000055511151231257827"] {
            let answer = format!(r#"{{"a": [ {number} , 1], "v":{number}}}"#);
            assert_eq!(judge("/a/0", number, answer.as_bytes()), Ok(Some(number.to_owned())), "{number}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        let answer = [b"\xef\xbb\xbf", &br#"{"a":"b","v":"1"}"#[..]].concat();
        assert_eq!(judge("/a", "b", &answer), Ok(Some("1".to_owned())));
        assert!(judge("/a", "b", b"\xef\xbb\xbf").expect_err("nothing").contains("not JSON"));
    }

    #[test]
    fn pointers_lead_where_they_would_in_the_parsed_document() {
        let text = r#" {"":{"":1},"a/b":[{"c":"x"},["\ud83d\ude00"]],"m~n":null,"d":1,"d":2,"e":{"0":true}} "#;
        let document: &RawValue = serde_json::from_str(text).expect("JSON");
        let parsed: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let pointers = "/ // /a~1b /a~1b/0/c /a~1b/1/0 /a~1b/01 /a~1b/+1 /a~1b/2 /a~1b/- /m~0n /m~0n/x /d /d/0 /e/0 /e/00 /a/b a~1b";
        for pointer in pointers.split(' ').chain([""]) {
            let there = match parsed.pointer(pointer) {
                None => Found::Nothing,
                Some(serde_json::Value::String(text)) => Found::Text(text.into()),
                Some(serde_json::Value::Null) => Found::Other("null"),
                Some(serde_json::Value::Array(_)) => Found::Other("a list"),
                Some(serde_json::Value::Object(_)) => Found::Other("an object"),
                Some(plain) => Found::Text(plain.to_string().into()),
            };
            assert_eq!(find(document, pointer), there, "{pointer}");
        }
    }

    #[test]
    fn hostile_answers_are_bounded_and_escaped() {
        let long = format!(r#"{{"a":"{}"}}"#, "\\u001b[31m".repeat(100));
        let message = judge("/a", "b", long.as_bytes()).expect_err("another");
        assert!(message.chars().count() < 64 * 8 + 80 && !message.contains('\u{1b}'), "{message}");
        let deep = [vec![b'['; 33], vec![b']'; 33]].concat();
        for (bytes, why) in [
            (&deep[..], "nested deeper"),
            (b"<html>", "not JSON"),
            (b"", "has no body"),
            (&vec![b'['; 60_000], "nested deeper"),
        ] {
            let message = judge("/a", "b", bytes).expect_err(why);
            assert!(message.contains(why), "{message}");
        }
        assert_eq!(judge("/a", "[[[[[", br#"{"a":"[[[[[","b":"\"[["}"#), Ok(None), "a text has no depth");
        let version = judge("/a", "b", format!(r#"{{"a":"b","v":"{}"}}"#, "9".repeat(500)).as_bytes());
        assert_eq!(version.expect("passes").expect("a version").chars().count(), MAX_VERSION);
    }

    #[test]
    fn one_of_several_lines_of_a_header_is_enough() {
        let header = BTreeMap::from([("x-service".to_owned(), "user".to_owned())]);
        let demands = Demands { identity: Identity { header, ..Identity::default() }, version_from: None };
        let line = |value: &str| ("x-service".to_owned(), value.to_owned());
        assert!(judge_headers(&demands, &[line("other"), line("user")]).is_none());
        let message = judge_headers(&demands, &[line("other")]).expect("another").message;
        assert!(message.starts_with("the answer's header x-service is \"other\", expected \"user\""), "{message}");
        assert!(judge_headers(&demands, &[]).expect("none").message.contains("no header x-service"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), pointer in "(/[a-z~01]{0,4}){0,4}") {
            let _ = judge(&pointer, "a", &bytes);
        }
    }
}
