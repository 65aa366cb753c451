//! What may sign tokens: one rule for a variable and for a line of a file.

/// Shortest secret, in bytes: as long as the HMAC's output
/// ([RFC 7518 §3.2](https://www.rfc-editor.org/rfc/rfc7518#section-3.2)).
pub const MIN_SECRET_BYTES: usize = 32;
/// The secret that the seed shipped with: known to everyone.
const SEED_SECRET: &str = "your-secret-key";

/// Why a secret protects nothing. Never holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// Guessable.
    #[error("is only {0} bytes long without the space around it, at least {MIN_SECRET_BYTES} are needed")]
    Short(usize),
    /// The seed's.
    #[error("is the well-known default")]
    WellKnown,
}

/// The secret in `text`. The space around it does not count: it comes and goes with the way in which a secret is passed on.
///
/// # Errors
/// [`WeakSecret`].
pub fn strong(text: &str) -> Result<&str, WeakSecret> {
    match text.trim() {
        SEED_SECRET => Err(WeakSecret::WellKnown),
        secret if secret.len() < MIN_SECRET_BYTES => Err(WeakSecret::Short(secret.len())),
        secret => Ok(secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_no_secret() {
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
