//! The map: all listed services as cells, in the order of the list.
//!
//! Where they do not all fit, each fault still has a cell of its own, and several services of another status share one.

use uuid::Uuid;

use crate::console::columns::Column;
use crate::console::index::Index;
use crate::console::status::Status;

/// Columns that the names of namespaces take.
pub const MARGIN: usize = 16;
/// Cells that may stay empty, since a cell holds only services of one status.
const SLACK: usize = 8;

/// Services that follow each other in the list, of one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Place of the first in the list.
    pub at: usize,
    /// How many.
    pub count: usize,
    /// Their status.
    pub status: Status,
}

/// A row of cells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// The namespace that begins here, where namespaces are shown.
    pub namespace: Option<Box<str>>,
    /// At least one.
    pub cells: Vec<Cell>,
}

/// What a map was made of: the list's version and order, columns and rows.
type Source = (u64, u64, usize, usize);

/// The map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heat {
    /// From the top.
    pub rows: Vec<Row>,
    /// Most services of a cell.
    pub most: usize,
    made_of: Option<Source>,
}

impl Heat {
    /// Makes it again where the list or the size changed.
    pub fn follow(&mut self, index: &Index, columns: usize, height: usize) {
        let made_of = Some((index.version(), index.arranged(), columns, height));
        if self.made_of == made_of {
            return;
        }
        self.made_of = made_of;
        let by_namespace = index.query().sort == Column::Namespace;
        let columns = columns.saturating_sub(if by_namespace { MARGIN } else { 0 }).max(1);
        let of = |id: &Uuid| index.get(id).map(|service| (index.measured().status(service), &*service.namespace));
        let all: Vec<(usize, (Status, &str))> =
            index.shown().iter().enumerate().filter_map(|(at, id)| Some((at, of(id)?))).collect();
        let faults = all.iter().filter(|(_, (status, _))| status.is_fault()).count();
        let room = (columns * height).saturating_sub(faults + SLACK).max(1);
        self.most = if all.len() <= columns * height { 1 } else { (all.len() - faults).div_ceil(room) };
        self.rows = Vec::new();
        let mut before = None;
        for (at, (status, namespace)) in all {
            let begins = by_namespace && before.replace(namespace) != Some(namespace);
            let shares = |cell: &Cell| cell.status == status && cell.count < self.most && !status.is_fault();
            let row = self.rows.last_mut().filter(|_| !begins);
            let (has_room, last) = row.map_or((false, None), |row| (row.cells.len() < columns, Some(row)));
            match last {
                Some(Row { cells, .. }) if cells.last().is_some_and(shares) => {
                    cells.iter_mut().next_back().into_iter().for_each(|cell| cell.count += 1);
                }
                Some(row) if has_room => row.cells.push(Cell { at, count: 1, status }),
                _ => {
                    let namespace = begins.then(|| namespace.into());
                    self.rows.push(Row { namespace, cells: vec![Cell { at, count: 1, status }] });
                }
            }
        }
    }

    /// Row and column of the cell with a place of the list.
    pub fn find(&self, place: usize) -> (usize, usize) {
        let last_from = |from: Option<usize>| from.unwrap_or(0);
        let row =
            last_from(self.rows.partition_point(|row| row.cells.first().is_some_and(|c| c.at <= place)).checked_sub(1));
        let cells = self.rows.get(row).map_or(&[][..], |row| &row.cells);
        (row, last_from(cells.partition_point(|cell| cell.at <= place).checked_sub(1)))
    }

    /// The cell there.
    pub fn get(&self, (row, column): (usize, usize)) -> Option<Cell> {
        self.rows.get(row)?.cells.get(column).copied()
    }
}
