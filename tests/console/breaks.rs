//! How an instance broke: the last good probe before its newest break, the first bad one, and the newest failure.

use portolan::console::data::{HistoryEntry, ProbingOfInstance, ProbingOfService, Sample};
use portolan::console::source::SourceEvent;
use portolan::model::outcome::{Health, Outcome};

use crate::scene::{CART, TestConsole, ago, cast, history, passed, refused};

/// Samples, each so many seconds ago, that passed or not.
fn samples(of: &[(i64, bool)]) -> Vec<Sample> {
    let sample = |(seconds, passed): &(i64, bool)| Sample {
        at: ago(*seconds),
        total_us: passed.then_some(4_200),
        code: passed.then_some(200),
    };
    of.iter().map(sample).collect()
}

/// The explanation of `b` of `cart`, of which this is known.
fn explained(last: Outcome, pass: i64, fail: i64, of: &[(i64, bool)], falls: &[i64]) -> String {
    let one = ProbingOfInstance {
        instance: "b".into(),
        last: Some(last.into()),
        last_pass: Some(passed(pass).into()),
        last_fail: Some(refused(fail).into()),
        samples: samples(of),
        ..ProbingOfInstance::default()
    };
    let entry = |n: usize, seconds: i64| HistoryEntry {
        id: 100 - i64::try_from(n).expect("small"),
        instance: "b".into(),
        at: ago(seconds),
        to: Some(Health::Unhealthy),
        evidence: Some(refused(seconds).into()),
        ..history(0).remove(0)
    };
    let mut console = TestConsole::loaded((80, 24));
    console.receive(SourceEvent::Probing(
        CART,
        Some(Box::new(ProbingOfService { id: CART, instances: vec![one], live: true })),
    ));
    let falls = falls.iter().enumerate().map(|(n, seconds)| entry(n, *seconds)).collect();
    console.receive(SourceEvent::History(CART, falls, None));
    console.keys("/name=cart\nX");
    console.text()
}

fn row<'a>(text: &'a str, label: &str) -> Vec<&'a str> {
    let line =
        text.lines().find(|line| line.trim_start().starts_with(label)).unwrap_or_else(|| panic!("{label}: {text}"));
    line.split("  ").map(str::trim).filter(|part| !part.is_empty()).collect()
}

#[test]
fn a_flapping_instance_shows_its_newest_break_and_not_what_came_after_it() {
    // It passes again since 10 s; before, it failed from 40 s to 20 s ago, and it fell once long ago.
    let known = [(60, true), (50, true), (40, false), (30, false), (20, false), (10, true), (1, true)];
    let text = explained(passed(1), 1, 20, &known, &[900]);
    let when = row(&text, "when");
    assert_eq!(when, ["when", "11:59:10Z (50s)", "11:59:20Z (40s)"], "{text}");
    assert_eq!(row(&text, "total"), ["total", "4.20 ms", "-"], "of the last good one a sample is left\n{text}");
    assert!(row(&text, "newest")[1].starts_with("11:59:40Z (20s), connect: nothing listens on 10.0.0.5:801"), "{text}");
}

#[test]
fn one_that_stays_down_shows_how_it_fell_and_its_newest_failure() {
    let known = [(90, true), (80, false), (70, false), (60, false), (1, false)];
    let text = explained(refused(1), 90, 1, &known, &[60, 900]);
    assert_eq!(row(&text, "when"), ["when", "11:58:30Z (1m30s)", "11:59:00Z (1m00s)"], "{text}");
    assert!(row(&text, "connect")[2].contains("ConnectRefused"), "the fall has its stages\n{text}");
    assert!(row(&text, "newest")[1].starts_with("11:59:59Z (1s)"), "{text}");
}

#[test]
fn a_single_failure_is_told_once() {
    let text = explained(refused(5), 15, 5, &[(15, true), (5, false)], &[]);
    assert_eq!(row(&text, "when"), ["when", "11:59:45Z (15s)", "11:59:55Z (5s)"], "{text}");
    assert!(row(&text, "cause")[1].contains("nothing listens on 10.0.0.5:801"), "{text}");
    assert!(!text.contains("newest  "), "{text}");
}

#[test]
fn of_several_checks_the_one_that_decides_is_shown() {
    let mut cart = cast().remove(1);
    let failing = &mut cart.instances[0];
    let check = |json: &str| serde_json::from_str(json).expect("a check");
    failing.checks = [check(r#"{"name":"db","tcp":{},"interval_seconds":7}"#)].into();
    failing.check = Some(serde_json::from_str(r#"{"http":{"path":"/live"}}"#).expect("a check"));
    (failing.decided_by, failing.reason) = (Some("db".into()), "ConnectRefused".into());
    let plain = ProbingOfInstance {
        instance: "b".into(),
        last: Some(passed(1).into()),
        last_pass: Some(passed(1).into()),
        ..ProbingOfInstance::default()
    };
    let mut refused = refused(3);
    refused.address = Some("10.9.9.9:5432".parse().expect("an address"));
    let db = ProbingOfInstance {
        check: Some("db".into()),
        last: Some(refused.clone().into()),
        last_fail: Some(refused.into()),
        ..plain.clone()
    };
    let mut console = TestConsole::loaded((120, 40));
    console.change(cart);
    assert!(
        console.text().contains("b: connection refused"),
        "before an answer no address is named: {}",
        console.text()
    );
    console.receive(SourceEvent::Probing(
        CART,
        Some(Box::new(ProbingOfService { id: CART, instances: vec![plain, db], live: true })),
    ));
    assert!(console.text().contains("b: :5432 refused"), "the address of the check that fails: {}", console.text());
    for keys in ["/name=cart\nX", "d"] {
        console.keys(keys);
        let text = console.text();
        assert!(text.contains("default: http /live, the server's interval"), "{text}");
        assert!(text.contains("db: tcp, every 7 s, timeout 5 s, 3 failures / 1 pass, decides"), "{text}");
        assert!(text.contains("nothing listens on 10.9.9.9:5432"), "{text}");
    }
}
