//! Portolan and what it ships against a real control plane: one for all tests of this binary, and namespaces apart. A test that breaks
//! its API server starts one of its own, or stands behind a proxy.

mod adopt;
mod annotated;
mod applying;
mod callers;
mod certificates;
mod common;
mod crd;
mod deploy;
mod faults;
mod generated;
mod leading;
mod plane;
mod pods;
mod publish;
mod rest;
mod sync;
mod tunnel;
mod uninstall;
