//! Dialogs that change something: what they warn of, and that nothing moves behind them.

use crossterm::event::KeyCode;
use portolan::console::data::{Drain, Service};
use portolan::model::outcome::Health;

use crate::scene::{CART, TestConsole, ago, cast};

const SIZE: (u16, u16) = (120, 40);
const LAST: &str = "It is the last instance that serves; shop/cart will have none.";

fn cart() -> Service {
    cast().remove(1)
}

/// The place of a text in the frame: its row.
fn row_of(console: &mut TestConsole, text: &str) -> Option<usize> {
    console.text().lines().position(|line| line.contains(text))
}

#[test]
fn taking_away_the_last_instance_that_serves_is_warned_of() {
    for keys in ["mdrain\n", "mdereg\n"] {
        let mut console = TestConsole::loaded(SIZE);
        console.keys("/name=cart\n\nG");
        console.keys(keys);
        assert!(console.text().contains(LAST), "{}", console.text());
        // Meanwhile the other recovers.
        let mut well = cart();
        well.instances.iter_mut().for_each(|instance| instance.health = Health::Healthy);
        well.arrange();
        console.change(well);
        assert!(!console.text().contains("the last instance that serves"), "{}", console.text());
    }
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=cart\n\ngmdrain\n");
    assert!(console.text().contains("drain instance b"), "{}", console.text());
    assert!(!console.text().contains("the last instance that serves"), "b does not serve anyway");
}

#[test]
fn no_row_moves_behind_a_menu_or_a_confirmation() {
    for keys in ["m", "mdereg\n", "mdrain\n", "Y"] {
        let mut console = TestConsole::loaded(SIZE);
        console.keys("/name=cart\n\n");
        let before = row_of(&mut console, " a ").zip(row_of(&mut console, " b "));
        console.keys(keys);
        let mut turned = cart();
        for instance in &mut turned.instances {
            let healthy = instance.health == Health::Healthy;
            instance.health = if healthy { Health::Unhealthy } else { Health::Healthy };
        }
        turned.arrange();
        console.change(turned);
        console.tick(300);
        let listing = |console: &TestConsole| {
            let names = console
                .state
                .listing()
                .get(&CART)
                .map(|s| s.instances.iter().map(|i| i.name.clone()).collect::<Vec<_>>());
            names.expect("it is listed")
        };
        assert_eq!(listing(&console), ["b".into(), "a".into()], "after {keys}");
        console.press(KeyCode::Esc);
        assert_eq!(listing(&console), ["a".into(), "b".into()], "after the dialog they move: {keys}");
        assert_ne!(row_of(&mut console, " a ").zip(row_of(&mut console, " b ")), before);
    }
}

#[test]
fn a_drained_row_says_why_and_by_whom() {
    let mut console = TestConsole::loaded((200, 50));
    let mut drained = cart();
    drained.instances.iter_mut().for_each(|instance| instance.health = Health::Healthy);
    drained.instances[0].drain =
        Some(Box::new(Drain { reason: "disk swap".into(), by: "ann".into(), since: Some(ago(60)), until: None }));
    drained.arrange();
    console.change(drained);
    console.keys("/name=cart\n");
    assert!(console.text().contains("b: drained: disk swap; by ann"), "{}", console.text());
    console.keys("\n");
    assert!(console.text().contains("disk swap; by ann"), "{}", console.text());
}
