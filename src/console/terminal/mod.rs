//! The terminal: taken over, drawn on only when a cell changes, and always restored.
//!
//! In: frames. Out: bytes to standard output. In order: this file, `backend`, `hangup`.

mod backend;
mod hangup;

use std::cell::Cell;
use std::io::{self, Write, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::style::Print;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, SetTitle, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use ratatui::{Frame, Terminal};

use super::layout::UNKNOWN_SIZE;
use super::state::State;
use super::view;
use backend::QuietBackend;
pub(super) use hangup::{hung_up, watch};

/// The wheel moves the selection like the arrow keys (xterm's alternate scroll). The mouse itself is not captured, so that text is selected
/// and copied as in any other program.
const WHEEL_ON: &str = "\x1b[?1007h";
/// The terminal's usual wheel.
const WHEEL_OFF: &str = "\x1b[?1007l";

/// The terminal's own title is kept on its stack, and put back (xterm's window operations 22 and 23).
const TITLE_KEPT: &str = "\x1b[22;2t";
const TITLE_BACK: &str = "\x1b[23;2t";

/// Whether the console has set the title.
static TITLED: AtomicBool = AtomicBool::new(false);
/// Whether the console has taken over the terminal.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Held while something is written to the terminal, so that no frame is drawn over the message of a thread that panics meanwhile.
static SCREEN: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether this thread holds [`SCREEN`]: it may panic then.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// Writes to the terminal, unless it was restored.
fn write(written: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let _held = SCREEN.lock().unwrap_or_else(PoisonError::into_inner);
    if !TAKEN.load(Ordering::SeqCst) {
        return Ok(());
    }
    WRITES.set(true);
    let result = written();
    WRITES.set(false);
    result
}

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
            execute!(stdout(), EnterAlternateScreen, Print(WHEEL_ON), EnableBracketedPaste, cursor::Hide)?;
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
        self.terminal.size().map_or(UNKNOWN_SIZE, Into::into)
    }

    /// Draws the state; where no cell differs, nothing is written.
    pub(super) fn draw(&mut self, state: &State) -> io::Result<()> {
        let links = self.terminal.backend().links();
        let draw = |frame: &mut Frame<'_>| {
            view::draw(frame, state);
            let frame = frame.buffer_mut();
            links.set(view::links::links(state, frame), frame);
        };
        write(|| self.terminal.draw(draw).map(drop))
    }

    /// The next frame is drawn completely.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        write(|| self.terminal.clear())
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal, once.
fn restore() {
    let _held = (!WRITES.get()).then(|| SCREEN.lock().unwrap_or_else(PoisonError::into_inner));
    if TAKEN.swap(false, Ordering::SeqCst) {
        if TITLED.swap(false, Ordering::SeqCst) {
            let _ = execute!(stdout(), Print(TITLE_BACK));
        }
        // A terminal that hung up needs no restoring.
        let _ = execute!(stdout(), DisableBracketedPaste, Print(WHEEL_OFF), LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}

/// Puts a text into the terminal's clipboard (OSC 52), where the terminal allows that.
pub(super) fn copy(text: &str) -> io::Result<()> {
    write(|| {
        execute!(stdout(), CopyToClipboard::to_clipboard_from(text))?;
        stdout().flush()
    })
}

/// Rings the bell.
pub(super) fn bell() -> io::Result<()> {
    write(|| execute!(stdout(), Print('\x07')))
}

/// Sets the title until the console ends.
pub(super) fn title(text: &str) -> io::Result<()> {
    write(|| {
        if !TITLED.swap(true, Ordering::SeqCst) {
            execute!(stdout(), Print(TITLE_KEPT))?;
        }
        execute!(stdout(), SetTitle(text))
    })
}
