//! `portolan export`: every instance as a line that registers it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::args::ServerArgs;
use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::Streams;
use super::output::progress::{Progress, counted, grouped};
use super::pages::Pages;
use crate::model::name::Namespace;
use crate::model::service::{self, DEFAULT_WEIGHT};
use crate::model::time::UnixMs;
use crate::store::reader::{FileChanges, FileReader, ReaderError};
use crate::wire::{Drain, Instance, Owner, Registration, Service};

/// Most bytes of all lines together: four times what a million instances with a check and metadata take.
const MAX_BYTES: usize = 2 << 30;

/// Flags of `export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Read this file instead of asking a server; a server may have it open
    #[arg(long, value_name = "PATH", conflicts_with_all = ["server", "context"])]
    db: Option<PathBuf>,
    /// Only this namespace; every one that you may see unless given
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<Namespace>,
    /// Only services that were registered over HTTP (rest), or only those of manifests (manifest)
    #[arg(long, value_name = "SOURCE", hide_possible_values = true)]
    source: Option<SourceArg>,
    /// Add what a register call cannot express: id, time of registration, drain, and the owner as far as your token shows it. Only `portolan import` accepts such lines
    #[arg(long)]
    for_import: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Where a service comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SourceArg {
    /// Registered over HTTP.
    Rest,
    /// Applied as a manifest.
    Manifest,
}

impl SourceArg {
    fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Manifest => "manifest",
        }
    }
}

/// A line. Its first fields are a register call's.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    registration: Registration,
    #[serde(flatten)]
    more: Option<More<'a>>,
}

/// What no register call can say.
#[derive(Serialize)]
struct More<'a> {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    registered_at: Option<UnixMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a Owner>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<&'a Drain>,
}

/// The lines, each with what it is ordered by.
#[derive(Default)]
struct Lines {
    all: Vec<(String, String)>,
    bytes: usize,
    /// Instances whose check no register call can set.
    plainer: usize,
    /// Instances whose line does not say that they are drained.
    drained: usize,
}

/// Which services are exported, and how.
struct Wanted<'a> {
    namespace: Option<&'a str>,
    source: Option<&'static str>,
    for_import: bool,
}

pub(super) async fn run(args: ExportArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let wanted = Wanted {
        namespace: args.namespace.as_ref().map(Namespace::as_str),
        source: args.source.map(SourceArg::as_str),
        for_import: args.for_import,
    };
    let mut lines = match &args.db {
        Some(path) => of_file(path, &wanted)?,
        None => of_server(&Client::new(&args.server).await?, &wanted).await?,
    };
    lines.all.sort_unstable();
    for (_, line) in &lines.all {
        streams.line(line)?;
    }
    if lines.plainer > 0 {
        let instances = counted(lines.plainer, "instance");
        streams.note(&format!(
            "note: the check of {instances} has a method, a host, headers, certificates of its namespace or Kubernetes' readiness, which no register call can set; they were left out"
        ));
    }
    if lines.drained > 0 {
        let instances = counted(lines.drained, "drained instance");
        streams.note(&format!(
            "note: a register call cannot drain, so the lines of {instances} omit the drain; --for-import keeps it"
        ));
    }
    Ok(Exit::Ok)
}

async fn of_server(client: &Client, wanted: &Wanted<'_>) -> Result<Lines, Failure> {
    let namespace = wanted.namespace.unwrap_or("*").to_owned();
    let mut pages = Pages::of(client, vec![("namespace".to_owned(), namespace)]);
    let (mut lines, mut progress) = (Lines::default(), Progress::begin());
    while let Some(page) = pages.next().await? {
        for service in page.read::<Vec<Service>>()? {
            service.instances.iter().try_for_each(|instance| lines.add(&service, instance, wanted))?;
        }
        progress.show(|| format!("reading {}", counted(lines.all.len(), "instance")));
    }
    Ok(lines)
}

fn of_file(path: &std::path::Path, wanted: &Wanted<'_>) -> Result<Lines, Failure> {
    let failed = |error: ReaderError| {
        let exit = if matches!(error, ReaderError::Missing(_)) { Exit::NotFound } else { Exit::Unreachable };
        Failure::new(exit, error.to_string())
    };
    let lines = std::cell::RefCell::new((Lines::default(), Ok(()), Progress::begin()));
    let take = |service: &service::Service| {
        let (lines, ended, progress) = &mut *lines.borrow_mut();
        if ended.is_ok() {
            *ended = lines.add_stored(service, wanted);
            progress.show(|| format!("reading {}", grouped(lines.all.len())));
        }
    };
    match FileReader::open(path).and_then(|mut reader| reader.poll(take)).map_err(failed)? {
        FileChanges::None | FileChanges::All(_) | FileChanges::Some(..) => {}
    }
    let (lines, ended, _) = lines.into_inner();
    ended.map(|()| lines)
}

impl Lines {
    fn add_stored(&mut self, known: &service::Service, wanted: &Wanted<'_>) -> Result<(), Failure> {
        let service = Service::new(known, None);
        known.instances.iter().try_for_each(|instance| self.add(&service, &Instance::from(instance), wanted))
    }

    fn add(&mut self, service: &Service, instance: &Instance, wanted: &Wanted<'_>) -> Result<(), Failure> {
        let selected = wanted.namespace.is_none_or(|name| name == &*service.namespace)
            && wanted.source.is_none_or(|source| source == &*service.source);
        if !selected {
            return Ok(());
        }
        let mut registration = registration(service, instance);
        self.plainer += usize::from(make_plain(&mut registration));
        self.drained += usize::from(instance.drain.is_some() && !wanted.for_import);
        let more = wanted.for_import.then_some(More {
            id: service.id,
            registered_at: instance.registered_at,
            owner: instance.owner.as_deref(),
            drain: instance.drain.as_deref(),
        });
        let line = serde_json::to_string(&Line { registration, more })
            .map_err(|error| Failure::new(Exit::Unreachable, error.to_string()))?;
        self.bytes += line.len();
        if self.bytes > MAX_BYTES {
            return Err(Failure::new(
                Exit::Unreachable,
                "the export would be over 2 GiB, more than any registry holds",
            )
            .hint("-n NAME exports one namespace"));
        }
        // A tab is in no name, and comes before every character that is.
        self.all.push((format!("{}\t{}\t{}", service.namespace, service.name, instance.name), line));
        Ok(())
    }
}

/// What registers this instance again; what would have its default is left out.
fn registration(service: &Service, instance: &Instance) -> Registration {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let metadata: std::collections::BTreeMap<String, String> =
        instance.metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Registration {
        name: service.name.to_string(),
        base_url: instance.base_url.to_string(),
        health_url: text(&instance.health_url),
        version: text(&instance.version),
        description: text(&instance.description),
        metadata: (!metadata.is_empty()).then_some(metadata),
        namespace: Some(service.namespace.to_string()),
        instance: Some(instance.name.to_string()),
        weight: (instance.weight != DEFAULT_WEIGHT).then_some(instance.weight),
        zone: text(&instance.zone),
        check: instance.check.clone(),
        checks: (!instance.checks.is_empty()).then(|| instance.checks.to_vec()),
        ttl_seconds: None,
        deregister_after_seconds: instance.deregister_after_seconds,
        tags: (!instance.tags.is_empty()).then(|| instance.tags.iter().map(ToString::to_string).collect()),
        external_id: instance.external_id.as_deref().map(str::to_owned),
    }
}

/// Takes out of the checks what a register call may not set. Returns whether there was any of it.
fn make_plain(registration: &mut Registration) -> bool {
    let checks = registration.checks.iter_mut().flatten();
    let further = checks.map(plain).fold(false, |any, changed| any | changed);
    let any = registration.check.as_mut().is_some_and(plain) | further;
    registration.check.take_if(|check| check.get() == "{}");
    any
}

/// Removes these fields. Returns how many there were.
fn take_out(object: &mut Map<String, Value>, fields: &[&str]) -> usize {
    fields.iter().filter(|field| object.remove(**field).is_some()).count()
}

/// The same for one check.
fn plain<T: Serialize + DeserializeOwned>(check: &mut T) -> bool {
    let Ok(mut value) = serde_json::to_value(&*check) else { return false };
    let mut removed = value.as_object_mut().map_or(0, |check| take_out(check, &["readiness"]));
    for kind in ["http", "grpc"] {
        let Some(settings) = value.get_mut(kind).and_then(Value::as_object_mut) else { continue };
        removed += take_out(settings, &["method", "host", "headers"]);
        if let Some(tls) = settings.get_mut("tls").and_then(Value::as_object_mut) {
            removed += take_out(tls, &["ca_from", "client_cert_from"]);
        }
    }
    match serde_json::from_value(value) {
        Ok(plain) if removed > 0 => *check = plain,
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::check::{Check, CheckKind, CheckTiming};
    use crate::model::outcome::{Health, Reason};
    use crate::model::service::InstanceSpec;

    /// The check of the line of an instance that Portolan adopted, and how many were made plainer.
    fn adopted(timing: CheckTiming) -> (Value, usize) {
        let check = Check { kind: Some(CheckKind::Readiness), timing };
        let spec = InstanceSpec { check, ..InstanceSpec::sample("http://10.0.0.1:80") };
        let one = service::Instance::sample("a", spec, (Health::Healthy, Reason::Passed));
        let mut lines = Lines::default();
        let wanted = Wanted { namespace: None, source: None, for_import: true };
        lines.add_stored(&service::Service::sample("cart", vec![one]), &wanted).expect("a line");
        let (_, line) = lines.all.pop().expect("a line");
        let mut line: Value = serde_json::from_str(&line).expect("JSON");
        (line["check"].take(), lines.plainer)
    }

    #[test]
    fn the_readiness_of_an_adopted_instance_is_left_out() {
        assert_eq!(adopted(CheckTiming::default()), (Value::Null, 1));
        let timing = CheckTiming { interval_seconds: Some(7), ..CheckTiming::default() };
        assert_eq!(adopted(timing), (serde_json::json!({"interval_seconds": 7}), 1));
    }
}
