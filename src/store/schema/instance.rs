//! An instance's row. A column that a registration or a verdict changes stands in this file alone, besides its migration: in the list
//! of columns, in `content!` and in [`read`], in one order.

use std::sync::{Arc, LazyLock};

use rusqlite::{Connection, Row, params};

use super::codec::{Cells, Count, Json, Parsed, damaged, int, json};
use super::write::SpecColumns;
use crate::model::check::Check;
use crate::model::name::InstanceName;
use crate::model::service::{Instance, InstanceId, InstanceSpec, Owner};
use crate::model::url::EndpointUrl;

/// The columns that never change.
const FIXED: &str = "service, id, name, created_at";

/// The columns that a change of an instance writes.
const CONTENT: &[&str] = &[
    "owner",
    "generation",
    "fence",
    "health",
    "reason",
    "since",
    "base_url",
    "health_url",
    "check_json",
    "version",
    "description",
    "metadata",
    "weight",
    "zone",
    "tags",
    "external_id",
    "checks",
    "deregister_after",
    "drain",
    "warning",
    "observed_version",
    "decided_by",
    "acknowledged",
    "also_failing",
];

/// Every instance, for [`read`].
pub(crate) static SELECT: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {FIXED}, {} FROM instance", CONTENT.join(", ")));

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let (columns, marks) = content_sql();
    format!("INSERT INTO instance ({FIXED}, {columns}) VALUES (?, ?, ?, ?, {marks})")
});

static UPDATE: LazyLock<String> = LazyLock::new(|| {
    let (columns, marks) = content_sql();
    format!("UPDATE instance SET ({columns}) = ({marks}) WHERE id = ?")
});

/// The names of the [`CONTENT`] columns, and a parameter for each.
fn content_sql() -> (String, String) {
    (CONTENT.join(", "), vec!["?"; CONTENT.len()].join(", "))
}

/// Parameters before, those of the [`CONTENT`] columns, and parameters after.
macro_rules! content {
    ([$($before:expr),*], $instance:expr, $columns:expr, [$($after:expr),*]) => {
        params![
            $($before,)*
            $instance.owner.to_stored(),
            int($instance.generation),
            $instance.fence.map(int),
            $instance.health.as_str(),
            $instance.reason.as_str(),
            $instance.since.0,
            $instance.spec.base_url.as_str(),
            $instance.spec.health_url.as_ref().map(EndpointUrl::as_str),
            $columns.check,
            $instance.spec.version,
            $instance.spec.description,
            $columns.metadata,
            $instance.spec.weight,
            $instance.spec.zone,
            $columns.tags,
            $instance.spec.external_id,
            $columns.checks,
            $instance.spec.deregister_after_seconds,
            drain($instance),
            VerdictColumns::of($instance).warning,
            $instance.observed_version.as_deref(),
            VerdictColumns::of($instance).decided_by,
            acknowledged($instance),
            VerdictColumns::of($instance).also_failing
            $(, $after)*
        ]
    };
}

/// The columns of a verdict that are encoded; none where there is nothing.
pub(super) struct VerdictColumns<'a> {
    pub(super) decided_by: Option<&'a str>,
    pub(super) warning: Option<String>,
    pub(super) also_failing: Option<String>,
}

impl<'a> VerdictColumns<'a> {
    pub(super) fn of(instance: &'a Instance) -> Self {
        Self {
            decided_by: (!instance.decided_by.is_default()).then(|| instance.decided_by.as_str()),
            warning: instance.warning.as_deref().map(json),
            also_failing: (!instance.also_failing.is_empty()).then(|| json(&instance.also_failing)),
        }
    }
}

/// The column of its drain.
pub(super) fn drain(instance: &Instance) -> Option<String> {
    instance.drain.as_deref().map(json)
}

/// The column of its acknowledgement.
pub(super) fn acknowledged(instance: &Instance) -> Option<String> {
    instance.acknowledged.as_deref().map(json)
}

/// Reads a row of [`SELECT`].
pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Instance> {
    let mut cells = Cells::of(row);
    let _service: i64 = cells.next()?;
    Ok(Instance {
        id: InstanceId(int(cells.next::<Count>()?.0)),
        name: cells.next::<Parsed<InstanceName>>()?.0,
        created_at: cells.time()?,
        owner: Owner::from_stored(&cells.next::<String>()?).ok_or_else(|| damaged("an owner"))?,
        generation: cells.next::<Count>()?.0,
        fence: cells.next::<Option<Count>>()?.map(|fence| fence.0),
        health: cells.next::<Parsed<_>>()?.0,
        reason: cells.next::<Parsed<_>>()?.0,
        since: cells.time()?,
        message: None,
        spec: Arc::new(spec(&mut cells)?),
        drain: shared(cells.next()?),
        warning: shared(cells.next()?),
        observed_version: cells.next::<Option<String>>()?.map(Into::into),
        decided_by: cells.next::<Option<Parsed<_>>>()?.map(|name| name.0).unwrap_or_default(),
        acknowledged: shared(cells.next()?),
        also_failing: cells.next::<Option<Json<_>>>()?.map(|checks| checks.0).unwrap_or_default(),
    })
}

fn shared<T>(column: Option<Json<T>>) -> Option<Arc<T>> {
    column.map(|value| Arc::new(value.0))
}

fn spec(cells: &mut Cells<'_, '_>) -> rusqlite::Result<InstanceSpec> {
    let url = |parsed: Result<EndpointUrl, _>| parsed.map_err(damaged);
    Ok(InstanceSpec {
        base_url: url(EndpointUrl::base(&cells.next::<String>()?))?,
        health_url: cells.next::<Option<String>>()?.map(|text| url(EndpointUrl::health(&text))).transpose()?,
        check: cells.next::<Option<Json<Check>>>()?.map(|c| c.0).unwrap_or_default(),
        version: cells.next()?,
        description: cells.next()?,
        metadata: cells.next::<Option<Json<_>>>()?.map(|m| m.0).unwrap_or_default(),
        weight: cells.next()?,
        zone: cells.next()?,
        tags: cells.next::<Option<Json<_>>>()?.map(|tags| tags.0).unwrap_or_default(),
        external_id: cells.next()?,
        checks: cells.next::<Option<Json<_>>>()?.map(|checks| checks.0).unwrap_or_default(),
        deregister_after_seconds: cells.next()?,
    })
}

/// Writes a new one, of the service in row `service`.
pub(super) fn insert(db: &Connection, service: i64, i: &Instance, columns: &SpecColumns) -> rusqlite::Result<()> {
    let params: &[&dyn rusqlite::ToSql] = content!([service, i.id.0, i.name.as_str(), i.created_at.0], i, columns, []);
    db.prepare_cached(&INSERT)?.execute(params).map(drop)
}

/// Writes its content.
pub(super) fn update(db: &Connection, i: &Instance, columns: &SpecColumns) -> rusqlite::Result<()> {
    let params: &[&dyn rusqlite::ToSql] = content!([], i, columns, [i.id.0]);
    db.prepare_cached(&UPDATE)?.execute(params).map(drop)
}
