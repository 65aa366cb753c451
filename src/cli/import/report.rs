//! What an import did, for people and as JSON.

use serde::Serialize;

use super::rows::{Fate, Judged, Note};
use super::source::Kind;
use crate::cli::args::Format;
use crate::cli::exit::Failure;
use crate::cli::output::Streams;
use crate::cli::output::progress::{counted, grouped};

/// Most rows that are shown to a person who did not ask for all.
const MAX_SHOWN: usize = 50;

/// The report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// What the file was.
    pub(super) kind: Kind,
    /// The file that was read.
    pub(super) from: String,
    /// The store.
    pub(super) to: String,
    /// Whether nothing was to be written.
    pub(super) dry_run: bool,
    /// Whether rows that do not fit are left out.
    #[serde(skip)]
    pub(super) skip: bool,
    /// Whether the store holds it now.
    pub(super) imported: bool,
    /// Rows that were read.
    pub(super) read: usize,
    /// Rows whose instance is new.
    pub(super) added: usize,
    /// Rows whose instance had other content.
    pub(super) changed: usize,
    /// Rows whose instance was registered like that.
    pub(super) unchanged: usize,
    /// Rows that repeat others.
    pub(super) left_out: usize,
    /// Rows that do not fit.
    pub(super) refused: usize,
    /// The rows that have something to say; with `-o wide`, all.
    pub(super) rows: Vec<Judged>,
}

impl Report {
    /// A report of these rows.
    pub(super) fn of(kind: Kind, from: String, to: String, rows: Vec<Judged>) -> Self {
        let count = |fate| rows.iter().filter(|row| row.result == fate).count();
        Self {
            kind,
            from,
            to,
            dry_run: false,
            skip: false,
            imported: false,
            read: rows.len(),
            added: count(Fate::Added),
            changed: count(Fate::Changed),
            unchanged: count(Fate::Unchanged),
            left_out: count(Fate::LeftOut),
            refused: count(Fate::Refused),
            rows,
        }
    }

    /// Prints it: the rows that do not fit, and one sentence.
    ///
    /// # Errors
    /// The stream's.
    pub(super) fn print(mut self, format: Format, streams: &mut Streams) -> Result<(), Failure> {
        let all = format == Format::Wide;
        self.rows.retain(|row| all || !row.notes.is_empty());
        if format == Format::Json {
            // Strings, numbers and lists of them always serialise.
            return streams.json(&serde_json::to_string(&self).unwrap_or_default());
        }
        let most = if all { usize::MAX } else { MAX_SHOWN };
        for row in self.rows.iter().take(most) {
            streams.line(&line(row))?;
        }
        if self.rows.len() > most {
            let more = counted(self.rows.len() - most, "more row");
            streams.line(&format!("… and {more}; -o wide or -o json has all"))?;
        }
        streams.line(&self.sentence())
    }

    fn sentence(&self) -> String {
        let rows = counted(self.read, "row");
        if self.read == 0 {
            return format!("{} holds no rows; nothing to import", self.from);
        }
        if !self.imported && !self.dry_run {
            let verb = if self.refused == 1 { "does" } else { "do" };
            return format!(
                "nothing was imported into {}: {} of {rows} {verb} not fit",
                self.to,
                grouped(self.refused)
            );
        }
        let parts = [
            (self.added, "added"),
            (self.changed, "changed"),
            (self.unchanged, "already there"),
            (self.left_out, "left out as repeats"),
            (self.refused, "left out because they do not fit"),
        ];
        let parts: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", grouped(*n))).collect();
        let parts = parts.join(", ");
        let Self { from, to, .. } = self;
        if self.dry_run {
            let nothing =
                if self.refused > 0 && !self.skip { "; without --skip nothing would be imported" } else { "" };
            return format!("{from} into {to}, {rows}: {parts}; nothing was written (--dry-run){nothing}");
        }
        if self.added + self.changed == 0 {
            return format!("nothing changed in {to}: {rows} of {from}: {parts}");
        }
        format!("imported {from} into {to}, {rows}: {parts}")
    }
}

fn line(row: &Judged) -> String {
    let place = match (&row.service, &row.instance) {
        (Some(service), Some(instance)) if instance == "default" => format!(" -> {service}"),
        (Some(service), Some(instance)) => format!(" -> {service}/{instance}"),
        _ => String::new(),
    };
    let word = match row.result {
        Fate::Added => "added",
        Fate::Changed => "changed",
        Fate::Unchanged => "already there",
        Fate::LeftOut => "left out",
        Fate::Refused => "does not fit",
    };
    let notes: Vec<String> = row.notes.iter().map(Note::sentence).collect();
    let why = if notes.is_empty() { String::new() } else { format!(": {}", notes.join("; and ")) };
    let name = if row.name.is_empty() { String::new() } else { format!(" ({})", row.name) };
    format!("row {}{name}{place}  {word}{why}", row.row)
}
