"""What the shop has in stock: a plain program that knows nothing of Portolan. `portolan run` registers it."""
import http.server, json, os, signal, sys

STOCK = {"teapot": 2, "cup": 7, "tray": 0}

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"program": "stock", "stock": STOCK}).encode())

    def log_message(self, *_):
        pass

signal.signal(signal.SIGINT, lambda *_: sys.exit())
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
print(f"stock: is process {os.getpid()}", flush=True)
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Answers).serve_forever()
