//! The sentences that explain a change to people.

use std::time::Duration;

use super::{MAX_FLAPS, STEADY_SPAN};
use crate::model::outcome::Outcome;

/// Longest message, in characters, as of an outcome.
const MAX: usize = 256;

fn cut(text: String) -> String {
    if text.chars().count() <= MAX {
        return text;
    }
    text.chars().take(MAX - 1).chain(['…']).collect()
}

fn times(n: u32, what: &str, plural: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {plural} in a row") }
}

pub(super) fn fails(n: u32, on_demand: bool, outcome: &Outcome) -> String {
    let why = &outcome.message;
    cut(if on_demand {
        format!("checked on request: {why}")
    } else {
        format!("{}: {why}", times(n, "failure", "failures"))
    })
}

pub(super) fn passes(n: u32, on_demand: bool, first: bool, outcome: &Outcome) -> String {
    let why = &outcome.message;
    cut(match (on_demand, first) {
        (true, _) => format!("checked on request: {why}"),
        (false, true) => format!("first probe passed: {why}"),
        (false, false) => format!("{}: {why}", times(n, "pass", "passes")),
    })
}

pub(super) fn flapping(outcome: &Outcome) -> String {
    let (limit, steady) = (MAX_FLAPS, STEADY_SPAN.as_secs());
    cut(format!(
        "more than {limit} changes in 10 minutes: held unhealthy until it passes for {steady} s; last: {}",
        outcome.message
    ))
}

pub(super) fn steady(n: u32, span: Duration, outcome: &Outcome) -> String {
    cut(format!("stopped flapping: {n} passes in a row over {} s: {}", span.as_secs(), outcome.message))
}

pub(super) fn unproven(silence: Duration, last: Option<&Outcome>) -> String {
    let seconds = silence.as_secs();
    cut(match last {
        Some(outcome) => format!("no conclusive probe for {seconds} s: {}", outcome.message),
        None => format!("no conclusive probe for {seconds} s"),
    })
}
