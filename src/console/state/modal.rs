//! The dialogs in front of a view.

use crossterm::event::KeyCode;
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use tui_input::Input;
use uuid::Uuid;

use crate::console::columns::Column;
use crate::console::filter::FilterError;
use crate::console::index::{Index, Totals};
use crate::console::keys::{Action, KEYMAP};
use crate::console::source::Operation;

/// A dialog.
#[derive(Debug, Clone)]
pub enum Modal {
    /// The filter's input. It applies while it is typed; Esc restores the one before.
    Filter {
        /// What is typed.
        input: Input,
        /// What is wrong with it.
        error: Option<FilterError>,
        /// The filter before.
        before: Box<str>,
    },
    /// A picker that narrows while typing: commands, namespaces, orders, cells, operations.
    Pick(Picker),
    /// Asks before many services are probed.
    CheckMany {
        /// Which, as selected when the dialog opened.
        services: Vec<Uuid>,
    },
    /// Asks for the name before anything is removed or drained.
    Confirm {
        /// What is typed.
        input: Input,
        /// What has to be typed.
        name: Box<str>,
        /// In words.
        what: Box<str>,
        /// What is done then, as it was when the dialog opened.
        operation: Operation,
    },
}

/// A list to choose from.
#[derive(Debug, Clone)]
pub struct Picker {
    /// Above it.
    pub title: &'static str,
    /// What is typed.
    pub input: Input,
    /// All choices.
    pub choices: Vec<Choice>,
    /// Those that match what is typed, best first.
    pub matching: Vec<usize>,
    /// Position of the selected one among the matching ones.
    pub at: usize,
}

/// An entry of a picker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What is matched and shown.
    pub label: Box<str>,
    /// Shown beside it.
    pub help: Box<str>,
    /// What it does.
    pub action: ChoiceAction,
}

/// What a choice does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChoiceAction {
    /// What a key does.
    Key(Action),
    /// Show one namespace; none for all.
    Namespace(Option<Box<str>>),
    /// Sort.
    Sort(Column),
    /// Copy.
    Copy(Box<str>),
    /// Perform an operation at once.
    Operation(Operation),
    /// Ask for the name first.
    Confirm {
        /// What has to be typed.
        name: Box<str>,
        /// In words.
        what: Box<str>,
        /// What is done then.
        operation: Operation,
    },
    /// Refused, and why.
    Refused(Box<str>),
}

impl Picker {
    /// A list with nothing typed yet.
    pub fn new(title: &'static str, choices: Vec<Choice>) -> Self {
        let matching = (0..choices.len()).collect();
        Self { title, input: Input::default(), choices, matching, at: 0 }
    }

    /// Every key's action by its help text.
    pub fn palette() -> Self {
        let choices = KEYMAP.iter().filter(|b| b.action != Action::Palette).map(|b| Choice {
            label: b.help.into(),
            help: b.label.into(),
            action: ChoiceAction::Key(b.action),
        });
        Self::new("command", choices.collect())
    }

    /// Every order.
    pub fn sorts() -> Self {
        let choices = Column::sortable().map(|column| Choice {
            label: column.order().map_or("", |order| order.label).into(),
            help: Box::default(),
            action: ChoiceAction::Sort(column),
        });
        Self::new("sort by", choices.collect())
    }

    /// Every namespace, and all of them.
    pub fn namespaces(index: &Index) -> Self {
        let count = |totals: Totals| {
            let down = if totals.unhealthy > 0 { format!(", {} down", totals.unhealthy) } else { String::new() };
            format!("{} services{down}", totals.services()).into()
        };
        let all = Choice { label: "all".into(), help: count(index.totals()), action: ChoiceAction::Namespace(None) };
        let each = index.namespaces().map(|(name, totals)| Choice {
            label: name.into(),
            help: count(totals),
            action: ChoiceAction::Namespace(Some(name.into())),
        });
        Self::new("namespace", std::iter::once(all).chain(each).collect())
    }

    /// Keeps what matches the typed text, best first.
    pub fn narrow(&mut self) {
        self.at = 0;
        let typed = self.input.value().trim();
        if typed.is_empty() {
            self.matching = (0..self.choices.len()).collect();
            return;
        }
        let pattern = Pattern::parse(typed, CaseMatching::Smart, Normalization::Smart);
        let (mut matcher, mut room) = (Matcher::new(Config::DEFAULT), Vec::new());
        let mut scored: Vec<(u32, usize)> = self
            .choices
            .iter()
            .enumerate()
            .filter_map(|(n, c)| Some((pattern.score(Utf32Str::new(&c.label, &mut room), &mut matcher)?, n)))
            .collect();
        scored.sort_by_key(|(score, n)| (std::cmp::Reverse(*score), *n));
        self.matching = scored.into_iter().map(|(_, n)| n).collect();
    }

    /// Moves the selection among those that match.
    pub fn step(&mut self, key: KeyCode) {
        let last = self.matching.len().saturating_sub(1);
        self.at = match key {
            KeyCode::Up => self.at.saturating_sub(1),
            KeyCode::Down => (self.at + 1).min(last),
            KeyCode::PageUp => self.at.saturating_sub(10),
            _ => (self.at + 10).min(last),
        };
    }

    /// The selected choice.
    pub fn chosen(&self) -> Option<&Choice> {
        self.choices.get(*self.matching.get(self.at)?)
    }
}
