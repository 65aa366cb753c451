//! What breaks, and recovers without help.

use control_plane::Node;
use portable_pty::CommandBuilder;

use super::server::{Running, Server};
use super::terminal::Terminal;
use super::{Place, printed};

/// Each pod has its own registry here, which shows who answers. The first by name is used first.
async fn two(place: &Place) -> (Server, Server) {
    let (a, b) = (Server::start(&[]).await, Server::start(&[]).await);
    a.register("at-a").await;
    b.register("at-b").await;
    place.pod("a", a.port()).await;
    place.pod("b", b.port()).await;
    (a, b)
}

/// An open watch.
async fn watching(place: &Place, server: &Server, command: tokio::process::Command) -> Running {
    let mut watch = Running::start(command);
    // A watch tells what changes after its beginning, of which it says nothing itself.
    let begun = async {
        for n in 0.. {
            server.register(&format!("begun-{n}")).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = watch.until("begun-") => {}
        () = begun => {}
    }
    assert_eq!(place.left(), 0, "the socket has no name that another could find");
    watch
}

#[tokio::test]
async fn a_watch_goes_on_with_another_pod_when_the_server_of_its_own_dies() {
    let place = Place::new().await;
    let (mut a, _b) = two(&place).await;
    let mut watch = watching(&place, &a, place.command(place.plane.admin(), &["watch"])).await;
    // Its pod still says that it is ready, as it does until its next probe.
    a.kill();
    watch.until("at-b  new").await;
}

#[tokio::test]
async fn the_console_goes_on_with_another_pod() {
    let place = Place::new().await;
    let (mut a, b) = two(&place).await;
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_portolan"));
    command.args(["console", "--context", "test", "--context-namespace", &place.namespace]);
    command.env_clear();
    command.env("TERM", "xterm-256color");
    command.env("KUBECONFIG", place.plane.admin().path());
    command.env("TMPDIR", place.folder.path());
    let mut terminal = Terminal::start(command, (100, 30));
    terminal.wait("it is live", |text| ["cluster test", "LIVE", "at-a"].iter().all(|word| text.contains(word)));
    a.kill();
    terminal.wait("the other pod's are shown", |text| text.contains("no check at-b") && text.contains("LIVE"));
    b.register("afterwards").await;
    terminal.wait_for("afterwards");
    terminal.keys("q");
    terminal.wait_for("Quit?");
    terminal.keys("\r");
    assert!(terminal.ended().success());
    terminal.becomes_clean();
    assert_eq!(place.left(), 0);
}

#[tokio::test]
async fn a_watch_leaves_a_pod_that_is_no_longer_ready_though_it_answers() {
    let place = Place::new().await;
    let (a, _b) = two(&place).await;
    let mut watch = watching(&place, &a, place.command(place.plane.admin(), &["watch"])).await;
    place.ready("a", false).await;
    watch.until("at-b  new").await;
}

#[tokio::test]
async fn a_watch_outlasts_the_connection_to_the_api_server() {
    let place = Place::new().await;
    let a = Server::start(&[]).await;
    place.pod("a", a.port()).await;
    let proxy = place.plane.proxy().await.expect("a proxy");
    let kubeconfig = place.plane.admin().through(proxy.address()).expect("written");
    let mut watch = watching(&place, &a, place.command(&kubeconfig, &["watch"])).await;
    proxy.refuse();
    a.register("meanwhile").await;
    proxy.pass();
    watch.until("meanwhile  new").await;
    proxy.cut();
    a.register("after").await;
    watch.until("after  new").await;
}

#[tokio::test]
async fn a_command_passes_over_a_pod_whose_node_is_dead_and_one_where_nothing_listens() {
    let place = Place::new().await;
    let (a, mut b, c) = (Server::start(&[]).await, Server::start(&[]).await, Server::start(&[]).await);
    c.register("at-c").await;
    let mut other = Node::start(place.plane, &format!("other-{}", place.namespace)).await.expect("a node");
    place.pod_on(&other, "a", a.port()).await;
    place.pod("b", b.port()).await;
    place.pod("c", c.port()).await;
    b.kill();
    other.kill().expect("killed");
    assert!(printed(&place.run(place.plane.admin(), &["list"]).await).contains("at-c"));
}
