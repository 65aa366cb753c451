//! Columns, from and to the model's types.

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::probe::{MAX_SAMPLES, Sample};
use crate::model::time::UnixMs;
use crate::model::value_error::json_sentence;

/// Bytes of one packed sample, little-endian: time, whether timed, duration, whether coded, code.
const SAMPLE: usize = 8 + 1 + 4 + 1 + 2;

/// Greatest value of a counter.
const MAX_COUNT: u64 = 1 << 62;

/// The error for a column whose value is wrong.
pub(crate) fn damaged(what: impl std::fmt::Display) -> FromSqlError {
    FromSqlError::Other(what.to_string().into())
}

/// Whether the error is about one column's content.
pub(crate) fn is_content(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    matches!(
        error,
        E::FromSqlConversionFailure(..) | E::InvalidColumnType(..) | E::IntegralValueOutOfRange(..) | E::Utf8Error(..)
    )
}

/// An integer column from a counter; counters stay far below 2^63.
pub(crate) fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// JSON text.
pub(crate) fn json(value: &impl Serialize) -> String {
    // The model's types hold strings, numbers and string-keyed maps: serde_json has no way to fail on these.
    serde_json::to_string(value).unwrap_or_default()
}

/// A column of JSON.
pub(crate) struct Json<T>(pub(in crate::store) T);

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(|error| damaged(json_sentence(&error)))
    }
}

/// A column of text that is parsed.
pub(crate) struct Parsed<T>(pub(in crate::store) T);

impl<T: std::str::FromStr<Err: std::fmt::Display>> FromSql for Parsed<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(damaged)
    }
}

/// A column of 16 bytes.
pub(crate) struct Id(pub(in crate::store) uuid::Uuid);

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        uuid::Uuid::from_slice(value.as_blob()?).map(Self).map_err(damaged)
    }
}

/// A counter. It starts at 0 and never comes near the bound, so a value beyond it is damaged, and no next number could follow it.
pub(crate) struct Count(pub(in crate::store) u64);

impl FromSql for Count {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let n = value.as_i64()?;
        u64::try_from(n).ok().filter(|n| *n <= MAX_COUNT).map(Self).ok_or(FromSqlError::OutOfRange(n))
    }
}

/// A row's columns in order. Looking each up by name would compare all preceding names, in each of ten thousand rows.
pub(crate) struct Cells<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl<'r, 's> Cells<'r, 's> {
    /// Starts with the first column.
    pub(crate) fn of(row: &'r Row<'s>) -> Self {
        Self { row, next: 0 }
    }

    /// The next column.
    pub(crate) fn next<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let at = self.next;
        self.next += 1;
        self.row.get(at)
    }

    /// The next column, a point in time.
    pub(crate) fn time(&mut self) -> rusqlite::Result<UnixMs> {
        self.next().map(UnixMs)
    }
}

/// A point in time.
pub(crate) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<UnixMs> {
    row.get(column).map(UnixMs)
}

/// The samples as a small blob.
pub(crate) fn pack(samples: &[Sample]) -> Vec<u8> {
    let newest = samples.len().saturating_sub(MAX_SAMPLES);
    let mut out = Vec::with_capacity((samples.len() - newest) * SAMPLE);
    for sample in samples.iter().skip(newest) {
        out.extend_from_slice(&sample.at.0.to_le_bytes());
        out.push(u8::from(sample.total_us.is_some()));
        out.extend_from_slice(&sample.total_us.unwrap_or(0).to_le_bytes());
        out.push(u8::from(sample.code.is_some()));
        out.extend_from_slice(&sample.code.unwrap_or(0).to_le_bytes());
    }
    out
}

/// Reads what [`pack`] wrote.
pub(crate) fn unpack(blob: &[u8]) -> FromSqlResult<Vec<Sample>> {
    let broken = || damaged(format!("{} bytes of samples", blob.len()));
    blob.chunks(SAMPLE).map(|bytes| sample(bytes).ok_or_else(broken)).collect()
}

fn sample(bytes: &[u8]) -> Option<Sample> {
    let (at, bytes) = bytes.split_first_chunk()?;
    let (timed, bytes) = bytes.split_first()?;
    let (total, bytes) = bytes.split_first_chunk()?;
    let (coded, bytes) = bytes.split_first()?;
    let (code, _) = bytes.split_first_chunk()?;
    Some(Sample {
        at: UnixMs(i64::from_le_bytes(*at)),
        total_us: (*timed != 0).then_some(u32::from_le_bytes(*total)),
        code: (*coded != 0).then_some(u16::from_le_bytes(*code)),
    })
}
