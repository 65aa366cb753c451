//! Availability and outages: what is requested, how it is listed, and what is said where there is none.

use crossterm::event::KeyCode;
use portolan::console::app::Effect;
use portolan::console::source::{Request, SourceEvent};
use portolan::console::state::screen::{Selection, View};
use portolan::console::window::Window;
use uuid::Uuid;

use crate::scene::{CART, CHECKOUT, LEDGER, TestConsole, availability, outages};

const SIZE: (u16, u16) = (120, 40);

fn requests(effects: &[Effect]) -> Vec<&Request> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Request(request) = effect { Some(request) } else { None })
        .collect()
}

/// A console that shows the outages of a day.
fn console() -> TestConsole {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("O");
    console.tick(0);
    console.receive(SourceEvent::Outages(Window::Day, Ok(outages())));
    console.tick(250);
    console
}

/// The services of the listed outages, in order.
fn listed(console: &mut TestConsole) -> Vec<String> {
    console.frame();
    console.state.outages.rows().map(|outage| outage.name.to_string()).collect()
}

#[test]
fn outages_are_listed_newest_first_and_ordered_otherwise_by_a_key() {
    let mut console = console();
    assert_eq!(listed(&mut console), ["checkout", "cart", "ledger", "cart", "retired"]);
    console.keys("slongest\n");
    assert_eq!(listed(&mut console), ["ledger", "cart", "retired", "checkout", "cart"]);
    console.keys("I");
    assert_eq!(listed(&mut console)[0], "cart");
    assert!(console.text().contains("OUT FOR↑"), "{}", console.text());
    console.keys("I");
    console.keys("sinstances\n");
    assert_eq!(listed(&mut console)[0], "checkout");
}

#[test]
fn the_filter_of_the_console_narrows_the_outages() {
    let mut console = console();
    console.keys("/name=cart\n");
    assert_eq!(console.state.screen().view, View::Outages, "the view stays");
    assert_eq!(listed(&mut console), ["cart", "cart"]);
    assert!(console.text().contains("2 of 5"), "{}", console.text());
    console.press(KeyCode::Esc);
    assert_eq!(listed(&mut console).len(), 5, "and those of removed services are back");
    console.ctrl('z');
    assert_eq!(listed(&mut console), ["checkout", "cart", "cart"], "only services with a fault");
    console.ctrl('z');
    console.keys("/nowhere\n");
    assert!(console.text().contains("none of the 5 outages"), "{}", console.text());
}

#[test]
fn typing_a_filter_selects_no_other_outage() {
    let mut console = console();
    console.press(KeyCode::Down);
    let chosen = console.state.screen().selection.clone();
    assert!(matches!(chosen, Selection::Outage(CART, _)), "{chosen:?}");
    console.keys("/c");
    assert_eq!(console.state.screen().selection, chosen);
}

#[test]
fn an_outage_that_lasts_grows_until_the_next_answer() {
    let mut console = console();
    assert!(console.text().contains("4m12s"));
    console.tick(20_000);
    let text = console.text();
    assert!(text.contains("4m32s") && text.contains("45s"), "only that one: {text}");
}

#[test]
fn enter_opens_the_service_and_what_is_gone_is_said() {
    let mut console = console();
    console.press(KeyCode::Down);
    console.press(KeyCode::Enter);
    assert_eq!(console.state.screen().view, View::Instances(CART));
    console.keys("q");
    console.press(KeyCode::End);
    console.press(KeyCode::Enter);
    assert_eq!(console.state.screen().view, View::Outages);
    assert!(console.text().contains("is not registered any more"), "{}", console.text());
}

#[test]
fn another_window_is_requested_once_and_only_while_it_is_shown() {
    let mut console = TestConsole::loaded(SIZE);
    assert!(!requests(&console.tick(0)).iter().any(|of| matches!(of, Request::Outages(_))), "nothing shows them");
    console.keys("O");
    assert!(requests(&console.tick(250)).contains(&&Request::Outages(Window::Day)));
    assert!(requests(&console.tick(500)).is_empty(), "one is under way");
    console.press(KeyCode::Tab);
    assert!(requests(&console.tick(750)).contains(&&Request::Outages(Window::Week)));
    // The answer of the window that was left comes too late.
    console.receive(SourceEvent::Outages(Window::Day, Ok(outages())));
    assert!(console.text().contains("waiting for the outages"), "{}", console.text());
    console.receive(SourceEvent::Outages(Window::Week, Ok(outages())));
    assert_eq!(listed(&mut console).len(), 5);
    console.keys(":outages 30d\n");
    assert!(requests(&console.tick(1000)).contains(&&Request::Outages(Window::Month)));
    console.keys("1");
    assert!(!requests(&console.tick(60_000)).iter().any(|of| matches!(of, Request::Outages(_))));
}

#[test]
fn outages_are_requested_again_once_the_answer_arrived_or_is_overdue() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("O");
    let asks =
        |console: &mut TestConsole, millis| requests(&console.tick(millis)).contains(&&Request::Outages(Window::Day));
    assert!(asks(&mut console, 250));
    // A fault that comes or goes does not ask a second time meanwhile.
    console.state.outages.faults += 1;
    assert!(!asks(&mut console, 5000));
    assert!(asks(&mut console, 10_250), "no answer came");
    console.receive(SourceEvent::Outages(Window::Day, Ok(outages())));
    console.state.outages.faults += 1;
    assert!(!asks(&mut console, 12_000));
    assert!(asks(&mut console, 13_250));
}

#[test]
fn a_server_that_knows_no_outages_says_so_in_words() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("O");
    console.tick(0);
    console.receive(SourceEvent::Outages(Window::Day, Err("this server is older than the console".into())));
    assert!(console.text().contains("no outages are known: this server is older"), "{}", console.text());
    console.keys("1/name=checkout\nT");
    console.receive(SourceEvent::Strips((CHECKOUT, None), Err("this server is older than the console".into())));
    assert!(!console.text().contains("older"), "what was known stays: {}", console.text());
    console.receive(SourceEvent::Strips((LEDGER, None), Err("this server is older than the console".into())));
    console.keys("1");
    console.press(KeyCode::Esc);
    console.keys("/name=ledger\nT");
    assert!(console.text().contains("not known: this server is older"), "{}", console.text());
}

#[test]
fn the_column_is_filled_by_one_request_for_all_rows() {
    let mut console = TestConsole::loaded(SIZE);
    assert!(!requests(&console.tick(250)).iter().any(|of| matches!(of, Request::Shares(_))), "nobody asked for it");
    console.keys(":cols av");
    console.press(KeyCode::Tab);
    console.keys("\n");
    let effects = console.tick(500);
    let asked: Vec<&Vec<Uuid>> = requests(&effects)
        .into_iter()
        .filter_map(|of| if let Request::Shares(ids) = of { Some(ids) } else { None })
        .collect();
    assert_eq!(asked.len(), 1, "one call");
    assert!(asked[0].len() > 20 && asked[0].len() <= 100, "{}", asked[0].len());
    let asked = asked[0].clone();
    assert!(!requests(&console.tick(750)).iter().any(|of| matches!(of, Request::Shares(_))), "it is under way");
    console.receive(SourceEvent::Shares(asked, Ok(vec![availability(CHECKOUT, None, Window::Day)])));
    let text = console.text();
    assert!(text.contains("AVAIL") && text.contains("99.953%"), "{text}");
    console.receive(SourceEvent::Shares(vec![CART], Err("this server is older".into())));
    assert!(console.text().contains("no availability: this server is older"));
    console.keys(":cols\n");
    assert!(!console.text().contains("AVAIL"));
}

#[test]
fn strips_are_requested_for_what_is_shown() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=ledger\n\n");
    assert!(requests(&console.tick(250)).contains(&&Request::Strips((LEDGER, None))));
    console.press(KeyCode::Enter);
    assert!(requests(&console.tick(500)).contains(&&Request::Strips((LEDGER, Some("a".into())))));
    assert!(!requests(&console.tick(750)).iter().any(|of| matches!(of, Request::Strips(_))), "both are under way");
}

#[test]
fn the_view_is_found_again_over_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("memory.json");
    let console = console();
    portolan::console::memory::save(&console.state, &path).expect("is written");
    let mut next = TestConsole::waiting(SIZE);
    portolan::console::memory::restore(&mut next.state, &path, false);
    assert_eq!(next.state.screen().view, View::Outages);
}
