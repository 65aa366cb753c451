//! What can go wrong between the watch and the Kubernetes API, in words that tell a person what to do.

use std::fmt;

use kube::core::Status;

use crate::model::text;
use crate::operator::ingest::Scope;
use crate::operator::kubernetes::list_watch::ApiError;

/// Longest foreign text in a log line, in characters.
const MAX_TEXT: usize = 300;

/// Why a list or a watch ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WatchError {
    /// The revision to resume from is too old, or belongs to another history: list again.
    Expired,
    /// No such resource.
    NotInstalled,
    /// 403.
    Forbidden(String),
    /// 401.
    Unauthorized(String),
    /// 429 or 5xx.
    Busy(String),
    /// No connection, or no answer.
    Unreachable(String),
    /// An answer that cannot be understood.
    Malformed(String),
}

impl WatchError {
    /// Whether the revision to resume from has become useless.
    pub(super) fn needs_list(&self) -> bool {
        matches!(self, Self::Expired | Self::NotInstalled | Self::Malformed(_))
    }

    /// Whether it is normal and not worth a log line.
    pub(super) fn is_expected(&self) -> bool {
        matches!(self, Self::Expired)
    }

    /// Whether both are of the same kind, so that one log line is enough.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// The line for the log.
    pub(super) fn explain(&self, scope: &Scope) -> String {
        let scope_text = InScope(scope);
        match self {
            Self::Expired => format!("services.portolan.dev {scope_text} are listed again"),
            Self::NotInstalled => "the custom resource services.portolan.dev is not installed in this cluster, so there is nothing to \
                                   watch; install it with `portolan crd | kubectl apply --server-side -f -`; this is tried again"
                .to_owned(),
            Self::Forbidden(why) => format!(
                "this ServiceAccount may not list and watch services.portolan.dev {scope_text}: give it the verbs list and watch there (the \
                 role in deploy/), or name the namespaces that it may see in PORTOLAN_WATCH_NAMESPACES; this is tried again: {why}"
            ),
            Self::Unauthorized(why) => format!(
                "the Kubernetes API does not accept this process's credentials; look at its ServiceAccount's token or KUBECONFIG; this \
                 is tried again: {why}"
            ),
            Self::Busy(why) => format!("the Kubernetes API cannot answer now, services {scope_text} are served as last known: {why}"),
            Self::Unreachable(why) => format!("the Kubernetes API does not answer, services {scope_text} are served as last known: {why}"),
            Self::Malformed(why) => format!("the Kubernetes API's answer cannot be parsed, services {scope_text} are listed again: {why}"),
        }
    }
}

struct InScope<'a>(&'a Scope);

impl fmt::Display for InScope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(namespace) => write!(f, "in namespace {namespace}"),
            None => f.write_str("in all namespaces"),
        }
    }
}

impl From<&Status> for WatchError {
    fn from(status: &Status) -> Self {
        let why = || text::escape(&status.message, MAX_TEXT);
        match status.code {
            410 => Self::Expired,
            504 if is_too_large(status) => Self::Expired,
            404 => Self::NotInstalled,
            403 => Self::Forbidden(why()),
            401 => Self::Unauthorized(why()),
            429 | 500.. => Self::Busy(why()),
            _ => Self::Malformed(why()),
        }
    }
}

/// The API server never had the requested revision: its data was restored from an earlier state.
fn is_too_large(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "ResourceVersionTooLarge")
}

impl From<kube::Error> for WatchError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::from(&*status),
            kube::Error::SerdeError(error) => Self::Malformed(text::escape(&error.to_string(), MAX_TEXT)),
            error => Self::Unreachable(text::escape(&chain(&error), MAX_TEXT)),
        }
    }
}

impl From<ApiError> for WatchError {
    fn from(unheard: ApiError) -> Self {
        match unheard {
            ApiError::NoAnswer(within) | ApiError::Silent(within) => {
                Self::Unreachable(format!("no answer within {} s", within.as_secs()))
            }
            ApiError::Failed(error) => error.into(),
        }
    }
}

/// The error with its causes; the outer ones alone say little.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup_by(|inner, outer| outer.contains(inner.as_str()));
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, json: &serde_json::Value) -> Status {
        let mut text = serde_json::json!({ "code": code, "message": "no\u{1b}[2J" });
        text.as_object_mut().expect("an object").extend(json.as_object().expect("an object").clone());
        serde_json::from_value(text).expect("a status")
    }

    #[test]
    fn each_answer_says_what_to_do() {
        let none = serde_json::json!({});
        let text = |code| WatchError::from(&status(code, &none)).explain(&None);
        assert!(text(404).contains("portolan crd | kubectl apply"));
        assert!(text(403).contains("PORTOLAN_WATCH_NAMESPACES"));
        assert!(!text(403).contains('\u{1b}'), "foreign text is escaped");
        assert!(text(503).contains("served as last known"));
        let shop = Some("shop".parse().expect("a namespace"));
        assert!(WatchError::from(&status(403, &none)).explain(&shop).contains("in namespace shop"));
    }

    #[test]
    fn only_a_lost_place_needs_a_list() {
        let too_large = serde_json::json!({ "details": { "causes": [{ "reason": "ResourceVersionTooLarge" }] } });
        let none = serde_json::json!({});
        let relists = |code, json: &serde_json::Value| WatchError::from(&status(code, json)).needs_list();
        assert!(relists(410, &none) && relists(404, &none) && relists(504, &too_large));
        assert!(!relists(504, &none) && !relists(403, &none) && !relists(429, &none));
    }
}
