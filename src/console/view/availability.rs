//! A service's strips, below its instances and its timeline.

use ratatui::Frame;
use ratatui::layout::Rect;
use uuid::Uuid;

use super::{Scene, message};
use crate::console::layout;
use crate::console::page;

/// Draws them at the end of an area, and returns what is left of it.
pub(super) fn below(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>, id: Uuid) -> Rect {
    let height = u16::try_from(layout::availability_height(scene.state)).unwrap_or(0).min(area.height);
    let left = Rect { height: area.height - height, ..area };
    if height > 0 {
        // An empty row above.
        let block = Rect { y: left.bottom() + 1, height: height - 1, ..area };
        let lines = page::availability(scene.state, &(id, None), usize::from(area.width));
        message::show(frame, block, scene, lines.into_iter());
    }
    left
}
