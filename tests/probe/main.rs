//! Probes against real servers on loopback, friendly and hostile ones.

mod addresses;
mod curves;
mod dns;
mod full;
mod grpc;
mod harness;
mod http;
mod identity;
mod names;
mod objects;
mod policy;
mod tcp;
mod tls;
