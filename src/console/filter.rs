//! The filter language: `shop !canary -l team=pay status!=healthy p99>500ms v=^1.4`.
//!
//! Terms are joined by "and"; `a|b` is "or" within a term, a leading `!` is "not", and so is `!=`. Plain text matches namespace, name,
//! and of each instance name, URLs, reason, version, zone and labels, ignoring case.

use std::time::Duration;

use super::data::{Instance, Service};
use super::{check, status};
use crate::model::outcome::Health;
use crate::model::time::{self, UnixMs};
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
    /// How long its probes take, where that is known.
    pub latency: Option<Latency>,
    /// When its first certificate expires, where that is known.
    pub certificate: Option<UnixMs>,
    /// The 99th percentile above which it is slow, where the user's file has one.
    pub slow: Option<Duration>,
    /// Wall clock.
    pub now: UnixMs,
}

/// How long the passing probes of a service take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Latency {
    /// The median.
    pub p50: Duration,
    /// The 99th percentile.
    pub p99: Duration,
}

/// The fields, as an error and the completion name them.
pub const FIELDS: &[&str] = &[
    "status", "ns", "name", "instance", "zone", "reason", "source", "version", "url", "host", "port", "weight", "p50",
    "p99", "since", "cert", "check", "tag", "owner",
];

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
    Namespace(Wanted),
    Name(Wanted),
    Instance(Wanted),
    Zone(Wanted),
    Check(Wanted),
    Tag(Wanted),
    Owner(Wanted),
    Reason(Wanted),
    Source(Wanted),
    Version(VersionRange),
    VersionText(Wanted),
    Url(Wanted),
    Host(Wanted),
    Port(u16),
    P50(Compare, Duration),
    P99(Compare, Duration),
    Since(Compare, Duration),
    Weight(Compare, u16),
    Certificate(Compare, Duration),
}

/// A text in a field: a part of it, or with `==` all of it. In lower case.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    text: String,
    whole: bool,
}

impl Wanted {
    fn of(value: &str) -> Self {
        let (text, whole) = value.strip_prefix('=').map_or((value, false), |text| (text, true));
        Self { text: text.to_lowercase(), whole }
    }

    fn holds(&self, field: &str) -> bool {
        if self.whole { field.to_lowercase() == self.text } else { contains(field, &self.text) }
    }
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
    /// Has an instance with a warning.
    Warned,
    /// Has an instance whose failure somebody knows about.
    Acknowledged,
    /// Healthy, but slower than the user's file allows.
    Slow,
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
                words.push(read_label(token).map_err(fail)?);
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

    /// Whether it depends on what probes measure, which is not always known.
    pub fn uses_probing(&self) -> bool {
        self.uses_certificates()
            || self.any(|test| matches!(test, Test::P50(..) | Test::P99(..) | Test::Status(Status::Slow)))
    }

    /// Whether it depends on certificates.
    pub fn uses_certificates(&self) -> bool {
        self.any(|test| matches!(test, Test::Certificate(..)))
    }

    /// Whether it depends on time, so that time alone changes what matches.
    pub fn uses_time(&self) -> bool {
        self.any(|test| matches!(test, Test::Since(..) | Test::Certificate(..)))
    }

    fn any(&self, is_meant: impl Fn(&Test) -> bool) -> bool {
        self.words.iter().flat_map(|word| &word.any).any(is_meant)
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
    // One "!=" turns the whole term around, so that `status!=down|unknown` is neither.
    let (field, unequal) = rest.split_once("!=").map_or((rest, None), |(key, value)| (key, Some(value)));
    let parts = unequal.unwrap_or(rest).split('|').filter(|part| !part.is_empty());
    let read = |part: &str| match unequal {
        Some(_) if is_field(field) => test(&format!("{field}={part}")),
        Some(_) => Err("!= needs a field before it".to_owned()),
        None => test(part),
    };
    let any = parts.map(read).collect::<Result<Vec<_>, _>>()?;
    match (any.is_empty(), unequal) {
        (true, Some(_)) => Err(format!("{field} needs a value")),
        (true, None) => Err("| needs a word on its sides".to_owned()),
        (false, unequal) => Ok(Word { expected: expected == unequal.is_none(), any }),
    }
}

fn test(text: &str) -> Result<Test, String> {
    let Some((key, compare, value)) = comparison(text) else { return Ok(Test::Text(text.to_lowercase())) };
    let lower = value.to_lowercase();
    if value.is_empty() {
        return Err(format!("{key} needs a value"));
    }
    match key {
        "p50" | "lat" | "latency" => Ok(Test::P50(compare, duration(value)?)),
        "p99" => Ok(Test::P99(compare, duration(value)?)),
        "cert" => Ok(Test::Certificate(compare, duration(value)?)),
        "since" | "age" => Ok(Test::Since(compare, duration(value)?)),
        "weight" => {
            Ok(Test::Weight(compare, value.parse().map_err(|_| "weight is a number from 0 to 1000".to_owned())?))
        }
        _ if !is_known(key) => Err(unknown(key, value)),
        _ if compare != Compare::Same => Err(format!("{key} is compared with = and != only")),
        "status" | "s" | "health" => status(&lower).map(Test::Status),
        "ns" | "namespace" => Ok(Test::Namespace(Wanted::of(value))),
        "name" => Ok(Test::Name(Wanted::of(value))),
        "instance" => Ok(Test::Instance(Wanted::of(value))),
        "zone" => Ok(Test::Zone(Wanted::of(value))),
        "check" => Ok(Test::Check(Wanted::of(value))),
        "tag" => Ok(Test::Tag(Wanted::of(value))),
        "owner" => Ok(Test::Owner(Wanted::of(value))),
        "reason" => Ok(Test::Reason(Wanted::of(value))),
        "source" => Ok(Test::Source(Wanted::of(value))),
        "url" => Ok(Test::Url(Wanted::of(value))),
        "host" => Ok(Test::Host(Wanted { text: lower, whole: true })),
        "port" => Ok(Test::Port(value.parse().map_err(|_| "port is a number from 1 to 65535".to_owned())?)),
        _ if value.starts_with('=') => Ok(Test::VersionText(Wanted::of(value))),
        _ => value.parse().map(Test::Version).map_err(|error| format!("{error}")),
    }
}

/// Whether the field exists, apart from those that are numbers.
fn is_known(key: &str) -> bool {
    FIELDS.contains(&key) || matches!(key, "s" | "health" | "namespace" | "v")
}

fn unknown(key: &str, value: &str) -> String {
    let near = FIELDS.iter().filter(|field| field.starts_with(&key[..1])).copied().collect::<Vec<_>>();
    let near = if near.is_empty() { FIELDS.join(", ") } else { near.join(" or ") };
    format!("no field is called {key}: try {near}; for a label, -l {key}={value}")
}

fn is_field(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

fn comparison(text: &str) -> Option<(&str, Compare, &str)> {
    let at = text.find(['=', '<', '>'])?;
    let (key, rest) = text.split_at(at);
    let signs = [
        (">=", Compare::AtLeast),
        ("<=", Compare::AtMost),
        ("=", Compare::Same),
        (">", Compare::More),
        ("<", Compare::Less),
    ];
    let (compare, value) = signs.iter().find_map(|(sign, c)| rest.strip_prefix(sign).map(|value| (*c, value)))?;
    is_field(key).then_some((key, compare, value))
}

fn status(word: &str) -> Result<Status, String> {
    Ok(match word {
        "healthy" | "up" => Status::Is(Health::Healthy),
        "unhealthy" | "down" => Status::Is(Health::Unhealthy),
        "unknown" => Status::Is(Health::Unknown),
        "degraded" => Status::Degraded,
        "faulty" => Status::Faulty,
        "drained" => Status::Drained,
        "warning" => Status::Warned,
        "acknowledged" | "ack" => Status::Acknowledged,
        "slow" => Status::Slow,
        _ => {
            return Err(
                "status is healthy, down, unknown, degraded, slow, faulty, drained, warning or acknowledged".to_owned()
            );
        }
    })
}

fn read_label(token: &str) -> Result<Word, String> {
    let (expected, token) = token.strip_prefix('!').map_or((true, token), |rest| (false, rest));
    let (key, value) = token.split_once('=').map_or((token, None), |(key, value)| (key, Some(value)));
    let (key, equal) = key.strip_suffix('!').map_or((key, true), |key| (key, value.is_none()));
    if key.is_empty() {
        return Err("-l needs a label, as in -l team=pay".to_owned());
    }
    // `a|b` is either value.
    let any = match value {
        Some(value) => value.split('|').map(|value| Test::Label(key.to_owned(), Some(value.to_owned()))).collect(),
        None => vec![Test::Label(key.to_owned(), None)],
    };
    Ok(Word { expected: expected == equal, any })
}

/// `500ms`, `2s`, `10m`, `3h`, `1d`; a bare number is milliseconds.
///
/// # Errors
/// A sentence that says how a time is written.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || "a time is written as 500ms, 2s, 10m, 3h or 1d".to_owned();
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = time::unit(if unit.is_empty() { "ms" } else { unit }).ok_or_else(wrong)?;
    time::several(number, unit).ok_or_else(wrong)
}

impl Test {
    fn holds(&self, service: &Service, facts: Facts) -> bool {
        match self {
            Self::Text(text) => has_text(service, text),
            Self::Label(key, value) => any(service, |i| {
                i.metadata.get(key).is_some_and(|found| value.as_ref().is_none_or(|value| *found == **value))
            }),
            Self::Status(status) => status.holds(service, facts),
            Self::Namespace(wanted) => wanted.holds(&service.namespace),
            Self::Name(wanted) => wanted.holds(&service.name),
            Self::Instance(wanted) => any(service, |i| wanted.holds(&i.name)),
            Self::Zone(wanted) => any(service, |i| wanted.holds(&i.zone)),
            Self::Check(wanted) => any(service, |i| check::all(i).iter().any(|check| wanted.holds(check))),
            Self::Tag(wanted) => any(service, |i| i.tags.iter().any(|tag| wanted.holds(tag))),
            Self::Owner(wanted) => any(service, |i| wanted.holds(i.owner())),
            Self::Reason(wanted) => wanted.holds(&service.reason) || any(service, |i| wanted.holds(&i.reason)),
            Self::Source(wanted) => wanted.holds(&service.source),
            Self::Version(range) => any(service, |i| range.matches(&i.version)),
            Self::VersionText(wanted) => any(service, |i| wanted.holds(&i.version)),
            Self::Url(wanted) => any(service, |i| wanted.holds(&i.base_url) || wanted.holds(&i.health_url)),
            Self::Host(wanted) => any(service, |i| wanted.holds(i.host())),
            Self::Port(port) => any(service, |i| i.ports().any(|of| of == *port)),
            Self::P50(compare, limit) => facts.latency.is_some_and(|known| compare.holds(&known.p50, limit)),
            Self::P99(compare, limit) => facts.latency.is_some_and(|known| compare.holds(&known.p99, limit)),
            Self::Since(compare, limit) => {
                service.since().is_some_and(|since| compare.holds(&facts.now.since(since), limit))
            }
            // One that expired has no time left.
            Self::Certificate(compare, limit) => {
                facts.certificate.is_some_and(|expires| compare.holds(&expires.since(facts.now), limit))
            }
            Self::Weight(compare, limit) => any(service, |i| compare.holds(&i.weight, limit)),
        }
    }
}

fn any(service: &Service, holds: impl Fn(&Instance) -> bool) -> bool {
    service.instances.iter().any(holds)
}

impl Status {
    fn holds(self, service: &Service, facts: Facts) -> bool {
        match self {
            Self::Is(Health::Unhealthy) => status::Status::of(service) == status::Status::Down,
            // As the header counts it, and as the server says it.
            Self::Is(Health::Unknown) => {
                let shown = status::Status::of(service);
                service.health == Health::Unknown
                    || matches!(shown, status::Status::Unknown | status::Status::NotChecked)
            }
            Self::Is(health) => service.health == health,
            Self::Degraded => status::Status::of(service) == status::Status::Degraded,
            Self::Faulty => service.is_faulty(),
            Self::Drained => any(service, Instance::is_drained),
            Self::Warned => service.warning().is_some(),
            Self::Acknowledged => any(service, |i| i.acknowledged.is_some()),
            Self::Slow => is_slow(service, facts.latency, facts.slow),
        }
    }
}

/// Whether a healthy service is slower than allowed.
pub fn is_slow(service: &Service, latency: Option<Latency>, slow: Option<Duration>) -> bool {
    let is_slower = latency.zip(slow).is_some_and(|(latency, slow)| latency.p99 > slow);
    is_slower && status::Status::of(service) == status::Status::Healthy
}

fn has_text(service: &Service, text: &str) -> bool {
    contains(&service.name, text)
        || contains(&service.namespace, text)
        || contains(&service.reason, text)
        || any(service, |i| {
            [&i.name, &i.base_url, &i.health_url, &i.reason, &i.version, &i.zone].iter().any(|of| contains(of, text))
                || i.metadata.iter().any(|(key, value)| contains(key, text) || contains(value, text))
                || i.acknowledged.as_ref().is_some_and(|known| contains(&known.note, text) || contains(&known.by, text))
        })
}

/// Whether `text` contains `part`, which is in lower case; names and URLs are ASCII.
fn contains(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    part.is_empty() || text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}
