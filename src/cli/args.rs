//! Flags that several commands share.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::model::name::Namespace;
use crate::model::time;

/// The server unless one is named.
pub(super) const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

/// The server, and how to reach it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct ServerArgs {
    /// The server to ask [env: PORTOLAN_SERVER] [default: http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    pub(super) server: Option<String>,
    /// Reach the server in a cluster through this kubeconfig context; overrides PORTOLAN_SERVER
    #[arg(long, value_name = "NAME", conflicts_with = "server")]
    pub(super) context: Option<String>,
    /// The namespace of Portolan's pods there
    #[arg(long, value_name = "NAME", default_value = "portolan", requires = "context")]
    pub(super) context_namespace: Namespace,
    /// File with the token, read again for every request [env: PORTOLAN_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// Trust servers whose certificate is in this PEM file or signed by a CA in it, and no others [env: PORTOLAN_CA_FILE]
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Present this certificate (PEM, with its chain) to a server that asks for one [env: PORTOLAN_CLIENT_CERT]
    #[arg(long, value_name = "FILE")]
    pub(super) client_cert: Option<PathBuf>,
    /// Private key of that certificate, unless the certificate's file contains it [env: PORTOLAN_CLIENT_KEY]
    #[arg(long, value_name = "FILE")]
    pub(super) client_key: Option<PathBuf>,
    /// Allow sending the token over plain HTTP to another machine
    #[arg(long)]
    pub(super) insecure: bool,
    /// Longest time for one request, or to open a tunnel into a cluster, such as 500ms, 10s or 2m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(super) timeout: Duration,
}

/// Which instances count.
#[derive(Debug, Args)]
#[command(next_help_heading = "Selection")]
pub(super) struct SelectArgs {
    /// Only versions in this range, such as ^1.4 or ">=2, <3"
    #[arg(long, value_name = "RANGE")]
    version: Option<String>,
    /// Only this zone
    #[arg(long)]
    zone: Option<String>,
    /// Only where the metadata has this entry; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    meta: Vec<(String, String)>,
    /// Only instances with this tag; may be repeated
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only instances without a warning
    #[arg(long)]
    no_warning: bool,
}

impl SelectArgs {
    /// The parameters of a request: those that are `given`, then these.
    pub(super) fn query(
        &self,
        given: impl IntoIterator<Item = (&'static str, Option<String>)>,
    ) -> Vec<(String, String)> {
        let own = [
            ("version", self.version.clone()),
            ("zone", self.zone.clone()),
            ("warning", self.no_warning.then(|| "false".to_owned())),
        ];
        let mut query: Vec<_> = given.into_iter().chain(own).filter_map(|(k, v)| Some((k.to_owned(), v?))).collect();
        query.extend(self.meta.iter().map(|(k, v)| (format!("meta.{k}"), v.clone())));
        query.extend(self.tag.iter().map(|tag| ("tag".to_owned(), tag.clone())));
        query
    }
}

/// The namespace of a single service.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct NamespaceArg {
    /// The service's namespace; the server's default one unless given
    #[arg(short, long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
}

/// How a result is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// For people, with more columns.
    Wide,
    /// The server's data as it came.
    Json,
}

/// The output flag.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct OutputArg {
    /// How to show the result: table, wide or json
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t, hide_possible_values = true)]
    pub(super) output: Format,
}

/// Reads `500ms`, `10s`, `5m`, `24h`, `7d` or a bare number of seconds; never zero.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let unit = time::unit(if unit.is_empty() { "s" } else { unit });
    let read = digits.parse().ok().zip(unit).and_then(|(number, unit)| time::several(number, unit));
    match read {
        Some(time) if time.is_zero() => Err("expected a time of more than 0, such as 500ms or 10s".to_owned()),
        Some(time) => Ok(time),
        None => Err("expected a time such as 500ms, 10s, 5m, 24h or 7d".to_owned()),
    }
}

/// Reads `KEY=VALUE`.
pub(super) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        for (text, seconds) in [("10s", 10.0), ("10", 10.0), ("500ms", 0.5), ("2m", 120.0), ("24h", 86_400.0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "0", "0s", "-1s", "10 s", "1w", "99999999999999999999d", "18446744073709551615d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("0s").is_err_and(|why| why.contains("more than 0")));
    }

    #[test]
    fn a_pair_may_hold_more_equal_signs() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(parse_pair("a="), Ok(("a".into(), String::new())));
        assert!(parse_pair("=b").is_err() && parse_pair("ab").is_err());
    }
}
