//! What a check may hold, wherever it was written.

use std::ops::RangeInclusive;

use super::check::{Check, CheckKind, GrpcCheck, HttpCheck, TlsCheck};
use super::text;
use super::url::Unescaped;

/// Longest `http.path`, in bytes.
pub const MAX_PATH: usize = 512;
/// Most statuses in `http.expected_statuses`.
pub const MAX_STATUSES: usize = 16;
/// Longest `grpc.service`, in characters.
pub const MAX_GRPC_SERVICE: usize = 255;
/// Longest `tls.server_name`, in bytes.
pub const MAX_SERVER_NAME: usize = 253;
/// Longest `tls.ca`, in bytes.
pub const MAX_CA: usize = 255;
/// Longest `tls.client_cert`, in bytes: what follows it makes a file name.
pub const MAX_CLIENT_CERT: usize = 251;
/// Seconds between probes.
pub const INTERVAL: RangeInclusive<u32> = 1..=86_400;
/// Seconds that one probe may take.
pub const TIMEOUT: RangeInclusive<u32> = 1..=60;
/// Seconds between confirming probes.
pub const RETRY_INTERVAL: RangeInclusive<u32> = 1..=300;
/// Outcomes in a row.
pub const THRESHOLD: RangeInclusive<u32> = 1..=10;

fn within(field: &str, value: Option<u32>, range: &RangeInclusive<u32>) -> Result<(), String> {
    match value {
        Some(v) if !range.contains(&v) => Err(format!("{field} is {v}, expected {} to {}", range.start(), range.end())),
        _ => Ok(()),
    }
}

impl Check {
    /// Checks every part against its bounds.
    ///
    /// # Errors
    /// A sentence that names the first field that is wrong, and what it may hold.
    pub fn accept(&self) -> Result<(), String> {
        within("interval_seconds", self.interval_seconds, &INTERVAL)?;
        within("timeout_seconds", self.timeout_seconds, &TIMEOUT)?;
        within("retry_interval_seconds", self.retry_interval_seconds, &RETRY_INTERVAL)?;
        within("unhealthy_threshold", self.unhealthy_threshold, &THRESHOLD)?;
        within("healthy_threshold", self.healthy_threshold, &THRESHOLD)?;
        match &self.kind {
            Some(CheckKind::Http(http)) => http.accept(),
            Some(CheckKind::Grpc(grpc)) => grpc.accept(),
            Some(CheckKind::Tcp | CheckKind::None) | None => Ok(()),
        }
    }
}

/// What a path holds that it has in its escaped form alone.
fn unescaped(path: &str) -> Option<Unescaped> {
    let wrong = path.chars().zip(1..).find(|(c, _)| !c.is_ascii_graphic());
    wrong.map(|(character, at)| Unescaped { character, at })
}

impl HttpCheck {
    fn accept(&self) -> Result<(), String> {
        let visible = |b: u8| b.is_ascii_graphic() && b != b'#';
        let fits = |path: &String| path.starts_with('/') && path.len() <= MAX_PATH && path.bytes().all(visible);
        if let Some(unescaped) = self.path.as_deref().and_then(unescaped) {
            return Err(format!("http.path {unescaped}"));
        }
        if !self.path.as_ref().is_none_or(fits) {
            return Err(format!(
                "http.path starts with '/', and is at most {MAX_PATH} visible ASCII characters without '#'"
            ));
        }
        let statuses = &self.expected_statuses;
        if statuses.len() > MAX_STATUSES || statuses.iter().any(|s| !(100..=599).contains(s)) {
            return Err(format!("http.expected_statuses holds at most {MAX_STATUSES} statuses from 100 to 599"));
        }
        self.request_options.accept()?;
        self.tls.accept()
    }
}

impl GrpcCheck {
    fn accept(&self) -> Result<(), String> {
        text::accept(&self.service, MAX_GRPC_SERVICE).map_err(|e| format!("grpc.service: {e}"))?;
        self.tls.accept()
    }
}

impl TlsCheck {
    fn accept(&self) -> Result<(), String> {
        let name = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        let fits = |n: &String| (1..=MAX_SERVER_NAME).contains(&n.len()) && n.bytes().all(name);
        if !self.server_name.as_ref().is_none_or(fits) {
            return Err("tls.server_name is a DNS name or an address".to_owned());
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let fits = |name: &String, most: usize| {
            (1..=most).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.')
        };
        if !self.ca.as_ref().is_none_or(|ca| fits(ca, MAX_CA)) {
            return Err("tls.ca is the name of a file in PORTOLAN_CA_DIR, never a path".to_owned());
        }
        if !self.client_cert.as_ref().is_none_or(|name| fits(name, MAX_CLIENT_CERT)) {
            return Err("tls.client_cert is the name of a pair of files in PORTOLAN_CA_DIR, never a path".to_owned());
        }
        Ok(())
    }
}
