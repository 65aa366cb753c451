//! Everything that a frame is drawn from.
//!
//! In: changes by `app`. Out: what `page` and `view` show; nothing here acts. In order: [`screen`] (views and selections), [`modal`] (dialogs),
//! this file.

pub mod modal;
pub mod screen;

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use crate::console::data::{HistoryEntry, ProbingOfService, ServerEvent};
use crate::console::index::Index;
use crate::console::source::{Abilities, Link};
use crate::model::time::UnixMs;
use modal::Modal;
use screen::Screen;

/// Most services whose probing is kept; the oldest is dropped first.
pub const KEPT_PROBINGS: usize = 512;
/// Most memory for their probing, in bytes.
pub const KEPT_PROBING_BYTES: usize = 32 << 20;
/// Most services whose history is kept.
pub const KEPT_HISTORIES: usize = 16;
/// Most entries that are kept of one history.
pub const KEPT_ENTRIES: usize = 2000;
/// Most messages that are kept.
pub const KEPT_NOTES: usize = 8;

/// Options from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Without operations that change anything.
    pub read_only: bool,
    /// Only ASCII characters.
    pub ascii: bool,
    /// Colours.
    pub theme: ThemeName,
}

/// The colour themes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ThemeName {
    /// Green, yellow, red.
    #[default]
    Normal,
    /// Blue, yellow and orange, which every kind of colour vision can distinguish.
    ColourBlind,
    /// No colours, only bold, reversed and underlined text (`NO_COLOR`).
    Plain,
}

/// The probing of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownProbing {
    /// What the source sent.
    pub probing: ProbingOfService,
    /// When it arrived.
    pub at: UnixMs,
}

/// A history, as far as it was requested.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KnownHistory {
    /// Newest first.
    pub entries: Vec<HistoryEntry>,
    /// The number to continue with.
    pub more: Option<i64>,
    /// Whether an answer has arrived.
    pub loaded: bool,
    /// When it was last requested.
    pub requested: UnixMs,
    /// When older entries were last requested.
    pub older_requested: UnixMs,
}

/// The tone of a message at the bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Success.
    Good,
    /// Failure.
    Bad,
    /// Neither.
    Plain,
}

/// A message at the bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The text.
    pub text: Box<str>,
    /// Its tone.
    pub tone: Tone,
    /// Until when it is shown.
    pub until: UnixMs,
}

/// Everything that a frame is drawn from.
#[derive(Debug)]
pub struct State {
    /// Services, filter, order.
    pub index: Index,
    /// The state of the connection to the source.
    pub link: Link,
    /// The last event while the link was up: STALE counts from here.
    pub fresh_at: UnixMs,
    /// Whether a snapshot has arrived; before, there is nothing to show.
    pub loaded: bool,
    /// The source's name.
    pub source: Box<str>,
    /// What the source can do.
    pub abilities: Abilities,
    /// The stack of views, the visible one last; never empty.
    pub screens: Vec<Screen>,
    /// The dialog in front.
    pub modal: Option<Modal>,
    /// The filter's text, as typed.
    pub filter: Box<str>,
    /// Marked services.
    pub marks: BTreeSet<Uuid>,
    /// Where the last mark was set.
    pub last_mark: Option<Uuid>,
    /// While the screen is frozen: since when, and the services at that time.
    pub frozen: Option<Box<(UnixMs, Index)>>,
    /// Whether the table has more columns.
    pub wide: bool,
    /// Probing by service.
    pub probing: HashMap<Uuid, KnownProbing>,
    /// Requests for probing without an answer yet: when they were sent, by service.
    pub requested: HashMap<Uuid, UnixMs>,
    /// History by service.
    pub history: HashMap<Uuid, KnownHistory>,
    /// Events of the server itself, newest last.
    pub server: Vec<ServerEvent>,
    /// Messages, newest last.
    pub notes: Vec<Note>,
    /// Operations under way by number, in words.
    pub operations: HashMap<u64, Box<str>>,
    /// The number of the last operation.
    pub last_operation: u64,
    /// Wall clock as of the last tick.
    pub now: UnixMs,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// Options from the command line.
    pub options: Options,
    /// Whether the console ends now.
    pub quit: bool,
}

impl State {
    /// The state before the first event.
    pub fn new(source: &str, abilities: Abilities, options: Options, size: (u16, u16), now: UnixMs) -> Self {
        Self {
            index: Index::default(),
            link: Link::Connecting,
            fresh_at: now,
            loaded: false,
            source: source.into(),
            abilities,
            screens: vec![Screen::overview()],
            modal: None,
            filter: Box::default(),
            marks: BTreeSet::new(),
            last_mark: None,
            frozen: None,
            wide: false,
            probing: HashMap::new(),
            requested: HashMap::new(),
            history: HashMap::new(),
            server: Vec::new(),
            notes: Vec::new(),
            operations: HashMap::new(),
            last_operation: 0,
            now,
            size,
            options,
            quit: false,
        }
    }

    /// The visible view.
    pub fn screen(&self) -> &Screen {
        // Never empty: `pop` leaves the first one.
        &self.screens[self.screens.len() - 1]
    }

    /// The visible view, to change it.
    pub fn screen_mut(&mut self) -> &mut Screen {
        let last = self.screens.len() - 1;
        &mut self.screens[last]
    }

    /// The listed services: the current ones, or those at the time of the freeze.
    pub fn listing(&self) -> &Index {
        self.frozen.as_ref().map_or(&self.index, |frozen| &frozen.1)
    }

    /// The same, to change it.
    pub fn listing_mut(&mut self) -> &mut Index {
        self.frozen.as_mut().map_or(&mut self.index, |frozen| &mut frozen.1)
    }

    /// Whether the prober's last event says that it cannot keep up, so that probes may be older than their intervals.
    pub fn probes_are_late(&self) -> bool {
        self.server.iter().rev().find(|event| &*event.part == "prober").is_some_and(|event| !event.good)
    }

    /// Marks probing and history as outdated, so that the visible ones are requested again.
    pub fn outdate(&mut self) {
        self.requested.clear();
        for known in self.probing.values_mut() {
            known.at = UnixMs(0);
        }
        for known in self.history.values_mut() {
            (known.requested, known.older_requested) = (UnixMs(0), UnixMs(0));
        }
    }

    /// Shows a message at the bottom for 6 seconds.
    pub fn note(&mut self, tone: Tone, text: impl Into<Box<str>>) {
        if self.notes.len() == KEPT_NOTES {
            self.notes.remove(0);
        }
        let until = self.now.plus(std::time::Duration::from_secs(6));
        self.notes.push(Note { text: text.into(), tone, until });
    }
}
