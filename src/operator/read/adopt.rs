//! Instances that an object adopts: an endpoint of a core Service, with what the spec says for all.
//!
//! The kubelet's readiness is their health, on every replica. The object's own checks advise beside it, since a probe from outside a mesh
//! may fail where the pod is well; the status shows both.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::hash::probe_hash;
use super::instance::reported;
use super::{ListedInstance, ObjectId, ParsedService, Problem, ProblemKind, fields, mirror, verdict};
use crate::model::check::{Check, CheckKind, NamedCheck};
use crate::model::mirror::{MirroredInstance, ReportedHealth};
use crate::model::name::{CheckName, InstanceName};
use crate::model::outcome::{Health, Reason};
use crate::model::ports::AddressGate;
use crate::model::service::{Drain, InstanceSpec, MAX_INSTANCES_PER_SERVICE, Owner, Source};
use crate::model::url::EndpointUrl;
use crate::operator::crd::{FromSpec, InstanceStatus, ServiceSpec, ServiceStatus, read_check, read_checks};
use crate::operator::endpoints::{Choice, Endpoints, Pick};

/// The name of the check that decides the health of adopted instances.
const READINESS: &str = "readiness";
/// The name that the object's plain check gets beside it.
const PROBE: &str = "probe";

/// What an object says about the instances that it adopts.
#[derive(Debug, Clone, PartialEq)]
pub struct Adopting {
    /// From where.
    pub from: FromSpec,
    version: String,
    description: String,
    metadata: BTreeMap<String, String>,
    /// Its checks, all of them advisory.
    checks: Vec<NamedCheck>,
}

/// Reads what `spec` says about adopting.
///
/// # Errors
/// A sentence that names the field that is wrong.
pub(super) fn read(spec: &ServiceSpec) -> Result<Option<Adopting>, String> {
    let Some(from) = spec.from.clone() else { return Ok(None) };
    let (version, description) =
        (spec.version.clone().unwrap_or_default(), spec.description.clone().unwrap_or_default());
    let metadata = spec.metadata.clone().unwrap_or_default();
    fields::accept_texts(&version, &description, "")?;
    fields::accept_metadata(&metadata)?;
    let mut checks = spec.checks.as_deref().map_or(Ok(Vec::new()), read_checks)?;
    if let Some(spec) = &spec.check {
        let mut check = read_check(spec).map_err(|error| format!("check: {error}"))?;
        check.kind.get_or_insert(CheckKind::Tcp);
        let name: CheckName = PROBE.parse().unwrap_or_default();
        if check.kind != Some(CheckKind::None) {
            checks.push(NamedCheck { name, advisory: true, url: None, check });
        }
    }
    if checks.iter().any(|named| named.check.is_heartbeat()) {
        return Err(
            "checks: adopted endpoints cannot send heartbeats; use another kind of check, or leave it out".to_owned()
        );
    }
    for named in &mut checks {
        named.advisory = true;
    }
    checks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(Adopting { from, version, description, metadata, checks }))
}

/// The object `written`, as it is without what it adopts, with that; as it is while the endpoints are not known.
pub(in crate::operator) fn adopt(
    written: &ParsedService,
    id: &ObjectId,
    status: Option<&ServiceStatus>,
    endpoints: &Endpoints,
    addresses: &dyn AddressGate,
) -> ParsedService {
    let mut parsed = written.clone();
    let Some(adopting) = written.from.as_deref() else { return parsed };
    let names =
        written.instances.iter().filter_map(|listed| listed.name.parse().ok()).collect::<HashSet<InstanceName>>();
    let Some(choice) = endpoints.choose(id.key.namespace(), &adopting.from, &names) else {
        parsed.mirrored = None;
        return parsed;
    };
    let Choice { picks, revision, adoption } = choice;
    let mut instances = written.mirrored.as_ref().map(|mirrored| mirrored.instances.clone()).unwrap_or_default();
    let (reported, mut read) = (reported(status), Vec::with_capacity(picks.len()));
    for pick in &picks {
        let own = reported.get(pick.name.as_str()).copied();
        let (one, problem) = instance(adopting, pick, own, addresses);
        // A check that does not fit is the same problem of all.
        if let Some(problem) = problem.filter(|problem| !parsed.problems.contains(problem)) {
            parsed.problems.push(problem);
        }
        match one {
            Some(one) => read.push(one),
            None => parsed.instances.push(ListedInstance::unreadable(pick.name.to_string())),
        }
    }
    for (one, listed) in read {
        instances.push(one);
        parsed.instances.push(listed);
    }
    instances.sort_by(|a, b| a.name.cmp(&b.name));
    parsed.instances.sort_by(|a, b| a.name.cmp(&b.name));
    parsed.adoption = Some(adoption);
    let fits = !written.deleting && (1..=MAX_INSTANCES_PER_SERVICE).contains(&instances.len());
    parsed.mirrored = fits.then(|| {
        let mut mirrored = mirror(id.clone(), Source::Manifest, instances);
        mirrored.revision = mirrored.revision.max(revision);
        mirrored
    });
    parsed
}

/// The instance of an endpoint, if it may be listed, and what is wrong with it.
fn instance(
    adopting: &Adopting,
    pick: &Pick,
    status: Option<&InstanceStatus>,
    addresses: &dyn AddressGate,
) -> (Option<(MirroredInstance, ListedInstance)>, Option<Problem>) {
    let name = pick.name.as_str();
    let base_url = match EndpointUrl::base(&pick.url) {
        Ok(url) => url,
        Err(error) => return (None, Some(Problem::of(name, ProblemKind::Invalid, &error.to_string()))),
    };
    if let Err(why) = addresses.admit(&base_url) {
        return (None, Some(Problem::of(name, ProblemKind::AddressDenied, &why)));
    }
    let mut spec = InstanceSpec {
        version: adopting.version.clone(),
        description: adopting.description.clone(),
        metadata: adopting.metadata.clone(),
        checks: adopting.checks.clone(),
        zone: pick.zone.clone(),
        external_id: pick.full_name.clone(),
        ..InstanceSpec::at(base_url)
    };
    let problem = spec.accept_checks().err().map(|error| {
        // It is there all the same: readiness needs no check.
        spec.checks.clear();
        Problem::of_all(&error.replace("checks.probe:", "check:"))
    });
    spec.check = Check { kind: Some(CheckKind::Readiness), ..Check::default() };
    let hash = probe_hash(&spec);
    let status_now = status.filter(|status| status.probe_hash == hash);
    let reported = readiness(pick, status_now);
    let acknowledged = status_now.and_then(|status| verdict::acknowledgement(status, &reported));
    let drain = pick.state.terminating.then(|| {
        let since = status_now.and_then(|status| status.drained_since).unwrap_or(pick.since);
        Arc::new(Drain {
            reason: "its pod is being deleted".to_owned(),
            by: "Kubernetes".to_owned(),
            since,
            until: None,
        })
    });
    let listed =
        ListedInstance { name: name.to_owned(), probe_hash: Some(hash), drain: drain.clone(), weightless: false };
    let instance = MirroredInstance {
        name: pick.name.clone(),
        spec: Arc::new(spec),
        owner: Owner::Anonymous,
        generation: None,
        drain,
        reported: Some(reported),
        acknowledged: acknowledged.map(Arc::new),
    };
    (Some((instance, listed)), problem)
}

/// The kubelet's verdict. Since when, the object's status knows across restarts; what the object's checks found is the leader's to say.
fn readiness(pick: &Pick, status: Option<&InstanceStatus>) -> ReportedHealth {
    let (health, reason) =
        if pick.state.usable { (Health::Healthy, Reason::Passed) } else { (Health::Unhealthy, Reason::NotReady) };
    let message = match (pick.state.usable, pick.state.terminating) {
        (true, false) => "Kubernetes reports it ready",
        (true, true) => "Kubernetes reports it still serving while its pod is being deleted",
        (false, _) => "Kubernetes reports it not ready: its readiness probe fails or its pod is not running",
    };
    let said = status.map(verdict::read);
    let since = said.as_ref().filter(|said| (said.health, said.reason) == (health, reason)).map(|said| said.since);
    let beside = said.unwrap_or_else(|| ReportedHealth::new(health, reason, pick.since));
    ReportedHealth {
        health,
        reason,
        since: since.unwrap_or(pick.since),
        message: message.to_owned(),
        decided_by: READINESS.parse().unwrap_or_default(),
        ..beside
    }
}
