//! What a user does, key by key, and what the console requests and shows.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use portolan::console::app::{Effect, Msg, update};
use portolan::console::data::ServerEvent;
use portolan::console::source::{Abilities, Done, Link, Operation, Refusal, Request, Showed, SourceEvent};
use portolan::console::state::screen::{Selection, View};
use portolan::console::state::{State, Tone};
use portolan::model::outcome::Health;
use portolan::model::time::UnixMs;
use uuid::Uuid;

use crate::scene::{CART, CHECKOUT, CRON, Desk, LEDGER, NOON, ago, cast, history, instance, options, passed, service};

const SIZE: (u16, u16) = (120, 40);

fn requests(effects: &[Effect]) -> Vec<&Request> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Request(request) = effect { Some(request) } else { None })
        .collect()
}

fn operations(effects: &[Effect]) -> Vec<&Operation> {
    requests(effects)
        .into_iter()
        .filter_map(|request| if let Request::Operate(_, operation) = request { Some(operation) } else { None })
        .collect()
}

/// The line of the frame that is drawn reversed.
fn selected_line(desk: &mut Desk) -> String {
    let frame = desk.frame();
    let width = usize::from(frame.area.width);
    let rows = frame.content.chunks(width).enumerate();
    let reversed = rows
        .filter(|(y, row)| *y > 1 && row.iter().all(|cell| cell.modifier.contains(ratatui::style::Modifier::REVERSED)));
    let found: Vec<String> = reversed.map(|(_, row)| row.iter().map(ratatui::buffer::Cell::symbol).collect()).collect();
    assert_eq!(found.len(), 1, "one row is selected: {found:?}");
    found[0].clone()
}

#[test]
fn a_filter_narrows_as_it_is_typed() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/ns=shop");
    assert_eq!(desk.listed(), ["checkout", "cart"]);
    assert!(desk.text().contains("2 match"));
    desk.keys(" lat>");
    assert!(desk.text().contains("lat needs a value"), "{}", desk.text());
    assert_eq!(desk.listed(), ["checkout", "cart"], "the words before it count");
    desk.press(KeyCode::Enter);
    assert!(desk.state.modal.is_some(), "it stays open with its error");
    for _ in 0..5 {
        desk.press(KeyCode::Backspace);
    }
    desk.press(KeyCode::Enter);
    assert!(desk.state.modal.is_none());
    assert!(desk.text().contains("/ns=shop") && desk.text().contains("2 of 40"));
    desk.keys("/x");
    desk.press(KeyCode::Esc);
    assert_eq!(&*desk.state.filter, "ns=shop", "Esc restores the filter");
    desk.press(KeyCode::Esc);
    assert_eq!(desk.listed().len(), 40, "Esc outside clears it");
}

#[test]
fn a_filter_by_time_follows_the_clock() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/since<5m name=checkout\n");
    assert_eq!(desk.listed(), ["checkout"]);
    desk.tick(120_000);
    assert!(desk.listed().is_empty(), "it is older than 5 minutes by now");
}

#[test]
fn the_selection_stays_on_its_service_when_rows_move() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("j");
    let chosen = selected_line(&mut desk);
    let Selection::Service(id) = desk.state.screen().selection else { panic!("a service is selected") };
    // Two others go down, and are listed above it from now on.
    for n in [20, 21] {
        let name = format!("svc-{n}");
        let down = instance("default", Health::Unhealthy, "Timeout", 0);
        desk.change(service(Uuid::from_u128(n), "infra", &name, vec![down]));
    }
    assert_eq!(desk.listed()[..2], ["svc-20", "svc-21"]);
    assert_eq!(desk.state.screen().selection, Selection::Service(id));
    assert_eq!(selected_line(&mut desk), chosen);
    // It is removed: its neighbour is selected.
    let place = desk.listed().iter().position(|name| chosen.contains(name.as_str())).expect("listed");
    let next = desk.listed()[place + 1].clone();
    desk.receive(SourceEvent::Changes(vec![], vec![id]));
    assert!(selected_line(&mut desk).contains(&next));
}

#[test]
fn the_first_selection_is_the_worst_and_opens_what_is_shown() {
    let mut desk = Desk::loaded(SIZE);
    let shown = selected_line(&mut desk);
    let first = desk.listed()[0].clone();
    assert!(shown.contains("down"), "{shown}");
    desk.press(KeyCode::Enter);
    let View::Instances(id) = desk.state.screen().view else { panic!("the instances are shown") };
    assert_eq!(&*desk.state.index.get(&id).expect("known").name, first);
}

#[test]
fn drilling_in_and_out() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/name=checkout\n\n");
    assert!(desk.text().contains("shop/checkout instances"));
    desk.keys("j\n");
    assert_eq!(desk.state.screen().view, View::Instance(CHECKOUT, "b".into()));
    desk.keys("\n");
    assert_eq!(desk.state.screen().view, View::Explain(CHECKOUT, "b".into()));
    assert!(desk.text().contains("2 of 3 passes"), "{}", desk.text());
    desk.keys("T");
    assert!(desk.text().contains("checkout timeline"));
    desk.keys("yy");
    assert!(desk.text().contains("checkout json") && desk.text().contains("\"base_url\": \"http://10.0.0.5:801\""));
    desk.keys("qqqqq");
    assert_eq!(desk.state.screen().view, View::Overview);
    assert!(!desk.state.quit);
    desk.keys("qq");
    assert!(desk.text().contains("Quit? Enter or y quits"), "{}", desk.text());
    assert!(!desk.state.quit, "never by accident");
    desk.press(KeyCode::Esc);
    desk.keys("qy");
    assert!(desk.state.quit);
}

#[test]
fn marks_mean_services_and_limit_what_is_probed() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/ns=infra\n");
    desk.keys("g ");
    let first = desk.state.marks.iter().next().copied().expect("marked");
    desk.keys("jj");
    desk.ctrl(' ');
    assert_eq!(desk.state.marks.len(), 4, "from the first mark to here");
    assert!(desk.text().contains("4 marked"));
    let effects = desk.keys("P");
    assert_eq!(operations(&effects).len(), 4);
    assert!(operations(&effects).contains(&&Operation::Observe(first)));
    desk.ctrl('\\');
    assert!(desk.state.marks.is_empty());
    desk.press(KeyCode::Esc);
    assert!(operations(&desk.keys("P")).is_empty(), "forty need a confirmation");
    assert!(desk.text().contains("Probe 40 services now?"));
    assert_eq!(operations(&desk.keys("y")).len(), 40);
}

#[test]
fn the_palette_finds_a_command() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/name=checkout\n");
    desk.keys(":past changes");
    assert!(desk.text().contains("its past changes of health"));
    desk.keys("\n");
    assert_eq!(desk.state.screen().view, View::Timeline(CHECKOUT));
    desk.keys(":zzzzzz");
    assert!(desk.text().contains("no match"));
    desk.press(KeyCode::Enter);
    desk.press(KeyCode::Esc);
    assert!(desk.state.modal.is_none());
}

#[test]
fn a_namespace_is_chosen_by_typing() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("nshop\n");
    assert_eq!(desk.listed(), ["checkout", "cart"]);
    assert!(desk.text().contains("namespace shop"));
    desk.keys("0");
    assert_eq!(desk.listed().len(), 40);
}

#[test]
fn sorting_and_inverting() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("sname\n");
    let up = desk.listed();
    assert!(up.is_sorted(), "{up:?}");
    desk.keys("I");
    let down = desk.listed();
    assert!(down.iter().rev().is_sorted(), "{down:?}");
    desk.keys("Isworst\n");
    assert_eq!(desk.listed().last().map(String::as_str), Some("ledger"));
    desk.ctrl('z');
    assert_eq!(desk.listed().len(), 3);
    update(&mut desk.state, Msg::Key(KeyEvent::new(KeyCode::Right, KeyModifiers::SHIFT)));
    assert!(desk.text().contains("NAME↓"));
}

#[test]
fn a_sort_by_instances_puts_most_first() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("sinst\n");
    assert_eq!(desk.listed()[..3], ["ledger", "cart", "checkout"]);
}

#[test]
fn a_frozen_screen_stands_still() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("f");
    let before = desk.listed();
    desk.change(service(CRON, "infra", "cron", vec![instance("default", Health::Unhealthy, "Timeout", 0)]));
    desk.tick(3000);
    assert_eq!(desk.listed(), before);
    assert!(desk.text().contains("FROZEN 3.0 s, f thaws"));
    assert!(desk.tick(3250).is_empty(), "nothing is requested meanwhile");
    desk.keys("f");
    assert_eq!(desk.listed()[0], "cron");
}

#[test]
fn a_dialog_acts_on_what_it_showed_when_it_opened() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/name=checkout\n\nmdereg\n");
    assert!(desk.text().contains("To deregister instance a of shop/checkout, type checkout/a"), "{}", desk.text());
    desk.keys("ledger\n");
    assert!(desk.text().contains("type checkout/a to go on"));
    // Meanwhile the instance registers again.
    let mut again = cast().remove(0);
    again.instances[0].generation = 9;
    desk.change(again);
    for _ in 0..6 {
        desk.press(KeyCode::Backspace);
    }
    let effects = desk.keys("checkout/a\n");
    desk.tick(7000);
    let wanted = Operation::Deregister { service: CHECKOUT, instance: "a".into(), generation: 3 };
    assert_eq!(operations(&effects), [&wanted]);
    assert!(desk.text().contains("waiting for an answer"));
    let refusal = Refusal { code: "stale".into(), message: "it registered again meanwhile".into() };
    desk.receive(SourceEvent::OperationDone(1, Err(refusal)));
    assert!(desk.text().contains("deregister checkout/a: it registered again meanwhile"));
    desk.tick(14_000);
    assert!(!desk.text().contains("meanwhile"), "a message goes away");
}

#[test]
fn a_refusal_says_why_beside_the_choice() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/name=ledger\n\nmdrain");
    assert!(desk.text().contains("it comes from a manifest"), "{}", desk.text());
    assert!(desk.keys("\n").is_empty());
    assert!(desk.text().contains("kubectl edit services.portolan.dev ledger -n pay"));

    let mut desk = Desk::loaded(SIZE);
    desk.state.options.read_only = true;
    desk.keys("/name=cart\n\nmdrain\n");
    assert!(desk.text().contains("--read-only"));
    assert!(operations(&desk.keys("mdecide\n")).is_empty(), "a verdict is a change");
    assert_eq!(operations(&desk.keys("p")), [&Operation::Observe(CART)], "a probe changes nothing");

    let abilities = Abilities { acts: false, live_probing: false };
    let mut desk = Desk::with(State::new("file /p.db", abilities, options(), SIZE, NOON));
    desk.load();
    assert!(operations(&desk.keys("p")).is_empty());
    assert!(desk.text().contains("this source is a file: give --server to act"));
    assert!(desk.text().contains("FILE, probes up to 2 s old"));
}

#[test]
fn a_probe_shows_its_result() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/name=cart\n");
    assert_eq!(operations(&desk.keys("p")), [&Operation::Observe(CART)]);
    desk.receive(SourceEvent::OperationDone(1, Ok("1 of 2 healthy".into())));
    assert!(desk.text().contains("probe cart: 1 of 2 healthy"));
}

#[test]
fn a_timeline_is_read_page_by_page() {
    let mut desk = Desk::loaded((80, 12));
    desk.keys("/name=cart\n");
    desk.receive(SourceEvent::History(CART, history(0), Some(989)));
    desk.keys("T");
    let effects = desk.keys("G");
    assert_eq!(requests(&effects), [&Request::History(CART, Some(989))]);
    assert!(requests(&desk.keys("G")).is_empty(), "requested once");
    desk.receive(SourceEvent::History(CART, history(1), None));
    assert_eq!(desk.state.history[&CART].entries.len(), 24);
    let Selection::Entry(chosen) = desk.state.screen().selection else { panic!("an entry is selected") };
    // A new entry comes in front: the selection stays.
    let mut newest = history(0);
    newest[0].id = 1001;
    newest.truncate(3);
    newest.extend(history(0).into_iter().take(2));
    newest.sort_by_key(|past| std::cmp::Reverse(past.id));
    desk.receive(SourceEvent::History(CART, newest, Some(1)));
    assert_eq!(desk.state.history[&CART].entries.len(), 25);
    assert_eq!(desk.state.history[&CART].more, None, "the end stays the end");
    desk.text();
    assert_eq!(desk.state.screen().selection, Selection::Entry(chosen));
}

#[test]
fn a_lost_source_is_stale_and_catches_up() {
    let mut desk = Desk::loaded(SIZE);
    let lost = |at| Link::Lost { why: "the server does not answer: is it up?".into(), retry_at: at };
    desk.receive(SourceEvent::Link(lost(UnixMs(NOON.0 + 17_000))));
    desk.tick(14_000);
    let text = desk.text();
    assert!(text.contains("STALE 14 s, retry in 3 s") && text.contains("is it up?"), "{text}");
    assert_eq!(desk.listed().len(), 40, "what was known is still shown");
    let effects = desk.ctrl('r');
    assert_eq!(requests(&effects)[0], &Request::Retry);
    assert!(effects.contains(&Effect::Repaint), "a repaint repaints");
    desk.receive(SourceEvent::Snapshot(cast()));
    desk.receive(SourceEvent::Link(Link::Live));
    assert!(desk.text().contains("LIVE") && !desk.text().contains("STALE"));
    assert!(!requests(&desk.tick(14_250)).is_empty(), "visible data is requested again");
}

#[test]
fn only_visible_data_is_requested() {
    let mut desk = Desk::loaded((80, 24));
    let effects = desk.tick(6000);
    let [Request::Probing(ids)] = requests(&effects)[..] else { panic!("one request: {effects:?}") };
    assert_eq!(ids.len(), portolan::console::layout::list_height(&desk.state));
    assert!(requests(&desk.tick(6250)).is_empty(), "not twice while the answer is under way");
    for id in ids.clone() {
        desk.receive(SourceEvent::Probing(id, Some(Box::default())));
    }
    assert!(requests(&desk.tick(6500)).is_empty());
    assert_eq!(requests(&desk.tick(20_000)).len(), 1, "and again when it is old");
}

#[test]
fn copying_takes_the_name_or_a_cell() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/name=checkout\n");
    assert_eq!(desk.keys("c"), [Effect::Copy("checkout".into())]);
    let effects = desk.keys("Ya base\n");
    assert_eq!(effects, [Effect::Copy("http://10.0.0.5:801".into())]);
    desk.keys("/\n");
    let hostile = "na]0;titleme";
    desk.press(KeyCode::Esc);
    desk.keys("/reason=evil\n");
    assert_eq!(desk.keys("c"), [Effect::Copy(hostile.into())], "no control characters");
}

#[test]
fn the_raw_view_shows_the_newest_probe() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/name=checkout\ny");
    let shown = passed(1).at.to_string();
    assert!(desk.text().contains(&shown), "{}", desk.text());
    assert_ne!(passed(1).at, ago(2));
}

#[test]
fn a_service_that_goes_away_says_so() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/name=ledger\n\n");
    desk.receive(SourceEvent::Changes(vec![], vec![LEDGER]));
    assert!(desk.text().contains("deregistered since"));
    desk.keys("\np");
    desk.press(KeyCode::Esc);
    assert_eq!(desk.state.screen().view, View::Overview);
}

#[test]
fn a_prober_that_cannot_keep_up_is_in_the_header_until_it_can() {
    let mut desk = Desk::loaded(SIZE);
    desk.receive(SourceEvent::Link(Link::Live));
    let event = |good| ServerEvent { at: ago(5), part: "prober".into(), good, message: "a message".into() };
    assert!(!desk.text().contains("PROBES LATE"));
    desk.receive(SourceEvent::Server(vec![event(true), event(false)]));
    assert!(desk.text().contains("LIVE, PROBES LATE 5s"), "{}", desk.text());
    desk.receive(SourceEvent::Server(vec![event(false), event(true)]));
    assert!(desk.text().contains("LIVE") && !desk.text().contains("PROBES LATE"));
}

#[test]
fn a_server_that_hangs_is_in_the_header_when_its_sign_of_life_is_late() {
    let mut desk = Desk::loaded(SIZE);
    desk.tick(60_000);
    assert!(desk.text().contains("LIVE"), "a source without signs of life is not accused");
    desk.receive(SourceEvent::Heard);
    desk.tick(75_000);
    assert!(desk.text().contains("LIVE"));
    desk.tick(78_000);
    assert!(desk.text().contains("NOTHING HEARD FOR 18 s"), "{}", desk.text());
    // The end of the connection is not news of the server.
    let why = "the server does not answer: is it up?".into();
    desk.receive(SourceEvent::Link(Link::Lost { why, retry_at: desk.state.now }));
    assert!(desk.text().contains("STALE 18 s"), "{}", desk.text());
    desk.receive(SourceEvent::Link(Link::Live));
    desk.receive(SourceEvent::Heard);
    assert!(desk.text().contains("LIVE") && !desk.text().contains("NOTHING"));
}

#[test]
fn what_the_server_holds_back_and_a_read_only_console_are_in_the_header() {
    let mut desk = Desk::loaded(SIZE);
    desk.state.options.read_only = true;
    let event = |part: &str| ServerEvent { at: ago(14), part: part.into(), good: false, message: "held".into() };
    desk.receive(SourceEvent::Server(vec![event("guard"), event("mirror")]));
    let text = desk.text();
    assert!(text.contains("READ-ONLY  LIVE, VERDICTS HELD 14s, MIRROR STALE 14s"), "{text}");
}

#[test]
fn many_probes_end_with_one_summary() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/checkout|cart|cron\n");
    assert_eq!(desk.listed(), ["checkout", "cart", "cron"]);
    assert_eq!(operations(&desk.keys("P")).len(), 3);
    desk.receive(SourceEvent::OperationDone(1, Ok(Done { how: "a: ConnectRefused".into(), showed: Showed::Fault })));
    let nothing = Done { how: "a is not checked".into(), showed: Showed::NoCheck };
    desk.receive(SourceEvent::OperationDone(2, Ok(nothing)));
    assert!(!desk.text().contains("a is not"), "one missing answer is not reported");
    let refusal = Refusal { code: "rate_limited".into(), message: "too many requests; again in 12 s".into() };
    desk.receive(SourceEvent::OperationDone(3, Err(refusal)));
    let text = desk.text();
    let summary = "probed 3: 0 pass, 1 fail (checkout), 1 not checked, 1 refused (too many requests; again in 12 s)";
    assert!(text.contains(summary), "{text}");
    assert_eq!(desk.state.notes.last().map(|note| note.tone), Some(Tone::Bad));
}

#[test]
fn a_probe_that_fails_is_told_as_a_failure() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/name=cart\np");
    desk.receive(SourceEvent::OperationDone(1, Ok(Done { how: "b: 503".into(), showed: Showed::Fault })));
    assert_eq!(desk.state.notes.last().map(|note| note.tone), Some(Tone::Bad));
}

#[test]
fn a_probe_decides_only_from_the_menu() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/name=cart\n");
    assert_eq!(operations(&desk.keys("mdecide\n")), [&Operation::Check(CART)]);
}

#[test]
fn an_unknown_key_is_answered_once() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("zzz");
    assert!(desk.text().contains("this key does nothing here"));
    assert_eq!(desk.state.notes.len(), 1);
}

#[test]
fn a_key_means_the_service_that_was_drawn() {
    let mut desk = Desk::loaded(SIZE);
    let shown = selected_line(&mut desk);
    assert!(shown.contains("down"), "{shown}");
    let drawn = desk.state.screen().drawn.expect("the first row");
    // Another falls and takes the first row, but the screen does not show that yet.
    let down = instance("default", Health::Unhealthy, "Timeout", 0);
    desk.change(service(Uuid::from_u128(20), "infra", "svc-20", vec![down]));
    assert_eq!(operations(&desk.keys("p")), [&Operation::Observe(drawn)]);
}

#[test]
fn an_instance_stays_under_the_cursor_when_others_move() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/name=ledger\n\n");
    assert!(selected_line(&mut desk).contains(" a "));
    let mut ledger = cast().remove(2);
    ledger.instances[2].health = Health::Unhealthy;
    ledger.arrange();
    desk.change(ledger);
    assert!(selected_line(&mut desk).contains(" a "), "c failed and comes first, the cursor stays on a");
}
