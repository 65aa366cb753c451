//! What the console remembers over a restart: for each server the view, the filter and the order it was left with.
//!
//! In: a state, at the end. Out: the same of the next state, at the start. The file is safe to lose; one that cannot be read counts as none.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::columns::{Added, Column};
use super::command::name_of;
use super::facet::Dimension;
use super::filter::{self, Filter};
use super::state::screen::{Screen, View};
use super::state::{KEPT_FILTERS, State};

/// Most servers that are remembered; the one used longest ago is dropped first.
const MAX_SERVERS: usize = 16;
/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    /// The server used last comes first.
    servers: Vec<Server>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, by its name in the file")]
struct Server {
    name: String,
    /// `services`, `map`, `changes`, `outages` or `pivot`; the overview otherwise.
    view: String,
    /// The dimension of a pivot.
    by: String,
    filter: String,
    filters: Vec<String>,
    namespace: Option<String>,
    sort: String,
    inverted: bool,
    faults_only: bool,
    wide: bool,
    pane: bool,
    columns: Vec<String>,
}

fn read(path: &Path) -> Memory {
    let small = fs::metadata(path).is_ok_and(|about| about.len() <= MAX_FILE);
    let text = if small { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
    serde_json::from_str(&text).unwrap_or_default()
}

/// Restores what was remembered of the state's server. `keeps_query` leaves namespace and filter as they are, since flags name them.
pub fn restore(state: &mut State, path: &Path, keeps_query: bool) {
    let Some(known) = read(path).servers.into_iter().find(|server| *server.name == *state.source) else { return };
    let mut query = state.index.query().clone();
    if let Some(column) = Column::sortable().find(|column| name_of(*column) == known.sort) {
        query.sort = column;
    }
    (query.inverted, query.faults_only) = (known.inverted, known.faults_only);
    if !keeps_query {
        query.namespace = known.namespace.map(Into::into);
        if let Ok(filter) = Filter::parse(&known.filter) {
            (query.filter, state.filter) = (filter, known.filter.into());
        }
    }
    state.index.set_query(query);
    let filters = known.filters.into_iter().filter(|text| text.len() <= filter::MAX_LEN).take(KEPT_FILTERS);
    state.filters = filters.map(Into::into).collect();
    (state.wide, state.pane) = (known.wide, known.pane);
    state.columns = known.columns.iter().map(|name| Added::named(name)).collect();
    let view = match known.view.as_str() {
        "services" => View::Services,
        "map" => View::Heat,
        "changes" => View::Changes,
        "outages" => View::Outages,
        "pivot" => View::Pivot(Dimension::named(&known.by)),
        _ => return,
    };
    state.screens.push(Screen::of(view));
}

/// Remembers the state of its server.
///
/// # Errors
/// When the file cannot be written.
pub fn save(state: &State, path: &Path) -> io::Result<()> {
    let query = state.index.query();
    // What stands below a view of one service, which the next run need not have.
    let base = state.screens.iter().rev().map(|screen| &screen.view).find_map(|view| match view {
        View::Services => Some(("services", "")),
        View::Heat => Some(("map", "")),
        View::Changes => Some(("changes", "")),
        View::Outages => Some(("outages", "")),
        View::Pivot(by) => Some(("pivot", by.name())),
        _ => None,
    });
    let (view, by) = base.unwrap_or(("overview", ""));
    let server = Server {
        name: state.source.to_string(),
        view: view.to_owned(),
        by: by.to_owned(),
        filter: state.filter.to_string(),
        filters: state.filters.iter().map(ToString::to_string).collect(),
        namespace: query.namespace.as_ref().map(ToString::to_string),
        sort: name_of(query.sort),
        inverted: query.inverted,
        faults_only: query.faults_only,
        wide: state.wide,
        pane: state.pane,
        columns: state.columns.iter().map(|of| of.name().to_owned()).collect(),
    };
    let mut memory = read(path);
    memory.servers.retain(|known| known.name != server.name);
    memory.servers.insert(0, server);
    memory.servers.truncate(MAX_SERVERS);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Another console may read it meanwhile.
    let mut file = tempfile_in(folder)?;
    let written = serde_json::to_vec_pretty(&memory).map_err(io::Error::other)?;
    file.1.write_all(&written)?;
    fs::rename(&file.0, path)
}

fn tempfile_in(folder: &Path) -> io::Result<(std::path::PathBuf, fs::File)> {
    let path = folder.join(format!(".console-{}.tmp", std::process::id()));
    let file = fs::File::create(&path)?;
    Ok((path, file))
}
