//! Which endpoints are chosen.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use crate::model::name::{InstanceName, Namespace};
use crate::operator::crd::{FromSpec, PortRef};
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
    web_with("u", &json!([{ "name": "http", "port": 80 }]))
}

fn web_with(uid: &str, ports: &Value) -> CoreService {
    let object: Service = serde_json::from_value(json!({
        "metadata": { "name": "web", "namespace": "shop", "uid": uid }, "spec": { "ports": ports },
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
    let mut endpoints = Endpoints::on(&[None]);
    take(&mut endpoints, EndpointNews::Slices(Followed::News(News::Listed(None, slices))));
    take(&mut endpoints, EndpointNews::Services(Followed::News(News::Listed(None, vec![web()]))));
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
    let mut endpoints = Endpoints::on(&[None]);
    assert_eq!(reason(&endpoints), None);
    take(&mut endpoints, EndpointNews::Slices(Followed::News(News::Listed(None, Vec::new()))));
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
    let listed = EndpointNews::Services(Followed::News(News::Listed(None, vec![web()])));
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
        EndpointNews::Slices(Followed::News(News::Listed(None, vec![slice("s", 3, &at(9), &http, &pods(false))]))),
    );
    assert_eq!(chosen(&endpoints), [of(a, "a", true, 1), of(b, "b", false, 5)], "a list is not a change");
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

/// The URLs of what is chosen, and the reason.
fn urls(endpoints: &Endpoints, from: &FromSpec) -> (Vec<String>, &'static str) {
    let choice = endpoints.choose("shop", from, &HashSet::new()).expect("everything is listed");
    (choice.picks.into_iter().map(|pick| pick.url).collect(), choice.adoption.reason)
}

fn service(news: News<CoreService>) -> EndpointNews {
    EndpointNews::Services(Followed::News(news))
}

#[test]
fn a_port_with_another_name_keeps_its_endpoints_until_the_service_and_its_slices_agree() {
    let (old, new) = (json!({ "name": "http", "port": 8080 }), json!({ "name": "http-api", "port": 8080 }));
    let pods = |ready: bool| {
        let target = json!({ "kind": "Pod", "name": "a" });
        json!([{ "addresses": ["10.0.0.1"], "targetRef": target, "conditions": { "ready": ready } }])
    };
    let by = |port: Option<PortRef>| FromSpec { service: "web".to_owned(), port, scheme: None };
    let kept = || (vec!["http://10.0.0.1:8080".to_owned()], "Adopted");
    let renamed = || service(News::Put(Box::new(web_with("u", &json!([{ "name": "http-api", "port": 80 }])))));
    let at = "1970-01-01T00:00:01Z";
    let start = Instant::now();
    for from in [by(None), by(Some(PortRef::Number(80)))] {
        for service_first in [true, false] {
            let mut endpoints = listed(vec![slice("s", 1, at, &old, &pods(true))]);
            let slice_news =
                EndpointNews::Slices(Followed::News(News::Put(Box::new(slice("s", 2, at, &new, &pods(true))))));
            let [first, second] = if service_first { [renamed(), slice_news] } else { [slice_news, renamed()] };
            endpoints.take(first, start);
            assert_eq!(urls(&endpoints, &from), kept(), "{from:?} {service_first}");
            endpoints.take(second, start);
            assert_eq!(urls(&endpoints, &from), kept(), "{from:?} {service_first}");
            assert_eq!(endpoints.expire(start + Duration::from_secs(10)), [("shop".to_owned(), "web".to_owned())]);
            assert_eq!(urls(&endpoints, &from), kept(), "both agree");
        }
    }
    // Meanwhile the endpoints are the present ones.
    let mut endpoints = listed(vec![slice("s", 1, at, &old, &pods(true))]);
    endpoints.take(renamed(), start);
    put(&mut endpoints, slice("s", 2, at, &old, &pods(false)));
    assert_eq!(chosen(&endpoints), [("a".to_owned(), "http://10.0.0.1:8080".to_owned(), false, 1)]);
    // If they never agree, it has an end.
    let named = by(Some(PortRef::Name("http".to_owned())));
    assert_eq!(urls(&endpoints, &named), kept(), "the object may change next");
    assert!(endpoints.expire(start + Duration::from_secs(9)).is_empty());
    assert_eq!(endpoints.expire(start + Duration::from_secs(10)).len(), 1);
    assert_eq!(urls(&endpoints, &by(None)), (vec![], "NoUsableEndpoints"));
    assert_eq!(urls(&endpoints, &named), (vec![], "PortNotFound"));
    // A port that is added to the others changes nothing, so nothing of it is kept.
    let both = json!([{ "name": "http", "port": 80 }, { "name": "admin", "port": 81 }]);
    let mut endpoints = listed(vec![slice("s", 1, at, &old, &pods(true))]);
    endpoints.take(service(News::Put(Box::new(web_with("u", &both)))), start);
    assert_eq!(urls(&endpoints, &by(None)), (vec![], "PortNotFound"));
    assert!(endpoints.expire(start + Duration::from_mins(1)).is_empty());
}

#[test]
fn a_core_service_that_is_created_again_at_once_keeps_its_endpoints() {
    let http = json!({ "name": "http", "port": 8080 });
    let pods =
        |last: u8| json!([{ "addresses": [format!("10.0.0.{last}")], "targetRef": { "kind": "Pod", "name": "a" } }]);
    let of = |name: &str, last: u8| slice(name, 1, "1970-01-01T00:00:01Z", &http, &pods(last));
    let removed = |slice: Slice| EndpointNews::Slices(Followed::News(News::Removed(Box::new(slice))));
    let again = || service(News::Put(Box::new(web_with("v", &json!([{ "name": "http", "port": 80 }])))));
    let url = |last: u8| (vec![format!("http://10.0.0.{last}:8080")], "Adopted");
    let start = Instant::now();
    let mut endpoints = listed(vec![of("old", 1)]);
    endpoints.take(service(News::Removed(Box::new(web()))), start);
    assert_eq!(urls(&endpoints, &from()), url(1));
    endpoints.take(removed(of("old", 1)), start);
    assert_eq!(urls(&endpoints, &from()), url(1), "its slice goes with it");
    endpoints.take(again(), start);
    assert_eq!(urls(&endpoints, &from()), url(1), "the controller has not written a slice yet");
    put(&mut endpoints, of("new", 2));
    assert_eq!(urls(&endpoints, &from()), url(2), "the new slice counts alone");
    endpoints.take(removed(of("new", 2)), start);
    assert_eq!(urls(&endpoints, &from()), (vec![], "NoEndpoints"), "and nothing is kept of it");

    let mut endpoints = listed(vec![of("old", 1)]);
    endpoints.take(service(News::Removed(Box::new(web()))), start);
    endpoints.take(removed(of("old", 1)), start);
    assert_eq!(endpoints.expire(start + Duration::from_secs(5)).len(), 1);
    assert_eq!(urls(&endpoints, &from()), (vec![], "ServiceNotFound"), "it did not come back");
    // A slice that goes alone, as at a scale to zero, is gone at once.
    let mut endpoints = listed(vec![of("old", 1)]);
    endpoints.take(removed(of("old", 1)), start);
    assert_eq!(urls(&endpoints, &from()), (vec![], "NoEndpoints"));
}

#[test]
fn each_namespace_is_listed_on_its_own() {
    let scope = |name: &str| -> Option<Namespace> { Some(name.parse().expect("a name")) };
    let mut endpoints = Endpoints::on(&[scope("shop"), scope("bank")]);
    let reason =
        |endpoints: &Endpoints| endpoints.choose("shop", &from(), &HashSet::new()).map(|of| of.adoption.reason);
    let http = json!({ "name": "http", "port": 8080 });
    let pods = json!([{ "addresses": ["10.0.0.1"], "targetRef": { "kind": "Pod", "name": "a" } }]);
    let shop = slice("s", 1, "1970-01-01T00:00:01Z", &http, &pods);
    let slices = |scope, all| EndpointNews::Slices(Followed::News(News::Listed(scope, all)));
    take(&mut endpoints, slices(scope("shop"), vec![shop]));
    take(&mut endpoints, service(News::Listed(scope("shop"), vec![web()])));
    take(&mut endpoints, slices(scope("bank"), Vec::new()));
    assert_eq!(reason(&endpoints), None, "the core Services of one are missing");
    assert_eq!(take(&mut endpoints, service(News::Listed(scope("bank"), Vec::new()))), Touched::Everyone);
    assert_eq!(reason(&endpoints), Some("Adopted"), "what another has leaves this one's alone");
    take(&mut endpoints, slices(scope("shop"), Vec::new()));
    assert_eq!(reason(&endpoints), Some("NoEndpoints"));
}
