//! The prober as a whole: a real store in a temporary folder, real targets on loopback.

mod harness;
mod life;
