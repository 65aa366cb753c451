//! How the guard behaves in simulated networks. `--nocapture` prints them: targets; how many fell without and with the guard; when
//! (median, last, seconds after the failures began); how much later than without it (median, most); canary rounds and canaries; most falls
//! held; time spent holding.

use super::simulation::{Answer, Report, Target, head, simulate, target, targets, timing};

const LOSSES: [(&str, Answer); 2] = [("timeouts", Answer::Timeout), ("unreachable", Answer::Unreachable)];

fn down(who: bool, answer: Answer) -> Answer {
    if who { answer } else { Answer::Pass }
}

/// Sets on which an outage of ours shows.
fn installations() -> Vec<(&'static str, Vec<Target>)> {
    let mixed = |i: u32| timing([1, 10, 30, 60][i as usize % 4], [3, 2, 1, 3][i as usize / 4 % 4]);
    vec![
        ("300 of 10 s", targets(300, |_| timing(10, 3))),
        ("300 of 30 s", targets(300, |_| timing(30, 3))),
        ("300 of 10 s, threshold 1", targets(300, |_| timing(10, 1))),
        ("300 of 1 to 60 s, thresholds 1 to 3", targets(300, mixed)),
        ("20 of 30 s", targets(20, |_| timing(30, 3))),
        ("20 of 1 s", targets(20, |_| timing(1, 3))),
        ("8 of 10 s on 4 addresses", targets(8, |_| timing(10, 3))),
    ]
}

#[test]
fn an_outage_of_our_own_makes_nothing_unhealthy() {
    head();
    for (loss, answer) in LOSSES {
        for (name, set) in installations() {
            let report =
                simulate(&format!("ours, 40 s, {loss}: {name}"), &set, 80, |_, now| down(now < 40_000, answer));
            assert_eq!((report.fell, report.healthy), (0, set.len()), "{name}: {report:?}");
            assert!(report.plain * 10 >= set.len() * 8, "without the guard most fall: {report:?}");
        }
    }
}

#[test]
fn a_lasting_outage_is_shown_after_a_minute() {
    head();
    for (loss, answer) in LOSSES {
        for (name, set) in installations() {
            let report = simulate(&format!("ours, for good, {loss}: {name}"), &set, 95, |_, _| answer);
            assert_eq!((report.fell, report.healthy), (set.len(), 0), "{name}: {report:?}");
            assert!(report.later <= 67.0 && report.holding <= 60.0, "a minute, a probe and the batches: {report:?}");
        }
    }
}

#[test]
fn what_stays_down_after_our_outage_falls() {
    head();
    let set = targets(300, |_| timing(10, 3));
    let report = simulate("ours, 40 s, then 30 % theirs, timeouts", &set, 80, |i, now| {
        down(now < 40_000 || i % 10 < 3, Answer::Timeout)
    });
    assert_eq!((report.fell, report.healthy), (90, 210), "{report:?}");
    assert!(report.last < 60.0, "{report:?}");
}

#[test]
fn a_few_targets_next_door_do_not_vouch_for_all() {
    head();
    let set = targets(300, |_| timing(10, 3));
    for (loss, answer) in LOSSES {
        let report = simulate(&format!("ours, 40 s, all but 6 next door, {loss}"), &set, 90, |i, now| {
            down(now < 40_000 && i >= 6, answer)
        });
        assert_eq!((report.fell, report.healthy), (0, 300), "{report:?}");
    }
}

fn theirs(name: &str, set: &[Target], fails: impl Fn(usize) -> bool, answer: Answer) -> Report {
    let report = simulate(name, set, 90, |i, _| down(fails(i), answer));
    let failing = (0..set.len()).filter(|i| fails(*i)).count();
    assert_eq!((report.fell, report.healthy), (failing, set.len() - failing), "{name}: {report:?}");
    report
}

#[test]
fn real_failures_are_reported_in_time() {
    head();
    let set = targets(300, |_| timing(10, 3));
    for (loss, answer) in LOSSES {
        for percent in [10, 30, 51, 70] {
            let report = theirs(&format!("theirs, {percent} %, {loss}"), &set, |i| i / 2 * 37 % 100 < percent, answer);
            assert!(report.later <= 0.2, "{percent} %: {report:?}");
        }
        let report = theirs(&format!("theirs, 90 %, {loss}"), &set, |i| i / 2 * 37 % 100 < 90, answer);
        assert!(report.later <= 6.0, "looks like ours, until what was reached since is asked: {report:?}");
        let few = targets(20, |_| timing(30, 3));
        let report = theirs(&format!("theirs, one of 20 of 30 s, {loss}"), &few, |i| i == 3, answer);
        assert!(report.later <= 0.2, "{report:?}");
    }
}

#[test]
fn one_dead_host_is_one_loss_however_many_services_it_has() {
    head();
    let mut set = targets(12, |_| timing(10, 3));
    set.extend(["a", "b", "c", "d", "e", "f", "g", "h"].map(|ns| target(ns, 999, timing(10, 3))));
    for (loss, answer) in LOSSES {
        let report = theirs(&format!("theirs, one host with 8 of 20, {loss}"), &set, |i| i >= 12, answer);
        assert!(report.later <= 0.2 && report.holding <= 0.0, "{report:?}");
    }
}

#[test]
fn often_probed_targets_do_not_speak_for_the_rest() {
    head();
    let mut set: Vec<_> = (0..100).map(|i| target("fast", 5000 + i / 5, timing(1, 3))).collect();
    set.extend(targets(300, |_| timing(30, 3)));
    for (loss, answer) in LOSSES {
        let report = theirs(&format!("theirs, 100 of 1 s among 300 of 30 s, {loss}"), &set, |i| i < 100, answer);
        assert!(report.later <= 0.2 && report.holding <= 0.0, "{report:?}");
    }
}

#[test]
fn refusals_are_never_held() {
    head();
    let set = targets(300, |_| timing(10, 3));
    let report = theirs("theirs, 95 %, refused", &set, |i| i % 20 > 0, Answer::Refused);
    assert_eq!((report.rounds, report.most_held), (0, 0), "{report:?}");
    assert!(report.later <= 0.0, "{report:?}");
}

#[test]
fn one_namespace_cannot_stage_a_mass_failure() {
    head();
    for (name, others) in [("nine", 9), ("three", 3), ("one", 1)] {
        let mut set: Vec<_> = targets(100, |_| timing(10, 3));
        set.retain(|t| "abcdefghi"[..others].contains(t.namespace()));
        let honest = set.len();
        set.extend((0..500).map(|i| target("mallory", 10_000 + i, timing(1, 3))));
        for (loss, answer) in LOSSES {
            let staged = simulate(&format!("staged against {name} others, {loss}"), &set, 90, |i, now| match i {
                7 => answer,
                _ => down(i >= honest && now / 1000 % 20 < 10, answer),
            });
            assert!(staged.holding <= 0.0 && staged.later <= 0.2, "{staged:?}");
        }
    }
}
