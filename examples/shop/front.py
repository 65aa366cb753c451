"""The shop's front, with the client code of ../clients. It finds prices and stock, and says when they come and go."""
import http.server, json, os, signal, sys, threading, time, urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "clients"))
from discover import discover
from register import stay_registered

def ask(service):
    """The first answer of its instances, in random order, and who could not be asked."""
    failed = []
    try:
        for url in discover(service):
            try:
                with urllib.request.urlopen(f"{url}/{service}", timeout=2) as answer:
                    return json.load(answer), failed
            except Exception:
                failed.append(f"{service} at {url} did not answer")
    except Exception as error:
        failed.append(f"Portolan did not answer: {error}")
    return None, failed + [f"{service} is down"]

def page():
    prices, without_prices = ask("prices")
    stock, without_stock = ask("stock")
    for item in ["teapot", "cup", "tray"]:
        price = prices["prices"][item] + " EUR" if prices else "no price"
        left = f"{stock['stock'][item]} left" if stock else "stock unknown"
        yield f"{item:8} {price:>10}   {left}"
    yield from [f"prices from {prices['from']}"] if prices else []
    yield from without_prices + without_stock

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"program": "front"}) if self.path == "/healthz" else "\n".join(page()) + "\n"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass

def tell_changes():
    """Prints where each service is whenever that changes. An address that Portolan named last may be dead: so ask."""
    told = {}
    while True:
        for service in ["prices", "stock"]:
            found = ", ".join(sorted(discover(service))) if ask(service)[0] else "nowhere"
            if found != told.get(service):
                told[service] = found
                print(f"front: {service} is at {found}", flush=True)
        time.sleep(0.2)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
port = server.server_address[1]
stay_registered({
    "name": "front",
    "instance": f"front-{port}",
    "base_url": f"http://127.0.0.1:{port}",
    "ttl_seconds": 30,
    "check": {"http": {"path": "/healthz", "identity": {"json": {"/program": "$service"}}}, "interval_seconds": 1},
})
signal.signal(signal.SIGINT, lambda *_: sys.exit())
threading.Thread(target=tell_changes, daemon=True).start()
print(f"front: listens on http://127.0.0.1:{port}/", flush=True)
server.serve_forever()
