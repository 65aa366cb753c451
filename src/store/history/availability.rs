//! Availability and outages, from the spans that the writer recorded.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{key, readable};
use crate::model::availability::{
    Availability, Gap, MAX_NAMED, MAX_WINDOW, Outage, Record, Span, Standing, Subject, proved,
};
use crate::model::name::InstanceName;
use crate::model::time::UnixMs;
use crate::store::error::StoreError;
use crate::store::schema::codec::{Id, int};
use crate::store::schema::quarantine::{BadRow, Table};
use crate::store::schema::spans::{self, COLUMNS, Whose};

/// Whether outages in a namespace are wanted.
pub type NamespaceTest = Box<dyn Fn(&str) -> bool + Send>;
/// Most rows that one page of outages passes over, because their namespaces are not wanted.
const MAX_PASSED: usize = 50_000;

/// Which availability is asked for.
#[derive(Debug, Clone)]
pub struct AvailabilityQuery {
    /// The services and instances to report on.
    pub subjects: Vec<Subject>,
    /// The window: from, until.
    pub window: (UnixMs, UnixMs),
    /// Cells of the strips.
    pub cells: usize,
    /// Most outages that are listed of each.
    pub listed: usize,
}

/// Which outages are asked for.
pub struct OutageQuery {
    /// The window: from, until.
    pub window: (UnixMs, UnixMs),
    /// Only those in these namespaces.
    pub namespaces: NamespaceTest,
    /// Only those with smaller numbers, for the next page.
    pub before: Option<i64>,
    /// Most outages.
    pub limit: usize,
}

/// A page of outages, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct OutagePage {
    /// The outages.
    pub outages: Vec<Outage>,
    /// Since when is recorded; not before the window.
    pub since: UnixMs,
    /// `before` of the next page; none on the last.
    pub next: Option<i64>,
}

/// What was recorded for everything.
struct Recorded {
    since: UnixMs,
    gaps: Vec<Gap>,
}

impl Recorded {
    /// Gaps are read from the longest window on, since an outage may have begun before the one asked for.
    fn read(db: &Connection, until: UnixMs) -> rusqlite::Result<Self> {
        let (since, gaps) = spans::recorded(db, until.minus(MAX_WINDOW))?;
        // A file that is not migrated yet has recorded nothing.
        Ok(Self { since: since.unwrap_or(until), gaps })
    }
}

/// The spans of one service.
#[derive(Default)]
struct OfService {
    own: Vec<Span>,
    instances: Vec<(InstanceName, Span)>,
    /// Until when they are forgotten.
    forgotten: Option<UnixMs>,
}

/// Reads the spans of a service that end after `from`; those of instances only if they are wanted.
fn read(
    db: &Connection,
    subject: &Subject,
    from: UnixMs,
    with_instances: bool,
    bad: &mut Vec<BadRow>,
) -> rusqlite::Result<OfService> {
    let which = if with_instances { "" } else { "AND instance IN ('', '*')" };
    let sql = format!("SELECT {COLUMNS} FROM span WHERE service = ?1 {which} AND ended > ?2 ORDER BY started, id");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params![subject.service.as_bytes().as_slice(), from.0])?;
    let mut found = OfService::default();
    while let Some(row) = rows.next()? {
        let span = spans::span(row).and_then(|span| Ok((spans::whose(row)?, span)));
        let name = || subject.key.as_str().to_owned();
        match readable(row, span, Table::Span, name, bad)? {
            Some((Whose::Service, span)) => found.own.push(span),
            Some((Whose::Instance(name), span)) => found.instances.push((name, span)),
            Some((Whose::Forgotten, span)) => found.forgotten = found.forgotten.max(span.ended),
            None => {}
        }
    }
    Ok(found)
}

/// Availability in the order of the subjects. Rows that cannot be read are left out and added to `bad`.
pub(crate) fn availability(
    db: &Connection,
    query: AvailabilityQuery,
    bad: &mut Vec<BadRow>,
) -> Result<Vec<Availability>, StoreError> {
    let (from, until) = query.window;
    // One transaction, for a consistent view.
    let moment = db.unchecked_transaction()?;
    let recorded = Recorded::read(&moment, until)?;
    let mut answers = Vec::with_capacity(query.subjects.len());
    for subject in query.subjects {
        let with_instances = query.listed > 0 || subject.instance.is_some();
        let OfService { mut own, instances, forgotten } = read(&moment, &subject, from, with_instances, bad)?;
        if let Some(name) = &subject.instance {
            own = instances.iter().filter(|(of, _)| of == name).map(|(_, span)| span.clone()).collect();
        }
        let since = forgotten.map_or(recorded.since, |forgotten| forgotten.max(recorded.since));
        let record = Record { since, spans: &own, gaps: &recorded.gaps };
        let mut answer = record.evaluate(subject, (from, until), query.cells, query.listed);
        for outage in &mut answer.outages {
            let end = outage.ended.unwrap_or(until);
            let down = instances.iter().filter(|(_, span)| span.standing == Standing::Unhealthy);
            let down = down.filter(|(_, span)| span.started < end && span.ended.unwrap_or(until) > outage.started);
            let named =
                down.map(|(name, _)| name).filter(|name| outage.instance.as_ref().is_none_or(|one| one == *name));
            name_instances(outage, named.cloned().collect());
        }
        answers.push(answer);
    }
    Ok(answers)
}

fn name_instances(outage: &mut Outage, named: BTreeSet<InstanceName>) {
    outage.instance_count = named.len();
    outage.instances = named.into_iter().take(MAX_NAMED).collect();
}

/// Outages of services, also of those that were removed since. Rows that cannot be read are left out and added to `bad`.
pub(crate) fn outages(db: &Connection, query: &OutageQuery, bad: &mut Vec<BadRow>) -> Result<OutagePage, StoreError> {
    let (from, until) = query.window;
    let moment = db.unchecked_transaction()?;
    let recorded = Recorded::read(&moment, until)?;
    let since = recorded.since.max(from).min(until);
    let sql = format!(
        "SELECT {COLUMNS} FROM span WHERE ended > ?1 AND instance = '' AND kind = 'unhealthy' AND id < ?2 ORDER BY id DESC LIMIT ?3"
    );
    let mut statement = moment.prepare_cached(&sql)?;
    let most = int(u64::try_from(MAX_PASSED).unwrap_or(u64::MAX));
    let mut rows = statement.query(params![since.0, query.before.unwrap_or(i64::MAX), most])?;
    let mut page = OutagePage { outages: Vec::new(), since, next: None };
    let (mut passed, mut last) = (0, None);
    while let Some(row) = rows.next()? {
        let read = spans::span(row)
            .and_then(|span| Ok((row.get::<_, Id>("service")?.0, key(&row.get::<_, String>("key")?)?, span)));
        passed += 1;
        let Some((service, key, span)) = readable(row, read, Table::Span, String::new, bad)? else { continue };
        let lasted = proved(&recorded.gaps, span.started, span.ended.unwrap_or(until));
        if !(query.namespaces)(key.namespace()) || lasted.is_zero() || span.started >= until {
            last = Some(span.id);
            continue;
        }
        if page.outages.len() == query.limit {
            page.next = last;
            break;
        }
        last = Some(span.id);
        let Span { id, started, ended, reason, check, .. } = span;
        page.outages.push(Outage {
            id,
            service,
            key,
            instance: None,
            started,
            ended,
            lasted,
            reason,
            check,
            instances: Vec::new(),
            instance_count: 0,
        });
    }
    if passed == MAX_PASSED {
        page.next = last;
    }
    name_all(&moment, &mut page.outages, until)?;
    Ok(page)
}

/// Names the instances of each outage. Reads the spans of a service once.
fn name_all(db: &Connection, outages: &mut [Outage], until: UnixMs) -> rusqlite::Result<()> {
    let mut of_service: HashMap<Uuid, Vec<&mut Outage>> = HashMap::new();
    for outage in outages {
        of_service.entry(outage.service).or_default().push(outage);
    }
    for (service, outages) in of_service {
        let end = |outage: &Outage| outage.ended.unwrap_or(until);
        let first = outages.iter().map(|outage| outage.started).min().unwrap_or(until);
        let last = outages.iter().map(|outage| end(outage)).max().unwrap_or(until);
        let down = down(db, service, (first, last))?;
        for outage in outages {
            let (from, until) = (outage.started, end(outage));
            let named = down.iter().filter(|(_, started, ended)| *started < until && *ended > from);
            name_instances(outage, named.map(|(name, ..)| name.clone()).collect());
        }
    }
    Ok(())
}

/// The times in which instances of a service were unhealthy, as far as they touch that one.
fn down(
    db: &Connection,
    service: Uuid,
    (from, until): (UnixMs, UnixMs),
) -> rusqlite::Result<Vec<(InstanceName, UnixMs, UnixMs)>> {
    let sql =
        "SELECT instance, started, ended FROM span WHERE service = ?1 AND instance NOT IN ('', '*') AND ended > ?2
        AND started < ?3 AND kind = 'unhealthy'";
    let mut statement = db.prepare_cached(sql)?;
    let times = params![service.as_bytes().as_slice(), from.0, until.0];
    let rows =
        statement.query_map(times, |row| Ok((row.get::<_, String>(0)?, UnixMs(row.get(1)?), UnixMs(row.get(2)?))))?;
    // A row that cannot be read is named once its service is asked for.
    let readable =
        rows.filter_map(|row| row.ok().and_then(|(name, from, until)| Some((name.parse().ok()?, from, until))));
    Ok(readable.collect())
}
