//! Metadata: few entries, ten thousand times over, so kept in one allocation instead of a tree, and shared by equal instances.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Keys and values in order of key; as JSON an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(Arc<[(Box<str>, Box<str>)]>);

/// Most labels that are read: several times what a service may have.
const MAX_LABELS: usize = 256;

impl Labels {
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

impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Labels {
    /// Of a key that comes twice the later value counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let mut all: Vec<(Box<str>, Box<str>)> =
            labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        all.reverse();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.dedup_by(|(later, _), (kept, _)| later == kept);
        Self(all.into())
    }
}

impl From<&BTreeMap<String, String>> for Labels {
    fn from(labels: &BTreeMap<String, String>) -> Self {
        Self(labels.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect())
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Labels, M::Error> {
                let labels = std::iter::from_fn(|| map.next_entry::<Box<str>, Box<str>>().transpose());
                let labels: Vec<_> = labels.take(MAX_LABELS + 1).collect::<Result<_, _>>()?;
                if labels.len() > MAX_LABELS {
                    return Err(serde::de::Error::custom("a service with more labels than one may have"));
                }
                Ok(labels.into_iter().collect())
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_an_object_in_order_of_key_and_the_later_of_two_counts() {
        let labels: Labels = serde_json::from_str(r#"{"tier":"1","app":"x","tier":"2"}"#).expect("an object of texts");
        assert_eq!(serde_json::to_string(&labels).expect("JSON"), r#"{"app":"x","tier":"2"}"#);
        assert_eq!((labels.get("tier"), labels.get("none")), (Some("2"), None));
        assert!(serde_json::from_str::<Labels>(r#"{"app":1}"#).is_err());
        let many: Vec<String> = (0..=MAX_LABELS).map(|n| format!("\"{n}\":\"\"")).collect();
        assert!(serde_json::from_str::<Labels>(&format!("{{{}}}", many.join(","))).is_err(), "too many");
    }
}
