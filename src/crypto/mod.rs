//! Cryptography: the process's TLS provider, HTTP clients that use it, and the signatures of tokens. All based on ring.
//!
//! In: certificates, keys, and the text and secret of a token. Out: a TLS provider, HTTP clients, signatures.
//!
//! Read the files in this order: this one (the provider and the clients), `curves` (certificates that ring does not support), `keys`
//! (private keys that ring does not support), `tokens` (the signatures of tokens), `hs256` (those that Portolan makes itself).

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

mod curves;
mod hs256;
mod keys;
mod tokens;

static KEYS: LazyLock<keys::Keys> = LazyLock::new(|| keys::Keys(rustls::crypto::ring::default_provider().key_provider));

/// ring's provider, plus the curves and hashes of certificates that ring does not support.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let ring = rustls::crypto::ring::default_provider();
    let verified = curves::added_to(ring.signature_verification_algorithms);
    let key_provider = LazyLock::force(&KEYS);
    let provider = CryptoProvider { signature_verification_algorithms: verified, key_provider, ..ring };
    // An error means that a provider is installed already, which is fine too.
    let _ = provider.clone().install_default();
    Arc::new(provider)
});

/// The TLS provider. The first call also makes it the process's default, which the HTTP and Kubernetes clients use.
pub fn provider() -> Arc<CryptoProvider> {
    PROVIDER.clone()
}

/// A builder of HTTP clients. Without an installed provider none can be built, not even one that never uses TLS.
#[expect(clippy::disallowed_methods, reason = "this is the one place that builds them")]
pub fn http_client() -> reqwest::ClientBuilder {
    let _installed = provider();
    reqwest::Client::builder()
}

pub(crate) use tokens::ready as ready_for_tokens;
