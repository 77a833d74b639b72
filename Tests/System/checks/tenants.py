"""Tenants: what is another's is not there, and nobody takes more than a share."""
import json
import os
import re
import signal

from checks.configuration import File
from checks.images import EXIT7, FLAT, MIB
from checks.keys import ABSENT, keyed, make, operations
from testbed import problems, processes
from testbed.checks import becomes, check, equal, eventually, expect
from testbed.daemon import Daemon
from testbed.exposition import Exposition
from testbed.pools import Asking, declare, lease, path, release

NUL = bytes.fromhex("ebfe")


def tenant(operator, name, scopes=("read", "lease", "run", "control", "images", "pools"), **members):
    """A client with a new key of that tenant."""
    return keyed_like(operator, make(operator, tenant=name, scopes=list(scopes), **members)["key"])


def keyed_like(client, key):
    """A client of the same server with that key."""
    other = type(client)(client.address)
    other.headers["Authorization"] = f"Bearer {key}"
    return other


def members(daemon):
    """An operator and one client of each of two tenants."""
    operator = keyed(daemon, make(keyed(daemon), scopes=["admin"])["key"])
    return operator, tenant(operator, "acme"), tenant(operator, "zeta")


def push(client, image, code=EXIT7):
    answer = client("PUT", f"/v1/images/{image}?{FLAT}", code, {"Content-Type": "application/octet-stream"})
    equal(answer.status, 201, f"sending the image {image}: {answer}")
    return answer.json


def names(client, path):
    """Tenant and name of what a list has, without what comes with the server."""
    return [(item["tenant"], item["name"]) for item in client.get(path).json["items"] if item.get("source") != "builtin"]


def ids(client, path, member="id"):
    return sorted(item[member] for item in client.get(path).json["items"])


def events(client, query=""):
    """The events since the server's start."""
    epoch = re.search(r"^id: (\w+)-", client.get("/v1/events?timeout_ms=1").text, re.MULTILINE)[1]
    text = client.get(f"/v1/events?last_event_id={epoch}-0&timeout_ms=200{query}").text
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def measured(client):
    """The pools that have metrics."""
    return {dict(labels).get("pool") for _, labels in Exposition.of(client).samples}


def asking(client, method, address, body=None):
    """The same client's request, on a connection of its own."""
    return Asking(client.address, method, address, body, dict(client.headers))


@check("pools and images of two tenants have the same names, and each sees its own alone")
def same_names():
    with Daemon("--no-demo-pool") as daemon:
        operator, acme, zeta = members(daemon)
        sizes = {}
        for client, code in ((acme, EXIT7), (zeta, NUL)):
            digest = push(client, "code", code)["digest"]
            sizes[digest] = len(code)
            declare(client, "web", "code")
        equal(len(sizes), 2, "the images")
        for client, name in ((acme, "acme"), (zeta, "zeta")):
            equal(names(client, "/v1/pools"), [(name, "web")], f"the pools of {name}")
            own = [image for image in client.get("/v1/images").json["items"] if image["tenant"] == name]
            equal([image["name"] for image in own], ["code"], f"the images of {name}")
            vms = client.get("/v1/vms").json["items"]
            equal([(vm["tenant"], vm["pool"]) for vm in vms], [(name, "web")], f"the VMs of {name}")
            equal(names(operator, f"/v1/pools?tenant={name}"), [(name, "web")], f"the operator's list of {name}")
            equal(measured(client), {f"{name}/web"}, f"the pools of {name}'s metrics")
        equal(names(operator, "/v1/pools"), [("acme", "web"), ("zeta", "web")], "all pools")
        problems.expect_problem(acme.get("/v1/pools?tenant=zeta"), "scope-missing", "another tenant's list")
        problems.expect_problem(operator.get("/v1/pools/web"), "pool-not-found", "the default tenant's pool")
        seen = {client: {event["vm"] for event in events(client)} for client in (acme, zeta)}
        for client, vms in seen.items():
            equal(vms - {None}, set(ids(client, "/v1/vms")), "the VMs of the events")
        equal(acme.delete("/v1/pools/web").status, 204, "deleting a pool")
        eventually("the pool has gone", lambda: acme.get("/v1/pools/web").status == 404)
        equal(acme.delete("/v1/images/code").status, 204, "deleting an image")
        equal(zeta.get("/v1/pools/web").status, 200, "the other's pool")
        equal(zeta.get("/v1/images/code").status, 200, "the other's image")


BODIES = {
    "patchPool": ({"ready": 1}, "application/merge-patch+json"),
    "extendLease": ({"ttl_ms": 60_000}, "application/json"),
    "writeConsole": (b"x", "application/octet-stream"),
}


def asked(client, method, path, operation, names):
    """Status and body of an answer, without what tells one request and one name from another."""
    body, kind = BODIES.get(operation, (None, None))
    answer = client(method, path, body, {"Content-Type": kind} if kind else None)
    text = answer.text.replace(answer.headers["X-Request-Id"], "REQUEST")
    # The index of a vCPU is in other texts, too, and is the same for both.
    for word in set(path.split("/")) & set(names) - {ABSENT["index"]}:
        text = text.replace(word, "NAME")
    return answer.status, text


@check("what is another tenant's is answered byte by byte as what is not there, by each operation")
def foreign():
    with Daemon("--no-demo-pool") as daemon:
        operator, acme, zeta = members(daemon)
        push(acme, "acme-image")
        declare(acme, "acme-pool", "spin")
        there = {
            **ABSENT, "vm": acme.post("/v1/vms", {"image": "echo"}).json["id"], "pool": "acme-pool", "image": "acme-image",
            "lease": lease(acme, "acme-pool")["lease"], "key_id": make(operator, tenant="acme", scopes=["read"])["id"],
        }
        # These make what is the client's own.
        making = {"putPool", "putImage", "putBlob"}
        compared = []
        for (method, present, scope, name), (_, absent, _, _) in zip(list(operations(there)), operations()):
            if present == absent or name in making or scope == "admin":
                continue
            found = asked(zeta, method, present, name, there.values())
            missing = asked(zeta, method, absent, name, ABSENT.values())
            equal(found, missing, f"{name} of another tenant's, beside what is not there")
            equal(found[0], 404, f"{name}: {found}")
            compared.append((method, present, scope, name))
        # Its owner finds it; what takes it away comes last.
        for method, present, scope, name in sorted(compared, key=lambda operation: operation[0] == "DELETE"):
            status, text = asked(acme, method, present, name, [])
            expect(status != 404, lambda: f"{name} of one's own: {status} {text}")
        for query in (f"?vm={there['vm']}", f"?vm={there['vm']}&pool=acme-pool"):
            equal(events(zeta, "&" + query[1:]), [], f"another tenant's events {query}")
        return f"{len(compared)} operations"


@check("a shared pool is leased by each tenant, the lease is the tenant's, and the pool is not")
def shared():
    with Daemon("--no-demo-pool") as daemon:
        operator, acme, zeta = members(daemon)
        declare(operator, "common", "spin", ready=2, shared=True)
        declare(operator, "private", "spin")
        taken = {client: lease(client, "common", wait_ms=10_000) for client in (acme, zeta)}
        for client, other in ((acme, zeta), (zeta, acme)):
            equal(ids(client, "/v1/leases", "lease"), [taken[client]["lease"]], "one's leases")
            equal(ids(client, "/v1/pools/common/leases", "lease"), [taken[client]["lease"]], "one's leases of the pool")
            equal(ids(client, "/v1/vms"), [taken[client]["vm"]], "one's VMs")
            equal(client.get(path(taken[other])).status, 404, "the other's lease")
            equal(client.get("/v1/vms/" + taken[other]["vm"]).status, 404, "the other's VM")
            equal(client.delete(path(taken[other])).status, 404, "releasing the other's lease")
            equal(names(client, "/v1/pools"), [("default", "common")], "the pools")
            for method, body in (("PATCH", {"ready": 1}), ("DELETE", None)):
                problems.expect_problem(client(method, "/v1/pools/common", body), "pool-not-found", f"{method} of it")
            problems.expect_problem(client.post("/v1/pools/private/leases"), "pool-not-found", "a pool that is not shared")
        equal(ids(operator, "/v1/leases", "lease"), sorted(document["lease"] for document in taken.values()), "all leases")
        for client, document in taken.items():
            release(client, document)


QUOTAS = """
access: {{}}
pools:
  common: {{image: spin, ready: 2, shared: true}}
tenants:
  acme: {{quotas: {quotas}}}
"""


@check("quotas of the file hold from the start and after SIGHUP, and answer 429 quota-exceeded")
def quotas():
    state = processes.scratch_directory("tenants")
    made = processes.run([processes.BINARIES / "vmpoold", "create-key", "--state-dir", state, "--tenant", "default",
                          "--scopes", "admin"])
    file = File(QUOTAS.format(quotas="{vms: 1, leases: 1, waiting: 1, streams: 1}"))
    with Daemon("--config", file.path, "--state-dir", state) as daemon:
        operator = keyed(daemon, made.stdout.strip())
        acme, zeta = tenant(operator, "acme"), tenant(operator, "zeta")

        def refused(answer, quota):
            document = problems.expect_problem(answer, "quota-exceeded", f"one over the quota {quota}")
            expect(f"quota {quota}" in document["detail"] and "acme" in document["detail"], lambda: document)

        first = acme.post("/v1/vms", {"image": "spin", "start": False})
        equal(first.status, 201, f"the first VM: {first}")
        refused(acme.post("/v1/vms", {"image": "spin", "start": False}), "vms")
        equal(acme.delete("/v1/vms/" + first.json["id"]).status, 204, "deleting it")
        eventually("there is a VM", lambda: operator.get("/v1/pools/common").json["status"]["ready"] == 2)
        held = lease(acme, "common", start=False)
        refused(acme.post("/v1/pools/common/leases", {"start": False}), "leases")
        equal(zeta.post("/v1/pools/common/leases", {"start": False}).status, 201, "another tenant's lease")
        stream = asking(acme, "GET", "/v1/events?timeout_ms=600000")
        becomes(1, "the streams", lambda: Exposition.of(operator).total("vmpool_http_streams"))
        refused(acme.get("/v1/events?timeout_ms=1"), "streams")
        equal(zeta.get("/v1/events?timeout_ms=1").status, 200, "another tenant's stream")
        file.change(daemon, QUOTAS.format(quotas="{vms: 2, leases: 2, streams: 2}"))
        equal(acme.get("/v1/events?timeout_ms=1").status, 200, "a second stream after SIGHUP")
        more = lease(acme, "common", start=False, wait_ms=10_000)
        refused(acme.post("/v1/pools/common/leases", {"start": False, "wait_ms": 1}), "leases")
        for document in (held, more):
            release(acme, document)
        file.change(daemon, QUOTAS.format(quotas="{waiting: 1}"))
        equal(operator.put("/v1/pools/none", {"image": "spin", "ready": 0, "max_vms": 1, "paused": True,
                                              "shared": True}).status, 201, "a pool without VMs")
        waits = asking(acme, "POST", "/v1/pools/none/leases", {"wait_ms": 600_000})
        becomes(1, "those that wait", lambda: operator.get("/v1/pools/none").json["status"]["waiting"])
        refused(acme.post("/v1/pools/none/leases", {"wait_ms": 1000}), "waiting")
        equal(zeta.post("/v1/pools/none/leases", {"wait_ms": 1}).json["type"], "/problems/pool-exhausted",
              "another tenant's request")
        file.change(daemon, QUOTAS.format(quotas="{image_mib: 1}"))
        image = (f"/v1/images/large?{FLAT}", EXIT7.ljust(MIB + 1, b"\0"), {"Content-Type": "application/octet-stream"})
        refused(acme("PUT", *image), "image_mib")
        equal(acme.get("/v1/images/large").status, 404, "the image that was refused")
        equal(zeta("PUT", *image).status, 201, "another tenant's image")
        daemon.stop(signal.SIGTERM)
        for thread in (waits, stream):
            thread.join(20)


@check("one tenant's sixty waiting requests are not before another's")
def fairness():
    with Daemon("--no-demo-pool") as daemon:
        operator, acme, zeta = members(daemon)
        declare(operator, "narrow", "spin", max_vms=1, shared=True)
        waiting = lambda: operator.get("/v1/pools/narrow").json["status"]["waiting"]
        held = lease(acme, "narrow", start=False)
        request = ("POST", "/v1/pools/narrow/leases", {"wait_ms": 600_000, "start": False})
        for number in range(60):
            asking(acme, *request)
            becomes(number + 1, "those that wait", waiting)
        other = asking(zeta, *request)
        becomes(61, "those that wait", waiting)
        granted = 0
        while not (mine := zeta.get("/v1/leases").json["items"]):
            release(acme, held)
            granted += 1
            held = eventually("the next lease", lambda: operator.get("/v1/leases").json["items"])[0]
        expect(granted <= 3, lambda: f"the other tenant's came after {granted} grants")
        equal(other.result().json["lease"], mine[0]["lease"], "the answer")
        equal(operator("DELETE", "/v1/pools/narrow?force=true").status, 204, "ending them all")
        eventually("the pool has gone", lambda: operator.get("/v1/pools/narrow").status == 404)
        return f"after {granted} grants"


@check("the same Idempotency-Key of two tenants is two requests")
def idempotency():
    with Daemon("--no-demo-pool") as daemon:
        _, acme, zeta = members(daemon)
        made = {}
        for client in (acme, zeta):
            answers = [client("POST", "/v1/vms", {"image": "spin", "start": False}, {"Idempotency-Key": "one"})
                       for _ in range(2)]
            equal([answer.status for answer in answers], [201, 201], "the answers")
            equal([answer.headers["Idempotent-Replayed"] for answer in answers], [None, "true"], "which is a replay")
            made[client] = answers[1].json["id"]
            equal(ids(client, "/v1/vms"), [made[client]], "one's VMs")
        # Another body is refused for its own tenant alone.
        body = {"image": "echo", "start": False}
        for client in (acme, zeta):
            problems.expect_problem(client("POST", "/v1/vms", body, {"Idempotency-Key": "one"}), "idempotency-key-reused",
                                    "another body")


@check("a restart keeps pools, images and keys of tenants apart")
def restart():
    options = ("--no-demo-pool", "--state-dir", processes.scratch_directory("tenants"))
    with Daemon(*options) as daemon:
        clients = dict(zip(("default", "acme", "zeta"), members(daemon)))
        for name, code in (("acme", EXIT7), ("zeta", NUL)):
            push(clients[name], "code", code)
            declare(clients[name], "web", "code")
        tags = {name: clients[name].get("/v1/images/code").headers["ETag"] for name in ("acme", "zeta")}
        fields = {name: client.headers["Authorization"].removeprefix("Bearer ") for name, client in clients.items()}
    with Daemon(*options) as daemon:
        clients = {name: keyed(daemon, key) for name, key in fields.items()}
        for name in ("acme", "zeta"):
            equal(names(clients[name], "/v1/pools"), [(name, "web")], f"the pools of {name}")
            image = clients[name].get("/v1/images/code")
            equal((image.json["tenant"], image.headers["ETag"]), (name, tags[name]), f"the image of {name}")
            eventually("a VM is ready", lambda: clients[name].get("/v1/pools/web").json["status"]["ready"] == 1)
            equal([vm["tenant"] for vm in clients[name].get("/v1/vms").json["items"]], [name], f"the VMs of {name}")
            equal({key["tenant"] for key in clients[name].get("/v1/keys").json["items"]}, {name}, f"the keys of {name}")
        equal(names(clients["default"], "/v1/pools"), [("acme", "web"), ("zeta", "web")], "all pools")
        equal(clients["default"].get("/v1/images/code").status, 404, "the default tenant's image")


@check("a key that is bound to pools sees and uses nothing beside them")
def bound():
    with Daemon("--no-demo-pool") as daemon:
        operator, acme, _ = members(daemon)
        for pool in ("web", "batch"):
            declare(acme, pool)
        by_hand = acme.post("/v1/vms", {"image": "spin", "start": False}).json["id"]
        other = lease(acme, "batch", start=False)
        narrow = tenant(operator, "acme", pools=["web"])
        equal(names(narrow, "/v1/pools"), [("acme", "web")], "its pools")
        equal({vm["pool"] for vm in narrow.get("/v1/vms").json["items"]}, {"web"}, "the pools of its VMs")
        equal(narrow.get("/v1/leases").json["items"], [], "its leases")
        for method, address in (
            ("GET", "/v1/pools/batch"), ("POST", "/v1/pools/batch/leases"), ("POST", "/v1/pools/batch/run"),
            ("PATCH", "/v1/pools/batch"), ("DELETE", "/v1/pools/batch"), ("GET", path(other)), ("DELETE", path(other)),
            ("GET", "/v1/vms/" + by_hand), ("POST", f"/v1/vms/{by_hand}/kick"), ("GET", "/v1/vms/" + other["vm"]),
            ("DELETE", "/v1/vms/" + by_hand),
        ):
            body = {"ready": 1} if method == "PATCH" else None
            answer = narrow(method, address, body)
            equal(answer.status, 404, f"{method} {address}: {answer}")
        problems.expect_problem(narrow.put("/v1/pools/batch", {"image": "spin", "ready": 5}), "pool-not-found",
                                "changing another pool")
        problems.expect_problem(narrow.put("/v1/pools/third", {"image": "spin", "ready": 1}), "pool-not-found",
                                "making another pool")
        problems.expect_problem(narrow.post("/v1/vms", {"image": "spin"}), "scope-missing", "a VM by hand")
        mine = lease(narrow, "web", wait_ms=10_000, start=False)
        seen = events(narrow)
        equal({event["pool"] for event in seen}, {"web"}, "the pools of its events")
        expect(by_hand not in {event["vm"] for event in seen}, "an event of a VM by hand")
        equal(events(narrow, "&pool=batch"), [], "the events of another pool")
        equal(measured(narrow), {"acme/web"}, "the pools of its metrics")
        release(narrow, mine)


@check("vmpool shows an operator one tenant's things with --tenant, and pools set and patch share a pool")
def command_line():
    with Daemon("--no-demo-pool") as daemon:
        operator, acme, zeta = members(daemon)

        def vmpool(client, *words, status=0):
            key = client.headers["Authorization"].removeprefix("Bearer ")
            result = processes.run([processes.BINARIES / "vmpool", "--server", daemon.url, *words],
                                   env={**os.environ, "VMPOOL_KEY": key})
            equal(result.returncode, status, f"the exit status of vmpool {words}: {result.stderr}")
            return result.stdout

        for client, code in ((acme, EXIT7), (zeta, NUL)):
            push(client, "code", code)
            declare(client, "web")
        held = {client: lease(client, "web", start=False) for client in (acme, zeta)}
        for words, wanted in (
            (("leases", "list", "-q"), held[acme]["lease"]), (("pools", "list", "-q"), "web"),
        ):
            equal(vmpool(operator, *words, "--tenant", "acme").split(), [wanted], f"vmpool {words}")
        equal(sorted(vmpool(operator, "ps", "-q", "--tenant", "acme").split()), ids(acme, "/v1/vms"), "vmpool ps")
        equal(len(vmpool(operator, "leases", "list", "-q").split()), 2, "all leases")
        for client, name in ((acme, "acme"), (zeta, "zeta")):
            shown = json.loads(vmpool(operator, "images", "show", "code", "--tenant", name, "--json"))
            equal(shown["digest"], client.get("/v1/images/code").json["digest"], f"the image of {name}")
            shown = json.loads(vmpool(operator, "pools", "show", "web", "--tenant", name, "--json"))
            equal(shown["tenant"], name, f"the pool of {name}")
        vmpool(acme, "pools", "list", "--tenant", "zeta", status=77)
        vmpool(operator, "pools", "show", "web", status=2)
        vmpool(operator, "pools", "set", "common", "--image", "spin", "--ready", "1", "--shared")
        equal(("default", "common") in names(zeta, "/v1/pools"), True, "whether the pool is shared")
        vmpool(operator, "pools", "patch", "common", "--no-shared")
        equal(zeta.get("/v1/pools/common").status, 404, "the pool that is shared no more")
