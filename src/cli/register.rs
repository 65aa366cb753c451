//! `portolan register`: adds or renews an instance.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args};
use serde_json::{Map, Value, json};

use super::args::{Format, OutputArg, ServerArgs, parse_duration, parse_pair};
use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::Streams;
use super::output::service::ratio;
use crate::model::outcome::Reason;
use crate::model::text::escape;
use crate::model::value_error::json_sentence;
use crate::wire::Service;

/// Most bytes that a server accepts as a request.
const MAX_BODY: u64 = 64 * 1024;

/// Flags of `register`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["name", "file"]))]
pub(super) struct RegisterArgs {
    /// The registration as a JSON file; - reads stdin
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["name", "base_url"])]
    file: Option<PathBuf>,
    /// The service's name: a-z, 0-9 and -, at most 63 characters
    #[arg(long, requires = "base_url")]
    name: Option<String>,
    /// Where the instance is reached, such as http://10.0.0.5:8080
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Its namespace; the server's default one unless given
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    instance: InstanceArgs,
    #[command(flatten)]
    check: CheckArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The instance's own fields.
#[derive(Debug, Args)]
#[command(next_help_heading = "Instance")]
struct InstanceArgs {
    /// Its name, to have several of one service [default: default]
    #[arg(short, long, value_name = "NAME", conflicts_with = "file")]
    instance: Option<String>,
    /// Its version
    #[arg(long, conflicts_with = "file")]
    version: Option<String>,
    /// A sentence for people
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    description: Option<String>,
    /// A metadata entry; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair, conflicts_with = "file")]
    meta: Vec<(String, String)>,
    /// Its share of weighted picks, 0 (drained) to 1000 [default: 100]
    #[arg(long, conflicts_with = "file")]
    weight: Option<u16>,
    /// Its zone
    #[arg(long, conflicts_with = "file")]
    zone: Option<String>,
}

/// How it is probed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Check")]
#[command(group = ArgGroup::new("kind").args(["check_http", "check_tcp", "check_grpc", "check_none"]))]
struct CheckArgs {
    /// Where it is probed: http, https, tcp, grpc or grpcs. Without it and without --check… it is not probed
    #[arg(long, value_name = "URL", conflicts_with = "file")]
    health_url: Option<String>,
    /// Probe this path of the base URL by http
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "", conflicts_with = "file")]
    check_http: Option<String>,
    /// Probe by opening a TCP connection
    #[arg(long, conflicts_with = "file")]
    check_tcp: bool,
    /// Probe by gRPC health, of this gRPC service or of the whole server
    #[arg(long, value_name = "SERVICE", num_args = 0..=1, default_missing_value = "", conflicts_with = "file")]
    check_grpc: Option<String>,
    /// Never probe
    #[arg(long, conflicts_with = "file")]
    check_none: bool,
    /// HTTP statuses that pass, instead of 200 to 299
    #[arg(long, value_name = "STATUS,…", value_delimiter = ',', conflicts_with = "file")]
    check_statuses: Vec<u16>,
    /// Name expected in the certificate, instead of the URL's host
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    check_tls_server_name: Option<String>,
    /// File in the server's PORTOLAN_CA_DIR to trust
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    check_tls_ca: Option<String>,
    /// Pair in the server's PORTOLAN_CA_DIR to show to a server that wants a client certificate
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    check_tls_client_cert: Option<String>,
    /// Accept any certificate
    #[arg(long, conflicts_with = "file")]
    check_tls_no_verify: bool,
    /// Time between probes
    #[arg(long, value_name = "TIME", value_parser = whole_seconds, conflicts_with = "file")]
    check_interval: Option<u64>,
    /// Time that one probe may take [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = whole_seconds, conflicts_with = "file")]
    check_timeout: Option<u64>,
    /// Time between the probes that confirm a change [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = whole_seconds, conflicts_with = "file")]
    check_retry_interval: Option<u64>,
    /// Fails in a row that make it unhealthy [default: 3]
    #[arg(long, value_name = "COUNT", conflicts_with = "file")]
    check_unhealthy_threshold: Option<u32>,
    /// Passes in a row that make it healthy again [default: 1]
    #[arg(long, value_name = "COUNT", conflicts_with = "file")]
    check_healthy_threshold: Option<u32>,
    /// The whole check as JSON, such as '{"http":{"path":"/healthz"},"interval_seconds":10}'
    #[arg(long, value_name = "JSON", value_parser = parse_json, conflicts_with_all = ["file", "kind"])]
    check: Option<Value>,
}

fn whole_seconds(text: &str) -> Result<u64, String> {
    let time: Duration = parse_duration(text)?;
    if time.subsec_millis() == 0 { Ok(time.as_secs()) } else { Err("expected whole seconds".to_owned()) }
}

fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| json_sentence(&error))
}

impl CheckArgs {
    /// The check's JSON; `None` when no flag asks for one.
    fn json(&self) -> Result<Option<Value>, Failure> {
        let mut check = match &self.check {
            None => Map::new(),
            Some(Value::Object(given)) => given.clone(),
            Some(_) => return Err(Failure::usage("--check is a JSON object, such as '{\"tcp\":{}}'")),
        };
        let tls = self.tls();
        if let Some(path) = &self.check_http {
            let mut http = Map::new();
            put(&mut http, "path", (!path.is_empty()).then_some(path));
            put(&mut http, "expected_statuses", (!self.check_statuses.is_empty()).then_some(&self.check_statuses));
            put(&mut http, "tls", tls);
            check.insert("http".into(), http.into());
        } else if let Some(service) = &self.check_grpc {
            let mut grpc = Map::new();
            put(&mut grpc, "service", (!service.is_empty()).then_some(service));
            put(&mut grpc, "tls", tls);
            check.insert("grpc".into(), grpc.into());
        } else if tls.is_some() || !self.check_statuses.is_empty() {
            return Err(Failure::usage("--check-statuses and --check-tls-… go with --check-http or --check-grpc"));
        }
        for (kind, asked) in [("tcp", self.check_tcp), ("none", self.check_none)] {
            put(&mut check, kind, asked.then(|| json!({})));
        }
        put(&mut check, "interval_seconds", self.check_interval);
        put(&mut check, "timeout_seconds", self.check_timeout);
        put(&mut check, "retry_interval_seconds", self.check_retry_interval);
        put(&mut check, "unhealthy_threshold", self.check_unhealthy_threshold);
        put(&mut check, "healthy_threshold", self.check_healthy_threshold);
        Ok((!check.is_empty()).then_some(Value::Object(check)))
    }

    fn tls(&self) -> Option<Value> {
        let mut tls = Map::new();
        put(&mut tls, "verify", self.check_tls_no_verify.then_some(false));
        put(&mut tls, "server_name", self.check_tls_server_name.as_ref());
        put(&mut tls, "ca", self.check_tls_ca.as_ref());
        put(&mut tls, "client_cert", self.check_tls_client_cert.as_ref());
        (!tls.is_empty()).then_some(Value::Object(tls))
    }
}

fn put(into: &mut Map<String, Value>, name: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        into.insert(name.to_owned(), json!(value));
    }
}

impl RegisterArgs {
    fn body(&self) -> Result<String, Failure> {
        if let Some(path) = &self.file {
            return from_file(path, self.namespace.as_deref());
        }
        let mut body = Map::new();
        let i = &self.instance;
        put(&mut body, "name", self.name.as_ref());
        put(&mut body, "base_url", self.base_url.as_ref());
        put(&mut body, "health_url", self.check.health_url.as_ref());
        put(&mut body, "namespace", self.namespace.as_ref());
        put(&mut body, "instance", i.instance.as_ref());
        put(&mut body, "version", i.version.as_ref());
        put(&mut body, "description", i.description.as_ref());
        put(&mut body, "weight", i.weight);
        put(&mut body, "zone", i.zone.as_ref());
        let metadata: Map<String, Value> = i.meta.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        put(&mut body, "metadata", (!metadata.is_empty()).then_some(metadata));
        put(&mut body, "check", self.check.json()?);
        Ok(Value::Object(body).to_string())
    }
}

/// The file's JSON unchanged, or with the namespace of `-n` if it has none.
fn from_file(path: &Path, namespace: Option<&str>) -> Result<String, Failure> {
    let name = escape(&path.to_string_lossy(), 300);
    let text = read(path).map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
    if text.len() as u64 > MAX_BODY {
        return Err(Failure::usage(format!("{name} is longer than {MAX_BODY} bytes, the most that a server accepts")));
    }
    let mut body: Map<String, Value> = serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("{name} {}", escape(&json_sentence(&error), 300)))
            .hint(r#"it holds one registration, such as {"name":"user-service","base_url":"http://10.0.0.5:8080"}"#)
    })?;
    let Some(wanted) = namespace else { return Ok(text) };
    match body.get("namespace").and_then(Value::as_str) {
        Some(given) if given != wanted => {
            Err(Failure::usage(format!("{name} names the namespace {}, and -n {wanted}", escape(given, 100))))
        }
        _ => {
            body.insert("namespace".to_owned(), wanted.into());
            Ok(Value::Object(body).to_string())
        }
    }
}

/// Some editors begin a file with it.
const BYTE_ORDER_MARK: char = '\u{feff}';

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_BODY + 1).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(path)?.take(MAX_BODY + 1).read_to_string(&mut text)?;
    }
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len_utf8());
    }
    Ok(text)
}

/// Runs it.
///
/// # Errors
/// See [`Failure`].
pub(super) async fn run(args: RegisterArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let body = args.body()?;
    let client = Client::new(&args.server).await?;
    let reply = client.post(&["services", "register"], Some(body)).await?;
    streams.warnings(&reply.warnings);
    if args.output.output == Format::Json {
        streams.json(reply.raw())?;
        return Ok(Exit::Ok);
    }
    let service: Service = reply.read()?;
    let wanted = args.instance.instance.as_deref().unwrap_or("default");
    let summary = format!(
        "registered {}/{}: {} ({}), {} instances healthy",
        service.namespace,
        service.name,
        service.health,
        service.reason,
        ratio(&service)
    );
    streams.line(&escape(&summary, 500))?;
    if args.file.is_none()
        && let Some(instance) = service.instances.iter().find(|i| &*i.name == wanted)
        && &*instance.reason == Reason::NotChecked.as_str()
    {
        streams.note("it is not probed: give --health-url or --check-http, --check-tcp, --check-grpc to prove it");
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(flags: &[&str]) -> Result<Value, String> {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            register: RegisterArgs,
        }
        let parsed = <Flags as clap::Parser>::try_parse_from(["x"].iter().chain(flags)).map_err(|e| e.to_string())?;
        let body = parsed.register.body().map_err(|e| e.message)?;
        Ok(serde_json::from_str(&body).expect("JSON"))
    }

    #[test]
    fn every_field_has_its_flag() {
        let flags = "--name user-service --base-url http://h:1 --health-url http://h:1/live -n shop -i a --version 1.2.3 \
            --description words --meta team=identity --meta tier=1 --weight 0 --zone eu --check-interval 10s --check-timeout 2 \
            --check-retry-interval 3s --check-unhealthy-threshold 4 --check-healthy-threshold 5";
        let expected = json!({
            "name": "user-service", "base_url": "http://h:1", "health_url": "http://h:1/live", "namespace": "shop",
            "instance": "a", "version": "1.2.3", "description": "words", "metadata": {"team": "identity", "tier": "1"},
            "weight": 0, "zone": "eu",
            "check": {"interval_seconds": 10, "timeout_seconds": 2, "retry_interval_seconds": 3,
                "unhealthy_threshold": 4, "healthy_threshold": 5}
        });
        assert_eq!(body(&flags.split_whitespace().collect::<Vec<_>>()), Ok(expected));
    }

    #[test]
    fn a_file_may_begin_with_a_byte_order_mark() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "\u{feff}{\"name\":\"x\"}").expect("can be written");
        assert_eq!(body(&["-f", &file.path().to_string_lossy()]), Ok(json!({"name": "x"})));
    }

    #[test]
    fn checks_are_spelled_as_the_api_reads_them() {
        let check = |flags: &str| {
            let all = format!("--name x --base-url http://h:1 {flags}");
            body(&all.split_whitespace().collect::<Vec<_>>()).map(|body| body["check"].clone())
        };
        let https = "--check-http /live --check-statuses 200,204 --check-tls-ca corp.pem --check-tls-client-cert probe --check-tls-no-verify";
        let tls = json!({"verify": false, "ca": "corp.pem", "client_cert": "probe"});
        assert_eq!(check(https), Ok(json!({"http": {"path": "/live", "expected_statuses": [200, 204], "tls": tls}})));
        assert_eq!(check("--check-tcp"), Ok(json!({"tcp": {}})));
        assert_eq!(check("--check-grpc"), Ok(json!({"grpc": {}})));
        assert_eq!(check("--check-grpc a.B"), Ok(json!({"grpc": {"service": "a.B"}})));
        assert_eq!(check("--check-none"), Ok(json!({"none": {}})));
        assert_eq!(check(r#"--check {"tcp":{}} --check-interval 1m"#), Ok(json!({"tcp": {}, "interval_seconds": 60})));
        assert_eq!(check(""), Ok(Value::Null));
        for wrong in ["--check-tcp --check-none", "--check [1]", "--check-tls-ca x", "--check-interval 1500ms"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        for checked in ["--check-http", "--check-grpc", "--check-tcp", "--check-none", https] {
            let json = check(checked).expect(checked).to_string();
            serde_json::from_str::<crate::model::check::Check>(&json).expect(checked);
        }
    }

    #[test]
    fn a_file_fills_in_for_flags_and_takes_a_namespace() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), r#"{"name":"x","base_url":"http://h:1"}"#).expect("written");
        let path = file.path().to_str().expect("UTF-8");
        assert_eq!(body(&["-f", path]), Ok(json!({"name": "x", "base_url": "http://h:1"})));
        assert_eq!(body(&["-f", path, "-n", "shop"]).expect("a body")["namespace"], "shop");
        assert!(body(&["-f", path, "--zone", "eu"]).is_err());
        assert!(body(&["-f", "/nonexistent"]).expect_err("no file").contains("cannot be read"));
        assert!(body(&[]).is_err(), "either a file or a name");
    }
}
