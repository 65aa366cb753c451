"""Checks the chart: that it renders what kustomize makes of deploy/, and that Helm installs, tests, upgrades, rolls back and removes it.

Needs HELM, PORTOLAN, CHART (the packaged chart), and a Kubernetes API under KUBECONFIG without a Portolan. There need be no nodes: the
programs of the pods run here, as their ServiceAccount and with the settings that the chart gave them.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import yaml

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "tests/interop"))
from stage import NAMESPACE, PORTOLAN, ROOT, Backend, Pod, apply, came, get, kubectl, overlay, run  # noqa: E402

HELM, CHART = (os.environ[name] for name in ("HELM", "CHART"))
# Values that the chart refuses.
WRONG = (
    "scope=other",
    "scope=namespaced,restNamespaces={shop}",
    "scope=namespaced,policies.enabled=true",
    "scope=namespaced,policies.watchSelector=tenant",
    "scope=namespaced,dnsEndpoints.enabled=true",
    "dnsEndpoints.enabled=true,admissionPolicy.enabled=false",
    "replicas=-1",
    "publish.enabled=true",
    "publish.deny={10.0.0.0/8},publish.enabled=true,scope=namespaced",
    "tls.secret=A/b",
    "tls.enable=true",
    "metricsPort.enabled=1",
    "image.tg=1",
    "image.digest=1",
    "settings.lower=1",
    "settings.POD_IP=1",
)
MANAGED_BY, CHART_LABEL = "app.kubernetes.io/managed-by", "helm.sh/chart"


def helm(*args, **how):
    return run(HELM, *args, "--namespace", NAMESPACE, **how)


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
        containers = each["spec"]["template"]["spec"]["containers"] if each["kind"] == "Deployment" else []
        for container in containers:
            # The settings may come in another order, but each after those that it refers to.
            names = [one["name"] for one in container["env"]]
            for at, one in enumerate(container["env"]):
                assert all(name in names[:at] for name in re.findall(r"\$\((\w+)\)", one.get("value", ""))), one
            container["env"].sort(key=lambda one: one["name"])
        found[each["kind"], metadata.get("namespace"), metadata["name"]] = each
    return found


def equal(what, source, *flags):
    version = server_version()
    rendered = objects(helm("template", "portolan", CHART, "--no-hooks", "--kube-version", version, *flags))
    built = objects(kubectl("kustomize", str(ROOT / "deploy" / source)))
    # The namespace is there before Helm can note in it that it installs something.
    built.pop(("Namespace", None, NAMESPACE), None)
    missing, extra = built.keys() - rendered.keys(), rendered.keys() - built.keys()
    assert not missing and not extra, f"{what}: without {sorted(map(str, missing))}, but with {sorted(map(str, extra))}"
    for key, wanted in built.items():
        assert rendered[key] == wanted, f"{what}: {key} differs:\n{yaml.dump(rendered[key])}\nwanted:\n{yaml.dump(wanted)}"
    say(f"{what}: {len(built)} objects are those of kustomize")
    return len(built)


def server_version():
    return json.loads(kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]


def another_namespace():
    """The alert about leaders is about the release's own namespace, as about the one in the settings of deploy/monitoring."""
    flags = ("--kube-version", server_version(), "--set", "monitoring.enabled=true", "--show-only", "templates/monitoring.yaml")
    rendered = run(HELM, "template", "portolan", CHART, "--namespace", "registry", *flags)
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "monitoring"
        shutil.copytree(ROOT / "deploy/monitoring", copy)
        shutil.copytree(ROOT / "deploy/labels", pathlib.Path(folder) / "labels")
        settings = copy / "settings.yaml"
        settings.write_text(settings.read_text().replace("namespace: portolan", "namespace: registry"))
        built = kubectl("kustomize", str(copy))
    assert objects(rendered) == objects(built), rendered
    assert built.count("registry") > 3 and 'namespace="portolan"' not in built, built
    say("the objects of monitoring follow the release's namespace")


def beside_tls():
    """What follows from TLS beyond the component: how `helm test` and Prometheus reach the server."""
    version = server_version()

    def rendered(template, *flags):
        tls = ("--set", "tls.enabled=true,tls.secret=other", "--set", "monitoring.enabled=true")
        return helm("template", "portolan", CHART, "--kube-version", version, *tls, *flags, "--show-only", f"templates/{template}")

    spec = yaml.safe_load(rendered("tests/answers.yaml"))["spec"]
    assert f"https://portolan.{NAMESPACE}.svc" in spec["containers"][0]["args"], spec
    assert spec["volumes"][0]["secret"]["secretName"] == "other" and spec["containers"][0]["env"][0]["name"] == "PORTOLAN_CA_FILE", spec
    spec = yaml.safe_load(rendered("tests/answers.yaml", "--set", "tls.ca=false"))["spec"]
    assert "volumes" not in spec and "env" not in spec["containers"][0], spec
    assert "PORTOLAN_TLS_PEER_CA" not in rendered("deployment.yaml", "--set", "tls.ca=false")

    def endpoint(*flags):
        monitors = [each for each in yaml.safe_load_all(rendered("monitoring.yaml", *flags)) if each and each["kind"] == "ServiceMonitor"]
        return monitors[0]["spec"]["endpoints"][0]

    # The metrics port speaks TLS, too.
    for port, flags in [("https", ()), ("metrics", ("--set", "metricsPort.enabled=true"))]:
        found = endpoint(*flags)
        assert (found["port"], found["scheme"], found["tlsConfig"]["ca"]["secret"]["name"]) == (port, "https", "other"), found
    say("with tls, `helm test` and Prometheus trust the Secret's CA")


def refusals():
    version = server_version()
    for flags in WRONG:
        helm("template", "portolan", CHART, "--kube-version", version, "--set", flags, fails=True)
    text = helm("template", "portolan", CHART, "--kube-version", version, "--set", "settings.MAX_SERVICES=100000000")
    assert 'value: "100000000"' in text, "a number keeps its digits"


# --- A life of a release.


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


def deployment():
    return get("deployment", "portolan", "-n", NAMESPACE)["spec"]


def life(folder):
    kubectl("create", "namespace", NAMESPACE)
    kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    notes = helm("install", "portolan", CHART, "--set", "settings.PORTOLAN_PROBE_ALLOW=127.0.0.0/8")
    assert "rollout status" in notes and "CustomResourceDefinition" not in notes, notes
    kubectl("wait", "--for=condition=Established", "crd/services.portolan.dev", "--timeout=60s")
    say("installed")

    pod, stopped = Pod(folder), threading.Event()
    node = threading.Thread(target=run_test_pod, args=(pod, stopped))
    try:
        pod.start()
        node.start()
        with Backend() as backend:
            instance = {"name": "a", "baseUrl": backend.url}
            apply({"apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": {"name": "shop"}, "spec": {"instances": [instance]}})
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

    helm("upgrade", "portolan", CHART, "--reuse-values", "--set", "replicas=3", "--set", "settings.LOG_LEVEL=debug")
    env = {each["name"]: each.get("value") for each in deployment()["template"]["spec"]["containers"][0]["env"]}
    assert deployment()["replicas"] == 3 and env["LOG_LEVEL"] == "debug" and env["PORTOLAN_PROBE_ALLOW"], env
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
    same = equal("the default", "overlays/cluster", "--include-crds")
    same += equal("scope=namespaced", "overlays/namespaced", "--set", "scope=namespaced")
    same += equal("monitoring", "monitoring", "--show-only", "templates/monitoring.yaml", "--set", "monitoring.enabled=true")
    publish = ("--set", "publish.enabled=true", "--set", "publish.deny={10.244.0.0/16,10.96.0.0/12}")
    folder = overlay({"PORTOLAN_PUBLISH_DENY": "10.244.0.0/16,10.96.0.0/12"}, "publish")
    same += equal("publish", os.path.relpath(folder, ROOT / "deploy"), "--include-crds", *publish)
    folder = overlay({}, "adopt")
    same += equal("adopt", os.path.relpath(folder, ROOT / "deploy"), "--include-crds", "--set", "adopt.enabled=true")
    folder = overlay({"PORTOLAN_WATCH_SELECTOR": "tenant"}, "policy")
    policies = ("--set", "policies.enabled=true", "--set", "policies.watchSelector=tenant")
    same += equal("policies", os.path.relpath(folder, ROOT / "deploy"), "--include-crds", *policies)
    folder = overlay({}, "tls")
    same += equal("tls", os.path.relpath(folder, ROOT / "deploy"), "--include-crds", "--set", "tls.enabled=true")
    folder = overlay({}, "metrics-port", "tls")
    both = ("--set", "tls.enabled=true", "--set", "metricsPort.enabled=true")
    same += equal("metricsPort and tls", os.path.relpath(folder, ROOT / "deploy"), "--include-crds", *both)
    another_namespace()
    beside_tls()
    kinds = {"workload-entries": "workloadEntries", "external-workloads": "externalWorkloads", "dns-endpoints": "dnsEndpoints"}
    for component, value in kinds.items():
        folder = overlay({}, component)
        same += equal(component, os.path.relpath(folder, ROOT / "deploy"), "--include-crds", "--set", f"{value}.enabled=true")
    folder = overlay({}, "adopt-namespaced", base="namespaced")
    same += equal("adopt in a namespace", os.path.relpath(folder, ROOT / "deploy"), "--set", "scope=namespaced,adopt.enabled=true")
    folder = overlay({}, "publish", "node-networks")
    learned = ("--set", "publish.enabled=true,publish.nodes=true")
    same += equal("publish with learned networks", os.path.relpath(folder, ROOT / "deploy"), "--include-crds", *learned)
    refusals()
    with tempfile.TemporaryDirectory() as folder:
        life(pathlib.Path(folder))
    namespaced()
    came(
        "Helm",
        "`lint`, `template`, `install`, `test`, `upgrade`, `rollback`, `uninstall`; again as the administrator of a namespace",
        f"{same} objects equal to kustomize's; a release that works, and a failed `helm test` where nothing answers",
    )


if __name__ == "__main__":
    main()
