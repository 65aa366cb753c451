//! The table of services. Only the visible rows are made.

use std::sync::Arc;

use ratatui::Frame;
use ratatui::layout::Rect;

use super::table::{self, Rows, TableColumn, fit};
use super::{Scene, message};
use crate::console::columns::{Cell, Column};
use crate::console::data::{ProbingOfInstance, Service};
use crate::console::state::screen::{Selection, View};
use crate::console::text::Meaning;
use crate::console::text::sanitize::sanitize;
use crate::model::outcome::Health;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    let state = scene.state;
    let index = state.listing();
    if index.shown().is_empty() {
        message::draw(frame, area, scene, &nothing(scene));
        return;
    }
    let columns: Vec<Column> = Column::ALL.iter().copied().filter(|column| is_shown(scene, *column)).collect();
    let specs: Vec<TableColumn> = columns.iter().map(|column| column.spec().into()).collect();
    let fitted = fit(&specs, area.width);
    let head = fitted.line(|n| (title(scene, columns[n]), scene.theme.of(Meaning::Strong)));
    let selected = selected(scene);
    let rows = Rows {
        from_top: index.shown().iter().skip(state.screen().top).filter_map(|id| index.get(id)),
        cell: |service: &&Arc<Service>, n: usize| {
            let cell = (columns[n].spec().cell)(&cell(scene, service));
            (cell.text, scene.theme.of(cell.meaning))
        },
        is_selected: |service: &&Arc<Service>| selected == Some(service.id),
    };
    table::draw(frame, area, scene, (&fitted, head), rows);
}

/// The service whose row is selected, initially the first.
fn selected(scene: &Scene<'_>) -> Option<uuid::Uuid> {
    match &scene.state.screen().selection {
        Selection::Service(id) => Some(*id),
        _ => scene.state.listing().shown().get(scene.state.screen().position).copied(),
    }
}

fn is_shown(scene: &Scene<'_>, column: Column) -> bool {
    let index = scene.state.listing();
    let one_namespace = || index.query().namespace.is_some() || index.namespaces().nth(1).is_none();
    (scene.state.wide || !column.spec().wide) && (column != Column::Namespace || !one_namespace())
}

/// The column's title, with the order's arrow.
fn title(scene: &Scene<'_>, column: Column) -> String {
    let query = scene.state.listing().query();
    let arrow = match (column == query.sort, query.inverted, scene.ascii()) {
        (false, ..) => "",
        (true, false, false) => "↓",
        (true, true, false) => "↑",
        (true, false, true) => "v",
        (true, true, true) => "^",
    };
    format!("{}{arrow}", column.spec().title)
}

fn cell<'a>(scene: &Scene<'a>, service: &'a Service) -> Cell<'a> {
    let state = scene.state;
    let (marked, probing) = (state.marks.contains(&service.id), worst_probing(scene, service));
    Cell { service, probing, marked, now: state.now, ascii: scene.ascii() }
}

/// The probing of the instance that is down, else of the first.
fn worst_probing<'a>(scene: &Scene<'a>, service: &Service) -> Option<&'a ProbingOfInstance> {
    let known = scene.state.probing.get(&service.id)?;
    let down = service.instances.iter().find(|i| i.health == Health::Unhealthy);
    let of = &known.probing.instances;
    down.and_then(|down| of.iter().find(|of| of.instance == down.name)).or_else(|| of.first())
}

/// The message in place of an empty list.
fn nothing(scene: &Scene<'_>) -> String {
    let query = scene.state.listing().query();
    let total = scene.state.listing().totals().services();
    if total == 0 {
        return "nothing is registered yet: portolan register --name NAME --base-url URL".to_owned();
    }
    let filtered = !scene.state.filter.is_empty();
    match (filtered, query.faults_only, &query.namespace) {
        (true, ..) => format!("no match among {total} services; Esc clears the filter"),
        (_, true, _) => format!("no faults among {total} services; Ctrl-Z shows all"),
        (_, _, Some(namespace)) => format!("none in namespace {}; 0 shows all {total}", sanitize(namespace, 63)),
        _ => "nothing to show".to_owned(),
    }
}

/// Whether the view lists services.
pub(super) fn lists(view: &View) -> bool {
    matches!(view, View::Overview | View::Services)
}
