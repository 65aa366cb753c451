//! A terminal's screen as an SVG: a rectangle for each run of one background, a text for each word, so that a picture that is drawn again
//! differs only where its words do.

use std::fmt::Write;

/// Pixels of a cell.
const CELL: (u16, u16) = (9, 19);
const MARGIN: u16 = 8;
const FONT: &str = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
const INK: &str = "#d7dae0";
const GROUND: &str = "#16181d";

/// How a cell looks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    ink: String,
    ground: String,
    bold: bool,
}

/// Draws a screen of that size.
pub(crate) fn draw(screen: &vt100::Screen, (cols, rows): (u16, u16), title: &str) -> String {
    let (width, height) = (cols * CELL.0 + 2 * MARGIN, rows * CELL.1 + 2 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"{FONT}\" font-size=\"15\">\n\
         <title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{GROUND}\"/>\n"
    );
    for row in 0..rows {
        let cells: Vec<(Look, String)> = (0..cols).map(|col| cell(screen, row, col)).collect();
        grounds(&mut out, &cells, row);
        words(&mut out, &cells, row);
    }
    out.push_str("</svg>\n");
    out
}

fn cell(screen: &vt100::Screen, row: u16, col: u16) -> (Look, String) {
    let Some(cell) = screen.cell(row, col) else {
        return (Look { ink: INK.to_owned(), ground: GROUND.to_owned(), bold: false }, String::new());
    };
    let (mut ink, mut ground) = (colour(cell.fgcolor(), INK), colour(cell.bgcolor(), GROUND));
    if cell.inverse() {
        std::mem::swap(&mut ink, &mut ground);
    }
    let text = cell.contents().replace('&', "&amp;").replace('<', "&lt;");
    (Look { ink, ground, bold: cell.bold() }, text)
}

fn grounds(out: &mut String, cells: &[(Look, String)], row: u16) {
    let mut at = 0;
    for run in cells.chunk_by(|(a, _), (b, _)| a.ground == b.ground) {
        let ground = &run[0].0.ground;
        if ground != GROUND {
            let (x, width) = (MARGIN + at * CELL.0, columns(run.len()) * CELL.0);
            let (y, height) = (MARGIN + row * CELL.1, CELL.1);
            writeln!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{ground}\"/>")
                .expect("to a string");
        }
        at += columns(run.len());
    }
}

fn words(out: &mut String, cells: &[(Look, String)], row: u16) {
    let is_blank = |text: &str| text.trim().is_empty();
    let mut at = 0;
    for run in cells.chunk_by(|(a, of_a), (b, of_b)| a == b && is_blank(of_a) == is_blank(of_b)) {
        let text: String = run.iter().map(|(_, text)| text.as_str()).collect();
        if !is_blank(&text) {
            let (x, y) = (MARGIN + at * CELL.0, MARGIN + row * CELL.1 + 15);
            // Whatever the font, every cell is as wide as in a terminal.
            let width = columns(run.len()) * CELL.0;
            let Look { ink, bold, .. } = &run[0].0;
            let bold = if *bold { " font-weight=\"bold\"" } else { "" };
            writeln!(out, "<text x=\"{x}\" y=\"{y}\" textLength=\"{width}\" fill=\"{ink}\"{bold}>{text}</text>")
                .expect("to a string");
        }
        at += columns(run.len());
    }
}

fn columns(cells: usize) -> u16 {
    u16::try_from(cells).expect("a terminal's width")
}

fn colour(colour: vt100::Color, usual: &str) -> String {
    match colour {
        vt100::Color::Default => usual.to_owned(),
        vt100::Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        vt100::Color::Idx(1 | 9) => "#ff6b6b".to_owned(),
        vt100::Color::Idx(2 | 10) => "#6bd968".to_owned(),
        vt100::Color::Idx(3 | 11) => "#e5c453".to_owned(),
        vt100::Color::Idx(8) => "#7d8590".to_owned(),
        vt100::Color::Idx(236) => "#303030".to_owned(),
        vt100::Color::Idx(_) => "#d0d0d0".to_owned(),
    }
}
