"""Canned answers for the contract, on loopback. Prints its port, ends when its standard input ends.

`GET /__requests` lists the requests so far, for tests that look at what was sent; `POST /__issuers` says what
`GET /v1/login/oidc` lists.
"""
import hashlib
import json
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

TIME = "2026-01-02T03:04:05.000Z"
lock = threading.Lock()
requests = []
seen_keys = set()
polls = {}
images = {}
patches = {}
issuers = []


def operation(op, kind="vm.create", status="running", waiting=None, error=None):
    return {
        "id": op, "kind": kind, "status": status, "project_id": None, "resource_id": "vm_1", "waiting_for": waiting,
        "progress": None, "error": error, "created_at": TIME, "finished_at": None, "deadline": TIME,
    }


def vm(name, state="running", op=None):
    return {
        "id": "vm_" + name, "name": name, "project_id": "prj_1", "state": state, "reason": None,
        "desired_power": "running", "vcpus": 1, "memory_mib": 512, "disk_gib": 1, "image_id": "img_1",
        "hostname": name, "labels": {"tier": "web"}, "node": "n1", "incarnation": 1, "generation": 1,
        "accelerator": "tcg", "operation": op, "created_at": TIME, "updated_at": TIME,
    }


def image(name, state, sha256=None, size=None):
    return {
        "id": "img_" + name, "name": name, "project_id": "prj_1", "state": state, "format": None, "size_bytes": size,
        "virtual_size_bytes": None, "sha256": sha256, "architecture": "x86_64", "labels": {}, "created_at": TIME,
        "updated_at": TIME,
    }


def problem(status, code, detail, **more):
    return status, {"type": "/docs#problem-" + code, "title": code, "status": status, "code": code, "detail": detail,
                    "request_id": "req-7", **more}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def drop(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer(self, status, body, headers=()):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        kind = "application/problem+json" if status >= 400 else "application/json"
        for name, value in [("Content-Type", kind), ("Content-Length", str(len(data))), *headers]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def serve(self):
        parts = urlsplit(self.path)
        query = {k: v[-1] for k, v in parse_qs(parts.query).items()}
        path = [unquote(p) for p in parts.path.strip("/").split("/")]
        if path == ["__requests"]:
            with lock:
                return self.answer(200, requests)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        entry = {"method": self.command, "path": parts.path, "query": query, "size": len(content),
                 "headers": {k.lower(): v for k, v in self.headers.items()}}
        if self.headers.get("Content-Type") == "application/json" and content:
            entry["body"] = json.loads(content)
        with lock:
            requests.append(entry)
        session = (self.headers.get("Cookie") == "__Host-aloft_session=s3cret"
                   and self.headers.get("X-CSRF-Token") == "c5rf")
        if parts.path == "/__issuers":
            with lock:
                issuers[:] = entry["body"]
            return self.answer(200, issuers)
        if parts.path == "/v1/login/oidc":
            return self.answer(200, {"items": issuers})
        if parts.path == "/v1/sessions":
            return self.login(entry.get("body", {}))
        authorization = self.headers.get("Authorization", "")
        # The tokens of canned_issuer.py end like this.
        is_good = authorization in ("Bearer good", "Bearer aloft_s") or authorization.endswith(".canned")
        if not is_good and not session:
            return self.answer(*problem(401, "token_invalid", "the token is not valid"))
        noun = getattr(self, path[1].replace("-", "_") if len(path) > 1 else "", None)
        if path[0] != "v1" or noun is None:
            return self.answer(*problem(404, "not_found", "there is no such path"))
        noun(path[2:], query, entry.get("body", {}), content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def vms(self, path, query, body, _):
        if not path and self.command == "GET":
            if query.get("cursor") == "page2":
                return self.answer(200, {"items": [vm("c")], "next_cursor": None})
            return self.answer(200, {"items": [vm("a"), vm("b", "stopped")], "next_cursor": "page2"})
        name = path[0].removeprefix("vm_") if path else body["name"]
        if name == "missing":
            return self.answer(*problem(404, "not_found", "there is no virtual machine 'missing'"))
        if path[1:] == ["serial-log"]:
            return self.serial_log(query)
        if self.command == "GET":
            return self.answer(200, vm(name), [("ETag", '"%d"' % patches.get(name, 0))])
        if self.command == "PATCH":
            return self.patch(name, body)
        if name == "full":
            return self.answer(*problem(409, "no_capacity", "no node can take it", refusal={
                "nodes": 3, "removed": [{"constraint": "memory", "nodes": 3, "reason": "less than 8192 MiB free"}],
                "hints": ["--memory 4GiB"]}))
        if name == "bad":
            return self.answer(*problem(400, "out_of_range", "the body has a fault", errors=[
                {"code": "out_of_range", "detail": "must be at most 512", "pointer": "/vcpus"}]))
        if name == "dropped":
            key = self.headers.get("Idempotency-Key")
            with lock:
                first = key not in seen_keys
                seen_keys.add(key)
            if first:
                return self.drop()
        if query.get("dry_run") == "true":
            return self.answer(200, vm(name, "creating"))
        kind = "vm." + ("delete" if self.command == "DELETE" else path[1] if len(path) > 1 else "create")
        self.answer(202, vm(name, "creating", operation("op_" + name, kind, "queued")))

    def patch(self, name, body):
        with lock:
            version = '"%d"' % patches.get(name, 0)
            if name == "contended" and not patches.get(name):
                patches[name] = 1
                version = None
        if self.headers.get("If-Match") not in (None, version):
            return self.answer(*problem(412, "precondition_failed", "it has changed"))
        self.answer(200, {**vm(body.get("name", name)), **body})

    def serial_log(self, query):
        log = b"login: \xff\x1b[0m welcome\n"
        offset = int(query.get("offset", "0"))
        start = offset if offset >= 0 else max(0, len(log) + offset)
        self.send_response(200)
        self.send_header("X-Log-Start", str(start))
        self.send_header("Content-Type", "application/octet-stream")
        # Followers lose their connection after five bytes, once.
        breaks = query.get("follow") == "true" and start == 0
        self.send_header("Content-Length", str(len(log) - start))
        self.end_headers()
        self.wfile.write(log[start:start + 5] if breaks else log[start:])
        if breaks:
            self.wfile.flush()
            self.drop()

    def operations(self, path, query, *_):
        if not path:
            return self.answer(200, {"items": [operation("op_1")], "next_cursor": None})
        with lock:
            polls[path[0]] = count = polls.get(path[0], 0) + 1
        if path[0] == "op_lost" and count == 1:
            return self.answer(*problem(503, "unavailable", "restarting"))
        if path[0] == "op_failing":
            error = {"code": "image_corrupt", "detail": "the image is corrupt"}
            return self.answer(200, operation(path[0], status="failed", error=error))
        if path[0] == "op_forever" or count == 1:
            return self.answer(200, operation(path[0], waiting="downloading image"))
        self.answer(200, operation(path[0], status="succeeded"))

    def images(self, path, query, body, content):
        if not path and self.command == "POST":
            with lock:
                if body["name"] == "ready":
                    images["ready"] = image("ready", "ready", body["sha256"], 1)
                if body["name"] in images:
                    return self.answer(*problem(409, "name_taken", "the name is taken"))
                images[body["name"]] = image(body["name"], "awaiting_upload", body.get("sha256"))
                return self.answer(201, images[body["name"]])
        name = path[0].removeprefix("img_")
        if self.command == "DELETE":
            return self.answer(204, None)
        if self.command == "HEAD":
            kept = {"resumes": 2, "breaks": 1}.get(name, 0)
            return self.answer(204, None, [("Upload-Offset", str(kept)), ("Upload-Complete", "?0")])
        if self.command == "PATCH" and path[1:] == ["content"]:
            if name == "breaks":
                return self.drop()
            return self.answer(200, image(name, "ready", images[name]["sha256"], len(content)))
        if self.command == "PUT":
            if name in ("breaks", "resumes"):
                return self.drop()
            sha256 = hashlib.sha256(content).hexdigest()
            return self.answer(200, image(name, "ready", sha256, len(content)))
        with lock:
            self.answer(200, images[name])

    def nodes(self, path, query, body, _):
        node = {"id": "node_1", "name": "n1", "state": "ready", "schedulable": True, "pool": "default", "labels": {},
                "architecture": "x86_64", "accelerator": "tcg",
                "capacity": {"vcpus": 8, "memory_mib": 4096, "disk_gib": 100},
                "claimed": {"vcpus": 2, "memory_mib": 512, "disk_gib": 10}, "facts": {"kernel": "6.1"},
                "last_seen_at": None, "created_at": TIME, "updated_at": TIME}
        if self.command == "DELETE":
            return self.answer(204, None)
        node.update(body)
        self.answer(200, node if path else {"items": [node], "next_cursor": None})

    def placement(self, path, query, body, _):
        if body["vcpus"] < 100:
            return self.answer(200, {"fits": True})
        self.answer(200, {"fits": False, "refusal": {
            "nodes": 1, "removed": [{"constraint": "vcpus", "nodes": 1, "reason": "8 CPUs"}], "hints": ["8 vCPUs"]}})

    def node_tokens(self, path, query, body, _):
        token = {"id": "ntok_1", "description": body.get("description", ""), "pool": "default", "labels": {},
                 "expires_at": TIME, "node_id": None, "created_at": TIME}
        self.answer(201, {**token, "secret": "aloftjoin_s"})

    def projects(self, path, query, body, _):
        if path[1:2] == ["usage"]:
            return self.answer(200, {"items": [{"quota": "vms", "used": 3, "limit": 20, "is_default": True},
                                               {"quota": "vcpus", "used": 5, "limit": None, "is_default": False}]})
        if path[1:2] == ["quotas"]:
            return self.quotas(path, query, body, None)
        if path[1:2] == ["members"]:
            return self.members(path[0], path[2:], body)
        if path[1:2] == ["audit"]:
            return self.audit([])
        project = {"id": "prj_1", "name": path[0] if path else "shop", "state": "active", "operation": None,
                   "created_at": TIME, "updated_at": TIME, **body}
        if self.command == "DELETE":
            if query.get("cascade") == "true":
                return self.answer(202, {**project, "state": "deleting",
                                         "operation": operation("op_1", "project.delete")})
            if path[0] == "full":
                return self.answer(*problem(409, "in_use", "project full holds 2 VMs, 1 image"))
            return self.answer(204, None)
        if self.command == "POST":
            return self.answer(201, project)
        self.answer(200, project if path else {"items": [project], "next_cursor": None})

    def audit(self, path, *_):
        record = {"at": TIME, "user_id": "usr_1", "user_name": "ada", "token_id": "tok_1", "peer": "192.0.2.1",
                  "request_id": "req-1", "operation": "createVM", "outcome": "refused", "refusal": "no_capacity",
                  "project_id": "prj_1", "resource_id": None, "request": {"name": "web"}}
        if path == ["export"]:
            return self.answer(200, record)
        self.answer(200, {"items": [record], "next_cursor": None})

    def quotas(self, path, query, body, _):
        if self.command == "PUT" and self.headers["If-Match"] != '"2"':
            return self.answer(*problem(412, "precondition_failed", "the resource is now \"2\""))
        limits = {"vms": 20, "images": 4}
        return self.answer(200, body if self.command == "PUT" else limits, [("ETag", '"2"')])

    def members(self, project, path, body):
        member = {"user_id": "usr_1", "user_name": path[0] if path else "alice", "kind": "person",
                  "role": body.get("role", "viewer"), "created_at": TIME, "updated_at": TIME}
        if path == ["nobody"]:
            return self.answer(*problem(404, "not_found", "there is no user nobody"))
        if self.command == "DELETE":
            if path == ["last"]:
                return self.answer(*problem(409, "last_admin", "last is the last admin of project " + project))
            return self.answer(204, None)
        self.answer(200, member if path else {"items": [member], "next_cursor": None})

    def whoami(self, *_):
        self.answer(200, {"user": {"id": "usr_1", "name": "ada", "kind": "person"}, "token_id": "tok_1",
                          "expires_at": None, "cloud_role": "auditor", "limit": None,
                          "projects": [{"id": "prj_1", "name": "default", "role": "member"}]})

    def login(self, body):
        if body.get("password") != "the right password":
            return self.answer(*problem(401, "login_failed", "there is no such user with this password"))
        self.answer(201, {"id": "ses_1", "csrf_token": "c5rf"},
                    [("Set-Cookie", "__Host-aloft_session=s3cret; Path=/; Secure; HttpOnly; SameSite=Strict")])

    def session(self, *_):
        self.answer(204, None)

    def users(self, path, query, body, _):
        user = {"id": "usr_1", "name": path[0] if path else "ada", "kind": "person", "cloud_role": None,
                "disabled": False, "created_at": TIME, "updated_at": TIME, **body}
        if self.command == "DELETE" or path[1:] == ["password"]:
            return self.answer(204, None)
        if path == ["last"] and self.command == "PATCH":
            return self.answer(*problem(409, "last_admin", "this is the last enabled user with the cloud role admin"))
        if self.command == "POST":
            return self.answer(201, user)
        self.answer(200, user if path else {"items": [user], "next_cursor": None})

    def tokens(self, path, query, body, _):
        token = {"id": path[0] if path else "tok_1", "description": body.get("description", ""), "user_id": "usr_1",
                 "user": body.get("user", "ada"), "project_id": None, "project": body.get("project"),
                 "role": body.get("role"), "expires_at": None, "last_used_at": None, "created_at": TIME}
        if self.command == "DELETE":
            return self.answer(204, None)
        if self.command == "POST":
            if body.get("description") == "full":
                return self.answer(*problem(409, "limit_reached", "the user has 100 tokens, which is the most"))
            return self.answer(201, {**token, "secret": "aloft_s"})
        self.answer(200, token if path else {"items": [token], "next_cursor": None})

    def webhooks(self, path, query, body, _):
        hook = {"id": "whk_1", "name": path[0] if path else "billing", "project_id": "prj_1", "url": "https://h.example/",
                "events": ["*"], "labels": {}, "enabled": True, "disabled_reason": None, "failing_since": None,
                "previous_secret_expires_at": None, "created_at": TIME, "updated_at": TIME, **body}
        hook.pop("overlap_seconds", None)
        delivery = {"id": path[2] if len(path) > 2 else "dlv_1", "webhook_id": "whk_1", "kind": "vm.created",
                    "state": "failed", "attempts": 3, "event": {"kind": "vm.created"}, "last_attempt_at": TIME,
                    "next_attempt_at": None, "duration_ms": 12, "status": 500, "response": "no", "created_at": TIME,
                    "error": {"code": "status_refused", "detail": "the target answered 500"}}
        if path[1:2] == ["deliveries"]:
            if path[2:3] == ["dlv_9"]:
                return self.answer(*problem(404, "not_found", "the webhook has no delivery dlv_9"))
            if self.command == "POST":
                return self.answer(202, delivery)
            return self.answer(200, delivery if path[2:] else {"items": [delivery], "next_cursor": None})
        if path[1:] == ["ping"]:
            return self.answer(202, delivery)
        if path[1:] == ["rotate-secret"]:
            return self.answer(200, {**hook, "secret": "whsec_new"})
        if self.command == "DELETE":
            return self.answer(204, None)
        if self.command == "POST":
            if body["url"].startswith("http:"):
                return self.answer(*problem(422, "url_refused", "the operator of this cloud allows https only"))
            return self.answer(201, {**hook, "secret": "whsec_s"})
        self.answer(200, hook if path else {"items": [hook], "next_cursor": None})

    def plain(self, path, body, sample):
        """What nouns have in common: an answer to a change repeats what was sent."""
        if self.command == "DELETE":
            return self.answer(204, None)
        item = {**sample, "labels": {}, "created_at": TIME, "updated_at": TIME, **body}
        if self.command == "POST":
            return self.answer(201, item)
        self.answer(200, item if path else {"items": [item], "next_cursor": None})

    def networks(self, path, query, body, _):
        network = {"id": "net_1", "name": "blue", "project_id": "prj_1", "mtu": 1442, "dns_domain": "aloft.internal",
                   "subnets": [{"id": "sub_1", "name": "blue-v4", "cidr": "10.0.0.0/24"}]}
        if path[1:] == ["topology"]:
            return self.answer(200, {
                "network": network, "subnets": network["subnets"], "external_networks": [], "peerings": [],
                "nics": [{"id": "nic_1", "vm_name": "one", "addresses": ["10.0.0.7"]}], "routers": [],
                "floating_ips": [{"id": "fip_1", "address": "203.0.113.7"}], "load_balancers": []})
        self.plain(path, body, network)

    def subnets(self, path, query, body, _):
        self.plain(path, body, {"id": "sub_1", "name": "blue-v4", "cidr": "10.0.0.0/24", "gateway": "10.0.0.1",
                                "configuration": "dhcp", "addresses_used": 2, "network_id": "net_1"})

    def nics(self, path, query, body, _):
        nic = {"id": "nic_1", "vm_id": "vm_1", "network_id": "net_1", "state": "up", "reason": None,
               "mac": "02:00:00:00:00:01", "addresses": [{"address": "10.0.0.7", "subnet_id": "sub_1"}]}
        if self.command == "DELETE":
            return self.answer(202, {**nic, "operation": None})
        # What was wished for is not what is shown.
        self.plain(path, {}, nic)

    def security_groups(self, path, query, body, _):
        rule = {"id": "sgr_1", "direction": "ingress", "ip_version": 4, "protocol": "tcp", "first_port": 443,
                "last_port": 443, "icmp_type": None, "icmp_code": None, "remote_cidr": None, "remote_group_id": "sg_9"}
        if path[1:2] == ["rules"]:
            return self.answer(204, None) if self.command == "DELETE" else self.answer(201, rule)
        self.plain(path, body, {"id": "sg_1", "name": "web", "is_default": False, "rules": [rule]})

    def routers(self, path, query, body, _):
        self.plain(path, body, {
            "id": "rtr_1", "name": "gate", "external_network_id": "ext_1", "external_addresses": ["203.0.113.10"],
            "snat": True, "routes": [], "interfaces": [{"cidr": "10.0.0.0/24"}, {"cidr": "10.1.0.0/24"}]})

    def floating_ips(self, path, query, body, _):
        self.plain(path, body, {"id": "fip_1", "address": "203.0.113.12", "external_network_id": "ext_1",
                                "nic_id": "nic_1", "fixed_address": "10.0.0.7", "vm_id": "vm_1"})

    def load_balancers(self, path, query, body, _):
        self.plain(path, body, {"id": "lb_1", "name": "web", "address": "10.0.0.50", "listeners": [{"port": 443}]})

    def network_peerings(self, path, query, body, _):
        self.plain(path, body, {"id": "peer_1", "name": "bg", "network_id": "net_1", "peer_network_id": "net_2"})

    def external_networks(self, path, query, body, _):
        if path[1:2] == ["routed-blocks"]:
            return self.answer(200, {"blocks": [{"cidr": "2001:db8:100::/48", "project_id": "prj_1"}]})
        if path[1:2] == ["subnets"]:
            return self.plain(path[2:], body, {"id": "sub_9", "name": "v4", "cidr": "203.0.113.0/24",
                                               "gateway": "203.0.113.1", "pools": [], "addresses_used": 0})
        self.plain(path, body, {"id": "ext_1", "name": "internet", "physical_network": "public", "vlan": None,
                                "mtu": 1500, "subnets": []})

    def events(self, path, query, *_):
        last = self.headers.get("Last-Event-ID")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        behind = int(last.split("-")[0]) if last else 0
        # The first connection breaks after two events.
        numbers = range(behind + 1, 3 if behind == 0 else 4)
        for number in numbers:
            event = {"cursor": str(number), "at": TIME, "kind": "vm.created", "project_id": None,
                     "resource_id": "vm_%d" % number, "data": {"n": str(number)}}
            text = ("id: %d\nevent: vm.created\ndata: %s\n\n" % (number, json.dumps(event))).encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
        self.wfile.flush()
        if query.get("follow") == "false":
            return self.wfile.write(b"0\r\n\r\n")
        if behind == 0:
            return self.drop()
        self.rfile.read(1)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        # Clients that leave in the middle are part of the tests.
        pass


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
os._exit(0)
