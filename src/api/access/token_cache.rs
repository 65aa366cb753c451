//! Tokens that were verified before: a signature costs 3 µs, a lookup a tenth of that.

use std::collections::HashMap;
use std::fmt;

use super::token::Bearer;
use crate::model::sync::{PoisonError, RwLock};
use crate::model::time::UnixMs;

/// Most tokens remembered. Only valid ones are, so only a client with many of them can fill it.
const MAX_TOKENS: usize = 4096;
/// Longest token remembered, in bytes. One of a ServiceAccount has about 1,100.
const MAX_LEN: usize = 2048;

/// Verified tokens, whole, so that no other token can pass for one.
#[derive(Default)]
pub(super) struct TokenCache {
    known: RwLock<HashMap<Box<str>, Known>>,
}

struct Known {
    bearer: Bearer,
    generation: u64,
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").finish_non_exhaustive()
    }
}

impl TokenCache {
    /// What `token` says, if it was verified with the secrets of `generation` and has not expired at `now`.
    pub(super) fn get(&self, token: &str, generation: u64, now: UnixMs) -> Option<Bearer> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(token)?;
        (found.generation == generation && now < found.bearer.credential.ends).then(|| found.bearer.clone())
    }

    /// Remembers a token that was just verified. When there is no room, expired tokens are dropped, or else all.
    pub(super) fn put(&self, token: &str, bearer: &Bearer, generation: u64, now: UnixMs) {
        if token.len() > MAX_LEN {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_TOKENS {
            known.retain(|_, one| one.generation == generation && now < one.bearer.credential.ends);
        }
        if known.len() >= MAX_TOKENS {
            known.clear();
        }
        known.insert(token.into(), Known { bearer: bearer.clone(), generation });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::access::secrets::Key;
    use crate::api::access::{Credential, Namespaces, Scopes};

    #[test]
    fn it_is_bounded_and_forgets_with_time_and_secrets() {
        let cache = TokenCache::default();
        let bearer = |ends| Bearer {
            issuer: "".into(),
            subject: "ci".into(),
            scopes: Scopes::default(),
            namespaces: Namespaces::All,
            account: None,
            credential: Credential { ends: UnixMs(ends), key: Key::of("any").id },
        };
        for n in 0..3 * MAX_TOKENS {
            cache.put(&n.to_string(), &bearer(1000), 1, UnixMs(0));
            assert!(cache.known.read().expect("sound").len() <= MAX_TOKENS);
        }
        cache.put("a", &bearer(1000), 1, UnixMs(0));
        assert_eq!(cache.get("a", 1, UnixMs(999)), Some(bearer(1000)));
        assert_eq!(cache.get("a", 1, UnixMs(1000)), None);
        assert_eq!(cache.get("a", 2, UnixMs(0)), None);
        cache.put(&"x".repeat(MAX_LEN + 1), &bearer(1000), 1, UnixMs(0));
        assert_eq!(cache.get(&"x".repeat(MAX_LEN + 1), 1, UnixMs(0)), None);
    }
}
