//! What is registered, where, and how often it is renewed.

use std::time::Duration;

use rustix::system::uname;
use serde_json::{Map, Value, json};

use super::RunArgs;
use super::address::{Location, is_same_place};
use crate::api::read_registration;
use crate::cli::args::ServerArgs;
use crate::cli::client::error;
use crate::cli::exit::Failure;
use crate::cli::registration::put;
use crate::model::name::{InstanceName, MAX_LABEL, Namespace, suggest};
use crate::model::ports::AddressGate;
use crate::model::url::EndpointUrl;
use crate::wire::{Instance, Service};

/// Renewals within one time to live: two may be lost.
const RENEWALS_PER_TTL: u32 = 3;
/// Longest time between renewals, so that a registration which the server has lost comes back soon.
const LONGEST_INTERVAL: Duration = Duration::from_mins(1);
/// Bounds of the time for one request: a server that hangs must leave time for another attempt before the lease ends.
const REQUEST_TIMEOUT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// What is registered.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The registration without its base URL.
    body: Map<String, Value>,
    /// The service's name.
    pub(super) name: String,
    /// Its namespace, where one is named.
    pub(super) namespace: Option<String>,
    /// The instance's name; none when the server derives it from the external id.
    instance: Option<String>,
    /// The instance's name in another system.
    external_id: Option<String>,
    /// Where the program is reached.
    pub(super) location: Location,
    /// Time between renewals.
    pub(super) interval: Duration,
    /// The server, with the time that one request may take.
    pub(super) server: ServerArgs,
}

impl Plan {
    /// What these flags ask for.
    ///
    /// # Errors
    /// Flags that are wrong or do not go together.
    pub(super) fn new(args: &RunArgs) -> Result<Self, Failure> {
        let location = Location::new(args.port, args.host.as_deref(), args.base_url.as_deref())?;
        if args.server.context.is_some() && matches!(location, Location::Own { .. }) {
            return Err(Failure::usage(
                "--context reaches the server through a tunnel, which says nothing about the way back",
            )
            .hint("give --host or --base-url, where the cluster reaches this machine"));
        }
        let instance = instance_name(args, location.port())?;
        let ttl = Duration::from_secs(args.instance.ttl.unwrap_or(30).into());
        let (least, most) = REQUEST_TIMEOUT;
        let timeout = (ttl / (RENEWALS_PER_TTL + 1)).clamp(least, most).min(args.server.timeout);
        let plan = Self {
            body: body(args, instance.as_deref())?,
            name: args.name.to_string(),
            namespace: args.namespace.as_ref().map(ToString::to_string),
            instance,
            external_id: args.instance.external_id.clone(),
            location,
            interval: (ttl / RENEWALS_PER_TTL).min(LONGEST_INTERVAL),
            server: ServerArgs { timeout, ..args.server.clone() },
        };
        plan.refuse_what_servers_refuse(&args.namespace.clone().unwrap_or_default())?;
        Ok(plan)
    }

    /// Judges the registration as a server will, but for the addresses that it may probe: a program is not started for flags that can never
    /// register it.
    fn refuse_what_servers_refuse(&self, namespace: &Namespace) -> Result<(), Failure> {
        let body = self.body(&self.location.likely_url());
        let Err(problems) = read_registration(body.as_bytes(), namespace, &AnyAddress) else { return Ok(()) };
        let failure = Failure::usage("every server would refuse this registration, so the program was not started");
        Err(problems.iter().fold(failure, |failure, wrong| failure.hint(error::line(wrong))))
    }

    /// The registration as JSON.
    pub(super) fn body(&self, base_url: &str) -> String {
        let mut body = self.body.clone();
        body.insert("base_url".to_owned(), base_url.into());
        Value::Object(body).to_string()
    }

    /// The instance that this plan registers at `base_url`, among those of its service.
    pub(super) fn find<'a>(&self, service: &'a Service, base_url: &str) -> Option<&'a Instance> {
        service.instances.iter().find(|known| match &self.instance {
            Some(name) => *name == *known.name,
            None => {
                known.external_id.as_deref() == self.external_id.as_deref() && is_same_place(&known.base_url, base_url)
            }
        })
    }
}

/// What may be probed is for the server to say.
struct AnyAddress;

impl AddressGate for AnyAddress {
    fn admit(&self, _: &EndpointUrl) -> Result<(), String> {
        Ok(())
    }
}

fn body(args: &RunArgs, instance: Option<&str>) -> Result<Map<String, Value>, Failure> {
    let mut body = Map::new();
    put(&mut body, "name", Some(&args.name));
    put(&mut body, "namespace", args.namespace.as_ref());
    args.instance.put_into(&mut body);
    put(&mut body, "instance", instance);
    args.check.put_into(&mut body)?;
    if args.check.check_none {
        // The lease is the only check then.
        body.remove("check");
    } else if !args.check.is_given()
        && let Some(check) = body.entry("check").or_insert_with(|| json!({})).as_object_mut()
    {
        check.insert("tcp".to_owned(), json!({}));
    }
    Ok(body)
}

/// The name that is given, else one made of the host's name and the port; none where it follows from the external id.
fn instance_name(args: &RunArgs, port: u16) -> Result<Option<String>, Failure> {
    if let Some(given) = &args.instance.instance {
        let name = given.parse::<InstanceName>().map_err(|error| Failure::usage(format!("--instance: {error}")))?;
        return Ok(Some(name.to_string()));
    }
    if args.instance.external_id.is_some() {
        return Ok(None);
    }
    let host = args.host.clone().unwrap_or_else(|| uname().nodename().to_string_lossy().into_owned());
    Ok(Some(label(&host, port)))
}

/// A label of a host's name and a port: `web-1-8081`.
fn label(host: &str, port: u16) -> String {
    let port = port.to_string();
    let host: String = suggest(host).unwrap_or_default().chars().take(MAX_LABEL - port.len() - 1).collect();
    let host = host.trim_end_matches('-');
    if host.is_empty() { format!("port-{port}") } else { format!("{host}-{port}") }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        run: RunArgs,
    }

    fn plan(flags: &str) -> Result<Plan, Failure> {
        let words = ["x", "--name", "a"].into_iter().chain(flags.split_whitespace()).chain(["--", "true"]);
        Plan::new(&Flags::try_parse_from(words).map_err(|error| Failure::usage(error.to_string()))?.run)
    }

    fn registered(flags: &str) -> Value {
        let plan = plan(&format!("--port 80 --host h {flags}")).expect("valid");
        serde_json::from_str(&plan.body("http://h:80")).expect("JSON")
    }

    #[test]
    fn an_instance_is_named_after_its_host_and_port() {
        assert_eq!(label("Web-1.corp", 8081), "web-1-corp-8081");
        assert_eq!(label("10.0.0.5", 80), "10-0-0-5-80");
        assert_eq!(label("日本", 80), "port-80");
        let long = label(&"h".repeat(80), 8081);
        assert!(long.parse::<InstanceName>().is_ok() && long.ends_with("h-8081"), "{long}");
    }

    #[test]
    fn a_port_is_proved_unless_told_otherwise() {
        let expected = json!({
            "name": "a", "base_url": "http://h:80", "instance": "h-80", "ttl_seconds": 30, "check": {"tcp": {}}
        });
        assert_eq!(registered(""), expected);
        assert_eq!(registered("--check-interval 5s")["check"], json!({"tcp": {}, "interval_seconds": 5}));
        assert_eq!(registered("--check-http /healthz")["check"], json!({"http": {"path": "/healthz"}}));
        assert_eq!(registered("--health-url http://h:9/x").get("check"), None);
        assert_eq!(registered("--check-none").get("check"), None);
        assert_eq!(registered("--external-id x/y").get("instance"), None);
        assert_eq!(registered("--external-id x/y -i b")["instance"], "b");
    }

    #[test]
    fn a_request_ends_early_enough_for_another_one_within_the_lease() {
        for (ttl, interval) in [("1s", 333), ("30s", 10_000), ("24h", 60_000)] {
            let plan = plan(&format!("--port 80 --ttl {ttl}")).expect("valid");
            assert_eq!(plan.interval.as_millis(), interval, "{ttl}");
            assert!(plan.server.timeout < plan.interval, "{ttl}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_before_the_program_starts() {
        for wrong in [
            "",
            "--port 0",
            "--port 80 -i A_B",
            "--port 80 --ttl 25h",
            "--port 80 --context prod",
            "--base-url x",
            "--port 80 --deregister-after 5s",
            "--port 80 --check-http / --identity /name=$servic",
            "--port 80 --health-url nowhere",
        ] {
            assert!(plan(wrong).is_err(), "{wrong}");
        }
        let said = plan("--port 80 --deregister-after 5s").expect_err("too short").to_lines();
        assert!(said.contains("deregister_after_seconds: is 5, not a whole number from 60"), "{said}");
        assert!(plan("--port 80 --context prod --host h").is_ok());
    }
}
