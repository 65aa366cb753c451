//! From an object's creation until it can be found, against a bare watch of the same API server in the same moments.

use std::time::Instant;

use anyhow::Result;
use measure::percentile;
use serde_json::json;

use crate::backend::spec;
use crate::bare::Watch;
use crate::environment::Environment;
use crate::found::Finder;
use crate::{Plan, milliseconds};

/// Objects that come before those that count.
const WARM_UP: usize = 20;

/// Milliseconds from the request to create an object.
struct Delays {
    bare: f64,
    portolan: f64,
}

/// Runs it.
pub(crate) async fn run(plan: Plan) -> Result<()> {
    let environment = Environment::start().await?;
    let replica = environment.replica("one").await?;
    replica.until_ready().await?;
    let (mut watch, mut finder) = (Watch::start(&environment).await?, Finder::start(&replica).await?);
    let mut all = Vec::new();
    for n in 0..WARM_UP + plan.applied {
        let name = format!("service-{n:05}");
        let sent = Instant::now();
        environment.create(&name, spec(json!({ "none": {} }), "http://10.0.0.5:8080")?).await?;
        let portolan = finder.until(&name).await?;
        let bare = watch.find(|event| event.name == name).await?.at;
        watch.forget();
        if n >= WARM_UP {
            all.push(Delays { bare: milliseconds(bare - sent), portolan: milliseconds(portolan - sent) });
        }
    }
    report(&all);
    replica.stop().await
}

fn report(all: &[Delays]) {
    let row = |what: &str, value: fn(&Delays) -> f64, goal: &str| {
        let of = |percent| format!("{:.2}", percentile(all.iter().map(value), percent));
        vec![what.to_owned(), of(50), of(99), goal.to_owned()]
    };
    let rows = [
        row("a bare watch receives the event", |delays| delays.bare, ""),
        row("discovery at Portolan answers 200", |delays| delays.portolan, ""),
        row("the difference, per object", |delays| delays.portolan - delays.bare, "p99 ≤ 5"),
    ];
    let title = format!("From the request that creates an object, {} objects in sequence", all.len());
    measure::print(&title, &["until", "p50 ms", "p99 ms", "goal"], &rows);
}
