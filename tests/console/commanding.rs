//! Filters and commands, as they are typed, and the explanation beside the list.

use crossterm::event::KeyCode;
use portolan::console::app::Effect;
use portolan::console::source::Request;
use portolan::console::state::screen::{Selection, View};

use crate::scene::{CART, CHECKOUT, CRON, Desk};

const SIZE: (u16, u16) = (120, 40);

#[test]
fn a_filter_says_when_only_faults_are_listed() {
    let mut desk = Desk::loaded(SIZE);
    desk.ctrl('z');
    desk.keys("/svc-07");
    assert!(desk.text().contains("0 match, 1 more without Ctrl-Z"), "{}", desk.text());
    desk.keys("\n");
    assert!(desk.text().contains("no fault among the 1 that match"));
}

#[test]
fn the_cursor_follows_a_name_as_it_is_typed() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("G");
    let before = desk.state.screen().selection.clone();
    desk.keys("/c");
    assert!(desk.listed().len() > 30, "many have it somewhere");
    assert_eq!(desk.state.screen().selection, Selection::Service(CHECKOUT), "this name begins with it");
    desk.keys("r");
    assert_eq!(desk.state.screen().selection, Selection::Service(CRON));
    desk.press(KeyCode::Esc);
    assert_eq!(desk.state.screen().selection, before, "Esc goes back to where it was");
}

#[test]
fn a_filter_knows_every_field_and_refuses_others() {
    let mut desk = Desk::loaded(SIZE);
    let mut listed = |filter: &str| {
        desk.press(KeyCode::Esc);
        desk.keys(&format!("/{filter}\n"));
        let error = desk.state.modal.is_some();
        desk.press(KeyCode::Esc);
        if error {
            vec!["an error".to_owned()]
        } else {
            desk.keys(&format!("/{filter}\n"));
            desk.listed()
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
    let mut desk = Desk::loaded(SIZE);
    desk.keys(":ns sh");
    desk.press(KeyCode::Tab);
    desk.keys("\n");
    assert_eq!(desk.listed(), ["checkout", "cart"]);
    desk.keys(":ns all\n:sort !name\n");
    assert!(desk.text().contains("NAME↑"));
    desk.keys(":since 2m\n");
    assert_eq!(&*desk.state.filter, "since<2m");
    assert!(desk.listed().contains(&"cart".to_owned()) && !desk.listed().contains(&"checkout".to_owned()));
    desk.press(KeyCode::Esc);
    desk.keys(":cols team,zone\n");
    let text = desk.text();
    assert!(text.contains("TEAM") && text.contains("ZONE") && text.contains("eu-1a"), "{text}");
    desk.keys(":cols\n");
    assert!(!desk.text().contains("TEAM"));
    desk.keys(":cols tem,zone\n");
    assert!(desk.text().contains("no service has a label tem; did you mean team?"), "{}", desk.text());
    assert!(desk.state.columns.is_empty() && desk.state.modal.is_some(), "it can be mended");
    desk.press(KeyCode::Esc);
    desk.keys(":cols bogus\n");
    assert!(desk.text().contains("no service has a label bogus"), "{}", desk.text());
    desk.press(KeyCode::Esc);
    desk.keys(":drain\n");
    assert!(desk.text().contains("> drain"), "the menu, at the word");
    desk.press(KeyCode::Esc);
    desk.keys(":wq\n");
    assert!(desk.state.quit);
}

#[test]
fn an_unknown_command_suggests_the_nearest() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys(":sorrt\n");
    assert!(desk.text().contains("no command is called sorrt; did you mean :sort?"), "{}", desk.text());
    assert!(desk.state.modal.is_some(), "it can be mended");
}

#[test]
fn tab_goes_through_what_completes_a_filter() {
    let mut desk = Desk::loaded(SIZE);
    desk.keys("/st");
    desk.press(KeyCode::Tab);
    desk.press(KeyCode::Tab);
    assert_eq!(&*desk.state.filter, "status=down", "the field was the only one, its first value follows");
    desk.press(KeyCode::Tab);
    assert_eq!(&*desk.state.filter, "status=degraded");
    desk.keys(" ns=");
    desk.press(KeyCode::Tab);
    assert_eq!(&*desk.state.filter, "status=degraded ns=infra", "the commonest first");
    desk.keys("\n/");
    desk.press(KeyCode::Up);
    assert_eq!(&*desk.state.filter, "status=degraded ns=infra", "used before");
}

#[test]
fn the_explanation_beside_the_list_follows_the_cursor_and_faults_are_stepped_through() {
    let mut desk = Desk::loaded((160, 40));
    desk.keys("/ns=shop\ne");
    let text = desk.text();
    assert!(text.contains("WHERE IT BROKE") && text.contains("cart"), "{text}");
    desk.keys("j");
    assert!(desk.text().contains("shop/cart  b"), "{}", desk.text());
    let wanted = |effects: &[Effect]| effects.contains(&Effect::Request(Request::History(CART, None)));
    assert!(wanted(&desk.tick(4000)), "its history is requested");
    desk.press(KeyCode::Esc);
    desk.keys("geg");
    desk.keys("]");
    assert_eq!(desk.state.screen().position, 1);
    desk.keys("]]");
    assert!(desk.text().contains("no fault further down"));
    desk.keys("X[");
    assert!(matches!(desk.state.screen().view, View::Explain(CHECKOUT, _)), "{:?}", desk.state.screen().view);
}

#[test]
fn a_key_of_the_users_file_runs_its_command() {
    let mut desk = Desk::loaded(SIZE);
    let text = "columns = [\"team\"]\n[keys]\nF2 = \"filter ns==shop\"\nz = \"ns pay\"";
    desk.state.options.custom = portolan::console::config::parse(text).expect("a file").custom;
    desk.press(KeyCode::F(2));
    assert_eq!(desk.listed(), ["checkout", "cart"]);
    desk.press(KeyCode::Esc);
    desk.keys("z");
    assert_eq!(desk.listed(), ["ledger"]);
}
