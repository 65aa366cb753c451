//! When an instance last broke, as far as its probes show.
//!
//! In: its newest pass and failure, its samples, and the evidence of its falls. Out: the last good probe before the break, the first bad one,
//! and the newest failure. Some are kept as a sample only: when, how long, and the code.

use crate::console::data::{Outcome, ProbingOfInstance, Sample};
use crate::model::outcome::Verdict;
use crate::model::time::UnixMs;

/// A probe, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Seen<'a> {
    /// With all its stages.
    Whole(&'a Outcome),
    /// Only when, how long and the code.
    Sample(&'a Sample),
}

impl<'a> Seen<'a> {
    pub(super) fn outcome(self) -> Option<&'a Outcome> {
        if let Self::Whole(outcome) = self { Some(outcome) } else { None }
    }

    pub(super) fn at(self) -> UnixMs {
        match self {
            Self::Whole(outcome) => outcome.at,
            Self::Sample(sample) => sample.at,
        }
    }

    pub(super) fn code(self) -> Option<u16> {
        match self {
            Self::Whole(outcome) => outcome.code,
            Self::Sample(sample) => sample.code,
        }
    }

    pub(super) fn passed(self) -> bool {
        match self {
            Self::Whole(outcome) => outcome.verdict == Verdict::Pass,
            Self::Sample(sample) => sample.total_us.is_some(),
        }
    }

    pub(super) fn is_inconclusive(self) -> bool {
        self.outcome().is_some_and(|outcome| outcome.verdict == Verdict::Inconclusive)
    }

    pub(super) fn total_us(self) -> Option<u64> {
        match self {
            Self::Whole(outcome) => outcome.timings.map(|timings| timings.total_us()),
            Self::Sample(sample) => sample.total_us.map(u64::from),
        }
    }
}

/// How it broke.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Break<'a> {
    /// The last pass before it; without a break the newest one.
    pub(super) good: Option<Seen<'a>>,
    /// The first failure after that.
    pub(super) first: Option<Seen<'a>>,
    /// The newest failure; the same as the first one if there is only one.
    pub(super) newest: Option<&'a Outcome>,
}

/// The newest break. `falls` are the failures that made it unhealthy, newest first.
pub(super) fn newest<'a>(of: &'a ProbingOfInstance, falls: impl Iterator<Item = &'a Outcome>) -> Break<'a> {
    let last = |verdict: Verdict| of.last.as_ref().filter(move |last| last.verdict == verdict);
    let mut falls = falls.peekable();
    let failure = of.last_fail.iter().chain(last(Verdict::Fail)).max_by_key(|fail| fail.at);
    // The server may have forgotten the failure that history still has.
    let failure = failure.or_else(|| last(Verdict::Inconclusive)).or_else(|| falls.peek().copied());
    let Some(failure) = failure else {
        return Break { good: of.last_pass.as_ref().map(Seen::Whole), ..Break::default() };
    };
    let whole = of.last_pass.as_ref().filter(|pass| pass.at < failure.at).map(Seen::Whole);
    let passes = of.samples.iter().filter(|sample| sample.total_us.is_some() && sample.at < failure.at);
    let sampled = passes.max_by_key(|sample| sample.at).map(Seen::Sample);
    let good = match (whole, sampled) {
        (Some(whole), Some(sampled)) if sampled.at() > whole.at() => Some(sampled),
        (whole, sampled) => whole.or(sampled),
    };
    let is_of_it = |at: UnixMs| at <= failure.at && good.is_none_or(|good| at > good.at());
    // The fall says more than a sample of a failure before it, and is at most a few probes later.
    let fall = falls.find(|fall| is_of_it(fall.at)).map(Seen::Whole);
    let failed = of.samples.iter().filter(|sample| sample.total_us.is_none() && is_of_it(sample.at));
    let sampled = || failed.min_by_key(|sample| sample.at).filter(|sample| sample.at < failure.at).map(Seen::Sample);
    let first = fall.or_else(sampled).or(Some(Seen::Whole(failure)));
    Break { good, first, newest: Some(failure) }
}

/// The stage that a failed probe did not pass.
pub(super) fn stage(of: &Outcome) -> &'static str {
    of.stage.map_or("probe", |stage| stage.as_str())
}
