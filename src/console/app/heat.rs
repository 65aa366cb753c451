//! Moving over the map of all services.

use super::navigate;
use crate::console::columns::Column;
use crate::console::layout::list_height;
use crate::console::state::State;
use crate::console::state::screen::View;

/// Makes the map again where it is visible and the list changed.
pub(super) fn follow(state: &mut State) {
    if state.screen().view != View::Heat {
        return;
    }
    let (columns, height) = (usize::from(state.size.0), list_height(state));
    let mut heat = std::mem::take(&mut state.heat);
    heat.follow(state.listing(), columns, height);
    state.heat = heat;
}

/// One cell to the side.
pub(super) fn aside(state: &mut State, right: bool) {
    if state.screen().view != View::Heat {
        return;
    }
    let at = navigate::place(state);
    let Some(cell) = state.heat.get(state.heat.find(at)) else { return };
    let to = if right { cell.at + cell.count } else { cell.at.saturating_sub(1) };
    // To the left it is the last of the cell before, whose first is meant.
    let to = state.heat.get(state.heat.find(to)).map_or(to, |cell| cell.at);
    navigate::choose(state, to);
}

/// Some rows up or down.
pub(super) fn step(state: &mut State, by: isize) {
    let (row, column) = state.heat.find(navigate::place(state));
    let row = row.saturating_add_signed(by).min(state.heat.rows.len().saturating_sub(1));
    let cells = state.heat.rows.get(row).map_or(&[][..], |row| &row.cells);
    if let Some(cell) = cells.get(column.min(cells.len().saturating_sub(1))) {
        let to = cell.at;
        navigate::choose(state, to);
    }
}

/// Between the worst first and one namespace after the other.
pub(super) fn turn(state: &mut State) {
    navigate::change(state, |query| {
        query.sort = if query.sort == Column::Namespace { Column::Status } else { Column::Namespace };
    });
}
