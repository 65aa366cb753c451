//! What proves that the right program answers, besides a good status; and where its answer says which version it is.

use std::collections::BTreeMap;

use super::super::text;

/// Most demands of one check.
pub const MAX_DEMANDS: usize = 8;
/// Longest JSON pointer, in bytes.
pub const MAX_POINTER: usize = 256;
/// Longest name of a header that is demanded, in bytes.
pub const MAX_DEMANDED_HEADER: usize = 64;
/// Longest value that is demanded, in characters.
pub const MAX_DEMANDED_VALUE: usize = 253;
/// The words that stand for something else in a value.
const WORDS: &[&str] = &["$service", "$instance", "$namespace", "$version"];

/// Demands on an answer; all must be met. Values may contain `$service`, `$instance`, `$namespace` and `$version`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Identity {
    /// JSON pointers ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)) into the answer's body, with the text that stands there.
    pub json: BTreeMap<String, String>,
    /// Headers of the answer, in lower case, with their value.
    pub header: BTreeMap<String, String>,
    /// A name among the subject alternative names of the server's certificate.
    pub tls_san: Option<String>,
}

/// What a probe reads of an answer besides its status.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Demands {
    /// What must be there.
    pub identity: Identity,
    /// The JSON pointer of the version.
    pub version_from: Option<String>,
}

/// What the words in a value stand for.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// `$service`.
    pub service: &'a str,
    /// `$instance`.
    pub instance: &'a str,
    /// `$namespace`.
    pub namespace: &'a str,
    /// `$version`: the registered one, which may be empty.
    pub version: &'a str,
}

impl Identity {
    /// Whether it demands nothing.
    pub fn is_empty(&self) -> bool {
        self.json.is_empty() && self.header.is_empty() && self.tls_san.is_none()
    }

    /// Checks every demand against its bounds.
    ///
    /// # Errors
    /// A sentence that names the first field that is wrong, and what it may hold.
    pub(super) fn accept(&self) -> Result<(), String> {
        if self.json.len() + self.header.len() + usize::from(self.tls_san.is_some()) > MAX_DEMANDS {
            return Err(format!("http.identity has at most {MAX_DEMANDS} demands"));
        }
        for (pointer, value) in &self.json {
            accept_pointer("http.identity.json", pointer)?;
            accept_value(&format!("http.identity.json, {pointer:?}"), value)?;
        }
        for (name, value) in &self.header {
            let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
            if !(1..=MAX_DEMANDED_HEADER).contains(&name.len()) || !name.bytes().all(token) {
                return Err(format!(
                    "http.identity.header: a name is 1 to {MAX_DEMANDED_HEADER} characters of a header's name, unlike {}",
                    text::escape(name, MAX_DEMANDED_HEADER)
                ));
            }
            accept_value(&format!("http.identity.header, {name}"), value)?;
            if !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
                return Err(format!("http.identity.header, {name}: only visible ASCII characters can be matched"));
            }
        }
        self.tls_san.as_ref().map_or(Ok(()), |name| accept_value("http.identity.tls_san", name))
    }

    fn resolved(&self, words: Words<'_>) -> Self {
        let all = |map: &BTreeMap<String, String>| {
            map.iter().map(|(key, value)| (key.clone(), words.replace(value))).collect::<BTreeMap<_, _>>()
        };
        Self {
            json: all(&self.json),
            header: all(&self.header),
            tls_san: self.tls_san.as_ref().map(|name| words.replace(name)),
        }
    }
}

impl Demands {
    /// The demands with each word of a value replaced by what it stands for.
    #[must_use]
    pub fn resolved(&self, words: Words<'_>) -> Self {
        Self { identity: self.identity.resolved(words), version_from: self.version_from.clone() }
    }

    /// Whether the answer's body has to be read.
    pub fn reads_body(&self) -> bool {
        !self.identity.json.is_empty() || self.version_from.is_some()
    }
}

impl Words<'_> {
    fn replace(self, value: &str) -> String {
        if !value.contains('$') {
            return value.to_owned();
        }
        let meanings = [self.service, self.instance, self.namespace, self.version];
        let mut out = String::with_capacity(value.len());
        let mut rest = value;
        while let Some(at) = rest.find('$') {
            let (before, word) = rest.split_at(at);
            out.push_str(before);
            let known = WORDS.iter().zip(meanings).find(|(name, _)| word.starts_with(*name));
            let (meaning, length) = known.map_or(("$", 1), |(name, meaning)| (meaning, name.len()));
            out.push_str(meaning);
            rest = word.get(length..).unwrap_or_default();
        }
        out + rest
    }
}

/// Checks a JSON pointer: empty, or parts that each begin with a slash, in which `~` is written `~0`.
///
/// # Errors
/// A sentence that names `field` and what is wrong.
pub(super) fn accept_pointer(field: &str, pointer: &str) -> Result<(), String> {
    let shown = text::escape(pointer, 64);
    if pointer.len() > MAX_POINTER {
        return Err(format!("{field}: a JSON pointer has at most {MAX_POINTER} bytes"));
    }
    text::accept(pointer, MAX_POINTER).map_err(|error| format!("{field}: {error}"))?;
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Err(format!("{field}: a JSON pointer begins with '/', such as /{shown}"));
    }
    if pointer.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
        return Err(format!("{field}: in a JSON pointer '~' is written ~0 and a '/' in a name ~1, unlike {shown}"));
    }
    Ok(())
}

fn accept_value(field: &str, value: &str) -> Result<(), String> {
    text::accept(value, MAX_DEMANDED_VALUE).map_err(|error| format!("{field}: {error}"))?;
    if value.is_empty() {
        return Err(format!("{field}: give the text that must be there"));
    }
    let unknown = value.split('$').skip(1).find(|rest| {
        let known = |word: &&&str| rest.starts_with(word.trim_start_matches('$'));
        rest.starts_with(|c: char| c.is_ascii_alphabetic()) && WORDS.iter().find(known).is_none()
    });
    match unknown {
        Some(word) => {
            let word: String = word.chars().take_while(char::is_ascii_alphanumeric).take(32).collect();
            Err(format!("{field}: ${word} stands for nothing; there are {}", WORDS.join(", ")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(pointer: &str, value: &str) -> Identity {
        Identity { json: BTreeMap::from([(pointer.to_owned(), value.to_owned())]), ..Identity::default() }
    }

    #[test]
    fn words_are_replaced_and_the_rest_stays() {
        let words = Words { service: "user", instance: "a", namespace: "shop", version: "1.2" };
        for (value, resolved) in [
            ("$service", "user"),
            ("$service.$namespace.svc", "user.shop.svc"),
            ("v$version-$instance", "v1.2-a"),
            ("5$", "5$"),
            ("$5 $$service", "$5 $user"),
            ("plain", "plain"),
        ] {
            assert_eq!(words.replace(value), resolved);
        }
    }

    #[test]
    fn what_can_never_match_is_refused_with_its_field() {
        for (identity, words) in [
            (json("build/name", "a"), "begins with '/', such as /build/name"),
            (json("/a~2", "a"), "~0"),
            (json("/a", ""), "give the text"),
            (json("/a", "$servce"), "$servce stands for nothing; there are $service"),
            (json("/a", "a\u{1b}"), "U+001B"),
            (Identity { tls_san: Some(String::new()), ..Identity::default() }, "tls_san"),
            (
                Identity { header: BTreeMap::from([("x name".to_owned(), "a".to_owned())]), ..Identity::default() },
                "header",
            ),
        ] {
            let error = identity.accept().expect_err(words);
            assert!(error.starts_with("http.identity") && error.contains(words), "{error}");
        }
        let many = (0..9).map(|n| (format!("/{n}"), "a".to_owned())).collect();
        assert!(Identity { json: many, ..Identity::default() }.accept().is_err());
        for pointer in ["", "/", "/a~1b/0", "/build/name", "/ä"] {
            assert_eq!(json(pointer, "$service").accept(), Ok(()));
        }
        assert_eq!(json("/price", "5 $").accept(), Ok(()));
    }
}
