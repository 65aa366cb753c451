//! Instances that are out of selection on purpose.

use super::*;

const MINUTE: i64 = 60_000;

/// Instances `a`, `b`, …, each with these fields.
fn with(fields: &[Value]) -> ServiceResource {
    let instance = |(name, fields): (char, &Value)| {
        let mut instance = json!({"name": name.to_string(), "baseUrl": "http://h:1"});
        instance.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        instance
    };
    object(&('a'..='z').zip(fields).map(instance).collect())
}

fn drain() -> Value {
    json!({"drain": {"reason": "kernel", "since": "2026-11-23T19:00:00.000Z"}})
}

/// Ends 10 minutes after [`NOW`].
fn short_drain() -> Value {
    json!({"drain": {"reason": "kernel", "until": "2026-11-23T20:10:00.000Z"}})
}

fn ready(status: &ServiceStatus) -> (&str, &str) {
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").expect("it is there");
    (&ready.status, &ready.reason)
}

#[test]
fn a_service_whose_usable_instances_are_all_drained_is_not_ready() {
    let (none, weightless) = (json!({}), json!({"weight": 0}));
    let unchecked = |mut of: Value| {
        of["check"] = json!({"none": {}});
        of
    };
    for (fields, verdicts, wanted, reason) in [
        (vec![drain(), none.clone()], vec![UP, UP], ("True", "Healthy"), ""),
        (vec![drain(), none.clone()], vec![UP, DOWN], ("False", "Drained"), "Drained"),
        (vec![drain(), weightless.clone()], vec![UP, UP], ("False", "Drained"), "Drained"),
        (vec![drain(), none.clone()], vec![DOWN, DOWN], ("False", "AllInstancesDown"), "ConnectRefused"),
        (vec![drain(), none], vec![DOWN, UP], ("True", "Healthy"), "ConnectRefused"),
        (vec![unchecked(drain())], vec![OPEN], ("False", "Drained"), "Drained"),
        (vec![unchecked(weightless)], vec![OPEN], ("False", "Drained"), "Drained"),
        (vec![drain()], vec![NEW], ("Unknown", "Probing"), "Probing"),
    ] {
        let status = status_of(&with(&fields), &verdicts, NOW);
        assert_eq!((ready(&status), &*status.reason), (wanted, reason), "{fields:?} {verdicts:?}");
    }
    let status = status_of(&with(&[drain(), drain()]), &[UP, UP], NOW);
    assert_eq!((&*status.ready, status.state), ("2/2", Some(State::Healthy)), "health stays what it is");
    assert_eq!(
        status.conditions[1].message,
        "clients get no instance, because every instance that they could use is drained or has a weight of 0; 2 of 2 instances are \
         healthy; drained: a, b"
    );
}

#[test]
fn a_drain_ends_once_and_for_all() {
    let mut object = with(&[short_drain(), drain(), json!({"weight": 0})]);
    let first = status_of(&object, &[UP, UP, UP], NOW);
    let shown = |status: &ServiceStatus| -> Vec<_> {
        status.instances.iter().map(|i| (i.drained, i.drained_since.is_some(), i.drain_over.is_some())).collect()
    };
    assert_eq!(shown(&first), [(true, true, false), (true, true, false), (true, false, false)]);
    assert_eq!(first.instances[1].drained_since.map(|at| at.to_string()).as_deref(), Some("2026-11-23T19:00:00.000Z"));
    object.status = Some(first.clone());
    assert!(same(&first, &status_of(&object, &[UP, UP, UP], UnixMs(NOW.0 + 9 * MINUTE))));

    let over = status_of(&object, &[UP, UP, UP], UnixMs(NOW.0 + 10 * MINUTE));
    assert_eq!(shown(&over), [(false, false, true), (true, true, false), (true, false, false)]);
    object.status = Some(over.clone());
    let late = status_of(&object, &[UP, UP, UP], UnixMs(NOW.0 + 5 * MINUTE));
    assert!(same(&over, &late), "the clock of another leader is behind: {late:?}");

    let mut longer = object.clone();
    longer.spec.instances[0].drain.as_mut().expect("it is there").until = Some("2026-11-23T21:00:00Z".to_owned());
    assert_eq!(shown(&status_of(&longer, &[UP, UP, UP], NOW))[0], (true, true, false), "another drain");
}

#[test]
fn a_drain_outlives_a_change_of_what_is_probed() {
    let mut object = with(&[json!({"drain": {"reason": "kernel"}})]);
    let first = status_of(&object, &[UP], NOW);
    object.status = Some(first.clone());
    object.spec.instances[0].base_url = "http://h:2".to_owned();
    let second = status_of(&object, &[NEW], NOW);
    assert_ne!(first.instances[0].probe_hash, second.instances[0].probe_hash);
    assert_eq!(first.instances[0].drained_since, second.instances[0].drained_since);
}

#[test]
fn events_tell_who_left_selection_and_who_is_back() {
    let events = |before: &ServiceStatus, now: &ServiceStatus| -> Vec<String> {
        let kind = |warning| if warning { "Warning" } else { "Normal" };
        let line = |n: &Notice| format!("{} {} {}: {}", kind(n.is_warning), n.action, n.reason, n.note);
        notices(Some(before), now).iter().map(line).collect()
    };
    let none = json!({});
    let [free, one, both] = [[none.clone(), none.clone()], [drain(), none], [drain(), drain()]]
        .map(|fields| status_of(&with(&fields), &[UP, UP], NOW));
    assert_eq!(events(&free, &one), ["Normal Drain InstanceDrained: instance a is drained: clients no longer get it"]);
    let lost = events(&one, &both);
    assert!(lost[0].starts_with("Warning Drain Drained: clients get no instance"), "{lost:?}");
    assert_eq!(lost[1..], ["Normal Drain InstanceDrained: instance b is drained: clients no longer get it"]);
    let back = events(&both, &free);
    assert!(back[0].starts_with("Normal Drain Undrained: 2 of 2 instances are healthy"), "{back:?}");
    assert_eq!(
        back[1..],
        [
            "Normal Drain InstanceUndrained: instance a is no longer drained",
            "Normal Drain InstanceUndrained: instance b is no longer drained",
        ]
    );
    assert_eq!(events(&both, &both), Vec::<String>::new());
}
