//! A backend that writes nothing when nothing changed, and a changed frame at once.

use std::io::{self, Stdout, Write, stdout};

use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};

/// Begin and end of a synchronized update: the terminal shows the whole of it at once
/// ([DEC private mode 2026](https://gist.github.com/christianparpart/d8a62cc1ab659194337d73e399004036)).
const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";

/// Wraps ratatui's own backend.
pub(super) struct QuietBackend {
    inner: CrosstermBackend<Stdout>,
    /// Whether a synchronized update is open.
    open: bool,
    /// The position of the cursor as far as known; none while it is hidden.
    cursor: Option<Position>,
}

impl QuietBackend {
    pub(super) fn new() -> Self {
        Self { inner: CrosstermBackend::new(stdout()), open: false, cursor: None }
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
        let mut content = content.peekable();
        if content.peek().is_none() {
            return Ok(());
        }
        self.begin()?;
        // Drawing moves the cursor, so a visible one has to be restored.
        if self.cursor.take().is_some() {
            self.inner.hide_cursor()?;
        }
        self.inner.draw(content)
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
        self.inner.size()
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
