//! The address policy: where a probe may go, so that nobody can point the prober at what only this machine reaches.
//!
//! Order: hard deny, this server's own listeners, `PORTOLAN_PROBE_DENY`, `PORTOLAN_PROBE_ALLOW`, defaults. An IPv6 address with an
//! IPv4 one embedded is judged by the embedded address.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::OwnListener;
use crate::model::embedded::Embedded;
use crate::model::ports::AddressGate;
use crate::model::url::{EndpointUrl, Host};

/// Where probes may go.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    /// `PORTOLAN_PROBE_ALLOW`: lifts the defaults, never the hard rules or the deny list.
    pub allow: Vec<IpNet>,
    /// `PORTOLAN_PROBE_DENY`.
    pub deny: Vec<IpNet>,
    /// Whether loopback is allowed by default: while the server itself is bound to loopback.
    pub allow_loopback: bool,
    /// Ports denied by default: in a cluster 10250 and 10255, the kubelet's.
    pub denied_ports: Vec<u16>,
    /// Networks denied by default: in a cluster this pod and the API server.
    pub denied_by_default: Vec<IpNet>,
    /// Addresses denied by default that change: in a cluster our other pods. Few; clones share them.
    pub denied_for_now: Arc<ArcSwap<Vec<IpAddr>>>,
    /// Where this server listens: it never probes itself.
    pub own: Vec<OwnListener>,
}

/// Why an address is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Never probed, whatever the settings: what it is, and its range.
    Hard(&'static str, &'static str),
    /// One of this server's own listeners, whatever the settings: its port.
    Own(u16),
    /// Perhaps one of this server's own listeners: the system does not tell which addresses are local, for example for lack of descriptors. All other
    /// rules allow it.
    PerhapsOwn(u16),
    /// An entry of `PORTOLAN_PROBE_DENY`.
    DenyList(IpNet),
    /// Loopback, while the server serves other machines.
    Loopback,
    /// A network that is denied unless allowed.
    Default(IpNet),
    /// A port that is denied unless its address is allowed.
    Port(u16),
}

/// A denied address: its sentence names the address, the rule, and the setting that would allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct Denied {
    /// The address as it was given or resolved.
    pub address: IpAddr,
    /// The address that was judged: the IPv4 one embedded in `address`, else itself.
    pub judged: IpAddr,
    /// The rule.
    pub rule: Rule,
}

impl Denied {
    /// Whether the address may be allowed a moment later.
    pub(crate) fn is_for_now(&self) -> bool {
        matches!(self.rule, Rule::PerhapsOwn(_))
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.judged != self.address {
            write!(f, " stands for {}, which", self.judged)?;
        }
        let net = single(self.judged);
        match self.rule {
            Rule::Hard(what, range) => write!(f, " is {what} ({range}), which is never probed; no setting allows it"),
            Rule::Own(port) => write!(
                f,
                ": port {port} there is this server's own, which it never probes; no setting allows it; others can check it at /healthz"
            ),
            Rule::PerhapsOwn(port) => write!(
                f,
                ": whether port {port} there is this server's own cannot be found out now, because the system does not tell which addresses \
                 are local, for example for lack of file descriptors; try again"
            ),
            Rule::DenyList(net) => {
                write!(f, " is in {net} of PORTOLAN_PROBE_DENY; take that entry out to allow it")
            }
            Rule::Loopback => write!(
                f,
                " is loopback, which is probed only while the server is bound to loopback; add {net} to PORTOLAN_PROBE_ALLOW to allow it"
            ),
            Rule::Default(range) => {
                write!(
                    f,
                    " is in {range}, which is not probed by default; add {net} to PORTOLAN_PROBE_ALLOW to allow it"
                )
            }
            Rule::Port(port) => {
                write!(f, ": port {port} is not probed by default; add {net} to PORTOLAN_PROBE_ALLOW to allow it")
            }
        }
    }
}

/// IPv4 ranges that are never probed. Metadata addresses as documented by Azure, Oracle and Alibaba; the rest by the IANA special-purpose registry.
const HARD_V4: &[(Ipv4Addr, u8, &str, &str)] = &[
    (Ipv4Addr::UNSPECIFIED, 8, "this network", "0.0.0.0/8"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local", "169.254.0.0/16"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "cloud metadata", "168.63.129.16"),
    (Ipv4Addr::new(192, 0, 0, 192), 32, "cloud metadata", "192.0.0.192"),
    (Ipv4Addr::new(100, 100, 100, 200), 32, "cloud metadata", "100.100.100.200"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast", "224.0.0.0/4"),
    (Ipv4Addr::BROADCAST, 32, "broadcast", "255.255.255.255"),
];

/// IPv6 ranges that are never probed. Metadata addresses as documented by AWS, Google Cloud, Oracle, Scaleway, Akamai and Alibaba.
const HARD_V6: &[(Ipv6Addr, u8, &str, &str)] = &[
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local", "fe80::/10"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local", "fec0::/10"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast", "ff00::/8"),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32, "cloud metadata", "fd00:ec2::/32"),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, "cloud metadata", "fd20:ce::254"),
    (Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe), 128, "cloud metadata", "fd00:c1::a9fe:a9fe"),
    (Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128, "cloud metadata", "fd00:42::42"),
    (Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1), 128, "cloud metadata", "fd00:a9fe:a9fe::1"),
    (Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200), 128, "cloud metadata", "fd00:100::100:200"),
];

impl AddressPolicy {
    /// Judges an address and port.
    ///
    /// # Errors
    /// [`Denied`] naming the rule.
    pub fn check(&self, address: IpAddr, port: u16) -> Result<(), Denied> {
        let deny = |judged, rule| Err(Denied { address, judged, rule });
        if let Some(rule) = self.never(address) {
            return deny(address, rule);
        }
        let perhaps_own = match self.own_address(address, port) {
            Ok(Some(judged)) => return deny(judged, Rule::Own(port)),
            Ok(None) => false,
            Err(_) => true,
        };
        let embedded = Embedded::of(address);
        if let Some((judged, rule)) = embedded.iter().find_map(|ip| self.never(ip).map(|rule| (ip, rule))) {
            return deny(judged, rule);
        }
        match embedded.iter().find_map(|ip| self.by_default(ip, port).map(|rule| (ip, rule))) {
            Some((judged, rule)) => deny(judged, rule),
            None if perhaps_own => deny(address, Rule::PerhapsOwn(port)),
            None => Ok(()),
        }
    }

    /// The address of one of this server's listeners, where a connection would reach that.
    fn own_address(&self, address: IpAddr, port: u16) -> io::Result<Option<IpAddr>> {
        for own in self.own.iter().filter(|own| own.port() == port) {
            for ip in Embedded::of(address).iter().chain([address]) {
                if own.is_reached_by(ip)? {
                    return Ok(Some(ip));
                }
            }
        }
        Ok(None)
    }

    /// Hard rules and the deny list.
    fn never(&self, ip: IpAddr) -> Option<Rule> {
        hard(ip).or_else(|| self.deny.iter().find(|net| covers(net, ip)).map(|net| Rule::DenyList(*net)))
    }

    /// The defaults, unless the allow list lifts them.
    fn by_default(&self, ip: IpAddr, port: u16) -> Option<Rule> {
        if self.allow.iter().any(|net| covers(net, ip)) {
            return None;
        }
        if ip.is_loopback() && !self.allow_loopback {
            return Some(Rule::Loopback);
        }
        if let Some(net) = self.denied_by_default.iter().find(|net| covers(net, ip)) {
            return Some(Rule::Default(*net));
        }
        if self.denied_for_now.load().contains(&ip) {
            return Some(Rule::Default(single(ip)));
        }
        self.denied_ports.contains(&port).then_some(Rule::Port(port))
    }

    /// Judges a name before it is resolved, as far as that is possible.
    fn admit_name(&self, name: &str, port: u16) -> Result<(), String> {
        let name = name.trim_end_matches('.');
        if name == "localhost" || name.ends_with(".localhost") {
            let (four, six) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
            // Whether it has both addresses is known once it is resolved.
            let local = if matches!(self.own_address(six, port), Ok(Some(_))) { six } else { four };
            return self.check(local, port).map_err(|denied| format!("{name} means {denied}"));
        }
        if self.allow.is_empty() && self.denied_ports.contains(&port) {
            return Err(format!(
                "port {port} is not probed by default; add the address of {name} to PORTOLAN_PROBE_ALLOW to allow it"
            ));
        }
        Ok(())
    }
}

impl AddressGate for AddressPolicy {
    fn admit(&self, url: &EndpointUrl) -> Result<(), String> {
        match url.host() {
            Host::Ip(ip) => match self.check(*ip, url.port()) {
                Err(denied) if !denied.is_for_now() => Err(denied.to_string()),
                _ => Ok(()),
            },
            Host::Name(name) => self.admit_name(name, url.port()),
        }
    }

    fn undecided(&self, url: &EndpointUrl) -> Option<String> {
        let Host::Ip(ip) = url.host() else { return None };
        let denied = self.check(*ip, url.port()).err()?;
        denied.is_for_now().then(|| denied.to_string())
    }
}

fn hard(ip: IpAddr) -> Option<Rule> {
    let v4 = |&&(net, len, _, _): &&(Ipv4Addr, u8, &str, &str)| match ip {
        IpAddr::V4(ip) => Ipv4Net::new_assert(net, len).contains(&ip),
        IpAddr::V6(_) => false,
    };
    let v6 = |&&(net, len, _, _): &&(Ipv6Addr, u8, &str, &str)| match ip {
        IpAddr::V6(ip) => Ipv6Net::new_assert(net, len).contains(&ip),
        IpAddr::V4(_) => false,
    };
    let four = HARD_V4.iter().find(v4).map(|&(_, _, what, range)| Rule::Hard(what, range));
    four.or_else(|| HARD_V6.iter().find(v6).map(|&(_, _, what, range)| Rule::Hard(what, range)))
}

/// Whether the network contains the address; one of IPv4-mapped addresses contains the plain ones.
fn covers(net: &IpNet, ip: IpAddr) -> bool {
    match (net, ip) {
        (IpNet::V6(net), IpAddr::V4(ip)) if net.prefix_len() >= 96 => net.contains(&ip.to_ipv6_mapped()),
        _ => net.contains(&ip),
    }
}

fn single(ip: IpAddr) -> IpNet {
    IpNet::from(ip)
}

/// The address under which a budget is kept: all spellings of one IPv4 address share it.
pub fn budget_key(ip: IpAddr) -> IpAddr {
    Embedded::of(ip).first()
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::super::PublishPolicy;
    use super::*;
    use crate::model::ports::PublishGate as _;

    #[test]
    fn while_nothing_tells_which_addresses_are_local_the_own_port_is_denied_for_now() {
        let own = OwnListener::asking(([0, 0, 0, 0], 8080).into(), |_| Err(Errno::MFILE.into()));
        let policy = AddressPolicy { own: vec![own], allow_loopback: true, ..AddressPolicy::default() };
        let check = |ip: [u8; 4], port| policy.check(ip.into(), port).map_err(|denied| denied.rule);
        assert_eq!(check([10, 0, 0, 7], 8080), Err(Rule::PerhapsOwn(8080)));
        assert_eq!(check([10, 0, 0, 7], 8081), Ok(()));
        assert_eq!(check([127, 0, 0, 1], 8080), Err(Rule::Own(8080)));
        assert!(matches!(check([169, 254, 1, 1], 8080), Err(Rule::Hard(..))));
        let url = |text: &str| EndpointUrl::base(text).expect("a URL");
        let (ours, theirs) = (url("http://10.0.0.7:8080"), url("http://10.0.0.7:8081"));
        let undecided = policy.undecided(&ours).expect("undecided");
        assert!(undecided.ends_with("for example for lack of file descriptors; try again"), "{undecided}");
        assert_eq!((policy.admit(&ours), policy.undecided(&theirs)), (Ok(()), None), "its probes judge again");
        assert_eq!(policy.undecided(&url("http://127.0.0.1:8080")), None);
        assert_eq!(PublishPolicy::new(&policy, Vec::new()).publishable([10, 0, 0, 7].into(), 8080), Ok(()));
    }
}
