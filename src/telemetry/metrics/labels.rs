//! The labels of metrics. Their values come from closed sets (routes, kinds, reasons), so nothing that a client sends creates a series.

use std::borrow::Cow;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;

/// Labels of `portolan_http_requests_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route's pattern, or `unmatched`.
    pub route: &'static str,
    /// The method, or `other` for an uncommon one.
    pub method: &'static str,
    /// The answer's status.
    pub status: u16,
}

/// The label `route`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabel {
    /// The route's pattern.
    pub route: &'static str,
}

/// Labels of `portolan_probes_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProbeLabels {
    /// `http`, `tcp` or `grpc`.
    pub kind: &'static str,
    /// `pass`, `fail` or `inconclusive`.
    pub verdict: &'static str,
    /// One of the reasons of an outcome.
    pub reason: &'static str,
}

/// Labels of `portolan_reviews_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReviewLabels {
    /// `token` or `access`.
    pub kind: &'static str,
    /// `allowed`, `denied` or `unanswered`.
    pub result: &'static str,
}

/// The label `reason`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// One of a closed set.
    pub reason: &'static str,
}

/// The label `queue`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueueLabel {
    /// The queue's name.
    pub queue: &'static str,
}

/// The label `targets`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TargetsLabel {
    /// `answering`, or `hanging` for targets that hang or are new.
    pub targets: &'static str,
}

/// Labels of `portolan_transitions_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TransitionLabels {
    /// The health after the transition.
    pub to: &'static str,
    /// One of the reasons of an outcome.
    pub reason: &'static str,
}

/// Labels of `rest_client_requests_total`, as client-go has them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KubeRequestLabels {
    /// The answer's status, or `<error>` without an answer.
    pub code: Cow<'static, str>,
    /// The method.
    pub method: &'static str,
    /// The API server: one per process.
    pub host: Arc<str>,
}

/// The label `result`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// One of a closed set.
    pub result: &'static str,
}

/// The value of the label `method`: a closed set, since a client may send any word as its method.
pub fn method_label(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
