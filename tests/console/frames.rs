//! Frames as text, at four sizes, in every state; and how they look.

use std::fmt::Write;

use crossterm::event::KeyCode;
use portolan::console::source::{Abilities, Link, SourceEvent};
use portolan::console::state::{State, ThemeName};
use portolan::console::window::Window;
use portolan::model::time::UnixMs;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use crate::scene::{CHECKOUT, NOON, TestConsole, availability, cast, events, history, lines, options, outages};

const SIZES: [(u16, u16); 4] = [(40, 12), (80, 24), (120, 40), (200, 50)];

/// Holds the frames of a state at every size.
fn hold(name: &str, made: impl Fn((u16, u16)) -> TestConsole) {
    let mut all = String::new();
    for size in SIZES {
        let frame = made(size).frame();
        assert_harmless(&frame);
        writeln!(all, "{}x{}\n{}\n", size.0, size.1, lines(&frame).join("\n")).expect("to a string");
    }
    insta::assert_snapshot!(name, all);
}

/// No cell has a control character, or more than a character with two marks.
fn assert_harmless(frame: &Buffer) {
    for cell in &frame.content {
        let symbol = cell.symbol();
        assert!(!symbol.chars().any(portolan::model::text::is_hostile), "{symbol:?}");
        assert!(symbol.chars().count() <= 3, "{symbol:?}");
    }
}

/// A console with the cast, after some keys.
fn after(keys: &'static str) -> impl Fn((u16, u16)) -> TestConsole {
    move |size| {
        let mut console = TestConsole::loaded(size);
        console.keys(keys);
        console
    }
}

fn lost() -> SourceEvent {
    let why = "the server does not answer; is it running?".into();
    SourceEvent::Link(Link::Lost { why, retry_at: UnixMs(NOON.0 + 17_000) })
}

#[test]
fn loading() {
    hold("loading", TestConsole::waiting);
}

#[test]
fn error() {
    hold("error", |size| {
        let mut console = TestConsole::waiting(size);
        console.receive(lost());
        console.tick(14_000);
        console
    });
}

#[test]
fn empty() {
    hold("empty", |size| {
        let mut console = TestConsole::waiting(size);
        console.receive(SourceEvent::Link(Link::Live));
        console.receive(SourceEvent::Snapshot(vec![]));
        console.tick(0);
        console
    });
}

#[test]
fn normal() {
    hold("normal", |size| {
        let mut console = TestConsole::loaded(size);
        let mut changed = cast().remove(1);
        changed.instances[0].since = Some(UnixMs(NOON.0 + 3000));
        changed.instances[0].health = portolan::model::outcome::Health::Healthy;
        console.tick(3000);
        console.change(changed);
        console.tick(5000);
        console
    });
}

#[test]
fn services_in_a_wide_table() {
    hold("services", after("2wj "));
}

#[test]
fn filtered() {
    hold("filtered", after("/ns=shop status=faulty\n"));
}

#[test]
fn a_filter_with_an_error() {
    hold("filter-error", after("/ns=shop lat>x"));
}

#[test]
fn no_match() {
    hold("no-match", after("/nowhere\n"));
}

#[test]
fn stale() {
    hold("stale", |size| {
        let mut console = TestConsole::loaded(size);
        console.receive(lost());
        console.tick(14_000);
        console
    });
}

/// The sentence that says what helps is read to its end, and the last row is still in sight.
#[test]
fn a_long_message() {
    hold("long-message", |size| {
        let mut console = TestConsole::loaded(size);
        let why = "the token of service.portolan.dev/shop was refused because it expired at 2026-01-01T11:59:00Z: put a new one into the \
            file that PORTOLAN_TOKEN_FILE names, which is read again at every attempt, or log in again";
        console.receive(SourceEvent::Link(Link::Lost { why: why.into(), retry_at: UnixMs(NOON.0 + 17_000) }));
        console.tick(14_000);
        console.keys("G");
        console
    });
}

#[test]
fn changed_lately() {
    hold("changes", |size| {
        let mut console = TestConsole::loaded(size);
        console.receive(SourceEvent::Snapshot(cast()));
        console.tick(0);
        console.receive(SourceEvent::History(CHECKOUT, history(0), None));
        console.keys("C");
        console
    });
}

#[test]
fn outages_of_all_services() {
    hold("outages", |size| {
        let mut console = after("O")(size);
        console.tick(0);
        console.receive(SourceEvent::Outages(Window::Day, Ok(outages())));
        console
    });
}

#[test]
fn availability_in_a_column() {
    hold("availability", |size| {
        let mut console = after(":cols avail\n2")(size);
        console.receive(SourceEvent::Shares(vec![CHECKOUT], Ok(vec![availability(CHECKOUT, None, Window::Day)])));
        console
    });
}

#[test]
fn instances() {
    hold("instances", after("/name=checkout\n\n"));
}

#[test]
fn instance() {
    hold("instance", after("/name=checkout\n\n\n"));
}

#[test]
fn explain() {
    hold("explain", after("/name=checkout\nX"));
}

#[test]
fn the_map() {
    hold("map", after("H"));
}

#[test]
fn the_map_by_namespace() {
    hold("map-by-namespace", after("H\t"));
}

#[test]
fn timeline() {
    hold("timeline", after("/name=checkout\nT"));
}

#[test]
fn raw() {
    hold("raw", after("/reason=evil\ny"));
}

#[test]
fn server_events() {
    hold("events", |size| {
        let mut console = TestConsole::loaded(size);
        console.receive(SourceEvent::Server(events()));
        console.keys("E");
        console
    });
}

#[test]
fn help() {
    hold("help", after("?"));
}

#[test]
fn explained_beside_the_list() {
    hold("pane", after("/ns=shop\ne"));
}

#[test]
fn the_palette() {
    hold("palette", after(":probe"));
}

#[test]
fn a_dialog() {
    hold("confirm", after("/name=checkout\n\nmdereg\ncheck"));
}

#[test]
fn hostile_text_is_shown_harmless_in_every_view() {
    for keys in [
        "/reason=evil\n",
        "/reason=evil\n2w",
        "/reason=evil\n\n",
        "/reason=evil\n\n\n",
        "/reason=evil\nX",
        "/reason=evil\nT",
        "/reason=evil\ny",
        "/reason=evil\nyy",
        "/reason=evil\nm",
        "/reason=evil\nY",
        "/reason=evil\nc",
        "n",
    ] {
        for size in SIZES {
            let mut console = TestConsole::loaded(size);
            console.keys(keys);
            assert_harmless(&console.frame());
        }
    }
}

/// The first cell of the first line that holds `text`.
fn find<'a>(frame: &'a Buffer, text: &str) -> &'a Cell {
    let width = usize::from(frame.area.width);
    for row in frame.content.chunks(width) {
        let symbols: Vec<&str> = row.iter().map(Cell::symbol).collect();
        for at in 0..width {
            if symbols[at..].concat().starts_with(text) {
                return &row[at];
            }
        }
    }
    panic!("{text} is not shown");
}

#[test]
fn a_health_has_glyph_word_and_colour() {
    let frame = TestConsole::loaded((120, 40)).frame();
    // The header's count, since the selected row is reversed.
    let (down, degraded, healthy) = (find(&frame, "✖ down"), find(&frame, "▲ degraded"), find(&frame, "● healthy"));
    assert_eq!((down.fg, down.modifier.contains(Modifier::BOLD)), (Color::Red, true));
    assert_eq!((degraded.fg, healthy.fg), (Color::Yellow, Color::Green));
}

#[test]
fn the_colour_blind_theme_uses_neither_red_nor_green() {
    let mut console = TestConsole::loaded((120, 40));
    console.state.options.theme = ThemeName::ColourBlind;
    let frame = console.frame();
    assert!(frame.content.iter().all(|cell| !matches!(cell.fg, Color::Red | Color::Green)));
    assert_ne!(find(&frame, "✖ down").fg, find(&frame, "● healthy").fg);
}

#[test]
fn the_plain_theme_distinguishes_without_colour() {
    let mut console = TestConsole::loaded((120, 40));
    console.state.options.theme = ThemeName::Plain;
    let frame = console.frame();
    assert!(frame.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    let down = find(&frame, "✖ down");
    assert!(down.modifier.contains(Modifier::BOLD | Modifier::UNDERLINED));
    let text = lines(&frame).join("\n");
    assert!(text.contains("✖ down") && text.contains("▲ degraded") && text.contains("○ unknown"));
}

#[test]
fn stale_data_is_dim() {
    let mut console = TestConsole::loaded((80, 24));
    assert!(!find(&console.frame(), "cart").modifier.contains(Modifier::DIM));
    console.receive(lost());
    let frame = console.frame();
    assert!(find(&frame, "cart").modifier.contains(Modifier::DIM));
    assert_eq!(find(&frame, "STALE").fg, Color::Red);
    assert_ne!(find(&frame, "Portolan").fg, Color::Red, "only the word is");
}

#[test]
fn only_the_selected_row_is_reversed() {
    let mut console = TestConsole::loaded((80, 24));
    console.press(KeyCode::Down);
    let frame = console.frame();
    let reversed = |row: &&[Cell]| row.iter().all(|cell| cell.modifier.contains(Modifier::REVERSED));
    assert_eq!(frame.content.chunks(80).filter(reversed).count(), 1);
}

#[test]
fn ascii_mode_draws_only_ascii() {
    let abilities = Abilities { acts: true, live_probing: true };
    for size in SIZES {
        for keys in ["", "2w", "/name=checkout\nX", "/name=checkout\n\n\n", ":", "?", "T", "O"] {
            let options = portolan::console::state::Options { ascii: true, ..options() };
            let mut console =
                TestConsole::with(State::new("server http://127.0.0.1:8080", abilities, options, size, NOON));
            console.load();
            console.keys(keys);
            console.receive(SourceEvent::Outages(Window::Day, Ok(outages())));
            let frame = console.frame();
            assert!(frame.content.iter().all(|cell| cell.symbol().is_ascii()), "{keys} at {size:?}");
        }
    }
}
