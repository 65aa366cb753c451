//! The control plane that the tests share.

use control_plane::ControlPlane;
use tokio::sync::OnceCell;

/// Started at the first use. It ends with this process, whose end its guards notice.
pub(crate) async fn shared() -> &'static ControlPlane {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE.get_or_init(async || ControlPlane::start().await.expect("a control plane")).await
}
