//! The filter language: `shop !canary -l team=pay status=down lat>500ms v=^1.4`.
//!
//! Terms are joined by "and"; `a|b` is "or" within a term, a leading `!` is "not". Plain text matches namespace, name, URLs and reason,
//! ignoring case.

use std::time::Duration;

use super::data::Service;
use crate::model::outcome::Health;
use crate::model::time::UnixMs;
use crate::model::version::VersionRange;

/// Longest filter that is read, in bytes.
pub const MAX_LEN: usize = 256;

/// What is wrong with a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// Byte at which the bad term begins.
    pub at: usize,
    /// One sentence that says what was expected.
    pub message: String,
}

/// What a filter may depend on besides the service.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts {
    /// The median of its probes, where it is known.
    pub p50: Option<Duration>,
    /// Wall clock.
    pub now: UnixMs,
}

/// A parsed filter. The empty one matches everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    words: Vec<Word>,
}

#[derive(Debug, Clone, PartialEq)]
struct Word {
    expected: bool,
    any: Vec<Test>,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Text(String),
    Label(String, Option<String>),
    Status(Status),
    Namespace(String),
    Name(String),
    Zone(String),
    Reason(String),
    Source(String),
    Version(VersionRange),
    Latency(Compare, Duration),
    Since(Compare, Duration),
    Weight(Compare, u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Is(Health),
    /// Some instances are down, not all.
    Degraded,
    /// Down or degraded.
    Faulty,
    /// Has a drained instance.
    Drained,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Less,
    AtMost,
    Same,
    AtLeast,
    More,
}

impl Compare {
    fn holds<T: Ord>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Same => left == right,
            Self::AtLeast => left >= right,
            Self::More => left > right,
        }
    }
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`FilterError`] at the first invalid term.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > MAX_LEN {
            return Err(FilterError { at: MAX_LEN, message: format!("a filter has at most {MAX_LEN} bytes") });
        }
        let mut words = Vec::new();
        let mut label = None;
        for (at, token) in tokens(text) {
            let fail = |message| FilterError { at, message };
            if label.take().is_some() {
                words.push(Word { expected: true, any: vec![read_label(token).map_err(fail)?] });
            } else if token == "-l" {
                label = Some(at);
            } else {
                words.push(word(token).map_err(fail)?);
            }
        }
        match label {
            Some(at) => Err(FilterError { at, message: "-l needs a label, as in -l team=pay".to_owned() }),
            None => Ok(Self { words }),
        }
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether it depends on latencies, which are not always known.
    pub fn uses_latency(&self) -> bool {
        self.words.iter().flat_map(|word| &word.any).any(|test| matches!(test, Test::Latency(..)))
    }

    /// Whether it depends on time, so that time alone changes what matches.
    pub fn uses_time(&self) -> bool {
        self.words.iter().flat_map(|word| &word.any).any(|test| matches!(test, Test::Since(..)))
    }

    /// Whether the service matches.
    pub fn matches(&self, service: &Service, facts: Facts) -> bool {
        self.words.iter().all(|word| word.expected == word.any.iter().any(|test| test.holds(service, facts)))
    }
}

fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_ascii_whitespace().map(move |token| (token.as_ptr() as usize - text.as_ptr() as usize, token))
}

fn word(token: &str) -> Result<Word, String> {
    let (expected, rest) = token.strip_prefix('!').map_or((true, token), |rest| (false, rest));
    if rest.is_empty() {
        return Err("! needs a word after it".to_owned());
    }
    let any = rest.split('|').filter(|part| !part.is_empty()).map(test).collect::<Result<Vec<_>, _>>()?;
    if any.is_empty() { Err("| needs a word on its sides".to_owned()) } else { Ok(Word { expected, any }) }
}

fn test(text: &str) -> Result<Test, String> {
    let Some((key, compare, value)) = comparison(text) else { return Ok(Test::Text(text.to_lowercase())) };
    let lower = value.to_lowercase();
    if value.is_empty() {
        return Err(format!("{key} needs a value"));
    }
    match key {
        "lat" | "latency" => Ok(Test::Latency(compare, duration(value)?)),
        "since" | "age" => Ok(Test::Since(compare, duration(value)?)),
        "weight" => {
            Ok(Test::Weight(compare, value.parse().map_err(|_| "weight is a number from 0 to 1000".to_owned())?))
        }
        _ if compare != Compare::Same => Err(format!("{key} is compared with = only")),
        "status" | "s" | "health" => status(&lower).map(Test::Status),
        "ns" | "namespace" => Ok(Test::Namespace(lower)),
        "name" => Ok(Test::Name(lower)),
        "zone" => Ok(Test::Zone(lower)),
        "reason" => Ok(Test::Reason(lower)),
        "source" => Ok(Test::Source(lower)),
        "v" | "version" => value.parse().map(Test::Version).map_err(|error| format!("{error}")),
        _ => Err(format!(
            "{key} is not known; use status, ns, name, zone, reason, source, version, weight, lat, since, or -l KEY=VALUE"
        )),
    }
}

fn comparison(text: &str) -> Option<(&str, Compare, &str)> {
    let at = text.find(['=', '<', '>'])?;
    let (key, rest) = text.split_at(at);
    let key_is_word = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphabetic());
    let signs = [
        (">=", Compare::AtLeast),
        ("<=", Compare::AtMost),
        ("=", Compare::Same),
        (">", Compare::More),
        ("<", Compare::Less),
    ];
    let (compare, value) = signs.iter().find_map(|(sign, c)| rest.strip_prefix(sign).map(|value| (*c, value)))?;
    key_is_word.then_some((key, compare, value))
}

fn status(word: &str) -> Result<Status, String> {
    Ok(match word {
        "healthy" | "up" => Status::Is(Health::Healthy),
        "unhealthy" | "down" => Status::Is(Health::Unhealthy),
        "unknown" => Status::Is(Health::Unknown),
        "degraded" => Status::Degraded,
        "faulty" => Status::Faulty,
        "drained" => Status::Drained,
        _ => return Err("status is healthy, down, unknown, degraded, faulty or drained".to_owned()),
    })
}

fn read_label(token: &str) -> Result<Test, String> {
    match token.split_once('=') {
        Some(("", _)) => Err("-l needs a label, as in -l team=pay".to_owned()),
        Some((key, value)) => Ok(Test::Label(key.to_owned(), Some(value.to_owned()))),
        None => Ok(Test::Label(token.to_owned(), None)),
    }
}

/// `500ms`, `2s`, `10m`, `3h`, `1d`; a bare number is milliseconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || "a time is written as 500ms, 2s, 10m, 3h or 1d".to_owned();
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let ms = match unit {
        "ms" | "" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(wrong)
}

impl Test {
    fn holds(&self, service: &Service, facts: Facts) -> bool {
        match self {
            Self::Text(text) => has_text(service, text),
            Self::Label(key, value) => {
                let found = service.metadata.get(key.as_str());
                found.is_some_and(|found| value.as_ref().is_none_or(|value| *found == **value))
            }
            Self::Status(status) => status.holds(service),
            Self::Namespace(text) => contains(&service.namespace, text),
            Self::Name(text) => contains(&service.name, text),
            Self::Zone(text) => service.instances.iter().any(|i| contains(&i.zone, text)),
            Self::Reason(text) => {
                contains(&service.reason, text) || service.instances.iter().any(|i| contains(&i.reason, text))
            }
            Self::Source(text) => contains(&service.source, text),
            Self::Version(range) => service.instances.iter().any(|i| range.matches(&i.version)),
            Self::Latency(compare, limit) => facts.p50.is_some_and(|p50| compare.holds(&p50, limit)),
            Self::Since(compare, limit) => {
                service.since().is_some_and(|since| compare.holds(&facts.now.since(since), limit))
            }
            Self::Weight(compare, limit) => service.instances.iter().any(|i| compare.holds(&i.weight, limit)),
        }
    }
}

impl Status {
    fn holds(self, service: &Service) -> bool {
        match self {
            Self::Is(health) => service.health == health,
            Self::Degraded => service.health != Health::Unhealthy && service.is_faulty(),
            Self::Faulty => service.is_faulty(),
            Self::Drained => service.instances.iter().any(|i| i.weight == 0),
        }
    }
}

fn has_text(service: &Service, text: &str) -> bool {
    contains(&service.name, text)
        || contains(&service.namespace, text)
        || contains(&service.reason, text)
        || service.instances.iter().any(|i| contains(&i.base_url, text) || contains(&i.name, text))
}

/// Whether `text` contains `part`, which is in lower case; names and URLs are ASCII.
fn contains(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    part.is_empty() || text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}
