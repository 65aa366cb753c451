use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::check::Timing;
use crate::model::outcome::{Health, Reason, Stage, Timings, Verdict};
use crate::model::time::{Now, UnixMs};

const TIMING: Timing = Timing {
    interval: Duration::from_secs(10),
    timeout: Duration::from_secs(5),
    retry_interval: Duration::from_secs(1),
    unhealthy_threshold: 3,
    healthy_threshold: 1,
};

fn at(seconds: i64) -> Now {
    Now { steady: UnixMs(seconds * 1000), wall: UnixMs(1_700_000_000_000 + seconds * 1000) }
}

fn outcome(verdict: Verdict, reason: Reason) -> Outcome {
    Outcome {
        verdict,
        reason,
        stage: Stage::Connect,
        at: UnixMs(0),
        address: None,
        code: None,
        certificate_expires_at: None,
        message: format!("{reason} at 10.0.0.5:8080"),
        timings: Timings::default(),
    }
}

fn passed() -> Outcome {
    outcome(Verdict::Pass, Reason::Passed)
}

fn refused() -> Outcome {
    outcome(Verdict::Fail, Reason::ConnectRefused)
}

/// A state, its timing, and the time in seconds.
struct Run {
    state: CheckState,
    timing: Timing,
}

impl Run {
    fn new(timing: Timing) -> Self {
        Self { state: CheckState::new(at(0)), timing }
    }

    fn probe(&mut self, seconds: i64, outcome: &Outcome) -> Step {
        self.event(seconds, Event::Probe(outcome))
    }

    fn event(&mut self, seconds: i64, event: Event<'_>) -> Step {
        let done = step(&self.state, &self.timing, event, at(seconds));
        self.state = done.state.clone();
        done
    }

    /// Healthy at 0, then up and down in turn, one change a second, until the hold.
    fn held() -> (Self, i64) {
        let timing = Timing { unhealthy_threshold: 1, ..TIMING };
        let mut run = Self::new(timing);
        run.probe(0, &passed());
        for second in 1..=5 {
            let what = if second % 2 == 1 { refused() } else { passed() };
            assert!(!run.state.held(), "held after {second} changes");
            run.probe(second, &what);
        }
        (run, 5)
    }
}

#[test]
fn a_first_pass_is_believed_and_a_first_fail_confirmed() {
    let mut run = Run::new(TIMING);
    let up = run.probe(1, &passed()).transition.expect("believed at once");
    assert_eq!((up.from, up.to, up.reason), (Health::Unknown, Health::Healthy, Reason::Passed));
    assert_eq!((run.state.health(), run.state.since()), (Health::Healthy, at(1).wall));

    let mut run = Run::new(TIMING);
    for second in 1..3 {
        let step = run.probe(second, &refused());
        assert_eq!((step.transition, step.next), (None, Next::Confirm));
        assert_eq!(run.state.reason(), Reason::Probing);
    }
    let down = run.probe(3, &refused()).transition.expect("confirmed");
    assert_eq!(down.message, "3 failures in a row: ConnectRefused at 10.0.0.5:8080");
    assert_eq!(down.evidence, Some(refused()));
}

#[test]
fn a_lease_that_expired_needs_no_confirmation_and_ends_no_hold() {
    let silent = outcome(Verdict::Fail, Reason::LeaseExpired);
    for first in [None, Some(passed())] {
        let mut run = Run::new(TIMING);
        if let Some(first) = &first {
            run.probe(0, first);
        }
        let fall = run.event(30, Event::Expired(&silent)).transition.expect("at once");
        assert_eq!((fall.to, fall.reason, &fall.message), (Health::Unhealthy, Reason::LeaseExpired, &silent.message));
        assert_eq!((run.event(60, Event::Probe(&silent)).transition, run.state.failing_for().as_secs()), (None, 30));
    }
    let (mut run, second) = Run::held();
    assert_eq!(run.event(second + 30, Event::Expired(&silent)).transition, None);
    assert!(run.state.held() && run.state.reason() == Reason::Flapping);
}

#[test]
fn one_pass_clears_a_blip() {
    let mut run = Run::new(TIMING);
    run.probe(0, &passed());
    run.probe(10, &refused());
    run.probe(11, &refused());
    let step = run.probe(12, &passed());
    assert_eq!((step.transition, step.next, run.state.streak()), (None, Next::Scheduled, Streak::Pass(1)));
    run.probe(20, &refused());
    assert_eq!(run.probe(21, &refused()).transition, None, "the count started over");
}

#[test]
fn a_healthy_threshold_is_confirmed_alike() {
    let mut run = Run::new(Timing { healthy_threshold: 3, ..TIMING });
    (0..3).for_each(|s| drop(run.probe(s, &refused())));
    assert_eq!(run.state.health(), Health::Unhealthy);
    assert_eq!(run.probe(10, &passed()).next, Next::Confirm);
    assert_eq!(run.probe(11, &passed()).next, Next::Confirm);
    assert_eq!(run.probe(12, &passed()).transition.map(|t| t.to), Some(Health::Healthy));
}

#[test]
fn the_fifth_change_in_ten_minutes_holds() {
    let (mut run, _) = Run::held();
    assert_eq!((run.state.health(), run.state.reason()), (Health::Unhealthy, Reason::Flapping));
    assert_eq!(run.probe(6, &passed()).transition, None);
    assert_eq!(run.event(30, Event::OnDemand(&passed())).transition, None, "never on request");
    assert_eq!(run.probe(65, &passed()).transition, None, "59 s");
    let up = run.probe(66, &passed()).transition.expect("60 s of passes");
    assert!(up.message.starts_with("stopped flapping: 4 passes in a row over 60 s"), "{}", up.message);
    assert!(!run.state.held());
    let again = run.probe(70, &refused()).transition.expect("four changes are still remembered");
    assert_eq!((again.from, again.to, again.reason), (Health::Healthy, Health::Unhealthy, Reason::Flapping));
}

#[test]
fn a_fail_in_the_hold_starts_the_span_again() {
    let (mut run, _) = Run::held();
    run.probe(6, &passed());
    run.probe(50, &refused());
    run.probe(60, &passed());
    assert_eq!(run.probe(110, &passed()).transition, None);
    assert!(run.probe(120, &passed()).transition.is_some());
}

#[test]
fn slow_changes_never_hold() {
    let mut run = Run::new(Timing { unhealthy_threshold: 1, ..TIMING });
    for turn in 0..20 {
        run.probe(turn * 151, &if turn % 2 == 0 { passed() } else { refused() });
        assert!(!run.state.held(), "at most 4 changes in any 10 minutes");
    }
}

#[test]
fn a_hold_may_begin_on_a_pass() {
    let mut run = Run::new(Timing { unhealthy_threshold: 1, ..TIMING });
    for second in 0..5 {
        run.probe(second, &if second % 2 == 0 { refused() } else { passed() });
    }
    let hold = run.probe(5, &passed()).transition.expect("the fifth change");
    assert_eq!((hold.from, hold.to, hold.reason), (Health::Unhealthy, Health::Unhealthy, Reason::Flapping));
    assert_eq!(run.state.since(), at(4).wall, "unhealthy since before");
}

#[test]
fn silence_proves_nothing() {
    let mut run = Run::new(TIMING);
    run.probe(0, &passed());
    let due = run.state.unproven_at(&TIMING);
    assert_eq!(due, at(60).steady);
    let own = outcome(Verdict::Inconclusive, Reason::NoDescriptors);
    assert_eq!(run.probe(59, &own).transition, None);
    let lost = run.probe(60, &own).transition.expect("nothing stays green unproved");
    assert_eq!((lost.to, lost.reason, lost.evidence.as_ref()), (Health::Unknown, Reason::Unproven, Some(&own)));
    assert_eq!(lost.message, "no conclusive probe for 60 s: NoDescriptors at 10.0.0.5:8080");
    assert_eq!(run.event(600, Event::Silence).transition, None, "once");
    assert!(run.probe(601, &passed()).transition.is_some(), "and then as a first outcome");
}

#[test]
fn a_check_that_cannot_run_says_so_at_once_and_goes_on_by_itself() {
    let barred = outcome(Verdict::Inconclusive, Reason::CaUnavailable);
    let mut run = Run::new(TIMING);
    assert!(run.probe(0, &barred).reason_changed);
    assert_eq!((run.state.health(), run.state.reason()), (Health::Unknown, Reason::CaUnavailable));
    assert!(!run.probe(10, &barred).reason_changed, "once");
    assert!(!run.event(600, Event::Silence).reason_changed, "silence knows no better why");
    let other = outcome(Verdict::Inconclusive, Reason::ResolverDown);
    assert!(run.probe(610, &other).reason_changed, "that is no longer what keeps it from being proved");
    assert_eq!(run.state.reason(), Reason::Unproven);
    run.probe(620, &barred);
    let first = run.probe(630, &passed()).transition.expect("as a first outcome");
    assert_eq!((first.from, first.to), (Health::Unknown, Health::Healthy));

    // One that was proved stays so for its allowance.
    assert_eq!(run.probe(689, &barred).transition, None);
    let lost = run.probe(690, &barred).transition.expect("nothing stays green unproved");
    assert_eq!((lost.to, lost.reason), (Health::Unknown, Reason::CaUnavailable));
    assert_eq!(lost.message, "no conclusive probe for 60 s: CaUnavailable at 10.0.0.5:8080");
}

#[test]
fn the_allowance_follows_interval_and_timeout() {
    let long = Timing { interval: Duration::from_secs(30), ..TIMING };
    assert_eq!(CheckState::new(at(0)).unproven_at(&long), at(90).steady);
    let slow = Timing { timeout: Duration::from_mins(1), ..TIMING };
    assert_eq!(CheckState::new(at(0)).unproven_at(&slow), at(180).steady);
}

#[test]
fn a_hold_outlasts_silence_but_its_passes_do_not() {
    let (mut run, now) = Run::held();
    run.probe(now + 1, &passed());
    assert_eq!(run.event(now + 1000, Event::Silence).transition, None);
    assert_eq!(run.probe(now + 1001, &passed()).transition, None, "a pass before the gap does not count");
    run.probe(now + 1031, &passed());
    assert!(run.probe(now + 1061, &passed()).transition.is_some());
}

#[test]
fn a_new_reason_shows_once_it_is_confirmed() {
    let timeout = outcome(Verdict::Fail, Reason::ConnectTimeout);
    let mut run = Run::new(TIMING);
    (0..3).for_each(|s| drop(run.probe(s, &refused())));
    for second in 10..16 {
        let step = run.probe(second, &if second % 2 == 0 { timeout.clone() } else { refused() });
        assert!(!step.reason_changed, "alternating reasons move nothing");
    }
    run.probe(20, &timeout);
    run.probe(21, &timeout);
    let step = run.probe(22, &timeout);
    assert!(step.reason_changed && step.transition.is_none());
    assert_eq!(run.state.reason(), Reason::ConnectTimeout);
    assert!(!run.probe(23, &timeout).reason_changed, "once");
}

#[test]
fn on_request_one_outcome_decides() {
    let mut run = Run::new(Timing { healthy_threshold: 5, ..TIMING });
    run.probe(0, &passed());
    let down = run.event(1, Event::OnDemand(&refused())).transition.expect("one is enough");
    assert_eq!(down.message, "checked on request: ConnectRefused at 10.0.0.5:8080");
    assert_eq!(run.event(2, Event::OnDemand(&passed())).transition.map(|t| t.to), Some(Health::Healthy));
}

#[test]
fn a_withheld_flip_comes_later_or_not_at_all() {
    let mut run = Run::new(TIMING);
    run.probe(0, &passed());
    (1..3).for_each(|s| drop(run.probe(s, &refused())));
    let before = run.state.clone();
    let kept = run.probe(3, &refused()).withheld(&before);
    assert_eq!((kept.state.health(), kept.state.streak()), (Health::Healthy, Streak::Fail(3)));
    assert_eq!(kept.state.since(), before.since());

    let release = step(&kept.state, &TIMING, Event::Release(&refused()), at(30));
    assert_eq!(
        release.transition.map(|t| t.message),
        Some("3 failures in a row: ConnectRefused at 10.0.0.5:8080".into())
    );
    assert_eq!(release.state.streak(), Streak::Fail(3), "not counted again");

    let recovered = step(&kept.state, &TIMING, Event::Probe(&passed()), at(20));
    assert_eq!(step(&recovered.state, &TIMING, Event::Release(&passed()), at(30)).transition, None);
}

#[test]
fn a_restart_keeps_the_hold_and_does_not_count_as_steady() {
    let (mut run, _) = Run::held();
    run.probe(6, &passed());
    run.probe(26, &passed());
    let short = run.state.clone().resume(&TIMING, at(46));
    assert!(short.held());
    let step_at = |state: &CheckState, s| step(state, &TIMING, Event::Probe(&passed()), at(s));
    assert_eq!(step_at(&short, 85).transition, None, "20 s before, 39 s after");
    assert!(step_at(&short, 86).transition.is_some());
    let long = run.state.clone().resume(&TIMING, at(100_000));
    let long = step_at(&step_at(&long, 100_030).state, 100_060).state;
    assert_eq!(step_at(&long, 100_089).transition, None, "the clock leapt, and the passes before it count no more");
    assert!(step_at(&long, 100_090).transition.is_some());
}

#[test]
fn the_stored_form_is_short_and_stable() {
    let (run, _) = Run::held();
    let json = serde_json::to_string(&run.state).expect("serializes");
    let text = r#"{"h":"unhealthy","r":"Flapping","s":1700000005000,"f":true,"l":[1000,2000,3000,4000],"n":-1,"b":5000,"p":5000,"c":["ConnectRefused",1]}"#;
    assert_eq!(json, text);
}

fn timing() -> impl Strategy<Value = Timing> {
    (1u64..100, 1u64..60, 1u32..6, 1u32..6).prop_map(|(interval, timeout, unhealthy, healthy)| Timing {
        interval: Duration::from_secs(interval),
        timeout: Duration::from_secs(timeout),
        retry_interval: Duration::from_secs(1),
        unhealthy_threshold: unhealthy,
        healthy_threshold: healthy,
    })
}

#[derive(Debug, Clone)]
enum Kind {
    Probe(Outcome),
    OnDemand(Outcome),
    Silence,
    Release(Outcome),
    Withheld(Outcome),
    Restart(i64),
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(passed()),
        3 => Just(refused()),
        1 => Just(outcome(Verdict::Fail, Reason::ConnectTimeout)),
        1 => Just(outcome(Verdict::Inconclusive, Reason::NoDescriptors)),
        1 => Just(outcome(Verdict::Inconclusive, Reason::CaUnavailable)),
    ]
}

fn events() -> impl Strategy<Value = Vec<(i64, Kind)>> {
    let kind = prop_oneof![
        12 => any_outcome().prop_map(Kind::Probe),
        1 => any_outcome().prop_map(Kind::OnDemand),
        1 => Just(Kind::Silence),
        1 => any_outcome().prop_map(Kind::Release),
        1 => any_outcome().prop_map(Kind::Withheld),
        1 => (-1000i64..1000).prop_map(Kind::Restart),
    ];
    proptest::collection::vec((prop_oneof![8 => 0i64..15, 1 => 0i64..700], kind), 0..60)
}

/// Runs the events; `check` sees every step with the state and the time before and after it.
fn play(timing: &Timing, events: Vec<(i64, Kind)>, mut check: impl FnMut(&CheckState, &Kind, &Step, Now)) {
    let (mut state, mut seconds) = (CheckState::new(at(0)), 0);
    for (wait, kind) in events {
        seconds += wait;
        let now = at(seconds);
        let after = match &kind {
            Kind::Probe(o) => step(&state, timing, Event::Probe(o), now),
            Kind::OnDemand(o) => step(&state, timing, Event::OnDemand(o), now),
            Kind::Silence => step(&state, timing, Event::Silence, now),
            Kind::Release(o) => step(&state, timing, Event::Release(o), now),
            Kind::Withheld(o) => step(&state, timing, Event::Probe(o), now).withheld(&state),
            Kind::Restart(jump) => {
                seconds += jump;
                let state = state.clone().resume(timing, at(seconds));
                Step { state, transition: None, reason_changed: false, next: Next::Scheduled }
            }
        };
        check(&state, &kind, &after, at(seconds));
        state = after.state;
    }
}

fn verdict(kind: &Kind) -> Option<Verdict> {
    match kind {
        Kind::Probe(o) | Kind::OnDemand(o) | Kind::Withheld(o) => Some(o.verdict),
        _ => None,
    }
}

proptest! {
    #[test]
    fn what_a_step_says_is_what_changed(timing in timing(), events in events()) {
        play(&timing, events, |before, _, after, now| {
            let shown = |s: &CheckState| (s.health(), s.held());
            assert_eq!(after.transition.is_some(), shown(before) != shown(&after.state));
            if let Some(t) = &after.transition {
                assert_eq!((t.from, t.to, t.reason), (before.health(), after.state.health(), after.state.reason()));
                assert_eq!(t.at, now.wall);
                assert!(!after.reason_changed && t.message.chars().count() <= 256);
            } else {
                assert_eq!(after.reason_changed, before.reason() != after.state.reason());
            }
            if before.health() == after.state.health() {
                assert!(after.state.since() <= before.since());
            }
        });
    }

    #[test]
    fn enough_fails_are_never_healthy_and_one_pass_is_needed_to_be(timing in timing(), events in events()) {
        play(&timing, events, |before, kind, after, _| {
            let state = &after.state;
            let counts = matches!(kind, Kind::Probe(_)) && verdict(kind) == Some(Verdict::Fail);
            if let (Streak::Fail(n), true) = (state.streak(), counts) {
                assert!(n < timing.unhealthy_threshold || state.health() == Health::Unhealthy);
            }
            if state.health() == Health::Healthy && before.health() != Health::Healthy {
                assert_eq!(verdict(kind), Some(Verdict::Pass));
            }
            if state.health() == Health::Unhealthy && before.health() != Health::Unhealthy && !state.held() {
                assert!(matches!(kind, Kind::Release(_)) || verdict(kind) == Some(Verdict::Fail));
            }
        });
    }

    #[test]
    fn a_hold_is_never_left_early(timing in timing(), events in events()) {
        let mut passes: Vec<i64> = Vec::new();
        play(&timing, events, |before, kind, after, now| {
            match (verdict(kind), kind) {
                (_, Kind::Restart(jump)) => passes.iter_mut().for_each(|p| *p += jump * 1000),
                (Some(Verdict::Pass), _) => passes.push(now.steady.0),
                (Some(Verdict::Fail), _) => passes.clear(),
                _ => {}
            }
            if before.held() && !after.state.held() {
                assert!(passes.len() >= 2, "{passes:?}");
                assert!(now.steady.0 - passes[0] >= 60_000, "{passes:?} at {now:?}");
            }
            if before.held() && after.state.held() {
                assert_eq!(after.state.health(), Health::Unhealthy);
                assert_eq!(after.state.reason(), Reason::Flapping);
            }
        });
    }

    #[test]
    fn the_inconclusive_never_counts(timing in timing(), events in events()) {
        play(&timing, events, |before, kind, after, _| {
            let silent = verdict(kind) == Some(Verdict::Inconclusive) || matches!(kind, Kind::Silence);
            if silent && !matches!(after.state.reason(), Reason::Unproven | Reason::CaUnavailable) {
                assert_eq!(&after.state, before);
            }
        });
    }

    #[test]
    fn silence_acts_exactly_when_it_is_due(timing in timing(), events in events(), wait in 0i64..400) {
        play(&timing, events, |_, _, after, now| {
            let state = &after.state;
            let later = Now { steady: UnixMs(now.steady.0 + wait * 1000), wall: now.wall };
            let acts = step(state, &timing, Event::Silence, later).state != *state;
            assert_eq!(acts, later.steady >= state.unproven_at(&timing));
        });
    }

    #[test]
    fn a_restart_moves_no_health_and_the_json_holds_it_all(timing in timing(), events in events(), shift in -90_000i64..90_000) {
        play(&timing, events, |_, _, after, now| {
            let state = &after.state;
            let json = serde_json::to_string(state).expect("serializes");
            assert!(json.len() < 256, "{json}");
            let read: CheckState = serde_json::from_str(&json).expect(&json);
            assert_eq!(&read, state);
            let now = Now { steady: UnixMs(now.steady.0 + shift * 1000), wall: UnixMs(now.wall.0 + shift * 1000) };
            let resumed = read.resume(&timing, now);
            let kept = |s: &CheckState| (s.health(), s.reason(), s.held());
            assert_eq!(kept(&resumed), kept(state));
            assert!(resumed.streak() == state.streak() || state.held() && resumed.streak() == Streak::None);
            assert!(resumed.since() <= now.wall && resumed.unproven_at(&timing) > now.steady);
            assert_eq!(resumed.clone().resume(&timing, now), resumed);
        });
    }
}
