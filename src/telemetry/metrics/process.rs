//! `process_*`: the metrics that
//! [every Prometheus client library](https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics) reports about its process,
//! under the names that dashboards know.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::model::time::UnixMs;

/// The collector of this process. It reads at each scrape and omits what the system does not provide: memory and open descriptors come
/// from Linux's `/proc`.
#[derive(Debug)]
pub struct ProcessMetrics {
    /// Milliseconds since 1970.
    started: u64,
}

impl ProcessMetrics {
    /// For a process that starts now.
    pub fn starting() -> Self {
        Self { started: u64::try_from(UnixMs::wall().0).unwrap_or(0) }
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let (help, seconds) = ("User and system CPU time spent", Some(&Unit::Seconds));
        let cpu = encoder.encode_descriptor("process_cpu", help, seconds, MetricType::Counter)?;
        ConstCounter::new(cpu_seconds()).encode(cpu)?;

        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let (bytes, started) = (Some(Unit::Bytes), Some(float(self.started) / 1000.0));
        for (name, help, unit, value) in [
            ("process_start_time", "Start time since the Unix epoch", seconds.cloned(), started),
            ("process_resident_memory", "Resident memory", bytes.clone(), bytes_of(&status, "VmRSS:")),
            ("process_virtual_memory", "Virtual memory", bytes, bytes_of(&status, "VmSize:")),
            ("process_open_fds", "Open file descriptors", None, open_descriptors()),
            ("process_max_fds", "Most open file descriptors", None, getrlimit(Resource::Nofile).current.map(float)),
        ] {
            if let Some(value) = value {
                let gauge = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
                ConstGauge::new(value).encode(gauge)?;
            }
        }
        Ok(())
    }
}

fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let part = |n: i64| float(u64::try_from(n).unwrap_or(0));
    part(used.tv_sec) + part(used.tv_nsec) / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn float(n: u64) -> f64 {
    n as f64
}

/// A line of [`/proc/PID/status`](https://man7.org/linux/man-pages/man5/proc_pid_status.5.html), which counts in kB of 1,024 bytes.
fn bytes_of(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(float(kilobytes) * 1024.0)
}

/// Since Linux 6.2 the folder's size is the number. On older kernels its entries are counted, minus the one that the counting opens.
fn open_descriptors() -> Option<f64> {
    const FOLDER: &str = "/proc/self/fd";
    let open = match std::fs::metadata(FOLDER).ok()?.len() {
        0 => u64::try_from(std::fs::read_dir(FOLDER).ok()?.count()).ok()?.saturating_sub(1),
        open => open,
    };
    Some(float(open))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tportolan\nVmSize:\t  104720 kB\nVmRSS:\t   17408 kB\n";
        assert_eq!(bytes_of(status, "VmRSS:"), Some(17_825_792.0));
        assert_eq!(bytes_of(status, "VmSwap:"), None);
        assert_eq!(bytes_of("VmRSS:\t17408 MB\n", "VmRSS:"), None);
    }
}
