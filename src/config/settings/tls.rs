//! The files of TLS, which are given together or not at all.

use std::path::PathBuf;

use super::parse::{self, ClientAuth};
use super::reader::Reader;

/// The files of the server's TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate with its chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The CAs of clients' certificates; `None` if clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether every client must show one.
    pub client_required: bool,
}

impl Reader<'_> {
    /// `None` where the server speaks plain HTTP.
    pub(super) fn tls(&self) -> Option<TlsFiles> {
        let file = |field| self.path(field, parse::file);
        let (cert, key, client_ca) = (file("tls_cert"), file("tls_key"), file("tls_client_ca"));
        let auth = self.text("tls_client_auth", parse::client_auth);
        let (has_cert, has_key) = (self.is_given("tls_cert"), self.is_given("tls_key"));
        if cert.is_some() && !has_key {
            self.problem_of("tls_cert", "is set without PORTOLAN_TLS_KEY; give both, or neither for plain HTTP");
        }
        if key.is_some() && !has_cert {
            self.problem_of("tls_key", "is set without PORTOLAN_TLS_CERT; give both, or neither for plain HTTP");
        }
        if client_ca.is_some() && !has_cert && !has_key {
            let why = "needs PORTOLAN_TLS_CERT and PORTOLAN_TLS_KEY: certificates are shown over TLS only";
            self.problem_of("tls_client_ca", why);
        }
        if client_ca.is_some() && !self.auth_is_on() {
            let why = "needs ENABLE_AUTH=true: with auth off everyone may write, whatever a certificate says";
            self.problem_of("tls_client_ca", why);
        }
        if !self.is_given("tls_client_ca") && auth.is_some_and(|auth| auth != ClientAuth::Off) {
            self.problem_of("tls_client_auth", "needs PORTOLAN_TLS_CLIENT_CA, the CAs of the clients' certificates");
        }
        let auth = auth.unwrap_or(ClientAuth::Required);
        let client_ca = client_ca.filter(|_| auth != ClientAuth::Off);
        let client_required = client_ca.is_some() && auth == ClientAuth::Required;
        Some(TlsFiles { cert: cert?, key: key?, client_ca, client_required })
    }
}
