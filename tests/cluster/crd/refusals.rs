//! What must be refused, at which field, and with which words.

use serde_json::{Value, json};

use super::{instance, url, with};

/// How the program treats the same spec, in an object that is older than the rule.
pub(super) enum Program {
    /// It calls it invalid too.
    Refuses,
    /// It accepts it: the rule only helps the author.
    Takes,
}

pub(super) struct Refusal {
    pub(super) spec: Value,
    /// As the API server writes it.
    pub(super) field: &'static str,
    pub(super) words: &'static str,
    pub(super) program: Program,
}

fn refused(spec: Value, field: &'static str, words: &'static str) -> Refusal {
    Refusal { spec, field, words, program: Program::Refuses }
}

fn discouraged(spec: Value, field: &'static str, words: &'static str) -> Refusal {
    Refusal { spec, field, words, program: Program::Takes }
}

fn base_url(text: &str, words: &'static str) -> Refusal {
    refused(url(text), "spec.instances[0].baseUrl", words)
}

fn one(fields: &Value, field: &'static str, words: &'static str) -> Refusal {
    refused(instance(fields), field, words)
}

fn http(settings: &Value, field: &'static str, words: &'static str) -> Refusal {
    one(&json!({ "check": { "http": settings } }), field, words)
}

fn header(name: &str, value: &str, words: &'static str) -> Refusal {
    let field = if value.contains('\n') { "headers[0].value" } else { "spec.instances[0].check.http.headers[0].name" };
    http(&json!({ "headers": [{ "name": name, "value": value }] }), field, words)
}

const SHAPE: &str = "write scheme://host[:port][/path]";
const USER: &str = "user names and passwords in URLs are refused";
const NO_PORT: &str = "every scheme but http and https needs an explicit port";
const PORT: &str = "a port is a number from 1 to 65535";
const HOST: &str = "the host is an IPv4 address, an IPv6 address in brackets, or a name";
const FOUR: &str = "a host that ends in a number is an IPv4 address";
const SIX: &str = "what stands in brackets is an IPv6 address";
const CREDENTIALS: &str = "a header that carries credentials";
const FRAMING: &str = "set http.host";

fn urls() -> Vec<Refusal> {
    let plain = |text: &'static str| base_url(text, "baseUrl in body should match");
    let mut all = vec![
        base_url("h:80", SHAPE),
        base_url("http:///x", SHAPE),
        base_url("http:/h", SHAPE),
        base_url("/relative", SHAPE),
        base_url("http://user:pw@h/", USER),
        base_url("http://@h/", USER),
        base_url("http://h/#top", "a fragment (#...) never reaches the server"),
        base_url("postgres://db.corp", NO_PORT),
        base_url("tcp://h", NO_PORT),
        base_url("ws://h:", NO_PORT),
        base_url("tcp://[::1]", NO_PORT),
        plain("http://h/\u{202e}"),
        plain("http://h/a b"),
        plain("http://h\\@e/"),
        base_url(&format!("http://h/{}", "a".repeat(512)), "may not be more than 512"),
        base_url(&format!("http://h/{}", "ä".repeat(300)), "a URL has at most 512 bytes"),
        base_url("file://h:80/x", "a file is not the address of a service"),
    ];
    for port in ["abc", "0", "00", "65536", "99999999999", "80a", "-1", "+80", "8 0"] {
        let words = if port.contains(' ') { "baseUrl in body should match" } else { PORT };
        all.extend(["http", "tcp"].map(|scheme| base_url(&format!("{scheme}://h:{port}"), words)));
        all.push(base_url(&format!("http://[::1]:{port}/x"), words));
    }
    for host in [
        "[::zz]",
        "[::1",
        "[1.2.3.4]",
        "[::1::2]",
        "[1:2:3:4:5:6:7:8:9]",
        "[fe80::1%25eth0]",
        "[]",
        "[::ffff:1.2.3.4.5]",
    ] {
        all.push(base_url(&format!("http://{host}/x"), SIX));
    }
    for host in ["1.2.3.256", "256.1.1.1", "1.256.3", "1.2.3.4.5", "h.1", "h.0x4", "1.2.3.08"] {
        all.push(base_url(&format!("http://{host}/x"), FOUR));
    }
    for host in ["::1", "a..b", "a..", ".", "-a.b", "a-.b", "a_b-.c", "a!b", "a,b", "ex%61mple", "h:80:90"] {
        all.push(base_url(&format!("http://{host}/x"), HOST));
    }
    all.push(base_url(&format!("http://{}.b", "a".repeat(64)), HOST));
    all.push(base_url(&format!("http://{}", ["a"; 127].join(".") + "bb"), HOST));
    all
}

fn checks() -> Vec<Refusal> {
    vec![
        one(&json!({"check": {"http": {}, "tcp": {}}}), "spec.instances[0].check", "name one kind of check"),
        refused(
            with(url("http://h"), "check", json!({"none": {}, "grpc": {}})),
            "spec.check",
            "name one kind of check",
        ),
        one(
            &json!({"baseUrl": "postgres://h:1", "check": {"http": {}}}),
            "spec.instances[0].check.http",
            "check.http is for http and https; use",
        ),
        one(
            &json!({"baseUrl": "postgres://h:1", "check": {"grpc": {}}}),
            "spec.instances[0].check.grpc",
            "check.grpc is for grpc, grpcs, http and",
        ),
        refused(
            with(url("amqp://h:1"), "check", json!({"http": {}})),
            "spec.check.http",
            "check.http is for http and https; give each",
        ),
        refused(
            with(url("amqp://h:1"), "check", json!({"grpc": {}})),
            "spec.check.grpc",
            "check.grpc is for grpc, grpcs, http and https; give",
        ),
        one(&json!({"check": {"heartbeat": {"ttlSeconds": 0}}}), "heartbeat.ttlSeconds", "greater than or equal to 1"),
        one(
            &json!({"check": {"heartbeat": {"ttlSeconds": 86401}}}),
            "heartbeat.ttlSeconds",
            "less than or equal to 86400",
        ),
        http(&json!({"versionFrom": "build/version"}), "http.versionFrom", "versionFrom in body should match"),
        http(&json!({"versionFrom": "/a~2b"}), "http.versionFrom", "versionFrom in body should match"),
        one(
            &json!({"healthUrl": "http://h/x", "check": {"http": {"path": "/y"}}}),
            "spec.instances[0].healthUrl",
            "give either healthUrl or check.http.path, not both",
        ),
        one(&json!({"check": {"intervalSeconds": 0}}), "intervalSeconds", "greater than or equal to 1"),
        one(&json!({"check": {"intervalSeconds": 86401}}), "intervalSeconds", "less than or equal to 86400"),
        one(&json!({"check": {"timeoutSeconds": 61}}), "timeoutSeconds", "less than or equal to 60"),
        one(&json!({"check": {"retryIntervalSeconds": 301}}), "retryIntervalSeconds", "less than or equal to 300"),
        one(&json!({"check": {"unhealthyThreshold": 11}}), "unhealthyThreshold", "less than or equal to 10"),
        one(&json!({"check": {"healthyThreshold": 0}}), "healthyThreshold", "greater than or equal to 1"),
        discouraged(
            instance(&json!({"check": {"intervalSeconds": 5, "retryIntervalSeconds": 6}})),
            "spec.instances[0].check.retryIntervalSeconds",
            "retryIntervalSeconds is longer",
        ),
        discouraged(
            with(url("http://h"), "check", json!({"intervalSeconds": 5, "retryIntervalSeconds": 6})),
            "spec.check.retryIntervalSeconds",
            "retryIntervalSeconds is longer than intervalSeconds",
        ),
        http(&json!({"path": "x"}), "check.http.path", "path in body should match"),
        http(&json!({"path": "/a#b"}), "check.http.path", "path in body should match"),
        http(&json!({"method": "POST"}), "check.http.method", "supported values: \"GET\", \"HEAD\""),
        http(&json!({"host": "a b"}), "check.http.host", "host in body should match"),
        http(&json!({"expectedStatuses": [600]}), "expectedStatuses[0]", "less than or equal to 599"),
        http(&json!({"expectedStatuses": vec![200; 17]}), "expectedStatuses", "must have at most 16 items"),
        one(&json!({"check": {"grpc": {"service": "a\nb"}}}), "grpc.service", "service in body should match"),
        http(
            &json!({"headers": (0..9).map(|i| json!({"name": format!("x{i}"), "value": ""})).collect::<Value>()}),
            "spec.instances[0].check.http.headers",
            "must have at most 8 items",
        ),
        http(
            &json!({"headers": [{"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"}]}),
            "spec.instances[0].check.http.headers",
            "a header is given twice",
        ),
        header("Authorization", "Bearer x", CREDENTIALS),
        header("proxy-authorization", "x", CREDENTIALS),
        header("Cookie", "x", CREDENTIALS),
        header("X-aws-ec2-metadata-token", "x", CREDENTIALS),
        header("X-aws-ec2-metadata-token-ttl-seconds", "6", CREDENTIALS),
        header("Metadata-Flavor", "Google", CREDENTIALS),
        header("Metadata", "true", CREDENTIALS),
        header("Host", "x", FRAMING),
        header("Transfer-Encoding", "chunked", FRAMING),
        header("x-a", "a\r\nb: c", "value in body should match"),
    ]
}

fn certificates() -> Vec<Refusal> {
    vec![
        http(&json!({"tls": {"ca": "../ca.pem"}}), "tls.ca", "ca in body should match"),
        http(&json!({"tls": {"clientCert": ".hidden"}}), "tls.clientCert", "clientCert in body should match"),
        http(
            &json!({"tls": {"caFrom": {"configMap": "../a"}}}),
            "tls.caFrom.configMap",
            "configMap in body should match",
        ),
        http(&json!({"tls": {"caFrom": {"secret": "A"}}}), "tls.caFrom.secret", "secret in body should match"),
        http(&json!({"tls": {"caFrom": {"secret": "a", "key": "a/b"}}}), "tls.caFrom.key", "key in body should match"),
        http(&json!({"tls": {"caFrom": {}}}), "tls.caFrom", "name either a configMap or a secret"),
        http(
            &json!({"tls": {"caFrom": {"configMap": "a", "secret": "a"}}}),
            "tls.caFrom",
            "name either a configMap or a secret",
        ),
        http(&json!({"tls": {"ca": "a", "caFrom": {"secret": "a"}}}), "tls.caFrom", "not both"),
        http(&json!({"tls": {"clientCert": "a", "clientCertFrom": {"secret": "a"}}}), "tls.clientCertFrom", "not both"),
        http(&json!({"tls": {"clientCertFrom": {}}}), "tls.clientCertFrom.secret", "Required value"),
        http(&json!({"tls": {"serverName": "a b"}}), "tls.serverName", "serverName in body should match"),
    ]
}

fn instances() -> Vec<Refusal> {
    let many = |n: usize| (0..n).map(|i| json!({"name": format!("i{i}"), "baseUrl": "http://h"})).collect::<Value>();
    let keys = |n: usize| (0..n).map(|i| (format!("k{i}"), json!("v"))).collect::<serde_json::Map<_, _>>();
    let metadata = |metadata: Value, words| one(&json!({ "metadata": metadata }), "spec.instances[0].metadata", words);
    vec![
        one(
            &json!({"healthUrl": "postgres://db:5432"}),
            "spec.instances[0].healthUrl",
            "a healthUrl is http, https, tcp, grpc or grpcs",
        ),
        one(&json!({"healthUrl": "http://u@h"}), "spec.instances[0].healthUrl", USER),
        one(&json!({"healthUrl": "http://h:abc"}), "spec.instances[0].healthUrl", PORT),
        one(&json!({"name": "A_b"}), "spec.instances[0].name", "name in body should match"),
        one(&json!({"name": "a".repeat(64)}), "spec.instances[0].name", "may not be more than 63"),
        one(&json!({"weight": 1001}), "spec.instances[0].weight", "less than or equal to 1000"),
        one(&json!({"weight": -1}), "spec.instances[0].weight", "greater than or equal to 0"),
        one(&json!({"zone": "a\u{0}"}), "spec.instances[0].zone", "zone in body should match"),
        one(
            &json!({"metadata": {"k": "a\u{2028}b"}}),
            "spec.instances[0].metadata.k",
            "metadata.k in body should match",
        ),
        metadata(json!({"k".repeat(64): "v"}), "a key of metadata has 1 to 63 characters"),
        metadata(json!({"": "v"}), "a key of metadata has 1 to 63 characters"),
        metadata(json!({"a\u{202e}b": "v"}), "keys of metadata must not hold control"),
        metadata(json!(keys(65)), "must have at most 64 items"),
        refused(
            with(url("http://h"), "description", json!("a\nb")),
            "spec.description",
            "description in body should match",
        ),
        refused(with(url("http://h"), "version", json!("v".repeat(65))), "spec.version", "may not be more than 64"),
        refused(
            with(url("http://h"), "source", json!("Other")),
            "spec.source",
            "supported values: \"Manifest\", \"Rest\"",
        ),
        discouraged(with(url("http://h"), "source", json!("Rest")), "spec.source", "leave source out of a manifest"),
        discouraged(
            instance(&json!({"owner": {"subject": "ci"}})),
            "spec.instances",
            "owner, generation and deregisterAfterSeconds are written by Portolan",
        ),
        discouraged(
            instance(&json!({"generation": 7})),
            "spec.instances",
            "owner, generation and deregisterAfterSeconds are written by Portolan",
        ),
        discouraged(
            instance(&json!({"deregisterAfterSeconds": 600})),
            "spec.instances",
            "leave them out of a manifest, whose instances are never removed",
        ),
        refused(json!({"instances": []}), "spec.instances", "should have at least 1 items"),
        refused(json!({"instances": many(257)}), "spec.instances", "must have at most 256 items"),
        refused(
            json!({"instances": [{"name": "a", "baseUrl": "http://h"}, {"name": "a", "baseUrl": "http://g"}]}),
            "spec.instances[1]",
            "Duplicate value",
        ),
        refused(json!({}), "spec", "name at least one instance, or in from a core Service"),
    ]
}

/// Checks beside the plain one.
fn named_checks() -> Vec<Refusal> {
    const PATTERN: &str = "url in body should match";
    const ONE_BEAT: &str = "an instance has one heartbeat check at most";
    let named =
        |checks: Value, field: &'static str, words: &'static str| one(&json!({ "checks": checks }), field, words);
    let at = |url: &str, words| {
        named(json!([{"name": "x", "url": url, "tcp": {}}]), "spec.instances[0].checks[0].url", words)
    };
    let beat = |name: &str| json!({"name": name, "heartbeat": {"ttlSeconds": 30}});
    let many = |n: usize| (0..n).map(|i| json!({"name": format!("x{i}"), "tcp": {}})).collect::<Value>();
    let mut all = vec![
        named(json!([{"name": "x", "http": {}, "tcp": {}}]), "spec.instances[0].checks[0]", "name one kind of check"),
        named(json!([{"name": "default", "tcp": {}}]), "spec.instances[0].checks[0].name", "default is the name of"),
        named(json!([{"name": "A", "tcp": {}}]), "checks[0].name", "name in body should match"),
        named(json!([{"name": "x", "tcp": {}}, {"name": "x", "grpc": {}}]), "checks[1]", "Duplicate value"),
        named(many(8), "spec.instances[0].checks", "must have at most 7 items"),
        refused(with(url("http://h"), "checks", many(8)), "spec.checks", "must have at most 7 items"),
        named(
            json!([{"name": "x", "url": "http://h/a", "http": {"path": "/b"}}]),
            "spec.instances[0].checks[0].url",
            "give either url or http.path, not both",
        ),
        one(
            &json!({"baseUrl": "postgres://h:1", "checks": [{"name": "x", "http": {}}]}),
            "spec.instances[0].checks",
            "a check by http is for http and https; use tcp, or give it a url",
        ),
        one(
            &json!({"healthUrl": "tcp://h:1", "checks": [{"name": "x", "grpc": {}}]}),
            "spec.instances[0].checks",
            "a check by grpc is for grpc, grpcs, http and https; use tcp",
        ),
        refused(
            with(url("amqp://h:1"), "checks", json!([{"name": "x", "http": {"path": "/a"}}])),
            "spec.checks",
            "a check by http is for http and https; give it a url, or give each instance",
        ),
        one(&json!({"check": {"heartbeat": {"ttlSeconds": 9}}, "checks": [beat("x")]}), "spec.instances", ONE_BEAT),
        named(json!([beat("x"), beat("y")]), "spec.instances", ONE_BEAT),
        refused(
            with(instance(&json!({"check": {"heartbeat": {"ttlSeconds": 9}}})), "checks", json!([beat("x")])),
            "spec.instances",
            ONE_BEAT,
        ),
        discouraged(
            instance(&json!({"checks": [{"name": "x", "tcp": {}, "intervalSeconds": 5, "retryIntervalSeconds": 6}]})),
            "spec.instances[0].checks",
            "retryIntervalSeconds is longer",
        ),
        discouraged(
            with(
                url("http://h"),
                "checks",
                json!([{"name": "x", "tcp": {}, "intervalSeconds": 5, "retryIntervalSeconds": 6}]),
            ),
            "spec.checks",
            "retryIntervalSeconds is longer",
        ),
        at("h:80", SHAPE),
        at("http://user:pw@h/", USER),
        at("http://h/#top", "a fragment (#...) never reaches the server"),
        at("postgres://h:1", "a check's url is http, https, tcp, grpc or grpcs"),
        at("tcp://h", NO_PORT),
        at(&format!("http://h/{}", "a".repeat(512)), "may not be more than 512"),
        at(&format!("http://h/{}", "ä".repeat(300)), "a URL has at most 512 bytes"),
    ];
    for wrong in ["h:0", "h:65536", "h:80a", "a..b", "-a.b", "a!b", "h:80:90", "[::1]x", "::1"] {
        all.push(at(&format!("http://{wrong}/x"), PATTERN));
    }
    all.push(at("http://h/a b", PATTERN));
    all
}

fn identities() -> Vec<Refusal> {
    let identity = |identity: Value, field, words| http(&json!({ "identity": identity }), field, words);
    let many = |n: usize| (0..n).map(|i| (format!("/x{i}"), json!("v"))).collect::<serde_json::Map<_, _>>();
    let json = "spec.instances[0].check.http.identity.json";
    let header = "spec.instances[0].check.http.identity.header";
    vec![
        discouraged(
            instance(&json!({"check": {"http": {"identity": {}}}})),
            "spec.instances[0].check.http.identity",
            "name at least one of json, header and tlsSan",
        ),
        identity(json!({"json": {"name": "a"}}), json, "a key is a JSON pointer of at most 256 bytes"),
        identity(json!({"json": {"/a~b": "a"}}), json, "a key is a JSON pointer"),
        identity(json!({"json": {"/a\u{202e}": "a"}}), json, "a key is a JSON pointer"),
        identity(json!({"json": {"/".repeat(257): "a"}}), json, "a key is a JSON pointer"),
        identity(json!({"json": many(9)}), json, "must have at most 8 items"),
        identity(
            json!({"json": many(8), "tlsSan": "a"}),
            "spec.instances[0].check.http.identity",
            "an identity has at most 8 demands in all",
        ),
        identity(json!({"json": {"/a": "v".repeat(254)}}), "identity.json./a", "may not be more than 253"),
        identity(json!({"json": {"/a": ""}}), "identity.json./a", "should be at least 1 chars long"),
        identity(json!({"header": {"a b": "a"}}), header, "a key is the name of a header"),
        http(
            &json!({"method": "HEAD", "versionFrom": "/v"}),
            "spec.instances[0].check.http.method",
            "identity.json and versionFrom need an answer with a body",
        ),
        http(
            &json!({"method": "HEAD", "identity": {"json": {"/a": "b"}}}),
            "spec.instances[0].check.http.method",
            "identity.json and versionFrom need an answer with a body",
        ),
        identity(json!({"header": {"X-A": "a", "x-a": "a"}}), header, "a header is given twice"),
        identity(json!({"header": {"x-a": "a\nb"}}), "identity.header.x-a", "x-a in body should match"),
        identity(json!({"tlsSan": "a\u{202e}"}), "identity.tlsSan", "tlsSan in body should match"),
    ]
}

fn labels_and_drains() -> Vec<Refusal> {
    let tags = |tags: Value, field, words| one(&json!({ "tags": tags }), field, words);
    let drain = |drain: Value, field, words| one(&json!({ "drain": drain }), field, words);
    let many = (0..65).map(|i| format!("t{i}")).collect::<Value>();
    vec![
        tags(many, "spec.instances[0].tags", "must have at most 64 items"),
        tags(json!(["a", "a"]), "spec.instances[0].tags[1]", "Duplicate value"),
        tags(json!([""]), "spec.instances[0].tags[0]", "should be at least 1 chars long"),
        tags(json!(["ä".repeat(300)]), "spec.instances[0].tags[0]", "a tag has at most 512 bytes"),
        tags(json!(["a\u{202e}"]), "tags[0]", "tags[0] in body should match"),
        one(&json!({"externalId": "a".repeat(513)}), "spec.instances[0].externalId", "may not be more than 512"),
        one(
            &json!({"externalId": "ä".repeat(300)}),
            "spec.instances[0].externalId",
            "an externalId has at most 512 bytes",
        ),
        drain(json!({}), "spec.instances[0].drain.reason", "Required value"),
        drain(json!({"reason": ""}), "drain.reason", "should be at least 1 chars long"),
        drain(json!({"reason": "r".repeat(257)}), "drain.reason", "may not be more than 256"),
        drain(json!({"reason": "a\nb"}), "drain.reason", "reason in body should match"),
        drain(json!({"reason": "a", "until": "tomorrow"}), "drain.until", "must be of type date-time"),
        discouraged(
            instance(
                &json!({"drain": {"reason": "a", "since": "2026-01-02T03:00:00Z", "until": "2026-01-02T03:00:00Z"}}),
            ),
            "spec.instances[0].drain.until",
            "until is when the drain ends, so it is later than since",
        ),
    ]
}

pub(super) fn all() -> Vec<Refusal> {
    [urls(), checks(), certificates(), named_checks(), identities(), labels_and_drains(), instances()]
        .into_iter()
        .flatten()
        .collect()
}
