//! Drains and warnings.

use crossterm::event::KeyCode;
use portolan::console::app::Effect;
use portolan::console::data::{Drain, Warning};
use portolan::console::source::{Operation, Request};

use crate::scene::{CART, NOON, TestConsole, cast};

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
    let mut console = TestConsole::loaded(SIZE);
    assert!(operations(&console.keys("/name=cart\n\njmdrain\n")).is_empty());
    assert!(console.text().contains("type the reason"), "{}", console.text());
    assert!(operations(&console.keys("  \n")).is_empty());
    assert!(console.text().contains("type the reason to go on"), "{}", console.text());
    let effects = console.keys("new kernel\n");
    let wanted = Operation::Drain { service: CART, instance: "a".into(), reason: "new kernel".into() };
    assert_eq!(operations(&effects), [&wanted]);
    let mut drained = cast().remove(1);
    let drain = Drain { reason: "new kernel".into(), by: "ops".into(), since: Some(NOON), until: None };
    drained.instances[1].weight = 70;
    drained.instances[1].drain = Some(Box::new(drain));
    console.change(drained);
    assert!(console.text().contains("drained"), "{}", console.text());
    console.keys("d");
    assert!(console.text().contains("new kernel; by ops"), "{}", console.text());
    console.press(KeyCode::Esc);
    let effects = console.keys("mundrain\ncart/a\n");
    assert_eq!(operations(&effects), [&Operation::Undrain { service: CART, instance: "a".into() }]);
}

#[test]
fn a_warning_is_shown_although_the_service_is_healthy() {
    let mut console = TestConsole::loaded(SIZE);
    let mut warned = cast().into_iter().find(|s| s.serving() == s.instances.len()).expect("a healthy one");
    let warning = Warning { check: "disk".into(), reason: "UnexpectedStatus".into(), message: "status 500".into() };
    warned.instances[0].warning = Some(Box::new(warning));
    let name = warned.name.clone();
    console.change(warned);
    console.keys("/status=warning\n");
    assert!(console.text().contains(&*name) && console.text().contains("warning Unexpec"), "{}", console.text());
    console.keys("d");
    assert!(console.text().contains("disk UnexpectedStatus status 500"), "{}", console.text());
}

#[test]
fn what_an_instance_says_of_itself_is_found_and_described() {
    let mut console = TestConsole::loaded(SIZE);
    let mut cart = cast().remove(1);
    let check = r#"{"http":{"path":"/healthz","identity":{"json":{"/program":"$service"}}}}"#;
    for instance in &mut cart.instances {
        instance.tags = Box::new(["blue".into(), "canary".into()]);
        instance.external_id = Some("i-0abc".into());
        instance.observed_version = Some("2.0.1".into());
        instance.check = Some(serde_json::from_str(check).expect("a check"));
    }
    console.change(cart);
    for filter in ["check=identity", "check=/healthz", "tag=canary", "tag==blue"] {
        console.press(KeyCode::Esc);
        console.keys(&format!("/{filter}\n"));
        assert_eq!(console.listed(), ["cart"], "{filter}");
    }
    console.keys("\nd");
    for said in ["runs        2.0.1", "external id i-0abc", "tags        blue, canary", "identity by /program"] {
        assert!(console.text().contains(said), "{said}: {}", console.text());
    }
}
