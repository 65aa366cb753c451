//! The secrets that sign and verify tokens: given once, or a file that is read again when it changes.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use arc_swap::ArcSwap;
use jsonwebtoken::DecodingKey;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio::sync::watch;

use crate::model::secret::{WeakSecret, strong};
use crate::model::sync::atomic::{AtomicI64, Ordering};
use crate::model::sync::{Arc, Mutex, PoisonError};
use crate::model::time::UnixMs;

/// Most secrets in a file: each one is tried on a token that the first does not verify.
pub const MAX_SECRETS: usize = 8;
/// Largest secret file, in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// Time between two looks at the file, in milliseconds.
const LOOK_EVERY_MS: i64 = 1000;

/// Secrets that cannot be used. No message ever holds one.
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
    /// No line holds one.
    #[error("there is no secret; make one with: openssl rand -base64 48")]
    None,
    /// Far too large to be a list of secrets.
    #[error("the secret file is over {MAX_FILE} bytes; it holds one secret a line and nothing else")]
    TooLarge,
    /// More than [`MAX_SECRETS`].
    #[error("there are {0} secrets, at most {MAX_SECRETS} are tried; remove the oldest from the end of the file")]
    TooMany(usize),
    /// Guessable or known.
    #[error("secret {line} {why}; make one with: openssl rand -base64 48")]
    Weak {
        /// Counted from 1, blank lines left out.
        line: usize,
        /// What is wrong with it.
        why: WeakSecret,
    },
}

/// What came of reading the secrets again because somebody asked for it.
#[derive(Debug)]
pub enum Reread {
    /// They were given once: `JWT_SECRET`, or a pipe.
    Fixed,
    /// As many as before, and the same.
    Same(usize),
    /// So many now.
    Changed(usize),
    /// The file is not there.
    Gone,
    /// The file cannot be used.
    Unusable(SecretsError),
}

impl Reread {
    /// Whether what was found is in force.
    pub fn is_usable(&self) -> bool {
        !matches!(self, Self::Gone | Self::Unusable(_))
    }
}

impl fmt::Display for Reread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed => f.write_str("the secret was given at the start, and only a restart changes it"),
            Self::Same(count) => write!(f, "read the secrets again, {count} in force as before"),
            Self::Changed(count) => write!(f, "read the changed secrets, {count} in force now"),
            Self::Gone => f.write_str("the secret file is gone; its secrets stay in force"),
            Self::Unusable(why) => {
                write!(f, "the secrets stay as they were, for what is there now cannot be used: {why}")
            }
        }
    }
}

/// Tells secrets apart without telling what they are: a hash with a key of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId(u64);

static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// One secret that verifies.
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) decoding: DecodingKey,
}

impl Key {
    pub(super) fn of(secret: &str) -> Self {
        Self { id: KeyId(KEYED.hash_one(secret)), decoding: DecodingKey::from_secret(secret.as_bytes()) }
    }
}

/// One reading of the secrets.
pub(super) struct Keys {
    /// Differs between two readings.
    pub(super) generation: u64,
    first: SecretString,
    pub(super) verify: Vec<Key>,
}

impl Keys {
    /// Of the lines of a file, which may begin with a byte order mark. A line that is not text is skipped and logged, by its number.
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
        let first = SecretString::from(*secrets.first().ok_or(SecretsError::None)?);
        let verify = secrets.iter().map(|secret| Key::of(secret)).collect();
        Ok(Self { generation: 0, first, verify })
    }
}

/// What tells one content of a file from the next, also where a mounted secret is a link that is swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// `None` for what is no regular file: a pipe is read once, at the start, and would block ever after.
    fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            len: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

struct Watched {
    path: PathBuf,
    /// The content that was read last, good or not; `None` once it is gone.
    seen: Mutex<Option<Stamp>>,
    looked: AtomicI64,
}

/// The secrets, as they are now.
pub struct Secrets {
    keys: ArcSwap<Keys>,
    file: Option<Watched>,
    /// The generation of `keys`, for those who wait for the next.
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
        let seen = Stamp::of(&path);
        let keys = read(&path)?;
        let looked = AtomicI64::new(i64::MIN);
        let file = seen.map(|seen| Watched { path, seen: Mutex::new(Some(seen)), looked });
        Ok(Self::new(keys, file))
    }

    fn new(keys: Keys, file: Option<Watched>) -> Self {
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

    /// Tells of each change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The secret that signs.
    pub fn signing(&self) -> SecretString {
        self.keys.load().first.clone()
    }

    /// The secrets now. Looks at the file at most once a second, on the caller's thread (a few microseconds).
    pub(super) fn current(&self, now: UnixMs) -> arc_swap::Guard<Arc<Keys>> {
        if let Some(file) = &self.file
            && now.0.saturating_sub(file.looked.load(Ordering::Relaxed)) >= LOOK_EVERY_MS
        {
            file.looked.store(now.0, Ordering::Relaxed);
            self.look(file);
        }
        self.keys.load()
    }

    /// Reads the file again now, whether or not it looks changed. What cannot be used leaves the old secrets in force.
    pub(super) fn read_again(&self) -> Reread {
        let Some(file) = &self.file else { return Reread::Fixed };
        let mut seen = file.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Stamp::of(&file.path);
        if seen.is_none() {
            return Reread::Gone;
        }
        read(&file.path).map_or_else(Reread::Unusable, |keys| self.replace(keys))
    }

    /// A file that cannot be used leaves the old secrets in force and is reported once.
    fn look(&self, file: &Watched) {
        let Ok(mut seen) = file.seen.try_lock() else { return };
        let now = Stamp::of(&file.path);
        if *seen == now {
            return;
        }
        *seen = now;
        let path = file.path.display();
        if now.is_none() {
            tracing::error!(%path, "the secret file is gone; its secrets stay in force");
            return;
        }
        match read(&file.path) {
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

    /// Puts `keys` into force, unless they are those that are. Callers hold the lock of the file.
    fn replace(&self, mut keys: Keys) -> Reread {
        let (count, before) = (keys.verify.len(), self.keys.load());
        if before.verify.iter().map(|key| key.id).eq(keys.verify.iter().map(|key| key.id)) {
            return Reread::Same(count);
        }
        keys.generation = before.generation + 1;
        let generation = keys.generation;
        self.keys.store(Arc::new(keys));
        self.changes.send_replace(generation);
        Reread::Changed(count)
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
