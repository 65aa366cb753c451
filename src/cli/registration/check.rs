//! The flags that describe how an instance is probed.

use clap::{ArgGroup, Args};
use serde_json::{Map, Value, json};

use super::{put, whole_seconds};
use crate::cli::args::parse_pair;
use crate::cli::exit::Failure;
use crate::model::check::HTTP_STATUSES;
use crate::model::value_error::json_sentence;

/// How it is probed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Check")]
#[command(group = ArgGroup::new("kind").args(["check_http", "check_tcp", "check_grpc", "check_none"]))]
pub(in crate::cli) struct CheckArgs {
    /// Where it is probed: http, https, tcp, grpc or grpcs. Without it and without --check… it is not probed
    #[arg(long, value_name = "URL")]
    health_url: Option<String>,
    /// Probe this path of the base URL by http
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "")]
    check_http: Option<String>,
    /// Probe by opening a TCP connection
    #[arg(long)]
    check_tcp: bool,
    /// Probe by gRPC health, of this gRPC service or of the whole server
    #[arg(long, value_name = "SERVICE", num_args = 0..=1, default_missing_value = "")]
    check_grpc: Option<String>,
    /// Never probe
    #[arg(long)]
    pub(in crate::cli) check_none: bool,
    /// HTTP statuses that pass, instead of 200 to 299
    #[arg(long, value_name = "STATUS,…", value_delimiter = ',', value_parser = parse_status)]
    check_statuses: Vec<u16>,
    /// What the response must contain, so that no other program passes: a JSON pointer or a header with its value, such as
    /// /build/name=user-service or X-Service=user-service; $service, $instance, $namespace and $version stand for the instance's own values; may
    /// be repeated
    #[arg(long, value_name = "WHERE=VALUE", value_parser = parse_pair)]
    identity: Vec<(String, String)>,
    /// A name that the certificate must carry
    #[arg(long, value_name = "NAME")]
    identity_tls_san: Option<String>,
    /// JSON pointer to the running version in the response, such as /build/version; if it differs from --version, the instance gets a warning
    #[arg(long, value_name = "POINTER")]
    version_from: Option<String>,
    /// Name expected in the certificate, instead of the URL's host
    #[arg(long, value_name = "NAME")]
    check_tls_server_name: Option<String>,
    /// File in the server's PORTOLAN_CA_DIR to trust
    #[arg(long, value_name = "FILE")]
    check_tls_ca: Option<String>,
    /// Certificate and key in the server's PORTOLAN_CA_DIR, for a target that requires a client certificate
    #[arg(long, value_name = "NAME")]
    check_tls_client_cert: Option<String>,
    /// Accept any certificate
    #[arg(long)]
    check_tls_no_verify: bool,
    /// Time between probes
    #[arg(long, value_name = "TIME", value_parser = whole_seconds)]
    check_interval: Option<u64>,
    /// Time that one probe may take [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = whole_seconds)]
    check_timeout: Option<u64>,
    /// Time between the probes that confirm a change [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = whole_seconds)]
    check_retry_interval: Option<u64>,
    /// Failures in a row that make it unhealthy [default: 3]
    #[arg(long, value_name = "COUNT")]
    check_unhealthy_threshold: Option<u32>,
    /// Passes in a row that make it healthy again [default: 1]
    #[arg(long, value_name = "COUNT")]
    check_healthy_threshold: Option<u32>,
    /// The whole check as JSON, such as '{"http":{"path":"/healthz"},"interval_seconds":10}'
    #[arg(long, value_name = "JSON", value_parser = parse_json, conflicts_with = "kind")]
    check: Option<Value>,
    /// One more check that it must pass: NAME=URL, or JSON with a name, such as '{"name":"admin","http":{"path":"/ready"}}'; may be repeated
    #[arg(long, value_name = "CHECK", value_parser = parse_named)]
    add_check: Vec<Map<String, Value>>,
    /// The same, but its failures only set a warning; may be repeated
    #[arg(long, value_name = "CHECK", value_parser = parse_named)]
    advisory_check: Vec<Map<String, Value>>,
}

fn parse_status(text: &str) -> Result<u16, String> {
    let status = text.parse().ok().filter(|status| HTTP_STATUSES.contains(status));
    status.ok_or_else(|| {
        format!("expected statuses from {} to {}, such as 200,204", HTTP_STATUSES.start(), HTTP_STATUSES.end())
    })
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| json_sentence(&error))
}

/// Reads a named check: `admin=http://h:9000/ready`, or a JSON object with a name.
fn parse_named(text: &str) -> Result<Map<String, Value>, String> {
    if text.trim_start().starts_with('{') {
        return match parse_json(text)? {
            Value::Object(check) if check.get("name").is_some_and(Value::is_string) => Ok(check),
            _ => Err("the check has no \"name\"".to_owned()),
        };
    }
    match text.split_once('=') {
        Some((name, url)) if !name.is_empty() && url.contains(':') => {
            Ok(Map::from_iter([("name".to_owned(), json!(name)), ("url".to_owned(), json!(url))]))
        }
        _ => Err("expected NAME=URL, such as admin=http://10.0.0.5:9000/ready, or a JSON object".to_owned()),
    }
}

/// Refuses flags that have no effect without `kind`.
fn need(kind: &str, flags: &[&str]) -> Result<(), Failure> {
    let verb = if flags.len() == 1 { "needs" } else { "need" };
    if flags.is_empty() { Ok(()) } else { Err(Failure::usage(format!("{} {verb} {kind}", flags.join(" and ")))) }
}

impl CheckArgs {
    /// Whether any flag says how the instance itself is probed.
    pub(in crate::cli) fn is_given(&self) -> bool {
        self.health_url.is_some()
            || self.check_http.is_some()
            || self.check_tcp
            || self.check_grpc.is_some()
            || self.check_none
            || self.check.is_some()
    }

    /// Adds the fields that flags name.
    ///
    /// # Errors
    /// Flags that do not go together.
    pub(in crate::cli) fn put_into(&self, body: &mut Map<String, Value>) -> Result<(), Failure> {
        put(body, "health_url", self.health_url.as_ref());
        put(body, "check", self.json()?);
        let checks = self.named();
        put(body, "checks", (!checks.is_empty()).then_some(checks));
        Ok(())
    }

    /// The checks beside the default one.
    fn named(&self) -> Vec<Map<String, Value>> {
        let mut checks = self.add_check.clone();
        for check in &self.advisory_check {
            let mut check = check.clone();
            check.insert("advisory".to_owned(), true.into());
            checks.push(check);
        }
        checks
    }

    /// The check's JSON; `None` when no flag asks for one.
    fn json(&self) -> Result<Option<Value>, Failure> {
        let mut check = match &self.check {
            None => Map::new(),
            Some(Value::Object(given)) => given.clone(),
            Some(_) => return Err(Failure::usage("--check is a JSON object, such as '{\"tcp\":{}}'")),
        };
        self.put_kind(&mut check)?;
        put(&mut check, "interval_seconds", self.check_interval);
        put(&mut check, "timeout_seconds", self.check_timeout);
        put(&mut check, "retry_interval_seconds", self.check_retry_interval);
        put(&mut check, "unhealthy_threshold", self.check_unhealthy_threshold);
        put(&mut check, "healthy_threshold", self.check_healthy_threshold);
        Ok((!check.is_empty()).then_some(Value::Object(check)))
    }

    fn put_kind(&self, check: &mut Map<String, Value>) -> Result<(), Failure> {
        let (tls, identity) = (self.tls(), self.identity());
        let is_http = self.check_http.is_some();
        if !is_http {
            need("--check-http", &self.only_of_http())?;
        }
        if let Some(path) = &self.check_http {
            let mut http = Map::new();
            put(&mut http, "path", (!path.is_empty()).then_some(path));
            put(&mut http, "expected_statuses", (!self.check_statuses.is_empty()).then_some(&self.check_statuses));
            put(&mut http, "tls", tls);
            put(&mut http, "identity", identity);
            put(&mut http, "version_from", self.version_from.as_ref());
            check.insert("http".into(), http.into());
        } else if let Some(service) = &self.check_grpc {
            let mut grpc = Map::new();
            put(&mut grpc, "service", (!service.is_empty()).then_some(service));
            put(&mut grpc, "tls", tls);
            check.insert("grpc".into(), grpc.into());
        } else {
            need("--check-http or --check-grpc", &self.only_of_tls())?;
        }
        for (kind, asked) in [("tcp", self.check_tcp), ("none", self.check_none)] {
            put(check, kind, asked.then(|| json!({})));
        }
        Ok(())
    }

    /// The flags given that only a check by HTTP has.
    fn only_of_http(&self) -> Vec<&'static str> {
        let flags = [
            ("--check-statuses", !self.check_statuses.is_empty()),
            ("--identity", !self.identity.is_empty()),
            ("--identity-tls-san", self.identity_tls_san.is_some()),
            ("--version-from", self.version_from.is_some()),
        ];
        flags.into_iter().filter_map(|(flag, given)| given.then_some(flag)).collect()
    }

    /// The flags given that only a check with TLS has.
    fn only_of_tls(&self) -> Vec<&'static str> {
        let flags = [
            ("--check-tls-server-name", self.check_tls_server_name.is_some()),
            ("--check-tls-ca", self.check_tls_ca.is_some()),
            ("--check-tls-client-cert", self.check_tls_client_cert.is_some()),
            ("--check-tls-no-verify", self.check_tls_no_verify),
        ];
        flags.into_iter().filter_map(|(flag, given)| given.then_some(flag)).collect()
    }

    fn tls(&self) -> Option<Value> {
        let mut tls = Map::new();
        put(&mut tls, "verify", self.check_tls_no_verify.then_some(false));
        put(&mut tls, "server_name", self.check_tls_server_name.as_ref());
        put(&mut tls, "ca", self.check_tls_ca.as_ref());
        put(&mut tls, "client_cert", self.check_tls_client_cert.as_ref());
        (!tls.is_empty()).then_some(Value::Object(tls))
    }

    fn identity(&self) -> Option<Value> {
        let of = |pointers: bool| {
            let entries = self.identity.iter().filter(|(at, _)| at.starts_with('/') == pointers);
            let entries: Map<String, Value> = entries.map(|(at, value)| (at.clone(), json!(value))).collect();
            (!entries.is_empty()).then_some(entries)
        };
        let mut identity = Map::new();
        put(&mut identity, "json", of(true));
        put(&mut identity, "header", of(false));
        put(&mut identity, "tls_san", self.identity_tls_san.as_ref());
        (!identity.is_empty()).then_some(Value::Object(identity))
    }
}
