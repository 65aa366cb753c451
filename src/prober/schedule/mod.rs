//! When probes start.

mod detection_time;
pub(crate) mod due;
pub(crate) mod fair_queue;
pub(crate) mod lag;
