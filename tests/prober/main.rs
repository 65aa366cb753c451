//! The prober as a whole: a real store in a temporary folder, real targets on loopback.

mod budget;
mod clock;
mod fair;
mod feed;
mod guard;
mod harness;
mod life;
mod request;
mod restart;
