//! Reasons and codes as people say them. The words of the API stay where they are filtered by.
//!
//! | Reason | Wordings, the first that fits |
//! |---|---|
//! | `ConnectRefused` | `nothing listens on 10.0.0.5:801`, `10.0.0.5:801 refused`, `:801 refused`; without an address `connection refused` |
//! | `UnexpectedStatus` | `503 (wants 2xx)`, `503` |
//! | `NotChecked` | `not checked` |
//! | any other | its own word |

use super::sanitize::sanitize;
use crate::model::outcome::{Reason, grpc_status_name};
use crate::wire::Outcome;

/// The code of a probe: an HTTP status as a number, a gRPC status by its name, `SERVING` and `NOT_SERVING` where the server answered.
pub fn code(code: u16, passed: bool) -> String {
    match (code, passed) {
        (0, true) => "SERVING".to_owned(),
        (0, false) => "NOT_SERVING".to_owned(),
        _ => grpc_status_name(code).map_or_else(|| code.to_string(), str::to_owned),
    }
}

/// What a probe found beside its reason.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The address that it dialled.
    pub address: Option<String>,
    /// The status that was answered, and those that pass.
    pub status: Option<(u16, String)>,
}

/// A reason alone.
pub fn words(reason: &str) -> String {
    match reason.parse() {
        Ok(Reason::NotChecked) => "not checked".to_owned(),
        Ok(Reason::ConnectRefused) => "connection refused".to_owned(),
        _ => sanitize(reason, 64),
    }
}

/// A reason with what was found, in every wording, the longest first; at least one.
pub fn wordings(reason: &str, found: &Found) -> Vec<String> {
    match (reason.parse(), found) {
        (Ok(Reason::ConnectRefused), Found { address: Some(address), .. }) => {
            let address = sanitize(address, 128);
            let mut all = vec![format!("nothing listens on {address}"), format!("{address} refused")];
            let port = address.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
            all.extend(port.map(|(_, port)| format!(":{port} refused")));
            all
        }
        (Ok(Reason::UnexpectedStatus), Found { status: Some((status, wanted)), .. }) => {
            vec![format!("{status} (wants {wanted})"), status.to_string()]
        }
        _ => vec![words(reason)],
    }
}

/// What a failed probe found, as a sentence: `nothing listens on 10.0.0.5:801`, `Timeout: no answer within 2 s`. Foreign text: it is to be
/// sanitized.
pub fn cause(failed: &Outcome) -> String {
    match (failed.reason.parse(), failed.address, failed.message.as_deref().filter(|message| !message.is_empty())) {
        (Ok(Reason::ConnectRefused), Some(address), _) => {
            let found = Found { address: Some(address.to_string()), status: None };
            wordings(&failed.reason, &found).into_iter().next().unwrap_or_default()
        }
        (_, _, Some(message)) => format!("{}: {message}", words(&failed.reason)),
        _ => words(&failed.reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_reasons_read_as_people_say_them() {
        assert_eq!(code(0, true), "SERVING");
        assert_eq!(code(0, false), "NOT_SERVING");
        assert_eq!(code(14, false), "UNAVAILABLE");
        assert_eq!(code(503, false), "503");
        let of = |reason: &str, address: Option<&str>, status| {
            let found = Found { address: address.map(Into::into), status };
            wordings(reason, &found).join(" / ")
        };
        let answered = Some((503, "2xx".to_owned()));
        assert_eq!(of("UnexpectedStatus", None, answered.clone()), "503 (wants 2xx) / 503");
        assert_eq!(of("UnexpectedStatus", None, None), "UnexpectedStatus");
        assert_eq!(
            of("ConnectRefused", Some("a:80"), answered),
            "nothing listens on a:80 / a:80 refused / :80 refused"
        );
        assert_eq!(of("ConnectRefused", Some("[::1]"), None), "nothing listens on [::1] / [::1] refused");
        assert_eq!(of("ConnectRefused", None, None), "connection refused");
        assert_eq!(of("NotChecked", None, None), "not checked");
        assert_eq!(words("OfANewerServer\u{1b}"), "OfANewerServer\\u{1b}");
    }
}
