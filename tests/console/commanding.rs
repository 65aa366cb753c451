//! Filters and commands, as they are typed, and the explanation beside the list.

use crossterm::event::KeyCode;
use portolan::console::app::Effect;
use portolan::console::source::Request;
use portolan::console::state::screen::{Selection, View};

use crate::scene::{CART, CHECKOUT, CRON, TestConsole};

const SIZE: (u16, u16) = (120, 40);

#[test]
fn a_filter_says_when_only_faults_are_listed() {
    let mut console = TestConsole::loaded(SIZE);
    console.ctrl('z');
    console.keys("/svc-07");
    assert!(console.text().contains("0 match, 1 more without Ctrl-Z"), "{}", console.text());
    console.keys("\n");
    assert!(console.text().contains("no fault among the 1 that match"));
}

#[test]
fn the_cursor_follows_a_name_as_it_is_typed() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("G");
    let before = console.state.screen().selection.clone();
    console.keys("/c");
    assert!(console.listed().len() > 30, "many have it somewhere");
    assert_eq!(console.state.screen().selection, Selection::Service(CHECKOUT), "this name begins with it");
    console.keys("r");
    assert_eq!(console.state.screen().selection, Selection::Service(CRON));
    console.press(KeyCode::Esc);
    assert_eq!(console.state.screen().selection, before, "Esc goes back to where it was");
}

#[test]
fn a_filter_knows_every_field_and_refuses_others() {
    let mut console = TestConsole::loaded(SIZE);
    let mut listed = |filter: &str| {
        console.press(KeyCode::Esc);
        console.keys(&format!("/{filter}\n"));
        let error = console.state.modal.is_some();
        console.press(KeyCode::Esc);
        if error {
            vec!["an error".to_owned()]
        } else {
            console.keys(&format!("/{filter}\n"));
            console.listed()
        }
    };
    assert_eq!(listed("status!=healthy"), ["na\u{1b}]0;title\u{7}me", "checkout", "cron"]);
    assert_eq!(listed("ns!=infra|pay"), ["checkout", "cart"]);
    assert_eq!(listed("-l team=shop"), ["checkout", "cart"]);
    assert_eq!(listed("-l team!=infra ns==pay"), ["ledger"], "a namespace with a hostile character is not pay");
    assert_eq!(listed("p99>2ms"), ["checkout"]);
    assert_eq!(listed("port=801 ns=shop"), ["checkout", "cart"]);
    assert_eq!(listed("東京"), ["na\u{1b}]0;title\u{7}me"], "text is searched in zones");
    assert_eq!(listed("1.4.2 ns=shop"), ["checkout", "cart"], "and in versions");
    assert_eq!(listed("team ns=shop"), ["checkout", "cart"], "and in labels");
    assert_eq!(listed("team=shop"), ["an error"]);
    assert_eq!(listed("stat-us>3"), ["an error"]);
}

#[test]
fn commands_take_arguments_and_complete_them() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys(":ns sh");
    console.press(KeyCode::Tab);
    console.keys("\n");
    assert_eq!(console.listed(), ["checkout", "cart"]);
    console.keys(":ns all\n:sort !name\n");
    assert!(console.text().contains("NAME↑"));
    console.keys(":since 2m\n");
    assert_eq!(&*console.state.filter, "since<2m");
    assert!(console.listed().contains(&"cart".to_owned()) && !console.listed().contains(&"checkout".to_owned()));
    console.press(KeyCode::Esc);
    console.keys(":cols team,zone\n");
    let text = console.text();
    assert!(text.contains("TEAM") && text.contains("ZONE") && text.contains("eu-1a"), "{text}");
    console.keys(":cols\n");
    assert!(!console.text().contains("TEAM"));
    console.keys(":cols tem,zone\n");
    assert!(console.text().contains("no service has a label tem; did you mean team?"), "{}", console.text());
    assert!(console.state.columns.is_empty() && console.state.modal.is_some(), "it can be mended");
    console.press(KeyCode::Esc);
    console.keys(":cols bogus\n");
    assert!(console.text().contains("no service has a label bogus"), "{}", console.text());
    console.press(KeyCode::Esc);
    console.keys(":drain\n");
    assert!(console.text().contains("> drain"), "the menu, at the word");
    console.press(KeyCode::Esc);
    console.keys(":wq\n");
    assert!(console.state.quit);
}

#[test]
fn an_unknown_command_suggests_the_nearest() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys(":sorrt\n");
    assert!(console.text().contains("no command is called sorrt; did you mean :sort?"), "{}", console.text());
    assert!(console.state.modal.is_some(), "it can be mended");
}

#[test]
fn tab_goes_through_what_completes_a_filter() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/st");
    console.press(KeyCode::Tab);
    console.press(KeyCode::Tab);
    assert_eq!(&*console.state.filter, "status=down", "the field was the only one, its first value follows");
    console.press(KeyCode::Tab);
    assert_eq!(&*console.state.filter, "status=degraded");
    console.keys(" ns=");
    console.press(KeyCode::Tab);
    assert_eq!(&*console.state.filter, "status=degraded ns=infra", "the commonest first");
    console.keys("\n/");
    console.press(KeyCode::Up);
    assert_eq!(&*console.state.filter, "status=degraded ns=infra", "used before");
}

#[test]
fn filters_used_before_are_recalled_and_what_is_typed_is_kept() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/ns=infra");
    console.press(KeyCode::Down);
    console.press(KeyCode::Up);
    assert_eq!(&*console.state.filter, "ns=infra", "there is nothing to recall");
    console.keys("\n/");
    for _ in 0.."ns=infra".len() {
        console.press(KeyCode::Backspace);
    }
    console.keys("ns=shop\n/ ca");
    console.press(KeyCode::Down);
    assert_eq!(&*console.state.filter, "ns=shop ca", "the wheel turned down changes nothing");
    let mut recalled = |code| {
        console.press(code);
        console.state.filter.to_string()
    };
    assert_eq!(recalled(KeyCode::Up), "ns=shop");
    assert_eq!(recalled(KeyCode::Up), "ns=infra");
    assert_eq!(recalled(KeyCode::Up), "ns=infra", "the oldest");
    assert_eq!(recalled(KeyCode::Down), "ns=shop");
    assert_eq!(recalled(KeyCode::Down), "ns=shop ca", "what was typed");
    assert_eq!(recalled(KeyCode::Down), "ns=shop ca");
    recalled(KeyCode::Up);
    console.keys(" cart");
    console.press(KeyCode::Down);
    assert_eq!(&*console.state.filter, "ns=shop cart", "what is edited is not lost");
    assert_eq!(console.listed(), ["cart"]);
}

#[test]
fn the_explanation_beside_the_list_follows_the_cursor_and_faults_are_stepped_through() {
    let mut console = TestConsole::loaded((160, 40));
    console.keys("/ns=shop\ne");
    let text = console.text();
    assert!(text.contains("WHERE IT BROKE") && text.contains("cart"), "{text}");
    console.keys("j");
    assert!(console.text().contains("shop/cart  b"), "{}", console.text());
    let wanted = |effects: &[Effect]| effects.contains(&Effect::Request(Request::History(CART, None)));
    assert!(wanted(&console.tick(4000)), "its history is requested");
    console.press(KeyCode::Esc);
    console.keys("geg");
    console.keys("]");
    assert_eq!(console.state.screen().position, 1);
    console.keys("]]");
    assert!(console.text().contains("no fault further down"));
    console.keys("X[");
    assert!(matches!(console.state.screen().view, View::Explain(CHECKOUT, _)), "{:?}", console.state.screen().view);
}

#[test]
fn a_key_of_the_users_file_runs_its_command() {
    let mut console = TestConsole::loaded(SIZE);
    let text = "columns = [\"team\"]\n[keys]\nF2 = \"filter ns==shop\"\nz = \"ns pay\"";
    console.state.options.custom = portolan::console::config::parse(text).expect("a file").custom;
    console.press(KeyCode::F(2));
    assert_eq!(console.listed(), ["checkout", "cart"]);
    console.press(KeyCode::Esc);
    console.keys("z");
    assert_eq!(console.listed(), ["ledger"]);
}
