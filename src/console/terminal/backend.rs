//! A backend that writes nothing when nothing changed, and a changed frame at once; cells of a URL are a link.

use std::cell::RefCell;
use std::io::{self, Stdout, Write, stdout};
use std::rc::Rc;

use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Position, Rect, Size};
use ratatui::style::Modifier;

use crate::console::layout::usable_size;
use crate::console::view::links::Link;

/// Begin and end of a synchronized update: the terminal shows the whole of it at once
/// ([DEC private mode 2026](https://gist.github.com/christianparpart/d8a62cc1ab659194337d73e399004036)).
const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";

/// Begin and end of a link, [OSC 8](https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda).
const LINK: &str = "\x1b]8;;";
const LINK_END: &str = "\x1b\\";

/// The links of the frame that is drawn next; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Links(Rc<RefCell<Linked>>);

#[derive(Debug, Default)]
struct Linked {
    /// Those of the newest frame.
    links: Vec<Link>,
    /// Its rows whose links differ from those of the frame before: a terminal keeps a cell's link until the cell is written again.
    rows: Vec<Buffer>,
}

impl Links {
    /// Replaces them by those of a frame.
    pub(super) fn set(&self, links: Vec<Link>, frame: &Buffer) {
        let mut linked = self.0.borrow_mut();
        let width = usize::from(frame.area.width).max(1);
        let rows = (frame.area.y..).zip(frame.content.chunks(width));
        let of = |links: &[Link], y| links.iter().filter(|link| link.y == y).cloned().collect::<Vec<_>>();
        let differ = rows.filter(|(y, _)| of(&links, *y) != of(&linked.links, *y));
        let row =
            |(y, cells): (u16, &[Cell])| Buffer { area: Rect { y, height: 1, ..frame.area }, content: cells.to_vec() };
        let rows = differ.map(row).collect();
        *linked = Linked { links, rows };
    }
}

/// Wraps ratatui's own backend.
pub(super) struct QuietBackend {
    inner: CrosstermBackend<Stdout>,
    /// Whether a synchronized update is open.
    open: bool,
    links: Links,
    /// The position of the cursor as far as known; none while it is hidden.
    cursor: Option<Position>,
}

impl QuietBackend {
    pub(super) fn new() -> Self {
        Self { inner: CrosstermBackend::new(stdout()), open: false, links: Links::default(), cursor: None }
    }

    /// Where the next frame's links go.
    pub(super) fn links(&self) -> Links {
        self.links.clone()
    }

    /// Draws cells, those of a link between its begin and its end.
    fn draw_linked<'a>(&mut self, content: &[(u16, u16, &'a Cell)], links: &[Link]) -> io::Result<()> {
        let of = |(x, y, _): &(u16, u16, &'a Cell)| links.iter().find(|l| l.y == *y && (l.from..l.to).contains(x));
        for run in content.chunk_by(|a, b| of(a) == of(b)) {
            let link = run.first().and_then(of);
            if let Some(link) = link {
                write!(self.inner, "{LINK}{}{LINK_END}", link.url)?;
            }
            self.inner.draw(run.iter().copied())?;
            if link.is_some() {
                write!(self.inner, "{LINK}{LINK_END}")?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        if !self.open {
            self.open = true;
            self.inner.write_all(BEGIN)?;
        }
        Ok(())
    }
}

impl Backend for QuietBackend {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        let linked = Rc::clone(&self.links.0);
        let Linked { links, rows } = &*linked.borrow();
        let is_whole = |y: u16| rows.iter().any(|row| row.area.y == y);
        let mut content = content.filter(|(_, y, _)| !is_whole(*y)).peekable();
        if content.peek().is_none() && rows.is_empty() {
            return Ok(());
        }
        self.begin()?;
        // Drawing moves the cursor, so a visible one has to be restored.
        if self.cursor.take().is_some() {
            self.inner.hide_cursor()?;
        }
        if links.is_empty() && rows.is_empty() {
            return self.inner.draw(content);
        }
        self.draw_linked(&content.collect::<Vec<_>>(), links)?;
        for row in rows {
            // From cells that no frame has, so that all are drawn.
            let mut other = Cell::EMPTY;
            other.modifier = Modifier::HIDDEN;
            self.draw_linked(&Buffer::filled(row.area, other).diff(row), links)?;
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if self.cursor.take().is_none() {
            return Ok(());
        }
        self.begin()?;
        self.inner.hide_cursor()
    }

    /// The position follows by [`Backend::set_cursor_position`].
    fn show_cursor(&mut self) -> io::Result<()> {
        if self.cursor.is_some() {
            return Ok(());
        }
        self.begin()?;
        self.cursor = Some(Position { x: u16::MAX, y: u16::MAX });
        self.inner.show_cursor()
    }

    /// As far as known: the answer of the terminal would arrive among the keys.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.cursor.unwrap_or_default())
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let position = position.into();
        if self.cursor == Some(position) {
            return Ok(());
        }
        self.begin()?;
        if self.cursor.is_some() {
            self.cursor = Some(position);
        }
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.begin()?;
        self.inner.clear()
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        self.begin()?;
        self.inner.clear_region(clear_type)
    }

    fn size(&self) -> io::Result<Size> {
        self.inner.size().map(|size| usable_size(size.into()).into())
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.inner.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.open) {
            return Ok(());
        }
        self.inner.write_all(END)?;
        Write::flush(&mut self.inner)
    }
}
