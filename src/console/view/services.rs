//! The table of services. Only the visible rows are made.

use std::sync::Arc;

use ratatui::Frame;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr;

use super::table::{self, Rows, TableColumn, fit};
use super::{Scene, message};
use crate::console::columns::{Added, Cell, Column};
use crate::console::data::{ProbingOfInstance, Service, deciding};
use crate::console::layout;
use crate::console::state::screen::{Selection, View};
use crate::console::text::sanitize::sanitize;
use crate::console::text::{Meaning, Segment, plain};
use crate::model::availability::percent_text;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    let state = scene.state;
    let index = state.listing();
    if index.shown().is_empty() {
        message::draw(frame, area, scene, &nothing(scene));
        return;
    }
    let columns = columns(scene);
    let fitted = fit(&specs(scene, &columns, area.width), area.width);
    let head = fitted.line(|n, _| (columns[n].title(scene), scene.theme.of(Meaning::Strong)));
    let selected = selected(scene);
    let rows = Rows {
        from_top: index.shown().iter().skip(state.screen().top).filter_map(|id| index.get(id)),
        cell: |service: &&Arc<Service>, n: usize, room: usize| {
            let cell = columns[n].cell(scene, &cell(scene, service, room));
            (cell.text, scene.theme.of(cell.meaning))
        },
        is_selected: |service: &&Arc<Service>| selected == Some(service.id),
    };
    table::draw(frame, area, scene, (&fitted, head), rows);
}

/// A column of the table: a usual one, or one that the user added.
enum Shown<'a> {
    Usual(Column),
    Added(&'a Added),
}

impl Shown<'_> {
    fn spec(&self) -> TableColumn<'_> {
        match self {
            Self::Usual(column) => column.spec().into(),
            // Asked for, so they leave after most others.
            Self::Added(of) => TableColumn { title: of.name(), width: 8, grows: 1, drops: 2 },
        }
    }

    fn title(&self, scene: &Scene<'_>) -> String {
        match self {
            Self::Usual(column) => title(scene, *column),
            Self::Added(of) => sanitize(of.name(), 63).to_uppercase(),
        }
    }

    fn cell(&self, scene: &Scene<'_>, row: &Cell<'_>) -> Segment {
        match self {
            Self::Usual(column) => (column.spec().cell)(row),
            Self::Added(Added::Availability) => {
                let share = scene.state.availability.share(&row.service.id);
                plain(share.map_or_else(String::new, percent_text))
            }
            Self::Added(Added::Of(of)) => {
                let value = row.service.worst().and_then(|instance| of.value(row.service, instance));
                plain(sanitize(value.unwrap_or_default(), 128))
            }
        }
    }
}

/// The columns' sizes. What rows are ordered by leaves only where it has no room beside what never leaves.
fn specs<'a>(scene: &'a Scene<'_>, columns: &'a [Shown<'_>], width: u16) -> Vec<TableColumn<'a>> {
    let mut specs: Vec<TableColumn<'_>> = columns.iter().map(Shown::spec).collect();
    if let Some(at) = columns.iter().position(|column| matches!(column, Shown::Usual(Column::Certificate))) {
        let visible =
            scene.state.listing().shown().iter().skip(scene.state.screen().top).take(layout::list_height(scene.state));
        let services = visible.filter_map(|id| scene.state.listing().get(id));
        specs[at].shrink(services.map(|service| columns[at].cell(scene, &cell(scene, service, 0)).text));
    }
    if let Some(at) = sorted(scene, columns) {
        // With its arrow.
        let title = u16::try_from(columns[at].title(scene).width()).unwrap_or(0);
        specs[at].width = specs[at].width.max(title);
        let kept = specs.iter().enumerate().filter(|(n, column)| column.drops == 0 || *n == at);
        if kept.map(|(_, column)| column.width + 1).sum::<u16>() <= width {
            specs[at].drops = 0;
        }
    }
    specs
}

/// Which of the columns rows are ordered by; none where it is not among them.
fn sorted(scene: &Scene<'_>, columns: &[Shown<'_>]) -> Option<usize> {
    let sort = scene.state.listing().query().sort;
    columns.iter().position(|column| matches!(column, Shown::Usual(shown) if *shown == sort))
}

/// What the list is ordered by, where no column of it says so: `sorted by namespace ↓`.
pub(super) fn hidden_order(scene: &Scene<'_>) -> Option<String> {
    let state = scene.state;
    if !matches!(state.screen().view, View::Overview | View::Services) || state.listing().shown().is_empty() {
        return None;
    }
    let width = state.size.0.saturating_sub(layout::pane_width(state).unwrap_or(0));
    let columns = columns(scene);
    let is_shown = |at| fit(&specs(scene, &columns, width), width).shows(at);
    let hidden = !sorted(scene, &columns).is_some_and(is_shown);
    let query = state.listing().query();
    let name = query.sort.spec().title.to_lowercase();
    hidden.then(|| format!("sorted by {name} {}", scene.arrow(query.inverted)))
}

/// The shown columns: the user's follow the reason.
fn columns<'a>(scene: &Scene<'a>) -> Vec<Shown<'a>> {
    let mut all = Vec::new();
    for column in Column::ALL.iter().copied().filter(|column| is_shown(scene, *column)) {
        all.push(Shown::Usual(column));
        if column == Column::Reason {
            all.extend(scene.state.columns.iter().map(Shown::Added));
        }
    }
    all
}

/// The service whose row is selected, initially the first.
pub(super) fn selected(scene: &Scene<'_>) -> Option<uuid::Uuid> {
    match &scene.state.screen().selection {
        Selection::Service(id) => Some(*id),
        _ => scene.state.listing().shown().get(scene.state.screen().position).copied(),
    }
}

fn is_shown(scene: &Scene<'_>, column: Column) -> bool {
    let index = scene.state.listing();
    let one_namespace = || index.query().namespace.is_some() || index.namespaces().nth(1).is_none();
    // What the list is about is shown even where it is not wide.
    let asked =
        column == index.query().sort || column == Column::Certificate && index.query().filter.uses_certificates();
    (scene.state.wide || asked || !column.spec().wide) && (column != Column::Namespace || !one_namespace())
}

/// The column's title, with the order's arrow.
fn title(scene: &Scene<'_>, column: Column) -> String {
    let query = scene.state.listing().query();
    let arrow = if column == query.sort { scene.arrow(query.inverted) } else { "" };
    format!("{}{arrow}", column.spec().title)
}

fn cell<'a>(scene: &Scene<'a>, service: &'a Service, room: usize) -> Cell<'a> {
    let state = scene.state;
    let (marked, probing) = (state.marks.contains(&service.id), worst_probing(scene, service));
    let measured = state.listing().measured();
    let (status, certificate) = (measured.status(service), measured.certificates.get(&service.id).copied());
    Cell { service, status, probing, certificate, room, marked, now: state.now, ascii: scene.ascii() }
}

/// The probing of the instance that the row is about.
fn worst_probing<'a>(scene: &Scene<'a>, service: &Service) -> Option<&'a ProbingOfInstance> {
    let worst = service.worst()?;
    deciding(&scene.state.probing.get(&service.id)?.probing, worst)
}

/// The message in place of an empty list.
pub(super) fn nothing(scene: &Scene<'_>) -> String {
    let query = scene.state.listing().query();
    let total = scene.state.listing().totals().services();
    if total == 0 {
        return "nothing is registered yet: portolan register --name NAME --base-url URL".to_owned();
    }
    let filtered = !scene.state.filter.is_empty();
    let hidden = scene.state.listing().hidden();
    match (filtered, query.faults_only, &query.namespace) {
        (true, true, _) if hidden > 0 => {
            format!("no fault among the {hidden} that match; Ctrl-Z shows them, Esc clears the filter")
        }
        (true, ..) => format!("no match among {total} services; Esc clears the filter"),
        (_, true, _) => format!("no faults among {total} services; Ctrl-Z shows all"),
        (_, _, Some(namespace)) => format!("none in namespace {}; 0 shows all {total}", sanitize(namespace, 63)),
        _ => "nothing to show".to_owned(),
    }
}

/// Whether the view lists services.
pub(super) fn lists(view: &View) -> bool {
    matches!(view, View::Overview | View::Services | View::Heat)
}
