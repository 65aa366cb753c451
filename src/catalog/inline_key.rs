//! The key of the map of services.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use crate::model::name::ServiceKey;

/// Longest key that is stored inline, in bytes.
const MAX_INLINE: usize = 30;

/// `namespace/name`, inline if it is short, as most are: a lookup then needs no other memory, and copying a part of the map touches no
/// reference count.
#[derive(Debug, Clone)]
pub(super) enum InlineKey {
    Short { len: u8, text: [u8; MAX_INLINE] },
    Long(ServiceKey),
}

impl InlineKey {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, text } => text.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(key) => key.as_str().as_bytes(),
        }
    }
}

impl From<&ServiceKey> for InlineKey {
    fn from(key: &ServiceKey) -> Self {
        let bytes = key.as_str().as_bytes();
        let mut text = [0; MAX_INLINE];
        match (text.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(bytes);
                Self::Short { len, text }
            }
            _ => Self::Long(key.clone()),
        }
    }
}

impl Borrow<[u8]> for InlineKey {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl PartialEq for InlineKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for InlineKey {}

impl Hash for InlineKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_keys_are_found_by_their_text() {
        assert_eq!(size_of::<InlineKey>(), 32);
        let names = ["a".to_owned(), "b".repeat(22), "c".repeat(23), "d".repeat(63)];
        let namespace = "default".parse().expect("a name");
        let keys = names.map(|name| ServiceKey::new(&namespace, &name.parse().expect("a name")));
        let map: std::collections::HashMap<InlineKey, &ServiceKey> = keys.iter().map(|key| (key.into(), key)).collect();
        for key in &keys {
            assert_eq!(map.get(key.as_str().as_bytes()), Some(&key));
        }
        assert!(!map.contains_key(b"default/e".as_slice()));
    }
}
