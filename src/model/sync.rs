//! Locks and atomics under one name, so that `examples/interleavings` can compile the same sources with ones that try the orders in which
//! threads may take turns. What is made by hand from them takes them from here.

pub(crate) use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicUsize, Ordering};
}
