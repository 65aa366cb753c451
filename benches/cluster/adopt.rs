//! What 10,000 adopted endpoints cost beside as many written instances, and how soon readers see that one is not ready.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service as CoreService;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use measure::percentile;
use serde_json::{Value, json};

use crate::environment::{Environment, NAMESPACE};
use crate::found::Events;
use crate::replica::Replica;
use crate::slices::{SERVICE, Watch, slices};
use crate::{Plan, milliseconds};

const SERVICES: usize = 100;
/// Endpoints of each, in one slice.
const EACH: usize = 100;
/// Services that are created at the same time.
const AT_ONCE: usize = 16;
/// Between two changes of readiness.
const PAUSE: Duration = Duration::from_millis(50);

/// Of one cluster.
struct Cost {
    leader_mb: f64,
    percent: f64,
    from_file_ms: f64,
    again_mb: f64,
}

/// Runs it.
pub(crate) async fn run(plan: Plan) -> Result<()> {
    let written = Environment::start().await?;
    for_each_service(async |n| {
        let of = |i| json!({ "name": pod(i), "baseUrl": format!("http://{}:8080", address(n, i)), "zone": "eu-1a" });
        let instances: Vec<Value> = (0..EACH).map(of).collect();
        let spec = json!({ "check": { "none": {} }, "instances": instances });
        written.create(&name(n), serde_json::from_value(spec)?).await
    })
    .await?;
    let (of_written, leader) = cost(plan, &written, "NotChecked").await?;
    leader.stop().await?;
    drop(written);

    let adopting = Environment::start_adopting().await?;
    for_each_service(async |n| adopt(&adopting, n).await).await?;
    let (of_adopted, leader) = cost(plan, &adopting, "Healthy").await?;
    report_cost(plan, &of_written, &of_adopted);
    readiness(plan, &adopting, &leader).await?;
    leader.stop().await
}

async fn for_each_service(one: impl AsyncFn(usize) -> Result<()>) -> Result<()> {
    futures::stream::iter(0..SERVICES).map(|n| one(n)).buffer_unordered(AT_ONCE).try_collect().await
}

fn name(service: usize) -> String {
    format!("web-{service:03}")
}

fn pod(n: usize) -> String {
    format!("pod-{n:03}")
}

fn address(service: usize, n: usize) -> String {
    format!("10.{}.{}.{}", 100 + service / 50, service % 50, n + 1)
}

/// A core Service with its slice, and an object that adopts it.
async fn adopt(environment: &Environment, n: usize) -> Result<()> {
    let name = name(n);
    let core = json!({
        "metadata": { "name": name },
        "spec": { "selector": { "app": name }, "ports": [{ "name": "http", "port": 80 }] },
    });
    let cores: Api<CoreService> = Api::namespaced(environment.objects.clone().into_client(), NAMESPACE);
    cores.create(&PostParams::default(), &serde_json::from_value(core)?).await?;
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": { "name": name, "labels": { SERVICE: name } },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": endpoints(n, None),
    }))?;
    slices(environment).create(&PostParams::default(), &slice).await?;
    environment.create(&name, serde_json::from_value(json!({ "from": { "service": name } }))?).await
}

/// All of them ready, but for `unready`.
fn endpoints(service: usize, unready: Option<usize>) -> Vec<Value> {
    let endpoint = |i| {
        json!({
            "addresses": [address(service, i)], "zone": "eu-1a",
            "conditions": { "ready": Some(i) != unready, "serving": true, "terminating": false },
            "targetRef": { "kind": "Pod", "name": pod(i), "namespace": NAMESPACE },
        })
    };
    (0..EACH).map(endpoint).collect()
}

/// What a leader costs when everything has the state `state`. It stays.
async fn cost(plan: Plan, environment: &Environment, state: &str) -> Result<(Cost, Replica)> {
    let leader = environment.replica("leader").await?;
    environment.until_state(SERVICES, state).await?;
    tokio::time::sleep(plan.rest).await;
    let leader_mb = leader.resident_mb()?;
    let percent = leader.cpu_percent(plan.steady).await?;
    leader.stop().await?;

    let (leader, from_file_ms) = environment.leader_again().await?;
    tokio::time::sleep(plan.rest).await;
    let again_mb = leader.resident_mb()?;
    Ok((Cost { leader_mb, percent, from_file_ms, again_mb }, leader))
}

fn report_cost(plan: Plan, written: &Cost, adopted: &Cost) {
    let row = |what: &str, of: &dyn Fn(&Cost) -> String| vec![what.to_owned(), of(written), of(adopted)];
    let rows = [
        row("resident memory of the leader, all statuses written", &|cost| format!("{:.0} MB", cost.leader_mb)),
        row("the same after a start from its file", &|cost| format!("{:.0} MB", cost.again_mb)),
        row("start from the file until ready", &|cost| format!("{:.0} ms", cost.from_file_ms)),
        row(&format!("CPU over {} s without a change, of one core", plan.steady.as_secs()), &|cost| {
            format!("{:.2} %", cost.percent)
        }),
    ];
    let title = format!("{} instances of {SERVICES} services, without probes", SERVICES * EACH);
    measure::print(&title, &["figure", "written", "adopted"], &rows);
}

/// One endpoint after the other stops being ready, and is ready again.
async fn readiness(plan: Plan, environment: &Environment, leader: &Replica) -> Result<()> {
    let (mut bare, mut events) = (Watch::start(environment, SERVICE).await?, Events::open(leader).await?);
    let (api, mut from_request, mut from_event) = (slices(environment), Vec::new(), Vec::new());
    for n in 0..plan.transitions {
        let (number, ready) = (n / 2 % SERVICES, n % 2 == 1);
        let (service, unready) = (name(number), (!ready).then_some(n / 2 % EACH));
        let patch = json!({ "endpoints": endpoints(number, unready) });
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let request = Instant::now();
        let written = api.patch(&service, &params, &patch);
        let (written, bare_at, seen) = tokio::join!(written, bare.until(&service, ready), events.until(&service));
        written.context("a change of a slice")?;
        let (bare_at, seen) = (bare_at?, seen?);
        from_request.push(milliseconds(seen.duration_since(request)));
        // Either event may be read first.
        from_event.push(milliseconds(seen.saturating_duration_since(bare_at)));
        tokio::time::sleep(PAUSE).await;
    }
    let row = |what: &str, all: &[f64]| {
        let of = |percent| format!("{:.1}", percentile(all.iter().copied(), percent));
        vec![what.to_owned(), of(50), of(99)]
    };
    let rows = [
        row("the request that changes the slice", &from_request),
        row("the event of a bare watch of slices", &from_event),
    ];
    let title = format!("Until Portolan's watch tells that an endpoint is ready or not, {} changes", plan.transitions);
    measure::print(&title, &["from", "p50 ms", "p99 ms"], &rows);
    Ok(())
}
