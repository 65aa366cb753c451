//! Everything that a frame is drawn from.
//!
//! In: changes by `app`. Out: what `page` and `view` show; nothing here acts. In order: [`screen`] (views and selections), [`modal`] (dialogs),
//! [`heat`] (all services as cells), this file.

pub mod heat;
pub mod modal;
pub mod screen;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crossterm::event::KeyEvent;
use uuid::Uuid;

use crate::console::availability::Availabilities;
use crate::console::columns::Added;
use crate::console::command::Command;
use crate::console::data::{HistoryEntry, ProbingOfService, ServerEvent};
use crate::console::facet::{Dimension, Group, Shared};
use crate::console::index::Index;
use crate::console::outage::Outages;
use crate::console::source::{Abilities, Link};
pub use crate::console::theme::ThemeName;
use crate::model::time::UnixMs;
use heat::Heat;
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
/// Most filters that are kept for the next time.
pub const KEPT_FILTERS: usize = 32;
/// Most messages that are kept.
pub const KEPT_NOTES: usize = 8;

/// Longest silence that is not reported: a server gives a sign of life every 15 s, and this is when the next one is late.
const MAX_SILENCE: Duration = Duration::from_secs(17);

/// Options from the command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Without operations that change anything.
    pub read_only: bool,
    /// Only ASCII characters.
    pub ascii: bool,
    /// Colours.
    pub theme: ThemeName,
    /// What the user's file sets.
    pub custom: Custom,
}

/// What the user's file sets, see `config`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Custom {
    /// Columns beside the usual ones.
    pub columns: Vec<Added>,
    /// Whether the list starts with an explanation beside it.
    pub pane: bool,
    /// The user's keys, with the command of each.
    pub keys: Vec<(KeyEvent, Command)>,
    /// The 99th percentile above which a healthy service is slow.
    pub slow: Option<Duration>,
    /// Whether a service that goes down rings the terminal's bell.
    pub bell: bool,
    /// Whether the terminal's title says how many services are down.
    pub title: bool,
}

/// The probing of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownProbing {
    /// What the source sent.
    pub probing: ProbingOfService,
    /// When it arrived.
    pub at: UnixMs,
}

/// How long a refusal counts. What is asked for in vain is asked for again every few seconds.
const REFUSAL_COUNTS: Duration = Duration::from_secs(20);

/// Why there is no newer evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// One sentence, foreign.
    pub why: Box<str>,
    /// Since when every answer was such a refusal.
    pub since: UnixMs,
    /// When the last one came.
    last: UnixMs,
}

impl Refused {
    /// The same with the newest reason.
    fn again(before: Option<Self>, why: Box<str>, now: UnixMs) -> Self {
        Self { why, since: before.map_or(now, |before| before.since), last: now }
    }
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
    /// Whether that request has no answer yet.
    pub awaited: bool,
    /// Why newer entries are not known; none after an answer.
    pub refused: Option<Refused>,
    /// When older entries were last requested.
    pub older_requested: UnixMs,
}

/// The groups of the visible pivot, and what the failing share. Made again when services changed, at most once a second.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pivot {
    /// The dimensions that there are.
    pub dimensions: Vec<Dimension>,
    /// The groups of the dimension that is visible.
    pub groups: Vec<Group>,
    /// What they were made of.
    pub made_of: Option<PivotSource>,
}

/// What a pivot was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PivotSource {
    /// The version of the list.
    pub version: u64,
    /// The dimension.
    pub dimension: Dimension,
    /// The namespace; none for all.
    pub namespace: Option<Box<str>>,
    /// When it was made.
    pub at: UnixMs,
}

/// Probes of many services that were requested by one key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Operations without an answer yet, with the name of their service.
    pub open: HashMap<u64, Box<str>>,
    /// Services whose probes all passed.
    pub passed: usize,
    /// Those without a check.
    pub unchecked: usize,
    /// Those with a probe that failed, by name.
    pub failed: Vec<Box<str>>,
    /// Those whose probe was refused, and why the last one was.
    pub refused: usize,
    /// Why the last one was refused.
    pub why: Box<str>,
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
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the screen")]
pub struct State {
    /// Services, filter, order.
    pub index: Index,
    /// The state of the connection to the source.
    pub link: Link,
    /// The last event while the link was up, or what the source says since: STALE counts from here.
    pub fresh_at: UnixMs,
    /// When the origin was heard last, where it gives signs of life.
    pub heard_at: Option<UnixMs>,
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
    /// The filters used before, newest first, at most [`KEPT_FILTERS`].
    pub filters: Vec<Box<str>>,
    /// Columns beside the usual ones.
    pub columns: Vec<Added>,
    /// Whether the list has an explanation of the selected row beside it, where there is room.
    pub pane: bool,
    /// Marked services.
    pub marks: BTreeSet<Uuid>,
    /// Where the last mark was set.
    pub last_mark: Option<Uuid>,
    /// While the screen is frozen: since when, and the services at that time.
    pub frozen: Option<Box<(UnixMs, Index)>>,
    /// While a dialog about a row is open: the services when it opened, so that no row moves behind it.
    pub held: Option<Box<Index>>,
    /// Whether the table has more columns.
    pub wide: bool,
    /// Probing by service.
    pub probing: HashMap<Uuid, KnownProbing>,
    /// Requests for probing without an answer yet: when they were sent, by service.
    pub requested: HashMap<Uuid, UnixMs>,
    /// Why newer probing is not known; none after an answer.
    pub probing_refused: Option<Refused>,
    /// History by service.
    pub history: HashMap<Uuid, KnownHistory>,
    /// Whether the histories of what changed last were requested, and those that have not arrived yet.
    pub seeding: Option<BTreeSet<Uuid>>,
    /// What the failing instances share.
    pub shared: Option<Shared>,
    /// The faults of which that was made, and when.
    pub shared_of: Option<(u64, UnixMs)>,
    /// The visible pivot.
    pub pivot: Pivot,
    /// How available services were.
    pub availability: Availabilities,
    /// The outages of all services.
    pub outages: Outages,
    /// Events of the server itself, newest last.
    pub server: Vec<ServerEvent>,
    /// Messages, newest last.
    pub notes: Vec<Note>,
    /// Operations under way by number, in words.
    pub operations: HashMap<u64, Box<str>>,
    /// Probes of many services, from the key to the last answer.
    pub batch: Option<Batch>,
    /// The number of the last operation.
    pub last_operation: u64,
    /// Wall clock as of the last tick.
    pub now: UnixMs,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// Options from the command line.
    pub options: Options,
    /// How many services had gone down when the bell rang last, see [`Index::fallen`].
    pub rung: u64,
    /// How many services are down as the terminal's title says.
    pub titled: Option<usize>,
    /// The map of all services as cells, while it is visible.
    pub heat: Heat,
    /// Whether the console ends now.
    pub quit: bool,
}

impl State {
    /// The state before the first event.
    pub fn new(source: &str, abilities: Abilities, options: Options, size: (u16, u16), now: UnixMs) -> Self {
        let mut index = Index::default();
        index.set_slow(options.custom.slow);
        Self {
            index,
            link: Link::Connecting,
            fresh_at: now,
            heard_at: None,
            loaded: false,
            source: source.into(),
            abilities,
            screens: vec![Screen::overview()],
            modal: None,
            filter: Box::default(),
            filters: Vec::new(),
            columns: options.custom.columns.clone(),
            pane: options.custom.pane,
            marks: BTreeSet::new(),
            last_mark: None,
            frozen: None,
            held: None,
            wide: false,
            probing: HashMap::new(),
            requested: HashMap::new(),
            probing_refused: None,
            history: HashMap::new(),
            seeding: None,
            shared: None,
            shared_of: None,
            pivot: Pivot::default(),
            availability: Availabilities::default(),
            outages: Outages::default(),
            server: Vec::new(),
            notes: Vec::new(),
            operations: HashMap::new(),
            batch: None,
            last_operation: 0,
            now,
            size,
            options,
            rung: 0,
            titled: None,
            heat: Heat::default(),
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

    /// The listed services: the current ones, or those at the time of the freeze, or when the dialog about a row opened.
    pub fn listing(&self) -> &Index {
        match (&self.frozen, &self.held) {
            (Some(frozen), _) => &frozen.1,
            (None, Some(held)) => held,
            (None, None) => &self.index,
        }
    }

    /// The same, to change it.
    pub fn listing_mut(&mut self) -> &mut Index {
        match (&mut self.frozen, &mut self.held) {
            (Some(frozen), _) => &mut frozen.1,
            (None, Some(held)) => held,
            (None, None) => &mut self.index,
        }
    }

    /// Holds the list while a dialog about a row is open, and lets it go afterwards.
    pub fn hold_for_dialog(&mut self) {
        let holds = self.frozen.is_none() && self.modal.as_ref().is_some_and(Modal::is_about_a_row);
        match (holds, self.held.is_some()) {
            (true, false) => self.held = Some(Box::new(self.index.clone())),
            (false, true) => self.held = None,
            _ => {}
        }
    }

    /// The newest event of a component of the server, if that says that it does not work as it should.
    pub fn fault_of(&self, part: &str) -> Option<&ServerEvent> {
        self.server.iter().rev().find(|event| &*event.part == part).filter(|event| !event.good)
    }

    /// How long nothing was heard from a server that should have given a sign of life by now.
    pub fn silent_for(&self) -> Option<Duration> {
        let silence = self.now.since(self.heard_at?);
        (self.link == Link::Live && silence > MAX_SILENCE).then_some(silence)
    }

    /// Why the evidence of the visible view is not current although the link is. A view that needs none does not ask again.
    pub fn evidence_refused(&self) -> Option<&Refused> {
        let viewed = self.screen().service().filter(|_| self.screen().view.shows_history());
        let history = || self.history.get(&viewed?)?.refused.as_ref();
        let recent = |refused: &&Refused| self.now.since(refused.last) < REFUSAL_COUNTS;
        self.probing_refused.as_ref().filter(recent).or_else(|| history().filter(recent))
    }

    /// Keeps why a request for probing was refused.
    pub fn refuse_probing(&mut self, why: Box<str>) {
        self.probing_refused = Some(Refused::again(self.probing_refused.take(), why, self.now));
    }

    /// Keeps why a request for a history was refused.
    pub fn refuse_history(&mut self, id: Uuid, why: Box<str>) {
        if let Some(known) = self.history.get_mut(&id) {
            known.refused = Some(Refused::again(known.refused.take(), why, self.now));
        }
    }

    /// Forgets refusals, as after the link was lost.
    pub fn forget_refusals(&mut self) {
        self.probing_refused = None;
        self.history.values_mut().for_each(|known| known.refused = None);
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
        self.availability.outdate();
        (self.outages.requested, self.outages.awaited) = (UnixMs(0), false);
    }

    /// The clock was set back: what was requested or made at a time that is yet to come would stay as it is until then.
    pub fn forget_times(&mut self, now: UnixMs) {
        self.outdate();
        self.forget_refusals();
        self.heard_at = self.heard_at.map(|_| now);
        (self.shared_of, self.pivot.made_of, self.outages.made_of) = (None, None, None);
        self.notes.clear();
    }

    /// Keeps a filter for the next time.
    pub fn remember_filter(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.filters.retain(|known| **known != *text);
        self.filters.insert(0, text.into());
        self.filters.truncate(KEPT_FILTERS);
    }

    /// Shows a message at the bottom for 6 seconds.
    pub fn note(&mut self, tone: Tone, text: impl Into<Box<str>>) {
        if self.notes.len() == KEPT_NOTES {
            self.notes.remove(0);
        }
        let until = self.now.plus(Duration::from_secs(6));
        self.notes.push(Note { text: text.into(), tone, until });
    }
}
