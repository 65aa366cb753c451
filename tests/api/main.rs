//! The REST API over a real socket, a real store and, where health matters, outcomes as the prober commits them.

mod app;
mod checking;
mod etags;
mod fuzz;
mod golden;
mod hot;
mod large;
mod mirror;
mod operations;
mod owners;
mod pages;
mod passing_on;
mod probes;
mod registering;
mod removing;
mod schema;
mod seed;
mod selecting;
mod watching;
mod wire;
mod wording;
