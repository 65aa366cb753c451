//! Version ranges as Cargo and npm write them, and how an instance's version is read.
//!
//! A range is one or more alternatives joined by `||`. An alternative is a hyphen range, or comparators joined by commas (Cargo) or spaces
//! (npm), all of which must match. Where Cargo and npm disagree: a bare full version `1.4.2` is exact, as in npm (Cargo means `^1.4.2`), and a
//! bare partial version `1.4` means `1.4.x`. A prerelease matches only if a comparator of the same alternative names a prerelease of the same
//! three numbers. Semantics: [npm](https://github.com/npm/node-semver#ranges),
//! [Cargo](https://doc.rust-lang.org/cargo/reference/specifying-dependencies.html).

use std::fmt;
use std::str::FromStr;

use semver::{BuildMetadata, Comparator, Op, Prerelease, Version, VersionReq};

use super::text;

/// Longest range, in bytes.
pub const MAX_RANGE: usize = 128;

macro_rules! number {
    () => {
        "(0|[1-9][0-9]{0,8})"
    };
}

macro_rules! version {
    () => {
        concat!(number!(), r"(\.", number!(), r"(\.(", number!(), r"|[xX*]))?|\.[xX*](\.[xX*])?)?")
    };
}

macro_rules! comparators {
    () => {
        concat!("([~^=]|[<>]=?)?", version!(), "((, ?| )([~^=]|[<>]=?)?", version!(), ")*")
    };
}

/// The form of a range, as a regular expression of JSON Schema: a single word, or what the usual notations write. Narrower than what
/// [`VersionRange::parse`] reads, which takes prereleases, too.
#[rustfmt::skip]
pub const RANGE_PATTERN: &str = concat!(
    r"^([^\s<>=^~|*,\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]{1,64}",
    r"|\*|", version!(), " - ", version!(), "|", comparators!(), r"( \|\| ", comparators!(), ")*)$"
);

/// Why a text is not a version range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionRangeError {
    /// Longer than [`MAX_RANGE`].
    #[error("is longer than {MAX_RANGE} bytes, the limit for a version range")]
    TooLong,
    /// Not a range. Contains the part that could not be read, escaped and cut.
    #[error(
        "is not a version range: cannot read \"{0}\"; write one such as ^1.2, ~1.2.3, \">=1.2 <2\", \"1.2 - 2.0\", 1.x or 1.4.2"
    )]
    Malformed(String),
}

/// A set of versions. Two are equal if their texts are.
///
/// ```
/// use portolan::model::version::VersionRange;
///
/// for (range, inside, outside) in [
///     ("^1.2", "1.9.9", "2.0.0"),
///     (">=1.2 <2", "1.2.0", "2.0.0-rc.1"),
///     ("1.2 - 2.0", "2.0.9", "2.1.0"),
///     ("1.4", "1.4.9", "1.5.0"),
///     ("1.4.2", "v1.4.2", "1.4.3"),
///     ("blue", "blue", "green"),
/// ] {
///     let range = VersionRange::parse(range)?;
///     assert!(range.matches(inside) && !range.matches(outside), "{range}");
/// }
/// # Ok::<(), portolan::model::version::VersionRangeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct VersionRange {
    text: String,
    any_of: Vec<VersionReq>,
}

impl PartialEq for VersionRange {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for VersionRange {}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for VersionRange {
    type Err = VersionRangeError;
    fn from_str(text: &str) -> Result<Self, VersionRangeError> {
        Self::parse(text)
    }
}

impl VersionRange {
    /// Parses a range of at most [`MAX_RANGE`] bytes. A single word that is not a version (`blue`, `1.2.3.4`) is accepted too; it matches only
    /// itself.
    ///
    /// # Errors
    /// [`VersionRangeError`], which says what to write instead.
    pub fn parse(text: &str) -> Result<Self, VersionRangeError> {
        if text.len() > MAX_RANGE {
            return Err(VersionRangeError::TooLong);
        }
        let text = text.trim();
        let any_of = match text.split("||").map(alternative).collect() {
            Err(VersionRangeError::Malformed(_)) if is_word(text) => Vec::new(),
            parsed => parsed?,
        };
        Ok(Self { text: text.to_owned(), any_of })
    }

    /// Whether an instance's version is in the range. The version is read leniently: surrounding white space, a leading `v` and build
    /// metadata are ignored, missing numbers are 0, and leading zeros are allowed. A text that is still not a version matches only a range
    /// with the same text.
    pub fn matches(&self, version: &str) -> bool {
        match lenient(version) {
            Some(version) => self.any_of.iter().any(|req| req.matches(&version)),
            None => !self.text.is_empty() && version.trim() == self.text,
        }
    }

    /// The original text, without surrounding white space.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Whether the text contains nothing that only a range contains.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text::accept(text, MAX_RANGE).is_ok()
        && !text.contains(|c: char| c.is_whitespace() || "<>=^~|*,".contains(c))
}

fn malformed(what: &str) -> VersionRangeError {
    VersionRangeError::Malformed(text::escape(what, 40))
}

fn alternative(text: &str) -> Result<VersionReq, VersionRangeError> {
    let text = text.trim();
    if let Some((low, high)) = hyphen(text) {
        let comparators = [(Op::GreaterEq, low), (Op::LessEq, high)].map(|(op, end)| comparator(Some(op), end));
        return Ok(VersionReq {
            comparators: comparators.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect(),
        });
    }
    let mut comparators = Vec::new();
    for part in text.split(',') {
        let mut rest = part.trim();
        if rest.is_empty() {
            return Err(malformed(text));
        }
        while !rest.is_empty() {
            let (op, after) = operator(rest);
            let end = after.find(|c: char| c.is_whitespace() || "<>=^~".contains(c)).unwrap_or(after.len());
            let (version, next) = after.split_at(end);
            comparators.extend(comparator(op, version)?);
            rest = next.trim_start();
        }
    }
    Ok(VersionReq { comparators })
}

/// `low - high`. The white space around the dash distinguishes it from a prerelease.
fn hyphen(text: &str) -> Option<(&str, &str)> {
    let (low, high) = text.split_once(" - ")?;
    Some((low.trim(), high.trim()))
}

fn operator(text: &str) -> (Option<Op>, &str) {
    const OPERATORS: &[(&str, Op)] = &[
        (">=", Op::GreaterEq),
        ("<=", Op::LessEq),
        ("~>", Op::Tilde),
        (">", Op::Greater),
        ("<", Op::Less),
        ("=", Op::Exact),
        ("^", Op::Caret),
        ("~", Op::Tilde),
    ];
    let found = OPERATORS.iter().find_map(|(sign, op)| Some((Some(*op), text.strip_prefix(sign)?.trim_start())));
    found.unwrap_or((None, text))
}

/// One comparator; `None` if it matches any version.
fn comparator(op: Option<Op>, text: &str) -> Result<Option<Comparator>, VersionRangeError> {
    let given = partial(text).ok_or_else(|| malformed(text))?;
    let Some(major) = given.numbers[0] else {
        return match op {
            Some(Op::Greater | Op::Less) => Err(malformed(text)),
            _ => Ok(None),
        };
    };
    let op = op.unwrap_or(Op::Exact);
    Ok(Some(Comparator { op, major, minor: given.numbers[1], patch: given.numbers[2], pre: given.pre }))
}

/// A version whose parts may be missing or `x`, `X`, `*`.
struct Partial {
    numbers: [Option<u64>; 3],
    /// Whether it contains a wildcard.
    open: bool,
    pre: Prerelease,
}

fn partial(text: &str) -> Option<Partial> {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let text = text.split_once('+').map_or(text, |(core, _)| core);
    let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
    let mut numbers = [None; 3];
    let mut open = false;
    for (n, part) in core.split('.').enumerate() {
        let slot = numbers.get_mut(n)?;
        if matches!(part, "x" | "X" | "*") {
            open = true;
        } else if open || part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        } else {
            *slot = Some(part.parse().ok()?);
        }
    }
    let pre = match pre {
        None => Prerelease::EMPTY,
        Some(pre) if !pre.is_empty() && numbers[2].is_some() => Prerelease::new(pre).ok()?,
        Some(_) => return None,
    };
    Some(Partial { numbers, open, pre })
}

/// Reads an instance's version: `v1.2` is 1.2.0.
fn lenient(text: &str) -> Option<Version> {
    let Partial { numbers: [major, minor, patch], open: false, pre } = partial(text.trim())? else {
        return None;
    };
    let build = BuildMetadata::EMPTY;
    Some(Version { major: major?, minor: minor.unwrap_or(0), patch: patch.unwrap_or(0), pre, build })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> VersionRange {
        VersionRange::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    proptest! {
        #[test]
        fn what_has_the_form_of_a_range_is_one(text in RANGE_PATTERN.trim_matches(['^', '$'])) {
            prop_assume!(text.len() <= MAX_RANGE);
            VersionRange::parse(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        }
    }

    #[test]
    fn ranges_as_cargo_and_npm_write_them() {
        for (text, inside, outside) in [
            ("^1.2", &["1.2.0", "1.9.9"][..], &["1.1.9", "2.0.0", "1.3.0-rc.1"][..]),
            ("^0.2.3", &["0.2.3", "0.2.9"], &["0.2.2", "0.3.0"]),
            ("^0.0.3", &["0.0.3"], &["0.0.4"]),
            ("~1.2.3", &["1.2.3", "1.2.9"], &["1.2.2", "1.3.0"]),
            ("~> 1.2", &["1.2.0", "1.2.9"], &["1.3.0"]),
            (">=1.2, <2", &["1.2.0", "1.99.0"], &["1.1.0", "2.0.0", "2.0.0-rc.1"]),
            (">=1.2 <2", &["1.2.0", "1.99.0"], &["1.1.0", "2.0.0"]),
            (">= 1.2  < 2", &["1.2.0"], &["2.0.0"]),
            (">=1.2<2", &["1.2.0"], &["2.0.0"]),
            (">1.2", &["1.3.0"], &["1.2.9"]),
            ("<=1.2", &["1.2.9", "0.1.0"], &["1.3.0"]),
            ("1.2 - 2.0", &["1.2.0", "2.0.9"], &["1.1.9", "2.1.0"]),
            ("1.2.3 - 2", &["1.2.3", "2.9.9"], &["1.2.2", "3.0.0"]),
            ("^1.2 || >=3", &["1.2.0", "3.0.0"], &["2.0.0", "1.1.0"]),
            ("1.x", &["1.0.0", "1.9.9"], &["2.0.0"]),
            ("1.*", &["1.0.0"], &["0.9.0"]),
            ("1.2.X", &["1.2.9"], &["1.3.0"]),
            ("1.x.x", &["1.9.0"], &["2.0.0"]),
            ("*", &["0.0.0", "99.0.0"], &["1.0.0-rc.1", "blue"]),
            (">=*", &["0.0.0"], &["blue"]),
            ("=1.2.3", &["1.2.3", "v1.2.3", "1.2.3+x86_64"], &["1.2.4"]),
            ("1.4.2", &["1.4.2"], &["1.4.3", "1.5.0"]),
            ("1.4", &["1.4.0", "1.4.9", "1.4", "v1.4+x86"], &["1.5.0"]),
            ("v1.4", &["v1.4.1"], &["1.5.0"]),
            ("1", &["1.0.0", "1.9.0", "v1"], &["2.0.0"]),
            ("2024.x", &["2024.01.15"], &["2025.1.1"]),
        ] {
            let range = range(text);
            for version in inside {
                assert!(range.matches(version), "{text} holds {version}");
            }
            for version in outside {
                assert!(!range.matches(version), "{text} does not hold {version}");
            }
        }
    }

    #[test]
    fn a_prerelease_needs_one_of_the_same_numbers() {
        let range = range(">=1.2.3-beta.2 <2");
        for (version, inside) in [
            ("1.2.3-beta.2", true),
            ("1.2.3-rc.1", true),
            ("1.2.3-beta.1", false),
            ("1.2.4-rc.1", false),
            ("1.2.4", true),
        ] {
            assert_eq!(range.matches(version), inside, "{version}");
        }
        let either = self::range("1.0.0-rc.1 || ^2");
        assert!(either.matches("1.0.0-rc.1") && !either.matches("2.1.0-rc.1"));
    }

    #[test]
    fn a_text_that_is_not_a_version_matches_only_itself() {
        for word in ["blue", "1.2.3.4", "2024-01-15", "main_3fa2b1", "1.2.z", "1.2-"] {
            assert!(range(word).matches(word), "{word}");
            assert!(!range(word).matches("1.2.3") && !range("*").matches(word), "{word}");
        }
        assert!(!range("blue").matches("Blue"));
        assert!(!range("*").matches(""));
    }

    #[test]
    fn refusals_say_what_is_expected() {
        for (text, word) in [
            ("", "such as ^1.2"),
            (">=1.2 <", "cannot read"),
            (">=one", "\"one\""),
            ("1.2 || ", "cannot read"),
            ("1.2,,2", "cannot read"),
            (">1.x.3", "\"1.x.3\""),
            (">*", "\"*\""),
            ("^1.2-rc.1", "\"1.2-rc.1\""),
            ("1.2 - 2.0 - 3.0", "cannot read"),
            (">=99999999999999999999", "cannot read"),
            (">=1\u{1b}[2J", "\\u{1b}[2J"),
            ("a\u{202e}b", "\\u{202e}"),
        ] {
            let error = VersionRange::parse(text).expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert_eq!(VersionRange::parse(&"1".repeat(129)), Err(VersionRangeError::TooLong));
    }

    fn version() -> impl Strategy<Value = (u64, u64, u64)> {
        (0u64..4, 0u64..4, 0u64..4)
    }

    fn text((major, minor, patch): (u64, u64, u64)) -> String {
        format!("{major}.{minor}.{patch}")
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9xXv.*<>=^~|, +a-]{0,30}|.{0,140}", version in ".{0,70}|[0-9v.+a-]{0,20}") {
            if let Ok(range) = VersionRange::parse(&text) {
                range.matches(&version);
                prop_assert_eq!(VersionRange::parse(range.as_str()).map(|again| again.matches(&version)), Ok(range.matches(&version)));
            }
        }

        #[test]
        fn a_word_matches_itself(word in "[0-9a-zA-Z._+-]{1,20}|v?[0-9]{1,2}(\\.[0-9x]){0,3}(-[a-z0-9.]{0,3})?(\\+[a-z_])?") {
            prop_assert!(range(&word).matches(&word), "{}", word);
        }

        #[test]
        fn comparators_follow_the_order_of_versions(a in version(), v in version()) {
            let (a_text, v_text) = (text(a), text(v));
            for (sign, holds) in [(">=", v >= a), (">", v > a), ("<", v < a), ("<=", v <= a), ("", v == a), ("=", v == a)] {
                prop_assert_eq!(range(&format!("{sign}{a_text}")).matches(&v_text), holds, "{} {} {}", v_text, sign, a_text);
            }
        }

        #[test]
        fn joining_means_and_or(a in version(), b in version(), v in version()) {
            let (low, high, v) = (format!(">={}", text(a)), format!("<{}", text(b)), text(v));
            let both = range(&low).matches(&v) && range(&high).matches(&v);
            let one = range(&low).matches(&v) || range(&high).matches(&v);
            prop_assert_eq!(range(&format!("{low} {high}")).matches(&v), both);
            prop_assert_eq!(range(&format!("{low}, {high}")).matches(&v), both);
            prop_assert_eq!(range(&format!("{low}||{high}")).matches(&v), one);
        }
    }
}
