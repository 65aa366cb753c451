//! Several checks of an instance: which one decides, and what only warns.

use super::*;
use crate::model::service::Warning;

fn checked() -> ServiceResource {
    let disk = json!({"name": "disk", "advisory": true, "http": {"path": "/disk"}});
    let db = json!({"name": "db", "http": {"path": "/db"}});
    object(&json!([
        {"name": "a", "baseUrl": "http://h:1", "check": {"tcp": {}}, "checks": [disk, db]},
        {"name": "b", "baseUrl": "http://h:2", "check": {"tcp": {}}, "checks": [disk, db]},
    ]))
}

/// The disk of `a` warns, in these words.
fn warned(reason: Reason, message: &str) -> impl Fn(&mut Instance) {
    let warning = Warning { check: "disk".parse().expect("a label"), reason, message: message.to_owned() };
    let warning = Arc::new(warning);
    move |instance| instance.warning = (instance.name.as_str() == "a").then(|| Arc::clone(&warning))
}

/// Its database decides about `a`.
fn decided(instance: &mut Instance) {
    if instance.name.as_str() == "a" {
        instance.decided_by = "db".parse().expect("a label");
    }
}

#[test]
fn a_warning_leaves_the_instance_healthy() {
    let object = checked();
    let fine = status_of(&object, &[UP, UP], NOW);
    let status = status_with(&object, &[UP, UP], NOW, warned(Reason::UnexpectedStatus, "503 instead of 2xx"));
    assert_eq!((status.state, &*status.ready), (Some(State::Healthy), "2/2"));
    let warning = status.instances[0].warning.clone().expect("a warning");
    assert_eq!(
        (&*warning.check, &*warning.reason, &*warning.message),
        ("disk", "UnexpectedStatus", "503 instead of 2xx")
    );
    let notes: Vec<_> = notices(Some(&fine), &status).into_iter().map(|n| (n.reason, n.is_warning, n.note)).collect();
    let note = "instance a has a warning (check disk: UnexpectedStatus): 503 instead of 2xx";
    assert_eq!(notes, [("InstanceWarning", true, note.to_owned())]);

    let other = status_with(&object, &[UP, UP], NOW, warned(Reason::Timeout, "no answer in 5 s\u{1b}"));
    let message = other.instances[0].warning.as_ref().expect("a warning").message.clone();
    assert_eq!(message, "no answer in 5 s\\u{1b}");
    assert_eq!(notices(Some(&status), &other).len(), 1);
    assert!(notices(Some(&other), &fine).is_empty(), "its end is not news");
}

#[test]
fn the_check_that_decides_is_named_everywhere() {
    let object = checked();
    let fine = status_of(&object, &[UP, UP], NOW);
    assert_eq!(fine.instances[0].decided_by, "", "the plain one");
    let down = status_with(&object, &[DOWN, UP], NOW, decided);
    assert_eq!((&*down.instances[0].decided_by, &*down.instances[0].reason), ("db", "ConnectRefused"));
    let condition = |n: usize| down.conditions[n].message.clone();
    assert_eq!(condition(1), "1 of 2 instances is healthy; down: a (check db: ConnectRefused)");
    assert!(condition(2).starts_with("a is down (check db: ConnectRefused): 3 failures in a row"), "{}", condition(2));
    let notes: Vec<_> = notices(Some(&fine), &down).into_iter().map(|n| n.note).collect();
    assert!(notes[1].starts_with("instance a is unhealthy (check db: ConnectRefused): 3 failures"), "{notes:?}");

    let mut single = object.clone();
    single.spec.instances.pop();
    let [up, fallen] = [UP, DOWN].map(|verdict| status_with(&single, &[verdict], NOW, decided));
    let notes: Vec<_> = notices(Some(&up), &fallen).into_iter().map(|n| n.note).collect();
    assert!(notes[0].contains("down: a (check db: ConnectRefused): 3 failures in a row"), "{notes:?}");
}

#[test]
fn the_version_that_runs_is_shown() {
    let version = |instance: &mut Instance| instance.observed_version = Some("1.5.0".into());
    let status = status_with(&checked(), &[UP, UP], NOW, version);
    assert_eq!(status.instances[0].observed_version, "1.5.0");
}

#[test]
fn what_fails_besides_and_who_knows_are_written() {
    let known = crate::model::acknowledgement::Acknowledgement {
        note: "disk ordered".to_owned(),
        by: "alice".to_owned(),
        since: NOW,
        until: None,
        whole: true,
        failure: crate::model::acknowledgement::Failure { down: None, warning: None, also: Box::default() },
    };
    let known = Arc::new(known);
    let object = checked();
    let with = |instance: &mut Instance| {
        decided(instance);
        instance.also_failing = ["disk".parse().expect("a label")].into();
        instance.acknowledged = Some(Arc::clone(&known));
    };
    let status = status_with(&object, &[DOWN, UP], NOW, with);
    assert_eq!(status.instances[0].also_failing, ["disk"]);
    let written = serde_json::to_value(&status.instances[0]).expect("JSON");
    let expected = json!({"note": "disk ordered", "by": "alice", "since": NOW, "wholeService": true});
    assert_eq!(written["acknowledgement"], expected);
    let without = status_with(&object, &[DOWN, UP], NOW, decided);
    assert!(!same(&without, &status), "it is worth a write");
}
