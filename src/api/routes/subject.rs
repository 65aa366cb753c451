//! What a handler knows of the write that it carries out, for the audit log.

use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::model::service::{Instance, Service};

/// What a handler knows of the write that it carries out. It says so as soon as it knows, since the write may be refused.
#[derive(Debug, Default)]
pub(in crate::api) struct Subject(Mutex<Option<Box<Known>>>);

/// Empty where it is unknown.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Where the route alone does not say it.
    pub(super) action: Option<&'static str>,
    pub(super) id: Option<Uuid>,
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) instance: String,
    pub(super) generation: Option<u64>,
    pub(super) revision: Option<u64>,
    pub(super) note: String,
}

impl Subject {
    /// By its names, where nothing may be registered yet.
    pub(in crate::api) fn names(&self, namespace: &str, service: &str, instance: &str) {
        self.with(|known| {
            (known.namespace, known.service, known.instance) = (namespace.into(), service.into(), instance.into());
        });
    }

    /// A service, and one instance of it unless the name is empty.
    pub(in crate::api) fn is(&self, service: &Service, instance: &str) {
        self.names(service.key.namespace(), service.key.name(), instance);
        self.with(|known| {
            known.id = Some(service.id);
            known.revision = Some(service.revision);
            known.generation = service.instance(instance).map(Instance::shown_generation);
        });
    }

    /// One instance of that service.
    pub(in crate::api) fn instance(&self, instance: &str) {
        self.with(|known| instance.clone_into(&mut known.instance));
    }

    /// What the caller says about it.
    pub(in crate::api) fn note(&self, note: &str) {
        self.with(|known| note.clone_into(&mut known.note));
    }

    /// What is done, where the route has several actions.
    pub(in crate::api) fn action(&self, action: &'static str) {
        self.with(|known| known.action = Some(action));
    }

    /// What it has said.
    pub(super) fn into_known(self) -> Known {
        *self.0.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_default()
    }

    fn with(&self, change: impl FnOnce(&mut Known)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default());
    }
}
