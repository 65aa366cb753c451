//! What a reason means, for people.

use crate::model::outcome::Reason;

/// The reason in a sentence, where no probe says it better.
pub const fn sentence(reason: Reason) -> &'static str {
    match reason {
        Reason::Passed => "the check passes",
        Reason::Probing => "not probed yet",
        Reason::NotChecked => "no check is asked for (check.none)",
        Reason::Unproven => {
            "no conclusive probe for longer than three intervals; see Portolan's log for what keeps it from probing"
        }
        Reason::Flapping => {
            "it changed more than 4 times in 10 minutes, and is held unhealthy until it passes for a minute"
        }
        Reason::NameNotFound => "the name does not exist; correct the URL or its DNS record",
        Reason::ResolveFailed => "the name's DNS servers answer with an error",
        Reason::AddressDenied => "the address may not be probed; use another, or allow it by PORTOLAN_PROBE_ALLOW",
        Reason::ConnectRefused => "nothing listens on the port",
        Reason::ConnectTimeout => "no connection within the timeout; look for a firewall or a NetworkPolicy on the way",
        Reason::Unreachable => "the network has no way there",
        Reason::ConnectionReset => "the connection was closed before an answer came",
        Reason::TlsFailed => "the TLS handshake failed; is the port one that speaks TLS?",
        Reason::CertificateInvalid => {
            "the certificate is not trusted, not valid now or for another name; set check.tls.ca or check.tls.serverName if it is meant so"
        }
        Reason::Timeout => "connected, but no full answer within the timeout",
        Reason::UnexpectedStatus => "the status of the answer is none that passes",
        Reason::ProtocolError => "what answers does not speak the check's protocol",
        Reason::NotServing => "the gRPC health service does not answer SERVING",
        Reason::GrpcError => "the gRPC health call ended with an error",
        Reason::NoDescriptors => "Portolan has no file descriptor or port left; raise its limit",
        Reason::ResolverDown => "the cluster's resolver does not answer",
        Reason::NoRoute => "Portolan's machine has no route at all",
        Reason::CaUnavailable => {
            "the files that check.tls.ca or check.tls.clientCert name cannot be read in PORTOLAN_CA_DIR"
        }
        Reason::Cancelled => "the probe was cut short",
    }
}
