//! The rules of time, checked each second: nothing stays healthy without proof, and nothing waits for ever.

use portolan::model::health::MIN_ALLOWANCE;
use portolan::model::outcome::{Health, Reason, Verdict};

use crate::observer::{Observer, Readers, View};
use crate::truth::{At, Log, Truth};

/// For what takes no time: a commit, a turn of the engine, the second between two looks.
pub(crate) const SLACK: At = 3_000;
/// Longest hold of the mass-failure guard, with what it takes to begin and to let go.
pub(crate) const HOLD: At = 80_000;

fn millis(time: std::time::Duration) -> At {
    At::try_from(time.as_millis()).expect("a short time")
}

impl Observer {
    pub(crate) fn look(&mut self, readers: &Readers) {
        let report = readers.status.read();
        let world = self.world.clone();
        let mut truth = world.truth();
        let now = truth.now();
        self.holding = report.guard_holding.then(|| self.holding.unwrap_or(now));
        if let Some(since) = self.holding
            && now - since > 60_000 + SLACK
        {
            truth.fail("the guard holds for a minute at most", &format!("since {since}"));
        }
        if now < truth.run_began {
            return;
        }
        for (place, view) in &self.views {
            let broken = self.judge(&truth, view, now);
            if let Err((rule, what)) = broken {
                truth.fail(rule, &format!("{place}: {what}"));
            }
        }
    }

    fn judge(&self, truth: &Truth, view: &View, now: At) -> Result<(), (&'static str, String)> {
        let empty = Log::default();
        let log = truth.logs.get(&view.aim).unwrap_or(&empty);
        let began = view.from.max(truth.run_began);
        let store_follows = now >= truth.disk_trouble + SLACK;
        if store_follows {
            // While probes wait for slots or budgets, silence is stretched as the intervals are.
            let stretch = if self.strict.capacity { 1 } else { 20 };
            proved(log, view, began, now, stretch)?;
            follows(truth, log, view, now)?;
        }
        // A name that is not resolved is not probed either.
        let names = now >= truth.our_trouble + HOLD;
        if self.strict.capacity && names { probed(log, view, began, now) } else { Ok(()) }
    }
}

/// Nothing is healthy without a conclusive outcome in max(3 intervals, 3 timeouts, 60 s).
fn proved(log: &Log, view: &View, began: At, now: At, stretch: At) -> Result<(), (&'static str, String)> {
    let allowance = millis(view.timing.interval.max(view.timing.timeout).saturating_mul(3).max(MIN_ALLOWANCE));
    let last = log.conclusive().next().map_or(began, |seen| seen.at.max(began));
    if view.health == Health::Healthy && now - last > stretch * allowance + SLACK {
        return Err(("nothing is healthy unproved", format!("for {} of {allowance} ms", now - last)));
    }
    Ok(())
}

/// What has failed or passed often enough is shown, unless the guard or a hold keeps it back.
fn follows(truth: &Truth, log: &Log, view: &View, now: At) -> Result<(), (&'static str, String)> {
    let Some(newest) = log.conclusive().next() else { return Ok(()) };
    let run = log.streak_to(newest.number, newest.verdict);
    let run: Vec<_> = run.into_iter().filter(|seen| seen.run == truth.run && seen.at >= view.from).collect();
    let (threshold, shown) = match newest.verdict {
        Verdict::Fail => (view.timing.unhealthy_threshold, Health::Unhealthy),
        _ => (view.timing.healthy_threshold, Health::Healthy),
    };
    // Streaks that a silence parts are two; the latest is judged where it is whole.
    let recent = now - newest.at < millis(MIN_ALLOWANCE) / 2;
    let whole = recent && run.windows(2).all(|pair| pair[0].at - pair[1].at < millis(MIN_ALLOWANCE) / 2);
    let Some(confirmed) = run.len().checked_sub(threshold as usize).and_then(|at| run.get(at)) else { return Ok(()) };
    let held = view.reason == Reason::Flapping;
    let ours = newest.verdict == Verdict::Fail && (newest.reason.could_be_ours() || now < truth.our_trouble + HOLD);
    let patience = if ours { HOLD + 2 * millis(view.timing.timeout) } else { SLACK };
    if whole && !held && view.health != shown && now - confirmed.at.max(truth.our_trouble) > patience {
        let what = format!("{} {} since {}, reads {}", run.len(), newest.verdict.as_str(), confirmed.at, view.health);
        return Err(("what is confirmed is shown", what));
    }
    Ok(())
}

/// Each instance is probed at its rate.
fn probed(log: &Log, view: &View, began: At, now: At) -> Result<(), (&'static str, String)> {
    let last = log.last_start.unwrap_or(began).max(began);
    let longest = millis(view.timing.interval + view.timing.timeout) + SLACK;
    if now - last > longest {
        return Err(("each instance is probed at its rate", format!("not for {} ms", now - last)));
    }
    Ok(())
}
