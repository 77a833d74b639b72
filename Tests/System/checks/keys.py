"""Keys: who may do what, for how long, and how fast it ends."""
import os
import re
import threading

import yaml

from checks.images import MIB, digest, some_bytes
from testbed import problems, processes
from testbed.checks import check, equal, eventually, expect
from testbed.client import connect
from testbed.daemon import Daemon

SCOPES = ["read", "lease", "run", "control", "images", "pools", "admin"]
KEY = re.compile(r"vmp_[a-z2-7]{57}[aeimquy4]")
# A resource that is not there, for each parameter of a path.
ABSENT = {
    "vm": "vm-0000000000000000", "lease": "lease-0000000000000000", "index": "0",
    "image": "absent-image", "pool": "absent-pool", "digest": "sha256:" + "0" * 64, "kind": "draining", "key_id": "key-0000000000000000",
}


def keyed(daemon, key=None):
    """A client that sends the key with each request."""
    client = daemon.client()
    if key:
        client.headers["Authorization"] = f"Bearer {key}"
    return client


def make(client, **members):
    """The document of a new key."""
    answer = client.post("/v1/keys", members)
    equal(answer.status, 201, f"making a key: {answer}")
    return answer.json


def closed(daemon):
    """A client with the first key of the server."""
    return keyed(daemon, make(keyed(daemon), scopes=["admin"])["key"])


def operations(named=ABSENT):
    """Method, path, scope and id of each operation of the document; the path names what `named` says for its parameters."""
    document = yaml.safe_load((processes.ROOT / "openapi/vmpool.yaml").read_text())
    for template, path in document["paths"].items():
        for method, operation in path.items():
            if method not in ("get", "post", "put", "patch", "delete"):
                continue
            # A stream that ends soon.
            query = "?limit=1&timeout_ms=1" if template == "/v1/events" else ""
            yield method.upper(), template.format(**named) + query, operation.get("x-vmpool-scope"), operation["operationId"]


@check("each operation wants its scope: 401 without a key, 403 with another, neither with it")
def scopes():
    with Daemon("--no-demo-pool") as daemon:
        admin = closed(daemon)
        keys = {scope: keyed(daemon, make(admin, scopes=[scope])["key"]) for scope in SCOPES}
        nobody, tried = keyed(daemon), 0
        for method, path, scope, name in operations():
            if scope is None:
                equal(nobody(method, path).status, 200, f"{name} without a key")
                continue
            answer = nobody(method, path)
            problems.expect_problem(answer, "unauthenticated", f"{name} without a key")
            equal(answer.headers["WWW-Authenticate"], 'Bearer realm="vmpool"', f"{name} without a key")
            for other, client in keys.items():
                answer = client(method, path)
                if other in (scope, "admin"):
                    expect(answer.status not in (401, 403), lambda: f"{name} with {other}: {answer}")
                else:
                    document = problems.expect_problem(answer, "scope-missing", f"{name} with {other}")
                    expect(f" the scope {scope}," in document["detail"], lambda: f"{name}: {document}")
                tried += 1
        return f"{tried} pairs of operation and scope"


@check("keys and revocations survive a restart, and the state and the log have no key's text")
def restart():
    directory = processes.scratch_directory("keys")
    options = ("--no-demo-pool", "--state-dir", directory)
    with Daemon(*options) as daemon:
        admin = closed(daemon)
        kept = make(admin, scopes=["read"], tenant="acme", pools=["web"], note="kept", rate=100)
        gone = make(admin, scopes=["read"])
        equal(admin("DELETE", f"/v1/keys/{gone['id']}").status, 204, "revoking a key")
        keyed(daemon, kept["key"])("GET", "/v1/host")
        before = admin("GET", "/v1/keys").json
        expect("vmp_" not in daemon.log_so_far(), "the log has a key")
    first = admin.headers["Authorization"].removeprefix("Bearer ")
    files = b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())
    for text in (first, kept["key"], gone["key"]):
        expect(KEY.fullmatch(text), f"{text} does not match the pattern")
        expect(text[4:].encode() not in files, "the state directory has a key's text")
    with Daemon(*options) as daemon:
        admin = keyed(daemon, first)
        after = admin("GET", "/v1/keys").json
        for key in (*before["items"], *after["items"]):
            key["last_used_at"] = key["last_used_at"] is not None
        equal(after, before, "the keys after a restart")
        equal(keyed(daemon, kept["key"])("GET", "/v1/host").status, 200, "a key after a restart")
        equal(keyed(daemon, gone["key"])("GET", "/v1/host").status, 401, "a revoked key after a restart")
        equal(keyed(daemon)("GET", "/v1/host").status, 401, "no key after a restart")


@check("a revocation ends requests and streams under way: run, lease, long poll, events, upload")
def revocation():
    with Daemon("--no-demo-pool") as daemon:
        admin = closed(daemon)
        equal(admin("PUT", "/v1/pools/busy", {"image": "spin", "ready": 1}).status, 201, "a pool")
        equal(admin("PUT", "/v1/pools/empty", {"image": "spin", "ready": 0, "max_vms": 1, "paused": True}).status, 201,
              "a pool without VMs")
        eventually("a VM is ready", lambda: admin("GET", "/v1/pools/busy").json["status"]["ready"] == 1)
        vm = admin("POST", "/v1/vms", {"image": "spin"}).json["id"]
        key = make(admin, scopes=["read", "lease", "run", "images"])
        waits = [
            ("POST", "/v1/pools/busy/run", {"deadline_ms": 600_000}),
            ("POST", "/v1/pools/empty/leases", {"wait_ms": 600_000}),
            ("GET", f"/v1/vms/{vm}?wait_for=stopped&timeout_ms=600000", None),
        ]
        answers, threads = {}, []
        for method, path, body in waits:
            def wait(method=method, path=path, body=body):
                answers[path] = keyed(daemon, key["key"])(method, path, body)
            threads.append(threading.Thread(target=wait))
            threads[-1].start()
        field = f"Authorization: Bearer {key['key']}"
        with connect(daemon.address) as stream, connect(daemon.address) as upload:
            stream.sendall(f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n".encode())
            expect(b"200 OK" in stream.recv(4096), "the stream does not begin")
            upload.sendall((f"PUT /v1/blobs/sha256:{'1' * 64} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n"
                            "Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n").encode())
            expect(b"100 Continue" in upload.recv(4096), "the upload does not begin")
            upload.sendall(b"x" * 1000)
            waiting = "vmpool_http_waiting"
            eventually("all of them wait", lambda: metric(admin, waiting) >= len(waits))
            equal(admin("DELETE", f"/v1/keys/{key['id']}").status, 204, "revoking the key")
            for thread in threads:
                thread.join(20)
            equal({path: answer.status for path, answer in answers.items()},
                  {path: 401 for _, path, _ in waits}, "the answers to what waited")
            # Cut off: nothing more comes, and the last chunk neither.
            rest = b""
            while piece := received(stream):
                rest += piece
            expect(not rest.endswith(b"0\r\n\r\n"), lambda: f"the stream ended as if it were whole: {rest[-100:]}")
            upload.sendall(b"x" * 1000)
            expect(b"HTTP/1.1 401 " in upload.recv(4096), "the upload goes on")
        eventually("nothing waits any more", lambda: metric(admin, waiting) == 0)
        eventually("the run's lease has ended", lambda: admin("GET", "/v1/leases").json["items"] == [])


@check("the first key ends the streams of clients that have none")
def closing():
    with Daemon("--no-demo-pool") as daemon, connect(daemon.address) as stream:
        stream.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        expect(b"200 OK" in stream.recv(4096), "the stream does not begin")
        admin = closed(daemon)
        rest = b""
        while piece := received(stream):
            rest += piece
        expect(not rest.endswith(b"0\r\n\r\n"), lambda: f"the stream ended as if it were whole: {rest[-100:]}")
        equal(admin("GET", "/v1/vms").status, 200, "the key")


@check("a revocation cuts off a download under way")
def download():
    data = some_bytes(32 * MIB)
    with Daemon("--no-demo-pool") as daemon:
        admin = closed(daemon)
        equal(admin.put(f"/v1/blobs/{digest(data)}", data).status, 201, "storing a blob")
        key = make(admin, scopes=["read"])
        with connect(daemon.address) as plain:
            plain.sendall((f"GET /v1/blobs/{digest(data)} HTTP/1.1\r\nHost: localhost\r\n"
                           f"Authorization: Bearer {key['key']}\r\n\r\n").encode())
            expect(b"200 OK" in plain.recv(4096), "the download does not begin")
            equal(admin.delete(f"/v1/keys/{key['id']}").status, 204, "revoking the key")
            count = 0
            while piece := received(plain, 1 << 20):
                count += len(piece)
            expect(count < len(data), "all of the blob came")


@check("the audit log has changes and refused attempts, for the tenant and for operators, and outlives a restart")
def audit():
    directory = processes.scratch_directory("audit")
    options = ("--no-demo-pool", "--state-dir", directory)
    with Daemon(*options) as daemon:
        admin = closed(daemon)
        own = make(admin, scopes=["read", "lease", "pools"], tenant="acme")
        other = make(admin, scopes=["read"], tenant="zoo")
        acme, zoo = keyed(daemon, own["key"]), keyed(daemon, other["key"])
        equal(acme("PUT", "/v1/pools/web", {"image": "spin", "ready": 1}).status, 201, "a pool")
        eventually("a VM is ready", lambda: acme("GET", "/v1/pools/web").json["status"]["ready"] == 1)
        lease = acme("POST", "/v1/pools/web/leases", {}).json["lease"]
        equal(acme("DELETE", f"/v1/leases/{lease}").status, 204, "releasing the lease")
        problems.expect_problem(zoo("DELETE", "/v1/pools/web"), "scope-missing", "a key without the scope")
        stranger = "vmp_" + "a" * 58
        problems.expect_problem(keyed(daemon, stranger)("GET", "/v1/host"), "unauthenticated", "a key that is none")

        def trail(client, query=""):
            return [(entry["who"], entry["action"], entry["subject"])
                    for entry in client("GET", f"/v1/audit{query}").json["items"]]

        refused = (other["id"], "refused", "DELETE /v1/pools/{pool}")
        eventually("the refused attempt is recorded", lambda: refused in trail(zoo))
        eventually("the unknown key is recorded", lambda: ("127.0.0.1", "refused", "GET /v1/host") in trail(admin))
        equal(trail(acme, f"?subject={lease}"),
              [(own["id"], "lease.released", lease), (own["id"], "lease.grant", lease)], "the lease's entries")
        equal(trail(acme, "?subject=web"), [(own["id"], "pool.declare", "web")], "the pool's entries")
        equal({entry["tenant"] for entry in acme("GET", "/v1/audit").json["items"]}, {"acme"}, "a tenant's entries")
        before = admin("GET", "/v1/audit").json["items"]
        for key in (stranger, own["key"], other["key"]):
            expect(key not in str(before), "the audit log has a key")
        shown = processes.run(
            [processes.BINARIES / "vmpool", "audit", "--since", "1h", "--tenant", "zoo", "-n", "1", "--server", daemon.url],
            env={**os.environ, "VMPOOL_KEY": admin.headers["Authorization"].removeprefix("Bearer ")})
        equal(shown.returncode, 0, f"vmpool audit: {shown.stderr}")
        expect("DELETE /v1/pools/{pool}" in shown.stdout and len(shown.stdout.splitlines()) == 2, shown.stdout)
    with Daemon(*options) as daemon:
        again = keyed(daemon, admin.headers["Authorization"].removeprefix("Bearer "))
        after = again("GET", "/v1/audit?limit=1000").json["items"]
        expect(after[-len(before):] == before, "the log's entries after a restart")


def received(stream, limit=4096):
    try:
        return stream.recv(limit)
    except ConnectionResetError:
        return b""


def metric(client, name):
    return int(re.search(rf"^{name} (\d+)$", client("GET", "/metrics").text, re.MULTILINE)[1])


@check("a key past its rate gets 429 with the fields that say when to come back, and one past its streams as well")
def limits():
    with Daemon("--no-demo-pool") as daemon:
        admin = closed(daemon)
        slow = keyed(daemon, make(admin, scopes=["read"], rate=1, burst=3)["key"])
        statuses = [slow("GET", "/v1/host") for _ in range(20)]
        refused = next(answer for answer in statuses if answer.status == 429)
        problems.expect_problem(refused, "rate-limited", "a key past its rate")
        equal(refused.headers["RateLimit-Policy"], '"key";q=3;w=3', "RateLimit-Policy")
        equal(refused.headers["RateLimit"], '"key";r=0;t=1', "RateLimit")
        equal(refused.headers["Retry-After"], "1", "Retry-After")
        one = make(admin, scopes=["read"], concurrency=1)["key"]
        field = f"Authorization: Bearer {one}"
        with connect(daemon.address) as stream:
            stream.sendall(f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n".encode())
            expect(b"200 OK" in stream.recv(4096), "the stream does not begin")
            problems.expect_problem(keyed(daemon, one)("GET", "/v1/host"), "rate-limited", "a request beside the stream")
        eventually("the stream's place is free", lambda: keyed(daemon, one)("GET", "/v1/host").status == 200)


@check("ten thousand keys are made, listed page by page, and found")
def many():
    with Daemon("--no-demo-pool") as daemon:
        admin = closed(daemon)
        made = [make(admin, scopes=["read"], tenant=f"t{number % 100}") for number in range(10_000)]
        found, token = [], ""
        while token is not None:
            page = admin("GET", "/v1/keys?limit=1000" + (f"&page_token={token}" if token else "")).json
            found += [key["id"] for key in page["items"]]
            token = page["next_page_token"]
        equal((len(found), found), (10_001, sorted(found)), "the list")
        for key in made[:: 500]:
            client = keyed(daemon, key["key"])
            equal(client("GET", "/v1/host").status, 200, "one of many keys")
            equal(len(client("GET", "/v1/keys?limit=1000").json["items"]), 100, "a tenant's keys")
