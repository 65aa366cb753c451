"""What programs that try Portolan share: commands, waiting, a backend, and Portolan itself, alone or with the rights of a pod."""

import contextlib
import http.server
import json
import os
import pathlib
import subprocess
import threading
import time
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORTOLAN = pathlib.Path(os.environ.get("PORTOLAN", ROOT / "target/debug/portolan")).absolute()
NAMESPACE = "portolan"


def run(*args, stdin=None, fails=False):
    """The command's output; with `fails`, it must fail."""
    done = subprocess.run(args, input=stdin, capture_output=True, text=True, timeout=300)
    if (done.returncode != 0) != fails:
        raise SystemExit(f"{' '.join(map(str, args))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stderr if fails else done.stdout


def kubectl(*args, **how):
    return run("kubectl", *args, **how)


def get(*args):
    return json.loads(kubectl("get", "-o", "json", *args))


def apply(*objects):
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def overlay(settings, *components):
    """The folder of a kustomization as docs/kubernetes.md describes it: the overlay `cluster` with settings and components."""
    folder = ROOT / "target/interop/overlay"
    folder.mkdir(parents=True, exist_ok=True)
    deploy = os.path.relpath(ROOT / "deploy", folder)
    env = [{"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": n, "value": v}} for n, v in settings.items()]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{deploy}/overlays/cluster"],
        "components": [f"{deploy}/components/{name}" for name in components],
        "patches": [{"target": {"kind": "Deployment", "name": "portolan"}, "patch": json.dumps(env)}] if env else [],
    }
    (folder / "kustomization.yaml").write_text(json.dumps(kustomization))
    return str(folder)


def until(condition, what):
    """The first true value of `condition`, within a minute."""
    deadline = time.monotonic() + 60
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within a minute: {what}")
        time.sleep(0.1)
    return value


def fetch(url):
    """The body of a 200, or nothing."""
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()
    return None


def came(consumer, asked, answered):
    """A row for tests/interop/run: what the consumer was asked for, and what came. Say it after all that it depends on was checked."""
    print(f"interop: {consumer} | {asked} | {answered}", flush=True)


class Backend:
    """A program that answers 200, or 503 while `fails`, or nothing between `die` and `revive`; its port stays its own."""

    def __init__(self):
        self.fails = False
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(503 if owner.fails else 200)
                self.send_header("Content-Type", "text/plain")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.handler = Handler
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.address}"

    def serve(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def die(self):
        self.server.shutdown()
        self.server.server_close()

    def revive(self):
        self.server = http.server.ThreadingHTTPServer(self.server.server_address, self.handler)
        self.serve()

    def __enter__(self):
        self.serve()
        return self

    def __exit__(self, *_):
        self.die()


class Portolan:
    """A server on a free port of loopback, with its file in `folder`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.process = None
        self.url = None

    def start(self, args=("serve",), **settings):
        env = {"SERVER_PORT": "0", "PORTOLAN_BIND_ADDRESS": "127.0.0.1", "DB_PATH": str(self.folder / "services.db")}
        env |= {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        log = self.folder / "log"
        with log.open("w") as out:
            self.process = subprocess.Popen([PORTOLAN, *args], env=settings | env, stdout=out, stderr=out)
        until(lambda: self.listens(log), "Portolan listens")
        until(lambda: fetch(f"{self.url}/readyz") is not None, "Portolan is ready")

    def listens(self, log):
        if self.process.poll() is not None:
            raise SystemExit(f"Portolan ended:\n{log.read_text()}")
        at = log.read_text().find("http://127.0.0.1:")
        self.url = log.read_text()[at:].split('"')[0].split()[0].rstrip(",.") if at >= 0 else None
        return self.url is not None

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Pod(Portolan):
    """Portolan as the pods of the Deployment would run it: with its settings, as its ServiceAccount."""

    def start(self):
        container = get("deployment", "portolan", "-n", NAMESPACE)["spec"]["template"]["spec"]["containers"][0]
        settings = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        secret = self.folder / "secret"
        secret.write_text("a secret that only this check knows, long enough to sign")
        settings |= {"POD_NAME": "a", "POD_NAMESPACE": NAMESPACE, "POD_IP": "127.0.0.1", "JWT_SECRET_FILE": str(secret)}
        super().start(container["args"], KUBECONFIG=self.kubeconfig(), **settings)

    def kubeconfig(self):
        config = yaml.safe_load(kubectl("config", "view", "--raw", "--minify"))
        config["users"][0]["user"] = {"token": kubectl("create", "token", "portolan", "-n", NAMESPACE).strip()}
        path = self.folder / "kubeconfig"
        path.write_text(yaml.dump(config))
        return str(path)
