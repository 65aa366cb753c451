//! What can still be read where there is little room: which columns stay, which wording is taken, and that each cut says so.

use crossterm::event::KeyCode;
use portolan::console::data::{ProbingOfInstance, ProbingOfService, Sample};
use portolan::console::outage::OutageList;
use portolan::console::source::SourceEvent;
use portolan::console::state::{Options, State};
use portolan::console::window::Window;
use portolan::model::outcome::{Health, Outcome};
use uuid::Uuid;

use crate::facets::fleet;
use crate::scene::{
    CART, CHECKOUT, TestConsole, ago, availability, cast, history, instance, options, outages, passed, service,
};

const NARROW: (u16, u16) = (80, 24);

/// Certificates and latencies of `cart`.
fn measured(id: Uuid, expires_in: i64) -> SourceEvent {
    let outcome = Outcome { certificate_expires_at: Some(ago(-expires_in)), ..passed(1) };
    let one = ProbingOfInstance {
        instance: "b".into(),
        last: Some(outcome.into()),
        samples: vec![Sample { at: ago(1), total_us: Some(700_000), code: Some(200) }; 20],
        ..ProbingOfInstance::default()
    };
    SourceEvent::Probing(id, Some(Box::new(ProbingOfService { id, instances: vec![one], live: true })))
}

/// Whether a line has the sentence to its end, or ends it in an ellipsis.
fn is_whole_or_cut(text: &str, sentence: &str) -> bool {
    let begins = &sentence[..10];
    let Some(line) = text.lines().find(|line| line.contains(begins)) else { return false };
    line.contains(sentence) || line.contains('…')
}

#[test]
fn the_column_that_rows_are_ordered_by_comes_into_view() {
    for (sort, title, cell) in [("p99", "P99↓", "700 ms"), ("p50", "P50↓", "700 ms"), ("cert", "CERT↓", "in 12 d")]
    {
        for size in [NARROW, (40, 12), (120, 40)] {
            let mut console = TestConsole::loaded(size);
            console.receive(measured(CART, 12 * 86_400 + 60));
            console.keys(&format!(":sort {sort}\n"));
            let text = console.text();
            assert!(text.contains(title) && text.contains(cell), "{sort} at {size:?}\n{text}");
            assert!(!text.contains("sorted by"), "the title says it\n{text}");
        }
    }
    for (sort, title) in [("ready", "READY↓"), ("cert", "CERT↓"), ("since", "SINCE↓"), ("source", "SOURCE↓")] {
        let mut console = TestConsole::loaded(NARROW);
        console.keys(&format!(":sort {sort}\n"));
        assert!(console.text().contains(title), "{}", console.text());
    }
    let mut console = TestConsole::loaded(NARROW);
    console.keys(":sort !version\n");
    assert!(console.text().contains("VERSION↑"), "{}", console.text());
    console.keys("2:sort namespace\n");
    assert!(console.text().contains("NAMESPACE↓"), "{}", console.text());
}

#[test]
fn an_order_without_a_column_stands_in_the_header() {
    // An expired certificate takes more than forty columns have beside status and name.
    let mut console = TestConsole::loaded((40, 12));
    console.receive(measured(CART, -86_400));
    console.keys(":sort cert\n");
    assert!(console.text().contains("sorted by cert ↓"), "{}", console.text());
    // A list of one namespace has no column of it.
    let mut console = TestConsole::loaded((120, 40));
    console.keys(":ns shop\n:sort namespace\nI");
    assert!(console.text().contains("sorted by namespace ↑"), "{}", console.text());
    console.keys(":sort status\n");
    assert!(!console.text().contains("sorted by"), "{}", console.text());
}

#[test]
fn a_moment_of_today_takes_no_more_than_its_columns() {
    let mut console = TestConsole::loaded(NARROW);
    let name = "inventory-of-the-warehouse";
    let down = |seconds| instance("default", Health::Unhealthy, "ConnectRefused", seconds);
    let well = service(Uuid::from_u128(77), "shop", name, vec![instance("default", Health::Healthy, "Passed", 90)]);
    console.change(well);
    console.change(service(Uuid::from_u128(77), "shop", name, vec![down(5)]));
    console.keys("C");
    let text = console.text();
    let row = text.lines().find(|line| line.contains("shop/inventory")).expect("its row");
    assert!(row.contains("11:59:55Z") && row.contains(&format!("shop/{name} ")), "{text}");
    let mut console = TestConsole::loaded(NARROW);
    console.receive(SourceEvent::History(CHECKOUT, history(0), None));
    console.keys("/name=checkout\nT");
    let text = console.text();
    assert!(text.contains("3 failures in a row"), "{text}");
}

#[test]
fn what_is_cut_ends_in_an_ellipsis() {
    let mut console = TestConsole::loaded((40, 12));
    console.keys("/sts=down");
    assert!(is_whole_or_cut(
        &console.text(),
        "no field is called sts: try status or since or source; for a label, -l sts=down"
    ));
    console.press(KeyCode::Esc);
    // The menu's reasons, the id to copy.
    for read_only in [false, true] {
        let abilities = console.state.abilities;
        let mut console =
            TestConsole::with(State::new("server", abilities, Options { read_only, ..options() }, NARROW, ago(0)));
        console.load();
        console.keys("/name=checkout\n\nm");
        let text = console.text();
        let helps: &[&str] =
            if read_only { &["started with --read-only"] } else { &["asks for a note first", "asks why first"] };
        assert!(helps.iter().all(|help| text.contains(help)), "{text}");
    }
    let mut console = TestConsole::loaded(NARROW);
    console.keys("/name=checkout\nY");
    assert!(console.text().contains(&CHECKOUT.to_string()), "{}", console.text());
    let mut console = TestConsole::loaded(NARROW);
    console.keys("/name=ledger\n\nm");
    assert!(is_whole_or_cut(
        &console.text(),
        "it comes from a manifest: kubectl edit services.portolan.dev ledger -n pay"
    ));
    // What is typed is read at its end, where the cursor is.
    let mut console = TestConsole::loaded(NARROW);
    console.keys("/name=checkout\nathe disk of this machine is full, a new one is ordered and comes on Tuesday");
    assert!(console.text().contains("> …") && console.text().contains("comes on Tuesday"), "{}", console.text());
    // The strips' legend and the tabs.
    let mut console = TestConsole::loaded((40, 24));
    console.keys("v");
    assert!(
        console.text().lines().any(|line| line.starts_with("Tab  namespace") && line.ends_with('…')),
        "{}",
        console.text()
    );
    console.keys("q/name=checkout\nT");
    assert!(
        console.text().lines().any(|line| line.contains("▄ degraded") && line.ends_with('…')),
        "{}",
        console.text()
    );
}

#[test]
fn an_address_outlives_the_words_around_it() {
    for (size, words) in [((200, 50), "a: nothing listens on 10.0.0.5:801"), (NARROW, "a: 10.0.0.5:801 refused")] {
        let mut console = TestConsole::loaded(size);
        let text = console.text();
        let row = text.lines().find(|line| line.contains("✖ down     checkout")).expect("its row");
        assert!(row.contains(words), "{size:?}: {row}");
    }
    let mut console = TestConsole::loaded(NARROW);
    console.keys("/name=checkout\n\n");
    assert!(
        console.text().contains("10.0.0.5:801 refus") || console.text().contains(":801 refused"),
        "{}",
        console.text()
    );
    let mut long = cast().remove(0);
    for instance in &mut long.instances {
        instance.base_url = "http://checkout.shop.svc.cluster.example:8081".into();
    }
    let mut console = TestConsole::waiting(NARROW);
    console.receive(SourceEvent::Snapshot(vec![long]));
    assert!(console.text().contains("a: :8081 refused"), "{}", console.text());
}

#[test]
fn a_pivot_on_eighty_columns_leaves_no_service_out() {
    let mut console = TestConsole::loaded(NARROW);
    console.receive(SourceEvent::Snapshot(cast().into_iter().chain(fleet()).collect()));
    console.keys("v");
    let text = console.text();
    assert!(
        ["DOWN", "DEGRADED", "HEALTHY", "OTHER", "SINCE", "REASON"].iter().all(|title| text.contains(title)),
        "{text}"
    );
}

#[test]
fn an_outage_that_a_stopped_server_cuts_short_says_at_least() {
    let mut list = outages();
    // Ten of the 45 s were proved.
    list.outages[1].seconds = 10.0;
    for size in [NARROW, (120, 40)] {
        let mut console = TestConsole::loaded(size);
        console.keys("O");
        console.tick(0);
        console
            .receive(SourceEvent::Outages(Window::Day, Ok(OutageList { outages: list.outages.clone(), ..outages() })));
        let text = console.text();
        assert!(text.contains("≥10s") && text.contains("≥ the server's downtime is left out"), "{text}");
        console.receive(SourceEvent::Outages(Window::Day, Ok(outages())));
        assert!(!console.text().contains('≥'), "{}", console.text());
    }
    let mut console = TestConsole::loaded(NARROW);
    console.keys("/name=checkout\nT");
    let text = console.text();
    assert!(text.contains("left out: ╌ drained · no record ? no server or proof"), "{text}");
}

#[test]
fn a_percentage_reads_the_same_in_every_view() {
    let mut console = TestConsole::loaded((120, 40));
    console.keys(":cols avail\n");
    console.tick(250);
    let mut known = availability(CHECKOUT, None, Window::Day);
    known.percent = Some(99.9871);
    console.receive(SourceEvent::Shares(vec![CHECKOUT], Ok(vec![known.clone()])));
    assert!(console.text().contains(" 99.9871% "), "{}", console.text());
    console.receive(SourceEvent::Strips((CHECKOUT, None), Ok(vec![(Window::Day, known)])));
    console.keys("/name=checkout\nT");
    assert!(console.text().contains(" 99.9871% "), "{}", console.text());
}
