//! Acknowledgements: given with a note, shown with it, and below what nobody knows about.

use crossterm::event::KeyCode;
use portolan::console::app::Effect;
use portolan::console::data::{Acknowledgement, Service};
use portolan::console::source::{Operation, Request, SourceEvent};
use portolan::console::state::{Options, State};
use portolan::model::outcome::Health;
use portolan::model::time::UnixMs;

use crate::scene::{CART, CHECKOUT, LEDGER, TestConsole, ago, cast, lines, options};

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
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=checkout\n");
    assert!(operations(&console.keys("a  \n")).is_empty());
    assert!(console.text().contains("type a note to go on"), "{}", console.text());
    let effects = console.keys("disk ordered\n");
    let (service, note) = (CHECKOUT, "disk ordered".into());
    let wanted = Operation::Acknowledge { service, instance: None, note, seconds: None };
    assert_eq!(operations(&effects), [&wanted]);
    let effects = console.keys(":ack\n2h: disk: ordered\n");
    let timed = Operation::Acknowledge { service, instance: None, note: "disk: ordered".into(), seconds: Some(7200) };
    assert_eq!(operations(&effects), [&timed]);
    console.keys("\n");
    let effects = console.keys("jano: time\n");
    let one = Operation::Acknowledge { service, instance: Some("b".into()), note: "no: time".into(), seconds: None };
    assert_eq!(operations(&effects), [&one], "of the row's instance");
    console.keys("a");
    assert!(console.text().contains("acknowledge"), "{}", console.text());
    assert!(operations(&[console.press(KeyCode::Esc), console.keys("\n")].concat()).is_empty());
}

#[test]
fn where_no_instance_is_shown_the_service_is_meant() {
    for view in ["", "2", "H", "y", "T"] {
        let mut console = TestConsole::loaded(SIZE);
        console.keys("/name=checkout\n");
        console.keys(view);
        for keys in ["adisk ordered\n", "mackn\ndisk ordered\n"] {
            let effects = console.keys(keys);
            let note = "disk ordered".into();
            let wanted = Operation::Acknowledge { service: CHECKOUT, instance: None, note, seconds: None };
            assert_eq!(operations(&effects), [&wanted], "{view} {keys}");
        }
    }
}

#[test]
fn what_is_known_is_below_the_rest_with_its_note() {
    let mut console = TestConsole::loaded(SIZE);
    assert_eq!(console.listed().iter().position(|name| name == "checkout"), Some(1));
    console.change(checkout());
    let listed = console.listed();
    let place = |name: &str| listed.iter().position(|of| of == name).expect("listed");
    assert!(place("cart") < place("checkout") && place("checkout") < place("cron"), "{listed:?}");
    console.keys("2");
    let text = console.text();
    let row = text.lines().find(|line| line.contains("checkout")).expect("its row");
    assert!(row.contains("a: ack ") && row.contains("refused"), "the mark and the reason: {row}");
    insta::assert_snapshot!("acknowledged", lines(&console.frame()).join("\n"));
    assert!(console.text().contains("down 2  (1 acknowledged)"), "{}", console.text());
    console.keys("/status=acknowledged\n");
    assert_eq!(console.listed(), ["checkout"]);
    for words in ["ordered", "ops"] {
        console.press(KeyCode::Esc);
        console.keys(&format!("/{words}\n"));
        assert_eq!(console.listed(), ["checkout"], "{words}");
    }
    for key in ["X", "d"] {
        console.keys(key);
        assert!(console.text().contains("by ops: disk ordered, since 11:59:00Z"), "{}", console.text());
        assert!(console.text().contains("until 13:00:00Z"), "{}", console.text());
        console.press(KeyCode::Esc);
    }
    let effects = console.keys(":unack\n\n");
    assert_eq!(operations(&effects), [&Operation::Unacknowledge { service: CHECKOUT, instance: None }]);
    let mut console = TestConsole::loaded((120, 40));
    console.change(checkout());
    console.keys("C");
    assert!(console.text().contains("· acknowledged by ops: disk ordered"), "{}", console.text());
}

#[test]
fn another_note_begins_with_the_one_before() {
    let mut console = TestConsole::loaded(SIZE);
    console.change(checkout());
    console.keys("/name=checkout\n");
    for keys in ["a", ":ack\n", "mackn\n"] {
        console.keys(keys);
        assert!(console.text().contains("> disk ordered"), "{keys}: {}", console.text());
        console.press(KeyCode::Esc);
    }
    let effects = console.keys("a, comes on Tuesday\n");
    let note = "disk ordered, comes on Tuesday".into();
    let wanted = Operation::Acknowledge { service: CHECKOUT, instance: None, note, seconds: None };
    assert_eq!(operations(&effects), [&wanted]);
    let mut console = TestConsole::loaded((300, 50));
    console.change(checkout());
    console.keys("2");
    let words = "a: ack nothing listens on 10.0.0.5:801 (ops: disk ordered)";
    assert!(console.text().contains(words), "with the note where it has room: {}", console.text());
    console.keys("/name=checkout\n\n");
    assert!(console.text().contains("ack nothing listens on 10.0.0.5:801"), "{}", console.text());
}

#[test]
fn a_new_failure_rises_again() {
    let mut console = TestConsole::loaded(SIZE);
    let mut service = checkout();
    service.instances[1].health = Health::Healthy;
    console.change(service.clone());
    assert!(console.text().contains("acknowledged"), "{}", console.text());
    // As the server says it, once another instance fails.
    service.acknowledged = None;
    for instance in &mut service.instances {
        (instance.health, instance.acknowledged) = (Health::Unhealthy, None);
    }
    console.change(service);
    assert!(!console.text().contains("(1 acknowledged)"), "{}", console.text());
    let listed = console.listed();
    let place = |name: &str| listed.iter().position(|of| of == name).expect("listed");
    assert!(place("checkout") < place("cart"), "{listed:?}");
}

#[test]
fn it_is_refused_where_nothing_fails_and_under_read_only() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=ledger\n");
    assert!(operations(&console.keys("a")).is_empty());
    assert!(console.text().contains("nothing to acknowledge"), "{}", console.text());
    assert!(console.state.index.get(&LEDGER).is_some_and(|ledger| ledger.instances.iter().all(|i| !i.fails())));
    let abilities = portolan::console::source::Abilities { acts: true, live_probing: true };
    let read_only = Options { read_only: true, ..options() };
    let mut console = TestConsole::with(State::new("server", abilities, read_only, SIZE, ago(0)));
    console.load();
    console.receive(SourceEvent::Changes(vec![checkout()], vec![]));
    console.keys("/name=cart\n");
    for keys in ["a", ":ack\n", ":acknowledge\n"] {
        assert!(operations(&console.keys(keys)).is_empty(), "{keys}");
        assert!(console.text().contains("--read-only"), "{keys}: {}", console.text());
    }
    assert!(console.state.index.get(&CART).is_some());
    console.press(KeyCode::Esc);
    console.keys("/name=checkout\n");
    assert!(operations(&console.keys(":unack\n\n")).is_empty());
}
