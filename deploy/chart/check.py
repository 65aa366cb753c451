"""Checks the chart: that it renders what kustomize makes of deploy/, and that Helm installs, tests, upgrades, rolls back and removes it.

Needs HELM, PORTOLAN, CHART (the packaged chart), and a Kubernetes API under KUBECONFIG without a Portolan. There need be no nodes: the
programs of the pods run here, as their ServiceAccount and with the settings that the chart gave them.
"""

import contextlib
import http.server
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
HELM, PORTOLAN, CHART = (os.environ[name] for name in ("HELM", "PORTOLAN", "CHART"))
NAMESPACE = "portolan"
# Values that the chart refuses.
WRONG = (
    "scope=other",
    "scope=namespaced,restNamespaces={shop}",
    "replicas=-1",
    "image.tg=1",
    "image.digest=1",
    "settings.lower=1",
    "settings.POD_IP=1",
)
MANAGED_BY, CHART_LABEL = "app.kubernetes.io/managed-by", "helm.sh/chart"


def run(*args, stdin=None, fails=False):
    """The command's output; with `fails`, it must fail."""
    done = subprocess.run(args, input=stdin, capture_output=True, text=True, timeout=300)
    if (done.returncode != 0) != fails:
        raise SystemExit(f"{' '.join(args)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stderr if fails else done.stdout


def helm(*args, **how):
    return run(HELM, *args, "--namespace", NAMESPACE, **how)


def kubectl(*args, **how):
    return run("kubectl", *args, **how)


def get(*args):
    return json.loads(kubectl("get", "-o", "json", *args))


def until(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within a minute: {what}")
        time.sleep(0.1)


def say(text):
    print(f"chart: {text}", flush=True)


# --- The same objects as kustomize.


def objects(text):
    """By kind, namespace and name, without what Helm writes differently: its two labels, and labels of the CustomResourceDefinition, which
    it installs as the file is."""
    found = {}
    for each in filter(None, yaml.safe_load_all(text)):
        metadata = each["metadata"]
        if each["kind"] == "CustomResourceDefinition":
            metadata.pop("labels", None)
        pod = each.get("spec", {}).get("template", {}).get("metadata", {}) if each["kind"] == "Deployment" else {}
        for labels in (metadata.get("labels", {}), pod.get("labels", {})):
            for label in (MANAGED_BY, CHART_LABEL):
                labels.pop(label, None)
        found[each["kind"], metadata.get("namespace"), metadata["name"]] = each
    return found


def equal(what, overlay, *flags):
    version = server_version()
    rendered = objects(helm("template", "portolan", CHART, "--no-hooks", "--kube-version", version, *flags))
    built = objects(kubectl("kustomize", str(ROOT / "deploy" / overlay)))
    # The namespace is there before Helm can note in it that it installs something.
    built.pop(("Namespace", None, NAMESPACE), None)
    missing, extra = built.keys() - rendered.keys(), rendered.keys() - built.keys()
    assert not missing and not extra, f"{what}: without {sorted(map(str, missing))}, but with {sorted(map(str, extra))}"
    for key, wanted in built.items():
        assert rendered[key] == wanted, f"{what}: {key} differs:\n{yaml.dump(rendered[key])}\nwanted:\n{yaml.dump(wanted)}"
    say(f"{len(built)} objects are those of {overlay}")


def server_version():
    return json.loads(kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]


def refusals():
    version = server_version()
    for flags in WRONG:
        helm("template", "portolan", CHART, "--kube-version", version, "--set", flags, fails=True)
    text = helm("template", "portolan", CHART, "--kube-version", version, "--set", "settings.MAX_SERVICES=100000000")
    assert 'value: "100000000"' in text, "a number keeps its digits"


# --- A life of a release.


class Pod:
    """Portolan as the Deployment's pods would run it."""

    def __init__(self, folder):
        self.folder = folder
        self.process = None
        self.url = None

    def start(self):
        container = get("deployment", "portolan", "-n", NAMESPACE)["spec"]["template"]["spec"]["containers"][0]
        env = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        secret = self.folder / "secret"
        secret.write_text("a secret that only this check knows, long enough to sign")
        env |= {"POD_NAME": "a", "POD_NAMESPACE": NAMESPACE, "POD_IP": "127.0.0.1", "SERVER_PORT": "0", "PATH": os.environ["PATH"]}
        env |= {"JWT_SECRET_FILE": str(secret), "DB_PATH": str(self.folder / "services.db"), "PORTOLAN_BIND_ADDRESS": "127.0.0.1"}
        env |= {"KUBECONFIG": self.kubeconfig(), "HOME": str(self.folder)}
        log = self.folder / "log"
        with log.open("w") as out:
            self.process = subprocess.Popen([PORTOLAN, *container["args"]], env=env, stdout=out, stderr=out)
        until(lambda: self.listens(log), "Portolan listens")
        until(self.ready, "Portolan is ready")

    def kubeconfig(self):
        config = yaml.safe_load(kubectl("config", "view", "--raw", "--minify"))
        config["users"][0]["user"] = {"token": kubectl("create", "token", "portolan", "-n", NAMESPACE).strip()}
        path = self.folder / "kubeconfig"
        path.write_text(yaml.dump(config))
        return str(path)

    def listens(self, log):
        if self.process.poll() is not None:
            raise SystemExit(f"Portolan ended:\n{log.read_text()}")
        at = log.read_text().find("http://127.0.0.1:")
        self.url = log.read_text()[at:].split('"')[0].split()[0].rstrip(",.") if at >= 0 else None
        return self.url is not None

    def ready(self):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{self.url}/readyz", timeout=5).status == 200
        return False

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=30)


def run_test_pod(pod, stopped):
    """What a node does for the pod of `helm test`: runs its program, and writes how that ended."""
    ended = set()
    while not stopped.wait(0.2):
        for each in get("pods", "-n", NAMESPACE)["items"]:
            metadata = each["metadata"]
            if "helm.sh/hook" not in metadata.get("annotations", {}) or metadata["uid"] in ended:
                continue
            ended.add(metadata["uid"])
            service = f"http://portolan.{NAMESPACE}.svc"
            args = [pod.url if arg == service else arg for arg in each["spec"]["containers"][0]["args"]]
            assert pod.url in args, args
            code = subprocess.run([PORTOLAN, *args], capture_output=True, timeout=60).returncode
            status = {"status": {"phase": "Failed" if code else "Succeeded"}}
            kubectl("patch", "pod", metadata["name"], "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", json.dumps(status))


@contextlib.contextmanager
def backend():
    """A program that is healthy."""

    class Ok(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ok)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def deployment():
    return get("deployment", "portolan", "-n", NAMESPACE)["spec"]


def life(folder):
    kubectl("create", "namespace", NAMESPACE)
    kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    notes = helm("install", "portolan", CHART, "--set", "settings.PORTOLAN_PROBE_ALLOW=127.0.0.0/8")
    assert "create secret generic portolan-jwt" in notes and "CustomResourceDefinition" not in notes, notes
    kubectl("create", "secret", "generic", "portolan-jwt", "-n", NAMESPACE, "--from-literal=secret=x")
    kubectl("wait", "--for=condition=Established", "crd/services.portolan.dev", "--timeout=60s")
    say("installed")

    pod, stopped = Pod(folder), threading.Event()
    node = threading.Thread(target=run_test_pod, args=(pod, stopped))
    try:
        pod.start()
        node.start()
        with backend() as url:
            instance = {"name": "a", "baseUrl": url}
            shop = {"apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": {"name": "shop"}, "spec": {"instances": [instance]}}
            kubectl("apply", "-f", "-", stdin=json.dumps(shop))
            kubectl("wait", "--for=condition=Ready", "services.portolan.dev/shop", "--timeout=60s")
        say("Portolan runs with the rights and settings of the chart and proves a service")
        helm("test", "portolan", "--timeout", "60s")
        url, pod.url = pod.url, "http://127.0.0.1:9"
        helm("test", "portolan", "--timeout", "60s", fails=True)
        pod.url = url
        say("`helm test` passes, and fails when nothing answers")
    finally:
        stopped.set()
        node.join()
        pod.stop()

    notes = helm("upgrade", "portolan", CHART, "--reuse-values", "--set", "replicas=3", "--set", "settings.LOG_LEVEL=debug")
    env = {each["name"]: each.get("value") for each in deployment()["template"]["spec"]["containers"][0]["env"]}
    assert deployment()["replicas"] == 3 and env["LOG_LEVEL"] == "debug" and env["PORTOLAN_PROBE_ALLOW"], env
    assert "create secret" not in notes, notes
    helm("rollback", "portolan", "1")
    env = {each["name"] for each in deployment()["template"]["spec"]["containers"][0]["env"]}
    assert deployment()["replicas"] == 2 and "LOG_LEVEL" not in env, env
    say("upgraded and rolled back")

    older = [{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/description", "value": "An older one"}]
    kubectl("patch", "crd", "services.portolan.dev", "--type=json", "-p", json.dumps(older))
    assert "helm show crds" in helm("upgrade", "portolan", CHART, "--reuse-values")
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=run(HELM, "show", "crds", CHART))
    assert "helm show crds" not in helm("upgrade", "portolan", CHART, "--reuse-values")
    say("an upgrade notices an older CustomResourceDefinition, and the command that it shows replaces that")

    helm("uninstall", "portolan")
    assert not get("deployments,roles,services,networkpolicies", "-n", NAMESPACE)["items"], "the release is gone"
    get("services.portolan.dev", "shop")
    say("uninstalled; the CustomResourceDefinition and the services stay")


def namespaced():
    """Installed by the administrator of a namespace, who may nothing outside it."""
    kubectl("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "crds"))
    # The role `admin` consists of the first three; a controller that does not run here adds them up.
    for role in ("system:aggregate-to-admin", "system:aggregate-to-edit", "system:aggregate-to-view", "portolan-installer"):
        kubectl("create", "rolebinding", role, "-n", NAMESPACE, f"--clusterrole={role}", "--user=ada")
    ada = ("--kube-as-user", "ada")
    helm("install", "portolan", CHART, "--skip-crds", *ada, fails=True)
    helm("install", "portolan", CHART, "--skip-crds", "--set", "scope=namespaced", *ada)
    helm("upgrade", "portolan", CHART, "--skip-crds", "--set", "scope=namespaced", "--set", "replicas=1", *ada)
    assert deployment()["replicas"] == 1
    helm("uninstall", "portolan", *ada)
    say("the administrator of a namespace installs it there")


def main():
    equal("the default", "overlays/cluster", "--include-crds")
    equal("scope=namespaced", "overlays/namespaced", "--set", "scope=namespaced")
    equal("monitoring", "monitoring", "--show-only", "templates/monitoring.yaml", "--set", "monitoring.enabled=true")
    refusals()
    with tempfile.TemporaryDirectory() as folder:
        life(pathlib.Path(folder))
    namespaced()


if __name__ == "__main__":
    main()
