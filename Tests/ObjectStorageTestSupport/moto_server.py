"""moto's S3 server on a free port of 127.0.0.1, which it prints. It ends when its standard input does.

The next requests can be made to fail: `POST /fail?count=2&status=503&match=UploadPart-or-path-part` is taken by this program
and not by moto. `match` is a part of the request's line; `status=0` drops the connection after half of the answer's body.
"""
import logging
import os
import sys
import threading
from urllib.parse import parse_qs

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
moto = DomainDispatcherApplication(create_backend_app)
faults = []
lock = threading.Lock()


def fault_for(line):
    with lock:
        for fault in faults:
            if fault["match"] in line and fault["count"] > 0:
                fault["count"] -= 1
                return fault["status"]
    return None


class Broken(Exception):
    pass


def half(parts):
    body = b"".join(parts)
    yield body[: len(body) // 2]
    raise Broken()


def application(environ, start_response):
    query = environ.get("QUERY_STRING", "")
    line = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{query}"
    if environ["PATH_INFO"] == "/fail":
        asked = parse_qs(query)
        with lock:
            faults.append({"count": int(asked["count"][0]), "status": int(asked["status"][0]), "match": asked["match"][0]})
        start_response("204 No Content", [])
        return []
    status = fault_for(line)
    if status is None:
        return moto(environ, start_response)
    if status == 0:
        return half(moto(environ, start_response))
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    body = b"<Error><Code>SlowDown</Code><Message>slower</Message></Error>"
    start_response(f"{status} fault", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


server = make_server("127.0.0.1", 0, application, threaded=True)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.buffer.read()
os._exit(0)
