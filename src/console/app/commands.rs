//! Commands: what a line after `:` does.

use super::{actions, facets, navigate, outages};
use crate::console::columns::Added;
use crate::console::command::{self, Command};
use crate::console::data::Service;
use crate::console::facet::{self, Dimension};
use crate::console::filter::Filter;
use crate::console::keys::Action;
use crate::console::state::modal::{Modal, Picker};
use crate::console::state::screen::View;
use crate::console::state::{State, Tone};
use crate::model::did_you_mean::closest;

/// What became of a command.
pub(super) enum Ran {
    /// It is done.
    Done,
    /// It stands for a key, which the caller performs.
    Key(Action),
    /// It is not a command; the state says why.
    Refused,
}

/// Reads and performs a line.
pub(super) fn line(state: &mut State, text: &str) -> Ran {
    match command::parse(text) {
        Ok(command) => run(state, command),
        Err(error) => {
            state.note(Tone::Bad, error.to_string());
            Ran::Refused
        }
    }
}

/// Performs a command.
pub(super) fn run(state: &mut State, command: Command) -> Ran {
    match command {
        Command::Key(action) => return Ran::Key(action),
        Command::Namespace(name) => {
            if let Some(unknown) =
                name.as_ref().filter(|name| !state.index.namespaces().any(|(known, _)| *known == ***name))
            {
                state.note(Tone::Plain, format!("no service is in namespace {unknown} now"));
            }
            navigate::change(state, |query| query.namespace.clone_from(&name));
        }
        Command::Sort(column, inverted) => {
            navigate::change(state, |query| (query.sort, query.inverted) = (column, inverted));
        }
        Command::Columns(names) => {
            if let Some(why) = names.iter().find_map(|name| no_column(state, name)) {
                state.note(Tone::Bad, why);
                return Ran::Refused;
            }
            state.columns = names.iter().take(MAX_COLUMNS).map(|name| Added::named(name)).collect();
        }
        Command::Filter(text) => filter(state, &text),
        Command::Pivot(dimension) => facets::open(state, dimension),
        Command::Outages(window) => outages::open(state, window),
        Command::Theme(theme) => state.options.theme = theme,
        Command::Menu(word) => menu(state, word),
    }
    Ran::Done
}

/// Most columns of labels.
pub(super) const MAX_COLUMNS: usize = 8;

/// Why a name is not a column that can be added: no service has such a label. While none is known, any may be one.
fn no_column(state: &State, name: &str) -> Option<String> {
    let services = || state.index.services();
    let is_label = |service: &Service| {
        service.metadata.get(name).is_some() || service.instances.iter().any(|i| i.metadata.get(name).is_some())
    };
    let is_known = !matches!(Added::named(name), Added::Of(Dimension::Label(_)));
    if is_known || services().next().is_none() || services().any(is_label) {
        return None;
    }
    let names = facet::dimensions(services());
    let names: Vec<&str> = names.iter().map(Dimension::name).chain(Added::NAMES.iter().copied()).collect();
    let near = closest(name, &names).map_or_else(String::new, |near| format!("; did you mean {near}?"));
    Some(format!("no service has a label {name}{near}"))
}

fn filter(state: &mut State, text: &str) {
    match Filter::parse(text) {
        Ok(filter) => {
            state.filter = text.into();
            state.remember_filter(text);
            navigate::change(state, |query| query.filter = filter.clone());
            if !matches!(state.screen().view, View::Overview | View::Services | View::Heat | View::Outages) {
                navigate::open(state, View::Services);
            }
        }
        Err(error) => state.note(Tone::Bad, error.to_string()),
    }
}

/// Opens the menu of operations with a word typed.
fn menu(state: &mut State, word: &str) {
    actions::menu(state);
    match &mut state.modal {
        Some(Modal::Pick(picker)) => {
            *picker = Picker { input: word.into(), ..picker.clone() };
            picker.narrow();
        }
        _ => state.note(Tone::Plain, "choose a service first"),
    }
}
