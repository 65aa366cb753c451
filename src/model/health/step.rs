//! The rules: the effect of one event.

use super::state::allowance;
use super::{CheckState, Event, Next, Step, Streak, message};
use crate::model::check::Timing;
use crate::model::name::CheckName;
use crate::model::outcome::{Health, Outcome, Reason, Transition, Verdict};
use crate::model::time::Now;

/// How much a fail proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// It counts towards the threshold.
    Counts,
    /// A person asked: it decides alone.
    OnDemand,
    /// It decides alone by its nature.
    Final,
}

/// Applies an event to a state. Pure; the rules are in [the module's documentation](super).
pub fn step(state: &CheckState, timing: &Timing, event: Event<'_>, now: Now) -> Step {
    match event {
        Event::Silence => silence(state, timing, None, now),
        Event::Release(last) => release(state, timing, last, now),
        Event::Expired(outcome) => fail(state, timing, outcome, Weight::Final, now),
        Event::Probe(outcome) | Event::OnDemand(outcome) => {
            let on_demand = matches!(event, Event::OnDemand(_));
            let weight = if on_demand { Weight::OnDemand } else { Weight::Counts };
            match outcome.verdict {
                Verdict::Inconclusive => silence(state, timing, Some(outcome), now),
                Verdict::Pass => pass(state, timing, outcome, on_demand, now),
                Verdict::Fail => fail(state, timing, outcome, weight, now),
            }
        }
    }
}

fn stay(state: CheckState, next: Next) -> Step {
    Step { state, transition: None, reason_changed: false, next }
}

fn pass(before: &CheckState, timing: &Timing, outcome: &Outcome, on_demand: bool, now: Now) -> Step {
    let (state, count) = before.passed(timing, now);
    if before.held() {
        return if state.is_steady(timing, now) {
            leave_hold(state, count, outcome, now)
        } else {
            stay(state, Next::Scheduled)
        };
    }
    if before.health() == Health::Healthy {
        return stay(state, Next::Scheduled);
    }
    let first = before.health() == Health::Unknown && before.streak == Streak::None;
    if on_demand || first || count >= timing.healthy_threshold {
        let message = message::passes(count, on_demand, first, outcome);
        return flip(state, Health::Healthy, outcome, message, now);
    }
    stay(state, Next::Confirm)
}

fn fail(before: &CheckState, timing: &Timing, outcome: &Outcome, weight: Weight, now: Now) -> Step {
    let (state, count) = before.failed(outcome.reason, timing, now);
    if before.held() {
        return stay(state, Next::Scheduled);
    }
    if before.health() == Health::Unhealthy {
        return follow_reason(state, timing, outcome.reason, weight != Weight::Counts);
    }
    if weight != Weight::Counts || count >= timing.unhealthy_threshold {
        let message = match weight {
            Weight::Final => outcome.message.clone(),
            weight => message::fails(count, weight == Weight::OnDemand, outcome),
        };
        return flip(state, Health::Unhealthy, outcome, message, now);
    }
    stay(state, Next::Confirm)
}

/// A withheld flip: the fails were counted when they came.
fn release(state: &CheckState, timing: &Timing, last: &Outcome, now: Now) -> Step {
    match state.streak {
        Streak::Fail(n) if n >= timing.unhealthy_threshold && state.health() == Health::Healthy => {
            flip(state.clone(), Health::Unhealthy, last, message::fails(n, false, last), now)
        }
        _ => stay(state.clone(), Next::Scheduled),
    }
}

fn follow_reason(mut state: CheckState, timing: &Timing, reason: Reason, decides: bool) -> Step {
    let confirmed = state.same.is_some_and(|(_, n)| decides || n >= timing.unhealthy_threshold);
    let changed = confirmed && state.shown.reason != reason;
    if changed {
        state.shown.reason = reason;
    }
    Step { reason_changed: changed, ..stay(state, Next::Scheduled) }
}

fn flip(mut state: CheckState, to: Health, outcome: &Outcome, message: String, now: Now) -> Step {
    let counted = state.health() != Health::Unknown;
    if counted && !state.note_flap(now) {
        state.shown.held = true;
        return show(state, Health::Unhealthy, Reason::Flapping, message::flapping(outcome), Some(outcome), now);
    }
    show(state, to, outcome.reason, message, Some(outcome), now)
}

fn leave_hold(mut state: CheckState, count: u32, outcome: &Outcome, now: Now) -> Step {
    state.shown.held = false;
    let message = message::steady(count, now.steady.since(state.began), outcome);
    show(state, Health::Healthy, Reason::Passed, message, Some(outcome), now)
}

/// Nothing conclusive: nothing counts, but it may have lasted too long.
fn silence(before: &CheckState, timing: &Timing, outcome: Option<&Outcome>, now: Now) -> Step {
    let came = outcome.map(|outcome| outcome.reason);
    if before.health() == Health::Unknown {
        return unknown(before, timing, came, now);
    }
    if now.steady < before.unproven_at(timing) {
        return stay(before.clone(), pending(before, timing));
    }
    let reason = came.filter(|reason| reason.bars_check()).unwrap_or(Reason::Unproven);
    let message = message::unproven(now.steady.since(before.proven).max(allowance(timing)), outcome);
    show(forgetting(before, now), Health::Unknown, reason, message, outcome, now)
}

/// An unknown instance can change only its reason: what bars its check is shown at once, and `Unproven` after a while.
fn unknown(before: &CheckState, timing: &Timing, came: Option<Reason>, now: Now) -> Step {
    let long = before.is_stale(timing, now);
    let reason = match came {
        Some(bar) if bar.bars_check() => bar,
        None if before.reason().bars_check() => before.reason(),
        _ if long => Reason::Unproven,
        _ => before.reason(),
    };
    if reason == before.reason() {
        return stay(before.clone(), pending(before, timing));
    }
    let mut state = if long { forgetting(before, now) } else { before.clone() };
    state.shown.reason = reason;
    Step { reason_changed: true, ..stay(state, Next::Scheduled) }
}

/// The state without its streak: the next outcome starts a new one.
fn forgetting(before: &CheckState, now: Now) -> CheckState {
    CheckState { streak: Streak::None, same: None, began: now.steady, ..before.clone() }
}

/// Whether a confirmation is still pending.
fn pending(state: &CheckState, timing: &Timing) -> Next {
    let confirming = match (state.health(), state.streak) {
        _ if state.held() => false,
        (Health::Healthy | Health::Unknown, Streak::Fail(n)) => n < timing.unhealthy_threshold,
        (Health::Unhealthy | Health::Unknown, Streak::Pass(_)) => true,
        _ => false,
    };
    if confirming { Next::Confirm } else { Next::Scheduled }
}

fn show(
    mut state: CheckState,
    to: Health,
    reason: Reason,
    message: String,
    evidence: Option<&Outcome>,
    now: Now,
) -> Step {
    let from = state.shown.health;
    if from != to {
        state.shown.since = now.wall;
    }
    (state.shown.health, state.shown.reason) = (to, reason);
    let transition = Transition {
        at: now.wall,
        from,
        to,
        reason,
        message,
        check: CheckName::default(),
        evidence: evidence.cloned(),
    };
    Step { transition: Some(transition), ..stay(state, Next::Scheduled) }
}
