//! The rows behind availability: spans, gaps, and when a server last ran.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::codec::{Count, Id, Parsed, int, time};
use crate::model::availability::{Gap, MAX_WINDOW, Span, Standing};
use crate::model::name::{CheckName, InstanceName, ServiceKey};
use crate::model::outcome::Reason;
use crate::model::time::UnixMs;

/// `ended` of a span that lasts.
const OPEN: i64 = i64::MAX;
/// `instance` of the row that says up to when a service's spans are forgotten.
const FORGOTTEN: &str = "*";
/// Most rows of one service with its instances, and a few more until they are counted; the oldest are forgotten first.
pub(crate) const OF_SERVICE: u64 = 8192;
/// Most rows in all.
const IN_ALL: u64 = 200_000;
/// Rows that are forgotten at once.
const BITE: u64 = 1024;
/// Longest time between two marks of a run that records something, in milliseconds.
const MARKED: i64 = 120_000;
/// Most gaps.
const GAPS: u64 = 4096;
/// An instance that is proved healthy sooner after its registration counts as healthy from the start: nothing is written for most
/// registrations.
const FIRST_PROOF: Duration = Duration::from_secs(1);

/// A change of how a service or an instance stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpanChange {
    pub(crate) service: Uuid,
    pub(crate) key: ServiceKey,
    /// None for the service as a whole.
    pub(crate) instance: Option<InstanceName>,
    pub(crate) at: UnixMs,
    /// If it was unknown: since when, should no span say so because it was never proved.
    pub(crate) unproved_since: Option<UnixMs>,
    /// What begins; none if it is healthy from now on, or gone.
    pub(crate) begins: Option<(Standing, Reason, CheckName)>,
}

impl SpanChange {
    fn name(&self) -> &str {
        self.instance.as_ref().map_or("", InstanceName::as_str)
    }
}

/// Ends the span that lasts, and begins the next.
pub(crate) fn change(db: &Connection, change: &SpanChange) -> rusqlite::Result<()> {
    let (service, name, at) = (change.service.as_bytes().as_slice(), change.name(), change.at.0);
    let end = "UPDATE span SET ended = max(started, ?3) WHERE service = ?1 AND instance = ?2 AND ended = ?4";
    let ended = db.prepare_cached(end)?.execute(params![service, name, at, OPEN])?;
    // A first proof of anything but health must not count the time before it as healthy.
    let shortest = if change.begins.is_some() { Duration::from_millis(1) } else { FIRST_PROOF };
    if let Some(since) = change.unproved_since.filter(|_| ended == 0) {
        // One that was away and is back keeps the record of its time before.
        let since = not_before_last(db, change, since)?;
        if change.at.since(since) >= shortest {
            add(db, change, name, (Standing::Unknown, Reason::Probing, &CheckName::default()), (since.0, at))?;
        }
    }
    let Some((standing, reason, check)) = &change.begins else { return Ok(()) };
    // The wall clock may have been set back.
    let started = not_before_last(db, change, change.at)?;
    add(db, change, name, (*standing, *reason, check), (started.0, OPEN))?;
    if is_counted(db.last_insert_rowid()) { bound_service(db, change) } else { Ok(()) }
}

/// `at`, or when the last span of that service or instance ended, if that is later.
fn not_before_last(db: &Connection, change: &SpanChange, at: UnixMs) -> rusqlite::Result<UnixMs> {
    let last = "SELECT max(ended) FROM span WHERE service = ?1 AND instance = ?2 AND ended < ?3";
    let of = params![change.service.as_bytes().as_slice(), change.name(), OPEN];
    let last: Option<i64> = db.prepare_cached(last)?.query_row(of, |row| row.get(0))?;
    Ok(last.map_or(at, |last| at.max(UnixMs(last))))
}

/// Whether the service's rows are counted after this one was added: one row of 64, spread so that no pattern of changes escapes.
fn is_counted(id: i64) -> bool {
    id.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed()).cast_unsigned() >> 58 == 0
}

fn add(
    db: &Connection,
    change: &SpanChange,
    name: &str,
    (standing, reason, check): (Standing, Reason, &CheckName),
    (started, ended): (i64, i64),
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO span (service, key, instance, kind, started, ended, reason, check_name)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let (service, key) = (change.service.as_bytes().as_slice(), change.key.as_str());
    let check = (!check.is_default()).then(|| check.as_str());
    let row = params![service, key, name, standing.as_str(), started, ended, reason.as_str(), check];
    db.prepare_cached(sql)?.execute(row).map(drop)
}

/// Ends all spans of a service that was removed.
pub(crate) fn end_all(db: &Connection, service: Uuid, at: UnixMs) -> rusqlite::Result<()> {
    let sql = "UPDATE span SET ended = max(started, ?2) WHERE service = ?1 AND ended = ?3";
    db.prepare_cached(sql)?.execute(params![service.as_bytes().as_slice(), at.0, OPEN]).map(drop)
}

/// Forgets the oldest spans of a service that has too many.
fn bound_service(db: &Connection, change: &SpanChange) -> rusqlite::Result<()> {
    let service = change.service.as_bytes().as_slice();
    let count = "SELECT count(*) FROM (SELECT 1 FROM span WHERE service = ?1 LIMIT ?2)";
    let rows: i64 = db.prepare_cached(count)?.query_row(params![service, int(OF_SERVICE + 1)], |row| row.get(0))?;
    if rows <= int(OF_SERVICE) {
        return Ok(());
    }
    let edge = "SELECT ended FROM span WHERE service = ?1 AND ended < ?2 ORDER BY ended LIMIT 1 OFFSET ?3";
    let edge: Option<i64> =
        db.prepare_cached(edge)?.query_row(params![service, OPEN, int(BITE - 1)], |row| row.get(0)).optional()?;
    let Some(edge) = edge else { return Ok(()) };
    db.prepare_cached("DELETE FROM span WHERE service = ?1 AND ended <= ?2")?.execute(params![service, edge])?;
    let what = (Standing::Unknown, Reason::Probing, &CheckName::default());
    add(db, change, FORGOTTEN, what, (0, edge))
}

/// The spans that last: of which service and instance, and how it stands.
pub(crate) fn open(db: &Connection) -> rusqlite::Result<HashMap<(Uuid, String), (i64, Standing)>> {
    let mut statement = db.prepare("SELECT id, service, instance, kind FROM span WHERE ended = ?1")?;
    let mut rows = statement.query([OPEN])?;
    let mut open = HashMap::new();
    while let Some(row) = rows.next()? {
        // A row that cannot be read is named once its service is asked for.
        if let (Ok(service), Ok(name), Ok(kind)) =
            (row.get::<_, Id>(1), row.get::<_, String>(2), row.get::<_, Parsed<Standing>>(3))
        {
            open.insert((service.0, name), (row.get(0)?, kind.0));
        }
    }
    Ok(open)
}

/// Ends a span.
pub(crate) fn end(db: &Connection, id: i64, at: UnixMs) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE span SET ended = max(started, ?2) WHERE id = ?1")?.execute(params![id, at.0]).map(drop)
}

/// Since when is recorded, and the latest time at which a server is known to have run; none if nothing is recorded yet.
pub(crate) fn extent(db: &Connection) -> rusqlite::Result<Option<(UnixMs, UnixMs)>> {
    let sql = "SELECT since, alive FROM recorded";
    db.prepare_cached(sql)?.query_row([], |row| Ok((UnixMs(row.get(0)?), UnixMs(row.get(1)?)))).optional()
}

/// Begins a run: no server ran since the last mark, or since an entry of history that came soon after it. In a new file, recording begins.
pub(crate) fn begin_run(db: &Connection, now: UnixMs) -> rusqlite::Result<()> {
    if is_in_gap(db, now)? {
        cut(db, now)?;
    }
    let last = "SELECT max(alive, coalesce((SELECT at FROM (SELECT at FROM transition ORDER BY id DESC LIMIT 1) WHERE at <= alive + ?1), 0))
        FROM recorded";
    let last: Option<i64> = db.query_row(last, [MARKED], |row| row.get(0)).optional()?;
    if let Some(last) = last {
        gap(db, (UnixMs(last), now))?;
    }
    let sql = "INSERT INTO recorded (one, since, alive) VALUES (1, ?1, ?1)
        ON CONFLICT (one) DO UPDATE SET alive = max(alive, ?1)";
    db.execute(sql, [now.0]).map(drop)
}

/// Whether the record says that no server runs at `now`: its end was written by a clock that was ahead.
pub(crate) fn is_in_gap(db: &Connection, now: UnixMs) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM gap WHERE started <= ?1 AND ended > ?1")?.exists([now.0])
}

/// Cuts what a clock that was ahead recorded after `now`.
pub(crate) fn cut(db: &Connection, now: UnixMs) -> rusqlite::Result<()> {
    let now = now.0;
    db.execute("DELETE FROM gap WHERE started >= ?1", [now])?;
    db.execute("UPDATE gap SET ended = ?1 WHERE ended > ?1", [now])?;
    db.execute("DELETE FROM span WHERE started >= ?1 AND ended > ?1 AND ended < ?2", [now, OPEN])?;
    db.execute("UPDATE span SET ended = ?1 WHERE ended > ?1 AND ended < ?2", [now, OPEN])?;
    db.execute("UPDATE span SET started = ?1 WHERE started > ?1 AND ended = ?2", [now, OPEN])?;
    db.execute("UPDATE recorded SET since = min(since, ?1), alive = ?1", [now]).map(drop)
}

/// Forgets everything that was recorded: it begins again with the next run.
pub(crate) fn begin_again(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch("DELETE FROM span; DELETE FROM gap; DELETE FROM recorded")
}

/// Notes that the server runs; a clock that was set back does not take back that it ran later.
pub(crate) fn mark(db: &Connection, now: UnixMs) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE recorded SET alive = max(alive, ?1)")?.execute([now.0]).map(drop)
}

/// Adds a time without a server. If there are too many, the oldest are forgotten, and the record begins after them.
pub(crate) fn gap(db: &Connection, (from, until): Gap) -> rusqlite::Result<()> {
    if until <= from {
        return Ok(());
    }
    let add =
        "INSERT INTO gap (started, ended) VALUES (?1, ?2) ON CONFLICT (started) DO UPDATE SET ended = max(ended, ?2)";
    db.prepare_cached(add)?.execute([from.0, until.0])?;
    let excess = "SELECT started, ended FROM gap ORDER BY started DESC LIMIT 1 OFFSET ?1";
    let both = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let excess: Option<(i64, i64)> = db.prepare_cached(excess)?.query_row([int(GAPS)], both).optional()?;
    let Some((started, ended)) = excess else { return Ok(()) };
    db.execute("DELETE FROM gap WHERE started <= ?1", [started])?;
    db.execute("UPDATE recorded SET since = max(since, ?1)", [ended]).map(drop)
}

/// Most rows that a change adds.
pub(crate) const PER_CHANGE: u64 = 2;

/// How many spans there are.
pub(crate) fn count(db: &Connection) -> rusqlite::Result<u64> {
    db.query_row("SELECT count(*) FROM span", [], |row| row.get::<_, Count>(0)).map(|count| count.0)
}

/// Forgets the oldest spans beyond the bound; the record begins after them. `known` is at least how many there are; returns the same of
/// what is left, or less if that is more than the bound, so that it is not counted at once again. Spans that last stay: there are at most as
/// many as services and instances.
pub(crate) fn surplus(db: &Connection, known: u64) -> rusqlite::Result<u64> {
    if known <= IN_ALL {
        return Ok(known);
    }
    let rows = count(db)?;
    if rows <= IN_ALL - BITE {
        return Ok(rows);
    }
    let edge = "SELECT max(ended) FROM (SELECT ended FROM span WHERE ended < ?1 ORDER BY ended LIMIT ?2)";
    let excess = rows - (IN_ALL - BITE);
    let edge: Option<i64> = db.prepare_cached(edge)?.query_row(params![OPEN, int(excess)], |row| row.get(0))?;
    let Some(edge) = edge else { return Ok(IN_ALL - BITE) };
    let gone = db.prepare_cached("DELETE FROM span WHERE ended <= ?1")?.execute([edge])?;
    db.execute("UPDATE recorded SET since = max(since, ?1)", [edge])?;
    Ok(rows.saturating_sub(u64::try_from(gone).unwrap_or(0)).min(IN_ALL - BITE))
}

fn oldest(now: UnixMs) -> i64 {
    now.minus(MAX_WINDOW).0
}

/// Whether spans or gaps are older than any window.
pub(crate) fn is_aged(db: &Connection, now: UnixMs) -> rusqlite::Result<bool> {
    let sql = "SELECT min(coalesce((SELECT min(ended) FROM span), ?1), coalesce((SELECT ended FROM gap ORDER BY started LIMIT 1), ?1))";
    let first: i64 = db.prepare_cached(sql)?.query_row([OPEN], |row| row.get(0))?;
    Ok(first < oldest(now))
}

/// Deletes spans and gaps that are older than any window, one batch of each.
pub(crate) fn aged(db: &Connection, now: UnixMs) -> rusqlite::Result<()> {
    let spans = "DELETE FROM span WHERE id IN (SELECT id FROM span WHERE ended < ?1 ORDER BY ended LIMIT ?2)";
    db.prepare_cached(spans)?.execute(params![oldest(now), int(BITE)])?;
    let gaps = "DELETE FROM gap WHERE started IN (SELECT started FROM gap WHERE ended < ?1 ORDER BY started LIMIT ?2)";
    db.prepare_cached(gaps)?.execute(params![oldest(now), int(BITE)]).map(drop)
}

/// Since when is recorded, none before a run has begun on this schema; and the gaps that end after `from`.
pub(crate) fn recorded(db: &Connection, from: UnixMs) -> rusqlite::Result<(Option<UnixMs>, Vec<Gap>)> {
    let since =
        db.prepare_cached("SELECT since FROM recorded")?.query_row([], |row| row.get(0).map(UnixMs)).optional()?;
    let mut statement = db.prepare_cached("SELECT started, ended FROM gap WHERE ended > ?1 ORDER BY started")?;
    let rows = statement.query_map([from.0], |row| Ok((UnixMs(row.get(0)?), UnixMs(row.get(1)?))))?;
    let mut gaps: Vec<Gap> = Vec::new();
    for gap in rows {
        let (started, ended) = gap?;
        match gaps.last_mut() {
            Some(last) if started <= last.1 => last.1 = last.1.max(ended),
            _ => gaps.push((started, ended)),
        }
    }
    Ok((since, gaps))
}

/// Selects the columns that [`span`] reads.
pub(crate) const COLUMNS: &str = "id, service, key, instance, kind, started, ended, reason, check_name";

/// A row, which begins with [`COLUMNS`]. The instance is empty for the service as a whole.
pub(crate) fn span(row: &Row<'_>) -> rusqlite::Result<Span> {
    let ended = row.get("ended")?;
    Ok(Span {
        id: row.get("id")?,
        standing: row.get::<_, Parsed<_>>("kind")?.0,
        started: time(row, "started")?,
        ended: (ended != OPEN).then_some(UnixMs(ended)),
        reason: row.get::<_, Parsed<_>>("reason")?.0,
        check: row.get::<_, Option<Parsed<_>>>("check_name")?.map(|name| name.0).unwrap_or_default(),
    })
}

/// Whose span it is.
pub(crate) enum Whose {
    Service,
    Instance(InstanceName),
    /// Nobody's: it says up to when the service's spans are forgotten.
    Forgotten,
}

/// Whose span a row is.
pub(crate) fn whose(row: &Row<'_>) -> rusqlite::Result<Whose> {
    match row.get_ref("instance")?.as_str()? {
        "" => Ok(Whose::Service),
        FORGOTTEN => Ok(Whose::Forgotten),
        _ => row.get::<_, Parsed<_>>("instance").map(|name| Whose::Instance(name.0)),
    }
}
