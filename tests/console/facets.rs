//! What services have in common: what the failing share, and the pivot.

use std::fmt::Write as _;

use crossterm::event::KeyCode;
use portolan::console::facet::{Dimension, shared};
use portolan::console::source::SourceEvent;
use portolan::console::state::screen::View;
use portolan::model::outcome::Health;
use uuid::Uuid;

use crate::scene::{TestConsole, instance, lines, service};

/// 60 services on six hosts; all on one host are down, and a few others.
pub(crate) fn fleet() -> Vec<portolan::console::data::Service> {
    let one = |n: u128| {
        let host = n % 6;
        let (health, reason) = match (host, n) {
            (3, _) => (Health::Unhealthy, "ConnectRefused"),
            (_, 7 | 14) => (Health::Unhealthy, "Timeout"),
            _ => (Health::Healthy, "Passed"),
        };
        let mut one = instance("default", health, reason, 60 + i64::try_from(n).expect("small"));
        one.base_url = format!("http://10.0.0.{host}:8080").into();
        one.zone = ["eu-1a", "eu-1b"][usize::try_from(n % 2).expect("small")].into();
        let mut service = service(
            Uuid::from_u128(100 + n),
            ["pay", "shop", "infra"][usize::try_from(n % 3).expect("small")],
            &format!("svc-{n:02}"),
            vec![one],
        );
        let team = ("team", ["blue", "red"][usize::try_from(n / 30).expect("small")]);
        let labels: portolan::console::data::Metadata = [team, ("pod", &*format!("pod-{n}"))].into_iter().collect();
        service.metadata = labels.clone();
        service.instances[0].metadata = labels;
        service
    };
    (0..60).map(one).collect()
}

fn console(size: (u16, u16)) -> TestConsole {
    let mut console = TestConsole::loaded(size);
    console.receive(SourceEvent::Snapshot(fleet()));
    console.tick(0);
    console.tick(2000);
    console
}

#[test]
fn what_the_failing_share_is_found_among_all_that_they_have_in_common() {
    let fleet = fleet();
    let found = shared(fleet.iter()).expect("a host");
    assert_eq!((&found.dimension, &*found.value), (&Dimension::Host, "10.0.0.3"));
    assert_eq!((found.failing, found.of, found.all), (10, 12, 10));
    assert_eq!(found.reason.as_deref(), Some("ConnectRefused"));
    let healthy: Vec<_> = fleet.into_iter().filter(|s| s.health == Health::Healthy).collect();
    assert_eq!(shared(healthy.iter()), None);
}

#[test]
fn failures_that_are_spread_like_all_services_share_nothing() {
    let mut fleet = fleet();
    for (n, service) in fleet.iter_mut().enumerate() {
        // Another reason for each, so that the reason is not what they share.
        let down = n % 7 == 0;
        service.health = if down { Health::Unhealthy } else { Health::Healthy };
        service.instances[0].health = service.health;
        service.instances[0].reason = if down { format!("R{n}").into() } else { "Passed".into() };
    }
    assert_eq!(shared(fleet.iter()), None);
}

/// A fleet in zones of so many services each, of which so many fail, each for a reason of its own.
fn zones(of: &[(usize, usize)]) -> Vec<portolan::console::data::Service> {
    let mut all = Vec::new();
    for (zone, (services, failing)) in of.iter().enumerate() {
        for n in 0..*services {
            let id = all.len();
            let (health, reason) = if n < *failing {
                (Health::Unhealthy, format!("R{id}"))
            } else {
                (Health::Healthy, "Passed".to_owned())
            };
            let mut one = instance("default", health, &reason, 60);
            one.base_url = format!("http://10.1.0.{id}:8080").into();
            one.zone = format!("zone-{zone}").into();
            one.version = format!("1.{}", id % 5).into();
            let namespace = format!("n{}", id % 7);
            let id = Uuid::from_u128(u128::try_from(id).expect("small") + 500);
            let mut service = service(id, &namespace, &format!("of-{zone}-{n}"), vec![one]);
            service.metadata = portolan::console::data::Metadata::default();
            service.instances[0].metadata = service.metadata.clone();
            all.push(service);
        }
    }
    all
}

#[test]
fn a_zone_is_shared_where_it_stands_out_and_not_where_failures_are_spread() {
    // Services and failures of each zone; whether the first zone is what they share.
    let cases: &[(&[(usize, usize)], bool)] = &[
        (&[(8, 6), (12, 2)], true),
        (&[(8, 6), (12, 1)], true),
        (&[(7, 6), (5, 1), (5, 1)], true),
        (&[(3, 3), (30, 0)], true),
        (&[(20, 12), (40, 4)], true),
        (&[(1000, 300), (9000, 200)], true),
        (&[(5000, 4500), (5000, 500)], true),
        // As many as lots would give.
        (&[(8, 4), (12, 4)], false),
        (&[(10, 5), (10, 3)], false),
        (&[(6, 3), (6, 2), (6, 2)], false),
        (&[(20, 4), (20, 4), (20, 4)], false),
        (&[(5000, 300), (5000, 250)], false),
        // Nearly everything is in that zone.
        (&[(18, 8), (2, 0)], false),
        // Too few to say.
        (&[(2, 2), (20, 0)], false),
        // Everything is down: the zone says nothing.
        (&[(8, 8), (12, 12)], false),
    ];
    for (of, expected) in cases {
        let fleet = zones(of);
        let found = shared(fleet.iter()).map(|found| (found.dimension, found.value));
        let wanted = expected.then(|| (Dimension::Zone, "zone-0".into()));
        assert_eq!(found, wanted, "{of:?}");
    }
}

#[test]
fn the_header_names_it_and_one_key_lists_them() {
    let mut console = console((120, 40));
    let text = console.text();
    assert!(text.contains("10 of 12 failing share host 10.0.0.3 (of 10 there) since"), "{text}");
    assert!(text.contains(": connection refused"), "{text}");
    console.keys("F");
    assert_eq!(console.listed().len(), 10);
    assert_eq!(&*console.state.filter, "status=faulty host=10.0.0.3");
    // They recover: the line goes away, a second later at the latest.
    let mut well = fleet();
    for service in &mut well {
        service.health = Health::Healthy;
        service.instances[0].health = Health::Healthy;
    }
    console.receive(SourceEvent::Changes(well, vec![]));
    console.tick(3250);
    assert!(!console.text().contains("failing share"));
}

#[test]
fn a_pivot_goes_through_the_dimensions_and_lists_a_group() {
    let mut console = console((120, 40));
    console.keys("v");
    assert!(console.text().contains("services by namespace"), "{}", console.text());
    console.press(KeyCode::Tab);
    assert!(console.text().contains("services by host"));
    let text = console.text();
    let first = text.lines().find(|line| line.contains("10.0.0.")).expect("a host");
    let first = text
        .lines()
        .filter(|line| line.contains("10.0.0.") && !line.contains("failing share"))
        .map(str::to_owned)
        .next()
        .unwrap_or(first.to_owned());
    assert!(first.starts_with("10.0.0.3") && first.contains("connection refused"), "the worst first: {first}");
    console.keys("\n");
    assert_eq!(console.listed().len(), 10);
    assert_eq!(console.state.screen().view, View::Services);
    console.keys("q");
    for _ in 0..4 {
        console.press(KeyCode::Tab);
    }
    assert!(console.text().contains("services by pod"), "labels follow: {}", console.text());
    console.press(KeyCode::BackTab);
    assert!(console.text().contains("services by reason"));
    console.keys("q");
    assert_eq!(console.state.screen().view, View::Overview);
}

#[test]
fn a_pivot_is_about_the_chosen_namespace() {
    let mut console = console((120, 40));
    let hosts = |console: &mut TestConsole| {
        console.frame();
        let mut hosts: Vec<String> = console.state.pivot.groups.iter().map(|group| group.value.to_string()).collect();
        hosts.sort_unstable();
        hosts
    };
    console.keys("v\t");
    assert_eq!(hosts(&mut console).len(), 6);
    console.keys("nshop\n");
    assert_eq!(hosts(&mut console), ["10.0.0.1", "10.0.0.4"], "at once");
    console.tick(5000);
    assert_eq!(hosts(&mut console), ["10.0.0.1", "10.0.0.4"]);
    console.keys("0");
    assert_eq!(hosts(&mut console).len(), 6);
}

#[test]
fn a_pivot_at_every_size() {
    let mut all = String::new();
    for size in [(40, 12), (80, 24), (120, 40), (200, 50)] {
        let mut console = console(size);
        console.keys("v");
        console.press(KeyCode::Tab);
        writeln!(all, "{}x{}\n{}\n", size.0, size.1, lines(&console.frame()).join("\n")).expect("to a string");
    }
    insta::assert_snapshot!("pivot", all);
}

#[test]
fn a_group_keeps_its_selection_when_others_get_worse() {
    let mut console = console((120, 40));
    console.keys("v");
    console.press(KeyCode::Tab);
    console.keys("jj");
    let selected = console.state.screen().selection.clone();
    let mut worse = fleet();
    for service in worse.iter_mut().filter(|s| s.instances[0].host() == "10.0.0.5") {
        service.health = Health::Unhealthy;
        service.instances[0].health = Health::Unhealthy;
    }
    console.receive(SourceEvent::Changes(worse, vec![]));
    console.tick(5000);
    console.tick(7000);
    assert_eq!(console.state.screen().selection, selected);
}
