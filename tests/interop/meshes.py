"""Meshes and DNS that read what Portolan writes into their objects: istiod and external-dns.

Needs a Kubernetes API under KUBECONFIG without a Portolan, and ISTIO and EXTERNAL_DNS, the programs of the folders beside this file.
"""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile

from stage import ROOT, Backend, Pod, apply, came, fetch, get, kubectl, overlay, run, until

PLACE = "meshes"
HOST = "orders.example.test"
BOTH = ["192.0.2.1", "192.0.2.2"]
COMPONENTS = "workload-entries", "dns-endpoints"


def module(consumer, name):
    """The folder of a Go module that the consumer is built from."""
    answer = run("go", "mod", "download", "-C", ROOT / "tests/interop" / consumer, "-json", name)
    return pathlib.Path(json.loads(answer)["Dir"])


def install():
    istio = module("istio", "istio.io/istio") / "manifests/charts/base/files/crd-all.gen.yaml"
    dns = module("external-dns", "sigs.k8s.io/external-dns") / "config/crd/standard/dnsendpoints.externaldns.k8s.io.yaml"
    kubectl("apply", "--server-side", "-f", istio, "-f", dns)
    kubectl("apply", "--server-side", "-k", overlay({"PORTOLAN_PROBE_ALLOW": "127.0.0.0/8"}, *COMPONENTS))
    kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    for name in (PLACE, "istio-system"):
        kubectl("create", "namespace", name)


def at(kind, name, spec, **metadata):
    return {"apiVersion": kind[0], "kind": kind[1], "metadata": {"name": name, "namespace": PLACE} | metadata, "spec": spec}


def service(*backends):
    """Two instances, whose checks go to backends that listen here."""
    instances = [{"name": n, "baseUrl": f"http://{a}:8080", "healthUrl": b.url} for n, a, b in zip("ab", BOTH, backends)]
    spec = {"check": {"http": {"path": "/"}, "intervalSeconds": 1}, "instances": instances}
    return at(("portolan.dev/v1alpha1", "Service"), "orders", spec)


def objects_of_istio():
    """A service of the mesh whose endpoints are all WorkloadEntries with its label."""
    labels = {"app": "orders"}
    entry = {"hosts": [HOST], "location": "MESH_INTERNAL", "resolution": "STATIC", "workloadSelector": {"labels": labels}}
    yield at(("networking.istio.io/v1", "ServiceEntry"), "orders", entry | {"ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]})
    notes = {"portolan.dev/service": "orders", "proxy.istio.io/health-checks-enabled": "true"}
    for name, address in zip("ab", BOTH):
        spec = {"address": address, "ports": {"http": 8080}, "labels": labels}
        yield at(("networking.istio.io/v1", "WorkloadEntry"), f"orders-{name}", spec, labels=labels, annotations=notes)


def records():
    spec = {"endpoints": [{"dnsName": HOST, "recordType": "A", "recordTTL": 30, "targets": BOTH}]}
    return at(("externaldns.k8s.io/v1alpha1", "DNSEndpoint"), "orders", spec, annotations={"portolan.dev/service": "orders"})


@contextlib.contextmanager
def running(folder, program, *args, **env):
    """A program that runs, and the file that it writes to."""
    log = folder / f"{pathlib.Path(program).name}-{args[0].strip('-').split('=')[0]}.log"
    with log.open("w") as out:
        process = subprocess.Popen([program, *args], cwd=folder, env=os.environ | env, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield log
    except SystemExit:
        print("\n".join(log.read_text(errors="replace").splitlines()[-20:]), flush=True)
        raise
    finally:
        process.terminate()
        process.wait(timeout=30)


def free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def istiod(folder):
    """An istiod, and a file with a line for each time that it sent a sidecar the endpoints of the host."""
    http, grpc, monitoring = free_address(), free_address(), free_address()
    flags = [f"--kubeconfig={os.environ['KUBECONFIG']}", f"--httpAddr={http}", f"--grpcAddr={grpc}", f"--monitoringAddr={monitoring}"]
    flags += ["--httpsAddr=", "--secureGRPCAddr=", "--ctrlz_port=0"]
    with running(folder, os.environ["ISTIO"], "discovery", *flags, INJECT_ENABLED="false"):
        until(lambda: fetch(f"http://{http}/ready") is not None, "istiod is ready")
        with running(folder, os.environ["ISTIO"], "sidecar", grpc, f"outbound|80||{HOST}") as sent:
            yield sent


def external_dns(folder):
    """external-dns with a zone in its memory."""
    flags = ["--source=crd", f"--namespace={PLACE}", "--provider=inmemory", "--inmemory-zone=example.test", "--registry=noop"]
    flags += ["--interval=1s", "--metrics-address=127.0.0.1:0", "--log-format=json", f"--kubeconfig={os.environ['KUBECONFIG']}"]
    return running(folder, os.environ["EXTERNAL_DNS"], *flags)


def endpoints(sent):
    """Those that the sidecar was sent last."""
    lines = sent.read_text().splitlines()
    return lines[-1].split() if lines else None


def published(log):
    """The addresses in the zone, by the changes that external-dns made to it."""
    found = re.findall(r'"(?:CREATE|UPDATE \(new\)): \S+ \d+ IN A +([^ ]*) ', log.read_text())
    return sorted(found[-1].split(";")) if found else None


def noted():
    """What Portolan says of the targets."""
    return get("dnsendpoint", "orders", "-n", PLACE)["metadata"].get("annotations", {}).get("portolan.dev/targets", "")


def main():
    install()
    with tempfile.TemporaryDirectory() as name, Pod(name) as pod, Backend() as one, Backend() as two:
        folder = pathlib.Path(name)
        apply(*objects_of_istio(), records())
        with istiod(folder) as sent, external_dns(folder) as zone:
            until(lambda: endpoints(sent) == [], "istiod sends no endpoint that nothing has proved")
            apply(service(one, two))
            pod.start()
            both = [f"{address}:8080" for address in BOTH]
            until(lambda: endpoints(sent) == both, f"istiod sends {both}")
            until(lambda: published(zone) == BOTH, f"external-dns publishes {BOTH}")
            one.die()
            until(lambda: endpoints(sent) == both[1:], f"istiod sends {both[1:]}")
            until(lambda: published(zone) == BOTH[1:], f"external-dns publishes {BOTH[1:]}")
            two.die()
            until(lambda: endpoints(sent) == [], "istiod sends no endpoint")
            until(lambda: noted().startswith("KeptWhileDown"), "the targets are kept")
            assert published(zone) == BOTH[1:], published(zone)
            one.revive()
            two.revive()
            until(lambda: endpoints(sent) == both, f"istiod sends {both} again")
            until(lambda: published(zone) == BOTH, f"external-dns publishes {BOTH} again")
    came(
        "istiod",
        "the endpoints that it sends a sidecar for a ServiceEntry with two WorkloadEntries, whose backends die one after the other",
        f"none before Portolan starts; `{'`, `'.join(both)}`; without the first; none; both again",
    )
    came(
        "external-dns",
        "the addresses that it publishes for a DNSEndpoint, while these backends die",
        f"`{'`, `'.join(BOTH)}`; without the first; the same while none is healthy; both again",
    )


if __name__ == "__main__":
    main()
