//! A manifest in the way of a registration is refused with what to do: by the definition as far as the content tells, and by the
//! policy that `deploy/` installs where it does not.

use control_plane::{Kubectl, Refused};
use kube::api::Api;
use portolan::operator::crd::ServiceResource;
use serde_json::{Value, json};

use super::server::{Server, until};
use super::{of, place, replica, services};
use crate::common::{Installed, install, shared};

/// A way to write a Service: kubectl's arguments, and its input.
struct Command {
    args: Vec<String>,
    input: String,
}

fn command(args: &[&str], input: &Value) -> Command {
    Command { args: args.iter().map(|arg| (*arg).to_owned()).collect(), input: input.to_string() }
}

fn users(namespace: &str, spec: &Value) -> Value {
    json!({"apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": {"name": "users", "namespace": namespace}, "spec": spec})
}

fn patch(namespace: &str, kind: &str, change: &Value) -> Command {
    let (kind, change) = (format!("--type={kind}"), change.to_string());
    command(&["patch", "psvc", "users", "-n", namespace, &kind, "-p", &change], &Value::Null)
}

/// kubectl's output, or why it was refused.
async fn run(kubectl: &Kubectl, who: &[&str], command: &Command) -> Result<String, String> {
    let args: Vec<&str> = command.args.iter().map(String::as_str).chain(who.iter().copied()).collect();
    let said = kubectl.run_with(&args, &command.input).await;
    said.map_err(|error| error.downcast::<Refused>().expect("kubectl's own end").stderr)
}

/// Content that only a manifest can have.
fn recognized_by_content(namespace: &str) -> Vec<Command> {
    let entry = json!({"name": "a", "baseUrl": "http://10.0.0.5:80"});
    let checked = users(namespace, &json!({"check": {"http": {"path": "/healthz"}}, "instances": [entry]}));
    let moved = users(namespace, &json!({"instances": [{"name": "a", "baseUrl": "http://10.0.0.6:80"}]}));
    let other = users(namespace, &json!({"instances": [{"name": "b", "baseUrl": "http://10.0.0.6:80"}]}));
    let claimed = users(namespace, &json!({"source": "Manifest", "instances": [entry]}));
    let (apply, forced) = (["apply", "-f", "-"], ["apply", "--server-side", "--force-conflicts", "-f", "-"]);
    let mut all = vec![patch(
        namespace,
        "json",
        &json!([{"op": "replace", "path": "/spec/instances/0/baseUrl", "value": "http://h"}]),
    )];
    for manifest in [&checked, &moved, &other, &claimed] {
        all.extend([command(&apply, manifest), command(&forced, manifest), command(&["replace", "-f", "-"], manifest)]);
    }
    for change in [
        json!({"check": {"tcp": {}}}),
        json!({"description": "ours"}),
        json!({"metadata": {"a": "b"}}),
        json!({"instances": [entry]}),
    ] {
        all.push(patch(namespace, "merge", &json!({ "spec": change })));
    }
    all
}

/// Content that a registration could have, too.
fn recognized_only_by_the_writer(namespace: &str) -> Vec<Command> {
    let same = users(namespace, &json!({"instances": [{"name": "a", "baseUrl": "http://10.0.0.5:80"}]}));
    vec![
        command(&["apply", "--server-side", "-f", "-"], &same),
        patch(namespace, "json", &json!([{"op": "replace", "path": "/spec/instances/0/weight", "value": 0}])),
        patch(
            namespace,
            "json",
            &json!([{"op": "add", "path": "/spec/instances/0/owner", "value": {"subject": "eve"}}]),
        ),
        patch(namespace, "json", &json!([{"op": "add", "path": "/spec/instances/0/check", "value": {"tcp": {}}}])),
    ]
}

/// Everyone may change labels, annotations and finalizers.
fn metadata(namespace: &str) -> Vec<Command> {
    let change = |metadata: Value| patch(namespace, "merge", &json!({ "metadata": metadata }));
    vec![
        change(json!({"labels": {"tier": "gold"}, "annotations": {"example.com/a": "b"}})),
        change(json!({"finalizers": ["example.com/hold"]})),
        change(json!({"finalizers": null})),
    ]
}

async fn spec(objects: &Api<ServiceResource>) -> Value {
    serde_json::to_value(objects.get("users").await.expect("it is there").spec).expect("JSON")
}

async fn registered(here: &Server) {
    here.register("alice", "users", "a", 80).await.ok();
}

#[tokio::test]
async fn the_definition_refuses_a_manifest_over_a_registration() {
    let (plane, namespace) = place("takeover").await;
    let (here, kubectl, objects) =
        (replica(plane, &namespace).await, plane.kubectl(), services(plane, &namespace).await);
    registered(&here).await;
    let before = spec(&objects).await;
    let mut wrong = Vec::new();
    for command in recognized_by_content(&namespace) {
        let said = run(&kubectl, &[], &command).await;
        let helps = |said: &String| {
            said.contains("was registered over REST")
                && (said.contains("deregister it first") || said.contains("register it again"))
        };
        if !said.as_ref().is_err_and(helps) {
            wrong.push(format!("{} {}\n  {said:?}", command.args.join(" "), command.input));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let apply = command(
        &["apply", "-f", "-"],
        &users(&namespace, &json!({"instances": [{"name": "a", "baseUrl": "http://h"}]})),
    );
    let said = run(&kubectl, &[], &apply).await.expect_err("refused");
    let words = "spec.source: Forbidden: users was registered over REST, and a manifest cannot change it: deregister it first \
                 (kubectl delete psvc users), or give the manifest another name";
    assert!(said.contains(words), "{said}");
    let mut edit = kubectl.command();
    edit.args(["edit", "psvc", "users", "-n", &namespace]).env("KUBE_EDITOR", "sed -i s/10.0.0.5/10.0.0.6/");
    assert!(!edit.output().await.expect("kubectl runs").status.success());
    assert_eq!(spec(&objects).await, before);

    for command in recognized_only_by_the_writer(&namespace).into_iter().chain(metadata(&namespace)) {
        run(&kubectl, &[], &command).await.expect("the content tells nothing");
    }
    // Registrations still work, and revert what was changed.
    let body = json!({"name": "users", "instance": "a", "base_url": "http://10.0.0.5:80", "weight": 5});
    let token = before["instances"][0]["owner"]["subject"].as_str().expect("an owner");
    assert_eq!(here.register_as_is(token, &body).await.refused(403), "not_owner", "it was given to another");
    here.register_as_is("root", &body).await.ok();
    here.register("root", "users", "a", 81).await.ok();
    let after = spec(&objects).await;
    assert_eq!(
        (&after["instances"][0]["baseUrl"], &after["instances"][0]["check"]),
        (&json!("http://10.0.0.5:81"), &Value::Null)
    );
    kubectl.run(&["delete", "psvc", "users", "-n", &namespace]).await.expect("deleting is free");
    run(&kubectl, &[], &apply).await.expect("the command is free");
    here.stop().await;
}

#[tokio::test]
async fn the_policy_leaves_registrations_to_portolan() {
    let plane = shared().await;
    let Installed { namespace, account } = install(plane, "cluster").await;
    let kubectl = plane.kubectl();
    let writer = format!("portolan-writer-{namespace}");
    let role = format!("--clusterrole={writer}");
    kubectl.run(&["create", "rolebinding", "ada", "-n", &namespace, &role, "--user=ada"]).await.expect("bound");
    let made_up = users(
        &namespace,
        &json!({"source": "Rest", "instances": [{"name": "a", "baseUrl": "http://h", "generation": 7}]}),
    );
    let made_up = command(&["create", "--dry-run=server", "-f", "-"], &made_up);
    let only = format!("only system:serviceaccount:{namespace}:portolan");
    until("the policy is in force", async || {
        run(&kubectl, &[], &made_up).await.is_err_and(|said| said.contains(&only) && said.contains("leave source out"))
    })
    .await;

    let here = of(&account, &namespace).start().await;
    registered(&here).await;
    let objects = services(plane, &namespace).await;
    let before = spec(&objects).await;
    let help = format!("(kubectl delete psvc users -n {namespace}), or give the manifest another name");
    for who in [&["--as=ada"][..], &[]] {
        for command in recognized_only_by_the_writer(&namespace) {
            let said = run(&kubectl, who, &command).await.expect_err("refused");
            assert!(said.contains(&only) && said.contains(&help), "{}: {said}", command.args.join(" "));
        }
        for command in metadata(&namespace) {
            run(&kubectl, who, &command).await.expect("labels are free");
        }
    }
    assert_eq!(spec(&objects).await, before);
    here.register("alice", "users", "a", 81).await.ok();
    here.register("alice", "users", "b", 82).await.ok();

    let mut manifest = users(&namespace, &json!({"instances": [{"name": "a", "baseUrl": "http://h"}]}));
    manifest["metadata"]["name"] = json!("carts");
    for args in [&["apply", "-f", "-"][..], &["apply", "--server-side", "--force-conflicts", "-f", "-"]] {
        run(&kubectl, &["--as=ada"], &command(args, &manifest)).await.expect("manifests are free");
    }
    let delete = ["delete", "psvc", "users", "-n", &namespace];
    run(&kubectl, &["--as=ada"], &command(&delete, &Value::Null)).await.expect("deleting is free");
    here.stop().await;
}
