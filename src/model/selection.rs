//! Which services and instances a reader selects, and which instance a client should use.

use super::outcome::{Health, Reason};
use super::service::{Instance, Service};
use super::version::VersionRange;

/// Most `meta.KEY=` terms of one selection.
pub const MAX_META_TERMS: usize = 16;
/// Most `tag=` terms of one selection.
pub const MAX_TAG_TERMS: usize = 16;

/// The conditions of a selection; an absent condition always holds.
///
/// ```
/// use portolan::model::selection::Selection;
/// use portolan::model::version::VersionRange;
///
/// assert!(Selection::default().is_empty());
/// let selection = Selection { version: Some(VersionRange::parse("^1.2").unwrap()), ..Selection::default() };
/// assert!(!selection.is_empty());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// The health of the instance or, in a list of services, of the service.
    pub status: Option<Health>,
    /// A range that contains the version.
    pub version: Option<VersionRange>,
    /// The exact zone.
    pub zone: Option<String>,
    /// Exact metadata entries, key and value; at most [`MAX_META_TERMS`], which the parser enforces.
    pub meta: Vec<(String, String)>,
    /// Tags that must all be there; at most [`MAX_TAG_TERMS`], which the parser enforces.
    pub tags: Vec<String>,
    /// Whether the instance has a warning.
    pub warning: Option<bool>,
}

impl Selection {
    /// Whether everything is selected, because there is no condition.
    pub fn is_empty(&self) -> bool {
        self.status.is_none() && !self.has_labels()
    }

    /// Whether the instance is selected.
    pub fn matches_instance(&self, instance: &Instance) -> bool {
        self.status.is_none_or(|health| instance.health == health) && self.labels_match(instance)
    }

    /// Whether a list shows the service: its own health must match, and one of its instances must meet all other conditions.
    pub fn matches_service(&self, service: &Service) -> bool {
        self.status.is_none_or(|health| service.health() == health)
            && (!self.has_labels() || service.instances.iter().any(|i| self.labels_match(i)))
    }

    fn has_labels(&self) -> bool {
        self.version.is_some()
            || self.zone.is_some()
            || self.warning.is_some()
            || !self.meta.is_empty()
            || !self.tags.is_empty()
    }

    fn labels_match(&self, instance: &Instance) -> bool {
        let spec = &instance.spec;
        self.zone.as_ref().is_none_or(|zone| spec.zone == *zone)
            && self.warning.is_none_or(|warning| instance.warning.is_some() == warning)
            && self.meta.iter().all(|(key, value)| spec.metadata.get(key) == Some(value))
            && self.tags.iter().all(|tag| spec.tags.contains(tag))
            && self.version.as_ref().is_none_or(|range| range.matches(&spec.version))
    }
}

/// Picks a usable instance with a probability in proportion to its weight, given a `draw` that is uniform over all of u64. Usable are healthy
/// instances or, if there are none, instances without a check. A drained instance, or one of weight 0, is never picked.
pub fn pick_weighted<'a>(instances: &[&'a Instance], draw: u64) -> Option<&'a Instance> {
    draw_among(instances, draw, |i| i.health == Health::Healthy)
        .or_else(|| draw_among(instances, draw, |i| i.reason == Reason::NotChecked))
}

fn draw_among<'a>(instances: &[&'a Instance], draw: u64, usable: impl Fn(&Instance) -> bool) -> Option<&'a Instance> {
    let usable = || instances.iter().copied().filter(|i| !i.is_drained() && usable(i));
    let total: u64 = usable().map(|i| u64::from(i.spec.weight)).sum();
    let mut ahead = u64::try_from((u128::from(draw) * u128::from(total)) >> 64).unwrap_or(0);
    for instance in usable() {
        let weight = u64::from(instance.spec.weight);
        if ahead < weight {
            return Some(instance);
        }
        ahead -= weight;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::model::service::{InstanceId, InstanceSpec};
    use crate::model::time::UnixMs;

    fn instance(id: i64, health: Health, weight: u16) -> Instance {
        let spec = InstanceSpec {
            version: format!("1.{id}.0"),
            metadata: BTreeMap::from([("team".to_owned(), format!("t{id}"))]),
            weight,
            zone: format!("z{id}"),
            ..InstanceSpec::sample("http://10.0.0.5:8080")
        };
        let reason = if health == Health::Unknown { Reason::NotChecked } else { Reason::Passed };
        let name = format!("i{id}").parse().expect("a name");
        Instance::new(InstanceId(id), name, Arc::new(spec), (health, reason), UnixMs(0))
    }

    fn service(instances: Vec<Instance>) -> Service {
        Service::sample("user", instances)
    }

    fn range(text: &str) -> VersionRange {
        VersionRange::parse(text).expect(text)
    }

    #[test]
    fn a_service_is_listed_if_its_own_health_matches_and_one_instance_meets_the_other_conditions() {
        let service = service(vec![instance(1, Health::Healthy, 1), instance(2, Health::Unhealthy, 1)]);
        let of = |selection: Selection| selection.matches_service(&service);
        assert!(of(Selection::default()) && Selection::default().is_empty());
        assert!(of(Selection { status: Some(Health::Healthy), zone: Some("z2".into()), ..Selection::default() }));
        assert!(!of(Selection { status: Some(Health::Unhealthy), ..Selection::default() }));
        let team = |t: &str| vec![("team".to_owned(), t.to_owned())];
        assert!(of(Selection { version: Some(range("1.2")), meta: team("t2"), ..Selection::default() }));
        assert!(
            !of(Selection { version: Some(range("1.1")), meta: team("t2"), ..Selection::default() }),
            "of two different ones"
        );
        assert!(!of(Selection { meta: vec![("tier".into(), "t1".into())], ..Selection::default() }));
    }

    #[test]
    fn an_instance_is_selected_by_its_own_health() {
        let selection =
            Selection { status: Some(Health::Unhealthy), version: Some(range("^1")), ..Selection::default() };
        assert!(selection.matches_instance(&instance(2, Health::Unhealthy, 1)));
        assert!(!selection.matches_instance(&instance(1, Health::Healthy, 1)));
    }

    #[test]
    fn an_unchecked_instance_is_picked_if_no_healthy_one_can_be() {
        let (unchecked, healthy) = (instance(1, Health::Unknown, 5), instance(2, Health::Healthy, 1));
        let drained = instance(3, Health::Healthy, 0);
        for draw in [0, u64::MAX / 2, u64::MAX] {
            assert_eq!(pick_weighted(&[&unchecked, &healthy], draw), Some(&healthy));
            assert_eq!(pick_weighted(&[&unchecked, &drained], draw), Some(&unchecked));
            assert_eq!(pick_weighted(&[&drained], draw), None);
        }
        let unproven = Instance { reason: Reason::Unproven, ..unchecked };
        assert_eq!(pick_weighted(&[&unproven], 0), None);
    }

    proptest! {
        #[test]
        fn each_is_picked_in_proportion_to_its_weight(weights in proptest::collection::vec(0u16..=1000, 1..20)) {
            let all: Vec<_> = (0..).zip(&weights).map(|(id, w)| instance(id, Health::Healthy, *w)).collect();
            let all: Vec<_> = all.iter().collect();
            let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
            let mut taken = vec![0u64; weights.len()];
            for slot in 0..total {
                // The middle of each of `total` equal parts of u64.
                let part = u64::MAX / total;
                let draw = part * slot + part / 2;
                let id = pick_weighted(&all, draw).expect("some weight").id.0;
                taken[usize::try_from(id).expect("small")] += 1;
            }
            prop_assert_eq!(taken, weights.iter().map(|w| u64::from(*w)).collect::<Vec<_>>());
        }

        #[test]
        fn every_picked_instance_is_usable(
            given in proptest::collection::vec((0usize..3, prop_oneof![Just(0u16), 1u16..1000]), 0..12),
            draw in any::<u64>(),
        ) {
            let all: Vec<_> = (0..).zip(&given).map(|(id, (h, w))| instance(id, Health::ALL[*h], *w)).collect();
            let all: Vec<_> = all.iter().collect();
            let can = |h: Health| all.iter().any(|i| i.health == h && i.spec.weight > 0);
            match pick_weighted(&all, draw) {
                Some(i) => prop_assert!(i.spec.weight > 0
                    && (i.health == Health::Healthy || i.health == Health::Unknown && !can(Health::Healthy))),
                None => prop_assert!(!can(Health::Healthy) && !can(Health::Unknown)),
            }
        }
    }
}
