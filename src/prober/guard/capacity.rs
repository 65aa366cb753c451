//! Simulated outages with too few slots: some targets hang, and others beside them answer.

use super::simulation::{Answer, Report, Target, head, impatient, simulate_within, target, targets, timing};

/// Everything hangs at once, for good.
fn black_hole(name: &str, set: &[Target], slots: usize, seconds: i64) -> Report {
    let report = simulate_within(Some(slots), name, set, seconds, |_, _| Answer::Timeout);
    assert_eq!((report.fell, report.healthy, report.unproven), (set.len(), 0, 0), "{name}: all are called unhealthy");
    assert!(report.last <= report.promised, "{name}: after {} s, {} s are promised", report.last, report.promised);
    report
}

#[test]
fn all_that_fall_into_a_black_hole_are_unhealthy_when_promised_and_not_unknown() {
    head();
    let tight = black_hole("black hole, 600 of 5 s, 20 slots", &targets(600, |_| impatient(5, 2, 3)), 20, 400);
    // 600 × 2 s × 3 ÷ 20 = 180 s are the least possible.
    assert!(tight.last <= 195.0, "slots are not wasted on what is known to be down: {}", tight.last);
    black_hole("black hole, 300 of 10 s, 1024 slots", &targets(300, |_| timing(10, 3)), 1024, 200);
    black_hole("black hole, 300 of 10 s, threshold 10, 50 slots", &targets(300, |_| timing(10, 10)), 50, 600);
    let mixed = |i: u32| timing([1, 10, 30, 60][i as usize % 4], [3, 2, 1, 3][i as usize / 4 % 4]);
    black_hole("black hole, 300 of 1 to 60 s, 50 slots", &targets(300, mixed), 50, 900);
    let mut uneven = targets(300, |_| timing(10, 3));
    uneven.extend((0..900).map(|i| target("k", 5000 + i, timing(10, 3))));
    black_hole("black hole, one large namespace, 100 slots", &uneven, 100, 900);
}

#[test]
fn ten_thousand_are_known_within_five_minutes() {
    head();
    let report = black_hole("black hole, 10,000 of 10 s, 1024 slots", &targets(10_000, |_| timing(10, 3)), 1024, 320);
    assert!(report.last <= 300.0, "{}", report.last);
}

#[test]
fn an_outage_of_our_own_makes_nothing_unhealthy_if_slots_are_short() {
    head();
    for slots in [20, 100, 300] {
        let set = targets(300, |_| timing(10, 3));
        let name = format!("ours, 40 s, {slots} slots");
        let report = simulate_within(Some(slots), &name, &set, 120, |_, now| match now {
            ..40_000 => Answer::Timeout,
            _ => Answer::Pass,
        });
        assert_eq!((report.fell, report.healthy, report.unproven), (0, 300, 0), "{name}: {report:?}");
    }
}

#[test]
fn targets_that_hang_do_not_stretch_the_intervals_of_those_that_answer() {
    head();
    let mut set = targets(400, |_| timing(10, 3));
    set.extend((0..100).map(|i| target("quick", 8000 + i, timing(10, 3))));
    let report = simulate_within(Some(32), "theirs, 400 hang beside 100, 32 slots", &set, 300, |i, _| match i {
        0..400 => Answer::Timeout,
        _ => Answer::Pass,
    });
    assert_eq!(report.healthy, 100, "{report:?}");
    // At first nobody knows who hangs, and the first round of those that do takes 62 s.
    assert!(report.probes[400..].iter().all(|n| *n >= (300 - 70) / 10), "every 10 s: {:?}", &report.probes[400..]);
    let hung: Vec<_> = report.probes[..400].to_vec();
    // 31 slots for 300 s, 5 s each.
    assert!(
        hung.iter().sum::<usize>() >= 31 * 300 / 5 * 9 / 10,
        "all that is left is used: {}",
        hung.iter().sum::<usize>()
    );
}
