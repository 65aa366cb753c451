//! What publishing depends on.

use std::sync::Arc;

use crate::model::name::Namespace;
use crate::model::ports::{NameLookup, OnDemand, PublishGate};
use crate::operator::namespaces::Policies;

/// What publishing depends on.
pub struct PublishSettings {
    /// The watched namespaces, none for all: slices elsewhere are left alone.
    pub namespaces: Vec<Namespace>,
    /// Which of them are selected by their labels; slices elsewhere are left alone, too.
    pub policies: Policies,
    /// Which addresses may be published.
    pub gate: Arc<dyn PublishGate>,
    /// Whether nothing is published before the cluster's API has named its networks.
    pub must_learn: bool,
    /// Resolves the instances' host names.
    pub names: Arc<dyn NameLookup>,
    /// Probes an instance whose name has a new address.
    pub on_demand: Arc<dyn OnDemand>,
}
