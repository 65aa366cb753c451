//! What admission refuses of a URL: everything that [`EndpointUrl`](crate::model::url::EndpointUrl) refuses and a pattern can express.
//!
//! Names beyond ASCII are checked only by the program, because CEL has no IDNA: here their characters pass as letters.

use serde_json::{Value, json};

use super::rule;
use crate::model::url::MAX_URL;

/// A URL's scheme and what may stand in its authority before the last colon.
const AUTHORITY: &str = "^[^/?#]*//[^/?#]*";
/// The end of an authority.
const END: &str = "([/?#]|$)";
const PORT: &str = "0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
/// Anything where a port stands, outside the brackets of an IPv6 address. User names are refused by a rule of their own.
const ANY_PORT: &str = r":[^:\]@/?#]+";
/// The port, if there is one.
const A_PORT: &str = "(:[^:/?#]*)?";
/// The start of an authority that is an IPv6 address.
const BRACKETS: &str = r"^[^/?#]*//\[";
/// What a label of a name begins and ends with.
const EDGE: &str = r"A-Za-z0-9_\x{80}-\x{10ffff}";
/// One number of an IPv4 address, as URLs may write it.
const NUMBER: &str = "(0[xX][0-9A-Fa-f]*|0[0-7]*|[1-9][0-9]*)";
/// A decimal number above 255.
const OVER_BYTE: &str = "(25[6-9]|2[6-9][0-9]|[3-9][0-9]{2}|[1-9][0-9]{3,})";

/// Whether `self` matches; raw, so that a backslash is the pattern's.
fn matches(pattern: &str) -> String {
    format!("self.matches(r'{pattern}')")
}

const WITH_USER: &str =
    "user names and passwords in URLs are refused, since everyone could read them; give the address alone";
const FRAGMENT: &str = "a fragment (#...) never reaches the server; leave it out";
const NEEDS_PORT: &str = "every scheme but http and https needs an explicit port, for example postgres://db.corp:5432";

fn shaped() -> String {
    matches("^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]")
}

fn with_user() -> String {
    matches(&format!("{AUTHORITY}@"))
}

fn with_port() -> String {
    matches(&format!("{AUTHORITY}{ANY_PORT}{END}"))
}

/// On an instance's `baseUrl`.
pub(in crate::operator::crd) fn base_url() -> Value {
    let (shaped, with_user, with_port) = (shaped(), with_user(), with_port());
    json!([
        rule(&shaped, "write scheme://host[:port][/path], for example http://10.0.0.5:8080"),
        rule(&format!("!{with_user}"), WITH_USER),
        rule("!self.contains('#')", FRAGMENT),
        rule(&format!("!{shaped} || {} || {with_port}", matches("(?i)^https?://")), NEEDS_PORT),
        rule(
            &format!("!{with_port} || {}", matches(&format!("{AUTHORITY}:{PORT}{END}"))),
            "a port is a number from 1 to 65535"
        ),
        rule(
            &format!("{with_user} || {} || {}", matches(BRACKETS), is_name()),
            "the host is an IPv4 address, an IPv6 address in brackets, or a name; each label of a name has 1 to 63 letters, digits, '-' \
             and '_', and neither starts nor ends with '-'"
        ),
        rule(
            &format!("{with_user} || {}", is_four()),
            "a host that ends in a number is an IPv4 address, as in http://10.0.0.5:8080"
        ),
        rule(
            &format!("{with_user} || !{} || {}", matches(BRACKETS), is_six()),
            "what stands in brackets is an IPv6 address, as in http://[2001:db8::5]:8080"
        ),
        rule(&format!("!{}", matches("(?i)^file:")), "a file is not the address of a service"),
        rule(&format!("bytes(self).size() <= {MAX_URL}"), &format!("a URL has at most {MAX_URL} bytes")),
    ])
}

/// A name of labels that DNS can hold, or nothing at all.
fn is_name() -> String {
    let label = format!("[{EDGE}]([{EDGE}-]*[{EDGE}])?");
    let any = matches("^[^/?#]*//[^/?#]");
    let name = matches(&format!(r"^[^/?#]*//{label}(\.{label})*\.?{A_PORT}{END}"));
    let long_label = matches("^[^/?#]*//[^/?#:]*[A-Za-z0-9_-]{64}");
    let long_name = matches(r"^[^/?#]*//[A-Za-z0-9._-]{253}\.?[A-Za-z0-9_-]");
    format!("!{any} || ({name} && !{long_label} && !{long_name})")
}

/// An IPv4 address in any spelling, or no host that ends in a number.
fn is_four() -> String {
    let numeric = matches(&format!(r"^[^/?#]*//([^/?#:]*\.)?([0-9]+|0[xX][0-9A-Fa-f]*)\.?{A_PORT}{END}"));
    let four = matches(&format!(r"^[^/?#]*//({NUMBER}\.){{0,3}}{NUMBER}\.?{A_PORT}{END}"));
    let (inner, last) = (r"([^/?#:]*\.)?", r"([^/?#:.]+\.){3}");
    let too_big = matches(&format!(r"^[^/?#]*//({inner}{OVER_BYTE}\.[0-9]|{last}{OVER_BYTE}\.?{A_PORT}{END})"));
    format!("!{numeric} || ({four} && !{too_big})")
}

/// An IPv6 address in brackets. The library's own parser refuses those that carry an IPv4 one, which the program decodes and judges.
fn is_six() -> String {
    let shape = matches(&format!(r"^[^/?#]*//\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]{A_PORT}{END}"));
    let address = r"isIP(self.find(r'\[[^\]]*\]').replace('[', '').replace(']', ''))";
    let mapped = matches(r"(?i)^[^/?#]*//\[[0:]*:ffff:([0-9a-f]{1,4}:[0-9a-f]{1,4}|([0-9]{1,3}\.){3}[0-9]{1,3})\]");
    format!("({shape} && ({address} || {mapped}))")
}

/// On an instance's `healthUrl`.
pub(in crate::operator::crd) fn health_url() -> Value {
    let mut rules = base_url();
    let scheme = speakable(
        "a healthUrl is http, https, tcp, grpc or grpcs, since a probe has to speak it; for another scheme leave it out and use check.tcp",
    );
    if let Some(rules) = rules.as_array_mut() {
        rules.push(scheme);
    }
    rules
}

fn speakable(message: &str) -> Value {
    rule("!self.contains('://') || self.matches('(?i)^(https?|tcp|grpcs?)://')", message)
}

/// On a check's `url`. An object may hold 1792 of them, more than the API server's budget has room for in rules, so patterns say the rest.
pub(in crate::operator::crd) fn check_url() -> Value {
    json!([
        rule(&shaped(), "write scheme://host[:port][/path], for example http://10.0.0.5:9000/ready"),
        rule(&format!("!{}", with_user()), WITH_USER),
        rule("!self.contains('#')", FRAGMENT),
        rule(&format!("!{} || {} || {}", shaped(), matches("(?i)^https?://"), with_port()), NEEDS_PORT),
        speakable("a check's url is http, https, tcp, grpc or grpcs, since a probe has to speak it"),
        rule(&format!("bytes(self).size() <= {MAX_URL}"), &format!("a URL has at most {MAX_URL} bytes")),
    ])
}

/// What a check's `url` has to match besides its rules, which say more about the start of it. What is beyond a pattern, such as the ranges
/// of an IPv4 address, the program judges.
pub(in crate::operator::crd) fn check_url_patterns() -> Value {
    let label = format!("[{EDGE}]([{EDGE}-]*[{EDGE}])?");
    let host = format!(r"(\[[0-9A-Fa-f:.]*\]|{label}(\.{label})*\.?)");
    json!([{ "pattern": format!("^[^/?#]*//([^/?#]*@.*|{host}(:({PORT})?)?{END}.*)$") }])
}
