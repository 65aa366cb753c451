"""A Prometheus that scrapes what is registered, and Portolan's own metrics. PROMETHEUS names the program."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import urllib.parse

import yaml

from stage import PORTOLAN, ROOT, Backend, Portolan, came, fetch, run, until


def config(url):
    """The README's scrape configuration, one for Portolan's own metrics, and the alerts."""
    readme = (ROOT / "README.md").read_text()
    shown = next(block for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "http_sd_configs" in block)
    discovered = yaml.safe_load(shown)["scrape_configs"][0]
    discovered["http_sd_configs"] = [{"url": f"{url}/sd/prometheus", "refresh_interval": "1s"}]
    own = {"job_name": "own", "static_configs": [{"targets": [url.removeprefix("http://")]}]}
    rules = yaml.safe_load((ROOT / "deploy/monitoring/rules.yaml").read_text())["spec"]
    every = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    return {"global": every, "rule_files": ["rules.yaml"], "scrape_configs": [discovered, own]}, rules


def start(folder, url):
    settings, rules = config(url)
    (folder / "prometheus.yaml").write_text(yaml.dump(settings))
    (folder / "rules.yaml").write_text(yaml.dump(rules))
    flags = ["--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0", "--log.format=json"]
    log = folder / "prometheus.log"
    with log.open("w") as out:
        process = subprocess.Popen([os.environ["PROMETHEUS"], *flags], cwd=folder, stdout=out, stderr=out)
    listening = re.compile(r'"address":"(127\.0\.0\.1:\d+)".*Listening on')

    def address():
        if process.poll() is not None:
            raise SystemExit(f"Prometheus ended:\n{log.read_text()}")
        found = listening.search(log.read_text())
        return found and found[1]

    return process, f"http://{until(address, 'Prometheus listens')}"


def query(prometheus, expression):
    """The label `service` and the value of each result."""
    answer = fetch(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
    results = json.loads(answer)["data"]["result"] if answer else []
    return {result["metric"].get("service"): result["value"][1] for result in results}


def register(url, name, base_url, *flags):
    run(PORTOLAN, "register", "--server", url, "--name", name, "--base-url", base_url, "--check-interval", "1s", *flags)


def main():
    with tempfile.TemporaryDirectory() as name, Portolan(name) as server, Backend() as backend:
        folder = pathlib.Path(name)
        server.start(ENABLE_AUTH="false")
        prometheus, url = start(folder, server.url)
        try:
            register(server.url, "shop", backend.url, "--check-http", "/")
            register(server.url, "prometheus", url, "--check-http", "/-/healthy")
            both = {"shop": "1", "prometheus": "1"}
            until(lambda: query(url, 'up{job="portolan"}') == both, "both targets are up")
            backend.fails = True
            one = {"shop": "0", "prometheus": "1"}
            until(lambda: query(url, 'up{job="portolan"}') == one, "one target is down, and still there")
            own = 'portolan_service_instances{job="own",health="unhealthy"} == 1'
            until(lambda: query(url, own) == {"shop": "1"}, "Portolan's own metrics agree")
            rules = json.loads(fetch(f"{url}/api/v1/rules"))["data"]["groups"]
            count = sum(len(group["rules"]) for group in rules)
            health = {rule["health"] for group in rules for rule in group["rules"]}
            assert count and "err" not in health, health
        finally:
            prometheus.terminate()
            prometheus.wait(timeout=30)
    came(
        "Prometheus",
        "to scrape `/sd/prometheus` and `/metrics` while a backend fails",
        f"`up` is 1 for both targets, then 0 for the failing one; `portolan_service_instances` agrees; {count} alerts and rules evaluated",
    )


if __name__ == "__main__":
    main()
