//! The address policy: every range, in every spelling.

use portolan::model::ports::AddressGate as _;
use portolan::model::url::EndpointUrl;
use portolan::prober::OwnListener;
use portolan::prober::{AddressPolicy, Rule, budget_key};
use proptest::prelude::*;

const PORT: u16 = 8080;

fn hosted(spelling: &str) -> EndpointUrl {
    EndpointUrl::base(&format!("http://{spelling}:{PORT}/")).unwrap_or_else(|e| panic!("{spelling}: {e}"))
}

fn served() -> AddressPolicy {
    AddressPolicy::default()
}

fn embedded() -> AddressPolicy {
    AddressPolicy { allow_loopback: true, ..AddressPolicy::default() }
}

fn nets(text: &[&str]) -> Vec<ipnet::IpNet> {
    text.iter().map(|net| net.parse().expect("a network")).collect()
}

/// Denied whatever the settings.
const NEVER: &[&str] = &[
    // this network, unspecified
    "0.0.0.0",
    "0.1.2.3",
    "0.255.255.255",
    "0",
    "[::]",
    "[::ffff:0.0.0.0]",
    "[::0.0.0.2]",
    // link-local, with the metadata address in every spelling
    "169.254.0.1",
    "169.254.169.254",
    "169.254.255.255",
    "2852039166",
    "0xa9fea9fe",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "025177524776",
    "169.254.43518",
    "169.16689662",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[::169.254.169.254]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    // local-use NAT64, at every place of RFC 6052
    "[64:ff9b:1::a9fe:a9fe]",
    "[64:ff9b:1:a9fe:a9:fe00::]",
    "[64:ff9b:1:a9:fe:a9fe::]",
    "[64:ff9b:1:0:a9:fea9:fe00:0]",
    "[64:ff9b:1:a9fe:a9:fe00:808:808]",
    "[2002:a9fe:a9fe::]",
    "[2002:a9fe:a9fe:1::5]",
    // Teredo carries the inverted address
    "[2001:0:4136:e378:8000:63bf:5601:5601]",
    // and its server's as it is
    "[2001:0:a9fe:a9fe:8000:63bf:f5ff:fffa]",
    // IPv4-translated
    "[::ffff:0:169.254.169.254]",
    "[::ffff:0:a9fe:a9fe]",
    "[::ffff:0:0:0]",
    // ISATAP, under any prefix
    "[2001:db8::5efe:169.254.169.254]",
    "[2001:db8:1:2:200:5efe:a9fe:a9fe]",
    "[fd00:1::100:5efe:a9fe:a9fe]",
    "[fe80::5efe:10.0.0.5]",
    "[2002:a00:5::5efe:a9fe:a9fe]",
    "[2002:a9fe:a9fe::5efe:a00:5]",
    "[fe80::1]",
    "[febf:ffff::1]",
    "[fec0::1]",
    "[feff::1]",
    // cloud metadata
    "168.63.129.16",
    "[::ffff:168.63.129.16]",
    "192.0.0.192",
    "100.100.100.200",
    "[64:ff9b::100.100.100.200]",
    "[fd00:ec2::254]",
    "[fd00:ec2:1::1]",
    "[fd20:ce::254]",
    "[fd00:c1::a9fe:a9fe]",
    "[fd00:42::42]",
    "[fd00:a9fe:a9fe::1]",
    "[fd00:100::100:200]",
    // multicast and broadcast
    "224.0.0.1",
    "239.255.255.255",
    "[ff02::1]",
    "[ff0e::1]",
    "[::ffff:224.0.0.1]",
    "255.255.255.255",
    "[::ffff:255.255.255.255]",
    "[2002:ffff:ffff::]",
];

/// Denied while the server serves other machines.
const LOOPBACK: &[&str] = &[
    "127.0.0.1",
    "127.255.255.254",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[2001:0:7f00:1:8000:63bf:f5ff:fffa]",
    "[::ffff:0:127.0.0.1]",
    "[2001:db8::5efe:127.0.0.1]",
    "[2001:db8::200:5efe:7f00:1]",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "a.b.localhost",
];

/// Allowed by default: where services live.
const ALLOWED: &[&str] = &[
    "10.0.0.5",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "192.0.0.193",
    "168.63.129.17",
    "8.8.8.8",
    "1.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "223.255.255.255",
    "[fd00:1::5]",
    "[fc00::1]",
    "[fd20:ce::255]",
    "[fd00:42::43]",
    "[fd00:a9fe:a9fe::2]",
    "[2001:db8::1]",
    "[2606:4700::1111]",
    "[64:ff9b::10.0.0.5]",
    "[64:ff9b:1::10.0.0.5]",
    "[64:ff9b:1:c0a8:1:100::]",
    "[::ffff:10.0.0.5]",
    "[2002:a00:5::1]",
    "[2001:0:4136:e378:8000:63bf:f5ff:fffa]",
    "[::ffff:0:10.0.0.5]",
    "[2001:db8::5efe:10.0.0.5]",
    "[2001:db8::5eff:a9fe:a9fe]",
    "[2001:db8::400:5efe:a9fe:a9fe]",
    "db.corp",
    "localhost.corp",
];

#[test]
fn hard_rules_hold_whatever_is_allowed() {
    let open = AddressPolicy { allow: nets(&["0.0.0.0/0", "::/0"]), ..embedded() };
    for spelling in NEVER {
        for policy in [&served(), &embedded(), &open] {
            let refusal = policy.admit(&hosted(spelling)).expect_err(spelling);
            assert!(refusal.contains("no setting allows it"), "{spelling}: {refusal}");
        }
    }
}

#[test]
fn loopback_is_for_a_server_on_loopback() {
    for spelling in LOOPBACK {
        let refusal = served().admit(&hosted(spelling)).expect_err(spelling);
        assert!(refusal.contains("PORTOLAN_PROBE_ALLOW") && refusal.contains("loopback"), "{spelling}: {refusal}");
        assert_eq!(embedded().admit(&hosted(spelling)), Ok(()), "{spelling}");
        let listed = AddressPolicy { allow: nets(&["127.0.0.0/8", "::1/128"]), ..served() };
        assert_eq!(listed.admit(&hosted(spelling)), Ok(()), "{spelling}");
    }
}

#[test]
fn services_are_reached_by_default() {
    for spelling in ALLOWED {
        assert_eq!(served().admit(&hosted(spelling)), Ok(()), "{spelling}");
    }
}

#[test]
fn deny_beats_allow_in_every_spelling() {
    let policy = AddressPolicy { deny: nets(&["10.0.0.0/8"]), allow: nets(&["10.0.0.5/32"]), ..embedded() };
    for spelling in [
        "10.0.0.5",
        "167772165",
        "[::ffff:10.0.0.5]",
        "[::10.0.0.5]",
        "[64:ff9b::a00:5]",
        "[2002:a00:5::]",
        "[64:ff9b:1::a00:5]",
    ] {
        let refusal = policy.admit(&hosted(spelling)).expect_err(spelling);
        assert!(refusal.contains("10.0.0.0/8 of PORTOLAN_PROBE_DENY"), "{spelling}: {refusal}");
    }
    assert_eq!(policy.admit(&hosted("11.0.0.5")), Ok(()));
    let by_mapped = AddressPolicy { deny: nets(&["::ffff:10.0.0.0/104", "64:ff9b::/96"]), ..embedded() };
    assert!(by_mapped.admit(&hosted("10.1.2.3")).is_err());
    assert!(by_mapped.admit(&hosted("[64:ff9b::8.8.8.8]")).is_err(), "the IPv6 address itself counts too");
    assert_eq!(by_mapped.admit(&hosted("11.1.2.3")), Ok(()));
    let loopback = AddressPolicy { deny: nets(&["127.0.0.0/8"]), ..embedded() };
    assert!(loopback.admit(&hosted("localhost")).is_err());
}

#[test]
fn allowing_an_ipv6_range_does_not_open_what_it_carries() {
    let policy = AddressPolicy { allow: nets(&["2002::/16", "64:ff9b::/96"]), ..served() };
    assert!(policy.admit(&hosted("[2002:7f00:1::]")).is_err());
    assert!(policy.admit(&hosted("[64:ff9b::127.0.0.1]")).is_err());
}

#[test]
fn a_clusters_own_ports_and_networks_are_denied_unless_allowed() {
    let cluster =
        AddressPolicy { denied_ports: vec![10250, 10255], denied_by_default: nets(&["10.96.0.1/32"]), ..served() };
    let url = |text: &str| EndpointUrl::base(text).expect(text);
    for text in ["http://10.0.0.7:10250/", "https://10.0.0.7:10255/", "tcp://node.corp:10250", "http://10.96.0.1/"] {
        let refusal = cluster.admit(&url(text)).expect_err(text);
        assert!(refusal.contains("PORTOLAN_PROBE_ALLOW"), "{refusal}");
    }
    assert_eq!(cluster.admit(&url("http://10.0.0.7:10251/")), Ok(()));
    let ours: std::net::IpAddr = "10.0.0.9".parse().expect("an address");
    let here = cluster.clone();
    assert_eq!(here.check(ours, 80), Ok(()));
    cluster.denied_for_now.store(std::sync::Arc::new(vec![ours]));
    let denied =
        here.check("::ffff:10.0.0.9".parse().expect("an address"), 80).expect_err("a replica, and clones share it");
    assert!(denied.to_string().contains("add 10.0.0.9/32 to PORTOLAN_PROBE_ALLOW"), "{denied}");
    cluster.denied_for_now.store(std::sync::Arc::default());
    assert_eq!(here.check(ours, 80), Ok(()), "gone again");
    let allowing = AddressPolicy { allow: nets(&["10.0.0.7/32", "10.96.0.1/32"]), ..cluster };
    for text in ["http://10.0.0.7:10250/", "http://10.96.0.1/", "tcp://node.corp:10250"] {
        assert_eq!(allowing.admit(&url(text)), Ok(()), "{text}: a name is judged once its address is known");
    }
    assert!(allowing.admit(&url("http://10.0.0.8:10250/")).is_err());
}

#[test]
fn a_refusal_names_the_address_the_rule_and_the_way_out() {
    let address = "64:ff9b::7f00:1".parse().expect("an address");
    let denied = served().check(address, PORT).expect_err("loopback");
    assert_eq!(denied.rule, Rule::Loopback);
    let text = denied.to_string();
    for part in ["64:ff9b::7f00:1 stands for 127.0.0.1", "loopback", "127.0.0.1/32 to PORTOLAN_PROBE_ALLOW"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn spellings_of_one_address_share_one_budget() {
    let plain: std::net::IpAddr = "10.0.0.5".parse().expect("an address");
    for spelling in [
        "10.0.0.5",
        "::ffff:10.0.0.5",
        "::10.0.0.5",
        "64:ff9b::a00:5",
        "2002:a00:5::1",
        "::ffff:0:10.0.0.5",
        "2001:db8::5efe:10.0.0.5",
    ] {
        assert_eq!(budget_key(spelling.parse().expect(spelling)), plain, "{spelling}");
    }
    let six: std::net::IpAddr = "2001:db8::1".parse().expect("an address");
    assert_eq!(budget_key(six), six);
}

/// Every IPv6 address that carries `ip`, by the standards; what they leave open is taken from `rest`.
fn spellings(ip: std::net::Ipv4Addr, rest: u128) -> Vec<(&'static str, u128)> {
    let four = u128::from(ip.to_bits());
    let low = |bits: u32| rest & ((1 << bits) - 1);
    let nat64 = 0x0064_ff9b_0001_u128 << 80;
    let isatap = |kind: u128| (rest >> 64) << 64 | kind << 48 | 0x5efe << 32 | four;
    vec![
        ("mapped", 0xffff << 32 | four),
        ("translated", 0xffff << 48 | four),
        ("NAT64", 0x0064_ff9b << 96 | four),
        ("local NAT64 /48", nat64 | (four >> 16) << 64 | (four & 0xffff) << 40 | low(40)),
        (
            "local NAT64 /56",
            nat64 | (rest >> 72 & 0xff) << 72 | (four >> 24) << 64 | (four & 0xff_ffff) << 32 | low(32),
        ),
        ("local NAT64 /64", nat64 | (rest >> 64 & 0xffff) << 64 | four << 24 | low(24)),
        ("local NAT64 /96", nat64 | (rest >> 32 & 0xffff_ffff_ffff) << 32 | four),
        ("6to4", 0x2002 << 112 | four << 80 | low(80)),
        ("Teredo client", 0x2001 << 112 | (rest >> 32 & 0xffff_ffff_ffff_ffff) << 32 | (four ^ 0xffff_ffff)),
        ("Teredo server", 0x2001 << 112 | four << 64 | low(64)),
        ("ISATAP", isatap(0)),
        ("ISATAP, global", isatap(0x0200)),
    ]
}

proptest! {
    #[test]
    fn what_is_denied_is_denied_in_every_spelling_that_carries_it(bits in any::<u32>(), hostile in any::<bool>(), rest in any::<u128>(), deny in any::<bool>()) {
        // Half of them are of a range that is denied whatever the settings.
        let ip = std::net::Ipv4Addr::from_bits(if hostile { 0xa9fe_0000 | bits & 0xffff } else { bits });
        let deny = if deny { vec![ipnet::IpNet::from(std::net::IpAddr::from(ip))] } else { Vec::new() };
        let policy = AddressPolicy { deny, ..served() };
        let plain = policy.check(ip.into(), PORT);
        prop_assert!(!hostile || plain.is_err());
        // In a NAT64 prefix whose part begins with 0, an empty part looks the same.
        let empty = ip.octets()[0] == 0;
        for (name, bits) in spellings(ip, rest).into_iter().filter(|(name, _)| !(empty && name.starts_with("local NAT64"))) {
            let spelling = std::net::Ipv6Addr::from_bits(bits);
            if plain.is_err() {
                prop_assert!(policy.check(spelling.into(), PORT).is_err(), "{name} {spelling} carries {ip}");
            }
        }
        let compatible = std::net::Ipv6Addr::from_bits(u128::from(ip.to_bits()));
        if plain.is_err() && !compatible.is_loopback() {
            prop_assert!(policy.check(compatible.into(), PORT).is_err());
        }
    }
}

#[test]
fn a_server_does_not_probe_itself() {
    let at = |address: &str| OwnListener::at(address.parse().expect("an address"));
    let open = nets(&["0.0.0.0/0", "::/0"]);
    let url = |text: &str| EndpointUrl::base(text).expect(text);
    let one = AddressPolicy { own: vec![at("127.0.0.1:8080")], allow: open.clone(), ..embedded() };
    for text in [
        "http://127.0.0.1:8080/metrics",
        "http://localhost:8080/metrics",
        "http://a.localhost:8080/",
        "http://[::ffff:127.0.0.1]:8080/",
        "http://[::ffff:0:127.0.0.1]:8080/",
        "http://[64:ff9b::7f00:1]:8080/",
        "http://2130706433:8080/",
        "tcp://127.0.0.1:8080",
    ] {
        let refusal = one.admit(&url(text)).expect_err(text);
        assert!(refusal.contains("port 8080 there is this server's own"), "{text}: {refusal}");
    }
    for text in ["http://127.0.0.1:8081/", "http://127.0.0.2:8080/", "http://10.0.0.5:8080/", "http://name.corp:8080/"]
    {
        assert_eq!(one.admit(&url(text)), Ok(()), "{text}");
    }
    let all = AddressPolicy { own: vec![at("[::]:8080")], allow: open, ..embedded() };
    for text in ["http://127.0.0.1:8080/", "http://127.9.9.9:8080/", "http://[::1]:8080/", "http://localhost:8080/"] {
        assert!(all.admit(&url(text)).is_err(), "{text}");
    }
    assert_eq!(all.admit(&url("http://192.0.2.1:8080/")), Ok(()), "another machine's");
    let six = AddressPolicy { own: vec![at("[::1]:8080")], ..embedded() };
    assert!(six.admit(&url("http://localhost:8080/")).is_err(), "the name has both addresses");
    let two = AddressPolicy { own: vec![at("[::1]:8080"), at("127.0.0.1:9464")], ..embedded() };
    for (text, admitted) in [
        ("http://127.0.0.1:9464/metrics", false),
        ("http://localhost:9464/metrics", false),
        ("http://[::1]:8080/", false),
        ("http://[::1]:9464/", true),
        ("http://127.0.0.1:8080/", true),
    ] {
        assert_eq!(two.admit(&url(text)).is_ok(), admitted, "{text}");
    }
}
