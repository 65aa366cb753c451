//! Reading files that other programs write, as bytes: an invalid byte affects its own word, never the whole file.

use std::io::{self, Read as _};
use std::path::Path;

/// Most bytes read of a system file; a hosts file that blocks half a million names fits.
const MAX_FILE: u64 = 32 * 1024 * 1024;
/// Most faults of one file that the log names.
const MAX_NAMED: usize = 8;

/// The file's bytes, without a byte order mark; a missing file is empty.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match std::fs::File::open(path) {
        Ok(file) => file.take(MAX_FILE).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(bytes),
        Err(error) => return Err(error),
    };
    if bytes.len() as u64 == MAX_FILE {
        tracing::warn!(path = %path.display(), "only the first {MAX_FILE} bytes of the file are read");
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(bytes)
}

/// The faults of a file, line by line, for the log.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    named: Vec<String>,
    more: usize,
}

impl Faults {
    /// Notes what was skipped in a line, counted from 1, and why. `why` is our own text; `found` is escaped and cut.
    pub(crate) fn add(&mut self, line: usize, found: &[u8], why: &str) {
        if self.named.len() == MAX_NAMED {
            self.more += 1;
            return;
        }
        let found = crate::model::text::escape(&String::from_utf8_lossy(found), 60);
        self.named.push(format!("line {line}: {found} is skipped: {why}"));
    }

    /// Writes them to the log.
    pub(crate) fn log(&self, path: &str) {
        for fault in &self.named {
            tracing::warn!("{path}, {fault}");
        }
        if self.more > 0 {
            tracing::warn!("{path}: {} more faults are not listed", self.more);
        }
    }

    #[cfg(test)]
    pub(crate) fn named(&self) -> &[String] {
        &self.named
    }
}
