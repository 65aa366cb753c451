"""Programs that others wrote beside Portolan in a cluster: kustomize, kubectl, kstatus, and HAProxy over CoreDNS.

Needs a Kubernetes API under KUBECONFIG without a Portolan, a DNS server for the namespace `interop` at DNS_SERVER, and HAPROXY and KSTATUS,
two programs. There need be no nodes: Portolan runs here as the pod that the manifests describe.
"""

import json
import os
import pathlib
import socket
import subprocess
import tempfile

from stage import PORTOLAN, Backend, Pod, apply, came, get, kubectl, overlay, run, until

PLACE = "interop"


def install():
    """As docs/kubernetes.md says: an overlay of one's own, with the component that publishes."""
    folder = overlay({"PORTOLAN_PROBE_ALLOW": "127.0.0.0/8", "PORTOLAN_PUBLISH_DENY": "10.0.0.0/8"}, "publish")
    applied = kubectl("apply", "--server-side", "-k", folder).splitlines()
    kubectl("wait", "--for=condition=Established", "crd/services.portolan.dev", "--timeout=60s")
    again = kubectl("diff", "--server-side", "-k", folder)
    assert not again, again
    came(
        "kustomize",
        "an overlay over `overlays/cluster` and `components/publish`, `kubectl apply -k`",
        f"{len(applied)} objects; afterwards, `kubectl diff` finds no difference",
    )


def service(name, instances, **spec):
    spec = {"check": {"http": {"path": "/"}, "intervalSeconds": 1}, "instances": instances} | spec
    return {"apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": {"name": name, "namespace": PLACE}, "spec": spec}


def kstatus(name):
    """What kstatus makes of the object."""
    return run(os.environ["KSTATUS"], stdin=json.dumps(get(f"services.portolan.dev/{name}", "-n", PLACE))).strip()


def becomes(status):
    kubectl("wait", f"--for=condition=Ready={status}", "services.portolan.dev/shop", "-n", PLACE, "--timeout=60s")


def use_kubectl(pod, backend):
    shop = service("shop", [{"name": "a", "baseUrl": backend.url}])
    apply(shop)
    verdicts = [kstatus("shop")]
    pod.start()
    becomes("True")
    verdicts.append(kstatus("shop"))
    up = kubectl("get", "psvc", "shop", "-n", PLACE, "--no-headers").split()[1:3]
    assert up == ["1/1", "Healthy"], up
    backend.fails = True
    becomes("False")
    down = kubectl("get", "psvc", "shop", "-n", PLACE, "--no-headers").split()[1:3]
    assert down == ["0/1", "Down"], down
    events = until(
        lambda: [e for e in kubectl("events", "--for", "services.portolan.dev/shop", "-n", PLACE).splitlines() if "Warning" in e],
        "an event says why",
    )
    reason = events[0].split()[2]
    plugins = pod.folder / "plugins"
    plugins.mkdir()
    (plugins / "kubectl-portolan").symlink_to(PORTOLAN)
    os.environ["PATH"] = f"{plugins}:{os.environ['PATH']}"
    listed = kubectl("portolan", "list", "-n", PLACE, "--server", pod.url)
    assert "shop" in listed and "unhealthy" in listed, listed
    came(
        "kubectl",
        "`apply`, `wait --for=condition=Ready`, `get psvc`, `events` while the backend fails, and the plugin: `kubectl portolan list`",
        f"`{' '.join(up)}`, then `{' '.join(down)}`, the event `{reason}`, and the same from the plugin",
    )
    backend.fails = False
    becomes("True")
    shop["spec"]["instances"][0]["baseUrl"] = "http://169.254.169.254"
    apply(shop)
    until(lambda: kstatus("shop").startswith("Failed"), "kstatus sees that the address is refused")
    verdicts.append(kstatus("shop"))
    verdicts = [verdict.split(":")[0] for verdict in verdicts]
    assert verdicts == ["InProgress", "Current", "Failed"], verdicts
    came(
        "kstatus (Flux, cli-utils)",
        "an object that no Portolan watches, one that is healthy, one whose address the settings deny",
        ", ".join(f"`{verdict}`" for verdict in verdicts),
    )


HAPROXY_CONFIG = """
global
  stats socket {folder}/stats.sock mode 600 level admin
defaults
  mode tcp
  timeout connect 1s
  timeout client 1s
  timeout server 1s
resolvers cluster
  nameserver dns {dns}
  accepted_payload_size 8192
  timeout resolve 1s
  hold valid 1s
  hold obsolete 1s
frontend front
  bind {folder}/front.sock
  default_backend db
backend db
  server-template db 4 _sql._tcp.db.{place}.svc.cluster.test resolvers cluster resolve-prefer ipv4
"""
# In `show servers state`: the address, and the bit of the administrative state for "no such name".
ADDRESS, ADMIN_STATE, PORT, UNRESOLVED = 4, 6, 18, 0x20


def servers(folder):
    """The addresses that HAProxy would send to."""
    with socket.socket(socket.AF_UNIX) as stats:
        stats.connect(str(folder / "stats.sock"))
        stats.sendall(b"show servers state db\n")
        stats.shutdown(socket.SHUT_WR)
        lines = stats.makefile().read().splitlines()
    rows = [line.split() for line in lines if " db" in line and not line.startswith("#")]
    return sorted(f"{row[ADDRESS]}:{row[PORT]}" for row in rows if not int(row[ADMIN_STATE]) & UNRESOLVED)


def use_haproxy(folder):
    kubectl("label", "namespace", PLACE, "portolan.dev/publish=allowed")
    with Backend() as one, Backend() as two:
        core = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "db", "namespace": PLACE},
            "spec": {"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]},
        }
        at = lambda name, address, backend: {"name": name, "baseUrl": f"postgres://{address}", "healthUrl": backend.url}
        apply(core, service("orders-db", [at("a", "192.0.2.1:5432", one), at("b", "192.0.2.2:6432", two)], publish={"service": "db"}))
        config = folder / "haproxy.cfg"
        config.write_text(HAPROXY_CONFIG.format(folder=folder, dns=os.environ["DNS_SERVER"], place=PLACE))
        haproxy = subprocess.Popen([os.environ["HAPROXY"], "-db", "-f", config])
        try:
            until(lambda: (folder / "stats.sock").exists(), "HAProxy listens")
            both = ["192.0.2.1:5432", "192.0.2.2:6432"]
            until(lambda: servers(folder) == both, f"HAProxy has {both}")
            one.fails = True
            until(lambda: servers(folder) == both[1:], f"HAProxy has {both[1:]}")
            one.fails = False
            until(lambda: servers(folder) == both, f"HAProxy has {both} again")
        finally:
            haproxy.terminate()
            haproxy.wait(timeout=30)
    came(
        "HAProxy over CoreDNS",
        "servers from the SRV records of a core Service whose endpoints Portolan publishes",
        f"`{'`, `'.join(both)}`; without the first while its check fails",
    )


def main():
    kubectl("create", "namespace", PLACE)
    install()
    with tempfile.TemporaryDirectory() as name, Pod(name) as pod, Backend() as backend:
        use_kubectl(pod, backend)
        use_haproxy(pathlib.Path(name))


if __name__ == "__main__":
    main()
