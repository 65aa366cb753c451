use proptest::prelude::*;

use super::*;
use crate::model::name::CheckName;
use crate::model::outcome::{Health, Reason};
use crate::model::service::{InstanceId, InstanceSpec, Warning, acknowledgement_of};

/// What readers see of an instance: whether it is down, by which check and since when, which check warns, and which other one fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    down: Option<(u8, i64)>,
    warning: Option<u8>,
    also: Option<u8>,
}

const WELL: Seen = Seen { down: None, warning: None, also: None };

fn down(check: u8, since: i64) -> Seen {
    Seen { down: Some((check, since)), ..WELL }
}

fn check(number: u8) -> CheckName {
    format!("c{number}").parse().expect("a name")
}

fn show(instance: &mut Instance, seen: Seen) {
    instance.health = if seen.down.is_some() { Health::Unhealthy } else { Health::Healthy };
    if let Some((by, since)) = seen.down {
        (instance.decided_by, instance.since) = (check(by), UnixMs(since));
    }
    instance.warning = seen.warning.map(|by| {
        Arc::new(Warning { check: check(by), reason: Reason::Timeout, message: "it does not pass".to_owned() })
    });
    instance.also_failing = seen.also.into_iter().map(check).collect();
}

fn service(seen: &[Seen]) -> Service {
    let spec = Arc::new(InstanceSpec::sample("http://h"));
    let instance = |at: usize| {
        let (id, name) = (InstanceId(i64::try_from(at).expect("few")), format!("i{at}").parse().expect("a name"));
        Instance::new(id, name, Arc::clone(&spec), (Health::Healthy, Reason::Passed), UnixMs(0))
    };
    let mut service = Service::sample("user", (0..seen.len()).map(instance).collect());
    for (instance, seen) in service.instances.iter_mut().zip(seen) {
        show(instance, *seen);
    }
    service
}

fn start(until: Option<i64>) -> AcknowledgementChange {
    let until = until.map(UnixMs);
    AcknowledgementChange::Start(AcknowledgementOrder { note: "known".to_owned(), by: "alice".to_owned(), until })
}

/// Applies the rule's answer as the store does.
fn given(service: &mut Service, instance: Option<usize>, change: &AcknowledgementChange) -> Result<(), WriteError> {
    let name = instance.map(|at| service.instances[at].name.clone());
    for (at, new) in acknowledge(service, name.as_ref(), change, UnixMs(50))? {
        service.instances[at].acknowledged = new;
    }
    Ok(())
}

fn known(service: &Service) -> Vec<bool> {
    service.instances.iter().map(|instance| instance.acknowledged.is_some()).collect()
}

/// The service with other things to see, settled, and what ended.
fn then(service: &Service, seen: &[Seen]) -> (Service, Vec<(String, End)>) {
    let mut after = service.clone();
    for (instance, seen) in after.instances.iter_mut().zip(seen) {
        show(instance, *seen);
    }
    let ended = settle(service, &mut after);
    (after, ended.into_iter().map(|ended| (ended.instance.to_string(), ended.why)).collect())
}

#[test]
fn only_a_failure_is_acknowledged() {
    let mut all_well = service(&[WELL, WELL]);
    let refused = |instance| Err(WriteError::NothingToAcknowledge { instance });
    assert_eq!(given(&mut all_well, None, &start(None)), refused(false));
    let mut one = service(&[down(0, 1), WELL, Seen { warning: Some(1), ..WELL }]);
    assert_eq!(given(&mut one, Some(1), &start(None)), refused(true));
    let absent = "x".parse().expect("a name");
    assert_eq!(acknowledge(&one, Some(&absent), &start(None), UnixMs(1)), Err(WriteError::InstanceNotFound));
    given(&mut one, None, &start(Some(99))).expect("two fail");
    assert_eq!(known(&one), [true, false, true]);
    assert_eq!(acknowledgement_of(one.instances.iter()).map(|known| known.until), Some(Some(UnixMs(99))));
    let again = acknowledge(&one, None, &start(Some(99)), UnixMs(60));
    assert_eq!(again, Ok(Vec::new()), "a repeat changes nothing");
    given(&mut one, None, &AcknowledgementChange::Expire(UnixMs(98))).expect("another end");
    assert_eq!(known(&one), [true, false, true]);
    given(&mut one, Some(0), &AcknowledgementChange::End).expect("withdrawn");
    assert_eq!(known(&one), [false, false, true]);
    assert_eq!(acknowledgement_of(one.instances.iter()), None, "one that fails is not known");
    given(&mut one, None, &AcknowledgementChange::Expire(UnixMs(99))).expect("its time is up");
    assert_eq!(known(&one), [false; 3]);
}

#[test]
fn one_of_the_service_ends_with_any_new_failure_and_one_of_an_instance_with_its_own() {
    let seen = [down(0, 1), down(0, 2), WELL];
    let mut whole = service(&seen);
    given(&mut whole, None, &start(None)).expect("they fail");
    let (after, ended) = then(&whole, &seen);
    assert_eq!((known(&after), ended), (vec![true, true, false], Vec::new()));
    let (after, ended) = then(&whole, &[down(0, 1), WELL, WELL]);
    assert_eq!((known(&after), ended), (vec![true, false, false], vec![("i1".to_owned(), End::Recovered)]));
    let (after, ended) = then(&after, &[down(0, 1), down(0, 9), WELL]);
    assert_eq!((known(&after), ended), (vec![false; 3], vec![("i1".to_owned(), End::NewFailure)]));
    let (after, ended) = then(&whole, &[down(0, 1), down(0, 2), down(0, 9)]);
    assert_eq!((known(&after), ended), (vec![false; 3], vec![("i2".to_owned(), End::NewFailure)]));
    let (after, ended) = then(&whole, &[down(1, 1), down(0, 2), WELL]);
    assert_eq!((known(&after), ended), (vec![false; 3], vec![("i0".to_owned(), End::NewFailure)]), "another check");

    let mut own = service(&seen);
    given(&mut own, Some(0), &start(None)).expect("it fails");
    let (after, ended) = then(&own, &[down(0, 1), down(0, 2), down(0, 9)]);
    assert_eq!((known(&after), ended), (vec![true, false, false], Vec::new()), "the others are theirs");
    let (after, ended) = then(&own, &[down(0, 8), down(0, 2), WELL]);
    assert_eq!((known(&after), ended), (vec![false; 3], vec![("i0".to_owned(), End::NewFailure)]), "it fell again");
}

#[test]
fn a_warning_that_returns_is_new() {
    let both = Seen { warning: Some(3), ..down(0, 1) };
    let mut one = service(&[both]);
    given(&mut one, None, &start(None)).expect("it fails");
    let (one, ended) = then(&one, &[down(0, 1)]);
    assert_eq!((known(&one), ended), (vec![true], Vec::new()), "what is left is known");
    let (one, ended) = then(&one, &[both]);
    assert_eq!((known(&one), ended), (vec![false], vec![("i0".to_owned(), End::NewFailure)]));
}

#[test]
fn a_second_check_that_fails_is_new_whichever_decides() {
    let both = Seen { also: Some(1), ..down(0, 1) };
    for own in [Some(0), None] {
        let mut one = service(&[down(0, 1)]);
        given(&mut one, own, &start(None)).expect("it fails");
        let (one, ended) = then(&one, &[both]);
        assert_eq!((known(&one), ended), (vec![false], vec![("i0".to_owned(), End::NewFailure)]), "{own:?}");
    }
    let mut one = service(&[both]);
    given(&mut one, None, &start(None)).expect("it fails");
    let (one, ended) = then(&one, &[down(1, 1)]);
    assert_eq!((known(&one), ended), (vec![true], Vec::new()), "the first one passes, and the other decides");
    let (one, ended) = then(&one, &[Seen { also: Some(0), ..down(1, 1) }]);
    assert_eq!((known(&one), ended), (vec![false], vec![("i0".to_owned(), End::NewFailure)]), "it fails again");

    let mut two = service(&[down(0, 1), WELL]);
    given(&mut two, None, &start(None)).expect("one fails");
    let (two, ended) = then(&two, &[down(0, 1), Seen { warning: Some(2), ..WELL }]);
    assert_eq!((known(&two), ended), (vec![false; 2], vec![("i1".to_owned(), End::NewFailure)]));
}

/// Another replica's news brings an acknowledgement and the failures that it was given for at once.
#[test]
fn one_that_comes_with_its_failures_stands() {
    let before = service(&[down(0, 1), WELL]);
    let mut after = service(&[down(0, 1), down(0, 7)]);
    given(&mut after, None, &start(None)).expect("they fail");
    assert_eq!((settle(&before, &mut after), known(&after)), (Vec::new(), vec![true, true]));
}

#[test]
fn how_one_ended_follows_from_what_became_of_the_failure() {
    let seen = [down(0, 1), WELL];
    let why = |until, after: &[Seen], now| {
        let mut before = service(&seen);
        given(&mut before, None, &start(until)).expect("one fails");
        let known = before.instances[0].acknowledged.clone().expect("it is");
        why_ended(&before, &service(after), &before.instances[0].name, &known, UnixMs(now))
    };
    assert_eq!(why(None, &seen, 99), Why::Withdrawn);
    assert_eq!(why(Some(99), &seen, 98), Why::Withdrawn);
    assert_eq!(why(Some(99), &seen, 99), Why::Expired);
    assert_eq!(why(Some(99), &[WELL, WELL], 99), Why::Failure(End::Recovered));
    assert_eq!(why(None, &[down(0, 7), WELL], 99), Why::Failure(End::NewFailure));
    assert_eq!(why(None, &[down(0, 1), down(0, 7)], 99), Why::Failure(End::NewFailure));
}

fn seen() -> impl Strategy<Value = Seen> {
    let down = proptest::option::weighted(0.6, (0_u8..2, 1_i64..4));
    let warning = proptest::option::weighted(0.3, 2_u8..4);
    (down, warning, proptest::option::weighted(0.3, 0_u8..4)).prop_map(|(down, warning, also)| {
        let is_shown = |check: &u8| down.is_some_and(|(by, _)| by == *check) || warning == Some(*check);
        // A required check that fails makes its instance unhealthy.
        let is_possible = |check: &u8| if *check < 2 { down.is_some() } else { warning.is_some() };
        Seen { down, warning, also: also.filter(|check| !is_shown(check) && is_possible(check)) }
    })
}

/// Everything that fails: of which instance, and what.
fn failing(service: &Service) -> Vec<(String, String)> {
    let each = service.instances.iter().filter_map(|i| Some((i.name.to_string(), i.failure()?)));
    let parts = each.flat_map(|(name, Failure { down, warning, also })| {
        let since = down.iter().map(|(_, since)| format!("down since {since}"));
        let checks = down.iter().map(|(check, _)| check).chain(&warning).chain(&*also).map(ToString::to_string);
        since.chain(checks).map(|part| (name.clone(), part)).collect::<Vec<_>>()
    });
    parts.collect()
}

proptest! {
    /// Whatever happens: a service is shown as acknowledged only while everything that fails of it failed without a break since somebody
    /// acknowledged it, and an instance likewise.
    #[test]
    fn a_new_failure_is_never_hidden(
        steps in proptest::collection::vec((proptest::collection::vec(seen(), 3), proptest::option::of(0_usize..4)), 1..12),
    ) {
        let mut now = service(&[WELL; 3]);
        // What was failing when an acknowledgement was given, and has not stopped since.
        let mut ended_parts: Vec<(String, String)> = Vec::new();
        for (seen, order) in steps {
            let (after, _) = then(&now, &seen);
            now = after;
            let failing_now = failing(&now);
            ended_parts.retain(|part| failing_now.contains(part));
            if let Some(of) = order {
                let of = (of < 3).then_some(of);
                if given(&mut now, of, &start(None)).is_ok() {
                    let name = of.map(|at| now.instances[at].name.to_string());
                    ended_parts.extend(failing_now.iter().filter(|(of, _)| name.as_ref().is_none_or(|name| name == of)).cloned());
                }
            }
            for instance in &now.instances {
                if instance.acknowledged.is_some() {
                    let mine = failing_now.iter().filter(|(of, _)| *of == instance.name.as_str());
                    prop_assert!(mine.clone().count() > 0, "nothing fails of {}", instance.name);
                    prop_assert!(mine.clone().all(|part| ended_parts.contains(part)), "{:?} is not all in {:?}", failing_now, ended_parts);
                }
            }
            if acknowledgement_of(now.instances.iter()).is_some() {
                prop_assert!(failing_now.iter().all(|part| ended_parts.contains(part)), "{:?} is not all in {:?}", failing_now, ended_parts);
            }
        }
    }
}
