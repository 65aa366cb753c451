//! The prober as a whole: a real store in a temporary folder, real targets on loopback.

mod budget;
mod churn;
mod clock;
#[path = "../probe/dns.rs"]
#[expect(dead_code, reason = "the probes' own tests ask it for more")]
mod dns;
mod fair;
mod feed;
mod guard;
mod harness;
mod identity;
mod leases;
mod leaving;
mod life;
mod policies;
mod request;
mod restart;
mod several;
mod takeover;
