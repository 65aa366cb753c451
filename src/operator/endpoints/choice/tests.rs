//! Which endpoints are chosen.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use crate::model::name::InstanceName;
use crate::operator::crd::FromSpec;
use crate::operator::endpoints::{CoreService, EndpointNews, Endpoints, Slice, Touched};
use crate::operator::kubernetes::follow::{Followed, News};

fn slice(name: &str, revision: u64, at: &str, port: &Value, endpoints: &Value) -> Slice {
    let object: EndpointSlice = serde_json::from_value(json!({
        "addressType": "IPv4", "ports": [port], "endpoints": endpoints,
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "resourceVersion": revision.to_string(),
            "labels": { "kubernetes.io/service-name": "web" },
            "managedFields": [{ "manager": "m", "operation": "Update", "time": at }],
        },
    }))
    .expect("a slice");
    object.into()
}

fn web() -> CoreService {
    let object: Service = serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "shop", "uid": "u" }, "spec": { "ports": [{ "name": "http", "port": 80 }] },
    }))
    .expect("a Service");
    object.into()
}

fn take(endpoints: &mut Endpoints, news: EndpointNews) -> Touched {
    endpoints.take(news, Instant::now())
}

fn put(endpoints: &mut Endpoints, slice: Slice) -> Touched {
    take(endpoints, EndpointNews::Slices(Followed::News(News::Put(Box::new(slice)))))
}

fn listed(slices: Vec<Slice>) -> Endpoints {
    let mut endpoints = Endpoints::on();
    take(&mut endpoints, EndpointNews::Slices(Followed::News(News::Listed(slices))));
    take(&mut endpoints, EndpointNews::Services(Followed::News(News::Listed(vec![web()]))));
    endpoints
}

fn from() -> FromSpec {
    FromSpec { service: "web".to_owned(), ..FromSpec::default() }
}

fn chosen(endpoints: &Endpoints) -> Vec<(String, String, bool, i64)> {
    let choice = endpoints.choose("shop", &from(), &HashSet::new()).expect("everything is listed");
    choice
        .picks
        .into_iter()
        .map(|pick| (pick.name.to_string(), pick.url, pick.state.usable, pick.since.0 / 1000))
        .collect()
}

#[test]
fn nothing_is_said_before_everything_is_listed_or_refused() {
    let none = HashSet::<InstanceName>::new();
    let reason = |endpoints: &Endpoints| endpoints.choose("shop", &from(), &none).map(|choice| choice.adoption.reason);
    assert_eq!(reason(&Endpoints::off()), Some("Disabled"));
    let mut endpoints = Endpoints::on();
    assert_eq!(reason(&endpoints), None);
    take(&mut endpoints, EndpointNews::Slices(Followed::News(News::Listed(Vec::new()))));
    assert_eq!(reason(&endpoints), None, "the core Services are missing");
    let forbid = || EndpointNews::Services(Followed::Forbidden("no".to_owned()));
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    for seconds in [0, 1, 14] {
        assert_eq!(endpoints.take(forbid(), after(seconds)), Touched::Nobody);
    }
    assert_eq!(reason(&endpoints), None, "an API server that has just started refuses what it grants soon");
    assert_eq!(endpoints.take(forbid(), after(15)), Touched::Everyone);
    assert_eq!(endpoints.take(forbid(), after(16)), Touched::Nobody, "it is known");
    assert_eq!(reason(&endpoints), Some("Forbidden"));
    let listed = EndpointNews::Services(Followed::News(News::Listed(vec![web()])));
    assert_eq!(endpoints.take(listed, after(17)), Touched::Everyone);
    assert_eq!(reason(&endpoints), Some("NoEndpoints"));
    assert_eq!(endpoints.take(forbid(), after(60)), Touched::Nobody);
    assert_eq!(reason(&endpoints), Some("NoEndpoints"), "what was listed stands");
}

#[test]
fn since_when_an_endpoint_is_so_survives_what_changes_others() {
    let http = json!({ "name": "http", "port": 8080 });
    let at = |second: u64| format!("1970-01-01T00:00:{second:02}Z");
    let pods = |b: bool| {
        json!([
            { "addresses": ["10.0.0.1"], "targetRef": { "kind": "Pod", "name": "a" } },
            { "addresses": ["10.0.0.2"], "targetRef": { "kind": "Pod", "name": "b" }, "conditions": { "ready": b } },
        ])
    };
    let mut endpoints = listed(vec![slice("s", 1, &at(1), &http, &pods(true))]);
    let of = |url: &str, name: &str, usable, since| (name.to_owned(), url.to_owned(), usable, since);
    let (a, b) = ("http://10.0.0.1:8080", "http://10.0.0.2:8080");
    assert_eq!(chosen(&endpoints), [of(a, "a", true, 1), of(b, "b", true, 1)]);
    assert_eq!(
        put(&mut endpoints, slice("s", 2, &at(5), &http, &pods(false))),
        Touched::Service(("shop".into(), "web".into()))
    );
    assert_eq!(chosen(&endpoints), [of(a, "a", true, 1), of(b, "b", false, 5)]);
    assert_eq!(put(&mut endpoints, slice("s", 2, &at(9), &http, &pods(true))), Touched::Nobody, "it is not news");
    take(
        &mut endpoints,
        EndpointNews::Slices(Followed::News(News::Listed(vec![slice("s", 3, &at(9), &http, &pods(false))]))),
    );
    assert_eq!(chosen(&endpoints), [of(a, "a", true, 1), of(b, "b", false, 5)], "a list is no change");
}

#[test]
fn the_same_pod_in_two_slices_counts_once_and_names_stay_apart() {
    let port = |number: u16| json!({ "name": "http", "port": number });
    let of =
        |address: &str, name: &str| json!([{ "addresses": [address], "targetRef": { "kind": "Pod", "name": name } }]);
    let unnamed =
        json!([{ "addresses": ["10.0.0.9"] }, { "addresses": ["10.0.0.8"], "conditions": { "ready": false } }]);
    let endpoints = listed(vec![
        slice("s1", 1, "1970-01-01T00:00:01Z", &port(1), &of("10.0.0.1", "a")),
        slice("s2", 2, "1970-01-01T00:00:01Z", &port(2), &of("fd00::1", "a")),
        slice("s3", 3, "1970-01-01T00:00:01Z", &port(3), &unnamed),
    ]);
    let names = |written: &[&str]| {
        let written: HashSet<InstanceName> = written.iter().map(|name| name.parse().expect("a name")).collect();
        let choice = endpoints.choose("shop", &from(), &written).expect("everything is listed");
        assert_eq!(choice.revision, 3);
        choice.picks.into_iter().map(|pick| (pick.name.to_string(), pick.url)).collect::<Vec<_>>()
    };
    let plain = names(&[]);
    assert_eq!(plain.len(), 3);
    assert_eq!(plain[2], ("a".to_owned(), "http://10.0.0.1:1".to_owned()));
    assert!(plain[0].0.starts_with("10-0-0-8-") && plain[1].0.starts_with("10-0-0-9-"), "{plain:?}");
    let beside = names(&["a"]);
    assert!(beside[2].0.starts_with("a-10-0-0-1-") && beside[2].1 == "http://10.0.0.1:1", "{beside:?}");
}
