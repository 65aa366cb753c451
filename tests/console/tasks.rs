//! Questions that an operator has to answer at three in the morning, each with the keys that answer it. docs/console-tasks.md is generated from
//! here.

use std::fmt::Write as _;
use std::path::Path;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use portolan::console::app::{Effect, Msg, update};
use portolan::console::data::{ProbingOfInstance, ProbingOfService};
use portolan::console::memory;
use portolan::console::source::{Operation, Request, SourceEvent};
use portolan::console::state::screen::{Selection, View};
use portolan::console::window::Window;
use portolan::model::outcome::Outcome;

use crate::facets::fleet;
use crate::scene::{CART, CHECKOUT, TestConsole, ago, cast, history, outages, passed};

/// Keys in the order in which they are pressed: characters, and names such as `Enter`.
struct Task {
    question: &'static str,
    keys: &'static [&'static str],
    /// Where the answer stands.
    answer: &'static str,
    holds: fn(&mut TestConsole, &[Effect]) -> bool,
}

/// The smallest terminal, a usual one and a large one.
const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 50)];

fn console(size: (u16, u16)) -> TestConsole {
    let mut console = TestConsole::loaded(size);
    let all = cast().into_iter().chain(fleet()).collect();
    console.receive(SourceEvent::Snapshot(all));
    console.tick(0);
    console.tick(2000);
    let outcome = Outcome { certificate_expires_at: Some(ago(-12 * 86_400 - 60)), ..passed(1) };
    let one = ProbingOfInstance { instance: "a".into(), last: Some(outcome.into()), ..ProbingOfInstance::default() };
    let probing = ProbingOfService { id: CART, instances: vec![one], live: true };
    console.receive(SourceEvent::Probing(CART, Some(Box::new(probing))));
    // The worst of the cast, which the questions are about, is selected.
    console.keys("/checkout\ng");
    console.press(KeyCode::Esc);
    console
}

fn shows(console: &mut TestConsole, all: &[&str]) -> bool {
    let text = console.text();
    all.iter().all(|part| text.contains(part))
}

const TASKS: &[Task] = &[
    Task {
        question: "What is down?",
        keys: &[],
        answer: "the first rows, and the count in the header",
        holds: |console, _| shows(console, &["✖ down 14", "✖ down     checkout"]),
    },
    Task {
        question: "Since when?",
        keys: &[],
        answer: "the column SINCE",
        holds: |console, _| shows(console, &["SINCE", "4m02s"]),
    },
    Task {
        question: "Did it flap?",
        keys: &["T"],
        answer: "its timeline",
        holds: |console, _| shows(console, &["checkout timeline", "11:45:48Z"]),
    },
    Task {
        question: "What changed in the last ten minutes?",
        keys: &["C"],
        answer: "recent changes, newest first",
        holds: |console, _| {
            console.receive(SourceEvent::History(CHECKOUT, history(0), None));
            shows(console, &["changed lately", "failed: connection refused"])
        },
    },
    Task {
        question: "Which namespace is worst?",
        keys: &["v"],
        answer: "the services by namespace, the worst first",
        holds: |console, _| shows(console, &["services by namespace", "DEGRADED"]),
    },
    Task {
        question: "Whose services fail?",
        keys: &["v", "Shift-Tab"],
        answer: "the services by their last label, here `team`",
        holds: |console, _| shows(console, &["services by team", "blue", "red"]),
    },
    Task {
        question: "What do the failing services have in common?",
        keys: &[],
        answer: "the header's third line; `F` lists them",
        holds: |console, _| shows(console, &["failing share host 10.0.0.3"]),
    },
    Task {
        question: "Is it the network or the service?",
        keys: &["X"],
        answer: "the stage at which the probe failed",
        holds: |console, _| shows(console, &["LAST GOOD", "WHERE IT BROKE", "nothing listens on 10.0.0.5:801"]),
    },
    Task {
        question: "Is it still down right now?",
        keys: &["p"],
        answer: "the result of a probe that changes nothing",
        holds: |_, effects| operations(effects).iter().any(|of| **of == Operation::Observe(CHECKOUT)),
    },
    Task {
        question: "Who owns it?",
        keys: &["X"],
        answer: "the line `owner`: whose token registered it, or else its label `owner`; `:cols owner` shows it for all",
        holds: |console, _| shows(console, &["owner      payments-ci"]),
    },
    Task {
        question: "Find a service by name",
        keys: &["/", "c", "a"],
        answer: "the selected row: the cursor follows what is typed",
        holds: |console, _| {
            console.text();
            console.state.screen().selection == Selection::Service(CART)
        },
    },
    Task {
        question: "Take one instance out of selection",
        keys: &["m", "d", "r", "Enter", "d", "i", "s", "k", "Enter"],
        answer: "`m`, `dr`, and the reason, here `disk`",
        holds: |_, effects| {
            let drained = Operation::Drain { service: CHECKOUT, instance: "a".into(), reason: "disk".into() };
            operations(effects) == [&drained]
        },
    },
    Task {
        question: "Silence a failure with a note",
        keys: &["a", "d", "i", "s", "k", "Enter"],
        answer: "`a` and the note, here `disk`; the failure sinks below those that are not acknowledged",
        holds: |_, effects| {
            let is_meant = |of: &&Operation| matches!(of, Operation::Acknowledge { service, note, .. } if *service == CHECKOUT && **note == *"disk");
            matches!(&operations(effects)[..], [of] if is_meant(of))
        },
    },
    Task {
        question: "Which certificate expires next?",
        keys: &["s", "c", "e", "Enter", "g"],
        answer: "the list sorted by CERT, the next to expire first",
        holds: |console, _| shows(console, &["CERT↓", "in 12 d"]) && console.listed()[0] == "cart",
    },
    Task {
        question: "How is everything?",
        keys: &["H"],
        answer: "the map: a cell for each service",
        holds: |console, _| shows(console, &["map, worst first", "▲–●●●"]),
    },
    Task {
        question: "Who uses this port?",
        keys: &["/", "p", "o", "Tab", "8", "0", "1", "Enter"],
        answer: "`/port=801`; Tab completes the field",
        holds: |console, _| console.listed().contains(&"checkout".to_owned()) && &*console.state.filter == "port=801",
    },
    Task {
        question: "List the services of a team",
        keys: &["/", "-", "l", " ", "t", "Tab", "b", "Tab", "Enter"],
        answer: "`/-l team=blue`; Tab completes label and value",
        holds: |console, _| console.listed().len() == 30 && &*console.state.filter == "-l team=blue",
    },
    Task {
        question: "Compare the versions",
        keys: &[":", "b", "y", " ", "v", "Tab", "Enter"],
        answer: "the services by version",
        holds: |console, _| shows(console, &["services by version", "1.4.2"]),
    },
    Task {
        question: "Copy its URL",
        keys: &["Y", "u", "r", "l", "Enter"],
        answer: "the clipboard",
        holds: |_, effects| effects.contains(&Effect::Copy("http://10.0.0.5:801".into())),
    },
    Task {
        question: "Which is the slowest?",
        keys: &["s", "p", "9", "9", "Enter"],
        answer: "the list sorted by the 99th percentile",
        holds: |console, _| shows(console, &["P99↓"]) && console.listed()[0] == "checkout",
    },
    Task {
        question: "How long was it down this week?",
        keys: &["T"],
        answer: "the strips below its timeline",
        holds: |console, _| shows(console, &["7 d", "UP  OUTAGES  LONGEST", "99.9%"]),
    },
    Task {
        question: "What was down this week, and for how long?",
        keys: &["O", "Tab"],
        answer: "the outages, the newest first; `s` orders by length",
        holds: |console, _| {
            console.receive(SourceEvent::Outages(Window::Week, Ok(outages())));
            shows(console, &["outages of 7 d", "OUT FOR", "pay/ledger", "2h02m"])
        },
    },
    Task {
        question: "The next thing that is broken",
        keys: &["X", "]"],
        answer: "the same explanation for the next fault",
        holds: |console, _| matches!(&console.state.screen().view, View::Explain(id, _) if *id != CHECKOUT),
    },
    Task {
        question: "Back to where I was",
        keys: &["X", "Esc"],
        answer: "the row is still selected",
        holds: |console, _| console.state.screen().view == View::Overview,
    },
    Task {
        question: "Only what is broken",
        keys: &["Ctrl-Z"],
        answer: "the list without healthy services",
        holds: |console, _| console.listed().iter().all(|name| name != "cron") && console.listed().len() < 20,
    },
];

fn operations(effects: &[Effect]) -> Vec<&Operation> {
    let of =
        |effect| if let &Effect::Request(Request::Operate(_, ref operation)) = effect { Some(operation) } else { None };
    effects.iter().filter_map(of).collect()
}

fn press(console: &mut TestConsole, key: &str) -> Vec<Effect> {
    let (code, with) = match key {
        "Enter" => (KeyCode::Enter, KeyModifiers::NONE),
        "Esc" => (KeyCode::Esc, KeyModifiers::NONE),
        "Tab" => (KeyCode::Tab, KeyModifiers::NONE),
        "Shift-Tab" => (KeyCode::BackTab, KeyModifiers::SHIFT),
        key => match key.strip_prefix("Ctrl-") {
            // A terminal sends the small letter.
            Some(letter) => {
                let letter = letter.chars().next().expect("a letter").to_ascii_lowercase();
                (KeyCode::Char(letter), KeyModifiers::CONTROL)
            }
            None => (KeyCode::Char(key.chars().next().expect("a character")), KeyModifiers::NONE),
        },
    };
    update(&mut console.state, Msg::Key(KeyEvent::new(code, with)))
}

#[test]
fn each_question_is_answered_by_its_keys() {
    for (task, size) in TASKS.iter().flat_map(|task| SIZES.map(|size| (task, size))) {
        let mut console = console(size);
        let effects: Vec<Effect> = task.keys.iter().flat_map(|key| press(&mut console, key)).collect();
        assert!((task.holds)(&mut console, &effects), "{} at {size:?}\n{}", task.question, console.text());
    }
    assert!(TASKS.iter().take(10).all(|task| task.keys.len() <= 3), "the first ten questions take three keys at most");
}

#[test]
fn a_restart_comes_back_to_where_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("portolan/console.json");
    for size in SIZES {
        let mut before = console(size);
        before.keys("2/ns==pay\n:sort name\n:cols team\n");
        memory::save(&before.state, &path).expect("saved");
        let mut after = TestConsole::waiting(size);
        memory::restore(&mut after.state, &path, false);
        after.load();
        assert_eq!(after.state.screen().view, View::Services);
        assert_eq!(&*after.state.filter, "ns==pay");
        assert!(after.text().contains("NAME↓") && after.text().contains("TEAM"), "{size:?}\n{}", after.text());
        assert_eq!(&*after.state.filters[0], "ns==pay", "the filters used before are there too");
    }
    let mut flagged = TestConsole::waiting((120, 40));
    memory::restore(&mut flagged.state, &path, true);
    assert!(flagged.state.filter.is_empty(), "a flag goes before what is remembered");
    std::fs::write(&path, "{").expect("written");
    let mut broken = TestConsole::waiting((120, 40));
    memory::restore(&mut broken.state, &path, false);
    assert_eq!(broken.state.screen().view, View::Overview, "a broken file counts as none");
}

/// How a key is written: those that stand for a word of several keys look the same.
fn written(keys: &[&str]) -> String {
    let all: Vec<String> = keys.iter().map(|key| format!("`{}`", if *key == " " { "Space" } else { key })).collect();
    all.join(" ")
}

#[test]
fn generated_list_of_tasks_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/console-tasks.md");
    let known = std::fs::read_to_string(&path).expect("the document");
    let (head, _) = known.split_once("| Question |").expect("a table");
    let mut table = "| Question | Keys | How many | Where the answer is |\n|---|---|---|---|\n".to_owned();
    for task in TASKS {
        let keys = written(task.keys);
        writeln!(table, "| {} | {keys} | {} | {} |", task.question, task.keys.len(), task.answer).expect("to a string");
    }
    let wanted = format!("{head}{table}");
    if std::env::var_os("PORTOLAN_GENERATE").is_some() {
        std::fs::write(&path, &wanted).expect("written");
    } else {
        assert_eq!(known, wanted, "PORTOLAN_GENERATE=1 cargo test --test console generated writes it");
    }
}
