//! What a status says, and what it does not message again.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::outcome::{Health, Reason};
use crate::model::ports::AddressGate;
use crate::model::service::InstanceId;
use crate::model::url::EndpointUrl;
use crate::operator::crd::{HealthValue, ServiceResource, State};
use crate::operator::read;

mod drained;
mod warned;

struct NoTens;

impl AddressGate for NoTens {
    fn admit(&self, url: &EndpointUrl) -> Result<(), String> {
        if url.host().to_string().starts_with("10.") { Err("10/8 is not probed".to_owned()) } else { Ok(()) }
    }
}

/// 2026-11-23T20:00:00Z.
const NOW: UnixMs = UnixMs(1_795_464_000_000);

fn object(instances: &Value) -> ServiceResource {
    let metadata = json!({
        "name": "user-service", "namespace": "shop", "uid": "01900000-0000-7000-8000-000000000001", "generation": 3,
        "resourceVersion": "42", "creationTimestamp": "2026-01-02T03:04:05Z",
    });
    let object = json!({ "apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": metadata, "spec": {"instances": instances} });
    serde_json::from_value(object).expect("an object")
}

/// Instances of these names.
fn plain(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name, "baseUrl": "http://h:1"})).collect()
}

type Verdict = (Health, Reason, i64);

/// The catalog's service, each instance with its verdict, given in order of name.
fn service(parsed: &ParsedService, verdicts: &[Verdict]) -> Option<Service> {
    let mirrored = parsed.mirrored.as_ref()?;
    let instance = |(id, (i, verdict)): (i64, (&crate::model::mirror::MirroredInstance, &Verdict))| {
        let (health, reason, since) = *verdict;
        let (id, name, spec) = (InstanceId(id), i.name.clone(), Arc::clone(&i.spec));
        let new = Instance::new(id, name, spec, (health, reason), UnixMs(NOW.0 + since));
        Instance { owner: i.owner.clone(), created_at: NOW, drain: i.drain.clone(), ..new }
    };
    let instances = (0..).zip(mirrored.instances.iter().zip(verdicts)).map(instance).collect();
    let (id, source) = (mirrored.id, mirrored.source);
    Some(Service { id, source, registered_at: NOW, updated_at: NOW, ..Service::sample("a", instances) })
}

fn status_of(object: &ServiceResource, verdicts: &[Verdict], now: UnixMs) -> ServiceStatus {
    status_with(object, verdicts, now, |_| {})
}

/// With more that the catalog knows of each instance.
fn status_with(
    object: &ServiceResource,
    verdicts: &[Verdict],
    now: UnixMs,
    known: impl Fn(&mut Instance),
) -> ServiceStatus {
    let parsed = read::parse(object, &NoTens);
    let mut service = service(&parsed, verdicts);
    service.iter_mut().flat_map(|service| &mut service.instances).for_each(known);
    let message = |instance: &Instance| {
        (instance.reason == Reason::ConnectRefused)
            .then(|| "3 failures in a row: connection refused: 127.0.0.1:1".to_owned())
    };
    let (before, generation) = (object.status.as_ref(), object.metadata.generation);
    of(&StatusInput {
        before,
        install: "portolan/portolan",
        generation,
        parsed: &parsed,
        service: service.as_ref(),
        message: &message,
        publication: None,
        now,
    })
}

const UP: Verdict = (Health::Healthy, Reason::Passed, -60_000);
const DOWN: Verdict = (Health::Unhealthy, Reason::ConnectRefused, -2_000);
const DENIED: Verdict = (Health::Unhealthy, Reason::AddressDenied, -2_000);
const NEW: Verdict = (Health::Unknown, Reason::Probing, -500);
const LOST: Verdict = (Health::Unknown, Reason::Unproven, -500);
const BARRED: Verdict = (Health::Unknown, Reason::CaUnavailable, -500);
const OPEN: Verdict = (Health::Unknown, Reason::NotChecked, -500);

/// State, READY, REASON, and each condition.
fn brief(status: &ServiceStatus) -> String {
    let conditions: Vec<_> =
        status.conditions.iter().map(|c| format!("{}={}/{}", c.type_, c.status, c.reason)).collect();
    let state = status.state.expect("a state").as_str();
    format!("{state} {} [{}] {}", status.ready, status.reason, conditions.join(" "))
}

#[test]
fn conditions_follow_from_verdicts() {
    let valid = "Stalled=False/NotBlocked";
    for (verdicts, wanted) in [
        (
            &[UP, UP][..],
            format!("Healthy 2/2 [] Accepted=True/Accepted Ready=True/Healthy Degraded=False/NoInstanceDown {valid}"),
        ),
        (
            &[UP, NEW],
            format!("Healthy 1/2 [] Accepted=True/Accepted Ready=True/Healthy Degraded=False/NoInstanceDown {valid}"),
        ),
        (
            &[UP, DOWN],
            format!(
                "Degraded 1/2 [ConnectRefused] Accepted=True/Accepted Ready=True/Healthy Degraded=True/SomeInstancesDown {valid}"
            ),
        ),
        (
            &[DOWN, OPEN],
            format!(
                "Degraded 0/2 [ConnectRefused] Accepted=True/Accepted Ready=True/NotChecked Degraded=True/SomeInstancesDown {valid}"
            ),
        ),
        (
            &[DOWN, DOWN],
            format!(
                "Down 0/2 [ConnectRefused] Accepted=True/Accepted Ready=False/AllInstancesDown Degraded=True/AllInstancesDown {valid}"
            ),
        ),
        (
            &[DOWN, NEW],
            format!(
                "Down 0/2 [ConnectRefused] Accepted=True/Accepted Ready=False/SomeInstancesDown Degraded=True/SomeInstancesDown {valid}"
            ),
        ),
        (
            &[DOWN, LOST],
            format!(
                "Down 0/2 [ConnectRefused] Accepted=True/Accepted Ready=False/SomeInstancesDown Degraded=True/SomeInstancesDown {valid}"
            ),
        ),
        (
            &[NEW, NEW],
            format!(
                "Unknown 0/2 [Probing] Accepted=True/Accepted Ready=Unknown/Probing Degraded=Unknown/Probing {valid}"
            ),
        ),
        (
            &[LOST, NEW],
            format!(
                "Unknown 0/2 [Unproven] Accepted=True/Accepted Ready=Unknown/Unproven Degraded=Unknown/Unproven {valid}"
            ),
        ),
        (
            &[NEW, BARRED],
            format!(
                "Unknown 0/2 [CaUnavailable] Accepted=True/Accepted Ready=Unknown/CheckCannotRun Degraded=Unknown/CheckCannotRun {valid}"
            ),
        ),
        (
            &[UP, BARRED],
            format!("Healthy 1/2 [] Accepted=True/Accepted Ready=True/Healthy Degraded=False/NoInstanceDown {valid}"),
        ),
        (
            &[OPEN, OPEN],
            format!(
                "NotChecked 0/2 [] Accepted=True/Accepted Ready=True/NotChecked Degraded=False/NoInstanceDown {valid}"
            ),
        ),
    ] {
        assert_eq!(brief(&status_of(&object(&plain(&["a", "b"])), verdicts, NOW)), wanted);
    }
}

#[test]
fn what_is_invalid_is_said_and_the_rest_is_served() {
    let bad = json!({"name": "b", "baseUrl": "http://a..b/"});
    let denied = |name: &str| json!({"name": name, "baseUrl": "http://10.0.0.1"});
    let hidden = json!({"name": "b", "baseUrl": "http://10.0.0.1", "check": {"none": {}}});
    let good = json!({"name": "a", "baseUrl": "http://h:1"});
    let partly = "Stalled=True/PartiallyInvalid";
    let all = "Accepted=False/Invalid Ready=False/Invalid Degraded=Unknown/Invalid Stalled=True/Invalid";
    for (instances, verdicts, wanted) in [
        (
            json!([good, bad]),
            &[UP][..],
            format!(
                "Degraded 1/2 [Invalid] Accepted=False/PartiallyInvalid Ready=True/Healthy Degraded=True/SomeInstancesDown {partly}"
            ),
        ),
        (
            json!([good, bad]),
            &[DOWN],
            format!(
                "Down 0/2 [ConnectRefused] Accepted=False/PartiallyInvalid Ready=False/AllInstancesDown Degraded=True/AllInstancesDown {partly}"
            ),
        ),
        (
            json!([good, denied("b")]),
            &[UP, DENIED],
            format!(
                "Degraded 1/2 [AddressDenied] Accepted=False/PartiallyInvalid Ready=True/Healthy Degraded=True/SomeInstancesDown {partly}"
            ),
        ),
        (
            json!([good, hidden]),
            &[UP],
            format!(
                "Degraded 1/2 [AddressDenied] Accepted=False/PartiallyInvalid Ready=True/Healthy Degraded=True/SomeInstancesDown {partly}"
            ),
        ),
        // Settings may deny an address, and then the spec is not what is wrong.
        (
            json!([denied("a"), denied("b")]),
            &[NEW, DENIED],
            format!("Invalid 0/2 [AddressDenied] {}", all.replace("/Invalid", "/AddressDenied")),
        ),
        (json!([denied("a"), bad]), &[DENIED], format!("Invalid 0/2 [Invalid] {all}")),
        (json!([bad]), &[], format!("Invalid 0/1 [Invalid] {all}")),
        (json!([]), &[], format!("Invalid 0/0 [Invalid] {all}")),
    ] {
        assert_eq!(brief(&status_of(&object(&instances), verdicts, NOW)), wanted, "{instances}");
    }
}

#[test]
fn a_status_reads_as_a_person_needs_it() {
    insta::assert_yaml_snapshot!("some_down", status_of(&object(&plain(&["a", "b", "c"])), &[UP, DOWN, NEW], NOW));
    let instances = json!([
        {"name": "a", "baseUrl": "http://10.0.0.1"}, {"name": "b", "baseUrl": "postgres://db:5432", "check": {"http": {}}},
        {"name": "c", "baseUrl": "http://h", "check": {"none": {}}},
    ]);
    insta::assert_yaml_snapshot!("partially_invalid", status_of(&object(&instances), &[DENIED, OPEN], NOW));
    let denied = json!([{"name": "a", "baseUrl": "http://10.0.0.1"}]);
    insta::assert_yaml_snapshot!("address_denied", status_of(&object(&denied), &[DENIED], NOW));
    insta::assert_yaml_snapshot!(
        "invalid",
        status_of(&object(&json!([{"name": "a", "baseUrl": "nowhere"}])), &[], NOW)
    );
}

#[test]
fn times_and_sentences_stay_with_what_stays() {
    let mut object = object(&plain(&["a", "b"]));
    let first = status_of(&object, &[UP, DOWN], NOW);
    assert_eq!(first.since, Some(UnixMs(NOW.0 - 2_000)), "since the fall, not since it was written");
    object.status = Some(first.clone());
    object.metadata.generation = Some(4);
    let later = UnixMs(NOW.0 + 90_000);
    let second = status_of(&object, &[UP, (Health::Unhealthy, Reason::Timeout, -2_000)], later);
    assert_eq!((second.since, &*second.reason), (first.since, "Timeout"));
    assert_eq!(second.instances[1].message, sentence(Reason::Timeout));
    for (was, is) in first.conditions.iter().zip(&second.conditions) {
        assert_eq!(was.last_transition_time, is.last_transition_time);
        assert_eq!((was.observed_generation, is.observed_generation), (Some(3), Some(4)));
    }
    assert!(!same(&first, &second));

    object.status = Some(second);
    let third = status_of(&object, &[UP, (Health::Healthy, Reason::Passed, 91_000)], UnixMs(NOW.0 + 92_000));
    assert_eq!((third.state, third.since), (Some(State::Healthy), Some(UnixMs(NOW.0 + 91_000))));
    let degraded = |status: &ServiceStatus| status.conditions[2].last_transition_time.0.to_string();
    assert_eq!(degraded(&third), "2026-11-23T20:01:32Z");
    // An edit takes the last one down out: no verdict is newer than the state, so it begins now.
    object.spec.instances.pop();
    let fourth = status_of(&object, &[UP], later);
    assert_eq!((fourth.state, fourth.since), (Some(State::Healthy), Some(later)));
}

#[test]
fn what_is_being_deleted_says_so_and_what_holds_it() {
    let mut object = object(&plain(&["a", "b"]));
    let before = status_of(&object, &[UP, DOWN], NOW);
    object.status = Some(before.clone());
    object.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-23T20:00:00Z")).expect("a time");
    object.metadata.finalizers = Some(vec!["example.com/backup".to_owned()]);
    let going = status_of(&object, &[], NOW);
    assert_eq!(
        brief(&going),
        "Terminating 0/2 [Terminating] Accepted=False/Terminating Ready=False/Terminating Degraded=Unknown/Terminating \
         Stalled=False/Terminating"
    );
    assert!(going.conditions[1].message.ends_with("its finalizers hold it: example.com/backup"), "{going:?}");
    assert!(going.instances.iter().all(|i| i.health == HealthValue::Unknown && i.reason == "Terminating"));
    let events = notices(Some(&before), &going);
    assert_eq!(events.iter().map(|n| (n.reason, n.is_warning)).collect::<Vec<_>>(), [("Terminating", false)]);

    object.status = Some(going.clone());
    let later = status_of(&object, &[], UnixMs(NOW.0 + 60_000));
    assert!(same(&going, &later), "{later:?}");
}

#[test]
fn a_condition_of_somebody_elses_changes_nothing() {
    let status = status_of(&object(&plain(&["a"])), &[UP], NOW);
    let mut found = status.clone();
    found.conditions.reverse();
    let mut foreign = status.conditions[0].clone();
    foreign.type_ = "example.com/Seen".to_owned();
    found.conditions.push(foreign);
    assert!(same(&found, &status));
    found.conditions[0].message.push('!');
    assert!(!same(&found, &status));
}

#[test]
fn events_tell_transitions_once() {
    let object = |names: &[&str]| object(&plain(names));
    let events = |before: Option<&ServiceStatus>, now: &ServiceStatus| -> Vec<String> {
        let kind = |warning| if warning { "Warning" } else { "Normal" };
        notices(before, now)
            .iter()
            .map(|n| format!("{} {} {}: {}", kind(n.is_warning), n.action, n.reason, n.note))
            .collect()
    };
    let two = object(&["a", "b"]);
    let [new, up, half, down, lost, barred] =
        [[NEW, NEW], [UP, UP], [UP, DOWN], [DOWN, DOWN], [LOST, LOST], [BARRED, NEW]].map(|v| status_of(&two, &v, NOW));
    let one = object(&["a"]);
    let [one_up, one_down] = [[UP], [DOWN]].map(|v| status_of(&one, &v, NOW));
    let names: Vec<String> = (0..9).map(|n| format!("i{n}")).collect();
    let many = object(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let [many_up, many_down] = [[UP; 9], [DOWN; 9]].map(|v| status_of(&many, &v, NOW));
    let bad = status_of(&self::object(&json!([{"name": "a", "baseUrl": "nowhere"}])), &[], NOW);
    insta::assert_debug_snapshot!([
        ("new", events(None, &new)),
        ("first proof", events(Some(&new), &up)),
        ("nothing", events(Some(&up), &up)),
        ("one falls", events(Some(&up), &half)),
        ("both are down", events(Some(&half), &down)),
        ("one is back", events(Some(&down), &half)),
        ("nobody knows", events(Some(&up), &lost)),
        ("they are proved again", events(Some(&lost), &up)),
        ("an edit is not proved yet", events(Some(&up), &new)),
        ("a check cannot run", events(Some(&new), &barred)),
        ("it still cannot", events(Some(&barred), &barred)),
        ("it runs", events(Some(&barred), &up)),
        ("a single one falls", events(Some(&one_up), &one_down)),
        ("many fall", events(Some(&many_up), &many_down)),
        ("an edit breaks it", events(Some(&one_up), &bad)),
        ("it stays broken", events(Some(&bad), &bad)),
        ("an edit mends it", events(Some(&bad), &one_up)),
    ]);
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(UP), Just(DOWN), Just(NEW), Just(LOST), Just(BARRED), Just(OPEN), Just(DENIED)]
}

/// Good, drained, unreadable, denied and hidden instances.
fn entries() -> impl Strategy<Value = Value> {
    let entry = prop_oneof![
        Just(json!({"baseUrl": "http://h"})),
        Just(json!({"baseUrl": "http://h", "weight": 0})),
        Just(json!({"baseUrl": "http://h", "drain": {"reason": "kernel"}})),
        Just(json!({"baseUrl": "http://h", "drain": {"reason": "kernel", "until": "2026-11-23T19:00:00Z"}})),
        Just(json!({"baseUrl": "nowhere\u{202e}"})),
        Just(json!({"baseUrl": "http://10.0.0.1"})),
        Just(json!({"baseUrl": "http://10.0.0.1", "check": {"none": {}}})),
    ];
    prop::collection::btree_map("[a-z]{1,3}|[A-Z\u{1b}]{70}", entry, 0..8).prop_map(|map| {
        let named = |(name, mut entry): (String, Value)| {
            entry["name"] = json!(name);
            entry
        };
        map.into_iter().map(named).collect()
    })
}

proptest! {
    #[test]
    fn what_stays_is_never_written_again(instances in entries(), verdicts in prop::collection::vec(verdict(), 8), seconds in 1..100_000_i64) {
        let mut object = object(&instances);
        let first = status_of(&object, &verdicts, NOW);
        // As it comes back from the API.
        let stored: ServiceStatus = serde_json::from_str(&serde_json::to_string(&first).expect("JSON")).expect("a status");
        prop_assert!(same(&stored, &first));
        object.status = Some(stored.clone());
        let second = status_of(&object, &verdicts, UnixMs(NOW.0 + seconds * 1000));
        prop_assert!(same(&stored, &second), "{:?}\n{:?}", stored, second);
        prop_assert!(notices(Some(&stored), &second).is_empty());
    }

    #[test]
    fn a_status_keeps_its_promises(instances in entries(), verdicts in prop::collection::vec(verdict(), 8)) {
        let object = object(&instances);
        let status = status_of(&object, &verdicts, NOW);
        let condition = |name: &str| status.conditions.iter().find(|c| c.type_ == name).expect("there").clone();
        prop_assert_eq!(status.conditions.iter().map(|c| &*c.type_).collect::<Vec<_>>(), &TYPES[..4]);
        prop_assert!(status.conditions.iter().all(|c| c.observed_generation == Some(3) && c.message.chars().count() <= 1024));
        prop_assert_eq!(usize::try_from(status.total).expect("a count"), instances.as_array().map_or(0, Vec::len));
        prop_assert_eq!(status.instances.iter().map(|i| &i.name).collect::<std::collections::BTreeSet<_>>().len(), status.instances.len());
        for instance in &status.instances {
            prop_assert!(instance.message.chars().count() <= 256 && instance.name.chars().count() <= 640);
            prop_assert!(!instance.message.chars().any(crate::model::text::is_hostile));
        }
        // What the definition says of each state.
        let parts: Vec<Part> = status.instances.iter().map(Part::of).collect();
        let any = |wanted: &[Part]| parts.iter().any(|part| wanted.contains(part));
        let (usable, down) = (any(&[Part::Healthy, Part::NotChecked]), any(&[Part::Down]));
        prop_assert!(match status.state.expect("a state") {
            State::Healthy => any(&[Part::Healthy]) && !down,
            State::Degraded => usable && down,
            State::Down => !usable && down,
            State::Unknown => any(&[Part::Unproved]) && !any(&[Part::Healthy, Part::Down]),
            State::NotChecked => parts.iter().all(|part| *part == Part::NotChecked),
            State::Invalid => !usable,
            State::Terminating => false,
        }, "{:?}", status);
        // Stalled is the opposite of Accepted; what is healthy and not drained is ready; invalid is never ready.
        prop_assert_eq!(condition("Accepted").status == "True", condition("Stalled").status == "False");
        let offered = status.instances.iter().any(|i| i.health == HealthValue::Healthy && !i.drained);
        prop_assert!(!offered || condition("Ready").status == "True");
        prop_assert!(!["Invalid", "AddressDenied"].contains(&&*condition("Accepted").reason) || condition("Ready").status == "False");
        prop_assert!(condition("Degraded").status != "True" || status.healthy < status.total);
    }
}
