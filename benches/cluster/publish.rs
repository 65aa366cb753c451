//! From a change of health until the EndpointSlice of a core Service says so, and what 5,000 slices cost.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service as CoreService;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use measure::percentile;
use portolan::operator::crd::{ServiceResource, ServiceSpec};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::environment::{Environment, NAMESPACE};
use crate::replica::Replica;
use crate::slices::{Watch, slices};
use crate::{PATIENCE, Plan, milliseconds};

/// Seconds between probes where a backend falls silent, and of each probe.
const INTERVAL: u64 = 5;
const TIMEOUT: u64 = 1;
/// Seconds between probes of what only has to be there.
const STEADY_INTERVAL: u64 = 30;
/// Objects that are created at the same time.
const AT_ONCE: usize = 16;
const OURS: &str = "endpointslice.kubernetes.io/managed-by=portolan.dev";

/// Runs it.
pub(crate) async fn run(plan: Plan) -> Result<()> {
    for others in [0, plan.published - 1] {
        from_health_to_slice(plan, others).await?;
    }
    from_silence_to_slice(plan).await?;
    many(plan).await
}

/// How a backend answers.
#[derive(Clone, Copy)]
enum Answer {
    Healthy,
    Unhealthy,
    Silent,
}

/// An HTTP server whose port stays its own.
struct Backend {
    address: SocketAddr,
    answer: Arc<AtomicU8>,
    _serving: JoinSet<()>,
}

impl Backend {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, current) = (listener.local_addr()?, Arc::new(AtomicU8::new(Answer::Healthy as u8)));
        let (mut serving, now) = (JoinSet::new(), Arc::clone(&current));
        serving.spawn(async move {
            // What is never answered, until the probe gives up.
            let mut silent = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                if now.load(Ordering::SeqCst) == Answer::Silent as u8 {
                    silent.push(stream);
                } else {
                    let status = if now.load(Ordering::SeqCst) == Answer::Healthy as u8 { "200 OK" } else { "503 No" };
                    answer(stream, status).await;
                }
            }
        });
        Ok(Self { address, answer: current, _serving: serving })
    }

    fn becomes(&self, answer: Answer) -> Instant {
        self.answer.store(answer as u8, Ordering::SeqCst);
        Instant::now()
    }
}

async fn answer(mut stream: TcpStream, status: &str) {
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // The probe may have given up.
    drop(stream.write_all(text.as_bytes()).await);
    drop(stream.shutdown().await);
}

/// A core Service and an object that publishes for it, both called `name`. Its uid.
async fn publish(environment: &Environment, name: &str, backend: SocketAddr, seconds: u64) -> Result<String> {
    let core = json!({
        "metadata": { "name": name }, "spec": { "clusterIP": "None", "ports": [{ "name": "sql", "port": 5432 }] },
    });
    cores(environment).create(&PostParams::default(), &serde_json::from_value(core)?).await?;
    let spec: ServiceSpec = serde_json::from_value(json!({
        "check": { "intervalSeconds": seconds, "timeoutSeconds": TIMEOUT },
        "publish": { "service": name },
        "instances": [{ "name": "a", "baseUrl": "postgres://192.0.2.1:5432", "healthUrl": format!("http://{backend}") }],
    }))?;
    let object = environment.objects.create(&PostParams::default(), &ServiceResource::new(name, spec)).await?;
    object.metadata.uid.context("a uid")
}

async fn fill(environment: &Environment, count: usize, backend: &Backend) -> Result<()> {
    let calls = futures::stream::iter(0..count).map(|n| async move {
        publish(environment, &format!("steady-{n:05}"), backend.address, STEADY_INTERVAL).await.map(drop)
    });
    calls.buffer_unordered(AT_ONCE).try_collect().await
}

fn cores(environment: &Environment) -> Api<CoreService> {
    Api::namespaced(environment.objects.clone().into_client(), NAMESPACE)
}

/// Waits until so many of Portolan's slices are there, as long as each look finds more.
async fn until_slices(environment: &Environment, count: usize) -> Result<()> {
    let (api, ours) = (slices(environment), ListParams::default().labels(OURS));
    let (mut most, mut since) = (0, Instant::now());
    loop {
        let found = api.list_metadata(&ours).await?.items.len();
        if found == count {
            return Ok(());
        }
        if found > most {
            (most, since) = (found, Instant::now());
        }
        ensure!(since.elapsed() < PATIENCE, "only {found} of {count} slices");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A check on request decides at once, so that the time is the publisher's alone.
async fn from_health_to_slice(plan: Plan, others: usize) -> Result<()> {
    let environment = Environment::start_publishing().await?;
    let steady = Backend::start().await?;
    fill(&environment, others, &steady).await?;
    let replica = environment.replica("one").await?;
    until_slices(&environment, others).await?;
    let mut watch = Watch::start(&environment, OURS).await?;
    let (mut from_request, mut from_answer) = (Vec::new(), Vec::new());
    for n in 0..plan.transitions {
        let (name, backend) = (format!("moving-{n:03}"), Backend::start().await?);
        let id = publish(&environment, &name, backend.address, STEADY_INTERVAL).await?;
        watch.until(&name, true).await?;
        let (request, answer) = check(&replica, &id, &backend).await?;
        let written = watch.until(&name, false).await?;
        from_request.push(milliseconds(written.duration_since(request)));
        // The event may be read before the answer.
        from_answer.push(milliseconds(written.saturating_duration_since(answer)));
        environment.objects.delete(&name, &DeleteParams::default()).await?;
        cores(&environment).delete(&name, &DeleteParams::default()).await?;
    }
    let row = |what: &str, all: &[f64], goal: &str| {
        let of = |percent| format!("{:.1}", percentile(all.iter().copied(), percent));
        vec![what.to_owned(), of(50), of(99), goal.to_owned()]
    };
    let rows = [
        row("the request for the check that fails", &from_request, ""),
        row("its answer, when readers see the new health", &from_answer, "p99 ≤ 100"),
    ];
    let title = format!(
        "Until the event of the slice comes, {} transitions, {} published services",
        plan.transitions,
        others + 1
    );
    measure::print(&title, &["from", "p50 ms", "p99 ms", "goal"], &rows);
    replica.stop().await
}

async fn check(replica: &Replica, id: &str, backend: &Backend) -> Result<(Instant, Instant)> {
    let url = format!("{}/api/v1/services/{id}/health-check", replica.url);
    let request = backend.becomes(Answer::Unhealthy);
    let answer = replica.client.post(url).send().await?;
    ensure!(answer.status().is_success(), "the check answers {}", answer.status());
    Ok((request, Instant::now()))
}

async fn from_silence_to_slice(plan: Plan) -> Result<()> {
    let environment = Environment::start_publishing().await?;
    let replica = environment.replica("one").await?;
    let mut watch = Watch::start(&environment, OURS).await?;
    let mut backends = Vec::new();
    for n in 0..plan.deaths {
        let (name, backend) = (format!("silent-{n:03}"), Backend::start().await?);
        publish(&environment, &name, backend.address, INTERVAL).await?;
        watch.until(&name, true).await?;
        backends.push((name, backend));
    }
    let mut seconds = Vec::new();
    for (name, backend) in &backends {
        // Each meets its prober at another moment.
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..INTERVAL * 1000))).await;
        let silent = backend.becomes(Answer::Silent);
        seconds.push(watch.until(name, false).await?.duration_since(silent).as_secs_f64());
    }
    let worst = percentile(seconds.iter().copied(), 100);
    let row = |what: &str, value: f64, goal: &str| vec![what.to_owned(), format!("{value:.2} s"), goal.to_owned()];
    let interval = Duration::from_secs(INTERVAL).as_secs_f64();
    let rows = [
        row("p50", percentile(seconds.iter().copied(), 50), ""),
        row("worst", worst, ""),
        row("worst minus an interval", worst - interval, "≤ 3 s"),
    ];
    let title = format!(
        "Until the slice of a backend that accepts and never answers, {} backends, probed every {INTERVAL} s with a timeout of {TIMEOUT} s",
        seconds.len()
    );
    measure::print(&title, &["time", "measured", "goal"], &rows);
    replica.stop().await
}

async fn many(plan: Plan) -> Result<()> {
    let environment = Environment::start_publishing().await?;
    let backend = Backend::start().await?;
    fill(&environment, plan.slices, &backend).await?;
    let started = Instant::now();
    let leader = environment.replica("leader").await?;
    until_slices(&environment, plan.slices).await?;
    let all_written = started.elapsed();
    environment.until_state(plan.slices, "Healthy").await?;
    until_reported(&leader).await?;
    tokio::time::sleep(plan.rest).await;
    let first_mb = leader.resident_mb()?;
    let before = writes(&leader).await?;
    let percent = leader.cpu_percent(plan.steady).await?;
    let steady_writes = writes(&leader).await? - before;
    leader.stop().await?;

    let (leader, ready_ms) = environment.leader_again().await?;
    tokio::time::sleep(plan.rest).await;
    let again_writes = writes(&leader).await?;
    let row = |what: &str, measured: String, goal: &str| vec![what.to_owned(), measured, goal.to_owned()];
    let rows = [
        row("all written after a start without any", format!("{:.0} s", all_written.as_secs_f64()), ""),
        row("start from the file until ready", format!("{ready_ms:.0} ms"), "≤ 1,000 ms"),
        row("slices written after that start", again_writes.to_string(), "0"),
        row("resident memory of the leader, all written", format!("{first_mb:.0} MB"), ""),
        row("the same after a start from its file", format!("{:.0} MB", leader.resident_mb()?), ""),
        row("CPU of the leader, of one core, with its probes", format!("{percent:.1} %"), ""),
        row(&format!("slices written in {} s without a change", plan.steady.as_secs()), steady_writes.to_string(), "0"),
    ];
    let title = format!("{} published services, each with a slice, probed every {STEADY_INTERVAL} s", plan.slices);
    measure::print(&title, &["figure", "measured", "goal"], &rows);
    leader.stop().await
}

/// Waits until the leader has written every status, as long as each look finds fewer that wait. It writes two of each object: the first makes
/// the object its own, and only then it publishes and says so. Half of them are still to come when all slices are written.
async fn until_reported(leader: &Replica) -> Result<()> {
    let (mut fewest, mut since) = (u64::MAX, Instant::now());
    loop {
        let text = leader.client.get(format!("{}/metrics", leader.url)).send().await?.text().await?;
        let depth = text.lines().find_map(|line| line.strip_prefix("portolan_status_queue_depth ")?.parse().ok());
        let depth: u64 = depth.context("a metric")?;
        if depth == 0 {
            return Ok(());
        }
        if depth < fewest {
            (fewest, since) = (depth, Instant::now());
        }
        ensure!(since.elapsed() < PATIENCE, "{depth} statuses still wait");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Slices that the replica has written.
async fn writes(replica: &Replica) -> Result<u64> {
    let text = replica.client.get(format!("{}/metrics", replica.url)).send().await?.text().await?;
    let lines = text.lines().filter(|line| line.starts_with("portolan_endpoint_slice_writes_total{"));
    let counts = lines.filter(|line| line.contains("result=\"written\"")).filter_map(|line| line.rsplit(' ').next());
    Ok(counts.filter_map(|count| count.parse::<u64>().ok()).sum())
}
