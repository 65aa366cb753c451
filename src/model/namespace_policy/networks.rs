//! Which addresses the policies of a namespace admit.
//!
//! An IPv6 address with an IPv4 one embedded is judged by the embedded address, as by the prober's own rules.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use super::PolicyInForce;
use crate::model::embedded::Embedded;
use crate::model::url::{EndpointUrl, Host};

/// The networks of one policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks {
    /// Only these may be probed; empty for all.
    allow: Vec<IpNet>,
    /// These may not be probed, even if they are allowed.
    deny: Vec<IpNet>,
}

impl Networks {
    /// Reads networks in CIDR notation.
    ///
    /// # Errors
    /// A sentence that names the first one that cannot be read.
    pub fn read(allow: &[impl AsRef<str>], deny: &[impl AsRef<str>]) -> Result<Self, String> {
        Ok(Self { allow: read_all("allow", allow)?, deny: read_all("deny", deny)? })
    }

    /// Admits no address.
    pub fn nothing() -> Self {
        let all = [IpNet::V4(Ipv4Net::default()), IpNet::V6(ipnet::Ipv6Net::default())];
        Self { allow: Vec::new(), deny: all.to_vec() }
    }

    /// The network of `deny` that contains the address, or none where `allow` lacks the address.
    fn refusal(&self, address: IpAddr) -> Option<(IpAddr, Option<IpNet>)> {
        let embedded = Embedded::of(address);
        let denied = |ip: IpAddr| self.deny.iter().find(|net| net.contains(&ip)).map(|net| (ip, Some(*net)));
        if let Some(denied) = embedded.iter().chain([address]).find_map(denied) {
            return Some(denied);
        }
        let outside = |ip: &IpAddr| !self.allow.is_empty() && !self.allow.iter().any(|net| net.contains(ip));
        embedded.iter().find(outside).map(|ip| (ip, None))
    }
}

fn read_all(list: &str, networks: &[impl AsRef<str>]) -> Result<Vec<IpNet>, String> {
    let read = |(at, text): (usize, &str)| {
        let net: IpNet = text.parse().map_err(|_| {
            format!(
                "networks.{list}[{at}] is {text:?}, not a network in CIDR notation such as 10.0.0.0/8 or 2001:db8::/32"
            )
        })?;
        Ok(plain(net.trunc()))
    };
    networks.iter().map(AsRef::as_ref).enumerate().map(read).collect()
}

/// A network of IPv4-mapped addresses as one of plain ones, since those are what is judged.
fn plain(net: IpNet) -> IpNet {
    let mapped = |net: &ipnet::Ipv6Net| {
        let address: Ipv4Addr = net.addr().to_ipv4_mapped()?;
        Ipv4Net::new(address, net.prefix_len().checked_sub(96)?).ok()
    };
    match net {
        IpNet::V6(net) => mapped(&net).map_or(IpNet::V6(net), IpNet::V4),
        IpNet::V4(net) => IpNet::V4(net),
    }
}

/// An address that a policy does not admit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NetworkDenied {
    /// The address as it was given or resolved.
    pub address: IpAddr,
    /// The address that was judged: the IPv4 one embedded in `address`, else itself.
    pub judged: IpAddr,
    /// The policy's name.
    pub policy: Arc<str>,
    /// The network of its `deny`; none where its `allow` lacks the address.
    pub denied: Option<IpNet>,
}

impl fmt::Display for NetworkDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, judged, policy, denied } = self;
        write!(f, "{address}")?;
        if judged != address {
            write!(f, " stands for {judged}, which")?;
        }
        match denied {
            Some(net) => write!(
                f,
                " is in {net}, which the NamespacePolicy {policy} denies here; use another address, or ask your administrators to change \
                 networks.deny there"
            ),
            None => write!(
                f,
                " is in none of the networks that the NamespacePolicy {policy} allows here; use another address, or ask your \
                 administrators to add it to networks.allow there"
            ),
        }
    }
}

impl PolicyInForce {
    /// Judges an address.
    ///
    /// # Errors
    /// [`NetworkDenied`] naming the first policy that does not admit it.
    pub fn admit(&self, address: IpAddr) -> Result<(), NetworkDenied> {
        let refusal = self.networks.iter().find_map(|(policy, networks)| Some((policy, networks.refusal(address)?)));
        match refusal {
            Some((policy, (judged, denied))) => {
                Err(NetworkDenied { address, judged, policy: Arc::clone(policy), denied })
            }
            None => Ok(()),
        }
    }

    /// Judges a URL as far as that is possible before its name is resolved.
    ///
    /// # Errors
    /// A sentence with the address and the policy.
    pub fn admit_url(&self, url: &EndpointUrl) -> Result<(), String> {
        match url.host() {
            Host::Ip(ip) => self.admit(*ip).map_err(|denied| denied.to_string()),
            Host::Name(name) => {
                let name = name.trim_end_matches('.');
                if name != "localhost" && !name.ends_with(".localhost") {
                    return Ok(());
                }
                let denied = self.admit(IpAddr::V4(Ipv4Addr::LOCALHOST));
                denied.map_err(|denied| format!("{name} means {denied}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::namespace_policy::{CheckLimits, NamespacePolicy};

    fn in_force(allow: &[&str], deny: &[&str]) -> PolicyInForce {
        let policy = NamespacePolicy {
            name: "tenants".into(),
            selector: "a=b".parse().expect("a selector"),
            defaults: crate::model::check::CheckTiming::default(),
            limits: CheckLimits::default(),
            networks: Networks::read(allow, deny).expect("networks"),
        };
        PolicyInForce::combine([&policy]).expect("one")
    }

    fn admits(policy: &PolicyInForce, address: &str) -> bool {
        policy.admit(address.parse().expect("an address")).is_ok()
    }

    #[test]
    fn an_address_is_judged_in_every_spelling() {
        let policy = in_force(&["10.0.0.0/8", "2001:db8::/32"], &["10.9.0.0/16"]);
        for (address, admitted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("64:ff9b::10.1.2.3", true),
            ("10.9.0.1", false),
            ("::ffff:10.9.0.1", false),
            ("64:ff9b::10.9.0.1", false),
            ("2002:0a09:0001::1", false),
            ("192.0.2.1", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
            // An address of an allowed network that stands for another one.
            ("2001:db8::5efe:c000:0201", false),
        ] {
            assert_eq!(admits(&policy, address), admitted, "{address}");
        }
        let mapped = in_force(&[], &["::ffff:10.0.0.0/104"]);
        assert!(!admits(&mapped, "10.1.2.3") && admits(&mapped, "192.0.2.1"));
        let everything = in_force(&[], &["0.0.0.0/0", "::/0"]);
        assert!(!admits(&everything, "192.0.2.1") && !admits(&everything, "2001:db8::1"));
    }

    #[test]
    fn a_refusal_names_the_policy_and_what_to_do() {
        let url = |text: &str| EndpointUrl::base(text).expect(text);
        let policy = in_force(&["10.0.0.0/8"], &["10.9.0.0/16"]);
        let why = policy.admit_url(&url("http://10.9.0.1:80")).expect_err("denied");
        assert!(why.starts_with("10.9.0.1 is in 10.9.0.0/16, which the NamespacePolicy tenants denies here"), "{why}");
        let why = policy.admit_url(&url("http://localhost:80")).expect_err("outside");
        assert!(
            why.starts_with("localhost means 127.0.0.1 is in none of the networks that the NamespacePolicy tenants"),
            "{why}"
        );
        assert_eq!(policy.admit_url(&url("http://db.example:80")), Ok(()), "a name is judged when it is resolved");
        assert_eq!(policy.admit_url(&url("http://10.8.0.1:80")), Ok(()));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in ["10.0.0.0", "10.0.0.0/33", "fd00::/129", "here", ""] {
            let why = Networks::read(&["10.0.0.0/8", text], &[] as &[&str]).expect_err(text);
            assert!(why.starts_with("networks.allow[1] is "), "{why}");
        }
        assert!(admits(&in_force(&["10.1.2.3/8"], &[]), "10.200.0.1"), "bits beyond the prefix do not matter");
    }
}
