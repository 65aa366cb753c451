//! What Tab completes: commands with their arguments, and the filter with what the services have.

use std::collections::HashMap;

use crate::console::columns::Added;
use crate::console::command::{self, Argument, Completes};
use crate::console::facet::{self, Dimension};
use crate::console::filter::FIELDS;
use crate::console::state::State;
use crate::console::window::Window;

/// Most candidates of one Tab.
const MAX_CANDIDATES: usize = 256;
/// Most different values that are counted for it.
const MAX_VALUES: usize = 4096;
const STATUSES: &[&str] =
    &["down", "degraded", "drained", "faulty", "healthy", "slow", "unknown", "warning", "acknowledged"];
const DAYS: &[&str] = &["7d", "14d", "30d", "90d"];
const TIMES: &[&str] = &["1m", "10m", "1h", "1d"];

/// What may stand from a byte on to the end of the line.
pub(super) type Candidates = (usize, Vec<String>);

/// For a command.
pub(super) fn command(state: &State, line: &str) -> Candidates {
    let (what, from) = command::completes(line);
    let begun = line.get(from..).unwrap_or_default();
    let of = |all: Vec<String>| (from, beginning(begun, all));
    match what {
        Completes::Name => of(command::names().filter(|name| name.len() > 1).map(Into::into).collect()),
        Completes::Argument(argument) => match argument {
            Argument::None => (from, Vec::new()),
            Argument::Namespace => of(state.index.namespaces().map(|(name, _)| name.into()).collect()),
            Argument::Sort => of(command::orders()),
            Argument::Columns => {
                of(dimensions(state).into_iter().chain(Added::NAMES.iter().map(|name| (*name).into())).collect())
            }
            Argument::Dimension => of(dimensions(state)),
            Argument::Since => of(TIMES.iter().map(|time| (*time).into()).collect()),
            Argument::Window => of(Window::ALL.iter().map(|window| window.as_str().into()).collect()),
            Argument::Theme => of(command::THEMES.iter().map(|(name, _)| (*name).into()).collect()),
            Argument::Filter => {
                let start = line.find(' ').map_or(line.len(), |at| at + 1);
                let (at, all) = filter(state, line.get(start..).unwrap_or_default());
                (start + at, all)
            }
        },
    }
}

/// For a filter: a field, or a value of the field that stands before; after `-l` a label.
pub(super) fn filter(state: &State, text: &str) -> Candidates {
    let start = text.rfind(' ').map_or(0, |at| at + 1);
    let (before, token) = text.split_at(start);
    let start = start + usize::from(token.starts_with('!'));
    let token = token.strip_prefix('!').unwrap_or(token);
    let is_label = before.trim_end().ends_with("-l");
    let operator = token.find(['=', '<', '>']);
    let Some(at) = operator else {
        let all = if is_label { labels(state) } else { FIELDS.iter().map(|field| field_text(field)).collect() };
        return (start, beginning(token, all));
    };
    let key = token.get(..at).unwrap_or_default().trim_end_matches('!');
    // The value begins after the operator, and after each `|`.
    let value_at = token.rfind(['=', '<', '>', '|']).map_or(token.len(), |at| at + 1);
    let begun = token.get(value_at..).unwrap_or_default();
    let values = match key {
        _ if is_label => values(state, &Dimension::Label(key.into())),
        "status" => STATUSES.iter().map(|word| (*word).into()).collect(),
        "cert" => DAYS.iter().map(|time| (*time).into()).collect(),
        "since" | "p50" | "p99" => TIMES.iter().map(|time| (*time).into()).collect(),
        "source" => vec!["manifest".into(), "rest".into()],
        "ns" | "zone" | "version" | "reason" | "host" | "owner" => values(state, &Dimension::named(key)),
        _ => Vec::new(),
    };
    (start + value_at, beginning(begun, values))
}

fn field_text(field: &str) -> String {
    match field {
        "since" | "cert" => format!("{field}<"),
        "p50" | "p99" => format!("{field}>"),
        _ => format!("{field}="),
    }
}

fn dimensions(state: &State) -> Vec<String> {
    facet::dimensions(state.index.services()).iter().map(|of| of.name().to_owned()).collect()
}

fn labels(state: &State) -> Vec<String> {
    let all = facet::dimensions(state.index.services());
    all.iter().filter(|of| matches!(of, Dimension::Label(_))).map(|of| format!("{}=", of.name())).collect()
}

/// The values of a dimension that can be written in a filter, the commonest first.
fn values(state: &State, dimension: &Dimension) -> Vec<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let all = state.index.services().flat_map(|service| service.instances.iter().map(move |of| (service, of)));
    for value in all.filter_map(|(service, instance)| dimension.value(service, instance)) {
        if counts.len() < MAX_VALUES || counts.contains_key(value) {
            *counts.entry(value).or_default() += 1;
        }
    }
    let mut counts: Vec<(&str, usize)> =
        counts.into_iter().filter(|(value, _)| dimension.filter(value).is_some()).collect();
    counts.sort_by_key(|(value, count)| (std::cmp::Reverse(*count), *value));
    counts.into_iter().map(|(value, _)| value.to_owned()).collect()
}

fn beginning(begun: &str, all: Vec<String>) -> Vec<String> {
    let begun = begun.to_lowercase();
    all.into_iter().filter(|of| of.to_lowercase().starts_with(&begun)).take(MAX_CANDIDATES).collect()
}
