"""A control plane's side of /agent/v1 for tests: answers from files in a directory and keeps what it is sent there.

usage: control_plane.py DIRECTORY      prints its port; ends when its standard input does
"""
import http.server, json, os, sys, threading

root = sys.argv[1]


def keep(name, data):
    with open(os.path.join(root, name + ".new"), "wb") as file:
        file.write(data)
    os.rename(os.path.join(root, name + ".new"), os.path.join(root, name))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while True:
                size = int(self.rfile.readline(), 16)
                data += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status, data, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_any(self):
        path, data = self.path, self.body()
        name = path.split("?")[0].replace("/agent/v1/", "").replace("/", "_")
        keep("got_" + name, f"{self.command} {path}\n{self.headers.get('X-Log-Start')}\n".encode() + data)
        file = os.path.join(root, "answer_" + name)
        if os.path.exists(file):
            with open(file, "rb") as answer:
                status, _, content = answer.read().partition(b"\n")
            self.answer(int(status), content)
        else:
            problem = {"type": "/docs#problem-not_found", "title": "Not found", "status": 404, "code": "not_found",
                       "detail": "there is no " + name, "request_id": "r"}
            self.answer(404, json.dumps(problem).encode(), "application/problem+json")

    do_GET = do_PUT = do_POST = handle_any


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
