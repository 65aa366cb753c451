//! Acknowledgements: given with a note, shown with it, and below what nobody knows about.

use crossterm::event::KeyCode;
use portolan::console::app::Effect;
use portolan::console::data::{Acknowledgement, Service};
use portolan::console::source::{Operation, Request, SourceEvent};
use portolan::console::state::{Options, State};
use portolan::model::outcome::Health;
use portolan::model::time::UnixMs;

use crate::scene::{CART, CHECKOUT, Desk, LEDGER, ago, cast, lines, options};

const SIZE: (u16, u16) = (80, 24);

fn operations(effects: &[Effect]) -> Vec<&Operation> {
    let operation = |effect| match effect {
        &Effect::Request(Request::Operate(_, ref operation)) => Some(operation),
        _ => None,
    };
    effects.iter().filter_map(operation).collect()
}

fn known() -> Acknowledgement {
    let until = Some(UnixMs(ago(0).0 + 3_600_000));
    Acknowledgement { note: "disk ordered".into(), by: "ops".into(), since: Some(ago(60)), until }
}

/// `checkout`, of which everything that fails is known.
fn checkout() -> Service {
    let mut checkout = cast().remove(0);
    checkout.acknowledged = Some(Box::new(known()));
    for instance in &mut checkout.instances {
        instance.acknowledged = Some(Box::new(known()));
    }
    checkout
}

#[test]
fn a_key_asks_for_a_note_and_says_what_is_known() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/name=checkout\n");
    assert!(operations(&desk.keys("a  \n")).is_empty());
    assert!(desk.text().contains("type a note to go on"), "{}", desk.text());
    let effects = desk.keys("disk ordered\n");
    let (service, note) = (CHECKOUT, "disk ordered".into());
    let wanted = Operation::Acknowledge { service, instance: None, note, seconds: None };
    assert_eq!(operations(&effects), [&wanted]);
    let effects = desk.keys(":ack\n2h: disk: ordered\n");
    let timed = Operation::Acknowledge { service, instance: None, note: "disk: ordered".into(), seconds: Some(7200) };
    assert_eq!(operations(&effects), [&timed]);
    desk.keys("\n");
    let effects = desk.keys("jano: time\n");
    let one = Operation::Acknowledge { service, instance: Some("b".into()), note: "no: time".into(), seconds: None };
    assert_eq!(operations(&effects), [&one], "of the row's instance");
    desk.keys("a");
    assert!(desk.text().contains("acknowledge"), "{}", desk.text());
    assert!(operations(&[desk.press(KeyCode::Esc), desk.keys("\n")].concat()).is_empty());
}

#[test]
fn what_is_known_is_below_the_rest_with_its_note() {
    let mut desk = Desk::loaded(SIZE);
    assert_eq!(desk.listed().iter().position(|name| name == "checkout"), Some(1));
    desk.change(checkout());
    let listed = desk.listed();
    let place = |name: &str| listed.iter().position(|of| of == name).expect("listed");
    assert!(place("cart") < place("checkout") && place("checkout") < place("cron"), "{listed:?}");
    desk.keys("2");
    let text = desk.text();
    let row = text.lines().find(|line| line.contains("checkout")).expect("its row");
    assert!(row.contains("a: ack ") && row.contains("refused"), "the mark and the reason: {row}");
    insta::assert_snapshot!("acknowledged", lines(&desk.frame()).join("\n"));
    assert!(desk.text().contains("down 2  (1 acknowledged)"), "{}", desk.text());
    desk.keys("/status=acknowledged\n");
    assert_eq!(desk.listed(), ["checkout"]);
    for words in ["ordered", "ops"] {
        desk.press(KeyCode::Esc);
        desk.keys(&format!("/{words}\n"));
        assert_eq!(desk.listed(), ["checkout"], "{words}");
    }
    for key in ["X", "d"] {
        desk.keys(key);
        assert!(desk.text().contains("by ops: disk ordered, since 11:59:00Z"), "{}", desk.text());
        assert!(desk.text().contains("until 13:00:00Z"), "{}", desk.text());
        desk.press(KeyCode::Esc);
    }
    let effects = desk.keys(":unack\n\n");
    assert_eq!(operations(&effects), [&Operation::Unacknowledge { service: CHECKOUT, instance: None }]);
    let mut desk = Desk::loaded((120, 40));
    desk.change(checkout());
    desk.keys("C");
    assert!(desk.text().contains("· acknowledged by ops: disk ordered"), "{}", desk.text());
}

#[test]
fn another_note_begins_with_the_one_before() {
    let mut desk = Desk::loaded(SIZE);
    desk.change(checkout());
    desk.keys("/name=checkout\n");
    for keys in ["a", ":ack\n", "mackn\n"] {
        desk.keys(keys);
        assert!(desk.text().contains("> disk ordered"), "{keys}: {}", desk.text());
        desk.press(KeyCode::Esc);
    }
    let effects = desk.keys("a, comes on Tuesday\n");
    let note = "disk ordered, comes on Tuesday".into();
    let wanted = Operation::Acknowledge { service: CHECKOUT, instance: None, note, seconds: None };
    assert_eq!(operations(&effects), [&wanted]);
    let mut desk = Desk::loaded((300, 50));
    desk.change(checkout());
    desk.keys("2");
    let words = "a: ack nothing listens on 10.0.0.5:801 (ops: disk ordered)";
    assert!(desk.text().contains(words), "with the note where it has room: {}", desk.text());
    desk.keys("/name=checkout\n\n");
    assert!(desk.text().contains("ack nothing listens on 10.0.0.5:801"), "{}", desk.text());
}

#[test]
fn a_new_failure_rises_again() {
    let mut desk = Desk::loaded(SIZE);
    let mut service = checkout();
    service.instances[1].health = Health::Healthy;
    desk.change(service.clone());
    assert!(desk.text().contains("acknowledged"), "{}", desk.text());
    // As the server says it, once another instance fails.
    service.acknowledged = None;
    for instance in &mut service.instances {
        (instance.health, instance.acknowledged) = (Health::Unhealthy, None);
    }
    desk.change(service);
    assert!(!desk.text().contains("(1 acknowledged)"), "{}", desk.text());
    let listed = desk.listed();
    let place = |name: &str| listed.iter().position(|of| of == name).expect("listed");
    assert!(place("checkout") < place("cart"), "{listed:?}");
}

#[test]
fn it_is_refused_where_nothing_fails_and_under_read_only() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/name=ledger\n");
    assert!(operations(&desk.keys("a")).is_empty());
    assert!(desk.text().contains("nothing to acknowledge"), "{}", desk.text());
    assert!(desk.state.index.get(&LEDGER).is_some_and(|ledger| ledger.instances.iter().all(|i| !i.fails())));
    let abilities = portolan::console::source::Abilities { acts: true, live_probing: true };
    let read_only = Options { read_only: true, ..options() };
    let mut desk = Desk::with(State::new("server", abilities, read_only, SIZE, ago(0)));
    desk.load();
    desk.receive(SourceEvent::Changes(vec![checkout()], vec![]));
    desk.keys("/name=cart\n");
    for keys in ["a", ":ack\n", ":acknowledge\n"] {
        assert!(operations(&desk.keys(keys)).is_empty(), "{keys}");
        assert!(desk.text().contains("--read-only"), "{keys}: {}", desk.text());
    }
    assert!(desk.state.index.get(&CART).is_some());
    desk.press(KeyCode::Esc);
    desk.keys("/name=checkout\n");
    assert!(operations(&desk.keys(":unack\n\n")).is_empty());
}
