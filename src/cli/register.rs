//! `portolan register`: adds or renews an instance.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgGroup, Args};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use super::args::{Format, OutputArg, ServerArgs};
use super::client::{Client, Reply};
use super::exit::{Exit, Failure};
use super::output::Streams;
use super::output::service::ratio;
use super::plugin::program;
use super::registration::check::CheckArgs;
use super::registration::{InstanceArgs, put};
use crate::model::backoff::Backoff;
use crate::model::outcome::Reason;
use crate::model::text::escape;
use crate::model::value_error::json_sentence;
use crate::wire::Service;

/// Most bytes that a server accepts as a request.
const MAX_BODY: u64 = 64 * 1024;
/// Pauses between attempts with `--retry`.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
/// Longest time of one attempt with `--retry`: a server that hangs is tried again.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Flags of `register`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["name", "file"]), mut_args(instead_of_file))]
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
    /// Try again while the server does not answer or fails, for --timeout in total
    #[arg(long)]
    retry: bool,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    instance: InstanceArgs,
    #[command(flatten)]
    check: CheckArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Flags of fields say the same as a file, so only one of them is given.
fn instead_of_file(arg: Arg) -> Arg {
    match arg.get_help_heading() {
        Some("Instance" | "Check") => arg.conflicts_with("file"),
        _ => arg,
    }
}

impl RegisterArgs {
    fn body(&self) -> Result<String, Failure> {
        if let Some(path) = &self.file {
            return from_file(path, self.namespace.as_deref());
        }
        let mut body = Map::new();
        put(&mut body, "name", self.name.as_ref());
        put(&mut body, "base_url", self.base_url.as_ref());
        put(&mut body, "namespace", self.namespace.as_ref());
        self.instance.put_into(&mut body);
        self.check.put_into(&mut body)?;
        Ok(Value::Object(body).to_string())
    }
}

/// The file's JSON unchanged, or with the namespace of `-n` if it has none.
fn from_file(path: &Path, namespace: Option<&str>) -> Result<String, Failure> {
    let is_stdin = path == Path::new("-");
    let name = if is_stdin { "standard input".to_owned() } else { escape(&path.to_string_lossy(), 300) };
    let text = read(path).map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
    if text.len() as u64 > MAX_BODY {
        return Err(Failure::usage(format!("{name} is longer than {MAX_BODY} bytes, the most that a server accepts")));
    }
    let mut body: Map<String, Value> = serde_json::from_str(&text).map_err(|error| {
        let wrong = Failure::usage(format!("{name} {}", escape(&json_sentence(&error), 300)));
        if begins_with_a_line(&text) {
            return wrong.hint(format!(
                "it holds several lines: register each line alone, or stop the server and use `{} import`, which writes all of them \
                 into its file",
                program()
            ));
        }
        wrong.hint(r#"it holds one registration, such as {"name":"user-service","base_url":"http://10.0.0.5:8080"}"#)
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

/// Whether the first of several lines is an object of its own, as in an export.
fn begins_with_a_line(text: &str) -> bool {
    let first = text.trim().split_once('\n');
    first.is_some_and(|(line, _)| serde_json::from_str::<Map<String, Value>>(line).is_ok())
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

/// A conflict in terms of flags, where there are some.
fn in_flags(failure: Failure) -> Failure {
    let message = failure.message.replace("leave out `instance`", "leave out --instance");
    let message = message.replace("give another external_id", "give another --external-id");
    Failure { message, ..failure }
}

async fn send(server: &ServerArgs, body: String) -> Result<Reply, Failure> {
    Client::new(server).await?.post(&["services", "register"], Some(body)).await
}

/// Repeats the call until the server answers. One that it carried out without answering is only renewed by the next.
async fn send_until_answered(server: &ServerArgs, body: &str) -> Result<Reply, Failure> {
    let (end, mut pauses) = (Instant::now() + server.timeout, RETRY);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let attempt = ServerArgs { timeout: left.clamp(Duration::from_millis(100), ATTEMPT_TIMEOUT), ..server.clone() };
        let (ended, pause) = (send(&attempt, body.to_owned()).await, pauses.next());
        let again = ended.as_ref().is_err_and(|failure| failure.exit == Exit::Unreachable);
        if !again || Instant::now() + pause >= end {
            return ended;
        }
        sleep(pause).await;
    }
}

pub(super) async fn run(args: RegisterArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let body = args.body()?;
    let reply =
        if args.retry { send_until_answered(&args.server, &body).await } else { send(&args.server, body).await };
    let reply = reply.map_err(|failure| if args.file.is_none() { in_flags(failure) } else { failure })?;
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
        streams
            .note("it is not probed: give --health-url, --check-http, --check-tcp or --check-grpc to have it probed");
        if args.instance.deregister_after.is_some() {
            streams.note("so --deregister-after never removes it: without a check, it never becomes unhealthy");
        }
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
    fn every_field_of_a_lease_and_of_further_checks_has_its_flag() {
        let flags = [
            "--name",
            "x",
            "--base-url",
            "http://h:1",
            "--ttl",
            "30s",
            "--deregister-after",
            "10m",
            "--tag",
            "a=1",
            "--tag",
            "b",
            "--external-id",
            "x/1:2",
            "--check-http",
            "/live",
            "--identity",
            "/build/name=$service",
            "--identity",
            "X-Service=x=y",
            "--identity-tls-san",
            "h.corp",
            "--version-from",
            "/build/version",
            "--add-check",
            "admin=http://h:9/ready",
            "--advisory-check",
            r#"{"name":"disk","tcp":{},"interval_seconds":60}"#,
            "--advisory-check",
            "mq=tcp://h:5672",
        ];
        let expected = json!({
            "name": "x", "base_url": "http://h:1", "ttl_seconds": 30, "deregister_after_seconds": 600, "tags": ["a=1", "b"],
            "external_id": "x/1:2",
            "check": {"http": {"path": "/live", "version_from": "/build/version", "identity":
                {"json": {"/build/name": "$service"}, "header": {"X-Service": "x=y"}, "tls_san": "h.corp"}}},
            "checks": [
                {"name": "admin", "url": "http://h:9/ready"},
                {"name": "disk", "tcp": {}, "interval_seconds": 60, "advisory": true},
                {"name": "mq", "url": "tcp://h:5672", "advisory": true},
            ],
        });
        assert_eq!(body(&flags), Ok(expected));
        let base = ["--name", "x", "--base-url", "http://h:1"];
        for wrong in [
            ["--ttl", "25h"],
            ["--ttl", "1500ms"],
            ["--identity", "/a=b"],
            ["--version-from", "/v"],
            ["--add-check", "admin"],
            ["--add-check", "{\"tcp\":{}}"],
        ] {
            assert!(body(&[&base[..], &wrong].concat()).is_err(), "{wrong:?}");
        }
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
    fn several_lines_are_told_from_one_registration() {
        let several = "{\"name\":\"a\"}\n{\"name\":\"b\"}\n";
        assert!(begins_with_a_line(several));
        for one in ["{\"name\":\"a\"}\n", "{\n\"name\":\"a\"\n", "nonsense\n{}"] {
            assert!(!begins_with_a_line(one), "{one}");
        }
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
