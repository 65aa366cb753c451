//! The rows of a file that is imported, and what became of each.

use std::fmt::Write;

use serde::Serialize;

use crate::cli::exit::Failure;
use crate::cli::output::progress::counted;
use crate::model::service::Owner;
use crate::model::text::escape;
use crate::store::Origin;

/// Most rows of an import, which is one transaction: as many instances as `PORTOLAN_MAX_INSTANCES` can allow.
const MAX_ROWS: usize = 1_000_000;

/// Longest foreign text in a report, in characters.
const MAX_SHOWN: usize = 200;

/// What a date becomes that cannot be one.
pub(super) const NOW: &str = "the moment of the import";

/// How a problem begins whose subject is the field.
const VERBS: [&str; 7] = ["is", "has", "had", "holds", "repeats", "contains", "starts"];

/// A row as it was read.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its place in the file; the first is 1.
    pub(super) number: u64,
    /// What people know it by: its name in the file.
    pub(super) name: String,
    /// What it says.
    pub(super) content: Content,
    /// What did not fit, and what it became.
    pub(super) notes: Vec<Note>,
    /// Its owner, if the file names one.
    pub(super) owner: Option<Owner>,
    /// What it was before.
    pub(super) origin: Origin,
}

/// What a row says.
#[derive(Debug)]
pub(super) enum Content {
    /// A register call, as JSON.
    Registration(String),
    /// Nothing that another row does not say.
    LeftOut,
    /// Nothing that can be registered.
    Refused,
}

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Note {
    /// The field.
    pub(super) field: String,
    /// What is wrong with it, in a sentence.
    pub(super) problem: String,
    /// What is imported instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) became: Option<String>,
    /// What would be accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) suggestion: Option<String>,
}

impl Note {
    /// A problem without a remedy of its own.
    pub(super) fn new(field: &str, problem: impl Into<String>) -> Self {
        Self { field: shown(field), problem: problem.into(), became: None, suggestion: None }
    }

    /// A value that was changed to fit.
    pub(super) fn became(field: &str, problem: impl Into<String>, value: impl Into<String>) -> Self {
        Self { became: Some(value.into()), ..Self::new(field, problem) }
    }

    /// Adds what would be accepted.
    pub(super) fn suggesting(self, value: Option<String>) -> Self {
        Self { suggestion: value, ..self }
    }

    /// The note as a sentence, with escaped foreign text.
    pub(super) fn sentence(&self) -> String {
        // A verb has the field as its subject.
        let first = self.problem.split(' ').next().unwrap_or_default();
        let between = if VERBS.contains(&first) { " " } else { ": " };
        let mut text = format!("{}{between}{}", self.field, escape(&self.problem, 400));
        // Some problems name what it became, or the suggestion, themselves.
        if let Some(became) = self.became.as_ref().filter(|one| !self.problem.ends_with(&format!("becomes the {one}")))
        {
            // Metadata holds texts, which may look like numbers.
            let quotes = if self.field.starts_with("metadata.") { "\"" } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(text, "; it became {quotes}{}{quotes}", quoted(became));
        }
        if let Some(suggestion) = self.suggestion.as_ref().filter(|one| !self.problem.contains(one.as_str())) {
            let _ = write!(text, "; try {}", quoted(suggestion));
        }
        text
    }
}

fn quoted(value: &str) -> String {
    if value.is_empty() { "empty".to_owned() } else { shown(value) }
}

/// Foreign text, safe on a terminal.
pub(super) fn shown(text: &str) -> String {
    escape(text, MAX_SHOWN)
}

/// # Errors
/// When a file has more rows than one transaction should.
pub(super) fn refuse_more(rows: usize, name: &str) -> Result<(), Failure> {
    if rows > MAX_ROWS {
        return Err(Failure::usage(format!("{name} has over {}; import it in parts", counted(MAX_ROWS, "row"))));
    }
    Ok(())
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fate {
    /// Its instance is new.
    Added,
    /// Its instance had other content.
    Changed,
    /// Its instance is registered like that.
    Unchanged,
    /// Another row of the file says the same.
    LeftOut,
    /// It does not fit.
    Refused,
}

/// A row of the report.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    /// Its place in the file.
    pub(super) row: u64,
    /// Its name there.
    pub(super) name: String,
    /// What became of it.
    pub(super) result: Fate,
    /// Namespace and name of its service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service: Option<String>,
    /// Its instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instance: Option<String>,
    /// What did not fit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<Note>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_a_sentence_about_its_field() {
        let note = |problem: &str| Note::new("name", problem).suggesting(Some("bad-name".to_owned())).sentence();
        assert_eq!(note("is empty"), "name is empty; try bad-name");
        let number = Note::became("metadata.a", "is not a string", "1").sentence();
        assert_eq!(number, "metadata.a is not a string; it became \"1\"");
        assert_eq!(
            note("a service's name is a label; try \"bad-name\""),
            "name: a service's name is a label; try \"bad-name\""
        );
    }
}
