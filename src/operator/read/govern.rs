//! Applies the policies of its namespace to an object: which addresses and how many instances they allow, and which values of its checks exceed
//! their limits.
//!
//! The numbers themselves stay as they are written: the prober applies defaults and limits, so that another policy changes no verdict and
//! no hash.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::instance::{in_manifest_words, judge};
use super::{ParsedService, Problem, ProblemKind};
use crate::model::check::AnyCheck;
use crate::model::mirror::{Mirrored, MirroredInstance};
use crate::model::namespace_policy::{Excess, PolicyInForce};
use crate::model::service::InstanceSpec;

/// What the policies of its namespace mean for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Governed {
    /// The policies' names, in order.
    pub names: Vec<Arc<str>>,
    /// Each value of a check that a limit replaces, in a sentence.
    pub limited: Vec<String>,
}

/// The object, as it is without policies, under these.
pub(in crate::operator) fn govern(ungoverned: &ParsedService, policy: &PolicyInForce) -> ParsedService {
    let mut parsed = ungoverned.clone();
    if parsed.deleting {
        return parsed;
    }
    let mut limited = BTreeSet::new();
    let instances = parsed.mirrored.as_mut().map(|mirrored| std::mem::take(&mut mirrored.instances));
    let mut kept = Vec::new();
    for instance in instances.into_iter().flatten() {
        if let Some(instance) = admit(instance, policy, kept.len(), &mut parsed.problems) {
            limited.extend(excesses(&instance.spec, policy));
            kept.push(instance);
        }
    }
    parsed.mirrored =
        parsed.mirrored.filter(|_| !kept.is_empty()).map(|mirrored| Mirrored { instances: kept, ..mirrored });
    parsed.governed = Some(Governed { names: policy.names().to_vec(), limited: limited.into_iter().collect() });
    parsed
}

/// The instance, unless the policy leaves it out. `before` of the object's instances were admitted.
fn admit(
    instance: MirroredInstance,
    policy: &PolicyInForce,
    before: usize,
    problems: &mut Vec<Problem>,
) -> Option<MirroredInstance> {
    let name = instance.name.as_str();
    let mut note = |kind, sentence: &str| {
        if !problems.iter().any(|problem| problem.instance.as_deref() == Some(name)) {
            problems.push(Problem::of(name, kind, sentence));
        }
    };
    if let Some(limit) = policy.max_instances()
        && before >= limit.value as usize
    {
        let sentence = format!(
            "it exceeds the {} instances per service that the NamespacePolicy {} allows; remove instances, or split the service",
            limit.value, limit.policy
        );
        note(ProblemKind::Invalid, &sentence);
        return None;
    }
    let judged = judge(&instance.spec, &|url| policy.admit_url(url).err());
    if let Some(denied) = &judged.denied {
        note(ProblemKind::AddressDenied, denied);
    }
    judged.serve.then_some(instance)
}

/// Sentences on the values that a limit replaces; the same for all instances with the same check.
fn excesses(spec: &InstanceSpec, policy: &PolicyInForce) -> Vec<String> {
    let of = |any: AnyCheck<'_>| {
        let at = any.name.map_or_else(|| "check".to_owned(), |name| format!("checks.{name}"));
        let excesses = policy.excesses(any.check);
        let sentence =
            move |excess: Excess| format!("{at}.{} {excess}, so that limit applies", in_manifest_words(excess.field));
        excesses.into_iter().map(sentence).collect::<Vec<_>>()
    };
    spec.all_checks().flat_map(of).collect()
}
