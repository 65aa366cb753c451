//! The guard, the state machine and a fixed-rate scheduler against a made-up network, event by event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::model::check::Timing;
use crate::model::health::{CheckState, Event, Next, step};
use crate::model::outcome::{Health, Stage, Timings};
use crate::model::time::Now;

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
        (after, Outcome { verdict, reason, stage, at: UnixMs(0), address: None, code: None, message, timings })
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
    last: Vec<Option<Outcome>>,
    events: BinaryHeap<Reverse<(i64, What, usize)>>,
    guard: Option<Guard>,
    result: Outcomes,
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
}

impl<'a> Sim<'a> {
    fn run(
        targets: &'a [Target],
        network: &'a dyn Fn(usize, i64) -> Answer,
        guard: bool,
        seconds: i64,
    ) -> (Outcomes, Vec<CheckState>) {
        let start = Now { steady: UnixMs(0), wall: UnixMs(0) };
        let mut sim = Self {
            targets,
            network,
            states: targets.iter().map(|_| CheckState::new(start)).collect(),
            running: targets.iter().map(|_| None).collect(),
            last: targets.iter().map(|_| None).collect(),
            events: BinaryHeap::new(),
            guard: guard.then(Guard::default),
            result: Outcomes::default(),
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
                self.start(now, i, true);
            }
            What::Extra => self.start(now, i, false),
            What::Ended => self.ended(now, i),
            What::Tick => {
                self.events.push(Reverse((now + 100, What::Tick, 0)));
                self.tick(now);
            }
        }
    }

    fn start(&mut self, now: i64, i: usize, scheduled: bool) {
        if self.running[i].is_none() {
            let (after, outcome) = (self.network)(i, now).outcome(&self.targets[i].timing);
            self.running[i] = Some((outcome, scheduled, now));
            self.events.push(Reverse((now + after, What::Ended, i)));
        }
    }

    fn ended(&mut self, now: i64, i: usize) {
        let (outcome, scheduled, started) = self.running[i].take().expect("it ran");
        let before = self.states[i].clone();
        if let Some(guard) = &mut self.guard {
            guard.observe(&Observation {
                instance: id(i),
                namespace: self.targets[i].namespace,
                address: Some(self.targets[i].address),
                was_healthy: before.health() == Health::Healthy,
                scheduled,
                seen: Seen::from(&outcome),
                at: UnixMs(now),
            });
        }
        self.last[i] = Some(outcome.clone());
        self.step(now, i, Event::Probe(&outcome), started);
    }

    fn step(&mut self, now: i64, i: usize, event: Event<'_>, started: i64) {
        let before = &self.states[i];
        let at = Now { steady: UnixMs(now), wall: UnixMs(now) };
        let mut done = step(before, &self.targets[i].timing, event, at);
        if let (true, Event::Probe(outcome), Some(guard)) = (done.is_fall(), event, &mut self.guard) {
            let fall = Fall {
                instance: id(i),
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
            self.start(now, index(canary), false);
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
            match release {
                Release::Commit(one) => {
                    let last = self.last[index(one)].clone().expect("it was probed");
                    self.step(now, index(one), Event::Release(&last), now);
                }
                Release::Probe(one) => self.start(now, index(one), false),
            }
        }
    }
}

fn id(i: usize) -> InstanceId {
    InstanceId(i64::try_from(i).expect("small"))
}

fn index(id: InstanceId) -> usize {
    usize::try_from(id.0).expect("made from one")
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
}

/// Plays `network` (target and milliseconds since the failures began, to what a probe started then shows) for so many seconds, with and
/// without the guard, and prints a line of the table.
pub(super) fn simulate(name: &str, targets: &[Target], seconds: i64, network: impl Fn(usize, i64) -> Answer) -> Report {
    let network = |i: usize, now: i64| if now < START * 1000 { Answer::Pass } else { network(i, now - START * 1000) };
    let (with, states) = Sim::run(targets, &network, true, seconds);
    let (without, _) = Sim::run(targets, &network, false, seconds);
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
