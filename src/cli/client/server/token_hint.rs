//! The command that makes a sufficient token: like the one that was sent, with what it lacks and nothing else.

use std::path::Path;

use secrecy::ExposeSecret;

use super::Server;
use crate::api::access::{AUDIENCE, Mint, Scopes, USUAL_LIFE, account_of};
use crate::cli::plugin::program;
use crate::model::name::Namespace;
use crate::model::text;

/// Longest file name, context or user that is repeated in a command, in characters.
const MAX_WORD: usize = 256;
/// Where the secret is in a cluster, as `deploy/` names it.
const DEPLOYMENT: &str = "deployment/portolan";

/// What a refused request needs of a token, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli::client) struct TokenNeed {
    /// `read`, `register` or none.
    scope: Scopes,
    /// Namespaces that it has to cover.
    namespaces: Vec<String>,
    /// Whether the server named them.
    named: bool,
}

impl TokenNeed {
    /// From the answer's `WWW-Authenticate`, and the namespace that the request named.
    pub(in crate::cli::client) fn of(challenge: Option<&str>, asked: Option<String>) -> Self {
        let mut need = Self::default();
        for (name, value) in challenge.into_iter().flat_map(parameters) {
            match name {
                "scope" => {
                    need.scope.read = value == "read";
                    need.scope.register = value == "register";
                }
                "namespaces" => need.namespaces = value.split(' ').map(str::to_owned).collect(),
                _ => {}
            }
        }
        need.named = !need.namespaces.is_empty();
        if !need.named {
            need.namespaces.extend(asked);
        }
        need.namespaces.retain(|name| name == "*" || name.parse::<Namespace>().is_ok());
        need
    }

    /// Whether the server named the namespaces of a token that would do.
    pub(in crate::cli::client) fn is_named(&self) -> bool {
        self.named
    }
}

/// `name="value"`, one after the other, behind the scheme. Portolan's values hold no quotes.
fn parameters(challenge: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = challenge.split_once(' ').map_or("", |(_, rest)| rest);
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once("=\"")?;
        let (value, next) = after.split_once('"')?;
        rest = next;
        Some((name.trim_start_matches([',', ' ']), value))
    })
}

/// What to do about a missing or insufficient token; the last line is a command.
pub(in crate::cli::client) fn hints(server: &Server, need: &TokenNeed) -> Vec<String> {
    if server.withholds_token() {
        let said = "a token is set, but it is sent only to a server that is named; this names it:";
        return vec![said.to_owned(), format!("export PORTOLAN_SERVER={}", quoted_url(server))];
    }
    let sent = server.token().ok().flatten();
    if let Some(account) = sent.as_ref().and_then(|token| account_of(token.expose_secret())) {
        let said = "this makes a new token of the same ServiceAccount:".to_owned();
        return vec![said, given(server, &account_command(server, account))];
    }
    let like = sent.as_ref().and_then(|token| Mint::like(token.expose_secret()));
    let command = token_command(server, &extended(&user(server), like, need));
    let said = if server.is_in_a_cluster() {
        "this command makes a sufficient token:"
    } else {
        "this command makes a sufficient token, if JWT_SECRET or JWT_SECRET_FILE is set to the server's value:"
    };
    vec![said.to_owned(), given(server, &command)]
}

/// The command that gives the token of `command` to client commands.
fn given(server: &Server, command: &str) -> String {
    match server.token_file() {
        Some(path) => format!("{command} > {}", quoted_path(path)),
        // Without its name the server would not get the token.
        None if !server.named => {
            format!("export PORTOLAN_SERVER={} PORTOLAN_TOKEN=$({command})", quoted_url(server))
        }
        None => format!("export PORTOLAN_TOKEN=$({command})"),
    }
}

/// `kubectl create token …` for that ServiceAccount.
fn account_command(server: &Server, (namespace, name): (Namespace, String)) -> String {
    let context = server.context().map(|context| flag("--context", &text::escape(context, MAX_WORD)) + " ");
    let context = context.unwrap_or_default();
    format!("kubectl {context}create token {} -n {namespace} --audience {AUDIENCE}", quoted(&name))
}

/// The command that writes a token into the file at `path`.
pub(in crate::cli::client) fn command_into(server: &Server, path: &Path) -> String {
    format!("{} > {}", token_command(server, &extended(&user(server), None, &TokenNeed::default())), quoted_path(path))
}

/// A token like the one that was sent, with what it lacks.
fn extended(user: &str, like: Option<Mint>, need: &TokenNeed) -> Mint {
    let had_one = like.is_some();
    let mut mint = like.unwrap_or_else(|| Mint {
        subject: user.to_owned(),
        issuer: None,
        namespaces: None,
        scopes: None,
        lasts: USUAL_LIFE,
    });
    let mut namespaces = mint.namespaces.take().unwrap_or_default();
    if !namespaces.iter().any(|name| name == "*") {
        let known = namespaces.clone();
        namespaces.extend(need.namespaces.iter().filter(|name| !known.contains(name)).cloned());
    }
    mint.namespaces = (!namespaces.is_empty()).then_some(namespaces);
    // A token without scopes has the usual ones; a user without a token who only reads needs only `read`.
    let usual = Scopes { read: true, register: true, admin: false };
    let has = if had_one || need.scope.register { mint.scopes.unwrap_or(usual) } else { Scopes::default() };
    let scopes =
        Scopes { read: has.read || need.scope.read, register: has.register || need.scope.register, admin: has.admin };
    mint.scopes = (scopes != usual && scopes != Scopes::default()).then_some(scopes);
    mint
}

/// `portolan token …` for that token, in a pod of the server where that is in a cluster.
fn token_command(server: &Server, mint: &Mint) -> String {
    // In a pod, the program has its own name.
    let called = if server.context().is_some() { "portolan" } else { program() };
    let mut command = format!("{called} token {}", flag("--subject", &mint.subject));
    let namespaces = mint.namespaces.as_ref().map(|names| names.join(","));
    let scope = mint.scopes.map(Scopes::claim);
    let more = [("--issuer", &mint.issuer), ("--namespaces", &namespaces), ("--scope", &scope)];
    for (name, value) in more {
        if let Some(value) = value {
            command = format!("{command} {}", flag(name, value));
        }
    }
    let Some(context) = server.context() else { return command };
    let context = flag("--context", &text::escape(context, MAX_WORD));
    format!("kubectl {context} -n {} exec {DEPLOYMENT} -- {command}", server.minting().pods_namespace)
}

fn user(server: &Server) -> String {
    let user = server.minting().user.as_deref();
    user.filter(|user| !user.is_empty() && text::accept(user, MAX_WORD).is_ok()).unwrap_or("me").to_owned()
}

fn quoted_url(server: &Server) -> String {
    quoted(server.url.as_str().trim_end_matches('/'))
}

fn quoted_path(path: &Path) -> String {
    let path = path.to_string_lossy();
    if text::accept(&path, MAX_WORD).is_ok() { quoted(&path) } else { "FILE".to_owned() }
}

fn flag(name: &str, value: &str) -> String {
    let between = if value.starts_with('-') { '=' } else { ' ' };
    format!("{name}{between}{}", quoted(value))
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_names_what_is_lacking() {
        let challenge =
            r#"Bearer realm="portolan", error="insufficient_scope", scope="read", namespaces="default shop""#;
        let need = TokenNeed::of(Some(challenge), Some("bank".to_owned()));
        assert_eq!((need.scope.read, need.scope.register, need.is_named()), (true, false, true));
        assert_eq!(need.namespaces, ["default", "shop"], "the server knows better than the request");
        let asked = TokenNeed::of(Some("Bearer realm=\"portolan\""), Some("bank".to_owned()));
        assert_eq!((asked.namespaces.as_slice(), asked.is_named()), (&["bank".to_owned()][..], false));
        let strange = TokenNeed::of(Some(r#"Bearer namespaces="$(rm) ' a", scope="admin""#), None);
        assert_eq!((strange.namespaces.as_slice(), strange.scope), (&["a".to_owned()][..], Scopes::default()));
        for broken in ["", "Bearer", "Bearer scope", "Bearer scope=\"read", "Basic realm=x"] {
            assert_eq!(TokenNeed::of(Some(broken), None), TokenNeed::default(), "{broken}");
        }
    }

    fn hint(flags: &[&str], env: &[(&str, &str)], need: &TokenNeed) -> String {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            server: crate::cli::args::ServerArgs,
        }
        let flags = <Flags as clap::Parser>::parse_from(["x"].iter().chain(flags));
        let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        hints(&Server::new(&flags.server, env).expect("a server"), need).pop().expect("a command")
    }

    #[test]
    fn a_server_that_nobody_named_is_named_so_that_it_gets_the_token() {
        let token = "export PORTOLAN_SERVER=http://127.0.0.1:8080 PORTOLAN_TOKEN=$(portolan token --subject ann)";
        assert_eq!(hint(&[], &[("USER", "ann")], &TokenNeed::default()), token);
        let held = hint(&[], &[("PORTOLAN_TOKEN", "x.y.z")], &TokenNeed::default());
        assert_eq!(held, "export PORTOLAN_SERVER=http://127.0.0.1:8080");
    }

    #[test]
    fn in_a_cluster_a_pod_of_the_server_makes_the_token() {
        let flags = ["--context", "prod eu", "--context-namespace", "registry"];
        let command = "export PORTOLAN_TOKEN=$(kubectl --context 'prod eu' -n registry exec deployment/portolan -- \
                       portolan token --subject me)";
        assert_eq!(hint(&flags, &[("JWT_SECRET", "of another server")], &TokenNeed::default()), command);
    }

    #[test]
    fn a_service_account_gets_another_token_of_its_own() {
        // {"alg":"ES256"}, {"sub":"system:serviceaccount:shop:api","kubernetes.io":{}}
        let token =
            "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6c2hvcDphcGkiLCJrdWJlcm5ldGVzLmlvIjp7fX0.AA";
        let flags = ["--context", "prod"];
        let command = "export PORTOLAN_TOKEN=$(kubectl --context prod create token api -n shop --audience portolan)";
        assert_eq!(hint(&flags, &[("PORTOLAN_TOKEN", token)], &TokenNeed::default()), command);
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (text, word) in [("ci", "ci"), ("*", "'*'"), ("a b", "'a b'"), ("it's $x", r"'it'\''s $x'"), ("", "''")] {
            assert_eq!(quoted(text), word);
        }
        assert_eq!(flag("--subject", "-x"), "--subject=-x");
    }
}
