//! The definition's rules and the program's own, held against each other: admission refuses what it can, and nothing that the program
//! takes.

use futures::{StreamExt, stream};
use kube::api::{Api, DynamicObject, PostParams};
use portolan::model::ports::AddressGate;
use portolan::model::url::EndpointUrl;
use portolan::operator::read::{Lenient, parse_any};
use serde_json::{Value, json};

use super::refusals::{self, Program};
use super::{installed, instance, named, services, url};

/// Requests at once.
const AT_ONCE: usize = 8;

struct Anywhere;

impl AddressGate for Anywhere {
    fn admit(&self, _: &EndpointUrl) -> Result<(), String> {
        Ok(())
    }
}

/// What the program finds wrong with `spec`, in an object that the API server has stored.
fn problems(spec: &Value) -> Vec<String> {
    let object = json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "spec": spec,
        "metadata": {
            "name": "a", "namespace": "shop", "uid": "01900000-0000-7000-8000-000000000001", "resourceVersion": "1",
            "creationTimestamp": "2026-01-02T03:04:05Z",
        },
    });
    let object: Lenient = serde_json::from_value(object).expect("any object with metadata");
    parse_any(&object, &Anywhere).problems.iter().map(ToString::to_string).collect()
}

async fn create(api: &Api<DynamicObject>, spec: &Value) -> Result<(), String> {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&dry, &named("a", spec)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(refused)) => Err(refused.message.clone()),
        Err(other) => panic!("no answer: {other}"),
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_at_its_field_with_what_to_do() {
    let plane = installed().await;
    let namespace = plane.namespace("refused").await.expect("a namespace");
    let api = services(plane, &namespace).await;
    let judge = async |refusal: refusals::Refusal| {
        let (spec, said) = (&refusal.spec, create(&api, &refusal.spec).await);
        let right = |said: &String| said.contains(&format!("{}: ", refusal.field)) && said.contains(refusal.words);
        let found = problems(spec);
        let agrees = match refusal.program {
            Program::Refuses => !found.is_empty(),
            Program::Takes => found.is_empty(),
        };
        let wanted = format!("{}: {}", refusal.field, refusal.words);
        (!agrees || !said.as_ref().is_err_and(right)).then(|| format!("{wanted}\n  {spec}\n  {said:?}\n  {found:?}"))
    };
    let wrong: Vec<_> =
        stream::iter(refusals::all()).map(judge).buffered(AT_ONCE).filter_map(async |w| w).collect().await;
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));

    let label = "a service's name is 1 to 63 characters of a-z, 0-9 and '-'";
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    for name in ["a.b", &"a".repeat(64)] {
        let refused = api.create(&dry, &named(name, &url("http://h"))).await.expect_err("refused").to_string();
        assert!(refused.contains(label), "{name}: {refused}");
    }
}

/// URLs put together from parts that are each right or wrong in a way of its own.
fn urls() -> Vec<String> {
    const HOSTS: &[&str] = &[
        "h",
        "H.Example.",
        "a_b.c",
        "_a._b",
        "a-b",
        "-a",
        "a-",
        "a..b",
        "a.",
        ".",
        "10.0.0.1",
        "10.0.0.1.",
        "1.2.3",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "127.1",
        "256.1.1.1",
        "1.2.3.256",
        "1.256.3",
        "08.1.1.1",
        "1.2.3.4.5",
        "h.1",
        "h.0x",
        "1a",
        "a.1b",
        "0x",
        "[::1]",
        "[1::]",
        "[::ffff:10.0.0.1]",
        "[::FFFF:a00:1]",
        "[0:0:0:0:0:ffff:1.2.3.4]",
        "[::10.0.0.1]",
        "[64:ff9b::1.2.3.4]",
        "[::zz]",
        "[1:2]",
        "[::1",
        "::1",
        "[fe80::1%25e]",
        "[]",
        "münchen.example",
        "a%20b",
        "a!b",
        "a~b",
        "a{b",
        "a'b",
        "a(b",
        "xn--mnchen-3ya.example",
        "*.example",
        "a@b",
        "a:b@c",
    ];
    const PORTS: &[&str] = &["", ":", ":1", ":80", ":00080", ":65535", ":65536", ":0", ":x", ":8x", ":80:90"];
    const SCHEMES: &[&str] = &["http", "HTTPS", "tcp", "ws", "postgres", "file"];
    const PATHS: &[&str] = &["", "/a%zz[]|^`{}\"<>?q=[1]&b=c@d:e", "?q", "/a//b:80"];
    let mut all = Vec::new();
    for (i, host) in HOSTS.iter().enumerate() {
        for (j, port) in PORTS.iter().enumerate() {
            // Each host with each port, the others in turn.
            all.push(format!(
                "{}://{host}{port}{}",
                SCHEMES[(i + j) % SCHEMES.len()],
                PATHS[(i + 3 * j) % PATHS.len()]
            ));
        }
    }
    let long = |n: usize| format!("http://{}", "a".repeat(n));
    let name = |n: usize| format!("http://{}", ["a"; 200].join(".").chars().take(n).collect::<String>());
    all.extend([
        long(63),
        long(64),
        name(253),
        name(255),
        format!("{}/{}", long(1), "b".repeat(503)),
        format!("{}/{}", long(1), "b".repeat(504)),
    ]);
    all
}

/// Its patterns know less than the program, so some are admitted and then reported as invalid in the status; the other way round, a
/// registration could not be written.
#[tokio::test]
async fn a_checks_url_is_admitted_whenever_the_program_takes_it() {
    let plane = installed().await;
    let namespace = plane.namespace("check-urls").await.expect("a namespace");
    let api = services(plane, &namespace).await;
    let judge = async |text: String| {
        let taken = EndpointUrl::health(&text);
        let spec = instance(&json!({"checks": [{"name": "x", "url": text, "tcp": {}}]}));
        let said = create(&api, &spec).await;
        let refused = said.is_err();
        ((taken.is_ok() && refused).then(|| format!("{text}\n  {said:?}")), taken.is_err(), refused)
    };
    let judged: Vec<_> = stream::iter(urls()).map(judge).buffered(AT_ONCE).collect().await;
    let wrong: Vec<_> = judged.iter().filter_map(|(wrong, ..)| wrong.as_ref()).collect();
    assert!(wrong.is_empty(), "{} differ:\n{wrong:?}", wrong.len());
    let (bad, refused) =
        (judged.iter().filter(|(_, bad, _)| *bad).count(), judged.iter().filter(|(.., refused)| *refused).count());
    assert!(refused * 10 > bad * 8, "only {refused} of {bad} bad ones are refused");
}

#[tokio::test]
async fn a_url_is_admitted_exactly_when_the_program_takes_it() {
    let plane = installed().await;
    let namespace = plane.namespace("urls").await.expect("a namespace");
    let api = services(plane, &namespace).await;
    let judge = async |text: String| {
        let (said, taken) = (create(&api, &url(&text)).await, EndpointUrl::base(&text));
        (said.is_ok() != taken.is_ok()).then(|| format!("{text}\n  {said:?}\n  {taken:?}"))
    };
    let wrong: Vec<_> = stream::iter(urls()).map(judge).buffered(AT_ONCE).filter_map(async |w| w).collect().await;
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
