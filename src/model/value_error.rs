//! Errors about values that users give, in words that mention no type of this program.

use std::fmt;

use serde_json::error::Category;

use super::did_you_mean;

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// One sentence; its subject, the value, may be missing: `is a list, not a string`.
    pub problem: String,
    /// What is allowed instead, if that is a kind of value, a range or a choice: `a string`, `true or false`.
    pub expected: Option<String>,
}

impl ValueError {
    /// A problem whose sentence already says what to do.
    pub fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), expected: None }
    }

    /// `is not {expected}`, for a value of the right kind.
    pub fn is_not(expected: impl Into<String>) -> Self {
        let expected = expected.into();
        Self { problem: format!("is not {expected}"), expected: Some(expected) }
    }

    /// Adds what is allowed instead.
    #[must_use]
    pub fn expecting(self, expected: impl Into<String>) -> Self {
        Self { expected: Some(expected.into()), ..self }
    }

    /// Translates an error of `serde_json`, whose own messages mention Rust types. Without the position.
    pub fn of_json(error: &serde_json::Error) -> Self {
        let message = error.to_string();
        let with_position = message.rsplit_once(" at line ").filter(|_| error.line() > 0);
        let message = with_position.map_or(&*message, |(what, _)| what);
        match error.classify() {
            Category::Data => of_data(message),
            Category::Syntax | Category::Eof | Category::Io => {
                Self::new(format!("is not JSON: {}", of_syntax(message)))
            }
        }
    }
}

impl<T: fmt::Display> From<T> for ValueError {
    fn from(problem: T) -> Self {
        Self::new(problem.to_string())
    }
}

/// [`ValueError::of_json`] as one sentence about a whole text; for syntax errors with line and column.
pub fn json_sentence(error: &serde_json::Error) -> String {
    let problem = ValueError::of_json(error).problem;
    if error.is_data() {
        return problem;
    }
    format!("{problem}, at line {}, column {}", error.line(), error.column())
}

fn of_data(message: &str) -> ValueError {
    let unread = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = unread.and_then(|rest| rest.rsplit_once(", expected ")) {
        let found = kind_found(found);
        return match kind_expected(expected) {
            Some(expected) => ValueError::new(format!("is {found}, not {expected}")).expecting(expected),
            None => ValueError::new(format!("is {found}, which is not expected here")),
        };
    }
    if let Some((name, known)) = named(message, "unknown field ") {
        return did_you_mean::unknown(name, &quoted(known));
    }
    if let Some((_, known)) = named(message, "unknown variant ") {
        return ValueError::is_not(quoted(known).join(" or "));
    }
    if let Some((name, _)) = named(message, "missing field ") {
        return ValueError::new(format!("{name} is missing"));
    }
    if let Some((name, _)) = named(message, "duplicate field ") {
        return ValueError::new(format!("{name} is given twice"));
    }
    if let Some((count, _)) = message.strip_prefix("invalid length ").and_then(|rest| rest.split_once(", expected ")) {
        return ValueError::new(format!("has the wrong number of parts: {count}"));
    }
    // A message of one of our own types.
    ValueError::new(message)
}

/// The name in back quotes after `what`, and the rest.
fn named<'a>(message: &'a str, what: &str) -> Option<(&'a str, &'a str)> {
    let rest = message.strip_prefix(what)?.strip_prefix('`')?;
    let listed = rest.find("`, expected ").or_else(|| rest.find("`, there are no "));
    let at = listed.or_else(|| rest.rfind('`'))?;
    Some((&rest[..at], &rest[at + 1..]))
}

/// All names in back quotes.
fn quoted(list: &str) -> Vec<&str> {
    list.split('`').skip(1).step_by(2).collect()
}

/// Translates serde's name for the actual value: `map`, ``integer `5` ``, `string "x"`.
fn kind_found(found: &str) -> String {
    let bare = || found.split_once('`').map_or(found, |(_, value)| value.trim_end_matches('`'));
    match found.split([' ', '`']).next().unwrap_or_default() {
        "map" => "an object".to_owned(),
        "sequence" => "a list".to_owned(),
        "null" | "unit" | "Option" => "null".to_owned(),
        "boolean" => bare().to_owned(),
        "integer" | "floating" | "number" => format!("the number {}", bare()),
        "string" => format!("the {found}"),
        _ => "something else".to_owned(),
    }
}

/// Translates serde's name for the expected value; `None` for a name that means nothing to the author of the JSON.
fn kind_expected(expected: &str) -> Option<&str> {
    let first = expected.split(' ').next().unwrap_or_default();
    Some(match first {
        "struct" | "map" => "an object",
        "sequence" | "tuple" => "a list",
        "enum" | "string" | "str" | "variant" | "field" | "identifier" | "char" => "a string",
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => {
            "a whole number"
        }
        "f32" | "f64" => "a number",
        "unit" | "null" => "null",
        "bool" => "true or false",
        "a" | "an" => match expected {
            "a map" => "an object",
            "a sequence" | "a tuple" => "a list",
            "a boolean" => "true or false",
            "a borrowed string" => "a string",
            "a JSON number" => "a number",
            ours => ours,
        },
        _ => return None,
    })
}

/// Translates an error in the JSON itself.
fn of_syntax(message: &str) -> String {
    match message {
        "expected ident" => "expected true, false or null".to_owned(),
        "expected value" => "expected a value".to_owned(),
        _ => match message.strip_prefix("EOF while parsing ") {
            Some(inside) => format!("it ends in the middle of {inside}"),
            None => message.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is read into, and never looked at")]
    struct Outer {
        #[serde(default)]
        inner: Option<Inner>,
        #[serde(default)]
        count: u32,
        #[serde(default)]
        share: f64,
        #[serde(default)]
        all: Vec<usize>,
        #[serde(default)]
        map: BTreeMap<String, i64>,
        #[serde(default)]
        word: Option<Word>,
        #[serde(default)]
        pair: (u8, bool),
        #[serde(default)]
        letter: Option<char>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "as above")]
    struct Inner {
        name: String,
    }

    #[derive(Debug, Deserialize)]
    enum Word {
        Up,
        Down,
    }

    fn wrong(json: &str) -> ValueError {
        ValueError::of_json(&serde_json::from_str::<Outer>(json).expect_err(json))
    }

    #[test]
    fn no_rust_type_is_mentioned() {
        for (json, problem, expected) in [
            (r#"{"inner":"x"}"#, r#"is the string "x", not an object"#, Some("an object")),
            (r#"{"inner":{}}"#, "name is missing", None),
            (r#"{"inner":{"name":[]}}"#, "is a list, not a string", Some("a string")),
            (r#"{"count":-1}"#, "is the number -1, not a whole number", Some("a whole number")),
            (r#"{"count":1.5}"#, "is the number 1.5, not a whole number", Some("a whole number")),
            (r#"{"count":99999999999}"#, "is the number 99999999999, not a whole number", Some("a whole number")),
            (r#"{"count":true}"#, "is true, not a whole number", Some("a whole number")),
            (r#"{"share":"a"}"#, r#"is the string "a", not a number"#, Some("a number")),
            (r#"{"all":{}}"#, "is an object, not a list", Some("a list")),
            (r#"{"all":[null]}"#, "is null, not a whole number", Some("a whole number")),
            (r#"{"map":[1]}"#, "is a list, not an object", Some("an object")),
            (r#"{"word":"Sideways"}"#, "is not Up or Down", Some("Up or Down")),
            (r#"{"word":{"Up":[1]}}"#, "is a list, not null", Some("null")),
            (r#"{"pair":[1]}"#, "has the wrong number of parts: 1", None),
            (r#"{"letter":"ab"}"#, r#"is the string "ab", not a character"#, Some("a character")),
            (r#"{"count":1,"count":2}"#, "count is given twice", None),
            (r#"{"cuont":1}"#, "unknown; did you mean count?", Some("count")),
            (
                r#"{"count":"a, expected struct Inner"}"#,
                r#"is the string "a, expected struct Inner", not a whole number"#,
                Some("a whole number"),
            ),
        ] {
            let wrong = wrong(json);
            assert_eq!((wrong.problem.as_str(), wrong.expected.as_deref()), (problem, expected), "{json}");
        }
        assert!(wrong("{\"`, expected `\":1}").problem.starts_with("unknown; "));
    }

    #[test]
    fn broken_json_is_reported_as_such() {
        for (json, problem) in [
            ("", "is not JSON: it ends in the middle of a value"),
            ("{\"count\":1", "is not JSON: it ends in the middle of an object"),
            ("{\"count\":nul}", "is not JSON: expected true, false or null"),
            ("{\"count\":1} x", "is not JSON: trailing characters"),
            ("{count:1}", "is not JSON: key must be a string"),
        ] {
            assert_eq!(wrong(json).problem, problem, "{json}");
        }
        let error = serde_json::from_str::<Outer>("{\"count\":\n nul}").expect_err("refused");
        assert_eq!(json_sentence(&error), "is not JSON: expected true, false or null, at line 2, column 5");
    }
}
