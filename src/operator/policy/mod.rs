//! Follows the policies and the labels of namespaces, and writes the status of policies.
//!
//! In: NamespacePolicy objects and namespaces, by watch, on every replica. Out: what [`namespaces`](super::namespaces) says; and from the
//! leader, the status of each policy: whether it is in force, and how much it selects.
//!
//! 1. [`watches`]: the watches. [`task`]: the task.
//! 2. [`mod@status`]: what a policy's status should say. [`mod@write`]: one write.

mod status;
mod task;
mod watches;
mod write;

pub use task::PolicyTask;
