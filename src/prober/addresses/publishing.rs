//! The address policy of endpoints that others connect to: what is never probed is never published either, and no setting lifts that.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use super::{AddressPolicy, Rule};
use crate::model::ports::{LearnedNetwork, PublishGate};

/// Judges addresses before they are published.
#[derive(Debug, Clone)]
pub struct PublishPolicy {
    policy: AddressPolicy,
    /// Those of its networks that deny publishing alone.
    deny: Vec<IpNet>,
    learned: Arc<ArcSwap<Learned>>,
}

/// The networks that the cluster's API names.
#[derive(Debug, Default)]
struct Learned {
    networks: Vec<LearnedNetwork>,
    /// Denies just those.
    policy: AddressPolicy,
}

impl PublishPolicy {
    /// What `probing` denies without its allow list, and `deny`: `PORTOLAN_PUBLISH_DENY`.
    pub fn new(probing: &AddressPolicy, deny: Vec<IpNet>) -> Self {
        let both = probing.deny.iter().chain(&deny).copied().collect();
        let policy = AddressPolicy { allow: Vec::new(), deny: both, allow_loopback: false, ..probing.clone() };
        Self { policy, deny, learned: Arc::default() }
    }
}

impl Learned {
    /// What the address is, if it is in one of the networks.
    fn network_of(&self, address: IpAddr, port: u16) -> Option<String> {
        let denied = self.policy.check(address, port).err()?;
        let found = self.networks.iter().find(|learned| denied.rule == Rule::DenyList(learned.net))?;
        let stands_for = stands_for(denied.address, denied.judged);
        Some(format!("{stands_for}is in {} of {}", found.net, found.owner))
    }
}

/// That an address is judged as the one in it.
fn stands_for(address: IpAddr, judged: IpAddr) -> String {
    if judged == address { String::new() } else { format!("stands for {judged}, which ") }
}

impl PublishGate for PublishPolicy {
    fn publishable(&self, address: IpAddr, port: u16) -> Result<(), String> {
        // For lack of descriptors nothing that is published is taken back: in a cluster this pod's addresses have a rule of their own.
        let denied = self.policy.check(address, port).err().filter(|denied| !denied.is_for_now());
        denied.map_or(Ok(()), |denied| {
            let why = match denied.rule {
                Rule::Hard(what, range) => format!("is {what} ({range})"),
                Rule::Own(port) | Rule::PerhapsOwn(port) => format!("is this server's own, port {port}"),
                Rule::DenyList(net) if self.deny.contains(&net) => format!("is in {net} of PORTOLAN_PUBLISH_DENY"),
                Rule::DenyList(net) => format!("is in {net} of PORTOLAN_PROBE_DENY"),
                Rule::Loopback => "is loopback".to_owned(),
                Rule::Default(net) => format!("is in {net}, which is the API server's or Portolan's own"),
                Rule::Port(port) => format!("has the kubelet's port {port}"),
            };
            Err(stands_for(denied.address, denied.judged) + &why)
        })?;
        self.learned.load().network_of(address, port).map_or(Ok(()), Err)
    }

    fn learn(&self, networks: Vec<LearnedNetwork>) {
        let deny = networks.iter().map(|learned| learned.net).collect();
        let policy = AddressPolicy { deny, allow_loopback: true, ..AddressPolicy::default() };
        self.learned.store(Arc::new(Learned { networks, policy }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_machine_itself_or_is_excluded_is_refused_in_every_spelling() {
        let probing = AddressPolicy {
            allow: vec!["0.0.0.0/0".parse().expect("a network")],
            deny: vec!["198.51.100.0/24".parse().expect("a network")],
            allow_loopback: true,
            denied_ports: vec![10250],
            ..AddressPolicy::default()
        };
        let policy = PublishPolicy::new(&probing, vec!["10.244.0.0/16".parse().expect("a network")]);
        let why = |ip: &str, port| policy.publishable(ip.parse().expect("an address"), port).expect_err(ip);
        for (ip, part) in [
            ("127.0.0.1", "is loopback"),
            ("::1", "is loopback"),
            ("::ffff:127.0.0.1", "stands for 127.0.0.1, which is loopback"),
            ("169.254.1.1", "is link-local"),
            ("fe80::1", "is link-local"),
            ("0.0.0.0", "is this network"),
            ("::", "this network"),
            ("224.0.0.1", "is multicast"),
            ("ff02::1", "is multicast"),
            ("255.255.255.255", "is broadcast"),
            ("10.244.3.4", "is in 10.244.0.0/16 of PORTOLAN_PUBLISH_DENY"),
            ("198.51.100.7", "is in 198.51.100.0/24 of PORTOLAN_PROBE_DENY"),
            ("64:ff9b::10.244.3.4", "stands for 10.244.3.4, which is in 10.244.0.0/16"),
        ] {
            assert!(why(ip, 80).contains(part), "{ip}: {}", why(ip, 80));
        }
        assert!(why("192.0.2.1", 10250).contains("kubelet"));
        assert_eq!(policy.publishable("192.0.2.1".parse().expect("an address"), 80), Ok(()));
        let learned = |net: &str| LearnedNetwork { net: net.parse().expect("a network"), owner: "the cluster's pods" };
        policy.learn(vec![learned("192.0.2.0/28"), learned("fd00:1::/64")]);
        for (ip, wanted) in [
            ("192.0.2.1", "is in 192.0.2.0/28 of the cluster's pods"),
            ("64:ff9b::192.0.2.1", "stands for 192.0.2.1, which is in 192.0.2.0/28 of the cluster's pods"),
            ("fd00:1::7", "is in fd00:1::/64 of the cluster's pods"),
            ("10.244.3.4", "is in 10.244.0.0/16 of PORTOLAN_PUBLISH_DENY"),
        ] {
            assert_eq!(why(ip, 80), wanted);
        }
        policy.learn(Vec::new());
        assert_eq!(policy.publishable("192.0.2.1".parse().expect("an address"), 80), Ok(()));
        assert_eq!(policy.publishable("2001:db8::1".parse().expect("an address"), 80), Ok(()));
    }
}
