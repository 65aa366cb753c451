//! The README's picture: a frame of a real run, as an SVG. `make picture` writes it; without that, the test only draws it.

use std::fmt::Write;

use crate::terminal::{Server, Terminal};

const SIZE: (u16, u16) = (100, 24);
/// Pixels of a cell.
const CELL: (u16, u16) = (9, 19);
const FONT: &str = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";

#[test]
fn a_frame_of_a_real_run_is_drawn() {
    let server = Server::start(env!("CARGO_BIN_EXE_portolan").into());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let open = listener.local_addr().expect("an address").port();
    for name in ["accounts", "catalog", "ledger", "mail", "search", "sessions"] {
        server.register(name, open);
    }
    server.register("checkout", 1);
    let mut t = Terminal::start(server.console(&["--server", &server.url()]), SIZE);
    t.wait_for("✖ down 1");
    t.wait_for("● healthy 6");
    t.wait_for("unknown → ✖ down");
    t.wait("latencies", |text| text.matches(" ms").count() >= 6);
    let drawn = svg(t.shown().parser.screen());
    assert!(drawn.contains(">✖</text>") && drawn.ends_with("</svg>\n"));
    if std::env::var_os("PORTOLAN_PICTURE").is_some_and(|value| !value.is_empty()) {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/console.svg");
        std::fs::write(file, drawn).expect("is written");
    }
    t.keys("q");
    assert!(t.ended().success());
}

fn svg(screen: &vt100::Screen) -> String {
    let (width, height) = (SIZE.0 * CELL.0 + 16, SIZE.1 * CELL.1 + 16);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"{FONT}\" font-size=\"15\">\n\
         <title>portolan console: what is down, since when, and why</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#16181d\"/>\n"
    );
    for (row, col) in (0..SIZE.1).flat_map(|row| (0..SIZE.0).map(move |col| (row, col))) {
        let Some(cell) = screen.cell(row, col) else { continue };
        draw(&mut out, cell, 8 + col * CELL.0, 8 + row * CELL.1);
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, cell: &vt100::Cell, x: u16, y: u16) {
    let (mut ink, mut ground) = (colour(cell.fgcolor(), "#d7dae0"), colour(cell.bgcolor(), "#16181d"));
    if cell.inverse() {
        std::mem::swap(&mut ink, &mut ground);
    }
    if ground != "#16181d" {
        let (w, h) = CELL;
        writeln!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" fill=\"{ground}\"/>")
            .expect("to a string");
    }
    let text = cell.contents();
    if !text.trim().is_empty() {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let bold = if cell.bold() { " font-weight=\"bold\"" } else { "" };
        writeln!(out, "<text x=\"{x}\" y=\"{}\" fill=\"{ink}\"{bold}>{text}</text>", y + 15).expect("to a string");
    }
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
