//! The health state machine: pure, synchronous, without a clock.
