//! Drained instances: that of a failing one is not a fault, how it is undrained, and which operation a few letters mean.

use crossterm::event::KeyCode;
use portolan::console::app::Effect;
use portolan::console::data::{Acknowledgement, Drain, Service};
use portolan::console::source::{Operation, Request};
use portolan::model::outcome::Health;

use crate::scene::{CART, CHECKOUT, TestConsole, ago, cast, instance, service};

const SIZES: [(u16, u16); 2] = [(80, 24), (120, 40)];

fn operations(effects: &[Effect]) -> Vec<&Operation> {
    let operation = |effect| match effect {
        &Effect::Request(Request::Operate(_, ref operation)) => Some(operation),
        _ => None,
    };
    effects.iter().filter_map(operation).collect()
}

/// `checkout`, whose instances all fail and are drained.
fn checkout(drained: &[&str]) -> Service {
    let mut checkout = cast().remove(0);
    let drain = Drain { reason: "disk swap".into(), by: "ann".into(), since: Some(ago(5)), until: None };
    for instance in checkout.instances.iter_mut().filter(|i| drained.contains(&&*i.name)) {
        instance.drain = Some(Box::new(drain.clone()));
    }
    checkout.arrange();
    checkout
}

fn place(console: &mut TestConsole, name: &str) -> usize {
    console.listed().iter().position(|of| of == name).expect("listed")
}

#[test]
fn what_failed_before_it_was_drained_is_no_fault() {
    for size in SIZES {
        let mut console = TestConsole::loaded(size);
        assert!(console.text().contains("✖ down 2"));
        let mut drained = checkout(&["a", "b"]);
        let acknowledged = Acknowledgement { note: "known".into(), by: "ops".into(), since: Some(ago(9)), until: None };
        for known in [None, Some(Box::new(acknowledged))] {
            drained.acknowledged.clone_from(&known);
            drained.instances.iter_mut().for_each(|instance| instance.acknowledged.clone_from(&known));
            console.change(drained.clone());
            let text = console.text();
            assert!(text.contains("✖ down 1") && text.contains("◌ drained  checkout"), "{text}");
            assert!(text.contains("disk swap"), "the drain says why: {text}");
            assert!(place(&mut console, "checkout") > place(&mut console, "cart"), "below what fails");
        }
        console.keys("/status=down\n");
        assert_eq!(console.listed().len(), 1, "no longer down");
        console.press(KeyCode::Esc);
        console.ctrl('z');
        assert!(!console.listed().contains(&"checkout".to_owned()));
    }
}

#[test]
fn one_that_fails_beside_a_drained_one_is_still_a_fault() {
    let mut console = TestConsole::loaded((120, 40));
    console.change(checkout(&["a"]));
    assert!(console.text().contains("✖ down     checkout"), "{}", console.text());
    assert!(
        console.text().contains("b: 10.0.0.5:801 refused"),
        "the row is about the one that is not drained: {}",
        console.text()
    );
    let mut half = checkout(&["a"]);
    half.instances.iter_mut().filter(|i| &*i.name == "b").for_each(|i| i.health = Health::Unknown);
    console.change(half);
    assert!(console.text().contains("○ unknown  checkout"), "neither down nor drained: {}", console.text());
    console.keys("/status=unknown\n");
    assert!(console.listed().contains(&"checkout".to_owned()), "a filter finds what the row says");
}

#[test]
fn a_key_is_enough_to_undrain_and_a_name_is_still_asked_for_what_takes_away() {
    for confirm in ["y", "\n"] {
        let mut console = TestConsole::loaded((80, 24));
        console.change(checkout(&["a"]));
        console.keys("/name=checkout\n\nG");
        let text = console.text();
        assert!(
            text.lines().any(|line| line.contains("drained   a") && line.contains(" 5s ")),
            "since it was drained: {text}"
        );
        assert!(operations(&console.keys("mun\n")).is_empty(), "it asks");
        assert!(
            console.text().contains("To undrain instance a of shop/checkout, press Enter or y"),
            "{}",
            console.text()
        );
        let wanted = Operation::Undrain { service: CHECKOUT, instance: "a".into() };
        assert_eq!(operations(&console.keys(confirm)), [&wanted]);
    }
    let mut console = TestConsole::loaded((80, 24));
    console.change(checkout(&["a"]));
    console.keys("/name=checkout\n\nGmun\n");
    assert!(operations(&[console.press(KeyCode::Esc), console.keys("y")].concat()).is_empty());
    assert!(operations(&console.keys("mdereg\ny\n")).is_empty(), "a deregistration needs the name");
}

#[test]
fn letters_mean_what_begins_with_them_and_never_first_what_takes_away() {
    let mut console = TestConsole::loaded((80, 24));
    console.keys("/name=cart\n\n");
    console.keys("mdr");
    let chosen = |console: &TestConsole| match &console.state.modal {
        Some(portolan::console::state::modal::Modal::Pick(picker)) => picker.chosen().map(|of| of.label.to_string()),
        _ => None,
    };
    assert_eq!(chosen(&console).as_deref(), Some("drain cart/b"));
    console.press(KeyCode::Esc);
    let mut drained = service(CART, "shop", "cart", vec![instance("b", Health::Unhealthy, "Timeout", 60)]);
    drained.instances[0].drain = Some(Box::new(Drain::default()));
    console.change(drained);
    for (typed, label) in
        [("dr", "undrain cart/b"), ("d", "probe and decide"), ("de", "probe and decide"), ("der", "deregister cart/b")]
    {
        console.keys(&format!("m{typed}"));
        assert_eq!(chosen(&console).as_deref(), Some(label), "{typed}");
        console.press(KeyCode::Esc);
    }
}
