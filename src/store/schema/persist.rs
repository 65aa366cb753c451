//! Executes a [`Write`]. The connection caches the prepared statements.

use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::model::name::ServiceKey;
use crate::model::service::{Instance, InstanceId, Service};

use super::codec::int;
use super::instance::{self, VerdictColumns, acknowledged, drain};
use super::quarantine;
use super::spans;
use super::write::{EncodedProbe, HistoryRow, StoredState, Write};

const ADD_SERVICE: &str = "INSERT INTO service (row, id, namespace, name, source, registered_at, updated_at, revision)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const TOUCH: &str = "UPDATE service SET updated_at = ?2, revision = ?3, unreported = ?4 WHERE row = ?1";
const PUT_HEALTH: &str = "UPDATE instance SET health = ?2, reason = ?3, since = ?4, decided_by = ?5, warning = ?6,
    observed_version = ?7, also_failing = ?8 WHERE id = ?1";
const PUT_DRAIN: &str = "UPDATE instance SET drain = ?2 WHERE id = ?1";
const PUT_ACKNOWLEDGED: &str = "UPDATE instance SET acknowledged = ?2 WHERE id = ?1";
/// The probes of an older generation are no evidence for this one.
const PUT_STATE: &str = "INSERT INTO probe (instance, check_name, generation, state, next_due, samples)
    VALUES (?1, ?2, ?3, ?4, 0, x'') ON CONFLICT (instance, check_name) DO UPDATE SET state = ?4, generation = ?3,
    next_due = iif(generation = ?3, next_due, 0), last = iif(generation = ?3, last, NULL),
    last_pass = iif(generation = ?3, last_pass, NULL), samples = iif(generation = ?3, samples, x'')";
const PUT_PROBE: &str =
    "INSERT INTO probe (instance, check_name, generation, state, next_due, last, last_pass, samples)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (instance, check_name) DO UPDATE
    SET generation = ?3, state = ?4, next_due = ?5, last = ?6, last_pass = ?7, samples = ?8";
/// That of the default check stays: it knows when the instance was probed last.
const DROP_NAMED_PROBES: &str = "DELETE FROM probe WHERE instance = ?1 AND check_name <> 'default'";
const DROP_INSTANCE: &str = "DELETE FROM instance WHERE id = ?1";
const DROP_SERVICE: &str = "DELETE FROM service WHERE row = ?1";
const ADD_HISTORY: &str =
    "INSERT INTO transition (service, key, instance, at, from_health, to_health, reason, message, evidence, event, check_name)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
const COMPLETE: &str = "UPDATE meta SET mirror = 2";
const CHANGE: &str = "INSERT INTO change (revision, service, key, deleted) VALUES (?1, ?2, ?3, ?4)";

/// Executes one write inside the batch's transaction.
pub(crate) fn write(db: &Connection, write: &Write) -> rusqlite::Result<()> {
    match write {
        Write::AddService(row, service) => add_service(db, *row, service),
        Write::Touch(row, s) => run(db, TOUCH, params![row, s.updated_at.0, int(s.revision), s.unreported.is_some()]),
        Write::AddInstance(row, service, id, columns) => instance::insert(db, *row, find(service, *id)?, columns),
        Write::PutInstance(service, id, columns) => instance::update(db, find(service, *id)?, columns),
        Write::PutHealth(service, id) => put_health(db, find(service, *id)?),
        Write::PutDrain(service, id) => run(db, PUT_DRAIN, params![id.0, drain(find(service, *id)?)]),
        Write::PutAcknowledged(service, id) => {
            run(db, PUT_ACKNOWLEDGED, params![id.0, acknowledged(find(service, *id)?)])
        }
        Write::PutState(state) => put_state(db, state),
        Write::PutProbe(row) => put_probe(db, row),
        Write::DropNamedProbes(id) => run(db, DROP_NAMED_PROBES, [id.0]),
        Write::DropInstance(id) => run(db, DROP_INSTANCE, [id.0]),
        Write::DropService(row) => run(db, DROP_SERVICE, [row]),
        Write::History(past) => add_history(db, past),
        Write::Span(change) => spans::change(db, change),
        Write::EndSpans(service, at) => spans::end_all(db, *service, *at),
        Write::EndSpan(id, at) => spans::end(db, *id, *at),
        Write::Change(revision, id, key, deleted) => change(db, *revision, id.as_bytes(), key, *deleted),
        Write::Complete => run(db, COMPLETE, []),
        Write::Quarantine(bad, now) => quarantine::put_away(db, bad, *now),
    }
}

fn run(db: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute(params).map(drop)
}

fn find(service: &Arc<Service>, id: InstanceId) -> rusqlite::Result<&Instance> {
    service.instances.iter().find(|i| i.id == id).ok_or(rusqlite::Error::QueryReturnedNoRows)
}

fn add_service(db: &Connection, row: i64, s: &Service) -> rusqlite::Result<()> {
    let (key, source) = (&s.key, s.source.as_str());
    run(
        db,
        ADD_SERVICE,
        params![
            row,
            s.id.as_bytes().as_slice(),
            key.namespace(),
            key.name(),
            source,
            s.registered_at.0,
            s.updated_at.0,
            int(s.revision)
        ],
    )
}

fn put_health(db: &Connection, i: &Instance) -> rusqlite::Result<()> {
    let verdict = VerdictColumns::of(i);
    let params = params![
        i.id.0,
        i.health.as_str(),
        i.reason.as_str(),
        i.since.0,
        verdict.decided_by,
        verdict.warning,
        i.observed_version.as_deref(),
        verdict.also_failing
    ];
    run(db, PUT_HEALTH, params)
}

fn put_state(db: &Connection, state: &StoredState) -> rusqlite::Result<()> {
    let StoredState { instance, check, generation, json } = state;
    run(db, PUT_STATE, params![instance.0, check.as_str(), int(*generation), json])
}

fn put_probe(db: &Connection, p: &EncodedProbe) -> rusqlite::Result<()> {
    let (check, generation) = (p.check.as_str(), int(p.generation));
    run(db, PUT_PROBE, params![p.instance.0, check, generation, p.state, p.next_due.0, p.last, p.last_pass, p.samples])
}

fn add_history(db: &Connection, past: &HistoryRow) -> rusqlite::Result<()> {
    run(
        db,
        ADD_HISTORY,
        params![
            past.service.as_bytes().as_slice(),
            past.key.as_str(),
            past.instance.as_str(),
            past.at.0,
            past.from.as_str(),
            past.to.map(|(health, _)| health.as_str()),
            past.to.map(|(_, reason)| reason.as_str()),
            past.message,
            past.evidence,
            (!past.event.is_of_health()).then(|| past.event.as_str()),
            (!past.check.is_default()).then(|| past.check.as_str())
        ],
    )
}

fn change(db: &Connection, revision: u64, id: &[u8; 16], key: &ServiceKey, deleted: bool) -> rusqlite::Result<()> {
    run(db, CHANGE, params![int(revision), id.as_slice(), key.as_str(), deleted])
}
