//! The cluster's public keys in a file beside the store, for a restart while the Kubernetes API is away. They are public, so it need not be
//! secret; but whoever writes it decides which tokens are accepted until the API answers.

use std::fs::{OpenOptions, rename};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::model::ports::TokenIssuer;
use crate::model::sync::{Mutex, PoisonError};
use crate::model::time::UnixMs;

/// For how long the keys may be used after they were last read from the Kubernetes API.
pub(super) const USABLE: Duration = Duration::from_hours(24);
/// Time between two writes of the same keys.
const WRITE_EVERY: Duration = Duration::from_hours(1);
/// Largest file, in bytes: 32 keys take 20 KB.
const MAX_FILE: u64 = 256 * 1024;
const MODE: u32 = 0o640;

#[derive(Serialize, Deserialize)]
struct Content {
    /// Wall clock, in milliseconds.
    read_at: i64,
    issuer: TokenIssuer,
}

/// The file.
pub(super) struct KeptKeys {
    path: PathBuf,
    /// What was written last, and when.
    written: Mutex<Option<(TokenIssuer, UnixMs)>>,
}

impl KeptKeys {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, written: Mutex::new(None) }
    }

    /// The keys of an earlier run, with the time since they were read; none if there are none, or if that is too long ago. `now` is of the wall
    /// clock.
    pub(super) fn read(&self, now: UnixMs) -> Option<(TokenIssuer, Duration)> {
        let Content { read_at, issuer } = serde_json::from_slice(&self.bytes().ok()?).ok()?;
        let (read_at, tolerated) = (UnixMs(read_at), Duration::from_mins(5));
        let age = now.since(read_at);
        (age < USABLE && read_at.since(now) < tolerated).then_some((issuer, age))
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let file = OpenOptions::new().read(true).custom_flags(no_follow()).open(&self.path)?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Keeps keys that were read `now`, unless it did so not long ago, and may block. A failure is logged: only a later restart depends on it.
    pub(super) fn keep(&self, issuer: &TokenIssuer, now: UnixMs) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.as_ref().is_some_and(|(known, at)| known == issuer && now.since(*at) < WRITE_EVERY) {
            return;
        }
        *written = Some((issuer.clone(), now));
        if let Err(error) = self.write(&Content { read_at: now.0, issuer: issuer.clone() }) {
            let path = self.path.display();
            tracing::warn!(%path, "cannot keep the keys of the cluster's tokens for a restart: {error}");
        }
    }

    /// Until the guard is dropped, the file takes no keys.
    #[cfg(test)]
    pub(super) fn hang(&self) -> crate::model::sync::MutexGuard<'_, impl Sized> {
        self.written.lock().expect("sound")
    }

    fn write(&self, content: &Content) -> io::Result<()> {
        let mut new = self.path.as_os_str().to_owned();
        new.push(".new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(MODE).custom_flags(no_follow());
        options.open(&new)?.write_all(&serde_json::to_vec(content)?)?;
        rename(&new, &self.path)
    }
}

/// Does not follow a link, and does not wait for the other end of a pipe.
fn no_follow() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::model::ports::{IssuerKey, KeyForm};

    fn issuer(key: &str) -> TokenIssuer {
        let form = KeyForm::Rsa { modulus: "AQ".to_owned(), exponent: "AQAB".to_owned() };
        TokenIssuer { name: "https://cluster".to_owned(), keys: vec![IssuerKey { id: key.to_owned(), form }] }
    }

    #[test]
    fn keys_are_kept_for_a_day_and_written_seldom() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        let (kept, start) = (KeptKeys::new(path.clone()), UnixMs(1_800_000_000_000));
        let at = |hours| start.plus(Duration::from_hours(hours));
        assert_eq!(kept.read(start), None);
        kept.keep(&issuer("a"), start);
        assert_eq!(kept.read(at(23)), Some((issuer("a"), Duration::from_hours(23))));
        assert_eq!(kept.read(at(24)), None, "too old");
        assert_eq!(kept.read(UnixMs(start.0 - 3_600_000)), None, "from the future");
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");

        std::fs::remove_file(&path).expect("removed");
        kept.keep(&issuer("a"), UnixMs(start.0 + 60_000));
        assert!(!path.exists(), "the same keys, a minute later");
        kept.keep(&issuer("b"), UnixMs(start.0 + 60_000));
        assert_eq!(kept.read(at(1)).map(|(issuer, _)| issuer), Some(issuer("b")));
        std::fs::remove_file(&path).expect("removed");
        kept.keep(&issuer("b"), at(2));
        assert_eq!(kept.read(at(25)).map(|(issuer, _)| issuer), Some(issuer("b")), "confirmed since");
    }

    #[test]
    fn a_file_that_is_not_ours_is_neither_read_nor_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (folder.path().join("keys"), folder.path().join("other"));
        let start = UnixMs(1_800_000_000_000);
        KeptKeys::new(other.clone()).keep(&issuer("planted"), start);
        symlink(&other, &path).expect("a link");
        let kept = KeptKeys::new(path.clone());
        assert_eq!(kept.read(start), None, "a link");
        symlink(&other, folder.path().join("keys.new")).expect("a link");
        kept.keep(&issuer("a"), start);
        assert_eq!(KeptKeys::new(other).read(start).map(|(issuer, _)| issuer), Some(issuer("planted")), "left alone");
        std::fs::remove_file(&path).expect("removed");
        for text in ["", "{}", "[1", &format!("{{\"read_at\":{}}}", start.0)] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(kept.read(start), None, "{text}");
        }
    }
}
