//! What is seen at a glance: certificates, slow services, the bell, the map, and links.

use std::time::{Duration, Instant};

use crossterm::event::KeyCode;
use portolan::console::app::Effect;
use portolan::console::config;
use portolan::console::data::{ProbingOfInstance, ProbingOfService, Sample, Service};
use portolan::console::source::{Request, SourceEvent};
use portolan::console::state::screen::View;
use portolan::console::state::{Options, State};
use portolan::console::view::links::links;
use portolan::model::outcome::{Health, Outcome};
use uuid::Uuid;

use crate::scene::{CART, CHECKOUT, CRON, LEDGER, NOON, TestConsole, ago, cast, instance, options, passed, service};

const SIZE: (u16, u16) = (120, 40);
const DAY: i64 = 86_400;

/// What probes of a service found: a certificate that expires in so many seconds, and that every probe took so long.
fn found(id: Uuid, expires_in: i64, took_ms: u32) -> SourceEvent {
    let outcome = Outcome { certificate_expires_at: Some(ago(-expires_in)), ..passed(1) };
    let sample = Sample { at: ago(1), total_us: Some(took_ms * 1000), code: Some(200) };
    let one = ProbingOfInstance {
        instance: "a".into(),
        last: Some(outcome.into()),
        samples: vec![sample; 20],
        ..ProbingOfInstance::default()
    };
    SourceEvent::Probing(id, Some(Box::new(ProbingOfService { id, instances: vec![one], live: true })))
}

/// A console of a user with this file.
fn console_of(file: &str) -> TestConsole {
    let custom = config::parse(file).expect("a file").custom;
    let abilities = TestConsole::waiting(SIZE).state.abilities;
    let mut console = TestConsole::with(State::new("server", abilities, Options { custom, ..options() }, SIZE, NOON));
    console.load();
    console
}

#[test]
fn certificates_are_shown_sorted_and_filtered_by_the_time_that_is_left() {
    let mut console = TestConsole::loaded(SIZE);
    console.receive(found(CART, 12 * DAY + 60, 1));
    console.receive(found(LEDGER, -DAY, 1));
    console.receive(found(CHECKOUT, 90 * DAY, 1));
    assert!(!console.text().contains("CERT"), "not where nobody asks");
    console.keys("/cert<14d\n");
    assert_eq!(console.listed(), ["cart", "ledger"]);
    let text = console.text();
    assert!(text.contains("CERT") && text.contains("in 12 d") && text.contains("expired 2025-12-31"), "{text}");
    console.press(KeyCode::Esc);
    console.keys(":sort cert\n");
    assert_eq!(console.listed()[..3], ["ledger", "cart", "checkout"]);
    let asked = |effects: &[Effect]| {
        effects.iter().any(|of| matches!(of, Effect::Request(Request::Probing(ids)) if ids.len() == 40))
    };
    assert!(asked(&console.tick(9000)), "those out of sight are asked for too");
    console.keys("/name=cart\n\nG\n");
    assert!(console.text().contains("expires in 12 d, on 2026-01-13"), "{}", console.text());
    // It is renewed.
    console.press(KeyCode::Esc);
    console.press(KeyCode::Esc);
    console.press(KeyCode::Esc);
    console.receive(found(CART, 100 * DAY, 1));
    console.keys("/cert<14d\n");
    assert_eq!(console.listed(), ["ledger"]);
    console.tick(9250);
}

#[test]
fn a_slow_service_comes_after_the_degraded_ones() {
    let mut console = console_of("slow = \"500ms\"");
    let before = console.listed();
    console.receive(found(LEDGER, DAY, 400));
    assert_eq!(console.listed(), before);
    console.receive(found(LEDGER, DAY, 700));
    assert_eq!(console.listed()[2..4], ["cart", "ledger"]);
    assert!(console.text().contains("◔ slow     ledger"), "{}", console.text());
    assert!(console.text().contains("● healthy 36"), "it is healthy all the same");
    console.keys("/status=slow\n");
    assert_eq!(console.listed(), ["ledger"]);
    console.receive(found(LEDGER, DAY, 20));
    assert!(console.listed().is_empty());
    let asked = |console: &mut TestConsole| -> Vec<usize> {
        let effects = (1..=20).flat_map(|n| console.tick(n * 250)).collect::<Vec<_>>();
        let many = |of: &Effect| if let Effect::Request(Request::Probing(ids)) = of { Some(ids.len()) } else { None };
        effects.iter().filter_map(many).collect()
    };
    let mut large = console_of("slow = \"500ms\"");
    large.receive(SourceEvent::Snapshot(many()));
    large.keys("E");
    let asked = asked(&mut large);
    assert!(asked.len() >= 4 && asked.iter().all(|many| *many <= 34), "all within five minutes, no more: {asked:?}");
    let mut usual = TestConsole::loaded(SIZE);
    usual.receive(found(LEDGER, DAY, 700));
    assert!(!usual.text().contains("slow"), "only where a file says what is slow");
}

#[test]
fn a_service_that_goes_down_rings_once_and_stands_in_the_title() {
    let down = |console: &mut TestConsole| {
        let falls = |id, name| service(id, "infra", name, vec![instance("default", Health::Unhealthy, "Timeout", 0)]);
        console.receive(SourceEvent::Changes(vec![falls(LEDGER, "ledger"), falls(CRON, "cron")], vec![]));
    };
    let mut console = console_of("bell = true\ntitle = true");
    assert!(!console.tick(250).contains(&Effect::Bell), "what was down at the start is not new");
    down(&mut console);
    let effects = console.tick(500);
    assert_eq!(effects.iter().filter(|effect| **effect == Effect::Bell).count(), 1, "{effects:?}");
    assert!(effects.contains(&Effect::Title("Portolan: 4 down".into())), "{effects:?}");
    let after = console.tick(750);
    assert!(!after.iter().any(|effect| matches!(effect, Effect::Bell | Effect::Title(_))), "{after:?}");
    let mut usual = TestConsole::loaded(SIZE);
    down(&mut usual);
    assert!(!usual.tick(500).iter().any(|effect| matches!(effect, Effect::Bell | Effect::Title(_))));
}

/// Ten thousand services of forty namespaces: every 97th is down, every 89th degraded.
fn many() -> Vec<Service> {
    let one = |n: u128| {
        let well = || instance("a", Health::Healthy, "Passed", 7200);
        let ill = || instance("b", Health::Unhealthy, "Timeout", 60);
        let instances = match n {
            _ if n.is_multiple_of(97) => vec![ill()],
            _ if n.is_multiple_of(89) => vec![well(), ill()],
            _ => vec![well()],
        };
        service(Uuid::from_u128(1000 + n), &format!("team-{:02}", n % 40), &format!("svc-{n:05}"), instances)
    };
    (0..10_000).map(one).collect()
}

#[test]
fn the_map_shows_ten_thousand_services_on_one_screen() {
    let mut console = TestConsole::loaded((200, 50));
    console.receive(SourceEvent::Snapshot(many()));
    console.tick(250);
    console.keys("H");
    let began = Instant::now();
    let text = console.text();
    assert!(began.elapsed() < Duration::from_secs(2), "a frame takes {:?}", began.elapsed());
    let cells = |glyph: char| {
        text.lines().skip(2).filter(|line| line.len() > 100).map(|l| l.matches(glyph).count()).sum::<usize>()
    };
    assert_eq!((cells('✖'), cells('▲')), (104, 111), "each fault has a cell of its own\n{text}");
    assert!(console.state.heat.rows.len() <= 45 && console.state.heat.most == 2, "{}", console.state.heat.rows.len());
    let stands_for: usize = console.state.heat.rows.iter().flat_map(|row| &row.cells).map(|cell| cell.count).sum();
    assert_eq!(stands_for, 10_000);
    assert!(text.contains("up to 2 in a cell"), "{text}");
}

#[test]
fn the_cursor_goes_over_the_map_and_opens_what_it_names() {
    let mut console = TestConsole::loaded((40, 12));
    console.keys("H");
    assert!(console.text().contains("✖ down  pay"), "the first, whose name is below: {}", console.text());
    console.press(KeyCode::Right);
    assert!(console.text().contains("shop/checkout since 4m00s"), "{}", console.text());
    console.press(KeyCode::Left);
    console.press(KeyCode::Left);
    console.press(KeyCode::Right);
    console.press(KeyCode::Enter);
    assert_eq!(console.state.screen().view, View::Instances(CHECKOUT));
    console.press(KeyCode::Esc);
    assert!(console.text().contains("shop/checkout"), "back on the same cell");
    console.press(KeyCode::Tab);
    let text = console.text();
    assert!(text.contains("map by namespace") && text.contains("infra"), "{text}");
    assert!(text.contains("shop/checkout"), "the cursor stays on its service: {text}");
    console.press(KeyCode::Up);
    assert!(!console.text().contains("shop/checkout since"), "{}", console.text());
    console.keys("/name=cart");
    assert!(console.text().contains("1 match"), "{}", console.text());
}

#[test]
fn labels_that_are_urls_are_links_and_nothing_else_is() {
    let runbook = "https://wiki.example/runbooks/cart?step=1";
    let mut cart = cast().remove(1);
    let labels = [
        ("dashboard", "http://grafana.example/d/1"),
        ("evil", "https://a\u{1b}]8;;x"),
        ("js", "javascript:alert(1)"),
        ("runbook", runbook),
    ];
    cart.metadata = labels.into_iter().collect();
    for instance in &mut cart.instances {
        instance.metadata = cart.metadata.clone();
    }
    let mut console = TestConsole::loaded(SIZE);
    console.change(cart);
    console.keys("/name=cart\n\n\n");
    let frame = console.frame();
    let found = links(&console.state, &frame);
    let urls: Vec<&str> = found.iter().map(|link| &*link.url).collect();
    assert_eq!(urls, [labels[0].1, runbook]);
    for link in &found {
        let row = usize::from(link.y) * usize::from(SIZE.0);
        let cells = &frame.content[row + usize::from(link.from)..row + usize::from(link.to)];
        let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        assert_eq!(text, *link.url, "the cells are the URL");
    }
    // In a column it is cut, and still leads to the whole.
    console.state.size = (200, 50);
    console.keys("1:cols runbook\n");
    let frame = console.frame();
    let found = links(&console.state, &frame);
    assert_eq!(found.len(), 1, "{found:?}\n{}", console.text());
    assert_eq!((&*found[0].url, usize::from(found[0].to - found[0].from) < runbook.len()), (runbook, true));
    assert!(links(&TestConsole::loaded(SIZE).state, &frame).is_empty());
}

#[test]
fn a_url_leads_only_to_itself() {
    let mut all = cast();
    let (mut cart, checkout) = (all.remove(1), all.remove(0));
    let evil = "https://pay.example.evil.test/";
    for instance in &mut cart.instances {
        instance.base_url = "https://pay.example".into();
        instance.metadata = [("home", evil)].into_iter().collect();
    }
    let mut console = TestConsole::loaded(SIZE);
    console.change(cart.clone());
    console.keys("/name=cart\n\n\n");
    let frame = console.frame();
    let found = links(&console.state, &frame);
    assert!(console.text().contains("https://pay.example\n"), "{}", console.text());
    assert!(found.len() == 1 && &*found[0].url == evil, "what looks like its beginning is not a link: {found:?}");
    // Two that are cut to the same: each row has its own service's.
    let runbook = |name: &str| format!("https://wiki.example/{}/{name}", "a".repeat(100));
    for mut service in [cart, checkout] {
        service.metadata = [("runbook", &*runbook(&service.name))].into_iter().collect();
        for instance in &mut service.instances {
            instance.metadata = service.metadata.clone();
        }
        console.change(service);
    }
    console.state.size = (200, 50);
    console.keys("1");
    console.press(KeyCode::Esc);
    console.keys(":cols runbook\n");
    let frame = console.frame();
    let found = links(&console.state, &frame);
    let text = console.text();
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(found.len(), 2, "{found:?}\n{text}");
    for link in &found {
        let row = rows[usize::from(link.y)];
        let name = ["cart", "checkout"].into_iter().find(|name| row[..row.find("https").expect("it")].contains(name));
        assert_eq!(*link.url, *runbook(name.expect("a service's row")), "{row}");
    }
    console.keys("m");
    let frame = console.frame();
    assert_eq!(links(&console.state, &frame), [], "nothing below a dialog");
}
