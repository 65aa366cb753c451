//! What is registered: services and addresses; no two URLs share a port, and no two checks of a URL a number.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use portolan::model::check::{Check, CheckKind, CheckTiming, HttpCheck};
use portolan::model::ports::Registration;
use portolan::model::service::InstanceSpec;
use portolan::model::url::EndpointUrl;
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::truth::Aim;

/// Targets of one host at most.
const PER_HOST: usize = 5;

/// One registered instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) aim: Aim,
    pub(crate) weight: u16,
    host: u8,
    by_name: bool,
    interval: u32,
    timeout: u32,
    unhealthy: u32,
    healthy: u32,
}

/// Hands out places, ports and hosts.
#[derive(Debug, Default)]
pub(crate) struct Places {
    ports: u16,
    members: usize,
    on_host: BTreeMap<u8, usize>,
}

impl Places {
    fn port(&mut self) -> u16 {
        self.ports += 1;
        20_000 + self.ports
    }

    /// A host that has room, as far as is known: those that moved away are still counted.
    fn host(&mut self, dice: &mut StdRng) -> u8 {
        for _ in 0..50 {
            let host = dice.random_range(1..=20);
            let crowd = self.on_host.entry(host).or_default();
            if *crowd < PER_HOST {
                *crowd += 1;
                return host;
            }
        }
        dice.random_range(21..=250)
    }

    pub(crate) fn new_member(&mut self, dice: &mut StdRng) -> (String, Member) {
        self.members += 1;
        let namespace = ["shop", "bank", "mail"][dice.random_range(0..3)];
        // Some share a service.
        let service = if dice.random_range(0..3) == 0 { dice.random_range(0..4) } else { 10 + self.members };
        let place = format!("{namespace}/s{service}#i{}", self.members);
        let mut member = Member {
            aim: Aim { port: self.port(), mark: 201 },
            weight: 100,
            host: self.host(dice),
            by_name: dice.random_range(0..3) == 0,
            interval: 10,
            timeout: 1,
            unhealthy: 3,
            healthy: 1,
        };
        draw_timing(&mut member, dice);
        (place, member)
    }

    /// Another URL.
    pub(crate) fn move_away(&mut self, member: &mut Member, dice: &mut StdRng) {
        member.aim = Aim { port: self.port(), mark: 201 };
        member.host = self.host(dice);
    }
}

fn draw_timing(member: &mut Member, dice: &mut StdRng) {
    member.interval = [2, 5, 10, 30, 60][dice.random_range(0..5)];
    member.timeout = [1, 2, 5][dice.random_range(0..3)];
    member.unhealthy = dice.random_range(1..=4);
    member.healthy = dice.random_range(1..=3);
}

impl Member {
    pub(crate) fn registration(&self, place: &str) -> Registration {
        let (key, instance) = place.split_once('#').expect("a place");
        let (namespace, service) = key.split_once('/').expect("a key");
        let host = if self.by_name { format!("host-{}.sim", self.host) } else { format!("10.0.0.{}", self.host) };
        let url = format!("http://{host}:{}/health", self.aim.port);
        let http = HttpCheck { expected_statuses: vec![200, self.aim.mark], ..HttpCheck::default() };
        let check = Check {
            kind: Some(CheckKind::Http(http)),
            timing: CheckTiming {
                interval_seconds: Some(self.interval),
                timeout_seconds: Some(self.timeout),
                retry_interval_seconds: Some(1),
                unhealthy_threshold: Some(self.unhealthy),
                healthy_threshold: Some(self.healthy),
            },
        };
        let spec = InstanceSpec {
            health_url: Some(EndpointUrl::health(&url).expect("a health url")),
            check,
            weight: self.weight,
            ..InstanceSpec::at(EndpointUrl::base(&url).expect("a base url"))
        };
        Registration {
            namespace: namespace.parse().expect("a namespace"),
            service: service.parse().expect("a name"),
            instance: instance.parse().expect("a name"),
            derived: false,
            spec,
        }
    }
}

pub(crate) fn any_host(dice: &mut StdRng) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, dice.random_range(1..=20))
}

/// Another check of the same URL.
pub(crate) fn check_otherwise(member: &mut Member, dice: &mut StdRng) {
    member.aim.mark = if member.aim.mark >= 290 { 201 } else { member.aim.mark + 1 };
    draw_timing(member, dice);
}
