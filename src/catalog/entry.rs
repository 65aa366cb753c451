//! One service in the catalog, rendered at most once for each change, by its first reader.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use super::accrual::Accrual;
use super::epoch::Epoch;
use super::pin::Held;
use super::render::{self, Rendered, Variant};
use crate::model::availability::Standing;
use crate::model::outcome::{Health, Reason};
use crate::model::replica::Replica;
use crate::model::service::{Instance, Owner, Service, reason_of};
use crate::model::text::Short;
use crate::model::time::UnixMs;

/// The time of a service's newest probe, shared between the prober that writes it and every reader. It changes no revision and needs no
/// rendering.
#[derive(Debug, Clone, Default)]
pub struct LastCheck(Arc<AtomicI64>);

impl LastCheck {
    /// Starts with what the store knew.
    pub fn starting(at: Option<UnixMs>) -> Self {
        Self(Arc::new(AtomicI64::new(at.map_or(0, |t| t.0))))
    }

    /// Notes a probe.
    pub fn note(&self, at: UnixMs) {
        self.0.store(at.0, Ordering::Relaxed);
    }

    /// Forgets it: another replica probes.
    pub fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The newest probe, none before the first.
    pub fn get(&self) -> Option<UnixMs> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(UnixMs(ms)),
        }
    }
}

/// The end of a tag whose answer names owners.
const SHOWN: &str = "~";
/// Bytes for an instance besides its texts, with the field names of its JSON.
const PER_INSTANCE: usize = 400;
/// Bytes for a label besides its texts.
const PER_LABEL: usize = 48;
/// Bytes for a further check besides its texts.
const PER_CHECK: usize = 400;

/// A service for readers. Of ten thousand services none is in a CPU cache, so every further place in memory costs a wait: discovery needs
/// this one and the rendered text, not the service.
#[derive(Debug)]
pub struct Entry {
    service: Arc<Service>,
    revision: u64,
    mark: Option<Mark>,
    health: Health,
    /// Its memory, in bytes.
    weight: u32,
    last_check: LastCheck,
    accrual: Accrual,
    rendered: OnceLock<Rendered>,
    /// Counts its memory, once it is replaced and a reader holds it.
    held: OnceLock<Held>,
}

/// Distinguishes a state that only this replica is in from what every replica shows at that revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The replica.
    pub replica: Replica,
    /// The replica's sequence.
    pub sequence: u64,
}

/// A weak entity tag, `W/"<epoch>.<revision>"`, or with a mark `W/"<epoch>.<revision>+<replica>.<sequence>"`; `~` and more at its end where the
/// answer names owners. Equal tags mean that only `last_health_check` can differ.
#[derive(Debug, Clone, Copy)]
pub struct WeakTag(Short<88>);

impl WeakTag {
    /// The tag of a state at `revision`. `owners` is empty, or says of which services the owners are shown: at most 17 characters.
    pub fn new(epoch: &Epoch, revision: u64, mark: Option<Mark>, owners: &str) -> Self {
        let mut digits = itoa::Buffer::new();
        let (open, end) = (["W/\"", epoch.as_str(), ".", digits.format(revision)], [owners, "\""]);
        Self(match mark {
            None => Short::of(open.into_iter().chain(end)),
            Some(Mark { replica, sequence }) => {
                let mark = format!("+{replica}.{sequence}");
                Short::of(open.into_iter().chain([mark.as_str()]).chain(end))
            }
        })
    }

    /// Its text.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Entry {
    /// Wraps `service`. It is rendered when it is first read: the store's writer makes every entry in one thread, and of several changes between
    /// two reads only the last is rendered.
    pub fn new(service: Service, last_check: LastCheck) -> Self {
        let (health, revision) = (service.health(), service.revision);
        let mark = service.unreported.map(|replica| Mark { replica, sequence: service.sequence });
        let weight = u32::try_from(weight(&service)).unwrap_or(u32::MAX);
        let accrual = Accrual::starting(Standing::of_service(&service));
        let service = Arc::new(service);
        let (rendered, held) = (OnceLock::new(), OnceLock::new());
        Self { service, revision, mark, health, weight, last_check, accrual, rendered, held }
    }

    /// The same, where it replaces `old`: if that is the same service, its time goes on.
    #[must_use]
    pub fn following(self, old: &Self) -> Self {
        let same = self.service.id == old.service.id;
        let accrual = if same { old.accrual.then(self.accrual.standing()) } else { self.accrual };
        Self { accrual, ..self }
    }

    /// How long it was proved up or down since the process started.
    pub fn accrual(&self) -> &Accrual {
        &self.accrual
    }

    /// The service.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Its health.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Why it has this health.
    pub fn reason(&self) -> Reason {
        reason_of(self.service.instances.iter())
    }

    /// The moment of its newest probe.
    pub fn last_check(&self) -> &LastCheck {
        &self.last_check
    }

    /// About how much memory it takes once rendered, in bytes.
    pub fn weight(&self) -> usize {
        usize::try_from(self.weight).unwrap_or(usize::MAX)
    }

    /// Counts its memory from now on until it is dropped.
    pub(super) fn hold(&self, held: Held) {
        // Only one that was removed and registered again in one batch comes twice.
        drop(self.held.set(held));
    }

    /// The service's JSON.
    pub fn text(&self) -> &Rendered {
        self.rendered()
    }

    /// The JSON with the newest probe, with or without owners.
    pub fn variant(&self, owners: bool) -> Variant {
        Variant::of(self.last_check.get(), owners)
    }

    /// Appends the service's JSON object, with the newest `last_health_check`.
    pub fn write_json(&self, owners: bool, out: &mut Vec<u8>) {
        self.rendered().write(&self.variant(owners), out);
    }

    /// The service's JSON object between two texts, in a single allocation.
    pub fn json_between(&self, before: &[u8], owners: bool, after: &[u8]) -> Vec<u8> {
        self.rendered().between(before, &self.variant(owners), after)
    }

    /// The service's [weak entity tag](WeakTag), with or without owners.
    pub fn tag(&self, epoch: &Epoch, owners: bool) -> WeakTag {
        let owners = if owners && self.rendered().has_owners() { SHOWN } else { "" };
        WeakTag::new(epoch, self.revision, self.mark, owners)
    }

    /// Most bytes that [`Entry::write_json`] appends.
    pub fn json_len(&self) -> usize {
        self.rendered().len()
    }

    fn rendered(&self) -> &Rendered {
        self.rendered.get_or_init(|| render::whole(&self.service))
    }
}

fn owner_len(owner: &Owner) -> usize {
    match owner {
        Owner::Anonymous => 0,
        Owner::Token { issuer, subject } => issuer.len() + subject.len() + PER_LABEL,
    }
}

/// Memory of a service and its JSON, in bytes: a little more than both, as instances and their texts are in both.
fn weight(service: &Service) -> usize {
    let one = |instance: &Instance| {
        let spec = &instance.spec;
        let labels: usize = spec.metadata.iter().map(|(key, value)| key.len() + value.len() + PER_LABEL).sum();
        let tags: usize = spec.tags.iter().map(|tag| tag.len() + PER_LABEL).sum();
        let checks: usize =
            spec.all_checks().map(|any| any.check.text_len() + any.url.map_or(0, |url| url.as_str().len())).sum();
        let checks = checks + spec.checks.len() * PER_CHECK;
        let warning = instance.warning.as_ref().map_or(0, |warning| warning.message.len() + PER_LABEL);
        let drain = instance.drain.as_ref().map_or(0, |drain| drain.reason.len() + drain.by.len() + PER_LABEL);
        let acknowledged =
            instance.acknowledged.as_ref().map_or(0, |known| 2 * (known.note.len() + known.by.len() + PER_LABEL));
        let known = spec.external_id.as_ref().map_or(0, String::len)
            + instance.observed_version.as_ref().map_or(0, |version| version.len())
            + owner_len(&instance.owner);
        let urls = spec.base_url.as_str().len() + spec.health_url.as_ref().map_or(0, |url| url.as_str().len());
        labels
            + tags
            + checks
            + warning
            + drain
            + acknowledged
            + known
            + urls
            + spec.version.len()
            + spec.description.len()
            + spec.zone.len()
            + PER_INSTANCE
    };
    size_of::<Entry>() + 2 * service.instances.iter().map(one).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::service::InstanceSpec;

    #[test]
    fn a_services_reason_is_that_of_an_instance_with_its_health() {
        use Health::{Healthy, Unhealthy, Unknown};
        use Reason::{ConnectRefused, Passed, Probing};
        for (first, second, expected) in [
            ((Unknown, Probing), (Unhealthy, ConnectRefused), (Unhealthy, ConnectRefused)),
            ((Unhealthy, ConnectRefused), (Unknown, Probing), (Unhealthy, ConnectRefused)),
            ((Unhealthy, ConnectRefused), (Healthy, Passed), (Healthy, Passed)),
            ((Unknown, Probing), (Unknown, Reason::NotChecked), (Unknown, Probing)),
        ] {
            let instances = [("a", first), ("b", second)]
                .map(|(name, verdict)| Instance::sample(name, InstanceSpec::sample("http://10.0.0.5:80"), verdict));
            let entry = Entry::new(Service::sample("user", instances.to_vec()), LastCheck::default());
            assert_eq!((entry.health(), entry.reason()), expected);
            let mut text = Vec::new();
            entry.write_json(true, &mut text);
            let shown: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
            assert_eq!(shown["reason"], expected.1.as_str());
        }
        let empty = Entry::new(Service::sample("user", Vec::new()), LastCheck::default());
        assert_eq!((empty.health(), empty.reason()), (Unknown, Probing));
    }
}
