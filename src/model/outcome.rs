//! What one probe yields, and the health that follows: closed sets of words, safe as metric labels.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::name::CheckName;
use super::time::UnixMs;

macro_rules! string_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every value, in order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word used in JSON, logs and metric labels.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text)
                    .ok_or_else(|| format!("expected one of {}", Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", ")))
            }
        }
    };
}

string_enum! {
    /// An instance's health: what its check's outcomes add up to.
    Health {
        /// Not yet proved, no longer proved, or not checked.
        Unknown => "unknown",
        /// Passing.
        Healthy => "healthy",
        /// Failing, confirmed.
        Unhealthy => "unhealthy",
    }
}

string_enum! {
    /// Why an instance has its health, or a probe its outcome: a closed set, safe as a metric label.
    Reason {
        /// The check passed.
        Passed => "Passed",
        /// Registered or changed, not yet probed.
        Probing => "Probing",
        /// No check was asked for.
        NotChecked => "NotChecked",
        /// No conclusive outcome for max(3 intervals, 60 s).
        Unproven => "Unproven",
        /// More than 4 transitions in 10 minutes; held unhealthy until it passes steadily.
        Flapping => "Flapping",
        /// The name does not exist (NXDOMAIN, or no address).
        NameNotFound => "NameNotFound",
        /// The name's servers answer with an error while other names resolve.
        ResolveFailed => "ResolveFailed",
        /// The address policy forbids the address.
        AddressDenied => "AddressDenied",
        /// The port is closed.
        ConnectRefused => "ConnectRefused",
        /// The connection did not open in time.
        ConnectTimeout => "ConnectTimeout",
        /// The network reports that the address cannot be reached.
        Unreachable => "Unreachable",
        /// The peer closed or reset the connection before it answered.
        ConnectionReset => "ConnectionReset",
        /// The TLS handshake failed.
        TlsFailed => "TlsFailed",
        /// The certificate is not trusted, not valid now, or not for this name.
        CertificateInvalid => "CertificateInvalid",
        /// Connected, but no full answer in time.
        Timeout => "Timeout",
        /// The answer's status is not among the expected ones; redirects are not followed.
        UnexpectedStatus => "UnexpectedStatus",
        /// The answer is not HTTP/1.1 or not gRPC.
        ProtocolError => "ProtocolError",
        /// The gRPC health service answers NOT_SERVING, UNKNOWN or SERVICE_UNKNOWN.
        NotServing => "NotServing",
        /// The gRPC call ended with an error status, or the server refused it.
        GrpcError => "GrpcError",
        /// It answers well, but as another program: its answer lacks the identity that the check demands.
        WrongIdentity => "WrongIdentity",
        /// The program did not renew its lease in time.
        LeaseExpired => "LeaseExpired",
        /// The program's own heartbeat reported that it fails.
        ReportedFailing => "ReportedFailing",
        /// The program's own heartbeat reported a warning. Only of a warning.
        ReportedWarning => "ReportedWarning",
        /// Kubernetes reports that the pod is not ready. Only of an adopted instance.
        NotReady => "NotReady",
        /// The version that runs is not the registered one. Only of a warning.
        VersionDiffers => "VersionDiffers",
        /// The answer has no version where the check looks for one. Only of a warning.
        VersionNotFound => "VersionNotFound",
        /// Inconclusive: this machine has no file descriptor or port left.
        NoDescriptors => "NoDescriptors",
        /// Inconclusive: the resolver does not answer.
        ResolverDown => "ResolverDown",
        /// Inconclusive: this machine has no route at all.
        NoRoute => "NoRoute",
        /// Inconclusive: the certificates that the check trusts could not be read on this machine.
        CaUnavailable => "CaUnavailable",
        /// Inconclusive: cut short by a shutdown or a change.
        Cancelled => "Cancelled",
    }
}

#[expect(clippy::derivable_impls, reason = "the macro that declares the enum marks no default")]
impl Default for Health {
    fn default() -> Self {
        Self::Unknown
    }
}

impl Reason {
    /// Whether the check cannot run as it is set up on this server, so that a person has to fix something before anything is proved.
    pub fn bars_check(self) -> bool {
        matches!(self, Self::CaUnavailable)
    }

    /// Whether a failure for this reason could be this machine's own: what the mass-failure guard counts.
    #[expect(clippy::match_same_arms, reason = "the arms are false for different reasons")]
    pub fn could_be_ours(self) -> bool {
        match self {
            Self::NameNotFound | Self::ResolveFailed | Self::ConnectTimeout | Self::Unreachable | Self::Timeout => true,
            // The peer was reached.
            Self::ConnectRefused
            | Self::ConnectionReset
            | Self::TlsFailed
            | Self::CertificateInvalid
            | Self::UnexpectedStatus
            | Self::ProtocolError
            | Self::NotServing
            | Self::GrpcError
            | Self::WrongIdentity
            | Self::ReportedFailing
            | Self::ReportedWarning
            | Self::VersionDiffers
            | Self::VersionNotFound => false,
            // No failure of the network.
            Self::Passed
            | Self::Probing
            | Self::NotChecked
            | Self::Unproven
            | Self::Flapping
            | Self::AddressDenied
            | Self::LeaseExpired
            | Self::NotReady
            | Self::NoDescriptors
            | Self::ResolverDown
            | Self::NoRoute
            | Self::CaUnavailable
            | Self::Cancelled => false,
        }
    }
}

string_enum! {
    /// How far a probe got.
    Stage {
        /// Name to addresses.
        Resolve => "resolve",
        /// TCP handshake.
        Connect => "connect",
        /// TLS handshake.
        Tls => "tls",
        /// Request sent, waiting for the answer's head.
        Request => "request",
        /// The answer was judged.
        Status => "status",
    }
}

/// Time spent in each stage, in microseconds; absent where the stage was not entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Name to addresses; 0 for a literal or a cached name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resolve_us: Option<u32>,
    /// TCP handshake.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connect_us: Option<u32>,
    /// TLS handshake.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tls_us: Option<u32>,
    /// From the request's first byte to the answer's head.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_us: Option<u32>,
    /// Judging, and draining the body until the peer closes, for at most 0.3 s.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status_us: Option<u32>,
}

impl Timings {
    /// The whole probe, in microseconds.
    pub fn total_us(&self) -> u64 {
        [self.resolve_us, self.connect_us, self.tls_us, self.request_us, self.status_us]
            .into_iter()
            .flatten()
            .map(u64::from)
            .sum()
    }
}

string_enum! {
    /// How a probe counts.
    Verdict {
        /// Up.
        Pass => "pass",
        /// Down.
        Fail => "fail",
        /// Our own fault; never counts.
        Inconclusive => "inconclusive",
    }
}

#[expect(clippy::derivable_impls, reason = "the macro that declares the enum marks no default")]
impl Default for Verdict {
    fn default() -> Self {
        Self::Inconclusive
    }
}

/// One probe's result with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it counts.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The stage reached.
    pub stage: Stage,
    /// When the probe started, wall clock.
    pub at: UnixMs,
    /// The pinned address that was dialled.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<SocketAddr>,
    /// HTTP or gRPC status.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<u16>,
    /// When the certificate that the server showed expires, wall clock, whether it was accepted or not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certificate_expires_at: Option<UnixMs>,
    /// One sentence built by Portolan, never from the peer's text; at most 256 characters.
    pub message: String,
    /// Time spent in each stage.
    pub timings: Timings,
}

/// A change of an instance's health, with what proved it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// When it was decided, wall clock.
    pub at: UnixMs,
    /// Before.
    pub from: Health,
    /// After.
    pub to: Health,
    /// Why.
    pub reason: Reason,
    /// One sentence built by Portolan.
    pub message: String,
    /// The check that decided it.
    #[serde(skip_serializing_if = "CheckName::is_default", default)]
    pub check: CheckName,
    /// The probe that decided it; none where silence did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub evidence: Option<Outcome>,
}

/// The name of a gRPC status code (<https://grpc.io/docs/guides/status-codes/>).
pub fn grpc_status_name(code: u16) -> Option<&'static str> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(usize::from(code)).copied()
}
