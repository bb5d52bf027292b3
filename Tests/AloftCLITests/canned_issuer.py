"""An issuer of OpenID Connect on loopback that lets everybody in. Prints its port, ends when its standard input ends.

`GET /__requests` lists the requests so far; `POST /__settings` changes how it behaves.
"""
import base64
import hashlib
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

lock = threading.Lock()
requests = []
settings = {"exp": 2_000_000_000, "client": "aloft-cli"}
codes = {}
refresh_tokens = set()


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    @property
    def url(self):
        return "http://127.0.0.1:%d" % server.server_address[1]

    def answer(self, status, body, headers=()):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in [("Content-Type", "application/json"), ("Content-Length", str(len(data))), *headers]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def serve(self):
        parts = urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        query = {k: v[-1] for k, v in parse_qs(parts.query).items()}
        with lock:
            if parts.path == "/__requests":
                return self.answer(200, requests)
            if parts.path == "/__settings":
                settings.update(json.loads(content))
                return self.answer(200, settings)
            form = {k: v[-1] for k, v in parse_qs(content).items()}
            requests.append({"method": self.command, "path": parts.path, "query": query, "form": form,
                             "headers": {k.lower(): v for k, v in self.headers.items()}})
            if parts.path == "/.well-known/openid-configuration":
                return self.answer(200, {"issuer": settings.get("issuer", self.url),
                                         "authorization_endpoint": self.url + "/authorize?kind=login",
                                         "token_endpoint": settings.get("token_endpoint", self.url + "/token")})
            if parts.path == "/authorize":
                return self.authorize(query)
            if parts.path == "/token":
                return self.token(form)
        self.answer(404, {})

    do_GET = do_POST = serve

    def authorize(self, query):
        if "error" in settings:
            back = {"state": query["state"], "error": settings["error"]}
        else:
            code = "code+%d" % len(codes)
            codes[code] = query
            back = {"state": query["state"], "code": code, "iss": settings.get("iss", self.url)}
        self.answer(302, {}, [("Location", query["redirect_uri"] + "?" + urlencode(back))])

    def token(self, form):
        if form.get("client_id") != settings["client"]:
            return self.answer(401, {"error": "invalid_client"})
        if form.get("grant_type") == "authorization_code":
            query = codes.pop(form["code"], None)
            challenge = b64(hashlib.sha256(form["code_verifier"].encode()).digest())
            if query is None or query["code_challenge"] != challenge or query["redirect_uri"] != form["redirect_uri"]:
                return self.answer(400, {"error": "invalid_grant"})
            nonce, offline = query["nonce"], "offline_access" in query["scope"].split()
        else:
            # Each is good for once.
            if settings.get("refuses") or form.get("refresh_token") not in refresh_tokens:
                return self.answer(400, {"error": "invalid_grant"})
            refresh_tokens.remove(form["refresh_token"])
            nonce, offline = None, True
        claims = {"iss": self.url, "aud": settings["client"], "sub": "ada-1", "exp": settings["exp"], "iat": 1,
                  **({"nonce": nonce} if nonce else {}), **settings.get("claims", {})}
        answer = {"access_token": "not-used", "token_type": "Bearer",
                  "id_token": ".".join([b64(b'{"alg":"none"}'), b64(json.dumps(claims).encode()), "canned"])}
        if offline:
            answer["refresh_token"] = "refresh-%d" % len(requests)
            refresh_tokens.add(answer["refresh_token"])
        self.answer(200, answer)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
os._exit(0)
