//! A function per target: it takes any bytes, and panics where Portolan does something with them that it must not. `fuzz/` drives the same
//! functions by coverage.

#[expect(dead_code, reason = "the API's tests ask more of it")]
#[path = "../../api/app.rs"]
pub(crate) mod app;
pub(crate) mod http;
pub(crate) mod probe;
pub(crate) mod requests;
pub(crate) mod rows;
#[path = "../../console/server_client.rs"]
mod server_client;
pub(crate) mod watch;

use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::Runtime;

/// A deadline against hanging, on a machine of any speed.
pub(crate) const AMPLE: Duration = Duration::from_secs(30);

/// The runtime of all targets, which are plain functions.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    })
}
