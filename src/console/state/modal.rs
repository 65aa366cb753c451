//! The dialogs in front of a view.

use crossterm::event::KeyCode;
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use tui_input::Input;
use uuid::Uuid;

use crate::console::columns::Column;
use crate::console::command::COMMANDS;
use crate::console::filter::FilterError;
use crate::console::index::{Index, Totals};
use crate::console::keys::{Action, KEYMAP};
use crate::console::outage::OutageOrder;
use crate::console::source::Operation;
use crate::console::state::screen::Selection;

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
        /// The selection before, and its place.
        selected: (Selection, usize),
        /// What Tab is going through.
        completing: Option<Completing>,
        /// The filter used before that is shown, until it is edited.
        recalled: Option<Recalled>,
    },
    /// Asks before the first view is left.
    Quit,
    /// A picker that narrows while typing: commands, namespaces, orders, cells, operations.
    Pick(Picker),
    /// Asks before many services are probed.
    CheckMany {
        /// Which, as selected when the dialog opened.
        services: Vec<Uuid>,
    },
    /// Asks why before an instance is drained.
    Reason {
        /// What is typed.
        input: Input,
        /// The service, as it was when the dialog opened.
        service: Uuid,
        /// Its instance.
        instance: Box<str>,
        /// In words.
        what: Box<str>,
    },
    /// Asks for the note of an acknowledgement.
    Note {
        /// What is typed.
        input: Input,
        /// The service, as it was when the dialog opened.
        service: Uuid,
        /// Its instance; none for all that fail.
        instance: Option<Box<str>>,
        /// In words.
        what: Box<str>,
    },
    /// Asks before something that takes nothing away.
    Ask {
        /// In words.
        what: Box<str>,
        /// What is done then, as it was when the dialog opened.
        operation: Operation,
    },
    /// Asks for the name before anything is taken away.
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

impl Modal {
    /// Whether it acts on the row, or the instance, that was selected when it opened.
    pub fn is_about_a_row(&self) -> bool {
        match self {
            Self::Reason { .. } | Self::Note { .. } | Self::Ask { .. } | Self::Confirm { .. } => true,
            Self::Pick(picker) => matches!(
                picker.choices.first().map(|choice| &choice.action),
                Some(ChoiceAction::Operation(_) | ChoiceAction::Copy(_))
            ),
            Self::Filter { .. } | Self::Quit | Self::CheckMany { .. } => false,
        }
    }

    /// The instance that it would take away from those who ask for healthy ones.
    fn takes_away(&self) -> Option<(Uuid, &str)> {
        match self {
            Self::Reason { service, instance, .. }
            | Self::Confirm { operation: Operation::Deregister { service, instance, .. }, .. } => {
                Some((*service, instance))
            }
            _ => None,
        }
    }

    /// What is lost, where that is more than the instance: nothing of its service would serve any more. As of now, not of when it opened.
    pub fn warning(&self, index: &Index) -> Option<String> {
        let (service, instance) = self.takes_away()?;
        let service = index.get(&service)?;
        let others = service.instances.iter().filter(|i| i.serves() && *i.name != *instance).count();
        let serves = service.instances.iter().any(|i| i.serves() && *i.name == *instance);
        (serves && others == 0).then(|| {
            format!("It is the last instance that serves; {}/{} will have none.", service.namespace, service.name)
        })
    }
}

/// A filter used before that is shown in place of what was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// How far back it is; 0 for the newest.
    pub at: usize,
    /// What was typed.
    pub draft: Box<str>,
}

/// What Tab is going through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completing {
    /// The line before the first Tab.
    pub line: Box<str>,
    /// Which candidate is shown.
    pub at: usize,
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
    /// Whether what is typed may be a command with its argument.
    pub commands: bool,
    /// What Tab is going through.
    pub completing: Option<Completing>,
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
    /// What a command does without an argument.
    Command(&'static str),
    /// Show one namespace; none for all.
    Namespace(Option<Box<str>>),
    /// Sort.
    Sort(Column),
    /// Order the outages.
    SortOutages(OutageOrder),
    /// Copy.
    Copy(Box<str>),
    /// Perform an operation at once.
    Operation(Operation),
    /// Ask first.
    Ask {
        /// In words.
        what: Box<str>,
        /// What is done then.
        operation: Operation,
    },
    /// Ask for the name first.
    Confirm {
        /// What has to be typed.
        name: Box<str>,
        /// In words.
        what: Box<str>,
        /// What is done then.
        operation: Operation,
    },
    /// Ask why, and drain.
    Drain {
        /// The service.
        service: Uuid,
        /// Its instance.
        instance: Box<str>,
        /// In words.
        what: Box<str>,
    },
    /// Ask for a note, and acknowledge.
    Acknowledge {
        /// The service.
        service: Uuid,
        /// Its instance; none for all that fail.
        instance: Option<Box<str>>,
        /// In words.
        what: Box<str>,
    },
    /// Refused, and why.
    Refused(Box<str>),
}

impl Picker {
    /// A list with nothing typed yet.
    pub fn new(title: &'static str, choices: Vec<Choice>) -> Self {
        let matching = (0..choices.len()).collect();
        Self { title, input: Input::default(), choices, matching, at: 0, commands: false, completing: None }
    }

    /// Every command, and every key's action by its help text.
    pub fn palette() -> Self {
        let commands = COMMANDS.iter().map(|spec| Choice {
            label: format!(":{}  {}", spec.names[0], spec.help).into(),
            help: spec.names[1..].join(" ").into(),
            action: ChoiceAction::Command(spec.names[0]),
        });
        let keys = KEYMAP.iter().filter(|b| b.action != Action::Palette).map(|b| Choice {
            label: b.help.into(),
            help: b.label.into(),
            action: ChoiceAction::Key(b.action),
        });
        Self { commands: true, ..Self::new("command: Tab completes", commands.chain(keys).collect()) }
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

    /// Every order of the outages.
    pub fn outage_orders() -> Self {
        let choices = OutageOrder::ALL.iter().map(|order| Choice {
            label: order.label().into(),
            help: Box::default(),
            action: ChoiceAction::SortOutages(*order),
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
        // Commands whose name begins so come first; one with its argument stands alone.
        let word = typed.split(' ').next().unwrap_or_default();
        let is_named = |n: &usize| {
            let names = COMMANDS.get(*n).filter(|_| self.commands).map_or(&[][..], |spec| spec.names);
            if typed.contains(' ') { names.contains(&word) } else { names.iter().any(|name| name.starts_with(word)) }
        };
        let named: Vec<usize> = (0..COMMANDS.len().min(self.choices.len())).filter(is_named).collect();
        let pattern = Pattern::parse(typed, CaseMatching::Smart, Normalization::Smart);
        let (mut matcher, mut room) = (Matcher::new(Config::DEFAULT), Vec::new());
        let mut scored: Vec<(u32, usize)> = self
            .choices
            .iter()
            .enumerate()
            .filter_map(|(n, c)| Some((pattern.score(Utf32Str::new(&c.label, &mut room), &mut matcher)?, n)))
            .collect();
        let label = |n: usize| self.choices.get(n).map(|choice| choice.label.to_lowercase()).unwrap_or_default();
        // Among equally good matches, those that take something away come last.
        let ends = |n: usize| matches!(self.choices.get(n), Some(Choice { action: ChoiceAction::Confirm { .. }, .. }));
        let word = typed.to_lowercase();
        scored.sort_by_key(|(score, n)| (closeness(&label(*n), &word), ends(*n), std::cmp::Reverse(*score), *n));
        // A mistyped command must not do something else: what is typed stands in the words, to the letter.
        let words: Vec<String> = typed.to_lowercase().split_whitespace().map(Into::into).collect();
        let is_meant = |n: &usize| {
            let label = label(*n);
            !self.commands || words.iter().all(|word| label.contains(word))
        };
        let others = scored.into_iter().map(|(_, n)| n).filter(|n| !named.contains(n) && is_meant(n));
        self.matching = named.iter().copied().chain(others).collect();
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

/// How close what is typed is to a label, both in lower case: 0 if a word begins with it, 1 if it stands somewhere, else 2.
fn closeness(label: &str, typed: &str) -> u8 {
    let mut places = label.match_indices(typed).map(|(at, _)| at).peekable();
    let is_somewhere = places.peek().is_some();
    let begins = |at: usize| !label[..at].ends_with(|c: char| c.is_alphanumeric());
    if places.any(begins) { 0 } else { 2 - u8::from(is_somewhere) }
}
