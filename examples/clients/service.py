"""Registers itself: `python3 service.py NAME [TTL]`. Answers /healthz, and /peers with the addresses of NAME."""
import http.server, json, socket, sys

from discover import discover
from register import stay_registered

NAME = sys.argv[1]

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answer = {"program": NAME} if self.path == "/healthz" else sorted(discover(NAME))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
host, port = server.server_address
stay_registered({
    "name": NAME,
    "instance": f"{socket.gethostname().lower().split('.')[0]}-{port}",
    "base_url": f"http://{host}:{port}",
    "version": "1.0.0",
    "ttl_seconds": int(sys.argv[2]) if len(sys.argv) > 2 else 30,
    "check": {"http": {"path": "/healthz", "identity": {"json": {"/program": "$service"}}}, "interval_seconds": 2},
})
print(f"{NAME} listens on http://{host}:{port}", flush=True)
server.serve_forever()
