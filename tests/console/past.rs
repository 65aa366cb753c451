//! Availability and outages: what is requested, how it is listed, and what is said where there is none.

use crossterm::event::KeyCode;
use portolan::console::app::Effect;
use portolan::console::source::{Request, SourceEvent};
use portolan::console::state::screen::{Selection, View};
use portolan::console::window::Window;
use uuid::Uuid;

use crate::scene::{CART, CHECKOUT, Desk, LEDGER, availability, outages};

const SIZE: (u16, u16) = (120, 40);

fn requests(effects: &[Effect]) -> Vec<&Request> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Request(request) = effect { Some(request) } else { None })
        .collect()
}

/// A desk that shows the outages of a day.
fn desk() -> Desk {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("O");
    desk.tick(0);
    desk.receive(SourceEvent::Outages(Window::Day, Ok(outages())));
    desk.tick(250);
    desk
}

/// The services of the listed outages, in order.
fn listed(desk: &mut Desk) -> Vec<String> {
    desk.frame();
    desk.state.outages.rows().map(|outage| outage.name.to_string()).collect()
}

#[test]
fn outages_are_listed_newest_first_and_ordered_otherwise_by_a_key() {
    let mut desk = desk();
    assert_eq!(listed(&mut desk), ["checkout", "cart", "ledger", "cart", "retired"]);
    desk.keys("slongest\n");
    assert_eq!(listed(&mut desk), ["ledger", "cart", "retired", "checkout", "cart"]);
    desk.keys("I");
    assert_eq!(listed(&mut desk)[0], "cart");
    assert!(desk.text().contains("OUT FOR↑"), "{}", desk.text());
    desk.keys("I");
    desk.keys("sinstances\n");
    assert_eq!(listed(&mut desk)[0], "checkout");
}

#[test]
fn the_filter_of_the_console_narrows_the_outages() {
    let mut desk = desk();
    desk.keys("/name=cart\n");
    assert_eq!(desk.state.screen().view, View::Outages, "the view stays");
    assert_eq!(listed(&mut desk), ["cart", "cart"]);
    assert!(desk.text().contains("2 of 5"), "{}", desk.text());
    desk.press(KeyCode::Esc);
    assert_eq!(listed(&mut desk).len(), 5, "and those of removed services are back");
    desk.ctrl('z');
    assert_eq!(listed(&mut desk), ["checkout", "cart", "cart"], "only services with a fault");
    desk.ctrl('z');
    desk.keys("/nowhere\n");
    assert!(desk.text().contains("none of 5 outages"), "{}", desk.text());
}

#[test]
fn typing_a_filter_selects_no_other_outage() {
    let mut desk = desk();
    desk.press(KeyCode::Down);
    let chosen = desk.state.screen().selection.clone();
    assert!(matches!(chosen, Selection::Outage(CART, _)), "{chosen:?}");
    desk.keys("/c");
    assert_eq!(desk.state.screen().selection, chosen);
}

#[test]
fn an_outage_that_lasts_grows_until_the_next_answer() {
    let mut desk = desk();
    assert!(desk.text().contains("4m12s"));
    desk.tick(20_000);
    let text = desk.text();
    assert!(text.contains("4m32s") && text.contains("45s"), "only that one: {text}");
}

#[test]
fn enter_opens_the_service_and_what_is_gone_is_said() {
    let mut desk = desk();
    desk.press(KeyCode::Down);
    desk.press(KeyCode::Enter);
    assert_eq!(desk.state.screen().view, View::Instances(CART));
    desk.keys("q");
    desk.press(KeyCode::End);
    desk.press(KeyCode::Enter);
    assert_eq!(desk.state.screen().view, View::Outages);
    assert!(desk.text().contains("is not registered any more"), "{}", desk.text());
}

#[test]
fn another_window_is_requested_once_and_only_while_it_is_shown() {
    let mut desk = Desk::loaded(SIZE);
    assert!(!requests(&desk.tick(0)).iter().any(|of| matches!(of, Request::Outages(_))), "nothing shows them");
    desk.keys("O");
    assert!(requests(&desk.tick(250)).contains(&&Request::Outages(Window::Day)));
    assert!(requests(&desk.tick(500)).is_empty(), "one is under way");
    desk.press(KeyCode::Tab);
    assert!(requests(&desk.tick(750)).contains(&&Request::Outages(Window::Week)));
    // The answer of the window that was left comes too late.
    desk.receive(SourceEvent::Outages(Window::Day, Ok(outages())));
    assert!(desk.text().contains("waiting for the outages"), "{}", desk.text());
    desk.receive(SourceEvent::Outages(Window::Week, Ok(outages())));
    assert_eq!(listed(&mut desk).len(), 5);
    desk.keys(":outages 30d\n");
    assert!(requests(&desk.tick(1000)).contains(&&Request::Outages(Window::Month)));
    desk.keys("1");
    assert!(!requests(&desk.tick(60_000)).iter().any(|of| matches!(of, Request::Outages(_))));
}

#[test]
fn outages_are_requested_again_once_the_answer_arrived_or_is_overdue() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("O");
    let asks = |desk: &mut Desk, millis| requests(&desk.tick(millis)).contains(&&Request::Outages(Window::Day));
    assert!(asks(&mut desk, 250));
    // A fault that comes or goes does not ask a second time meanwhile.
    desk.state.outages.faults += 1;
    assert!(!asks(&mut desk, 5000));
    assert!(asks(&mut desk, 10_250), "no answer came");
    desk.receive(SourceEvent::Outages(Window::Day, Ok(outages())));
    desk.state.outages.faults += 1;
    assert!(!asks(&mut desk, 12_000));
    assert!(asks(&mut desk, 13_250));
}

#[test]
fn a_server_that_knows_no_outages_says_so_in_words() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("O");
    desk.tick(0);
    desk.receive(SourceEvent::Outages(Window::Day, Err("this server is older than the console".into())));
    assert!(desk.text().contains("no outages are known: this server is older"), "{}", desk.text());
    desk.keys("1/name=checkout\nT");
    desk.receive(SourceEvent::Strips((CHECKOUT, None), Err("this server is older than the console".into())));
    assert!(!desk.text().contains("older"), "what was known stays: {}", desk.text());
    desk.receive(SourceEvent::Strips((LEDGER, None), Err("this server is older than the console".into())));
    desk.keys("1");
    desk.press(KeyCode::Esc);
    desk.keys("/name=ledger\nT");
    assert!(desk.text().contains("not known: this server is older"), "{}", desk.text());
}

#[test]
fn the_column_is_filled_by_one_request_for_all_rows() {
    let mut desk = Desk::loaded(SIZE);
    assert!(!requests(&desk.tick(250)).iter().any(|of| matches!(of, Request::Shares(_))), "nobody asked for it");
    desk.keys(":cols av");
    desk.press(KeyCode::Tab);
    desk.keys("\n");
    let effects = desk.tick(500);
    let asked: Vec<&Vec<Uuid>> = requests(&effects)
        .into_iter()
        .filter_map(|of| if let Request::Shares(ids) = of { Some(ids) } else { None })
        .collect();
    assert_eq!(asked.len(), 1, "one call");
    assert!(asked[0].len() > 20 && asked[0].len() <= 100, "{}", asked[0].len());
    let asked = asked[0].clone();
    assert!(!requests(&desk.tick(750)).iter().any(|of| matches!(of, Request::Shares(_))), "it is under way");
    desk.receive(SourceEvent::Shares(asked, Ok(vec![availability(CHECKOUT, None, Window::Day)])));
    let text = desk.text();
    assert!(text.contains("AVAIL") && text.contains("99.953%"), "{text}");
    desk.receive(SourceEvent::Shares(vec![CART], Err("this server is older".into())));
    assert!(desk.text().contains("no availability: this server is older"));
    desk.keys(":cols\n");
    assert!(!desk.text().contains("AVAIL"));
}

#[test]
fn strips_are_requested_for_what_is_shown() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/name=ledger\n\n");
    assert!(requests(&desk.tick(250)).contains(&&Request::Strips((LEDGER, None))));
    desk.press(KeyCode::Enter);
    assert!(requests(&desk.tick(500)).contains(&&Request::Strips((LEDGER, Some("a".into())))));
    assert!(!requests(&desk.tick(750)).iter().any(|of| matches!(of, Request::Strips(_))), "both are under way");
}

#[test]
fn the_view_is_found_again_over_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("memory.json");
    let desk = desk();
    portolan::console::memory::save(&desk.state, &path).expect("is written");
    let mut next = Desk::waiting(SIZE);
    portolan::console::memory::restore(&mut next.state, &path, false);
    assert_eq!(next.state.screen().view, View::Outages);
}
