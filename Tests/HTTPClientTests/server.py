"""A small HTTP/1.1 server for the client's tests.

Prints its port (or "ready" for a Unix socket) and serves until its standard input ends, so it cannot outlive the test
process. Byte k of every generated or checked body is k % 251.
"""
import argparse, json, os, socket, socketserver, ssl, sys, threading, time
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlparse, parse_qs

PATTERN = bytes(range(251)) * 1044  # 262044 bytes, a whole number of periods
counters = {"sent": {}, "gone": {}}


def pattern(offset, count):
    start = offset % 251
    return (PATTERN * (2 + (count + start) // len(PATTERN)))[start:start + count]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        if isinstance(self.request, ssl.SSLSocket):
            try:
                self.request.do_handshake()
            except (ssl.SSLError, OSError):
                # Closing with unread bytes would reset the connection, and the alert could be lost on the way.
                while os.read(self.request.fileno(), 1 << 16):
                    pass
                raise
        super().setup()

    def log_message(self, *arguments):
        pass

    def address_string(self):
        return "test"

    def answer(self, status, body, headers=()):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def pieces(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                data = self.rfile.read(size)
                self.rfile.readline()
                if not size:
                    return
                yield data
        left = int(self.headers.get("Content-Length", 0))
        while left:
            data = self.rfile.read(min(left, 1 << 18))
            if not data:
                return
            left -= len(data)
            yield data

    def wait_until_gone(self, name):
        try:
            while self.connection.recv(1 << 16):
                pass
        except OSError:
            pass
        counters["gone"][name] = True
        self.close_connection = True

    def handle_any(self):
        url = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        route = url.path.split("/")[1]
        method = getattr(self, "at_" + route, None)
        if not method:
            return self.answer(404, {"code": "not_found"})
        method(url, query)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = handle_any

    def at_port(self, url, query):
        self.answer(200, {"port": self.client_address[1] if self.client_address else 0})

    def at_echo(self, url, query):
        length, same = 0, True
        for data in self.pieces():
            same = same and data == pattern(length, len(data))
            length += len(data)
        self.answer(200, {
            "method": self.command, "path": self.path, "length": length, "pattern": same,
            "headers": {name.lower(): value for name, value in self.headers.items()}},
            [("X-Twice", "one"), ("X-Twice", "two"), ("X-Empty", "")])

    def at_status(self, url, query):
        self.answer(int(url.path.split("/")[2]), {"code": "told_so"})

    def at_redirect(self, url, query):
        left = int(url.path.split("/")[2])
        target = "/port" if left == 0 else "/redirect/%d" % (left - 1)
        self.answer(302, b"ignored", [("Location", query.get("to", target))])

    def at_hang(self, url, query):
        counters["gone"][query["name"]] = False
        self.wait_until_gone(query["name"])

    def at_sent(self, url, query):
        self.answer(200, {"sent": counters["sent"].get(query["name"], 0), "gone": counters["gone"].get(query["name"])})

    def at_bytes(self, url, query):
        total, first = int(query["count"]), 0
        span = self.headers.get("Range")
        if span and "ignorerange" not in query:
            first = int(span.split("=")[1].split("-")[0])
        self.send_response(206 if first else 200)
        if first:
            told = int(query.get("told", first))
            self.send_header("Content-Range", "bytes %d-%d/%d" % (told, total - 1, total))
        self.send_header("Content-Length", str(total - first))
        self.end_headers()
        position = first
        while position < total:
            size = min(len(PATTERN), total - position)
            self.wfile.write(pattern(position, size))
            position += size
            counters["sent"][query.get("name", "")] = position - first

    def at_take(self, url, query):
        """Reads a request whole, and ends the connection without an answer."""
        for _ in self.pieces():
            pass
        counters["sent"][query["name"]] = counters["sent"].get(query["name"], 0) + 1
        self.close_connection = True

    def at_cut(self, url, query):
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(pattern(0, 10))
        self.close_connection = True

    def at_silent(self, url, query):
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(pattern(0, 10))
        self.wfile.flush()
        self.wait_until_gone(query.get("name", ""))

    def at_garbage(self, url, query):
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        self.close_connection = True

    def at_hugeheader(self, url, query):
        self.send_response(200)
        for i in range(400):
            self.send_header("X-%d" % i, "v" * 1000)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def at_flood(self, url, query):
        """Informational heads, or trailers, without end."""
        if "trailers" in query:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        try:
            while True:
                self.wfile.write(b"X-More: 1\r\n" if "trailers" in query else b"HTTP/1.1 103 Early\r\nX: 1\r\n\r\n")
        except OSError:
            self.close_connection = True

    def at_early(self, url, query):
        self.close_connection = True
        self.answer(413, {"code": "too_large"}, [("Connection", "close")])

    def at_events(self, url, query):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        text = (": hello\nretry: 2500\nid: 7\nevent: vm.changed\ndata: {\"a\":\ndata: 1}\n\n"
                "data: gr\u00fc\u00dfe\r\n\r\n").encode()
        for i in range(0, len(text), 3):
            self.chunk(text[i:i + 3])
        if "stay" in query:
            self.wait_until_gone(query["stay"])
        else:
            self.chunk(b"data: cut off")
            self.wfile.write(b"0\r\n\r\n")

    def at_cert(self, url, query):
        certificate = self.connection.getpeercert() or {}
        names = [value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"]
        self.answer(200, {"name": names[0] if names else "", "version": self.connection.version()})


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        pass


class UnixServer(Server):
    address_family = socket.AF_UNIX

    def get_request(self):
        connection, _ = self.socket.accept()
        return connection, ("", 0)


class UnixHandler(Handler):
    disable_nagle_algorithm = False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--client-ca")
    parser.add_argument("--unix")
    options = parser.parse_args()
    if options.unix:
        server = UnixServer(options.unix, UnixHandler)
    else:
        server = Server(("127.0.0.1", 0), Handler)
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
        if options.client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(options.client_ca)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print("ready" if options.unix else server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


main()
