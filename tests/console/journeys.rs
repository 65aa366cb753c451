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

use crate::scene::{
    CART, CHECKOUT, CRON, LEDGER, NOON, TestConsole, ago, cast, history, instance, options, passed, service,
};

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
fn selected_line(console: &mut TestConsole) -> String {
    let frame = console.frame();
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
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/ns=shop");
    assert_eq!(console.listed(), ["checkout", "cart"]);
    assert!(console.text().contains("2 match"));
    console.keys(" lat>");
    assert!(console.text().contains("lat needs a value"), "{}", console.text());
    assert_eq!(console.listed(), ["checkout", "cart"], "the words before it count");
    console.press(KeyCode::Enter);
    assert!(console.state.modal.is_some(), "it stays open with its error");
    for _ in 0..5 {
        console.press(KeyCode::Backspace);
    }
    console.press(KeyCode::Enter);
    assert!(console.state.modal.is_none());
    assert!(console.text().contains("/ns=shop") && console.text().contains("2 of 40"));
    console.keys("/x");
    console.press(KeyCode::Esc);
    assert_eq!(&*console.state.filter, "ns=shop", "Esc restores the filter");
    console.press(KeyCode::Esc);
    assert_eq!(console.listed().len(), 40, "Esc outside clears it");
}

#[test]
fn a_filter_by_time_follows_the_clock() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/since<5m name=checkout\n");
    assert_eq!(console.listed(), ["checkout"]);
    console.tick(120_000);
    assert!(console.listed().is_empty(), "it is older than 5 minutes by now");
}

#[test]
fn the_selection_stays_on_its_service_when_rows_move() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("j");
    let chosen = selected_line(&mut console);
    let Selection::Service(id) = console.state.screen().selection else { panic!("a service is selected") };
    // Two others go down, and are listed above it from now on.
    for n in [20, 21] {
        let name = format!("svc-{n}");
        let down = instance("default", Health::Unhealthy, "Timeout", 0);
        console.change(service(Uuid::from_u128(n), "infra", &name, vec![down]));
    }
    assert_eq!(console.listed()[..2], ["svc-20", "svc-21"]);
    assert_eq!(console.state.screen().selection, Selection::Service(id));
    assert_eq!(selected_line(&mut console), chosen);
    // It is removed: its neighbour is selected.
    let place = console.listed().iter().position(|name| chosen.contains(name.as_str())).expect("listed");
    let next = console.listed()[place + 1].clone();
    console.receive(SourceEvent::Changes(vec![], vec![id]));
    assert!(selected_line(&mut console).contains(&next));
}

#[test]
fn the_first_selection_is_the_worst_and_opens_what_is_shown() {
    let mut console = TestConsole::loaded(SIZE);
    let shown = selected_line(&mut console);
    let first = console.listed()[0].clone();
    assert!(shown.contains("down"), "{shown}");
    console.press(KeyCode::Enter);
    let View::Instances(id) = console.state.screen().view else { panic!("the instances are shown") };
    assert_eq!(&*console.state.index.get(&id).expect("known").name, first);
}

#[test]
fn drilling_in_and_out() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=checkout\n\n");
    assert!(console.text().contains("shop/checkout instances"));
    console.keys("j\n");
    assert_eq!(console.state.screen().view, View::Instance(CHECKOUT, "b".into()));
    console.keys("\n");
    assert_eq!(console.state.screen().view, View::Explain(CHECKOUT, "b".into()));
    assert!(console.text().contains("2 of 3 passes"), "{}", console.text());
    console.keys("T");
    assert!(console.text().contains("checkout timeline"));
    console.keys("yy");
    assert!(
        console.text().contains("checkout json") && console.text().contains("\"base_url\": \"http://10.0.0.5:801\"")
    );
    console.keys("qqqqq");
    assert_eq!(console.state.screen().view, View::Overview);
    assert!(!console.state.quit);
    console.keys("qq");
    assert!(console.text().contains("Quit? Enter or y quits"), "{}", console.text());
    assert!(!console.state.quit, "never by accident");
    console.press(KeyCode::Esc);
    console.keys("qy");
    assert!(console.state.quit);
}

#[test]
fn marks_mean_services_and_limit_what_is_probed() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/ns=infra\n");
    console.keys("g ");
    let first = console.state.marks.iter().next().copied().expect("marked");
    console.keys("jj");
    console.ctrl(' ');
    assert_eq!(console.state.marks.len(), 4, "from the first mark to here");
    assert!(console.text().contains("4 marked"));
    let effects = console.keys("P");
    assert_eq!(operations(&effects).len(), 4);
    assert!(operations(&effects).contains(&&Operation::Observe(first)));
    console.ctrl('\\');
    assert!(console.state.marks.is_empty());
    console.press(KeyCode::Esc);
    assert!(operations(&console.keys("P")).is_empty(), "forty need a confirmation");
    assert!(console.text().contains("Probe 40 services now?"));
    assert_eq!(operations(&console.keys("y")).len(), 40);
}

#[test]
fn the_palette_finds_a_command() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=checkout\n");
    console.keys(":past changes");
    assert!(console.text().contains("its past changes of health"));
    console.keys("\n");
    assert_eq!(console.state.screen().view, View::Timeline(CHECKOUT));
    console.keys(":zzzzzz");
    assert!(console.text().contains("no match"));
    console.press(KeyCode::Enter);
    console.press(KeyCode::Esc);
    assert!(console.state.modal.is_none());
}

#[test]
fn a_namespace_is_chosen_by_typing() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("nshop\n");
    assert_eq!(console.listed(), ["checkout", "cart"]);
    assert!(console.text().contains("namespace shop"));
    console.keys("0");
    assert_eq!(console.listed().len(), 40);
}

#[test]
fn sorting_and_inverting() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("sname\n");
    let up = console.listed();
    assert!(up.is_sorted(), "{up:?}");
    console.keys("I");
    let down = console.listed();
    assert!(down.iter().rev().is_sorted(), "{down:?}");
    console.keys("Isworst\n");
    assert_eq!(console.listed().last().map(String::as_str), Some("ledger"));
    console.ctrl('z');
    assert_eq!(console.listed().len(), 3);
    update(&mut console.state, Msg::Key(KeyEvent::new(KeyCode::Right, KeyModifiers::SHIFT)));
    assert!(console.text().contains("NAME↓"));
}

#[test]
fn a_sort_by_instances_puts_most_first() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("sinst\n");
    assert_eq!(console.listed()[..3], ["ledger", "cart", "checkout"]);
}

#[test]
fn a_frozen_screen_stands_still() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("f");
    let before = console.listed();
    console.change(service(CRON, "infra", "cron", vec![instance("default", Health::Unhealthy, "Timeout", 0)]));
    console.tick(3000);
    assert_eq!(console.listed(), before);
    assert!(console.text().contains("FROZEN 3.0 s, f thaws"));
    assert!(console.tick(3250).is_empty(), "nothing is requested meanwhile");
    console.keys("f");
    assert_eq!(console.listed()[0], "cron");
}

#[test]
fn a_dialog_acts_on_what_it_showed_when_it_opened() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=checkout\n\nmdereg\n");
    assert!(
        console.text().contains("To deregister instance a of shop/checkout, type checkout/a"),
        "{}",
        console.text()
    );
    console.keys("ledger\n");
    assert!(console.text().contains("type checkout/a to go on"));
    // Meanwhile the instance registers again.
    let mut again = cast().remove(0);
    again.instances[0].generation = 9;
    console.change(again);
    for _ in 0..6 {
        console.press(KeyCode::Backspace);
    }
    let effects = console.keys("checkout/a\n");
    console.tick(7000);
    let wanted = Operation::Deregister { service: CHECKOUT, instance: "a".into(), generation: 3 };
    assert_eq!(operations(&effects), [&wanted]);
    assert!(console.text().contains("waiting for an answer"));
    let refusal = Refusal { code: "stale".into(), message: "it registered again meanwhile".into() };
    console.receive(SourceEvent::OperationDone(1, Err(refusal)));
    assert!(console.text().contains("deregister checkout/a: it registered again meanwhile"));
    console.tick(14_000);
    assert!(!console.text().contains("meanwhile"), "a message goes away");
}

#[test]
fn a_refusal_says_why_beside_the_choice() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=ledger\n\nmdrain");
    assert!(console.text().contains("it comes from a manifest"), "{}", console.text());
    assert!(console.keys("\n").is_empty());
    assert!(console.text().contains("kubectl edit services.portolan.dev ledger -n pay"));

    let mut console = TestConsole::loaded(SIZE);
    console.state.options.read_only = true;
    console.keys("/name=cart\n\nmdrain\n");
    assert!(console.text().contains("--read-only"));
    assert!(operations(&console.keys("mdecide\n")).is_empty(), "a verdict is a change");
    assert_eq!(operations(&console.keys("p")), [&Operation::Observe(CART)], "a probe changes nothing");

    let abilities = Abilities { acts: false, live_probing: false };
    let mut console = TestConsole::with(State::new("file /p.db", abilities, options(), SIZE, NOON));
    console.load();
    assert!(operations(&console.keys("p")).is_empty());
    assert!(console.text().contains("this is a file, which can only be viewed; use --server"));
    assert!(console.text().contains("FILE, probes up to 2 s old"));
}

#[test]
fn a_probe_shows_its_result() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=cart\n");
    assert_eq!(operations(&console.keys("p")), [&Operation::Observe(CART)]);
    console.receive(SourceEvent::OperationDone(1, Ok("1 of 2 healthy".into())));
    assert!(console.text().contains("probe cart: 1 of 2 healthy"));
}

#[test]
fn a_timeline_is_read_page_by_page() {
    let mut console = TestConsole::loaded((80, 12));
    console.keys("/name=cart\n");
    console.receive(SourceEvent::History(CART, history(0), Some(989)));
    console.keys("T");
    let effects = console.keys("G");
    assert_eq!(requests(&effects), [&Request::History(CART, Some(989))]);
    assert!(requests(&console.keys("G")).is_empty(), "requested once");
    console.receive(SourceEvent::History(CART, history(1), None));
    assert_eq!(console.state.history[&CART].entries.len(), 24);
    let Selection::Entry(chosen) = console.state.screen().selection else { panic!("an entry is selected") };
    // A new entry comes in front: the selection stays.
    let mut newest = history(0);
    newest[0].id = 1001;
    newest.truncate(3);
    newest.extend(history(0).into_iter().take(2));
    newest.sort_by_key(|past| std::cmp::Reverse(past.id));
    console.receive(SourceEvent::History(CART, newest, Some(1)));
    assert_eq!(console.state.history[&CART].entries.len(), 25);
    assert_eq!(console.state.history[&CART].more, None, "the end stays the end");
    console.text();
    assert_eq!(console.state.screen().selection, Selection::Entry(chosen));
}

#[test]
fn a_lost_source_is_stale_and_catches_up() {
    let mut console = TestConsole::loaded(SIZE);
    let lost = |at| Link::Lost { why: "the server does not answer: is it up?".into(), retry_at: at };
    console.receive(SourceEvent::Link(lost(UnixMs(NOON.0 + 17_000))));
    console.tick(14_000);
    let text = console.text();
    assert!(text.contains("STALE 14 s, retry in 3 s") && text.contains("is it up?"), "{text}");
    assert_eq!(console.listed().len(), 40, "what was known is still shown");
    let effects = console.ctrl('r');
    assert_eq!(requests(&effects)[0], &Request::Retry);
    assert!(effects.contains(&Effect::Repaint), "a repaint repaints");
    console.receive(SourceEvent::Snapshot(cast()));
    console.receive(SourceEvent::Link(Link::Live));
    assert!(console.text().contains("LIVE") && !console.text().contains("STALE"));
    assert!(!requests(&console.tick(14_250)).is_empty(), "visible data is requested again");
}

#[test]
fn only_visible_data_is_requested() {
    let mut console = TestConsole::loaded((80, 24));
    let effects = console.tick(6000);
    let [Request::Probing(ids)] = requests(&effects)[..] else { panic!("one request: {effects:?}") };
    assert_eq!(ids.len(), portolan::console::layout::list_height(&console.state));
    assert!(requests(&console.tick(6250)).is_empty(), "not twice while the answer is under way");
    for id in ids.clone() {
        console.receive(SourceEvent::Probing(id, Some(Box::default())));
    }
    assert!(requests(&console.tick(6500)).is_empty());
    assert_eq!(requests(&console.tick(20_000)).len(), 1, "and again when it is old");
}

#[test]
fn copying_takes_the_name_or_a_cell() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=checkout\n");
    assert_eq!(console.keys("c"), [Effect::Copy("checkout".into())]);
    let effects = console.keys("Ya base\n");
    assert_eq!(effects, [Effect::Copy("http://10.0.0.5:801".into())]);
    console.keys("/\n");
    let hostile = "na]0;titleme";
    console.press(KeyCode::Esc);
    console.keys("/reason=evil\n");
    assert_eq!(console.keys("c"), [Effect::Copy(hostile.into())], "no control characters");
}

#[test]
fn the_raw_view_shows_the_newest_probe() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=checkout\ny");
    let shown = passed(1).at.to_string();
    assert!(console.text().contains(&shown), "{}", console.text());
    assert_ne!(passed(1).at, ago(2));
}

#[test]
fn a_service_that_goes_away_says_so() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=ledger\n\n");
    console.receive(SourceEvent::Changes(vec![], vec![LEDGER]));
    assert!(console.text().contains("it was deregistered"));
    console.keys("\np");
    console.press(KeyCode::Esc);
    assert_eq!(console.state.screen().view, View::Overview);
}

#[test]
fn a_prober_that_cannot_keep_up_is_in_the_header_until_it_can() {
    let mut console = TestConsole::loaded(SIZE);
    console.receive(SourceEvent::Link(Link::Live));
    let event = |good| ServerEvent { at: ago(5), part: "prober".into(), good, message: "a message".into() };
    assert!(!console.text().contains("PROBES LATE"));
    console.receive(SourceEvent::Server(vec![event(true), event(false)]));
    assert!(console.text().contains("LIVE, PROBES LATE 5s"), "{}", console.text());
    console.receive(SourceEvent::Server(vec![event(false), event(true)]));
    assert!(console.text().contains("LIVE") && !console.text().contains("PROBES LATE"));
}

#[test]
fn a_server_that_hangs_is_in_the_header_when_its_sign_of_life_is_late() {
    let mut console = TestConsole::loaded(SIZE);
    console.tick(60_000);
    assert!(console.text().contains("LIVE"), "a source without signs of life is not accused");
    console.receive(SourceEvent::Heard);
    console.tick(75_000);
    assert!(console.text().contains("LIVE"));
    console.tick(78_000);
    assert!(console.text().contains("NOTHING HEARD FOR 18 s"), "{}", console.text());
    // The end of the connection is not news of the server.
    let why = "the server does not answer: is it up?".into();
    console.receive(SourceEvent::Link(Link::Lost { why, retry_at: console.state.now }));
    assert!(console.text().contains("STALE 18 s"), "{}", console.text());
    console.receive(SourceEvent::Link(Link::Live));
    console.receive(SourceEvent::Heard);
    assert!(console.text().contains("LIVE") && !console.text().contains("NOTHING"));
}

#[test]
fn what_the_server_holds_back_and_a_read_only_console_are_in_the_header() {
    let mut console = TestConsole::loaded(SIZE);
    console.state.options.read_only = true;
    let event = |part: &str| ServerEvent { at: ago(14), part: part.into(), good: false, message: "held".into() };
    console.receive(SourceEvent::Server(vec![event("guard"), event("mirror")]));
    let text = console.text();
    assert!(text.contains("READ-ONLY  LIVE, VERDICTS HELD 14s, MIRROR STALE 14s"), "{text}");
}

#[test]
fn many_probes_end_with_one_summary() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/checkout|cart|cron\n");
    assert_eq!(console.listed(), ["checkout", "cart", "cron"]);
    assert_eq!(operations(&console.keys("P")).len(), 3);
    console.receive(SourceEvent::OperationDone(1, Ok(Done { how: "a: ConnectRefused".into(), showed: Showed::Fault })));
    let nothing = Done { how: "a is not checked".into(), showed: Showed::NoCheck };
    console.receive(SourceEvent::OperationDone(2, Ok(nothing)));
    assert!(!console.text().contains("a is not"), "one missing answer is not reported");
    let refusal = Refusal { code: "rate_limited".into(), message: "too many requests; again in 12 s".into() };
    console.receive(SourceEvent::OperationDone(3, Err(refusal)));
    let text = console.text();
    let summary = "probed 3: 0 pass, 1 fail (checkout), 1 not checked, 1 refused (too many requests; again in 12 s)";
    assert!(text.contains(summary), "{text}");
    assert_eq!(console.state.notes.last().map(|note| note.tone), Some(Tone::Bad));
}

#[test]
fn a_probe_that_fails_is_told_as_a_failure() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=cart\np");
    console.receive(SourceEvent::OperationDone(1, Ok(Done { how: "b: 503".into(), showed: Showed::Fault })));
    assert_eq!(console.state.notes.last().map(|note| note.tone), Some(Tone::Bad));
}

#[test]
fn a_probe_decides_only_from_the_menu() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=cart\n");
    assert_eq!(operations(&console.keys("mdecide\n")), [&Operation::Check(CART)]);
}

#[test]
fn an_unknown_key_is_answered_once() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("zzz");
    assert!(console.text().contains("this key does nothing here"));
    assert_eq!(console.state.notes.len(), 1);
}

#[test]
fn a_key_means_the_service_that_was_drawn() {
    let mut console = TestConsole::loaded(SIZE);
    let shown = selected_line(&mut console);
    assert!(shown.contains("down"), "{shown}");
    let drawn = console.state.screen().drawn.expect("the first row");
    // Another falls and takes the first row, but the screen does not show that yet.
    let down = instance("default", Health::Unhealthy, "Timeout", 0);
    console.change(service(Uuid::from_u128(20), "infra", "svc-20", vec![down]));
    assert_eq!(operations(&console.keys("p")), [&Operation::Observe(drawn)]);
}

#[test]
fn an_instance_stays_under_the_cursor_when_others_move() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=ledger\n\n");
    assert!(selected_line(&mut console).contains(" a "));
    let mut ledger = cast().remove(2);
    ledger.instances[2].health = Health::Unhealthy;
    ledger.arrange();
    console.change(ledger);
    assert!(selected_line(&mut console).contains(" a "), "c failed and comes first, the cursor stays on a");
}
