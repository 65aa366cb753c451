//! The table of one scenario.

use std::time::Duration;

use measure::{median, percentile};

use super::figures::Figures;
use super::{Round, Scenario};
use crate::Plan;

/// The goal of a figure.
enum Goal {
    None,
    /// The ratio of the second to the first.
    RatioAtLeast(f64),
    RatioAtMost(f64),
    AtMostMs(f64),
    /// Out of 10,000 due probes.
    AtLeast(f64),
}

struct Row {
    what: String,
    calm: f64,
    busy: f64,
    /// Median of the rounds' ratios.
    ratio: f64,
    digits: usize,
    goal: Goal,
}

impl Row {
    /// The median round of both, and of the ratios.
    fn of(rounds: &[Round], what: &str, digits: usize, goal: Goal, value: impl Fn(&Figures) -> f64) -> Self {
        let middle = |side: usize| median(rounds.iter().map(|round| value(&round[side])));
        let ratio = median(rounds.iter().map(|round| value(&round[1]) / value(&round[0])));
        Self { what: what.to_owned(), calm: middle(0), busy: middle(1), ratio, digits, goal }
    }

    fn cells(&self) -> Vec<String> {
        let digits = self.digits;
        let (goal, met) = match self.goal {
            Goal::None => (String::new(), None),
            Goal::RatioAtLeast(least) => (format!("≥ {least}"), Some(self.ratio >= least)),
            Goal::RatioAtMost(most) => (format!("≤ {most}×"), Some(self.ratio <= most)),
            Goal::AtMostMs(most) => (format!("≤ {most} ms"), Some(self.busy <= most)),
            Goal::AtLeast(least) => (format!("≥ {least}"), Some(self.busy >= least)),
        };
        let word = match met {
            None => String::new(),
            Some(true) => format!("{goal}: met"),
            Some(false) => format!("{goal}: missed"),
        };
        let ratio = if self.ratio.is_finite() { format!("{:.2}", self.ratio) } else { String::new() };
        vec![self.what.clone(), format!("{:.digits$}", self.calm), format!("{:.digits$}", self.busy), ratio, word]
    }
}

/// Prints the table.
pub(super) fn print(plan: Plan, scenario: Scenario, (count, took): (f64, Duration), rounds: &[Round]) {
    let due = probes_due(plan);
    let mut rows = Vec::new();
    let loads = [("discovery", 1, 0.5), ("discovery", 32, 0.35), ("registrations", 1, 0.0), ("registrations", 64, 0.0)];
    for (at, (what, clients, least)) in loads.into_iter().enumerate() {
        let name = format!("{what}, {clients} client{}", if clients == 1 { "" } else { "s" });
        let rate = if least > 0.0 { Goal::RatioAtLeast(least) } else { Goal::None };
        let tail = if least > 0.0 { Goal::AtMostMs(20.0) } else { Goal::RatioAtMost(4.0) };
        rows.push(Row::of(rounds, &format!("{name}: a second"), 0, rate, |f| f.loads[at].round.per_second));
        rows.push(Row::of(rounds, &format!("{name}: p50 ms"), 2, Goal::None, |f| f.loads[at].round.p50_ms));
        rows.push(Row::of(rounds, &format!("{name}: p99 ms"), 2, tail, |f| f.loads[at].round.p99_ms));
        rows.push(Row::of(rounds, &format!("{name}: probes/s meanwhile"), 0, Goal::None, |f| f.loads[at].probes));
    }
    rows.push(Row::of(rounds, "a change to a watcher, p50 ms", 2, Goal::None, |f| f.change_p50));
    rows.push(Row::of(rounds, "a change to a watcher, slowest ms", 1, Goal::None, |f| f.change_worst));
    rows.push(Row::of(rounds, "a console's key to frame, p50 ms", 2, Goal::None, |f| f.key_p50));
    rows.push(Row::of(rounds, "a console's key to frame, p99 ms", 1, Goal::None, |f| f.key_p99));
    // Hanging targets are probed as often as the slots allow, regardless of speed.
    let alone = if scenario == Scenario::Hanging { Goal::None } else { Goal::AtLeast(due * 0.7) };
    rows.push(Row::of(rounds, "probes/s with no other load", 0, alone, |f| f.probes));
    let mut behind = Row::of(rounds, "a watcher's longest delay, ms", 0, Goal::AtMostMs(1000.0), |f| f.behind);
    // From all rounds, not from the median one.
    [behind.calm, behind.busy] = [0, 1].map(|side| percentile(rounds.iter().map(|round| round[side].behind), 100));
    rows.push(behind);
    let failed: f64 = rounds.iter().flat_map(|round| round[1].loads.iter().map(|load| load.round.errors)).sum();
    let mut cells: Vec<_> = rows.iter().map(Row::cells).collect();
    cells.push(vec![
        "requests that failed, of all rounds".into(),
        String::new(),
        format!("{failed:.0}"),
        String::new(),
        String::new(),
    ]);
    let title = format!(
        "{:.0} targets due each second, {}; {count:.0} were called so after {:.1} s",
        due,
        scenario.words(),
        took.as_secs_f64()
    );
    measure::print(&title, &["figure", "without probing", "while probing", "ratio", "goal"], &cells);
}

#[expect(clippy::cast_precision_loss, reason = "ten thousand")]
fn probes_due(plan: Plan) -> f64 {
    plan.services as f64
}
