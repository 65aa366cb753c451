//! Which servers are trusted, and which certificate they are shown.
//!
//! In: flags and environment variables. Out: settings of TLS, and for a handshake that failed, a sentence and what to do.

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use rustls::{AlertDescription, CertificateError, ClientConfig};

use super::server::Server;
use crate::cli::args::ServerArgs;
use crate::cli::exit::{Exit, Failure};
use crate::crypto::client::{shown, trusting, trusting_the_system};
use crate::crypto::tls_client;
use crate::crypto::verifier::Fault;
use crate::model::text::escape;

/// The files that flags and environment variables name.
#[derive(Debug, Default)]
pub(super) struct TlsFiles {
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl TlsFiles {
    pub(super) fn new(args: &ServerArgs, env: impl Fn(&str) -> Option<OsString>) -> Self {
        let or_variable = |flag: &Option<PathBuf>, name: &str| {
            flag.clone().or_else(|| env(name).filter(|value| !value.is_empty()).map(PathBuf::from))
        };
        Self {
            ca: or_variable(&args.ca_file, "PORTOLAN_CA_FILE"),
            cert: or_variable(&args.client_cert, "PORTOLAN_CLIENT_CERT"),
            key: or_variable(&args.client_key, "PORTOLAN_CLIENT_KEY"),
        }
    }

    /// Settings made from the files; none if there are none, and the HTTP client's own serve.
    ///
    /// # Errors
    /// A [`Failure`] of usage: a file that cannot be used.
    pub(super) fn config(&self) -> Result<Option<ClientConfig>, Failure> {
        let Self { ca, cert, key } = self;
        if let (None, Some(key)) = (cert, key) {
            let message = format!("the key {} is named without its certificate", name(key));
            return Err(Failure::usage(message).hint("--client-cert or PORTOLAN_CLIENT_CERT names the certificate"));
        }
        if ca.is_none() && cert.is_none() {
            return Ok(None);
        }
        let verifier = match ca {
            Some(ca) => trusting(ca).map_err(|why| {
                Failure::usage(format!("the CA file {} cannot be used: {why}", name(ca)))
                    .hint("--ca-file or PORTOLAN_CA_FILE names a PEM file with the certificate of the server's CA")
            })?,
            None => trusting_the_system().map_err(|why| Failure::usage(why.to_string()))?,
        };
        let pair = cert.as_ref().map(|cert| {
            shown(cert, key.as_ref().unwrap_or(cert)).map_err(|why| {
                Failure::usage(format!("the client certificate {} cannot be used: {why}", name(cert)))
                    .hint("--client-cert names the PEM file with the certificate, and --client-key the file with its key if that is separate")
            })
        });
        tls_client(verifier, pair.transpose()?)
            .map(Some)
            .map_err(|why| Failure::usage(format!("TLS cannot be set up: {why}")))
    }
}

fn name(path: &Path) -> String {
    escape(&path.to_string_lossy(), 300)
}

/// What a failed handshake says, and what to do about it; none if it was not TLS that failed.
pub(super) fn failure(server: &Server, error: &reqwest::Error) -> Option<Failure> {
    use rustls::Error as E;
    let at = server.at();
    let failed = |message: String| Failure { unsent: true, ..Failure::new(Exit::Unreachable, message) };
    Some(match tls_error(error)? {
        E::InvalidCertificate(why) => certificate(&at, why),
        E::NoCertificatesPresented => failed(format!("{at} shows no certificate")),
        E::InvalidMessage(_) => {
            failed(format!("{at} does not speak TLS")).hint("is it plain http? then its address begins with http://")
        }
        E::AlertReceived(AlertDescription::CertificateRequired) => {
            failed(format!("{at} wants a client certificate")).hint("--client-cert or PORTOLAN_CLIENT_CERT names one")
        }
        E::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied),
        ) => failed(format!("{at} refuses the client certificate ({alert:?})"))
            .hint("the server trusts only the CAs of its PORTOLAN_TLS_CLIENT_CA: is the certificate of one of these, and not expired?"),
        E::AlertReceived(alert) => failed(format!("{at} ended the TLS handshake ({alert:?})")),
        other => failed(format!("the TLS handshake with {at} failed: {}", escape(&other.to_string(), 300))),
    })
}

fn certificate(at: &str, why: &CertificateError) -> Failure {
    use CertificateError as E;
    let failed = |message: String| Failure { unsent: true, ..Failure::new(Exit::Unreachable, message) };
    match why {
        E::UnknownIssuer => failed(format!("the certificate of {at} is not signed by a CA that this command trusts"))
            .hint("--ca-file or PORTOLAN_CA_FILE names a PEM file with its CA; cert-manager puts it into the Secret's ca.crt"),
        E::NotValidForName => wrong_name(at, &[]),
        E::NotValidForNameContext { presented, .. } => wrong_name(at, presented),
        E::Expired | E::ExpiredContext { .. } => failed(format!("the certificate of {at} has expired"))
            .hint("renew it on the server: it reads the changed files by itself; is this machine's clock right?"),
        E::NotValidYet | E::NotValidYetContext { .. } => {
            failed(format!("the certificate of {at} is not valid yet")).hint("is a clock wrong, here or there?")
        }
        E::Other(other) => match other.0.downcast_ref::<Fault>() {
            Some(fault) => failed(format!("the certificate of {at} is refused: {fault}")),
            None => failed(format!("the certificate of {at} is refused: {}", escape(&why.to_string(), 300))),
        },
        other => failed(format!("the certificate of {at} is refused: {}", escape(&other.to_string(), 300))),
    }
}

fn wrong_name(at: &str, presented: &[String]) -> Failure {
    // As in `DnsName("registry.example.org")`.
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        escape(inner.trim_matches('"'), 100)
    };
    let names: Vec<_> = presented.iter().take(8).map(bare).collect();
    let message = format!("the certificate of {at} is for another name");
    let failed = Failure { unsent: true, ..Failure::new(Exit::Unreachable, message) };
    let failed = if names.is_empty() { failed } else { failed.hint(format!("it is for {}", names.join(", "))) };
    failed.hint("use such a name in --server or PORTOLAN_SERVER, or add this one to the certificate (subjectAltName)")
}

/// The error of TLS below an error of the HTTP client. The source of an I/O error leaves out the error inside.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
