//! Drains and warnings.

use crossterm::event::KeyCode;
use portolan::console::app::Effect;
use portolan::console::data::{Drain, Warning};
use portolan::console::source::{Operation, Request};

use crate::scene::{CART, Desk, NOON, cast};

const SIZE: (u16, u16) = (120, 40);

fn operations(effects: &[Effect]) -> Vec<&Operation> {
    let operation = |effect| match effect {
        &Effect::Request(Request::Operate(_, ref operation)) => Some(operation),
        _ => None,
    };
    effects.iter().filter_map(operation).collect()
}

#[test]
fn draining_asks_why_and_undraining_for_the_name() {
    let mut desk = Desk::loaded(SIZE);
    assert!(operations(&desk.keys("/name=cart\n\njmdrain\n")).is_empty());
    assert!(desk.text().contains("type the reason"), "{}", desk.text());
    assert!(operations(&desk.keys("  \n")).is_empty());
    assert!(desk.text().contains("type why to go on"), "{}", desk.text());
    let effects = desk.keys("new kernel\n");
    let wanted = Operation::Drain { service: CART, instance: "a".into(), reason: "new kernel".into() };
    assert_eq!(operations(&effects), [&wanted]);
    let mut drained = cast().remove(1);
    let drain = Drain { reason: "new kernel".into(), by: "ops".into(), since: Some(NOON), until: None };
    drained.instances[1].weight = 70;
    drained.instances[1].drain = Some(Box::new(drain));
    desk.change(drained);
    assert!(desk.text().contains("drained"), "{}", desk.text());
    desk.keys("d");
    assert!(desk.text().contains("new kernel; by ops"), "{}", desk.text());
    desk.press(KeyCode::Esc);
    let effects = desk.keys("mundrain\ncart/a\n");
    assert_eq!(operations(&effects), [&Operation::Undrain { service: CART, instance: "a".into() }]);
}

#[test]
fn a_warning_is_shown_although_the_service_is_healthy() {
    let mut desk = Desk::loaded(SIZE);
    let mut warned = cast().into_iter().find(|s| s.serving() == s.instances.len()).expect("a healthy one");
    let warning = Warning { check: "disk".into(), reason: "UnexpectedStatus".into(), message: "status 500".into() };
    warned.instances[0].warning = Some(Box::new(warning));
    let name = warned.name.clone();
    desk.change(warned);
    desk.keys("/status=warning\n");
    assert!(desk.text().contains(&*name) && desk.text().contains("warning Unexpec"), "{}", desk.text());
    desk.keys("d");
    assert!(desk.text().contains("disk UnexpectedStatus status 500"), "{}", desk.text());
}

#[test]
fn what_an_instance_says_of_itself_is_found_and_described() {
    let mut desk = Desk::loaded(SIZE);
    let mut cart = cast().remove(1);
    let check = r#"{"http":{"path":"/healthz","identity":{"json":{"/program":"$service"}}}}"#;
    for instance in &mut cart.instances {
        instance.tags = Box::new(["blue".into(), "canary".into()]);
        instance.external_id = Some("i-0abc".into());
        instance.observed_version = Some("2.0.1".into());
        instance.check = Some(serde_json::from_str(check).expect("a check"));
    }
    desk.change(cart);
    for filter in ["check=identity", "check=/healthz", "tag=canary", "tag==blue"] {
        desk.press(KeyCode::Esc);
        desk.keys(&format!("/{filter}\n"));
        assert_eq!(desk.listed(), ["cart"], "{filter}");
    }
    desk.keys("\nd");
    for said in ["runs        2.0.1", "external id i-0abc", "tags        blue, canary", "identity by /program"] {
        assert!(desk.text().contains(said), "{said}: {}", desk.text());
    }
}
