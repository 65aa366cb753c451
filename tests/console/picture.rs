//! The README's pictures: frames of a real run, as SVGs. `make picture` writes them; without that, the test only draws them.

use crate::company;
use crate::svg;
use crate::terminal::{Server, Terminal};

/// A picture: its file, the terminal's size, the keys that lead to it, what it shows then, and its title.
struct Picture {
    file: &'static str,
    size: (u16, u16),
    keys: &'static str,
    shows: &'static [&'static str],
    title: &'static str,
}

const PICTURES: [Picture; 5] = [
    Picture {
        file: "console.svg",
        size: (110, 28),
        keys: "",
        shows: &["F  6 of 7 failing share host 127.0.0.13", "✖ down 5", "checkout", "503 (wants 2xx)", " ms"],
        title: "portolan console: what is down, since when, and what the failing share",
    },
    Picture {
        file: "console-pivot.svg",
        size: (110, 13),
        keys: "v\t",
        shows: &["services by host", "127.0.0.13", "MAIN REASON"],
        title: "portolan console: the services by host",
    },
    Picture {
        file: "console-explain.svg",
        size: (150, 24),
        keys: "1e",
        shows: &["WHERE IT BROKE", "nothing listens on 127.0.0.13:8080", "settled"],
        title: "portolan console: why the selected service is down, beside the list",
    },
    Picture {
        file: "console-outages.svg",
        size: (110, 21),
        keys: "eO\t",
        shows: &["outages of 7 d", "14 outages, 5 now", "pay/ledger", "NameNotFound"],
        title: "portolan console: the outages of a week",
    },
    Picture {
        file: "console-history.svg",
        size: (130, 24),
        keys: "1/name=cart\rT",
        shows: &["shop/cart timeline", "UP  OUTAGES", "30 d", "drained"],
        title: "portolan console: what became of a service in a day, a week and a month",
    },
];

#[tokio::test]
async fn frames_of_a_real_run_are_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    company::write(&folder.path().join("services.db")).await;
    tokio::task::spawn_blocking(move || draw_all(&Server::start_in(env!("CARGO_BIN_EXE_portolan").into(), folder)))
        .await
        .expect("it draws");
}

fn draw_all(server: &Server) {
    let mut t = Terminal::start(server.console(&["--server", &server.url()]), PICTURES[0].size);
    for picture in PICTURES {
        t.resize(picture.size);
        // Its first row reaches to the right end.
        let wide = usize::from(picture.size.0) - 2;
        t.wait("the size", |text| text.lines().next().is_some_and(|row| row.trim_end().chars().count() >= wide));
        t.keys(picture.keys);
        t.wait(picture.file, |text| picture.shows.iter().all(|part| text.contains(part)));
        let drawn = svg::draw(t.shown().parser.screen(), picture.size, picture.title);
        // The port that this run got says nothing.
        let drawn = drawn.replace(&server.url(), "http://127.0.0.1:8080");
        assert!(drawn.contains(">✖</text>") || drawn.contains(">█"), "{}", picture.file);
        assert!(drawn.ends_with("</svg>\n"));
        if std::env::var_os("PORTOLAN_PICTURE").is_some_and(|value| !value.is_empty()) {
            let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(picture.file);
            std::fs::write(file, drawn).expect("is written");
        }
    }
    t.keys("\u{3}");
    assert!(t.ended().success());
}
