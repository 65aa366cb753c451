//! The table of services: only the rows in sight are made.

use std::sync::Arc;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::columns::{self, Column, Fitted, Rows, fit};
use super::{Scene, spark, text};
use crate::console::app::screen::{Chosen, View};
use crate::console::data::{ProbingOfInstance, Service};
use crate::console::harmless::escape;
use crate::console::index::{Grade, SortKey};
use crate::console::page::{self, Meaning};
use crate::model::outcome::Health;

const MARK: usize = 0;
const STATUS: usize = 1;
const NAME: usize = 2;
const NAMESPACE: usize = 3;
const READY: usize = 4;
const SINCE: usize = 5;
const REASON: usize = 6;
const LATENCY: usize = 7;
const P50: usize = 8;
const P99: usize = 9;
const CODE: usize = 10;
const STREAK: usize = 11;
const VERSION: usize = 12;
const SOURCE: usize = 13;
const URL: usize = 14;

const fn column(title: &'static str, width: u16, grows: u16, leaves: u8) -> Column {
    Column { title, width, grows, leaves }
}

const COLUMNS: [Column; 15] = [
    column("", 1, 0, 0),
    column("STATUS", 10, 0, 0),
    column("NAME", 14, 4, 0),
    column("NAMESPACE", 10, 1, 4),
    column("READY", 5, 0, 3),
    column("SINCE", 8, 0, 2),
    column("REASON", 16, 1, 1),
    column("LATENCY", 12, 1, 6),
    column("P50", 8, 0, 5),
    column("P99", 8, 0, 8),
    column("CODE", 4, 0, 9),
    column("STREAK", 7, 0, 10),
    column("VERSION", 8, 0, 7),
    column("SOURCE", 8, 0, 11),
    column("URL", 28, 2, 12),
];

/// Columns that only a wide table has.
const WIDE: [usize; 3] = [SOURCE, URL, STREAK];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    let state = scene.state;
    let index = state.listing();
    if index.shown().is_empty() {
        text::message(frame, area, scene, &nothing(scene));
        return;
    }
    let fitted = fitted(scene, area.width);
    let head = fitted.line(|n| (title(scene, n), scene.theme.of(Meaning::Strong)));
    let chosen = chosen(scene);
    let rows = Rows {
        from_top: index.shown().iter().skip(state.screen().top).filter_map(|id| index.get(id)),
        cell: |service: &&Arc<Service>, n| cell(scene, service, n),
        is_chosen: |service: &&Arc<Service>| chosen == Some(service.id),
    };
    columns::draw(frame, area, scene, (&fitted, head), rows);
}

/// The service whose row is chosen: the first where none is yet.
fn chosen(scene: &Scene<'_>) -> Option<uuid::Uuid> {
    match &scene.state.screen().chosen {
        Chosen::Service(id) => Some(*id),
        _ => scene.state.listing().shown().get(scene.state.screen().place).copied(),
    }
}

fn fitted(scene: &Scene<'_>, width: u16) -> Fitted {
    let mut columns = COLUMNS;
    if !scene.state.wide {
        for n in WIDE {
            columns[n] = columns[n].hidden();
        }
    }
    let index = scene.state.listing();
    if index.query().namespace.is_some() || index.namespaces().nth(1).is_none() {
        columns[NAMESPACE] = columns[NAMESPACE].hidden();
    }
    fit(&columns, width)
}

/// The column's title, with the order's arrow.
fn title(scene: &Scene<'_>, n: usize) -> String {
    let query = scene.state.listing().query();
    let by = match query.sort {
        SortKey::Worst => STATUS,
        SortKey::Name => NAME,
        SortKey::Namespace => NAMESPACE,
        SortKey::Since => SINCE,
        SortKey::Version => VERSION,
        SortKey::Latency => P50,
        SortKey::Instances => READY,
        SortKey::Source => SOURCE,
    };
    let arrow = match (n == by, query.inverted, scene.ascii()) {
        (false, ..) => "",
        (true, false, false) => "↓",
        (true, true, false) => "↑",
        (true, false, true) => "v",
        (true, true, true) => "^",
    };
    format!("{}{arrow}", COLUMNS[n].title)
}

fn cell(scene: &Scene<'_>, service: &Service, n: usize) -> (String, Style) {
    let state = scene.state;
    let plain = Style::new();
    let probing = || worst_probing(scene, service);
    let faint = scene.theme.of(Meaning::Faint);
    match n {
        MARK => (if state.marks.contains(&service.id) { "*".to_owned() } else { String::new() }, plain),
        STATUS => {
            let word = page::grade(Grade::of(service), scene.ascii());
            (word.text, scene.theme.of(word.meaning))
        }
        NAME => (escape(&service.name, 128), plain),
        NAMESPACE => (escape(&service.namespace, 128), plain),
        READY => (format!("{}/{}", service.healthy(), service.instances.len()), plain),
        SINCE => (service.since().map_or_else(String::new, |at| short(state.now.since(at))), plain),
        REASON => (escape(service.why(), 64), if service.is_faulty() { plain } else { faint }),
        LATENCY => (probing().map_or_else(String::new, |of| spark::text(&of.samples, 14, scene.ascii())), plain),
        P50 | P99 => {
            let percent = if n == P50 { 50 } else { 99 };
            (probing().and_then(|of| spark::percentile(&of.samples, percent)).map_or_else(String::new, millis), plain)
        }
        CODE => (probing().and_then(code).unwrap_or_default(), plain),
        STREAK => (probing().map_or_else(String::new, streak), faint),
        VERSION => (escape(&service.version, 64), faint),
        SOURCE => (escape(&service.source, 16), faint),
        URL => (service.instances.first().map_or_else(String::new, |i| escape(&i.base_url, 512)), faint),
        _ => (String::new(), plain),
    }
}

/// The probing of the instance that is down, else of the first.
fn worst_probing<'a>(scene: &Scene<'a>, service: &Service) -> Option<&'a ProbingOfInstance> {
    let known = scene.state.probing.get(&service.id)?;
    let down = service.instances.iter().find(|i| i.health == Health::Unhealthy);
    let of = &known.probing.instances;
    down.and_then(|down| of.iter().find(|of| of.instance == down.name)).or_else(|| of.first())
}

fn code(of: &ProbingOfInstance) -> Option<String> {
    of.last.as_ref().and_then(|last| last.code).map(|code| code.to_string())
}

fn streak(of: &ProbingOfInstance) -> String {
    format!("{}{}", if of.streak.passing { '+' } else { '-' }, of.streak.count)
}

fn millis(us: u32) -> String {
    match us {
        0..=9999 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        _ => format!("{} ms", us / 1000),
    }
}

/// `12s`, `4m`, `3h`, `9d`.
pub(super) fn short(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..=59 => format!("{s}s"),
        s @ 60..=3599 => format!("{}m{:02}s", s / 60, s % 60),
        s @ 3600..=86_399 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        s => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

/// What is said where no row is.
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
        (_, _, Some(namespace)) => format!("none in namespace {}; 0 shows all {total}", escape(namespace, 63)),
        _ => "nothing to show".to_owned(),
    }
}

/// Whether the shown view lists services.
pub(super) fn lists(view: &View) -> bool {
    matches!(view, View::Overview | View::Services)
}
