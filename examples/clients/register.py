"""Keeps a program registered with Portolan while it runs. Python 3.8, standard library only."""
import atexit, contextlib, json, os, pathlib, random, signal, sys, threading, urllib.error, urllib.request

SERVICES = os.environ.get("PORTOLAN_SERVER", "http://127.0.0.1:8080").rstrip("/") + "/api/v1/services"
TOKEN_FILE = os.environ.get("PORTOLAN_TOKEN_FILE")

def call(method, path, body=None, headers={}):
    headers = {"Content-Type": "application/json", **headers}
    if TOKEN_FILE:  # read for every call, because tokens expire and are replaced
        headers["Authorization"] = "Bearer " + pathlib.Path(TOKEN_FILE).read_text().strip()
    request = urllib.request.Request(SERVICES + path, body and json.dumps(body).encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=3) as answer:
            return json.load(answer).get("data")
    except urllib.error.HTTPError as refusal:
        raise LookupError(refusal.code, json.load(refusal)["error"])

def stay_registered(me):
    """Registers `me`, renews it in the background, and removes it when the program exits or gets SIGTERM."""
    known, leaving = {}, threading.Event()
    def renew():
        while not leaving.is_set():
            try:
                if not known:
                    service = call("POST", "/register", me)
                    mine = next(i for i in service["instances"] if i["name"] == me["instance"])
                    known.update(path=f"/{service['id']}/instances/{mine['name']}", generation=mine["generation"])
                call("PUT", known["path"] + "/heartbeat", headers={"If-Match": str(known["generation"])})
            except Exception as error:  # Portolan may be away: the next round tries again
                print("portolan:", error, file=sys.stderr)
                if error.args[:1] == (404,):  # Portolan does not know this instance (any more): register again
                    known.clear()
                if error.args[:1] == (412,): return  # a successor has taken the name: stop
            leaving.wait(me["ttl_seconds"] / (3 if known else 10) * random.uniform(0.8, 1.2))
    def leave():
        leaving.set()
        renewing.join()
        with contextlib.suppress(Exception):  # if this fails, the lease expires. If-Match protects a successor elsewhere
            call("DELETE", known["path"], headers={"If-Match": str(known["generation"])})
    renewing = threading.Thread(target=renew, daemon=True)
    renewing.start()
    atexit.register(leave)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
