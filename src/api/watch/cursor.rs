//! Where a watch goes on: `<epoch>.<revision>`, and behind a `~` what only the replica that wrote it reads.

use std::str::FromStr;

use crate::catalog::Epoch;

/// A cursor as a client gives it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WatchCursor {
    pub(super) epoch: Epoch,
    pub(super) revision: u64,
}

impl FromStr for WatchCursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "expected the id of an event of a watch, as it came";
        let (epoch, rest) = text.split_once('.').ok_or(WRONG)?;
        let digits = rest.split(['~', '+']).next().unwrap_or(rest);
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let revision = plain.then(|| digits.parse().ok()).flatten().ok_or(WRONG)?;
        Ok(Self { epoch: epoch.parse().map_err(|_| WRONG)?, revision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replicas_own_part_is_passed_over() {
        for text in ["0123456789abcdef.42", "0123456789abcdef.42+9f00aa11.3", "0123456789abcdef.42~x"] {
            assert_eq!(text.parse::<WatchCursor>().map(|c| c.revision), Ok(42), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn anything_else_is_refused_without_a_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<WatchCursor>();
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in [
            "",
            ".",
            "0123456789abcdef",
            "0123456789abcdef.",
            "0123456789abcdef.-1",
            "x.1",
            "0123456789abcdef.99999999999999999999",
        ] {
            assert!(text.parse::<WatchCursor>().is_err(), "{text}");
        }
    }
}
