//! What changed before the console started: registrations among it; and that Esc undoes one thing at a time.

use crossterm::event::KeyCode;
use portolan::console::source::{Link, SourceEvent};
use portolan::console::state::screen::{Selection, View};
use portolan::model::outcome::Health;
use uuid::Uuid;

use crate::scene::{Desk, ago, cast, instance, service};

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
    let mut desk = Desk::waiting((80, 24));
    desk.receive(SourceEvent::Link(Link::Live));
    desk.receive(SourceEvent::Snapshot(all));
    desk.tick(0);
    desk.keys("C");
    let text = desk.text();
    let rows: Vec<&str> = text.lines().filter(|line| line.contains("registered")).collect();
    assert_eq!(rows.len(), 2, "not those of yesterday: {text}");
    assert!(rows[0].contains("shop/fresh") && rows[0].contains("+ registered over REST"), "{text}");
    assert!(rows[0].contains("5m00s") && rows[1].contains("10m00s"), "the newest first: {text}");
    assert!(rows[1].contains("pay/older b") && rows[1].contains("+ registered by a manifest"), "{text}");
    // They are selected and opened like the others.
    desk.press(KeyCode::Down);
    assert!(matches!(desk.state.screen().selection, Selection::Change(_)));
    desk.press(KeyCode::Enter);
    assert_eq!(desk.state.screen().view, View::Instances(grown));
    // The same list again, as after a broken connection, registers nothing twice.
    let again: Vec<_> = desk.state.index.services().cloned().collect();
    desk.receive(SourceEvent::Snapshot(again));
    desk.keys("q");
    assert_eq!(desk.text().matches("registered").count(), 2, "{}", desk.text());
}

#[test]
fn esc_undoes_one_thing_at_a_time_and_takes_its_message_along() {
    let mut desk = Desk::loaded((80, 24));
    desk.keys("2/name=c\n ");
    desk.ctrl('z');
    desk.keys("c");
    assert!(desk.text().contains("copied "), "{}", desk.text());
    desk.keys("m");
    desk.press(KeyCode::Esc);
    assert!(desk.state.modal.is_none() && !desk.state.filter.is_empty(), "first the dialog");
    assert!(!desk.text().contains("copied "), "no message stays: {}", desk.text());
    let mut left = vec![];
    for _ in 0..4 {
        desk.press(KeyCode::Esc);
        let query = desk.state.listing().query();
        let view = desk.state.screen().view == View::Services;
        left.push((!desk.state.filter.is_empty(), query.faults_only, !desk.state.marks.is_empty(), view));
    }
    assert_eq!(
        left,
        [
            (false, true, true, true),
            (false, false, true, true),
            (false, false, false, true),
            (false, false, false, false)
        ],
        "filter, faults only, marks, view"
    );
    desk.press(KeyCode::Esc);
    assert!(!desk.state.quit && desk.state.modal.is_none(), "it never quits");
}
