//! The terminal: taken over, drawn on only when a cell changes, and always restored.
//!
//! In: frames. Out: bytes to standard output. In order: this file, `backend`, `hangup`.

mod backend;
mod hangup;

use std::io::{self, Write, stdout};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use ratatui::Terminal;

use super::state::State;
use super::view;
use backend::QuietBackend;
pub(super) use hangup::{hung_up, watch};

/// Whether the console has taken over the terminal.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, from [`Tty::take`] to its drop.
pub(super) struct Tty {
    terminal: Terminal<QuietBackend>,
}

impl Tty {
    /// Takes it over: raw mode, alternate screen. From here on a panic restores it before it prints.
    ///
    /// # Errors
    /// When standard output is not a usable terminal.
    pub(super) fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                restore();
                before(info);
            }));
        });
        TAKEN.store(true, Ordering::SeqCst);
        let taken = enable_raw_mode().and_then(|()| {
            execute!(stdout(), EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste, cursor::Hide)?;
            Terminal::new(QuietBackend::new())
        });
        match taken {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                restore();
                Err(error)
            }
        }
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (u16, u16) {
        self.terminal.size().map_or((80, 24), |size| (size.width, size.height))
    }

    /// Draws the state; where no cell differs, nothing is written.
    ///
    /// # Errors
    /// When the terminal closed.
    pub(super) fn draw(&mut self, state: &State) -> io::Result<()> {
        self.terminal.draw(|frame| view::draw(frame, state)).map(drop)
    }

    /// The next frame is drawn completely.
    ///
    /// # Errors
    /// When the terminal closed.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal, once.
fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // A terminal that hung up needs no restoring.
        let _ = execute!(stdout(), DisableBracketedPaste, DisableMouseCapture, LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}

/// Puts a text into the terminal's clipboard (OSC 52), where the terminal allows that.
///
/// # Errors
/// When the terminal closed.
pub(super) fn copy(text: &str) -> io::Result<()> {
    execute!(stdout(), CopyToClipboard::to_clipboard_from(text))?;
    stdout().flush()
}
