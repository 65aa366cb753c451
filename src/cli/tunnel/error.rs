//! Why there is no stream to a pod, and what to do about it.

use std::time::Duration;

use crate::cli::exit::{Exit, Failure};
use crate::model::name::Namespace;
use crate::model::text::escape;
use crate::operator::kubernetes::client::{ClientError, causes};

use super::pods::{LABEL, Pod};

/// Longest foreign text that is passed on, in characters.
const MAX_TEXT: usize = 400;

/// What was requested of the Kubernetes API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApiCall {
    List,
    Forward,
}

impl ApiCall {
    /// The rights that a Role has to grant. A websocket begins as a GET, and newer API servers want `create` too.
    fn rights(self) -> &'static str {
        match self {
            Self::List => "list pods",
            Self::Forward => "get and create pods/portforward",
        }
    }
}

/// What went wrong. Foreign text in it is escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TunnelError {
    #[error("{0}")]
    NoAccess(String),
    #[error("the Kubernetes API refuses the credentials: {0}")]
    Unauthorized(String),
    #[error("the Kubernetes API refuses to {}: {said}", .call.rights())]
    Forbidden { call: ApiCall, said: String },
    #[error("the Kubernetes API cannot be reached: {0}")]
    Api(String),
    #[error("there is no pod of Portolan")]
    NoPod,
    #[error("none of Portolan's pods is ready ({0} found)")]
    NoneReady(usize),
    #[error("the Kubernetes API opens no stream to the pod {pod}: {said}")]
    NoStream { pod: String, said: String },
    #[error("the pod {pod} takes no connections on its port {port}: {said}")]
    NotListening { pod: String, port: u16, said: String },
    #[error("the connection to the pod {0} broke")]
    Broke(String),
    #[error("the pod {0} is no longer ready")]
    NoLongerReady(String),
}

impl TunnelError {
    /// The kubeconfig file, or the program that it gets credentials from, is unusable.
    pub(super) fn no_access(error: &ClientError) -> Self {
        let said = escape(&error.to_string(), MAX_TEXT);
        if matches!(error, ClientError::Build(kube::Error::Auth(_))) {
            Self::Unauthorized(said)
        } else {
            Self::NoAccess(said)
        }
    }

    /// No answer within that many seconds.
    pub(super) fn silence(seconds: u64) -> Self {
        Self::Api(format!("no answer within {seconds} s"))
    }

    /// Opening took too long.
    pub(super) fn late(longest: Duration) -> Self {
        Self::Api(format!("no stream to a pod was open within {longest:?}, which --timeout allows"))
    }

    /// What an error of the Kubernetes API means; `pod` is the one to forward to, if any.
    pub(super) fn of(error: &kube::Error, pod: Option<&str>) -> Self {
        let call = if pod.is_some() { ApiCall::Forward } else { ApiCall::List };
        let kube::Error::Api(status) = error else { return Self::Api(escape(&causes(error), MAX_TEXT)) };
        let said = escape(&status.message, MAX_TEXT);
        match (status.code, pod) {
            (401, _) => Self::Unauthorized(said),
            (403, _) => Self::Forbidden { call, said },
            (_, Some(pod)) => Self::NoStream { pod: escape(pod, 63), said },
            (_, None) => Self::Api(said),
        }
    }

    /// A stream ended before the pod sent anything; `said` is the error of its node.
    pub(super) fn unanswered(pod: &Pod, said: Option<String>) -> Self {
        let name = escape(&pod.name, 63);
        match said {
            Some(said) => Self::NotListening { pod: name, port: pod.port, said: escape(&said, MAX_TEXT) },
            None => Self::Broke(name),
        }
    }

    /// Whether other pods would fail in the same way.
    pub(super) fn is_general(&self) -> bool {
        matches!(self, Self::NoAccess(_) | Self::Unauthorized(_) | Self::Forbidden { .. } | Self::Api(_))
    }

    /// The failure of the command.
    pub(super) fn failure(&self, context: &str, namespace: &Namespace) -> Failure {
        let exit = match self {
            // The message names the context and what to do.
            Self::NoAccess(said) => return Failure::usage(said),
            Self::Unauthorized(_) | Self::Forbidden { .. } => Exit::Refused,
            _ => Exit::Unreachable,
        };
        let context = escape(context, 200);
        let place = match self {
            Self::Unauthorized(_) | Self::Api(_) => format!("context {context}"),
            _ => format!("context {context}, namespace {namespace}"),
        };
        Failure::new(exit, format!("{self} ({place})")).hint(self.advice(&context, namespace))
    }

    fn advice(&self, context: &str, namespace: &Namespace) -> String {
        let kubectl = format!("kubectl --context {context} -n {namespace}");
        match self {
            Self::NoAccess(_) | Self::Unauthorized(_) => {
                format!("kubectl --context {context} auth whoami says who you are; log in again")
            }
            Self::Forbidden { call, .. } => {
                format!("ask for a Role in the namespace {namespace} that lets you {}", call.rights())
            }
            Self::Api(_) => format!("does kubectl --context {context} version reach it?"),
            Self::NoPod => {
                format!("{kubectl} get pods -l {LABEL} shows them; --context-namespace names another namespace")
            }
            Self::NoneReady(_) | Self::NoLongerReady(_) => format!("{kubectl} describe pods -l {LABEL} says why"),
            Self::NoStream { pod, .. } | Self::NotListening { pod, .. } | Self::Broke(pod) => {
                format!("is the pod running, and its node healthy? {kubectl} describe pod {pod}")
            }
        }
    }
}
