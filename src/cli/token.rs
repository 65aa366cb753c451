//! `portolan token`: makes a bearer token with the server's secret.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::args::parse_duration;
use super::exit::{Exit, Failure};
use super::output::Streams;
use crate::api::access::{Mint, Scopes, Secrets, SecretsError, mint};
use crate::model::name::Namespace;
use crate::model::text::escape;
use crate::model::time::UnixMs;

/// Longest life of a token that a server accepts unless its `PORTOLAN_TOKEN_MAX_DAYS` says otherwise.
const USUAL_MAX_TTL: Duration = Duration::from_hours(30 * 24);

/// What does without the Secret that an install need not have.
const WITHOUT_SECRET: &str = "in a cluster, a ServiceAccount's token needs no secret: kubectl create token NAME -n NAMESPACE --audience portolan";

/// Flags of `token`.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// The holder; its registrations belong to this name
    #[arg(long, value_name = "NAME")]
    subject: String,
    /// The issuer, where several parties share the secret
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Namespaces that it covers, or * for all; the server's default one unless given
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = parse_namespace)]
    namespaces: Option<Vec<String>>,
    /// What it allows: any of read, register and admin
    #[arg(long, value_name = "WORDS", default_value = "read register")]
    scope: String,
    /// How long it lasts; servers accept at most 30 days unless configured otherwise
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    ttl: Duration,
}

fn parse_namespace(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    text.parse::<Namespace>().map(|ns| ns.to_string()).map_err(|error| error.to_string())
}

fn parse_scope(text: &str) -> Result<Scopes, Failure> {
    let mut scopes = Scopes::default();
    for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
        match word {
            "read" => scopes.read = true,
            "register" => scopes.register = true,
            "admin" => scopes.admin = true,
            other => {
                let shown = escape(other, 40);
                return Err(Failure::usage(format!("--scope holds \"{shown}\"; expected read, register, admin")));
            }
        }
    }
    Ok(scopes)
}

/// The secrets of the environment, as the server reads them.
fn secrets(env: impl Fn(&str) -> Option<OsString>) -> Result<Secrets, Failure> {
    let env = |name: &str| env(name).filter(|value| !value.is_empty());
    let bad = |error: SecretsError| {
        let failure = Failure::usage(error.to_string());
        if matches!(error, SecretsError::Unreadable { .. }) { failure.hint(WITHOUT_SECRET) } else { failure }
    };
    match (env("JWT_SECRET"), env("JWT_SECRET_FILE")) {
        (Some(_), Some(_)) => Err(Failure::usage("JWT_SECRET and JWT_SECRET_FILE are both set; give one of them")),
        (None, Some(path)) => Secrets::file(path).map_err(bad),
        (Some(secret), None) => match secret.into_string() {
            Ok(secret) => Secrets::inline(&secret.into()).map_err(bad),
            Err(_) => Err(Failure::usage("JWT_SECRET is not UTF-8 text")),
        },
        (None, None) => Err(Failure::usage(
            "there is no secret to sign with: JWT_SECRET and JWT_SECRET_FILE are unset",
        )
        .hint("set one of them to the server's value: the server accepts only tokens signed with its own secret")),
    }
}

/// Runs it.
///
/// # Errors
/// See [`Failure`]: no usable secret, or a subject or scope that no server would accept.
pub(super) fn run(args: TokenArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let claims = Mint {
        scopes: Some(parse_scope(&args.scope)?),
        subject: args.subject,
        issuer: args.issuer,
        namespaces: args.namespaces,
        lasts: args.ttl,
    };
    let secret = secrets(|name| std::env::var_os(name))?.signing();
    let secret = secret.ok_or_else(|| Failure::usage("there is no secret to sign with"))?;
    let token = mint(&secret, &claims, UnixMs::wall()).map_err(|error| Failure::usage(error.to_string()))?;
    if args.ttl > USUAL_MAX_TTL {
        streams.note(
            "warning: servers refuse a token of more than 30 days unless their PORTOLAN_TOKEN_MAX_DAYS allows it",
        );
    }
    streams.line(&token)?;
    Ok(Exit::Ok)
}
