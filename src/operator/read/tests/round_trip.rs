//! What the registrar writes is read back.

use proptest::prelude::*;

use super::*;
use crate::model::certificates::ObjectKind;
use crate::model::check::{CaFrom, GrpcCheck, HeartbeatCheck, HttpCheck, Identity, NamedCheck, TlsCheck};
use crate::model::ports::Registration;
use crate::model::time::UnixMs;
use crate::operator::registrar::object;

fn text(max: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>().prop_filter("plain", |c| !text::is_hostile(*c)), 0..max)
        .prop_map(|chars| chars.into_iter().collect())
}

fn tls() -> impl Strategy<Value = TlsCheck> {
    let file = || proptest::option::of("[a-z]{1,9}");
    let kind = any::<bool>().prop_map(|secret| if secret { ObjectKind::Secret } else { ObjectKind::ConfigMap });
    let from = (kind, "[a-z]{1,9}", "[a-zA-Z._-]{1,9}").prop_map(|(kind, name, key)| CaFrom { kind, name, key });
    let from = proptest::option::of(from.prop_map(Box::new));
    let names = (any::<bool>(), proptest::option::of("[a-z.]{1,9}"));
    (names, file(), from, file(), file()).prop_map(|((verify, server_name), ca, from, client_cert, secret)| TlsCheck {
        verify,
        server_name,
        ca_from: from.filter(|_| ca.is_none()),
        ca,
        client_cert_from: secret.filter(|_| client_cert.is_none()).map(String::into_boxed_str),
        client_cert,
        namespace: None,
    })
}

fn kind() -> impl Strategy<Value = Option<CheckKind>> {
    let pointer = || "(/[a-z0-9]{1,5}){1,3}";
    let json = proptest::collection::btree_map(pointer(), "[a-zä]{1,9}|[$]version", 0..3);
    let header = proptest::collection::btree_map("x-[a-z]{1,5}", "[ -#%-~]{1,9}|[$]service", 0..3);
    let identity = (json, header, proptest::option::of("[a-z.]{1,9}")).prop_map(|(json, header, tls_san)| Identity {
        json,
        header,
        tls_san,
    });
    let path = proptest::option::of("/[a-z?=]{0,9}");
    let statuses = proptest::collection::vec(100u16..600, 0..4);
    let http = (path, statuses, tls(), identity, proptest::option::of(pointer())).prop_map(
        |(path, expected_statuses, tls, identity, version_from)| HttpCheck {
            path,
            expected_statuses,
            tls,
            identity,
            version_from,
            ..HttpCheck::default()
        },
    );
    prop_oneof![
        Just(None),
        Just(Some(CheckKind::Tcp)),
        Just(Some(CheckKind::None)),
        (1u32..=86_400).prop_map(|ttl_seconds| Some(CheckKind::Heartbeat(HeartbeatCheck { ttl_seconds }))),
        http.prop_map(|http| Some(CheckKind::Http(http))),
        (text(9), tls()).prop_map(|(service, tls)| Some(CheckKind::Grpc(GrpcCheck { service, tls }))),
    ]
}

fn check() -> impl Strategy<Value = Check> {
    let seconds = || proptest::option::of(1u32..=10);
    (kind(), seconds(), seconds(), seconds(), seconds(), seconds()).prop_map(|(kind, a, b, c, d, e)| Check {
        kind,
        timing: CheckTiming {
            interval_seconds: a,
            timeout_seconds: b,
            retry_interval_seconds: c,
            unhealthy_threshold: d,
            healthy_threshold: e,
        },
    })
}

/// In order of name, some of them with one heartbeat too many.
fn checks() -> impl Strategy<Value = Vec<NamedCheck>> {
    let url = proptest::option::of("tcp://[a-z]{1,5}:9");
    proptest::collection::btree_map("[a-c]{1,3}", (any::<bool>(), url, check()), 0..4).prop_map(|checks| {
        let named = |(name, (advisory, url, check)): (String, (bool, Option<String>, Check))| NamedCheck {
            name: name.parse().expect("a label"),
            advisory,
            url: url.map(|url| EndpointUrl::health(&url).expect("a URL")),
            check,
        };
        checks.into_iter().map(named).collect()
    })
}

fn drain() -> impl Strategy<Value = Option<Drain>> {
    let moment = 0..4_000_000_000_000_i64;
    let drain = (text(9), text(9), moment.clone(), proptest::option::of(moment));
    let drain = drain.prop_filter("it has a reason", |(reason, ..)| !reason.is_empty());
    proptest::option::of(drain.prop_map(|(reason, by, since, until)| Drain {
        reason,
        by,
        since: UnixMs(since),
        until: until.map(UnixMs),
    }))
}

fn spec() -> impl Strategy<Value = InstanceSpec> {
    let extras = (
        checks(),
        proptest::collection::btree_set(text(9).prop_filter("not empty", |t| !t.is_empty()), 0..4),
        proptest::option::of("[A-Za-z:_.]{1,20}"),
        proptest::option::of(60u32..=31_536_000),
    );
    (plain(), extras).prop_map(|(spec, (checks, tags, external_id, deregister_after_seconds))| InstanceSpec {
        checks,
        tags: tags.into_iter().rev().collect(),
        external_id,
        deregister_after_seconds,
        ..spec
    })
}

fn plain() -> impl Strategy<Value = InstanceSpec> {
    let metadata = proptest::collection::btree_map("[a-z]{1,9}", text(20), 0..5);
    let url = |path: bool| {
        let path = if path { "/[a-z]{0,5}" } else { "/?" };
        (prop_oneof![Just("http"), Just("https")], "[a-z]{1,9}", 1u16.., path)
            .prop_map(|(scheme, host, port, path)| format!("{scheme}://{host}:{port}{path}"))
    };
    (url(false), proptest::option::of(url(true)), check(), [text(20), text(40), text(9)], metadata, 0u16..=1000)
        .prop_map(|(base, health, check, [version, description, zone], metadata, weight)| InstanceSpec {
            health_url: health.map(|url| EndpointUrl::health(&url).expect("a URL")),
            check,
            version,
            description,
            metadata,
            weight,
            zone,
            ..InstanceSpec::at(EndpointUrl::base(&base).expect("a URL"))
        })
}

proptest! {
    #[test]
    fn a_registration_comes_back_from_the_api_as_it_went(
        spec in spec(), owner in proptest::option::of((text(9), text(9))), generation in 0..=u64::MAX / 2, drain in drain(),
    ) {
        let owner = owner.map_or(Owner::Anonymous, |(issuer, subject)| Owner::Token { issuer: issuer.into(), subject: subject.into() });
        let fits = spec.accept_checks().is_ok();
        let registration = Registration {
            namespace: "shop".parse().expect("a label"), service: "a".parse().expect("a label"),
            instance: "i-1".parse().expect("a label"), derived: false, spec,
        };
        let entry = object::entry(&registration.instance, &registration.spec, &owner, generation, drain.as_ref());
        let mut object = object::resource(&registration.key(), None, vec![entry]);
        object.metadata.uid = Some("01900000-0000-7000-8000-000000000001".to_owned());
        object.metadata.resource_version = Some("1".to_owned());
        let stored = serde_json::to_string(&object).expect("JSON");
        let parsed = parse(&serde_json::from_str(&stored).expect("an object"), &NoTens);
        prop_assert_eq!(parsed.mirrored.is_some(), fits, "{:?}", parsed.problems);
        if let Some(mirrored) = parsed.mirrored {
            prop_assert_eq!(mirrored.key, registration.key());
            prop_assert_eq!(mirrored.source, Source::Rest);
            let [instance] = &mirrored.instances[..] else { return Err(TestCaseError::fail("one instance")) };
            prop_assert_eq!(&*instance.spec, &registration.spec);
            prop_assert_eq!((&instance.owner, instance.generation), (&owner, Some(generation)));
            prop_assert_eq!(instance.drain.as_deref(), drain.as_ref());
        }
    }
}
