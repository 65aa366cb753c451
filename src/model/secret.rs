//! The rule for secrets that sign tokens, the same for an environment variable and for a line of a file.

/// Shortest secret, in bytes: the length of the HMAC's output
/// ([RFC 7518 §3.2](https://www.rfc-editor.org/rfc/rfc7518#section-3.2)).
pub const MIN_SECRET_BYTES: usize = 32;
/// The default secret of the legacy gateway, which everyone knows.
const LEGACY_SECRET: &str = "your-secret-key";

/// Why a secret is too weak. Never contains the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// Guessable.
    #[error("is only {0} bytes long without surrounding space; at least {MIN_SECRET_BYTES} are needed")]
    Short(usize),
    /// The legacy gateway's default.
    #[error("is the well-known default")]
    WellKnown,
}

/// The secret in `text`, without surrounding space, which files and shells add or remove.
///
/// # Errors
/// [`WeakSecret`] if it is shorter than [`MIN_SECRET_BYTES`] or well known.
pub fn strong(text: &str) -> Result<&str, WeakSecret> {
    match text.trim() {
        LEGACY_SECRET => Err(WeakSecret::WellKnown),
        secret if secret.len() < MIN_SECRET_BYTES => Err(WeakSecret::Short(secret.len())),
        secret => Ok(secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surrounding_space_does_not_count() {
        let secret = "0123456789abcdef0123456789abcdef";
        for text in [secret.to_owned(), format!(" {secret}\r\n"), format!("\u{a0}{secret}\t")] {
            assert_eq!(strong(&text), Ok(secret));
        }
        for (text, why) in [
            (" ".repeat(40), WeakSecret::Short(0)),
            (format!("{}a{}", " ".repeat(40), " ".repeat(40)), WeakSecret::Short(1)),
            (" your-secret-key\n".to_owned(), WeakSecret::WellKnown),
        ] {
            assert_eq!(strong(&text), Err(why));
        }
    }
}
