//! The REST API over a real socket, a real store and, where health matters, outcomes as the prober commits them.

mod app;
mod checking;
mod etags;
mod fast_path;
mod forwarding;
mod fuzz;
mod golden;
mod large;
mod legacy_examples;
mod mirror;
mod operations;
mod owners;
mod pages;
mod probes;
mod registering;
mod removing;
mod schema;
mod selecting;
mod watching;
mod wire;
mod wording;
