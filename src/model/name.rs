//! Names of namespaces, services and instances: RFC 1123 labels.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest label, in bytes ([RFC 1123 §2.1](https://www.rfc-editor.org/rfc/rfc1123#section-2.1)).
pub const MAX_LABEL: usize = 63;
/// The form of a label, as a pattern for JSON Schema.
pub const LABEL_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// Why a text is not a name. The message suggests a similar valid name, if there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is 1 to {MAX_LABEL} characters of a-z, 0-9 and '-', starting and ending with a letter or digit{hint}")]
pub struct NameError {
    what: &'static str,
    hint: String,
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alnum = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=MAX_LABEL).contains(&bytes.len())
        && bytes.iter().all(|b| alnum(b) || *b == b'-')
        && bytes.first().is_some_and(alnum)
        && bytes.last().is_some_and(alnum)
}

/// The label most similar to `text`: lower case, other characters replaced by dashes, cut to [`MAX_LABEL`]. `None` if nothing is left.
///
/// ```
/// use portolan::model::name::suggest;
///
/// assert_eq!(suggest("User_Service!").as_deref(), Some("user-service"));
/// assert_eq!(suggest("日本"), None);
/// ```
pub fn suggest(text: &str) -> Option<String> {
    let mut out = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            _ if !out.is_empty() && !out.ends_with('-') => out.push('-'),
            _ => {}
        }
        if out.len() == MAX_LABEL {
            break;
        }
    }
    let label = out.trim_end_matches('-').to_owned();
    is_label(&label).then_some(label)
}

fn checked(what: &'static str, text: &str) -> Result<(), NameError> {
    if is_label(text) {
        return Ok(());
    }
    let hint = suggest(text).map(|s| format!("; try \"{s}\"")).unwrap_or_default();
    Err(NameError { what, hint })
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                checked($what, text)?;
                Ok(Self(text.into()))
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

label!(
    /// A namespace: service names are unique in it, and tokens are limited to namespaces. Defaults to `default`.
    Namespace,
    "a namespace"
);
label!(
    /// A service's name, unique in its namespace.
    ///
    /// ```
    /// use portolan::model::name::ServiceName;
    ///
    /// assert!("user-service".parse::<ServiceName>().is_ok());
    /// let error = "User Service".parse::<ServiceName>().unwrap_err();
    /// assert!(error.to_string().ends_with("try \"user-service\""));
    /// ```
    ServiceName,
    "a service name"
);
label!(
    /// An instance's name, unique in its service. Defaults to `default`.
    InstanceName,
    "an instance name"
);

label!(
    /// A check's name, unique in its instance. The plain `check` is called `default`.
    CheckName,
    "a check's name"
);

impl Default for CheckName {
    fn default() -> Self {
        Self("default".into())
    }
}

impl CheckName {
    /// Whether it is the name of the plain `check`.
    pub fn is_default(&self) -> bool {
        self.as_str() == "default"
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("default".into())
    }
}

impl Default for InstanceName {
    fn default() -> Self {
        Self("default".into())
    }
}

/// A service's key: `namespace/name` in one allocation, so that a map with such keys can be queried with a `str`.
///
/// ```
/// use portolan::model::name::{Namespace, ServiceKey};
///
/// let key = ServiceKey::new(&Namespace::default(), &"mail".parse()?);
/// assert_eq!((key.as_str(), key.namespace(), key.name()), ("default/mail", "default", "mail"));
/// # Ok::<(), portolan::model::name::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey(Arc<str>);

impl ServiceKey {
    /// Joins the two; neither can contain a `/`.
    pub fn new(namespace: &Namespace, name: &ServiceName) -> Self {
        Self(format!("{namespace}/{name}").into())
    }

    /// `namespace/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace's text.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(ns, _)| ns)
    }

    /// The name's text.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

impl Borrow<str> for ServiceKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_name_gets_a_valid_suggestion() {
        let error = "User_Service!".parse::<ServiceName>().expect_err("upper case is refused");
        assert!(error.to_string().ends_with("try \"user-service\""), "{error}");
        assert!("-".parse::<ServiceName>().is_err());
        assert!("a".repeat(64).parse::<ServiceName>().is_err());
        assert!("a".repeat(63).parse::<ServiceName>().is_ok());
        assert_eq!(suggest("日本"), None);
    }

    proptest::proptest! {
        #[test]
        fn every_suggestion_is_a_label(text in ".{0,80}") {
            if let Some(label) = suggest(&text) {
                proptest::prop_assert!(label.parse::<ServiceName>().is_ok());
            }
        }
    }
}
