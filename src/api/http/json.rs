//! JSON bodies, read so that one answer names every problem, without the names of Rust types.

use std::fmt;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::envelope::{ApiError, Code, Detail};
use crate::model::text;
use crate::model::value_error::{ValueError, json_sentence};

/// Most bytes of a request's body.
pub(in crate::api) const MAX_BODY: usize = 64 * 1024;
/// Most bytes of the body of a request that says little, such as a heartbeat. Its connection's memory covers it.
pub(in crate::api) const SMALL_BODY: usize = 8 * 1024;
/// Most fields of an object.
const MAX_FIELDS: usize = 64;
/// Most problems that one answer names.
const MAX_PROBLEMS: usize = 32;
/// Longest sentence about one problem, in characters.
const MAX_SENTENCE: usize = 300;

/// Accepts a body that is declared as plain JSON.
///
/// # Errors
/// 415 `not_json`.
pub(in crate::api) fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    if !headers.get(CONTENT_TYPE).is_some_and(|kind| is_json(kind.as_bytes())) {
        return Err(ApiError::new(Code::NotJson, "expected a body of Content-Type application/json, in UTF-8"));
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(ApiError::new(Code::NotJson, "a compressed body is not read; send it without Content-Encoding"));
    }
    Ok(())
}

/// Accepts an object without fields.
///
/// # Errors
/// 400 `invalid_payload`.
pub(in crate::api) fn require_no_fields(bytes: &[u8]) -> Result<(), ApiError> {
    let mut fields = Fields::read(bytes)?;
    fields.end(&[], |_| None);
    if fields.problem_count() == 0 { Ok(()) } else { Err(invalid(fields.problems())) }
}

/// JSON is UTF-8 ([RFC 8259 §8.1](https://www.rfc-editor.org/rfc/rfc8259#section-8.1)); many clients declare it, and no other charset is read.
fn is_json(content_type: &[u8]) -> bool {
    let mut parts = content_type.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(b"application/json"));
    json && parts.all(|parameter| {
        let mut halves = parameter.splitn(2, |b| *b == b'=').map(<[u8]>::trim_ascii);
        let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        !name.eq_ignore_ascii_case(b"charset") || [&b"utf-8"[..], b"utf8"].iter().any(|c| value.eq_ignore_ascii_case(c))
    })
}

/// The refusal of a body, with the legacy gateway's message.
pub(in crate::api) fn invalid(problems: impl IntoIterator<Item = Detail>) -> ApiError {
    let error = ApiError::new(Code::InvalidPayload, "Invalid request payload");
    problems.into_iter().take(MAX_PROBLEMS).fold(error, ApiError::detail)
}

/// The fields of one JSON object that are not yet taken, and the problems of those that are.
#[derive(Debug)]
pub(in crate::api) struct Fields<'a> {
    left: Vec<(String, &'a RawValue)>,
    /// The fields that are null.
    nulls: Vec<String>,
    problems: Vec<Detail>,
}

impl<'a> Fields<'a> {
    /// Reads an object; a field that is `null` counts as absent, but its name must still be known.
    ///
    /// # Errors
    /// 400 `invalid_payload` when the bytes are not a JSON object.
    pub(in crate::api) fn read(bytes: &'a [u8]) -> Result<Self, ApiError> {
        let wrong = |problem: &str| invalid([detail("body", &ValueError::new(problem).expecting("a JSON object"))]);
        let bytes = text::without_byte_order_mark(bytes);
        if bytes.trim_ascii().is_empty() {
            return Err(wrong("is empty"));
        }
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let read = ObjectSeed.deserialize(&mut json).and_then(|fields| json.end().map(|()| fields));
        let all = read.map_err(|error| wrong(&json_sentence(&error)))?;
        let mut fields = Self { left: Vec::with_capacity(all.len()), nulls: Vec::new(), problems: Vec::new() };
        for (name, value) in all {
            if fields.left.iter().any(|(known, _)| *known == name) {
                fields.problem(&name, "is given twice");
            } else {
                fields.left.push((name, value));
            }
        }
        let nulls = fields.left.extract_if(.., |(_, value)| value.get() == "null");
        fields.nulls = nulls.map(|(name, _)| name).collect();
        Ok(fields)
    }

    /// [`Self::take`] of a value that must first have the form of an `S`.
    pub(in crate::api) fn take_formed<S: Deserialize<'a>, T: Deserialize<'a>>(&mut self, name: &str) -> Option<T> {
        let raw = self.left.iter().find(|(known, _)| known == name).map(|(_, raw)| *raw)?;
        if serde_json::from_str::<S>(raw.get()).is_ok() {
            return self.take(name);
        }
        self.take::<S>(name);
        None
    }

    /// A value inside of a field that was taken, which must first have the form of an `S`; `place` names it in a problem.
    pub(in crate::api) fn read_formed<S: Deserialize<'a>, T: Deserialize<'a>>(
        &mut self,
        place: &str,
        raw: &'a RawValue,
    ) -> Option<T> {
        if serde_json::from_str::<S>(raw.get()).is_err() {
            self.explain::<S>(place, raw.get());
            return None;
        }
        let value = serde_json::from_str(raw.get()).ok();
        if value.is_none() {
            self.explain::<T>(place, raw.get());
        }
        value
    }

    /// The field's value. A wrong one becomes a problem and reads as absent.
    pub(in crate::api) fn take<T: Deserialize<'a>>(&mut self, name: &str) -> Option<T> {
        let at = self.left.iter().position(|(known, _)| known == name)?;
        let (_, raw) = self.left.remove(at);
        let value = serde_json::from_str(raw.get()).ok();
        if value.is_none() {
            self.explain::<T>(name, raw.get());
        }
        value
    }

    /// Parses a wrong value again, slowly, to find where it is wrong.
    fn explain<T: Deserialize<'a>>(&mut self, name: &str, raw: &'a str) {
        let json = &mut serde_json::Deserializer::from_str(raw);
        if let Err(error) = serde_path_to_error::deserialize::<_, T>(json) {
            let inside = error.path().to_string();
            let field = if inside == "." { name.to_owned() } else { format!("{name}.{inside}") };
            self.problem_inside(&text::escape(&field, 200), ValueError::of_json(error.inner()));
        }
    }

    /// Adds a problem of a field, or of what its sentence begins with: a path inside of the field.
    pub(in crate::api) fn problem_inside(&mut self, field: &str, wrong: impl Into<ValueError>) {
        let wrong = wrong.into();
        match inner_path(&wrong.problem) {
            Some((path, problem)) => {
                let problem = problem.to_owned();
                self.problem(&format!("{field}.{path}"), ValueError { problem, expected: wrong.expected });
            }
            None => self.problem(field, wrong),
        }
    }

    /// Adds a problem.
    pub(in crate::api) fn problem(&mut self, field: &str, wrong: impl Into<ValueError>) {
        self.problems.push(detail(field, &wrong.into()));
    }

    /// The value, if it is right; else adds the problem.
    pub(in crate::api) fn check<T, E: Into<ValueError>>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.problem(field, error)).ok()
    }

    /// Adds a problem for every field that was not taken; `message` may give its text.
    pub(in crate::api) fn end(&mut self, known: &[&str], message: impl Fn(&str) -> Option<&'static str>) {
        let nulls = std::mem::take(&mut self.nulls).into_iter().filter(|name| !known.contains(&name.as_str()));
        let left = std::mem::take(&mut self.left).into_iter().map(|(name, _)| name);
        for name in left.chain(nulls).take(MAX_PROBLEMS) {
            let wrong = message(&name).map_or_else(|| ValueError::unknown(&name, known), ValueError::from);
            self.problem(&text::escape(&name, 100), wrong);
        }
    }

    /// How many problems there are so far.
    pub(in crate::api) fn problem_count(&self) -> usize {
        self.problems.len()
    }

    /// The problems so far.
    pub(in crate::api) fn problems(self) -> Vec<Detail> {
        self.problems
    }
}

/// Splits `url: is a text` and `http.path starts with '/'` after the path.
fn inner_path(sentence: &str) -> Option<(&str, &str)> {
    let (first, rest) = sentence.split_once(' ')?;
    let path = first.strip_suffix(':').or_else(|| first.contains('.').then_some(first))?;
    let named = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    path.split('.').all(named).then_some((path, rest))
}

/// A problem in sentences of bounded length without hostile characters, since they may repeat input.
fn detail(field: &str, wrong: &ValueError) -> Detail {
    let sentence = |sentence: &str| text::escape(sentence, MAX_SENTENCE);
    let expected = wrong.expected.as_deref().map(sentence);
    Detail { field: field.to_owned(), problem: sentence(&wrong.problem), expected }
}

struct ObjectSeed;

impl<'de> DeserializeSeed<'de> for ObjectSeed {
    type Value = Vec<(String, &'de RawValue)>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(8);
        while let Some(field) = map.next_entry()? {
            if fields.len() == MAX_FIELDS {
                return Err(serde::de::Error::custom(format!("at most {MAX_FIELDS} fields")));
            }
            fields.push(field);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_at_the_beginning_of_a_sentence_is_found() {
        assert_eq!(inner_path("url: is a text"), Some(("url", "is a text")));
        assert_eq!(inner_path("http.path starts with '/'"), Some(("http.path", "starts with '/'")));
        for none in
            ["is not JSON: a", "a list, not a string", "10.0.0.1 is denied", "unknown; did you mean http?", "url:"]
        {
            assert_eq!(inner_path(none), None, "{none}");
        }
    }

    fn first_problem(json: &[u8]) -> String {
        let error = Fields::read(json).expect_err("refused");
        assert_eq!(error.message, "Invalid request payload");
        error.details()[0].problem.clone()
    }

    #[test]
    fn json_is_utf_8() {
        for kind in [
            "application/json",
            "Application/JSON ; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; version=1; charset = utf8",
            "application/json;",
        ] {
            assert!(is_json(kind.as_bytes()), "{kind}");
        }
        for kind in [
            "application/json; charset=utf-16",
            "application/json; a=b; Charset=\"latin1\"",
            "application/json; charset",
            "application/jsonp",
            "text/plain",
            "",
        ] {
            assert!(!is_json(kind.as_bytes()), "{kind}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_refused_with_its_position() {
        assert_eq!(first_problem(b" "), "is empty");
        assert_eq!(first_problem(b"[]"), "is a list, not a JSON object");
        assert_eq!(first_problem(b"{} x"), "is not JSON: trailing characters, at line 1, column 4");
        assert_eq!(first_problem(b"\xef\xbb\xbf"), "is empty");
        assert!(first_problem(b"\xef\xbb\xbf\xef\xbb\xbf{}").starts_with("is not JSON: expected a value"));
        assert!(Fields::read(b"\xef\xbb\xbf{\"a\":1}").is_ok());
        assert!(first_problem(b"\xff\xfe{\0}\0").starts_with("is not JSON: expected a value"));
        assert!(first_problem(b"{\"a\":\"\xff\"}").starts_with("is not JSON: invalid unicode"));
        assert!(first_problem(b"{\"a\":NaN}").starts_with("is not JSON: expected a value"));
    }

    #[test]
    fn every_problem_is_named() {
        let json = br#"{"a":1,"b":[true,"x"],"c":null,"a":2,"ab":0,"bc":null}"#;
        let mut fields = Fields::read(json).expect("an object");
        assert_eq!(fields.take::<String>("a"), None);
        assert_eq!(fields.take::<Vec<bool>>("b"), None);
        assert_eq!(fields.take::<u8>("c"), None);
        fields.end(&["a", "b", "c"], |_| None);
        let problems: Vec<_> = fields.problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "a: is given twice",
                "a: is the number 1, not a string",
                "b.[1]: is the string \"x\", not true or false",
                "ab: unknown; did you mean a?",
                "bc: unknown; did you mean b?",
            ]
        );
    }

    #[test]
    fn depth_costs_nothing() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
        let mut fields = Fields::read(deep.as_bytes()).expect("an object");
        assert_eq!(fields.take::<String>("a"), None);
        assert_eq!(fields.problems()[0].problem, "is a list, not a string");
    }
}
