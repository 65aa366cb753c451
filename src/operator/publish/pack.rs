//! Which slice holds which endpoint, so that one change of an endpoint rewrites one slice. Pure.
//!
//! An endpoint stays in the slice that has it. A new one goes into a slice that changes anyway, else into the fullest with room, else into a
//! new slice. A slice without endpoints is removed; others are never merged, since that would rewrite what did not change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Most endpoints of one slice.
pub(super) const MAX_PER_SLICE: usize = 100;

/// What all endpoints of a slice have in common: an address type, and the port that they listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Group {
    pub(super) family: Family,
    pub(super) port: u16,
}

/// An address type of slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// The family of an address.
    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Its name in a slice.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// Where an endpoint is.
pub(super) type Location = (Group, IpAddr);

/// One address of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: IpAddr,
    /// The instance's name.
    pub(super) hostname: String,
    pub(super) zone: Option<String>,
    pub(super) state: EndpointState,
}

/// The conditions of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EndpointState {
    /// Its check passes, whether it is drained or not.
    pub(super) serving: bool,
    /// It is drained.
    pub(super) terminating: bool,
}

impl EndpointState {
    /// Whether it gets new connections.
    pub(super) fn ready(self) -> bool {
        self.serving && !self.terminating
    }
}

/// A slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) name: String,
    /// None if it is of no form that Portolan writes.
    pub(super) group: Option<Group>,
    pub(super) endpoints: Vec<Endpoint>,
    /// Whether everything besides its endpoints is as it should be.
    pub(super) intact: bool,
}

/// A slice that has to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Create(String, Group, Vec<Endpoint>),
    Update(String, Group, Vec<Endpoint>),
    Delete(String),
}

/// A slice as it will be.
struct Draft<'a> {
    name: String,
    group: Group,
    endpoints: Vec<Endpoint>,
    before: Option<&'a Slice>,
}

impl Draft<'_> {
    fn has_changed(&self) -> bool {
        self.before.is_none_or(|before| !before.intact || before.endpoints != self.endpoints)
    }

    fn into_change(self) -> Option<Change> {
        match (self.before.is_some(), self.endpoints.is_empty()) {
            (true, true) => Some(Change::Delete(self.name)),
            (true, false) => self.has_changed().then_some(Change::Update(self.name, self.group, self.endpoints)),
            (false, _) => Some(Change::Create(self.name, self.group, self.endpoints)),
        }
    }
}

/// What turns the slices `current` into ones with exactly `wanted`. New slices have names that begin with `prefix` and are not `taken` by
/// slices of others. What removes endpoints comes last, so that one that moves is never absent.
pub(super) fn pack(
    current: &[Slice],
    wanted: &BTreeMap<Location, Endpoint>,
    prefix: &str,
    taken: &dyn Fn(&str) -> bool,
) -> Vec<Change> {
    let foreign = current.iter().filter(|slice| slice.group.is_none());
    let mut changes: Vec<Change> = foreign.map(|slice| Change::Delete(slice.name.clone())).collect();
    let mut placed = BTreeSet::new();
    let mut drafts: Vec<Draft<'_>> =
        current.iter().filter_map(|slice| Some(kept(slice, slice.group?, wanted, &mut placed))).collect();
    let mut names: BTreeSet<String> = current.iter().map(|slice| slice.name.clone()).collect();
    for (location @ (group, _), endpoint) in wanted {
        if placed.contains(location) {
            continue;
        }
        let roomy = drafts.iter_mut().filter(|draft| draft.group == *group && draft.endpoints.len() < MAX_PER_SLICE);
        if let Some(draft) = roomy.max_by_key(|draft| (draft.has_changed(), draft.endpoints.len())) {
            draft.endpoints.push(endpoint.clone());
        } else {
            let name = free_name(prefix, *group, &|name| names.contains(name) || taken(name));
            names.insert(name.clone());
            drafts.push(Draft { name, group: *group, endpoints: vec![endpoint.clone()], before: None });
        }
    }
    changes.extend(drafts.into_iter().filter_map(Draft::into_change));
    changes.sort_by_key(|change| matches!(change, Change::Delete(_)));
    changes
}

/// The slice with those of its endpoints that are still wanted and that no other has.
fn kept<'a>(
    slice: &'a Slice,
    group: Group,
    wanted: &BTreeMap<Location, Endpoint>,
    placed: &mut BTreeSet<Location>,
) -> Draft<'a> {
    let mut endpoints = Vec::new();
    for held in &slice.endpoints {
        let location = (group, held.address);
        if let Some(endpoint) = wanted.get(&location)
            && endpoints.len() < MAX_PER_SLICE
            && placed.insert(location)
        {
            endpoints.push(endpoint.clone());
        }
    }
    Draft { name: slice.name.clone(), group, endpoints, before: Some(slice) }
}

/// The first name that is not `taken`.
fn free_name(prefix: &str, group: Group, taken: &dyn Fn(&str) -> bool) -> String {
    let family = group.family.as_str().to_ascii_lowercase();
    let named = |n: u16| format!("{prefix}-{family}-{}-{n}", group.port);
    // Far more than a namespace has slices of one core Service.
    (0..=u16::MAX).map(named).find(|name| !taken(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn nothing(_: &str) -> bool {
        false
    }

    type Wanted = BTreeMap<Location, Endpoint>;

    const READY: EndpointState = EndpointState { serving: true, terminating: false };
    const DOWN: EndpointState = EndpointState { serving: false, terminating: false };

    fn endpoint(n: u16, port: u16, state: EndpointState) -> (Location, Endpoint) {
        let [high, low] = n.to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, high, low));
        let group = Group { family: Family::of(address), port };
        ((group, address), Endpoint { address, hostname: format!("i{n}"), zone: None, state })
    }

    /// The slices after the changes.
    fn applied(current: &[Slice], changes: &[Change]) -> Vec<Slice> {
        let mut all: BTreeMap<String, Slice> = current.iter().map(|s| (s.name.clone(), s.clone())).collect();
        for change in changes {
            match change {
                Change::Create(name, group, endpoints) => {
                    let slice =
                        Slice { name: name.clone(), group: Some(*group), endpoints: endpoints.clone(), intact: true };
                    assert_eq!(all.insert(name.clone(), slice), None, "a new name");
                }
                Change::Update(name, group, endpoints) => {
                    let slice = all.get_mut(name).expect("an existing one");
                    assert_eq!(slice.group, Some(*group), "an address type cannot change");
                    (slice.endpoints, slice.intact) = (endpoints.clone(), true);
                }
                Change::Delete(name) => drop(all.remove(name).expect("an existing one")),
            }
        }
        all.into_values().collect()
    }

    fn held(slices: &[Slice]) -> Vec<(Location, Endpoint)> {
        let located = |slice: &Slice| {
            let group = slice.group.expect("of a form that is written");
            slice.endpoints.iter().map(move |e| ((group, e.address), e.clone())).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = slices.iter().flat_map(located).collect();
        all.sort_by_key(|(location, _)| *location);
        all
    }

    fn wanted() -> impl Strategy<Value = Wanted> {
        let one = (0..400_u16, 1..3_u16, any::<bool>());
        proptest::collection::vec(one, 0..350).prop_map(|all| {
            all.into_iter().map(|(n, port, up)| endpoint(n, port, if up { READY } else { DOWN })).collect()
        })
    }

    proptest! {
        #[test]
        fn slices_hold_exactly_what_is_wanted(steps in proptest::collection::vec(wanted(), 1..5)) {
            let mut slices = Vec::new();
            for wanted in steps {
                slices = applied(&slices, &pack(&slices, &wanted, "db", &nothing));
                prop_assert_eq!(held(&slices), wanted.clone().into_iter().collect::<Vec<_>>());
                prop_assert!(slices.iter().all(|slice| (1..=MAX_PER_SLICE).contains(&slice.endpoints.len())));
                prop_assert_eq!(pack(&slices, &wanted, "db", &nothing), vec![], "and then nothing is written");
            }
        }

        #[test]
        fn one_change_writes_one_slice(steps in proptest::collection::vec(wanted(), 1..4), n in 0..400_u16, up in any::<bool>()) {
            let (mut slices, mut last) = (Vec::new(), Wanted::new());
            for wanted in steps {
                slices = applied(&slices, &pack(&slices, &wanted, "db", &nothing));
                last = wanted;
            }
            let (location, changed) = endpoint(n, 1, if up { READY } else { DOWN });
            let mut other = last.clone();
            if other.insert(location, changed.clone()) == Some(changed) {
                other.remove(&location);
            }
            prop_assert_eq!(pack(&slices, &other, "db", &nothing).len(), 1);
        }
    }

    #[test]
    fn what_somebody_changed_is_written_again() {
        let wanted: Wanted = [endpoint(1, 80, READY), endpoint(2, 80, DOWN)].into();
        let mut slices = applied(&[], &pack(&[], &wanted, "db", &nothing));
        assert_eq!(slices.iter().map(|s| &*s.name).collect::<Vec<_>>(), ["db-ipv4-80-0"]);
        slices[0].intact = false;
        assert!(matches!(&pack(&slices, &wanted, "db", &nothing)[..], [Change::Update(..)]));
        slices[0].intact = true;
        slices.push(Slice { name: "double".into(), ..slices[0].clone() });
        slices.push(Slice { name: "odd".into(), group: None, endpoints: Vec::new(), intact: false });
        let deleted = [Change::Delete("odd".into()), Change::Delete("double".into())];
        assert_eq!(pack(&slices, &wanted, "db", &nothing), deleted);
        assert_eq!(pack(&slices, &Wanted::new(), "db", &nothing).len(), 3, "all go");
    }

    #[test]
    fn a_name_that_somebody_else_has_is_left_to_them() {
        let wanted: Wanted = [endpoint(1, 80, READY)].into();
        let slices = applied(&[], &pack(&[], &wanted, "db", &|name| name == "db-ipv4-80-0"));
        assert_eq!(slices.iter().map(|s| &*s.name).collect::<Vec<_>>(), ["db-ipv4-80-1"]);
        assert_eq!(pack(&slices, &wanted, "db", &|_| true), vec![], "a slice that it has keeps its name");
    }

    #[test]
    fn only_what_passes_and_is_not_drained_is_ready() {
        let ready = |serving, terminating| EndpointState { serving, terminating }.ready();
        assert!(ready(true, false));
        assert!(!ready(true, true) && !ready(false, false) && !ready(false, true));
    }
}
