//! The secrets that sign and verify tokens: a fixed one, or those of a file that is read again when it changes.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::DecodingKey;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio::sync::watch;

use crate::crypto::stamp::Stamp;
use crate::model::secret::{WeakSecret, strong};
use crate::model::sync::{Arc, Mutex, PoisonError};
use crate::model::time::UnixMs;

/// Most secrets in a file: a token that the first does not verify is tried with each.
pub const MAX_SECRETS: usize = 8;
/// Largest secret file, in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// For how long the file must be gone until its secrets are revoked.
const GONE: Duration = Duration::from_secs(10);

/// Why secrets cannot be used. No message contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file cannot be read.
    #[error("the secret file {path} cannot be read: {source}; JWT_SECRET_FILE names a file with one secret a line")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file has no secret.
    #[error("there is no secret; make one with: openssl rand -base64 48")]
    None,
    /// The file is too large to be a list of secrets.
    #[error("the secret file is over {MAX_FILE} bytes; it holds one secret a line and nothing else")]
    TooLarge,
    /// More than [`MAX_SECRETS`].
    #[error("there are {0} secrets, at most {MAX_SECRETS} are tried; remove the oldest from the end of the file")]
    TooMany(usize),
    /// A secret is guessable or well known.
    #[error("secret {line} {why}; make one with: openssl rand -base64 48")]
    Weak {
        /// Counted from 1, blank lines left out.
        line: usize,
        /// What is wrong with it.
        why: WeakSecret,
    },
}

/// The result of reading the secrets again on request.
#[derive(Debug)]
pub enum SecretsReload {
    /// They cannot change: `JWT_SECRET`, or a pipe.
    Fixed,
    /// The same as before; how many.
    Same(usize),
    /// Others than before; how many.
    Changed(usize),
    /// The file does not exist.
    Missing,
    /// The file cannot be used.
    Unusable(SecretsError),
}

impl SecretsReload {
    /// Whether what was read is in force.
    pub fn is_usable(&self) -> bool {
        !matches!(self, Self::Missing | Self::Unusable(_))
    }
}

impl fmt::Display for SecretsReload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed => f.write_str("the secret was given at the start, and only a restart changes it"),
            Self::Same(count) => write!(f, "read the secrets again, {count} in force as before"),
            Self::Changed(count) => write!(f, "read the changed secrets, {count} in force now"),
            Self::Missing => write!(
                f,
                "the secret file is gone; if it stays away for {} seconds, its secrets are revoked",
                GONE.as_secs()
            ),
            Self::Unusable(why) => {
                write!(f, "the secrets stay as they were, because the file cannot be used: {why}")
            }
        }
    }
}

/// Identifies a secret without revealing it: a hash with a key of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId(u64);

static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl KeyId {
    pub(super) fn of(key: &(impl Hash + ?Sized)) -> Self {
        Self(KEYED.hash_one(key))
    }
}

/// One secret that verifies.
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) decoding: DecodingKey,
}

impl Key {
    pub(super) fn of(secret: &str) -> Self {
        Self { id: KeyId::of(secret), decoding: DecodingKey::from_secret(secret.as_bytes()) }
    }
}

/// The secrets of one reading.
pub(super) struct Keys {
    /// Differs between two readings.
    pub(super) generation: u64,
    /// None where there is no secret yet.
    first: Option<SecretString>,
    pub(super) verify: Vec<Key>,
}

impl Keys {
    fn none() -> Self {
        Self { generation: 0, first: None, verify: Vec::new() }
    }

    /// From the lines of a file, which may begin with a byte order mark. A line that is not text is skipped and logged by its number.
    fn lines(bytes: &[u8], path: &Path) -> Result<Self, SecretsError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut lines = Vec::new();
        for (n, line) in bytes.split(|b| *b == b'\n').enumerate() {
            match std::str::from_utf8(line) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => lines.push(text),
                Err(_) => {
                    tracing::error!(path = %path.display(), line = n + 1, "a line of the secret file is not UTF-8 text, and is skipped");
                }
            }
        }
        Self::of(&lines)
    }

    fn of(secrets: &[&str]) -> Result<Self, SecretsError> {
        if secrets.len() > MAX_SECRETS {
            return Err(SecretsError::TooMany(secrets.len()));
        }
        let strong = |(n, text)| strong(text).map_err(|why| SecretsError::Weak { line: n + 1, why });
        let secrets = secrets.iter().copied().enumerate().map(strong).collect::<Result<Vec<_>, _>>()?;
        let first = Some(SecretString::from(*secrets.first().ok_or(SecretsError::None)?));
        let verify = secrets.iter().map(|secret| Key::of(secret)).collect();
        Ok(Self { generation: 0, first, verify })
    }
}

struct SecretFile {
    path: PathBuf,
    last_read: Mutex<LastRead>,
}

/// What was found at the last look at the file.
struct LastRead {
    /// The version that was read, usable or not; `None` while it is missing.
    version: Option<Stamp>,
    /// Whether it could not be used: the next attempt may succeed, also if the file stays as it is.
    failed: bool,
    /// Since when it is gone, steady clock.
    gone_since: Option<UnixMs>,
}

impl LastRead {
    fn of(version: Option<Stamp>) -> Mutex<Self> {
        Mutex::new(Self { version, failed: false, gone_since: None })
    }
}

/// The current secrets.
pub struct Secrets {
    keys: ArcSwap<Keys>,
    file: Option<SecretFile>,
    /// The generation of `keys`, for those that wait for the next one.
    changes: watch::Sender<u64>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.file.as_ref().map(|file| &file.path);
        f.debug_struct("Secrets").field("file", &path).finish_non_exhaustive()
    }
}

impl Secrets {
    /// The one secret of `JWT_SECRET`. The space around it does not count.
    ///
    /// # Errors
    /// [`SecretsError`] when it is short or well known.
    pub fn inline(secret: &SecretString) -> Result<Self, SecretsError> {
        let keys = Keys::of(&[secret.expose_secret()])?;
        Ok(Self::new(keys, None))
    }

    /// The secrets of `JWT_SECRET_FILE`, one a line: the first signs, all verify. Blank lines and the space around a secret do not count.
    ///
    /// # Errors
    /// [`SecretsError`] when the file cannot be read or a secret in it cannot be used.
    pub fn file(path: impl Into<PathBuf>) -> Result<Self, SecretsError> {
        let path = path.into();
        let version = Stamp::of(&path);
        let keys = read(&path)?;
        let file = version.map(|version| SecretFile { path, last_read: LastRead::of(Some(version)) });
        Ok(Self::new(keys, file))
    }

    /// The same, where the file may not exist: there is no secret until it does.
    ///
    /// # Errors
    /// As for [`Self::file`].
    pub fn file_if_any(path: impl Into<PathBuf>) -> Result<Self, SecretsError> {
        let path = path.into();
        if !std::fs::exists(&path).is_ok_and(|exists| !exists) {
            return Self::file(path);
        }
        let file = SecretFile { path, last_read: LastRead::of(None) };
        Ok(Self::new(Keys::none(), Some(file)))
    }

    fn new(keys: Keys, file: Option<SecretFile>) -> Self {
        Self { changes: watch::Sender::new(keys.generation), keys: ArcSwap::from_pointee(keys), file }
    }

    /// Whether they may change.
    pub(super) fn may_change(&self) -> bool {
        self.file.is_some()
    }

    /// Whether that secret is in force.
    pub(super) fn holds(&self, id: KeyId) -> bool {
        self.keys.load().verify.iter().any(|key| key.id == id)
    }

    /// Receives the generation of each change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The secret that signs; none where there is no secret yet.
    pub fn signing(&self) -> Option<SecretString> {
        self.keys.load().first.clone()
    }

    /// Whether there is a secret.
    pub fn has_any(&self) -> bool {
        !self.keys.load().verify.is_empty()
    }

    /// The secrets that were read last. Requests call this, so it never touches the file.
    pub(super) fn current(&self) -> arc_swap::Guard<Arc<Keys>> {
        self.keys.load()
    }

    /// Reads the file again now, whether or not it has changed, and may block. A file that cannot be used leaves the old secrets in force.
    pub(super) fn reload(&self) -> SecretsReload {
        let Some(file) = &self.file else { return SecretsReload::Fixed };
        let mut last_read = file.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        last_read.version = Stamp::of(&file.path);
        if last_read.version.is_none() {
            return SecretsReload::Missing;
        }
        let read = read(&file.path);
        last_read.failed = read.is_err();
        read.map_or_else(SecretsReload::Unusable, |keys| self.replace(keys))
    }

    /// Reads the file again if it has changed or could not be read, and may block. A file that cannot be used leaves the old secrets in force and
    /// is reported once; one that is gone for good takes them along. `now` is of the steady clock.
    pub(super) fn refresh(&self, now: UnixMs) {
        let Some(file) = &self.file else { return };
        let mut last_read = file.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, version) = (last_read.version, Stamp::of(&file.path));
        last_read.version = version;
        let path = file.path.display();
        if version.is_none() {
            self.missing(file, before.is_some(), &mut last_read.gone_since, now);
            return;
        }
        last_read.gone_since = None;
        let changed = before != version;
        if !changed && !last_read.failed {
            return;
        }
        let read = read(&file.path);
        last_read.failed = read.is_err();
        match read {
            Err(_) if !changed => {}
            Ok(keys) => {
                let secrets = keys.verify.len();
                self.replace(keys);
                tracing::info!(%path, secrets, "read the changed secrets");
            }
            Err(error) => {
                tracing::error!(%path, %error, "the changed secrets cannot be used; the old ones stay in force");
            }
        }
    }

    /// The file is missing. Files are replaced in all sorts of ways, so that only counts once it has lasted.
    fn missing(&self, file: &SecretFile, was_there: bool, gone_since: &mut Option<UnixMs>, now: UnixMs) {
        let path = file.path.display();
        if !self.has_any() {
            return;
        }
        // It may also be unreadable for now, or a pipe, which is read once.
        if !std::fs::exists(&file.path).is_ok_and(|exists| !exists) {
            if was_there {
                tracing::error!(%path, "the secret file cannot be looked at; its secrets stay in force");
            }
            return;
        }
        let since = *gone_since.get_or_insert_with(|| {
            let seconds = GONE.as_secs();
            tracing::warn!(%path, "the secret file is gone; unless it comes back within {seconds} seconds, its secrets are revoked");
            now
        });
        if now.since(since) >= GONE {
            self.replace(Keys::none());
            tracing::error!(%path, "the secret file is gone, so its secrets are revoked: no token that they signed is accepted");
        }
    }

    /// Until the guard is dropped, the file does not answer.
    #[cfg(test)]
    pub(super) fn hang(&self) -> crate::model::sync::MutexGuard<'_, impl Sized> {
        self.file.as_ref().expect("a file").last_read.lock().expect("sound")
    }

    /// Puts `keys` into force, unless they are the same. Callers hold the lock of the file.
    fn replace(&self, mut keys: Keys) -> SecretsReload {
        let (count, before) = (keys.verify.len(), self.keys.load());
        if before.verify.iter().map(|key| key.id).eq(keys.verify.iter().map(|key| key.id)) {
            return SecretsReload::Same(count);
        }
        keys.generation = before.generation + 1;
        let generation = keys.generation;
        self.keys.store(Arc::new(keys));
        self.changes.send_replace(generation);
        SecretsReload::Changed(count)
    }
}

fn read(path: &Path) -> Result<Keys, SecretsError> {
    let unreadable = |source| SecretsError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let bytes = SecretSlice::from(bytes);
    if bytes.expose_secret().len() as u64 > MAX_FILE {
        return Err(SecretsError::TooLarge);
    }
    Keys::lines(bytes.expose_secret(), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_could_not_be_read_is_read_again_although_it_stayed_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secrets");
        let (old, new) =
            ("an old secret that is long enough to sign with", "a new secret that is long enough to sign with");
        std::fs::write(&path, old).expect("written");
        let secrets = Secrets::file(&path).expect("a secret");
        std::fs::write(&path, new).expect("written");
        // As a read leaves it that failed for want of a descriptor.
        let file = secrets.file.as_ref().expect("a file");
        let mut last_read = file.last_read.lock().expect("a lock");
        (last_read.version, last_read.failed) = (Stamp::of(&path), true);
        drop(last_read);
        secrets.refresh(UnixMs(0));
        assert_eq!(secrets.signing().expect("a secret").expose_secret(), new);
        assert!(!file.last_read.lock().expect("a lock").failed);
    }
}
