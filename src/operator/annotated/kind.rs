//! The kinds of objects of other projects that can have health written into them.

use kube::api::ApiResource;

/// A kind of another project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Istio's `WorkloadEntry`: a machine outside of the cluster, in the mesh.
    WorkloadEntry,
    /// Linkerd's `ExternalWorkload`: the same.
    ExternalWorkload,
    /// external-dns' `DNSEndpoint`: records of a DNS zone.
    DnsEndpoint,
}

impl Kind {
    /// Its API.
    pub(super) fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::WorkloadEntry => ("networking.istio.io", "v1", "WorkloadEntry", "workloadentries"),
            Self::ExternalWorkload => ("workload.linkerd.io", "v1beta1", "ExternalWorkload", "externalworkloads"),
            Self::DnsEndpoint => ("externaldns.k8s.io", "v1alpha1", "DNSEndpoint", "dnsendpoints"),
        };
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: format!("{group}/{version}"),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }

    /// Its name in a sentence, with its group and version.
    pub fn api_name(self) -> String {
        let ApiResource { group, version, plural, .. } = self.resource();
        format!("{plural}.{group}/{version}")
    }

    /// What grants the necessary rights.
    pub fn component(self) -> &'static str {
        match self {
            Self::WorkloadEntry => "deploy/components/workload-entries",
            Self::ExternalWorkload => "deploy/components/external-workloads",
            Self::DnsEndpoint => "deploy/components/dns-endpoints",
        }
    }

    /// Whether its health is in its status; otherwise it is in its spec.
    pub(super) fn has_condition(self) -> bool {
        self != Self::DnsEndpoint
    }
}
