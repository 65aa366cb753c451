//! The truth: each target's probes and their outcomes, the clocks, the disk. The rules compare Portolan's claims with it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portolan::model::outcome::{Outcome, Reason, Verdict};
use portolan::model::time::{Clock, Now, UnixMs};
use tokio::time::Instant;

/// Milliseconds since the simulation began.
pub(crate) type At = i64;
/// The wall clock at the beginning.
const BEGAN: i64 = 1_800_000_000_000;
/// Outcomes kept of one target.
const KEPT: usize = 512;
/// Lines of the story that are kept for a failure's report.
const LINES: usize = 120;

/// What is probed: a port, which no two URLs share, and the number in the check, which no two checks of it share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Aim {
    pub(crate) port: u16,
    pub(crate) mark: u16,
}

/// One outcome, as it was handed to the engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) number: u64,
    pub(crate) at: At,
    pub(crate) verdict: Verdict,
    pub(crate) reason: Reason,
    /// Which run of the server saw it.
    pub(crate) run: u32,
    /// Whether that run ended before it was stored for certain.
    pub(crate) doubtful: bool,
}

/// What happened to one aim.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) seen: VecDeque<Seen>,
    pub(crate) in_flight: usize,
    pub(crate) last_start: Option<At>,
}

impl Log {
    /// The outcome of that number.
    pub(crate) fn find(&self, number: u64) -> Option<&Seen> {
        self.seen.iter().find(|seen| seen.number == number)
    }

    /// Conclusive outcomes, newest first.
    pub(crate) fn conclusive(&self) -> impl Iterator<Item = &Seen> {
        self.seen.iter().rev().filter(|seen| seen.verdict != Verdict::Inconclusive)
    }

    /// The newest outcomes of one kind in a row, up to and with `number`, newest first: as many as may have been counted.
    pub(crate) fn streak_to(&self, number: u64, verdict: Verdict) -> Vec<Seen> {
        self.conclusive()
            .skip_while(|seen| seen.number > number)
            .take_while(|seen| seen.verdict == verdict || seen.doubtful)
            .filter(|seen| seen.verdict == verdict)
            .copied()
            .collect()
    }
}

#[derive(Debug)]
struct Story {
    lines: VecDeque<String>,
    digest: DefaultHasher,
    aloud: bool,
}

#[derive(Debug)]
pub(crate) struct Truth {
    began: Instant,
    /// How far the wall clock is off, from when on.
    pub(crate) wall: Vec<(At, i64)>,
    pub(crate) logs: BTreeMap<Aim, Log>,
    pub(crate) newest: u64,
    pub(crate) run: u32,
    /// When the prober of this run began.
    pub(crate) run_began: At,
    /// Until then the store may be behind.
    pub(crate) disk_trouble: At,
    /// When that began.
    disk_failed: Option<At>,
    /// Until then the network between us and all targets may have been at fault.
    pub(crate) our_trouble: At,
    pub(crate) probes: u64,
    pub(crate) transitions: u64,
    pub(crate) broken: Option<String>,
    story: Story,
}

/// Shared by everything in the simulation.
#[derive(Debug, Clone)]
pub(crate) struct World(Arc<Mutex<Truth>>);

impl World {
    pub(crate) fn new(aloud: bool) -> Self {
        let story = Story { lines: VecDeque::new(), digest: DefaultHasher::new(), aloud };
        Self(Arc::new(Mutex::new(Truth {
            began: Instant::now(),
            wall: vec![(0, 0)],
            logs: BTreeMap::new(),
            newest: 0,
            run: 0,
            run_began: 0,
            disk_trouble: 0,
            disk_failed: None,
            our_trouble: 0,
            probes: 0,
            transitions: 0,
            broken: None,
            story,
        })))
    }

    pub(crate) fn truth(&self) -> MutexGuard<'_, Truth> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> At {
        self.truth().now()
    }

    /// What is ours fails no probe from now on.
    pub(crate) fn trouble_ends(&self) {
        let mut truth = self.truth();
        truth.our_trouble = truth.now();
    }

    /// Tells what happens.
    pub(crate) fn tell(&self, line: impl AsRef<str>) {
        self.truth().tell(line.as_ref());
    }

    /// Tells details to who listens aloud.
    pub(crate) fn whisper(&self, line: impl FnOnce() -> String) {
        if self.truth().story.aloud {
            eprintln!("          {}", line());
        }
    }

    /// A rule does not hold. The first one is kept.
    pub(crate) fn broken(&self, rule: &str, what: impl AsRef<str>) {
        self.truth().fail(rule, what.as_ref());
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.truth().broken.is_some()
    }

    /// The clock of a process that starts now: its steady reading goes on from the wall clock of this moment.
    pub(crate) fn clock(&self) -> Clock {
        let (world, truth) = (self.clone(), self.truth());
        let (start, wall) = (truth.now(), truth.wall_now());
        drop(truth);
        Clock::simulated(move || {
            let truth = world.truth();
            Now { steady: UnixMs(wall.0 + truth.now() - start), wall: truth.wall_now() }
        })
    }
}

impl Truth {
    pub(crate) fn now(&self) -> At {
        i64::try_from(self.began.elapsed().as_millis()).expect("not that long")
    }

    pub(crate) fn wall_now(&self) -> UnixMs {
        let off = self.wall.last().map_or(0, |(_, off)| *off);
        UnixMs(BEGAN + self.now() + off)
    }

    /// The disk fails until it is said to work, and the store may be behind from now on, if it is not already.
    pub(crate) fn disk_fails(&mut self) {
        self.disk_failed = Some(self.behind_since().unwrap_or(self.now()));
        self.disk_trouble = self.now() + 3_600_000;
    }

    /// The disk works: the next try may be five seconds away, and what gathered goes in several batches.
    pub(crate) fn disk_works(&mut self) {
        self.disk_trouble = self.now() + 10_000;
    }

    /// Since when the store may be behind, if it may: one trouble can follow another before anything is written.
    pub(crate) fn behind_since(&self) -> Option<At> {
        self.disk_failed.filter(|_| self.now() <= self.disk_trouble)
    }

    /// Sets the wall clock.
    pub(crate) fn set_wall(&mut self, by: i64) {
        let (now, off) = (self.now(), self.wall.last().map_or(0, |(_, off)| *off));
        self.wall.push((now, off + by));
    }

    /// A run ends in a way that may lose what is not stored: outcomes from then on may have counted or not.
    pub(crate) fn doubt(&mut self, from: At) {
        for log in self.logs.values_mut() {
            log.seen.iter_mut().rev().take_while(|seen| seen.at >= from).for_each(|seen| seen.doubtful = true);
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let at = Duration::from_millis(self.now().unsigned_abs());
        let line = format!("{:>9.3} {line}", at.as_secs_f64());
        line.hash(&mut self.story.digest);
        if self.story.aloud {
            eprintln!("{line}");
        }
        if self.story.lines.len() == LINES {
            self.story.lines.pop_front();
        }
        self.story.lines.push_back(line);
    }

    pub(crate) fn fail(&mut self, rule: &str, what: &str) {
        let now = self.now();
        if self.broken.is_none() {
            self.broken = Some(format!("{rule}: {what} (at {now} ms)"));
            self.tell(&format!("BROKEN {rule}: {what}"));
        }
    }

    /// An outcome is handed to the engine.
    pub(crate) fn saw(&mut self, aim: Aim, number: u64, outcome: &Outcome) {
        let (at, run) = (self.now(), self.run);
        let log = self.logs.entry(aim).or_default();
        if log.seen.len() == KEPT {
            log.seen.pop_front();
        }
        log.seen.push_back(Seen { number, at, verdict: outcome.verdict, reason: outcome.reason, run, doubtful: false });
        // Left out of the report, where they would push out what explains them; the digest has them.
        (at, aim, number, outcome.reason.as_str()).hash(&mut self.story.digest);
    }

    /// A number that stands for all that happened.
    pub(crate) fn digest(&self) -> u64 {
        self.story.digest.finish()
    }

    pub(crate) fn last_lines(&self) -> String {
        self.story.lines.iter().fold(String::new(), |mut all, line| {
            let _ = writeln!(all, "  {line}");
            all
        })
    }
}
