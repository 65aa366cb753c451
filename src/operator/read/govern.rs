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
use crate::model::name::InstanceName;
use crate::model::namespace_policy::{Excess, Limit, PolicyInForce};
use crate::model::service::InstanceSpec;

/// What the policies of its namespace mean for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Governed {
    /// The policies' names, in order.
    pub names: Vec<Arc<str>>,
    /// Each value of a check that a limit replaces, in a sentence.
    pub limited: Vec<String>,
    /// The instances beyond the most that they allow a service, which are left out.
    pub beyond: Vec<InstanceName>,
}

/// The object, as it is without policies, under these.
pub(in crate::operator) fn govern(ungoverned: &ParsedService, policy: &PolicyInForce) -> ParsedService {
    let mut parsed = ungoverned.clone();
    if parsed.deleting {
        return parsed;
    }
    let mut limited = BTreeSet::new();
    let instances = parsed.mirrored.as_mut().map(|mirrored| std::mem::take(&mut mirrored.instances));
    let (mut kept, mut beyond) = (Vec::new(), Vec::new());
    for instance in instances.into_iter().flatten() {
        if let Some(limit) = policy.max_instances().filter(|limit| kept.len() >= limit.value as usize) {
            note(&mut parsed.problems, &instance.name, ProblemKind::Invalid, &exceeds(limit));
            beyond.push(instance.name);
        } else if is_admitted(&instance, policy, &mut parsed.problems) {
            limited.extend(excesses(&instance.spec, policy));
            kept.push(instance);
        }
    }
    parsed.mirrored =
        parsed.mirrored.filter(|_| !kept.is_empty()).map(|mirrored| Mirrored { instances: kept, ..mirrored });
    let limited = limited.into_iter().collect();
    parsed.governed = Some(Governed { names: policy.names().to_vec(), limited, beyond });
    parsed
}

fn exceeds(limit: &Limit) -> String {
    format!(
        "it exceeds the {} instances per service that the NamespacePolicy {} allows; remove instances, or split the service",
        limit.value, limit.policy
    )
}

/// Whether the policy's networks leave it in.
fn is_admitted(instance: &MirroredInstance, policy: &PolicyInForce, problems: &mut Vec<Problem>) -> bool {
    let judged = judge(&instance.spec, &|url| policy.admit_url(url).err());
    if let Some(denied) = &judged.denied {
        note(problems, &instance.name, ProblemKind::AddressDenied, denied);
    }
    judged.serve
}

/// Adds the problem, unless the instance has one already.
fn note(problems: &mut Vec<Problem>, name: &InstanceName, kind: ProblemKind, sentence: &str) {
    if !problems.iter().any(|problem| problem.instance.as_deref() == Some(name.as_str())) {
        problems.push(Problem::of(name.as_str(), kind, sentence));
    }
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
