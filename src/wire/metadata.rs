//! Metadata: few entries, ten thousand times over, so kept in one allocation instead of a tree, and shared by equal instances.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Keys and values in order of key; as JSON an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata(Arc<[(Box<str>, Box<str>)]>);

/// Most entries that are read: several times what a service may have.
const MAX_ENTRIES: usize = 256;

impl Metadata {
    /// Estimated memory, in bytes.
    pub fn memory(&self) -> usize {
        self.0.iter().map(|(key, value)| size_of::<(Box<str>, Box<str>)>() + key.len() + value.len()).sum()
    }

    /// A key's value.
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Metadata {
    /// If a key comes twice, the later value counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut all: Vec<(Box<str>, Box<str>)> =
            entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        all.reverse();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.dedup_by(|(later, _), (kept, _)| later == kept);
        Self(all.into())
    }
}

impl From<&BTreeMap<String, String>> for Metadata {
    fn from(entries: &BTreeMap<String, String>) -> Self {
        Self(entries.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect())
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Metadata, M::Error> {
                let entries = std::iter::from_fn(|| map.next_entry::<Box<str>, Box<str>>().transpose());
                let entries: Vec<_> = entries.take(MAX_ENTRIES + 1).collect::<Result<_, _>>()?;
                if entries.len() > MAX_ENTRIES {
                    return Err(serde::de::Error::custom("a service with more metadata than one may have"));
                }
                Ok(entries.into_iter().collect())
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_an_object_in_order_of_key_and_the_later_of_two_counts() {
        let entries: Metadata =
            serde_json::from_str(r#"{"tier":"1","app":"x","tier":"2"}"#).expect("an object of texts");
        assert_eq!(serde_json::to_string(&entries).expect("JSON"), r#"{"app":"x","tier":"2"}"#);
        assert_eq!((entries.get("tier"), entries.get("none")), (Some("2"), None));
        assert!(serde_json::from_str::<Metadata>(r#"{"app":1}"#).is_err());
        let many: Vec<String> = (0..=MAX_ENTRIES).map(|n| format!("\"{n}\":\"\"")).collect();
        assert!(serde_json::from_str::<Metadata>(&format!("{{{}}}", many.join(","))).is_err(), "too many");
    }
}
