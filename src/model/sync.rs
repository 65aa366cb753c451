//! Locks and atomics under one name. `examples/interleavings` compiles the same sources with primitives that try thread interleavings, so code
//! that uses locks or atomics directly imports them from here.

pub(crate) use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicUsize, Ordering};
}
