//! The guard, the state machine, a fixed-rate scheduler and, where asked for, slots and the queue for them, against a made-up network, event
//! by event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::check::Timing;
use crate::model::health::{CheckState, Event, Next, Streak, step};
use crate::model::outcome::{Health, Stage, Timings};
use crate::model::time::Now;
use crate::prober::limits::fair_queue::FairQueue;
use crate::prober::limits::slots::{Demand, Slot, Slots};
use crate::prober::schedule::detection_time::detection_time;
use crate::prober::targets::{Lane, Priority, confirming_gap};

/// Failures begin here, in seconds; everything is healthy before.
const START: i64 = 60;

#[derive(Clone)]
pub(super) struct Target {
    namespace: &'static str,
    address: IpAddr,
    timing: Timing,
}

impl Target {
    pub(super) fn namespace(&self) -> &'static str {
        self.namespace
    }
}

pub(super) fn timing(interval: u64, threshold: u32) -> Timing {
    Timing {
        interval: Duration::from_secs(interval),
        timeout: Duration::from_secs(5),
        retry_interval: Duration::from_secs(1),
        unhealthy_threshold: threshold,
        healthy_threshold: 1,
    }
}

/// The same with another timeout, in seconds.
pub(super) fn impatient(interval: u64, timeout: u64, threshold: u32) -> Timing {
    Timing { timeout: Duration::from_secs(timeout), ..timing(interval, threshold) }
}

pub(super) fn target(namespace: &'static str, host: u32, timing: Timing) -> Target {
    Target { namespace, address: Ipv4Addr::from(0x0a00_0000 + host).into(), timing }
}

/// `n` targets, two on each address, in ten namespaces.
pub(super) fn targets(n: u32, timing: impl Fn(u32) -> Timing) -> Vec<Target> {
    const NAMESPACES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    (0..n).map(|i| target(NAMESPACES[i as usize % 10], i / 2, timing(i))).collect()
}

/// What a probe that starts now will show.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Pass,
    Timeout,
    Unreachable,
    Refused,
}

impl Answer {
    fn outcome(self, timing: &Timing) -> (i64, Outcome) {
        let (after, verdict, reason) = match self {
            Self::Pass => (3, Verdict::Pass, Reason::Passed),
            Self::Timeout => (millis(timing.timeout), Verdict::Fail, Reason::ConnectTimeout),
            Self::Unreachable => (1, Verdict::Fail, Reason::Unreachable),
            Self::Refused => (1, Verdict::Fail, Reason::ConnectRefused),
        };
        let message = reason.to_string();
        let stage = Stage::Connect;
        let timings = Timings::default();
        (
            after,
            Outcome {
                verdict,
                reason,
                stage,
                at: UnixMs(0),
                address: None,
                code: None,
                certificate_expires_at: None,
                message,
                timings,
            },
        )
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).expect("short")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Due,
    Extra,
    Ended,
    Tick,
}

struct Sim<'a> {
    targets: &'a [Target],
    network: &'a dyn Fn(usize, i64) -> Answer,
    states: Vec<CheckState>,
    running: Vec<Option<(Outcome, bool, i64)>>,
    line: Option<Line>,
    last: Vec<Option<Outcome>>,
    events: BinaryHeap<Reverse<(i64, What, usize)>>,
    guard: Option<Guard>,
    result: Outcomes,
}

/// A bounded number of slots, and who waits for one.
struct Line {
    slots: Arc<Slots>,
    ready: FairQueue,
    demand: Demand,
    /// Since when each waits, and whether for a scheduled probe.
    waits: Vec<Option<(i64, bool)>>,
    holds: Vec<Option<Slot>>,
    lanes: Vec<(Lane, Option<u32>)>,
}

impl Line {
    fn new(slots: usize, targets: usize) -> Self {
        Self {
            slots: Slots::new(slots),
            ready: FairQueue::default(),
            demand: Demand::default(),
            waits: vec![None; targets],
            holds: (0..targets).map(|_| None).collect(),
            lanes: vec![(Lane::New, None); targets],
        }
    }

    /// Those that may start now.
    fn next(&mut self) -> Option<(usize, i64, bool)> {
        while self.slots.free() {
            let slow = self.slots.free_for_slow(self.demand.reserve(self.slots.all()));
            let i = index(self.ready.pop(slow)?);
            if let Some((since, scheduled)) = self.waits[i].take() {
                self.holds[i] = Some(self.slots.take(self.lanes[i].0.may_hang()));
                return Some((i, since, scheduled));
            }
        }
        None
    }

    fn ended(&mut self, i: usize, timing: &Timing, took: i64) {
        self.holds[i] = None;
        let lane = if took * 2 >= millis(timing.timeout) { Lane::Slow } else { Lane::Quick };
        let part = u32::try_from(took * 1_000_000 / millis(timing.interval)).expect("a part");
        let need = (lane == Lane::Quick).then_some(part);
        self.demand.replace(self.lanes[i].1, need);
        self.lanes[i] = (lane, need);
    }
}

/// What came of it.
#[derive(Default)]
struct Outcomes {
    /// Time (ms) and target of each fall.
    falls: Vec<(i64, usize)>,
    rounds: usize,
    canaries: usize,
    most_held: usize,
    /// Milliseconds spent holding.
    holding: i64,
    /// How often somebody became unproven.
    unproven: usize,
    /// Probes of each since the failures began.
    probes: Vec<usize>,
}

impl<'a> Sim<'a> {
    fn run(
        targets: &'a [Target],
        network: &'a dyn Fn(usize, i64) -> Answer,
        guard: bool,
        slots: Option<usize>,
        seconds: i64,
    ) -> (Outcomes, Vec<CheckState>) {
        let start = Now { steady: UnixMs(0), wall: UnixMs(0) };
        let mut sim = Self {
            targets,
            network,
            states: targets.iter().map(|_| CheckState::new(start)).collect(),
            running: targets.iter().map(|_| None).collect(),
            line: slots.map(|slots| Line::new(slots, targets.len())),
            last: targets.iter().map(|_| None).collect(),
            events: BinaryHeap::new(),
            guard: guard.then(|| slots.map_or_else(Guard::default, Guard::within)),
            result: Outcomes { probes: vec![0; targets.len()], ..Outcomes::default() },
        };
        for i in 0..targets.len() {
            sim.events.push(Reverse((sim.phase(i), What::Due, i)));
        }
        sim.events.push(Reverse((0, What::Tick, 0)));
        while let Some(Reverse((now, what, i))) = sim.events.pop() {
            if now > (START + seconds) * 1000 {
                break;
            }
            sim.handle(now, what, i);
        }
        (sim.result, sim.states)
    }

    /// Spread over the interval without a pattern.
    fn phase(&self, i: usize) -> i64 {
        let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11;
        i64::try_from(mixed).expect("53 bits") % millis(self.targets[i].timing.interval)
    }

    fn handle(&mut self, now: i64, what: What, i: usize) {
        match what {
            What::Due => {
                self.events.push(Reverse((now + millis(self.targets[i].timing.interval), What::Due, i)));
                self.due(now, i, true, false);
            }
            What::Extra => self.due(now, i, false, false),
            What::Ended => self.ended(now, i),
            What::Tick => {
                self.events.push(Reverse((now + 100, What::Tick, 0)));
                self.tick(now);
                if now % 1000 == 0 {
                    self.silence(now);
                }
            }
        }
    }

    /// A probe is due, or asked for at once.
    fn due(&mut self, now: i64, i: usize, scheduled: bool, urgent: bool) {
        let Some(line) = &mut self.line else { return self.start(now, i, scheduled) };
        if self.running[i].is_some() || (line.waits[i].is_some() && !urgent) {
            return;
        }
        line.waits[i].get_or_insert((now, scheduled && !urgent));
        let Target { namespace, timing, .. } = &self.targets[i];
        let gap = if scheduled { timing.interval } else { confirming_gap(timing) };
        let decided = matches!(self.states[i].streak(), Streak::Fail(n) if n >= timing.unhealthy_threshold);
        let known = line.lanes[i].0;
        let of_hung = known == Lane::Slow && decided;
        let priority = Priority { urgent, lane: if of_hung { Lane::Hung } else { known } };
        line.ready.push(priority, namespace.as_bytes()[0].into(), gap, id(i));
        self.fill(now);
    }

    /// Starts what the slots allow.
    fn fill(&mut self, now: i64) {
        while let Some((i, since, scheduled)) = self.line.as_mut().and_then(Line::next) {
            let waited = u64::try_from(now - since).expect("it waited");
            self.states[i].excuse(Duration::from_millis(waited));
            self.start(now, i, scheduled);
        }
    }

    /// Whoever waits for us is not silent.
    fn silence(&mut self, now: i64) {
        for i in 0..self.targets.len() {
            let waits = self.line.as_ref().is_some_and(|line| line.waits[i].is_some());
            if !waits && self.states[i].unproven_at(&self.targets[i].timing) <= UnixMs(now) {
                self.result.unproven += 1;
                self.step(now, i, Event::Silence, now);
            }
        }
    }

    fn start(&mut self, now: i64, i: usize, scheduled: bool) {
        if self.running[i].is_none() {
            self.result.probes[i] += usize::from(now >= START * 1000);
            let (after, outcome) = (self.network)(i, now).outcome(&self.targets[i].timing);
            self.running[i] = Some((outcome, scheduled, now));
            self.events.push(Reverse((now + after, What::Ended, i)));
        }
    }

    fn ended(&mut self, now: i64, i: usize) {
        let (outcome, scheduled, started) = self.running[i].take().expect("it ran");
        if let Some(line) = &mut self.line {
            line.ended(i, &self.targets[i].timing, now - started);
        }
        let before = self.states[i].clone();
        if let Some(guard) = &mut self.guard {
            guard.observe(&Observation {
                check: id(i),
                namespace: self.targets[i].namespace,
                address: Some(self.targets[i].address),
                was_healthy: before.health() == Health::Healthy,
                scheduled,
                reach: Reach::from(&outcome),
                at: UnixMs(now),
            });
        }
        self.last[i] = Some(outcome.clone());
        self.step(now, i, Event::Probe(&outcome), started);
        self.fill(now);
    }

    fn step(&mut self, now: i64, i: usize, event: Event<'_>, started: i64) {
        let before = &self.states[i];
        let at = Now { steady: UnixMs(now), wall: UnixMs(now) };
        let mut done = step(before, &self.targets[i].timing, event, at);
        if let (true, Event::Probe(outcome), Some(guard)) = (done.is_fall(), event, &mut self.guard) {
            let fall = Fall {
                check: id(i),
                namespace: self.targets[i].namespace,
                address: Some(self.targets[i].address),
                reason: outcome.reason,
                failing_since: done.state.streak_since(),
                started: UnixMs(started),
            };
            if guard.holds(&fall, UnixMs(now)) {
                done = done.withheld(before);
            }
        }
        if done.is_fall() {
            self.result.falls.push((now, i));
        }
        if done.next == Next::Confirm {
            self.events.push(Reverse((now + millis(self.targets[i].timing.retry_interval), What::Extra, i)));
        }
        self.states[i] = done.state;
        self.canaries(now);
    }

    fn canaries(&mut self, now: i64) {
        let asked = self.guard.as_mut().map(Guard::canaries).unwrap_or_default();
        self.result.rounds += usize::from(!asked.is_empty());
        self.result.canaries += asked.len();
        for canary in asked {
            self.due(now, index(canary), false, true);
        }
    }

    fn tick(&mut self, now: i64) {
        let Some(guard) = &mut self.guard else { return };
        if guard.due(UnixMs(now)).is_none() {
            return;
        }
        if let GuardState::Holding { .. } = guard.judge(UnixMs(now)) {
            self.result.holding += 100;
        }
        self.result.most_held = self.result.most_held.max(guard.held());
        let released = guard.release_batch(UnixMs(now));
        self.canaries(now);
        for release in released {
            let short = self.line.as_ref().is_some_and(|line| line.waits.iter().any(Option::is_some));
            match release {
                Release::Probe(one) => self.due(now, index(one), false, true),
                Release::Confirm(one) if !short => self.due(now, index(one), false, true),
                Release::Commit(one) | Release::Confirm(one) => {
                    let last = self.last[index(one)].clone().expect("it was probed");
                    self.step(now, index(one), Event::Release(&last), now);
                }
            }
        }
    }
}

fn id(i: usize) -> CheckId {
    CheckId::plain(i64::try_from(i).expect("small"))
}

fn index(id: CheckId) -> usize {
    usize::try_from(id.instance.0).expect("made from one")
}

/// One scenario's figures, in seconds; falls are counted from the start of the failures to the first one of each target.
#[derive(Debug)]
pub(super) struct Report {
    /// Targets that fell, with the guard and without.
    pub(super) fell: usize,
    pub(super) plain: usize,
    /// The last first fall.
    pub(super) last: f64,
    /// Most that the guard delayed one.
    pub(super) later: f64,
    /// Canary rounds.
    pub(super) rounds: usize,
    pub(super) most_held: usize,
    /// Time spent holding.
    pub(super) holding: f64,
    /// Healthy at the end.
    pub(super) healthy: usize,
    /// How often somebody became unproven, with the guard.
    pub(super) unproven: usize,
    /// Probes of each since the failures began, with the guard.
    pub(super) probes: Vec<usize>,
    /// What the last first fall is promised to come within, where slots are bounded.
    pub(super) promised: f64,
}

/// Plays `network` (target and milliseconds since the failures began, to what a probe started then shows) for this many seconds, with and
/// without the guard, and prints a line of the table.
pub(super) fn simulate(name: &str, targets: &[Target], seconds: i64, network: impl Fn(usize, i64) -> Answer) -> Report {
    simulate_within(None, name, targets, seconds, network)
}

/// The same with this many slots.
pub(super) fn simulate_within(
    slots: Option<usize>,
    name: &str,
    targets: &[Target],
    seconds: i64,
    network: impl Fn(usize, i64) -> Answer,
) -> Report {
    let network = |i: usize, now: i64| if now < START * 1000 { Answer::Pass } else { network(i, now - START * 1000) };
    let (with, states) = Sim::run(targets, &network, true, slots, seconds);
    let (without, _) = Sim::run(targets, &network, false, slots, seconds);
    let (guarded, plain) = (first_falls(&with, targets.len()), first_falls(&without, targets.len()));
    let later = guarded.iter().zip(&plain).filter_map(|(g, p)| Some(g.as_ref()? - p.as_ref()?)).collect();
    let (p50, last) = middle_and_last(guarded.iter().flatten().copied().collect());
    let (later_p50, later) = middle_and_last(later);
    let report = Report {
        fell: guarded.iter().flatten().count(),
        plain: plain.iter().flatten().count(),
        last,
        later,
        rounds: with.rounds,
        most_held: with.most_held,
        holding: to_seconds(with.holding),
        unproven: with.unproven,
        probes: with.probes,
        promised: slots.map_or(0.0, |slots| promised(targets, slots)),
        healthy: states.iter().filter(|s| s.health() == Health::Healthy).count(),
    };
    println!(
        "{name:<50} {:>5} {:>5} {:>5} {p50:>6.1} {last:>6.1} {later_p50:>6.2} {later:>6.2} {:>4} {:>5} {:>5} {:>5.1}",
        targets.len(),
        report.plain,
        report.fell,
        report.rounds,
        with.canaries,
        report.most_held,
        report.holding,
    );
    report
}

fn promised(targets: &[Target], slots: usize) -> f64 {
    let all = targets.iter().map(|t| (t.namespace.as_bytes()[0].into(), &t.timing));
    detection_time(all, slots).expect("some").as_secs_f64()
}

pub(super) fn head() {
    println!(
        "{:<50} {:>5} {:>5} {:>5} {:>6} {:>6} {:>6} {:>6} {:>4} {:>5} {:>5} {:>5}",
        "scenario", "all", "plain", "fell", "p50 s", "last s", "+p50 s", "+max s", "asks", "canar", "held", "for s"
    );
}

fn first_falls(outcomes: &Outcomes, n: usize) -> Vec<Option<f64>> {
    let mut first = vec![None; n];
    for (at, i) in &outcomes.falls {
        first[*i].get_or_insert(to_seconds(at - START * 1000));
    }
    first
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of minutes")]
fn to_seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn middle_and_last(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times.get(times.len() / 2).copied().unwrap_or(0.0), times.last().copied().unwrap_or(0.0))
}
