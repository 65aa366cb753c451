//! Where a watch continues: `<epoch>.<revision>`, and after a `~` what only the replica that wrote it reads.

use std::str::FromStr;

use crate::catalog::{Epoch, Mark};
use crate::model::replica::Replica;

/// A cursor as a client sends it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct WatchCursor {
    pub(in crate::api) epoch: Epoch,
    pub(in crate::api) revision: u64,
    /// The state of the replica that wrote it.
    pub(in crate::api) mark: Option<Mark>,
}

impl WatchCursor {
    /// The id of an event.
    pub(super) fn text(epoch: &Epoch, revision: u64, mark: Option<Mark>) -> String {
        match mark {
            None => format!("{epoch}.{revision}"),
            Some(Mark { replica, sequence }) => format!("{epoch}.{revision}~{replica}.{sequence}"),
        }
    }
}

/// A mark; none where another version wrote it.
fn mark(text: &str) -> Option<Mark> {
    let (replica, sequence) = text.split_once('.')?;
    Some(Mark { replica: Replica::read(replica)?, sequence: sequence.parse().ok()? })
}

impl FromStr for WatchCursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "is not the unchanged id of an event from a watch";
        let (epoch, rest) = text.split_once('.').ok_or(WRONG)?;
        let digits = rest.split(['~', '+']).next().unwrap_or(rest);
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let revision = plain.then(|| digits.parse().ok()).flatten().ok_or(WRONG)?;
        let mark = rest.split_once('~').and_then(|(_, own)| mark(own));
        Ok(Self { epoch: epoch.parse().map_err(|_| WRONG)?, revision, mark })
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

    #[test]
    fn a_replica_reads_what_it_wrote() {
        let epoch: Epoch = "0123456789abcdef".parse().expect("an epoch");
        for mark in [None, Some(Mark { replica: Replica::random(), sequence: 7 })] {
            let text = WatchCursor::text(&epoch, 42, mark);
            assert_eq!(text.parse(), Ok(WatchCursor { epoch: epoch.clone(), revision: 42, mark }), "{text}");
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
