//! A reason in a sentence for people.

use crate::model::outcome::Reason;

/// The reason's sentence, used if no probe has a better one.
pub const fn sentence(reason: Reason) -> &'static str {
    match reason {
        Reason::Passed => "the check passes",
        Reason::Probing => "not probed yet",
        Reason::NotChecked => "it has no check, so Portolan never probes it",
        Reason::Unproven => {
            "no probe has given a clear answer for more than three intervals; Portolan's log says what keeps it from probing"
        }
        Reason::Flapping => {
            "it changed more than 4 times in 10 minutes; it counts as unhealthy until it passes for a minute"
        }
        Reason::NameNotFound => "the name does not exist; correct the URL or its DNS record",
        Reason::ResolveFailed => "the DNS servers of the name answer with an error; check its zone",
        Reason::AddressDenied => {
            "Portolan's settings do not let it probe this address; use another, or change PORTOLAN_PROBE_ALLOW or PORTOLAN_PROBE_DENY"
        }
        Reason::ConnectRefused => "nothing listens on the port; start the server, or correct the port",
        Reason::ConnectTimeout => "no connection within the timeout; look for a firewall or a NetworkPolicy on the way",
        Reason::Unreachable => "the network has no route to the address; check the address and the routes",
        Reason::ConnectionReset => "the server closed the connection before it answered; its log may say why",
        Reason::TlsFailed => "the TLS handshake failed; check that the port speaks TLS",
        Reason::CertificateInvalid => {
            "the certificate is not trusted, not valid now, or for another name; replace it, or set the check's tls.ca or tls.serverName"
        }
        Reason::Timeout => {
            "connected, but no full answer within the timeout; give the check more time if that is normal"
        }
        Reason::UnexpectedStatus => "the server answered with a status that does not pass; its log may say why",
        Reason::ProtocolError => {
            "the server does not speak the check's protocol; correct the port or the kind of check"
        }
        Reason::NotServing => "the gRPC health service does not answer SERVING",
        Reason::GrpcError => "the gRPC health call failed; check that the server offers grpc.health.v1.Health",
        Reason::WrongIdentity => {
            "another program answers at this address; correct the URL, or the identity that the check demands"
        }
        Reason::LeaseExpired => {
            "the program has not reported within its TTL; it may have stopped without deregistering"
        }
        Reason::ReportedFailing => "the program itself reports that it fails; its log may say why",
        Reason::ReportedWarning => "the program itself reports a warning; its log may say why",
        Reason::NotReady => "Kubernetes reports it not ready; `kubectl describe pod` says why",
        Reason::VersionDiffers => {
            "the running version is not the registered one; deploy again, or register the running version"
        }
        Reason::VersionNotFound => {
            "the answer has no text where the check's versionFrom points; correct the pointer, or have the program report its version there"
        }
        Reason::NoDescriptors => "Portolan has no file descriptor or port left; raise its limit",
        Reason::ResolverDown => "Portolan's DNS resolver does not answer; check the cluster's DNS",
        Reason::NoRoute => "Portolan's machine has no network route; check its node",
        Reason::CaUnavailable => {
            "Portolan cannot read a certificate that the check's tls names: a file of PORTOLAN_CA_DIR, or an object of this namespace; provide it, or correct the name"
        }
        Reason::Cancelled => "the probe was cut short; the next one decides",
    }
}
