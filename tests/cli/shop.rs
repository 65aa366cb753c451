//! `examples/shop`: programs in two languages find each other, and see when one is killed.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::programs::{Program, example, fetch, wait_for};

/// The shop with the ids of its processes.
struct Shop {
    run: Program,
    front: String,
    processes: Vec<(&'static str, Pid)>,
}

impl Shop {
    fn open() -> Self {
        let run = Program::start(Command::new(example("shop/run")).env("PORTOLAN", env!("CARGO_BIN_EXE_portolan")));
        let mut processes = Vec::new();
        for name in ["portolan", "prices-a", "prices-b", "stock", "front"] {
            let id = run.after(&format!("run: {name} is process ")).parse().expect("a number");
            processes.push((name, Pid::from_raw(id).expect("above 0")));
        }
        let id = run.after("stock: is process ").parse().expect("a number");
        processes.push(("stock.py", Pid::from_raw(id).expect("above 0")));
        let front = run.after("front: listens on ");
        Self { run, front, processes }
    }

    fn kill(&self, name: &str) {
        let (_, process) = self.processes.iter().find(|(known, _)| *known == name).expect("one of them");
        kill_process(*process, Signal::KILL).expect("it is running");
    }

    fn page(&self) -> String {
        fetch(&self.front).expect("the front answers whatever happens to the others")
    }

    fn until(&self, wanted: &[&str]) -> String {
        wait_for(&format!("a page with {wanted:?}"), || {
            let page = self.page();
            wanted.iter().all(|part| page.contains(part)).then_some(page)
        })
    }
}

#[test]
fn whoever_is_killed_is_missed_and_the_rest_goes_on() {
    let mut shop = Shop::open();
    let page = shop.until(&["34.50 EUR   2 left", "prices from prices-"]);
    assert!(!page.contains("down") && !page.contains("did not answer"), "{page}");

    shop.run.newest("front: prices is at ", |urls| urls.matches("http://").count() == 2);
    shop.kill("prices-a");
    assert!(shop.page().contains("34.50 EUR   2 left"), "the other replica answers from the first moment");
    shop.run.newest("front: prices is at ", |urls| urls.matches("http://").count() == 1);
    assert!(!shop.page().contains("did not answer"), "nobody is sent to the dead one any more");

    shop.kill("prices-b");
    shop.run.newest("front: prices is at ", |urls| urls == "nowhere");
    let page = shop.page();
    assert!(page.contains("no price   2 left") && page.contains("prices is down"), "{page}");

    shop.kill("stock.py");
    shop.run.newest("front: stock is at ", |urls| urls == "nowhere");
    let page = shop.page();
    assert!(page.contains("stock unknown") && page.contains("stock is down"), "{page}");

    shop.run.signal(Signal::TERM);
    shop.run.after("run: portolan has ended");
    assert!(shop.run.ended().success());
    for (name, process) in &shop.processes {
        assert!(test_kill_process(*process).is_err(), "{name} has ended");
    }
}
