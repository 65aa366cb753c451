//! Runs our own lock-based and atomic code under many thread interleavings: the sources themselves, compiled with the primitives of
//! [shuttle](https://docs.rs/shuttle), which decides at each of them which thread continues. Every access counts as sequentially consistent: what a weaker
//! ordering allows is not tried here.
//!
//! `cargo run --example interleavings` tries all; `make test` does so too.
#![expect(dead_code, reason = "of each source only what is checked here is used")]
#![expect(unreachable_pub, reason = "the sources are parts of a library")]
#![expect(clippy::print_stdout, reason = "a program that says what it tries")]

mod model {
    pub(crate) use portolan::model::{name, secret, service, time};

    /// In the place of the library's own.
    pub(crate) mod sync {
        pub(crate) use std::sync::PoisonError;

        pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard, RwLock};

        pub(crate) mod atomic {
            pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicUsize, Ordering};
        }
    }
}

mod api {
    pub(crate) use crate::clients;
}

mod crypto {
    pub(crate) use portolan::crypto::stamp;
}

mod prober {
    pub(crate) mod targets {
        pub(crate) use crate::lane::{Lane, Priority};
    }
}

/// As much of a verified token as the cache looks at.
mod token {
    use crate::model::time::UnixMs;

    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Bearer {
        pub(crate) credential: Credential,
    }

    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Credential {
        pub(crate) ends: UnixMs,
        pub(crate) of: u64,
    }
}

use portolan::api::conn::ConnSettings;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

#[path = "../../src/api/conn/activity.rs"]
mod activity;
#[path = "../../src/prober/limits/address_budget.rs"]
mod budget;
#[path = "../../src/api/clients.rs"]
mod clients;
#[path = "../../src/api/conn/eviction.rs"]
mod eviction;
#[path = "../../src/prober/limits/fair_queue.rs"]
mod fair_queue;
#[path = "../../src/prober/targets/lane.rs"]
mod lane;
#[path = "../../src/prober/leases/lease.rs"]
mod lease;
#[path = "../../src/api/conn/limiter.rs"]
mod limiter;
#[expect(clippy::large_stack_arrays, reason = "these counters are larger than the real ones")]
#[path = "../../src/store/queue/pending.rs"]
mod pending;
#[path = "../../src/api/access/secrets.rs"]
mod secrets;
#[path = "../../src/prober/limits/slots.rs"]
mod slots;
#[path = "../../src/api/access/token_cache.rs"]
mod token_cache;
#[path = "../../src/api/watch/limiter.rs"]
mod watch_limiter;

mod checks;

/// Orders tried of each.
const ORDERS: usize = 3_000;
/// Bytes of each thread's stack: counters of shuttle's take more room than the real ones.
const STACK: usize = 1 << 20;

fn main() {
    for (name, check) in checks::ALL {
        println!("{name}");
        // At random, and with few changes of turn at the worst places.
        Runner::new(RandomScheduler::new(ORDERS), config()).run(check);
        Runner::new(PctScheduler::new(3, ORDERS), config()).run(check);
    }
    println!("{} passed, 0 failed", checks::ALL.len());
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK;
    config
}
