//! The rules of history: each transition follows the one before, and is based on outcomes that the network really gave.

use std::collections::{BTreeMap, VecDeque};

use portolan::model::health::{FLAP_WINDOW, MAX_FLAPS, STEADY_PASSES, STEADY_SPAN};
use portolan::model::outcome::{Health, Outcome, Reason, Verdict};
use portolan::store::HistoryEntry;
use uuid::Uuid;

use crate::observer::View;
use crate::truth::{Aim, At, Seen, World};

/// Of one instance.
#[derive(Debug, Clone, Default)]
struct Thread {
    last: Option<(Health, Option<Aim>)>,
    /// When it changed between healthy and unhealthy, as far as that counts as flapping.
    flaps: VecDeque<At>,
}

/// What was read of history so far.
#[derive(Debug, Default)]
pub(crate) struct Past {
    newest: BTreeMap<Uuid, i64>,
    threads: BTreeMap<(Uuid, String), Thread>,
    /// The first run whose flaps count.
    counts_from: u32,
}

/// The number and the aim in the message of an outcome.
fn names(outcome: &Outcome) -> Option<(u64, Aim)> {
    let (number, aim) = outcome.message.strip_prefix("outcome ")?.split_once(" of ")?;
    let (port, mark) = aim.split_once('/')?;
    Some((number.parse().ok()?, Aim { port: port.parse().ok()?, mark: mark.parse().ok()? }))
}

/// The engine takes the time when it handles an outcome, which may be this much after the network gave it: milliseconds.
const HANDLED_WITHIN: At = 10;

/// How long it lasted, as far as the engine may have seen it.
fn span(streak: &[Seen]) -> At {
    streak.first().zip(streak.last()).map_or(0, |(newest, oldest)| newest.at - oldest.at + HANDLED_WITHIN)
}

impl Past {
    /// The newest entry that was read of a service.
    pub(crate) fn newest(&self, service: &Uuid) -> i64 {
        self.newest.get(service).copied().unwrap_or(i64::MIN)
    }

    /// What history said last of an instance, and of which aim.
    pub(crate) fn last(&self, service: &Uuid, instance: &str) -> Option<(Health, Option<Aim>)> {
        self.threads.get(&(*service, instance.to_owned())).and_then(|thread| thread.last)
    }

    /// The steady clock of a server that started after the wall clock was set is another one: flaps are counted afresh.
    pub(crate) fn forget_flaps(&mut self, next_run: u32) {
        self.counts_from = next_run;
        self.threads.values_mut().for_each(|thread| thread.flaps.clear());
    }

    /// Takes the next entry of a service in; `view` is the instance as readers see it now.
    pub(crate) fn take_in(&mut self, world: &World, service: Uuid, entry: &HistoryEntry, view: Option<&View>) {
        self.newest.insert(service, entry.id);
        let instance = entry.instance.to_string();
        let thread = self.threads.entry((service, instance.clone())).or_default();
        let Some((to, reason)) = entry.to.zip(entry.reason) else {
            *thread = Thread::default();
            return;
        };
        world.tell(format!("{instance} of {service}: {} to {to}, {reason}: {}", entry.from, entry.message));
        let found = entry.evidence.as_ref().and_then(names);
        // An unproven instance's evidence may be missing; its aim is the one before.
        let aim = found.map(|(_, aim)| aim).or(thread.last.and_then(|(_, aim)| aim)).or(view.map(|view| view.aim));
        let follows = match thread.last {
            Some((health, before)) if before == aim => entry.from == health,
            _ => entry.from == Health::Unknown,
        };
        if !follows {
            let what = format!("{instance}: {:?}, then {} to {to} of {aim:?}", thread.last, entry.from);
            world.broken("each transition follows the one before", what);
        }
        if thread.last.is_none_or(|(_, before)| before != aim) {
            thread.flaps.clear();
        }
        thread.last = Some((to, aim));
        let Some(view) = view.filter(|view| Some(view.aim) == aim) else {
            // It changed meanwhile: what it was can no longer be said.
            return;
        };
        let on_demand = entry.message.starts_with("checked on request");
        if let Err(what) = rests(world, entry, (to, reason), found, view, on_demand) {
            world.broken(
                "a transition rests on its outcomes",
                format!("{instance}: {} to {to}, {reason}: {what}", entry.from),
            );
        }
        let counts = reason != Reason::Flapping && entry.from != Health::Unknown && to != Health::Unknown;
        let number = found.map(|(number, _)| number);
        let seen = world.truth().logs.get(&view.aim).and_then(|log| log.find(number?)).copied();
        let seen = seen.filter(|seen| seen.run >= self.counts_from);
        if let Some(seen) = seen.filter(|_| counts && !entry.message.starts_with("stopped flapping")) {
            flap(world, thread, seen.at, &instance);
        }
    }
}

fn flap(world: &World, thread: &mut Thread, at: At, instance: &str) {
    // What the guard kept back counts when it is let go, which may be a minute and more after its outcome.
    let window = i64::try_from(FLAP_WINDOW.as_millis()).expect("minutes") - 90_000;
    while thread.flaps.front().is_some_and(|before| at - before >= window) {
        thread.flaps.pop_front();
    }
    thread.flaps.push_back(at);
    if thread.flaps.len() > MAX_FLAPS {
        world.broken("more than four changes in ten minutes are a hold", format!("{instance}: {:?}", thread.flaps));
    }
}

/// Whether the outcomes that were given allow this change.
fn rests(
    world: &World,
    entry: &HistoryEntry,
    (to, reason): (Health, Reason),
    found: Option<(u64, Aim)>,
    view: &View,
    on_demand: bool,
) -> Result<(), String> {
    let truth = world.truth();
    let Some(log) = truth.logs.get(&view.aim) else { return Err("nothing was probed".to_owned()) };
    let Some((number, _)) = found else {
        // Silence proves itself, and a registration says that nothing is known yet.
        let unknown = matches!(reason, Reason::Unproven | Reason::Probing) && to == Health::Unknown;
        return if unknown { Ok(()) } else { Err("it has no evidence".to_owned()) };
    };
    let Some(seen) = log.find(number) else {
        return Err(format!("outcome {number} was never given"));
    };
    let timing = view.timing;
    match (to, seen.verdict) {
        (Health::Unknown, Verdict::Inconclusive) if reason == Reason::Unproven => Ok(()),
        (Health::Healthy, Verdict::Pass) => {
            let streak = log.streak_to(number, Verdict::Pass);
            let count = u32::try_from(streak.len()).unwrap_or(u32::MAX);
            if entry.message.starts_with("stopped flapping") {
                let (least, time) = (STEADY_PASSES.max(timing.healthy_threshold), STEADY_SPAN.as_millis());
                let held = count >= least && span(&streak) >= i64::try_from(time).expect("a minute");
                return if held {
                    Ok(())
                } else {
                    Err(format!("{count} passes over {} ms end no hold", span(&streak)))
                };
            }
            let first = entry.from == Health::Unknown;
            if first || on_demand || count >= timing.healthy_threshold {
                Ok(())
            } else {
                Err(format!("{count} passes"))
            }
        }
        (Health::Unhealthy, Verdict::Fail | Verdict::Pass)
            if reason == Reason::Flapping || seen.verdict == Verdict::Fail =>
        {
            let count = u32::try_from(log.streak_to(number, seen.verdict).len()).unwrap_or(u32::MAX);
            let least = match seen.verdict {
                Verdict::Pass => timing.healthy_threshold,
                _ => timing.unhealthy_threshold,
            };
            if on_demand || reason == Reason::Flapping && count >= 1 || count >= least {
                Ok(())
            } else {
                Err(format!("{count} of {least}"))
            }
        }
        _ => Err(format!("outcome {number} was {}", seen.verdict.as_str())),
    }
}
