//! What changed before the console started: registrations among it; and that Esc undoes one thing at a time.

use crossterm::event::KeyCode;
use portolan::console::app::Effect;
use portolan::console::source::{Link, Request, SourceEvent};
use portolan::console::state::Tone;
use portolan::console::state::screen::{Selection, View};
use portolan::model::outcome::Health;
use uuid::Uuid;

use crate::scene::{CART, TestConsole, ago, cast, instance, service};

#[test]
fn registrations_before_the_start_are_among_what_changed_lately() {
    let mut all = cast();
    let (new, grown) = (Uuid::from_u128(201), Uuid::from_u128(202));
    let mut fresh = service(new, "shop", "fresh", vec![instance("default", Health::Healthy, "Passed", 290)]);
    fresh.registered_at = Some(ago(300));
    fresh.instances[0].registered_at = Some(ago(300));
    let mut older = service(grown, "pay", "older", vec![instance("a", Health::Healthy, "Passed", 4000)]);
    older.source = "manifest".into();
    older.registered_at = Some(ago(200_000));
    older.instances[0].registered_at = Some(ago(200_000));
    older.instances.push(instance("b", Health::Healthy, "Passed", 590));
    older.instances[1].registered_at = Some(ago(600));
    all.extend([fresh, older]);
    let mut console = TestConsole::waiting((80, 24));
    console.receive(SourceEvent::Link(Link::Live));
    console.receive(SourceEvent::Snapshot(all));
    console.tick(0);
    console.keys("C");
    let text = console.text();
    let rows: Vec<&str> = text.lines().filter(|line| line.contains("registered")).collect();
    assert_eq!(rows.len(), 2, "not those of yesterday: {text}");
    assert!(rows[0].contains("shop/fresh") && rows[0].contains("+ registered over REST"), "{text}");
    assert!(rows[0].contains("5m00s") && rows[1].contains("10m00s"), "the newest first: {text}");
    assert!(rows[1].contains("pay/older b") && rows[1].contains("+ registered by a manifest"), "{text}");
    // They are selected and opened like the others.
    console.press(KeyCode::Down);
    assert!(matches!(console.state.screen().selection, Selection::Change(_)));
    console.press(KeyCode::Enter);
    assert_eq!(console.state.screen().view, View::Instances(grown));
    // The same list again, as after a broken connection, registers nothing twice.
    let again: Vec<_> = console.state.index.services().cloned().collect();
    console.receive(SourceEvent::Snapshot(again));
    console.keys("q");
    assert_eq!(console.text().matches("registered").count(), 2, "{}", console.text());
}

#[test]
fn esc_undoes_one_thing_at_a_time_and_takes_its_message_along() {
    let mut console = TestConsole::loaded((80, 24));
    console.keys("2/name=c\n ");
    console.ctrl('z');
    console.keys("c");
    assert!(console.text().contains("copied "), "{}", console.text());
    console.keys("m");
    console.press(KeyCode::Esc);
    assert!(console.state.modal.is_none() && !console.state.filter.is_empty(), "first the dialog");
    assert!(!console.text().contains("copied "), "no message stays: {}", console.text());
    let mut left = vec![];
    for _ in 0..4 {
        console.press(KeyCode::Esc);
        let query = console.state.listing().query();
        let view = console.state.screen().view == View::Services;
        left.push((!console.state.filter.is_empty(), query.faults_only, !console.state.marks.is_empty(), view));
    }
    assert_eq!(
        left,
        [
            (false, true, true, true),
            (false, false, true, true),
            (false, false, false, true),
            (false, false, false, false)
        ],
        "clear filter, faults only and marks, then leave the view"
    );
    console.press(KeyCode::Esc);
    assert!(!console.state.quit && console.state.modal.is_none(), "it never quits");
}

#[test]
fn a_clock_that_is_set_back_freezes_nothing() {
    let mut console = TestConsole::loaded((80, 24));
    let asked = |effects: &[Effect]| {
        effects
            .iter()
            .find_map(|of| if let Effect::Request(Request::Probing(ids)) = of { Some(ids.clone()) } else { None })
    };
    for id in asked(&console.tick(3_600_000)).expect("what is visible is requested") {
        console.receive(SourceEvent::Probing(id, Some(Box::default())));
    }
    assert_eq!(asked(&console.tick(3_600_250)), None, "it is fresh");
    console.state.note(Tone::Plain, "said before");
    // A machine that was suspended, or NTP.
    assert!(asked(&console.tick(0)).is_some(), "what is visible is requested again");
    assert!(!console.text().contains("said before"), "{}", console.text());
    let faults = console.state.index.faults();
    let mut cart = cast().into_iter().find(|service| service.id == CART).expect("it is there");
    cart.instances.iter_mut().for_each(|of| of.health = Health::Unhealthy);
    console.change(cart);
    console.tick(1_250);
    assert_ne!(console.state.index.faults(), faults);
    assert_eq!(console.state.shared_of.map(|(of, _)| of), Some(console.state.index.faults()), "what they share, too");
}
