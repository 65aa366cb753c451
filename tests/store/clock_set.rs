//! Availability while the wall clock is wrong, and after it was set right.

use portolan::model::availability::Standing;
use portolan::model::outcome::{Health, Reason};
use portolan::model::probe::HealthChange;
use portolan::model::time::Now;
use rusqlite::Connection;

use crate::availability::{DAY, HOUR, SECOND, known, seconds, with};
use crate::common::{Running, at, folder, leads, registration, settings, spec, until};
use crate::health::healthy;

/// How far a clock is ahead that was set to a later century.
const CENTURY: i64 = 36_500 * DAY;

/// The instance's health, `millis` after the start by the steady clock; the wall clock is that much ahead.
async fn judge(s: &Running, health: Health, millis: i64, ahead: i64) {
    s.clock.set(Now { steady: at(millis).steady, wall: at(millis + ahead).wall });
    let reason = if health == Health::Healthy { Reason::Passed } else { Reason::Timeout };
    let change =
        HealthChange { health, reason, transition: None, ..healthy(&s.instance("users", "a"), millis + ahead) };
    assert_eq!(s.store.commit_health(vec![change], leads()).await, Ok(vec![true]));
}

/// `users` after ten hours with an outage of one minute, one hour before their end.
async fn ten_hours() -> (tempfile::TempDir, std::path::PathBuf, Running) {
    let (folder, path, s) = with(&["a"]).await;
    judge(&s, Health::Unhealthy, 9 * HOUR, 0).await;
    judge(&s, Health::Healthy, 9 * HOUR + 60 * SECOND, 0).await;
    judge(&s, Health::Healthy, 10 * HOUR, 0).await;
    (folder, path, s)
}

#[tokio::test]
async fn a_run_that_begins_with_a_clock_of_1970_takes_nothing_back() {
    let (_folder, path, s) = ten_hours().await;
    s.stop().await;
    let behind = -at(0).wall.0;
    let now = Now { steady: at(10 * HOUR).steady, wall: at(10 * HOUR + behind).wall };
    // The second run begins after one that ended behind.
    for set_right in [false, true] {
        let s = Running::open_at(settings(&path), now).expect("opens");
        judge(&s, Health::Unhealthy, 10 * HOUR + 70 * SECOND, behind).await;
        judge(&s, Health::Healthy, 10 * HOUR + 140 * SECOND, behind).await;
        judge(&s, Health::Unhealthy, 10 * HOUR + 210 * SECOND, behind).await;
        judge(&s, Health::Healthy, 10 * HOUR + 300 * SECOND, if set_right { 0 } else { behind }).await;
        if set_right {
            let all = known(&s, None, 0, 0).await;
            assert_eq!((all.totals.unhealthy, all.totals.unknown), (seconds(60), seconds(300)));
            assert_eq!(all.totals.known, seconds(36_000), "all that was known before");
        }
        s.stop().await;
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_for_a_while_takes_nothing_back() {
    let (_folder, _, s) = ten_hours().await;
    // Two hours back, in which an outage begins and another one ends.
    judge(&s, Health::Unhealthy, 10 * HOUR + 70 * SECOND, -2 * HOUR).await;
    judge(&s, Health::Healthy, 10 * HOUR + 140 * SECOND, -2 * HOUR).await;
    judge(&s, Health::Unhealthy, 10 * HOUR + 210 * SECOND, -2 * HOUR).await;
    judge(&s, Health::Healthy, 10 * HOUR + 280 * SECOND, 0).await;
    s.clock.set(at(11 * HOUR));
    let all = known(&s, None, 0, 0).await;
    assert_eq!((all.totals.unhealthy, all.totals.unknown), (seconds(60), seconds(280)));
    assert_eq!(all.outages.len(), 1);
    s.stop().await;
}

#[tokio::test]
async fn a_clock_that_was_ahead_loses_only_what_it_was_ahead() {
    for marked in [false, true] {
        let (_folder, _, s) = ten_hours().await;
        judge(&s, Health::Unhealthy, 10 * HOUR + 10 * SECOND, CENTURY).await;
        let back = 10 * HOUR + if marked { 100 } else { 20 } * SECOND;
        judge(&s, Health::Healthy, back, CENTURY).await;
        // Right again.
        judge(&s, Health::Unhealthy, back + 10 * SECOND, 0).await;
        judge(&s, Health::Healthy, back + 40 * SECOND, 0).await;
        s.clock.set(at(11 * HOUR));
        let all = known(&s, None, 0, 11).await;
        assert_eq!(all.totals.unhealthy, seconds(60 + 30), "marked: {marked}");
        assert!(all.totals.unknown <= seconds(120), "{:?}", all.totals.unknown);
        assert_eq!(all.outages[0].started, at(back + 10 * SECOND).wall);
        assert_eq!(all.strip[10], Some(Standing::Unhealthy));
        s.stop().await;
    }
}

#[tokio::test]
async fn runs_that_end_or_begin_with_a_clock_that_is_ahead_take_nothing_back() {
    let (_folder, path, s) = ten_hours().await;
    judge(&s, Health::Healthy, 10 * HOUR + 70 * SECOND, CENTURY).await;
    s.stop().await;
    let ahead = Now { steady: at(10 * HOUR + 80 * SECOND).steady, wall: at(10 * HOUR + CENTURY).wall };
    let s = Running::open_at(settings(&path), ahead).expect("opens");
    judge(&s, Health::Healthy, 10 * HOUR + 160 * SECOND, CENTURY).await;
    s.stop().await;
    let s = Running::open_at(settings(&path), at(10 * HOUR + 170 * SECOND)).expect("opens");
    judge(&s, Health::Unhealthy, 10 * HOUR + 180 * SECOND, 0).await;
    judge(&s, Health::Healthy, 10 * HOUR + 190 * SECOND, 0).await;
    s.clock.set(at(11 * HOUR));
    let all = known(&s, None, 0, 0).await;
    assert_eq!((all.totals.unhealthy, all.totals.unknown), (seconds(70), seconds(170)));
    s.stop().await;
}

#[tokio::test]
async fn a_file_that_begins_with_a_clock_that_is_ahead_begins_again() {
    let (_folder, path) = folder();
    let s = Running::open_at(settings(&path), Now { wall: at(CENTURY).wall, ..at(0) }).expect("opens");
    s.register(registration("mail", "a", spec(1))).await.expect("registers");
    s.clock.set(at(10 * SECOND));
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    judge(&s, Health::Healthy, 11 * SECOND, 0).await;
    s.clock.set(at(100 * SECOND));
    let all = known(&s, None, 0, 0).await;
    assert_eq!((all.since, all.totals.known), (at(10 * SECOND).wall, seconds(89)));
    s.stop().await;
}

#[tokio::test]
async fn what_passes_before_a_start_can_be_written_is_unknown() {
    let (_folder, path, s) = ten_hours().await;
    s.stop().await;
    let other = Connection::open(&path).expect("opens beside");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let s = Running::open_at(settings(&path), at(10 * HOUR)).expect("starts");
    s.clock.set(at(11 * HOUR));
    other.execute_batch("COMMIT").expect("lets go");
    until("the run begins", async || s.store.failure().is_none()).await;
    let all = known(&s, None, 0, 0).await;
    assert_eq!((all.totals.unknown, all.totals.known), (seconds(3600), seconds(36_000)));
    s.stop().await;
}
