//! Reading a server's answers: bounded, so that an endless one is an error and does not fill the memory.

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use tokio::sync::Semaphore;

/// Answers above this size, in bytes, are read one at a time in this process.
const LARGE_ANSWER: usize = 1 << 20;
/// Objects that one answer or event may have: a short object takes a hundred times its text in memory.
const MAX_OBJECTS: usize = 200_000;
static LARGE_PERMIT: Semaphore = Semaphore::const_new(1);

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// More came than any answer of Portolan's has.
    #[error("the server's answer is over {}; is it Portolan?", size(*.0))]
    TooLarge(usize),
    /// It has more objects than any answer of Portolan's.
    #[error("the server's answer has over {MAX_OBJECTS} objects; is it Portolan?")]
    TooManyObjects,
    /// The connection broke, or it took too long.
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
}

/// The JSON in `response`, of `most` bytes at most, and with no more objects than any answer has.
///
/// # Errors
/// [`ReadError`].
pub async fn whole(mut response: Response, most: usize) -> Result<Bytes, ReadError> {
    let mut body = BytesMut::new();
    let mut large = None;
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > most {
            return Err(ReadError::TooLarge(most));
        }
        if large.is_none() && body.len() + piece.len() > LARGE_ANSWER {
            // The semaphore is never closed.
            large = LARGE_PERMIT.acquire().await.ok();
        }
        body.extend_from_slice(&piece);
    }
    check_objects(&body)?;
    Ok(body.freeze())
}

/// Checks that JSON from a server would not fill the memory.
///
/// # Errors
/// [`ReadError::TooManyObjects`].
pub fn check_objects(json: &[u8]) -> Result<(), ReadError> {
    // Hardly any answer has that many braces, and those of texts cost nothing.
    let many_braces = memchr::memchr_iter(b'{', json).nth(MAX_OBJECTS).is_some();
    if many_braces && objects(json) > MAX_OBJECTS { Err(ReadError::TooManyObjects) } else { Ok(()) }
}

/// How many objects JSON has; a brace in a text is none.
pub fn objects(json: &[u8]) -> usize {
    let (mut objects, mut in_text, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' if !in_text => objects += 1,
            _ => {}
        }
    }
    objects
}

/// A size for people: `24 MiB`, `64 KiB`.
pub fn size(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_texts_are_no_objects() {
        assert_eq!(objects(br#"{"a{":"\\","b":["{\"{",{"c":{}}]}"#), 3);
        let text = format!(r#"{{"a":"{}"}}"#, "{".repeat(MAX_OBJECTS + 1));
        assert!(check_objects(text.as_bytes()).is_ok());
        let many = format!("[{}]", vec!["{}"; MAX_OBJECTS + 1].join(","));
        assert!(matches!(check_objects(many.as_bytes()), Err(ReadError::TooManyObjects)));
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!((size(24 << 20), size(64 << 10)), ("24 MiB".to_owned(), "64 KiB".to_owned()));
    }
}
