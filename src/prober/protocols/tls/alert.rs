//! What a TLS error says about the peer.

use std::io;

use rustls::{CertificateError, PeerIncompatible};

use super::super::trace::Ending;
use crate::crypto::verifier::Fault;
use crate::model::outcome::Reason;

/// What a TLS error inside an I/O error says about the peer; none where there is no TLS in it.
pub(crate) fn alert(error: &io::Error) -> Option<Ending> {
    use rustls::Error;
    let message = match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(why) => return Some(Ending::fail(Reason::CertificateInvalid, certificate(why))),
        Error::NoCertificatesPresented => {
            return Some(Ending::fail(Reason::CertificateInvalid, "the server shows no certificate"));
        }
        Error::NoApplicationProtocol => NO_PROTOCOL.to_owned(),
        Error::AlertReceived(alert) => alerted(*alert),
        Error::InvalidMessage(_) => {
            "the server does not speak TLS on this port; is it plain http, or another port?".to_owned()
        }
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => OLD_VERSION.to_owned(),
        Error::PeerIncompatible(_) => NOTHING_IN_COMMON.to_owned(),
        _ => "the TLS handshake failed".to_owned(),
    };
    Some(Ending::fail(Reason::TlsFailed, message))
}

const NO_PROTOCOL: &str =
    "the server refuses the protocol of this check over TLS: http checks speak HTTP/1.1, grpc checks HTTP/2";
const OLD_VERSION: &str = "the server offers no TLS version that Portolan supports; enable TLS 1.2 or 1.3 there";
const NOTHING_IN_COMMON: &str = "the server has no cipher suite or kind of key in common with this one; enable ECDHE with AES-GCM or \
                                 ChaCha20 there, and a key of RSA with 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519";

/// What the server said as it ended the handshake.
fn alerted(alert: rustls::AlertDescription) -> String {
    use rustls::AlertDescription as A;
    match alert {
        A::NoApplicationProtocol => NO_PROTOCOL.to_owned(),
        A::ProtocolVersion => OLD_VERSION.to_owned(),
        A::HandshakeFailure | A::InsufficientSecurity => {
            format!("the server ended the TLS handshake with the alert {alert:?}: {NOTHING_IN_COMMON}")
        }
        A::UnrecognisedName => {
            "the server does not know the name that it was asked for; set tls.server_name".to_owned()
        }
        A::CertificateRequired => "the server wants a client certificate (alert CertificateRequired)".to_owned(),
        _ => format!("the server ended the TLS handshake with the alert {alert:?}"),
    }
}

fn certificate(why: &CertificateError) -> String {
    use CertificateError as E;
    if let E::Other(other) = why
        && let Some(fault) = other.0.downcast_ref::<Fault>()
    {
        return fault.to_string();
    }
    let message = match why {
        E::Expired | E::ExpiredContext { .. } => "the server's certificate has expired",
        E::NotValidYet | E::NotValidYetContext { .. } => "the server's certificate is not valid yet",
        E::Revoked => "the server's certificate is revoked",
        E::UnknownIssuer => {
            "the server's certificate is not signed by a trusted CA; name one with tls.ca, or send the whole chain"
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "the server's certificate is for another name; set tls.server_name if that is right"
        }
        E::BadSignature => "the server's certificate carries a wrong signature",
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            "the server's certificate is not made for servers; its extended key usage lacks serverAuth"
        }
        E::UnsupportedSignatureAlgorithmContext { .. } | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the server's certificate has a signature that Portolan does not support (SHA-1, or a rare curve); issue another"
        }
        E::UnhandledCriticalExtension => "the server's certificate has a critical extension that is not understood",
        E::BadEncoding => "the server's certificate cannot be read",
        _ => "the server's certificate is not acceptable",
    };
    message.to_owned()
}
