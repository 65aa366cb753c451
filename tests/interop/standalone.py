"""Programs that others wrote beside a standalone server: curl, a client of server-sent events, and a gRPC server that is probed."""

import concurrent.futures
import json
import pathlib
import tempfile

import grpc
import httpx
import httpx_sse
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from stage import Backend, Portolan, came, run, until

SERVICES = "api/v1/services"


def curl(*args):
    return run("curl", "--silent", "--show-error", "--fail", "--max-time", "60", *args)


def register(server, **body):
    answer = curl("--json", json.dumps(body), f"{server.url}/{SERVICES}/register")
    return json.loads(answer)["data"]


def health_of(server, name):
    return json.loads(curl(f"{server.url}/{SERVICES}/discover?name={name}"))["data"]["status"]


def use_curl(server, folder, backend):
    service = register(server, name="shop", base_url=backend.url, check={"http": {"path": "/"}, "interval_seconds": 1})
    until(lambda: health_of(server, "shop") == "healthy", "the service is healthy")
    one, tag = f"{server.url}/{SERVICES}/{service['id']}", str(folder / "tag")
    curl("--etag-save", tag, one)
    code = curl("--etag-compare", tag, "--write-out", "%{http_code}", one)
    assert code == "304", code

    discover, head = f"{server.url}/{SERVICES}/discover?name=shop&wait=60s", folder / "head"
    curl("--dump-header", head, discover)
    cursor = next(line.split()[1] for line in head.read_text().splitlines() if line.lower().startswith("portolan-cursor:"))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(curl, f"{discover}&cursor={cursor}")
        backend.fails = True
        answered = json.loads(waiting.result())["data"]["status"]
    assert answered == "unhealthy", answered
    came("curl", "`--json` to register, `--etag-compare`, a long poll", f"registered, {code}, `{answered}` when the backend failed")


def use_events(server, backend):
    backend.fails = False
    until(lambda: health_of(server, "shop") == "healthy", "the service is healthy again")
    url, seen = f"{server.url}/api/v1/watch?name=shop", []

    def read(last_id, wanted):
        """Events up to the first that is `wanted`."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        with httpx.Client(timeout=60) as client, httpx_sse.connect_sse(client, "GET", url, headers=headers) as source:
            for event in source.iter_sse():
                seen.append(event)
                if wanted(event):
                    return event
        raise SystemExit(f"the stream ended after {seen}")

    def became(status):
        def wanted(event):
            if event.event not in ("snapshot", "change"):
                return False
            body = json.loads(event.data)
            return any(service["status"] == status for service in body.get("upserts") or body.get("services") or [])

        return wanted

    first = read(None, became("healthy"))
    assert first.event == "snapshot" and first.id, first
    backend.fails = True
    until(lambda: health_of(server, "shop") == "unhealthy", "the service is unhealthy")
    # It was away meanwhile: what it missed comes first.
    missed = read(first.id, became("unhealthy"))
    assert missed.event == "change" and missed.id != first.id, missed
    backend.fails = False
    live = read(missed.id, became("healthy"))
    came(
        "httpx-sse",
        "`/api/v1/watch`; again with `Last-Event-ID` after a pause",
        f"a {first.event}, then only what was missed (a {missed.event}), then a live {live.event}",
    )


def probe_grpc(server):
    reporter = health.HealthServicer()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        program = grpc.server(pool)
        health_pb2_grpc.add_HealthServicer_to_server(reporter, program)
        port = program.add_insecure_port("127.0.0.1:0")
        program.start()
        try:
            reporter.set("shop.Inventory", health_pb2.HealthCheckResponse.SERVING)
            check = {"grpc": {"service": "shop.Inventory"}, "interval_seconds": 1}
            register(server, name="inventory", base_url=f"grpc://127.0.0.1:{port}", check=check)
            until(lambda: health_of(server, "inventory") == "healthy", "it serves")
            reporter.set("shop.Inventory", health_pb2.HealthCheckResponse.NOT_SERVING)
            until(lambda: health_of(server, "inventory") == "unhealthy", "it does not serve")
            service = json.loads(curl(f"{server.url}/{SERVICES}/discover?name=inventory"))["data"]
            reason = service["instances"][0]["reason"]
        finally:
            program.stop(None)
    came("gRPC health (grpcio)", "probed while it says `SERVING`, then `NOT_SERVING`", f"`healthy`, then `unhealthy` ({reason})")


def main():
    with tempfile.TemporaryDirectory() as folder, Portolan(folder) as server, Backend() as backend:
        server.start(ENABLE_AUTH="false", PORTOLAN_RATE_LIMIT_PER_MINUTE="0", PORTOLAN_READ_RATE_LIMIT_PER_MINUTE="0")
        use_curl(server, pathlib.Path(folder), backend)
        use_events(server, backend)
        probe_grpc(server)


if __name__ == "__main__":
    main()
