//! Dialogs in front of the view.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph, Wrap};

use unicode_width::UnicodeWidthStr;

use super::Scene;
use crate::console::state::modal::{Modal, Picker};
use crate::console::text::Meaning;
use crate::console::text::fit::{end, fitting, padded};
use crate::console::text::sanitize::sanitize;

pub(super) fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>) {
    match &scene.state.modal {
        None | Some(Modal::Filter { .. }) => {}
        Some(Modal::Pick(picker)) => pick(frame, scene, picker),
        Some(Modal::Quit) => question(frame, scene, "quit", ["Quit? Enter or y quits, Esc stays.", ""], None),
        Some(Modal::CheckMany { services }) => {
            let text = format!("Probe {} services now? Enter or y probes them, Esc does not.", services.len());
            question(frame, scene, "probe", [&text, ""], None);
        }
        Some(modal @ Modal::Reason { input, what, .. }) => {
            let text = format!("To {what}, type the reason and press Enter. Esc leaves everything as it is.");
            question(frame, scene, "drain", [&text, &warning(scene, modal)], Some(input.value()));
        }
        Some(Modal::Note { input, what, .. }) => {
            let text = format!(
                "To acknowledge the failure of {what}, type a note and press Enter; `2h: note` ends it after two hours at the latest. Esc leaves everything as it is."
            );
            question(frame, scene, "acknowledge", [&text, ""], Some(input.value()));
        }
        Some(Modal::Ask { what, .. }) => {
            let text = format!("To {what}, press Enter or y. Esc leaves everything as it is.");
            question(frame, scene, "confirm", [&text, ""], None);
        }
        Some(modal @ Modal::Confirm { input, name, what, .. }) => {
            let text = format!("To {what}, type {name} and press Enter. Esc leaves everything as it is.");
            question(frame, scene, "confirm", [&text, &warning(scene, modal)], Some(input.value()));
        }
    }
}

fn warning(scene: &Scene<'_>, modal: &Modal) -> String {
    modal.warning(&scene.state.index).unwrap_or_default()
}

fn inside(frame: &mut Frame<'_>, scene: &Scene<'_>, title: &str, width: u16, height: u16) -> Rect {
    let all = frame.area();
    let (width, height) = (width.min(all.width), height.min(all.height));
    let area = Rect { x: (all.width - width) / 2, y: (all.height - height) / 3, width, height };
    frame.render_widget(Clear, area);
    let mut block = Block::bordered().title(format!(" {title} "));
    if scene.ascii() {
        block = block.border_set(ASCII);
    } else {
        block = block.border_type(BorderType::Rounded);
    }
    let inside = block.inner(area);
    frame.render_widget(block, area);
    inside
}

const ASCII: ratatui::symbols::border::Set<'static> = ratatui::symbols::border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

fn pick(frame: &mut Frame<'_>, scene: &Scene<'_>, picker: &Picker) {
    let rows = u16::try_from(picker.choices.len()).unwrap_or(u16::MAX).min(14);
    let area = inside(frame, scene, picker.title, 72, rows + 3);
    let typed = Line::from(vec![
        Span::styled("> ", scene.theme.of(Meaning::Strong)),
        Span::raw(sanitize(picker.input.value(), 256)),
    ]);
    frame.render_widget(typed, Rect { height: area.height.min(1), ..area });
    let list = super::table::below(area, 1);
    if picker.matching.is_empty() {
        frame.render_widget(Line::styled("no match", scene.theme.of(Meaning::Faint)), list);
    }
    let width = usize::from(list.width);
    // Beside a command stand only its aliases or its key.
    let most = if picker.commands { width * 4 / 5 } else { width * 3 / 5 };
    let widest = picker.choices.iter().map(|choice| choice.label.width()).max().unwrap_or(0);
    let left = (widest + 2).min(most).max(1);
    let height = usize::from(list.height).max(1);
    let top = (picker.at + 1).saturating_sub(height);
    for (y, (at, n)) in (list.y..list.bottom()).zip(picker.matching.iter().enumerate().skip(top)) {
        let Some(choice) = picker.choices.get(*n) else { continue };
        let line = Rect { y, height: 1, ..list };
        let help = fitting(sanitize(&choice.help, 256), width.saturating_sub(left));
        frame.render_widget(
            Line::from(vec![
                Span::raw(padded(&sanitize(&choice.label, 256), left)),
                Span::styled(help, scene.theme.of(Meaning::Faint)),
            ]),
            line,
        );
        if at == picker.at {
            frame.buffer_mut().set_style(line, scene.theme.selected());
        }
    }
    cursor(frame, area, 0, 2 + picker.input.visual_cursor());
}

/// A question, and what it warns of.
fn question(frame: &mut Frame<'_>, scene: &Scene<'_>, title: &str, texts: [&str; 2], typed: Option<&str>) {
    let texts = texts.map(|text| sanitize(text, 512));
    let width = 64.min(frame.area().width).saturating_sub(2).max(1);
    // Words that wrap leave gaps: one line more than the text alone.
    let lines: usize = texts.iter().map(|text| text.width().div_ceil(usize::from(width))).sum::<usize>() + 1;
    let area = inside(frame, scene, title, 64, u16::try_from(lines + 4).unwrap_or(u16::MAX));
    let [text, warning] = texts;
    let mut shown = vec![Line::raw(text)];
    if !warning.is_empty() {
        shown.push(Line::styled(warning, scene.theme.of(Meaning::Bad)));
    }
    frame.render_widget(Paragraph::new(shown).wrap(Wrap { trim: true }), area);
    let Some(typed) = typed.filter(|_| area.height > 1) else { return };
    let last = area.height - 1;
    let typed = end(&sanitize(typed, 256), usize::from(area.width).saturating_sub(3));
    cursor(frame, area, last, 2 + typed.width());
    frame.render_widget(Line::raw(format!("> {typed}")), Rect { y: area.y + last, height: 1, ..area });
}

fn cursor(frame: &mut Frame<'_>, area: Rect, row: u16, column: usize) {
    let column = u16::try_from(column).unwrap_or(u16::MAX);
    if row < area.height && column < area.width {
        frame.set_cursor_position((area.x + column, area.y + row));
    }
}
