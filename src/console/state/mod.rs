//! Everything that a frame is drawn from.

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

/// Services whose probing is kept; the one asked for longest ago goes first.
pub const KEPT_PROBINGS: usize = 512;
/// Memory that their probing may take, in bytes.
pub const KEPT_PROBING_BYTES: usize = 32 << 20;
/// Services whose history is kept.
pub const KEPT_HISTORIES: usize = 16;
/// Entries of one history that are kept.
pub const KEPT_PASTS: usize = 2000;
/// Messages at the bottom that wait to be read.
pub const KEPT_NOTES: usize = 8;

/// What a person chose at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// No action that changes anything.
    pub read_only: bool,
    /// Only ASCII characters.
    pub ascii: bool,
    /// Colours.
    pub theme: ThemeName,
}

/// The sets of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ThemeName {
    /// Green, yellow, red.
    #[default]
    Normal,
    /// Blue, yellow, orange, told apart with any colour vision.
    ColourBlind,
    /// None: bold, reversed and underlined only (`NO_COLOR`).
    Plain,
}

/// The probing of a service, as it was told.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownProbing {
    /// What was told.
    pub probing: ProbingOfService,
    /// When.
    pub at: UnixMs,
}

/// A history, as far as it was asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KnownHistory {
    /// Newest first.
    pub entries: Vec<HistoryEntry>,
    /// The number to ask on with.
    pub more: Option<i64>,
    /// Whether an answer came at all.
    pub loaded: bool,
    /// When it was asked for last, to keep the newest.
    pub asked: UnixMs,
    /// When older entries were asked for last.
    pub older_asked: UnixMs,
}

/// How a message at the bottom is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It worked.
    Good,
    /// It did not.
    Bad,
    /// Neither.
    Plain,
}

/// A message at the bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The text.
    pub text: Box<str>,
    /// How it is meant.
    pub tone: Tone,
    /// Until when it is shown.
    pub until: UnixMs,
}

/// See the module.
#[derive(Debug)]
pub struct State {
    /// Services, filter, order.
    pub index: Index,
    /// How it stands with the source.
    pub link: Link,
    /// When news came last while the link was up: what STALE counts from.
    pub fresh_at: UnixMs,
    /// Whether a snapshot came: before, there is nothing to show.
    pub loaded: bool,
    /// The source's name.
    pub source: Box<str>,
    /// What the source can do.
    pub abilities: Abilities,
    /// Views, the shown one last; never empty.
    pub screens: Vec<Screen>,
    /// The dialog in front.
    pub modal: Option<Modal>,
    /// The filter's text, as typed.
    pub filter: Box<str>,
    /// Marked services.
    pub marks: BTreeSet<Uuid>,
    /// Where the last mark was set.
    pub last_mark: Option<Uuid>,
    /// The screen is kept as it is: since when, and the services as they were.
    pub frozen: Option<Box<(UnixMs, Index)>>,
    /// More columns.
    pub wide: bool,
    /// Probing by service.
    pub probing: HashMap<Uuid, KnownProbing>,
    /// When the probing was asked for that has not come yet, by service.
    pub asked: HashMap<Uuid, UnixMs>,
    /// History by service.
    pub history: HashMap<Uuid, KnownHistory>,
    /// What the server says of itself, newest last.
    pub server: Vec<ServerEvent>,
    /// Messages, newest last.
    pub notes: Vec<Note>,
    /// Actions under way, by number: what they are.
    pub acting: HashMap<u64, Box<str>>,
    /// The last number given to an action.
    pub acted: u64,
    /// Wall clock, moved by ticks.
    pub now: UnixMs,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// Selection at the start.
    pub options: Options,
    /// Whether the console is to end.
    pub quit: bool,
}

impl State {
    /// At the start.
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
            asked: HashMap::new(),
            history: HashMap::new(),
            server: Vec::new(),
            notes: Vec::new(),
            acting: HashMap::new(),
            acted: 0,
            now,
            size,
            options,
            quit: false,
        }
    }

    /// The view that is shown.
    pub fn screen(&self) -> &Screen {
        // Never empty: `pop` leaves the first one.
        &self.screens[self.screens.len() - 1]
    }

    /// The view that is shown, to change.
    pub fn screen_mut(&mut self) -> &mut Screen {
        let last = self.screens.len() - 1;
        &mut self.screens[last]
    }

    /// The services that are shown: those of now, or those of when the screen was frozen.
    pub fn listing(&self) -> &Index {
        self.frozen.as_ref().map_or(&self.index, |frozen| &frozen.1)
    }

    /// The listing, to change what is listed.
    pub fn listing_mut(&mut self) -> &mut Index {
        self.frozen.as_mut().map_or(&mut self.index, |frozen| &mut frozen.1)
    }

    /// Whether the server's last word on its prober is that it cannot keep up: what is shown may be older than intervals say.
    pub fn probes_are_late(&self) -> bool {
        self.server.iter().rev().find(|event| &*event.part == "prober").is_some_and(|event| !event.good)
    }

    /// What is known of probing and history is old now: it is asked for again where it is looked at.
    pub fn ask_anew(&mut self) {
        self.asked.clear();
        for known in self.probing.values_mut() {
            known.at = UnixMs(0);
        }
        for known in self.history.values_mut() {
            (known.asked, known.older_asked) = (UnixMs(0), UnixMs(0));
        }
    }

    /// Says something at the bottom for 6 seconds.
    pub fn note(&mut self, tone: Tone, text: impl Into<Box<str>>) {
        if self.notes.len() == KEPT_NOTES {
            self.notes.remove(0);
        }
        let until = self.now.plus(std::time::Duration::from_secs(6));
        self.notes.push(Note { text: text.into(), tone, until });
    }
}
