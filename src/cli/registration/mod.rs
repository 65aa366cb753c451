//! The flags that describe an instance, and the JSON that they stand for: `register` and `run` share them.
//!
//! In: flags. Out: fields of a registration. In order: this file (the instance's own fields), [`check`] (how it is probed).

pub(in crate::cli) mod check;

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::args::{parse_duration, parse_pair};
use crate::model::check::TTL;

/// The instance's own fields.
#[derive(Debug, Args)]
#[command(next_help_heading = "Instance")]
pub(in crate::cli) struct InstanceArgs {
    /// Its name, if the service has several instances [default: default]
    #[arg(short, long, value_name = "NAME")]
    pub(in crate::cli) instance: Option<String>,
    /// Its version
    #[arg(long)]
    version: Option<String>,
    /// A sentence for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A metadata entry; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    meta: Vec<(String, String)>,
    /// A tag; may be repeated
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Its share of weighted picks, 0 (drained) to 1000 [default: 100]
    #[arg(long)]
    weight: Option<u16>,
    /// Its zone
    #[arg(long)]
    zone: Option<String>,
    /// Its name in another system, kept verbatim; without --instance, the name is derived from it
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) external_id: Option<String>,
    /// Time within which the registration must be renewed, by repeating it or by a heartbeat: 1s to 24h
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    pub(in crate::cli) ttl: Option<u32>,
    /// Remove it once it has been unhealthy or not renewed for this long without interruption: at least 1m
    #[arg(long, value_name = "TIME", value_parser = whole_seconds)]
    pub(in crate::cli) deregister_after: Option<u64>,
}

impl InstanceArgs {
    /// Adds the fields that flags name.
    pub(in crate::cli) fn put_into(&self, body: &mut Map<String, Value>) {
        put(body, "instance", self.instance.as_ref());
        put(body, "version", self.version.as_ref());
        put(body, "description", self.description.as_ref());
        put(body, "weight", self.weight);
        put(body, "zone", self.zone.as_ref());
        let metadata: Map<String, Value> = self.meta.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        put(body, "metadata", (!metadata.is_empty()).then_some(metadata));
        put(body, "tags", (!self.tag.is_empty()).then_some(&self.tag));
        put(body, "external_id", self.external_id.as_ref());
        put(body, "ttl_seconds", self.ttl);
        put(body, "deregister_after_seconds", self.deregister_after);
    }
}

/// Adds a field that is given.
pub(in crate::cli) fn put(into: &mut Map<String, Value>, name: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        into.insert(name.to_owned(), json!(value));
    }
}

/// Reads a time of whole seconds.
pub(in crate::cli) fn whole_seconds(text: &str) -> Result<u64, String> {
    let time: Duration = parse_duration(text)?;
    if time.subsec_millis() == 0 { Ok(time.as_secs()) } else { Err("expected whole seconds".to_owned()) }
}

/// Reads the time to live of a lease.
fn ttl(text: &str) -> Result<u32, String> {
    let seconds = u32::try_from(whole_seconds(text)?).ok();
    seconds.filter(|ttl| TTL.contains(ttl)).ok_or_else(|| "expected a time from 1s to 24h".to_owned())
}
