//! Access as its callers see it, under attack.

mod accounts;
mod limits;
mod pages;
mod rotation;
mod tokens;

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use http::Request;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::api::http::envelope::Code;
use crate::model::time::{Now, UnixMs};

const SECRET: &str = "a-secret-of-more-than-32-bytes-for-tests";
const START: UnixMs = UnixMs(1_800_000_000_000);
const START_S: i64 = START.0 / 1000;

fn settings() -> AccessSettings {
    AccessSettings {
        read_auth: false,
        token_max: Duration::from_hours(30 * 24),
        default_namespace: Namespace::default(),
        rate_per_minute: Some(60),
        read_rate_per_minute: Some(60),
        trusted_proxies: Vec::new(),
        cors_origins: vec!["https://ops.example.com".into()],
        allowed_hosts: vec!["registry.example.com".into()],
        bound_to_loopback: false,
        certificate_required: false,
    }
}

struct World {
    access: Access,
    metrics: Metrics,
    clock: Clock,
}

impl World {
    fn with(settings: AccessSettings, secrets: Option<Secrets>) -> Self {
        let clock = Clock::manual(Now { steady: START, wall: START });
        let metrics = Metrics::default();
        Self { access: Access::new(settings, secrets, metrics.clone(), clock.clone()), metrics, clock }
    }

    fn open() -> Self {
        Self::with(settings(), None)
    }

    fn guarded() -> Self {
        let secrets = Secrets::inline(&SecretString::from(SECRET)).expect("a strong secret");
        Self::with(settings(), Some(secrets))
    }

    /// Lets that much time pass, and then has the secrets' file checked.
    fn pass(&self, by: Duration) {
        let at = self.clock.now().steady.plus(by);
        self.clock.set(Now { steady: at, wall: at });
        if let Some(refresher) = self.access.secrets_refresher() {
            refresher.secrets.refresh(at);
        }
    }

    /// A request that turns out to change or show something.
    fn ask(&self, ask: &Ask) -> Result<Admitted, ApiError> {
        let (head, ()) = ask.request().into_parts();
        let class = crate::api::routes::find(&head.method, head.uri.path()).class;
        let admitted = self.access.admit(&head, ask.peer, class)?;
        self.access.over_quota(&admitted).map_or(Ok(admitted), Err)
    }

    fn code(&self, ask: &Ask) -> &'static str {
        self.ask(ask).map_or_else(|error| error.code.as_str(), |_| "admitted")
    }
}

/// A request to be judged.
#[derive(Clone)]
struct Ask {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    peer: SocketAddr,
}

impl Ask {
    fn new(method: &'static str, target: &str) -> Self {
        let peer = SocketAddr::from(([203, 0, 113, 9], 40_000));
        Self { method, target: target.to_owned(), headers: Vec::new(), peer }
    }

    fn register() -> Self {
        Self::new("POST", "/api/v1/services/register")
    }

    fn discover() -> Self {
        Self::new("GET", "/api/v1/services/discover?name=x")
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    fn from(mut self, peer: &str) -> Self {
        self.peer = SocketAddr::new(peer.parse().expect("an address"), 40_000);
        self
    }

    fn request(&self) -> Request<()> {
        let builder = Request::builder().method(self.method).uri(&self.target);
        self.headers.iter().fold(builder, |b, (n, v)| b.header(*n, v)).body(()).expect("a request")
    }
}

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// A token with any header and claims, signed by HMAC `M` with `secret`.
fn forge<M: Mac + hmac::digest::KeyInit>(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let mut mac = <M as Mac>::new_from_slice(secret).expect("any length");
    mac.update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn token_of(claims: &Value) -> String {
    forge::<Hmac<sha2::Sha256>>(&json!({"alg": "HS256", "typ": "JWT"}), claims, SECRET.as_bytes())
}

fn claims() -> Value {
    json!({"sub": "ci", "exp": START_S + 3600})
}

/// [`claims`] with some replaced, or removed by `null`.
fn claims_with(changes: &Value) -> Value {
    let mut all = claims();
    let (Some(all_map), Some(changes)) = (all.as_object_mut(), changes.as_object()) else { unreachable!("objects") };
    for (key, value) in changes {
        if value.is_null() {
            all_map.remove(key);
        } else {
            all_map.insert(key.clone(), value.clone());
        }
    }
    all
}
