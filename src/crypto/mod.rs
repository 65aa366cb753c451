//! The cryptography of the process: one provider under all TLS, one under the signatures of tokens. Both are ring's.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

mod curves;
mod hs256;
mod keys;

static KEYS: LazyLock<keys::Keys> = LazyLock::new(|| keys::Keys(rustls::crypto::ring::default_provider().key_provider));

/// What TLS goes by here: ring's, with the curves and hashes of certificates that ring leaves out.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let ring = rustls::crypto::ring::default_provider();
    let verified = curves::added_to(ring.signature_verification_algorithms);
    let key_provider = LazyLock::force(&KEYS);
    let provider = CryptoProvider { signature_verification_algorithms: verified, key_provider, ..ring };
    // An error says that another part of the program has installed one, which serves as well.
    let _ = provider.clone().install_default();
    Arc::new(provider)
});

/// The provider of TLS. The first call makes it the default of the process, for those who take no other, as the clients
/// of HTTP and of the Kubernetes API do.
pub fn provider() -> Arc<CryptoProvider> {
    PROVIDER.clone()
}

/// A client of HTTP to be made; without a provider none can be, not even one that never uses TLS.
#[expect(clippy::disallowed_methods, reason = "this is the one place that makes them")]
pub fn http_client() -> reqwest::ClientBuilder {
    let _installed = provider();
    reqwest::Client::builder()
}

pub(crate) use hs256::ready as ready_for_tokens;
