//! From an answer, or none, to the exit code and what to do about it.

use reqwest::StatusCode;

use super::server::Server;
use super::server::token_hint::{self, TokenNeed};
use crate::cli::exit::{Exit, Failure};
use crate::cli::plugin::program;
use crate::model::text::escape;
use crate::wire::{Detail, Refusal};

/// What to do where a service has several instances and the call names none.
pub(in crate::cli) const ONE_OF_SEVERAL: &str = "--instance NAME removes one of them";

/// One line about a field.
pub(in crate::cli) fn line(detail: &Detail) -> String {
    let Detail { field, problem, expected } = detail;
    // A server that sends no `problem` says what it expected.
    let wrong = if problem.is_empty() { expected.as_deref().unwrap_or_default() } else { problem };
    format!("{}: {}", escape(field, 100), escape(wrong, 300))
}

/// No answer came.
pub(super) fn unreachable(server: &Server, error: &reqwest::Error) -> Failure {
    let place = server.at();
    if error.is_timeout() && !error.is_connect() {
        return Failure::new(Exit::Unreachable, format!("no answer from {place} in time"))
            .hint("give it longer with --timeout, or look at the server's /readyz?verbose");
    }
    let cause = escape(&root_cause(error), 300);
    let unsent = error.is_connect();
    let failure =
        Failure { unsent, ..Failure::new(Exit::Unreachable, format!("no server answers at {place}: {cause}")) };
    if server.is_in_a_cluster() {
        failure.hint("the tunnel on this machine broke; run the command again to open another")
    } else if server.named {
        failure.hint("is it running, and is this its address? It comes from --server or PORTOLAN_SERVER")
    } else {
        failure.hint(format!(
            "is it running? `{} serve` starts one here; PORTOLAN_SERVER or --server names one elsewhere",
            program()
        ))
    }
}

/// The answer is not Portolan's.
pub(super) fn foreign(server: &Server, status: StatusCode) -> Failure {
    // The status says nothing here: a 404 of another program does not mean that a service is missing.
    let said = format!("{} answered {} in a form that is not Portolan's", server.at(), status.as_u16());
    let failure = Failure { status: Some(status.as_u16()), ..Failure::new(Exit::Unreachable, said) };
    failure.hint(if server.is_in_a_cluster() {
        "is the pods' port named http (or, without one, their first port) Portolan's own?"
    } else {
        "is --server or PORTOLAN_SERVER the registry's own address?"
    })
}

/// The answer is larger than any of Portolan's.
pub(super) fn too_large(server: &Server, why: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("the answer of {} is too large to be Portolan's: {why}", server.at()))
        .hint("is --server or PORTOLAN_SERVER the registry's own address?")
}

/// What a refusal's head says.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// Seconds.
    pub(super) retry_after: Option<u64>,
    /// What the request needs of a token.
    pub(super) need: TokenNeed,
}

/// The server refused.
pub(super) fn refused(server: &Server, head: &Head, body: &Refusal) -> Failure {
    let exit = match &*body.code {
        "no_healthy_instance" => Exit::Unmet,
        // The server's address ends with a wrong path: this says nothing about what was asked for.
        "unknown_route" => Exit::Unreachable,
        _ => by_status(head.status),
    };
    let said = escape(&with_flags(&body.error), 600);
    let mut failure = Failure { status: Some(head.status.as_u16()), ..Failure::new(exit, said) };
    for detail in &body.details {
        failure = failure.hint(line(detail));
    }
    let hint = body.hint.as_deref().filter(|hint| !hint.is_empty());
    if let Some(hint) = hint {
        failure = failure.hint(escape(&with_flags(hint), 600));
    }
    if needs_token(&body.code, &head.need) {
        failure.hints.extend(token_hint::hints(server, &head.need));
    } else if let Some(hint) = advice(head.status, &body.code).filter(|_| hint.is_none()) {
        failure = failure.hint(hint);
    }
    match head.retry_after {
        Some(seconds) => failure.hint(format!("try again in {seconds} s")),
        None => failure,
    }
}

/// The server's sentence with flags in place of query parameters.
pub(super) fn with_flags(sentence: &str) -> String {
    let flags = sentence.replace("add namespace=*", "add -A").replace("add namespace=", "add -n ");
    let flags = flags.replace("add ?all=true", "add --all").replace("add all=true", "add --all");
    let flags = flags.replace("or ask without healthy=true and pick", "or ask without --healthy and --pick");
    flags.replace("with instance=", "with --instance")
}

fn by_status(status: StatusCode) -> Exit {
    match status.as_u16() {
        404 => Exit::NotFound,
        401 | 403 | 409 | 412 | 421 | 422 | 429 => Exit::Refused,
        408 | 500.. => Exit::Unreachable,
        400..=499 => Exit::Usage,
        _ => Exit::Ok,
    }
}

/// Whether another token would help.
fn needs_token(code: &str, need: &TokenNeed) -> bool {
    match code {
        "token_required" | "token_invalid" | "token_expired" | "insufficient_scope" => true,
        // A namespace that takes no registrations is refused with the same code, and no token changes that.
        "namespace_forbidden" => need.is_named(),
        _ => false,
    }
}

fn advice(status: StatusCode, code: &str) -> Option<String> {
    Some(match (status.as_u16(), code) {
        (409, "has_instances") => ONE_OF_SEVERAL.to_owned(),
        (421, _) => "the server does not know itself by this name; its PORTOLAN_ALLOWED_HOSTS can add it".to_owned(),
        (403, "certificate_required") => "--client-cert or PORTOLAN_CLIENT_CERT names a certificate to show".to_owned(),
        (404, "unknown_route") => "is PORTOLAN_SERVER or --server right? `/api/v1/…` is added to its path".to_owned(),
        (404, "service_not_found") => format!("{} list -A shows what there is", program()),
        _ => return None,
    })
}

/// The innermost error. reqwest's own message repeats the URL and hides the cause.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
