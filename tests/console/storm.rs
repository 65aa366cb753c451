//! Any messages in any order and at any size: nothing panics, and there is a frame.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use portolan::console::app::{Msg, settle, update};
use portolan::console::keys::KEYMAP;
use portolan::console::source::{Link, Refusal, SourceEvent};
use portolan::console::view;
use portolan::console::window::Window;
use portolan::model::time::UnixMs;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use uuid::Uuid;

use crate::scene::{CHECKOUT, NOON, TestConsole, availability, cast, events, history, hostile, outages, probing};

fn keys() -> impl Strategy<Value = Msg> {
    let mapped = proptest::sample::select(KEYMAP.iter().flat_map(|b| b.keys).copied().collect::<Vec<_>>())
        // Ctrl-C ends everything.
        .prop_filter("goes on", |(code, with)| (*code, *with) != (KeyCode::Char('c'), KeyModifiers::CONTROL))
        .prop_map(|(code, with)| Msg::Key(KeyEvent::new(code, with)));
    let typed = prop_oneof![
        proptest::char::range(' ', '~').prop_map(KeyCode::Char),
        any::<char>().prop_map(KeyCode::Char),
        Just(KeyCode::Enter),
        Just(KeyCode::Esc),
        Just(KeyCode::Backspace),
        Just(KeyCode::Left),
        Just(KeyCode::Tab),
    ]
    .prop_map(|code| Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    prop_oneof![4 => mapped, 4 => typed, 1 => ".{0,40}".prop_map(Msg::Paste)]
}

fn events_of_the_source() -> impl Strategy<Value = Msg> {
    let id = (1..8_u128).prop_map(Uuid::from_u128);
    let some = (0..40_usize, any::<bool>()).prop_map(|(n, drained)| {
        let mut service = cast().remove(n);
        service.instances.truncate(1 + n % 2);
        if drained {
            service.instances[0].drain = Some(Box::default());
        }
        service.arrange();
        service
    });
    let events = prop_oneof![
        Just(SourceEvent::Link(Link::Live)),
        (0..40_000_i64).prop_map(|n| {
            SourceEvent::Link(Link::Lost { why: hostile().description, retry_at: UnixMs(NOON.0 + n) })
        }),
        Just(SourceEvent::Snapshot(cast())),
        Just(SourceEvent::Snapshot(vec![])),
        (some, id.clone()).prop_map(|(service, gone)| SourceEvent::Changes(vec![service], vec![gone])),
        id.clone().prop_map(|id| SourceEvent::Probing(id, Some(Box::new(probing())))),
        id.clone().prop_map(|id| SourceEvent::Probing(id, None)),
        Just(SourceEvent::NoProbing(hostile().name)),
        id.clone().prop_map(|id| SourceEvent::NoHistory(id, hostile().description)),
        any::<i64>().prop_map(|at| SourceEvent::AsOf(UnixMs(at))),
        (id, 0..3_i64, any::<Option<i64>>()).prop_map(|(id, page, more)| SourceEvent::History(id, history(page), more)),
        Just(SourceEvent::History(CHECKOUT, vec![], None)),
        Just(SourceEvent::Server(events())),
        (0..3_usize).prop_map(|n| SourceEvent::Outages(Window::ALL[n], Ok(outages()))),
        Just(SourceEvent::Outages(Window::Day, Err(hostile().name))),
        any::<bool>().prop_map(|known| {
            let strips = Window::ALL.map(|window| (window, availability(CHECKOUT, None, window)));
            SourceEvent::Strips((CHECKOUT, None), if known { Ok(strips.into()) } else { Err(hostile().name) })
        }),
        Just(SourceEvent::Heard),
        (0..9_u64, any::<bool>()).prop_map(|(number, good)| {
            let refusal = Refusal { code: "x".into(), message: hostile().name };
            SourceEvent::OperationDone(number, if good { Ok("done".into()) } else { Err(refusal) })
        }),
    ];
    events.prop_map(|event| Msg::Source(Box::new(event)))
}

fn messages() -> impl Strategy<Value = Msg> {
    prop_oneof![
        6 => keys(),
        3 => events_of_the_source(),
        1 => (1..=210_u16, 1..=55_u16).prop_map(|(w, h)| Msg::Resize(w, h)),
        1 => (0..=3_u16, 0..=3_u16).prop_map(|(w, h)| Msg::Resize(w, h)),
        1 => (0..600_000_i64).prop_map(|n| Msg::Tick(UnixMs(NOON.0 + n))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn nothing_panics(all in proptest::collection::vec((messages(), (1..=90_u16, 1..=30_u16)), 1..60), ascii: bool) {
        let mut console = TestConsole::waiting((80, 24));
        console.state.options.ascii = ascii;
        for (message, other) in all {
            update(&mut console.state, message);
            settle(&mut console.state);
            // The terminal may already have another size than the console knows.
            for (width, height) in [console.state.size, other] {
                let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a backend");
                terminal.draw(|frame| view::draw(frame, &console.state)).expect("draws");
            }
            prop_assert!(!console.state.screens.is_empty());
        }
    }
}
