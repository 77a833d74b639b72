"""Leases: a VM handed over for a time, to one at a time."""
import datetime
import os
import random
import signal
import time

from testbed import problems
from testbed.checks import becomes, check, equal, expect
from testbed.client import connect
from testbed.daemon import Daemon
from testbed.exposition import Exposition
from testbed.pools import Asking, declare, filled, lease, path, release, status

SEED = int(os.environ.get("VMPOOL_SEED", str(int(time.time()))))
MEMBERS = {"lease", "tenant", "pool", "vm", "fence", "labels", "granted_at", "expires_at", "max_expires_at"}
DAY = 86_400_000


def milliseconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000


def lasts(document, member="expires_at"):
    """For how many milliseconds it was granted."""
    return round(milliseconds(document[member]) - milliseconds(document["granted_at"]))


def waiting(client, pool, count):
    becomes(count, f"clients that wait for {pool}", lambda: status(client, pool)["waiting"])


@check("a lease is granted, found, extended and released; its end is told for good")
def life():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "spins", ready=2)
        before = daemon.holdings()["vms"]
        answer = client.post("/v1/pools/spins/leases", {"ttl_ms": 30_000, "labels": {"job": "build-4711"}})
        one = answer.json
        equal((answer.status, answer.headers["Location"]), (201, path(one)), "the answer")
        equal(set(one), MEMBERS, "its members")
        equal((one["pool"], one["labels"]), ("spins", {"job": "build-4711"}), "pool and labels")
        equal((lasts(one), lasts(one, "max_expires_at")), (30_000, DAY), "how long it lasts, and may last")
        expect(one["vm"] in before, "the VM was not one of those that were ready")
        vm = client.get("/v1/vms/" + one["vm"]).json
        equal((vm["state"], vm["lease"]), ("running", one["lease"]), "the VM's state and lease")

        other = lease(client, "spins", start=False)
        equal(lasts(other), 60_000, "how long a lease lasts that asks for nothing")
        equal(client.get("/v1/vms/" + other["vm"]).json["state"], "ready", "the state of a VM not to be started")
        for address in ("/v1/leases", "/v1/leases?pool=spins", "/v1/pools/spins/leases"):
            equal(client.get(address).json["items"], [one, other], address)
        page = client.get("/v1/leases?limit=1").json
        rest = client.get(f"/v1/leases?limit=1&page_token={page['next_page_token']}").json
        equal((page["items"], rest["items"], rest["next_page_token"]), ([one], [other], None), "two pages")
        equal(client.get("/v1/leases?pool=nobody").json["items"], [], "leases of no pool")
        equal(client.get(path(one)).json, one, "one lease")
        filled(client, "spins")

        longer = client("PATCH", path(one), {"ttl_ms": 300_000}).json
        expect(milliseconds(longer["expires_at"]) > milliseconds(one["expires_at"]), "it was not extended")
        longest = client("PATCH", path(one), {"ttl_ms": DAY}).json
        equal(longest["expires_at"], one["max_expires_at"], "the end beyond which it cannot be extended")
        heartbeat = client("PATCH", path(one)).json
        equal(heartbeat["expires_at"], longest["expires_at"], "the end after a heartbeat that asks for less")
        shorter = client("PATCH", path(one), {"shorten": True}).json
        expect(lasts(shorter) < 300_000, "a heartbeat that asks for nothing asks for a minute")
        equal({**shorter, "expires_at": None}, {**one, "expires_at": None}, "what an extension leaves alone")

        for _ in range(3):
            release(client, one)
        equal(client.get("/v1/vms/" + one["vm"]).status, 404, "the VM after its release")
        problems.expect_problem(client.get(path(one)), "lease-released", "asking for a released lease")
        problems.expect_problem(client("PATCH", path(one), {}), "lease-released", "extending a released lease")
        equal(client.get("/v1/leases").json["items"], [other], "the leases left")
        for method in ("GET", "PATCH", "DELETE"):
            answer = client(method, "/v1/leases/lease-0123456789abcdef")
            problems.expect_problem(answer, "lease-not-found", f"{method} of a lease that never was")
        release(client, other)
        becomes([2, 0, 0], "the pool", lambda: [status(client, "spins")[key] for key in ("ready", "leased", "retiring")])


@check("an expired lease is ended by the server, and one with heartbeats is not")
def expiry():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "spins", ready=4)
        kept, brief = lease(client, "spins", ttl_ms=400), lease(client, "spins", ttl_ms=60)
        began = time.monotonic()

        def beats():
            equal(client("PATCH", path(kept), {"ttl_ms": 60_000}).status, 200, "a heartbeat")
            return client.get(path(brief)).status

        becomes(410, "the lease without heartbeats", beats)
        problems.expect_problem(client.get(path(brief)), "lease-expired", "an expired lease")
        problems.expect_problem(client("PATCH", path(brief), {}), "lease-expired", "extending it")
        problems.expect_problem(client.delete(path(brief)), "lease-expired", "releasing it")
        equal(client.get("/v1/vms/" + brief["vm"]).status, 404, "its VM")
        equal(client.get("/v1/vms/" + kept["vm"]).json["state"], "running", "the VM of the other")
        # It may be shortened, too, where that is asked for.
        equal(client("PATCH", path(kept), {"ttl_ms": 1, "shorten": True}).status, 200, "the last heartbeat")
        becomes(410, "the lease without further heartbeats", lambda: client.get(path(kept)).status)
        filled(client, "spins")
        return f"{time.monotonic() - began:.2f} s"


@check("fences grow, and an old one opens nothing, during the lease and after it")
def fences():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "spins", ready=3)
        found = []
        for _ in range(20):
            found.append(lease(client, "spins", wait_ms=10_000)["fence"])
            release(client, client.get("/v1/leases").json["items"][0])
        equal(found, sorted(set(found)), "fences, in the order of the hand-overs")

        one = lease(client, "spins", wait_ms=10_000)
        vm = "/v1/vms/" + one["vm"]
        acts = [("GET", vm), ("GET", f"{vm}/console"), ("POST", f"{vm}/console"), ("POST", f"{vm}/kick"),
                ("POST", f"{vm}/vcpus/0/kick"), ("GET", f"{vm}/vcpus/0/registers"), ("POST", f"{vm}/pause"),
                ("POST", f"{vm}/resume"), ("POST", f"{vm}/start"), ("POST", f"{vm}/stop"), ("DELETE", vm)]

        def stale(fence, what):
            for method, address in acts:
                body = b"x" if address.endswith("console") and method == "POST" else None
                answer = client(method, address, body, {"Lease-Fence": str(fence)})
                problems.expect_problem(answer, "stale-fence", f"{method} {address} {what}")

        for fence in (0, one["fence"] - 1, one["fence"] + 1, 2**63 - 1):
            stale(fence, f"under fence {fence} instead of {one['fence']}")
        for fence in ("", "x", "-1", "1.0", str(2**64)):
            answer = client("POST", f"{vm}/kick", headers={"Lease-Fence": fence})
            problems.expect_problem(answer, ("bad-request", "invalid-parameter"), f"the fence {fence!r}")
        own = {"Lease-Fence": str(one["fence"])}
        equal(client("POST", f"{vm}/kick", headers=own).status, 200, "a kick under the right fence")
        equal(client.get(vm).json["state"], "running", "the state after all that was refused")
        release(client, one)
        stale(one["fence"], "after the release")
        equal(client.post(f"{vm}/kick").status, 404, "a kick without a fence after the release")

        two = lease(client, "spins", wait_ms=10_000)
        vm = "/v1/vms/" + two["vm"]
        equal(client("DELETE", vm, headers={"Lease-Fence": str(two["fence"])}).status, 204, "deleting one's own VM")
        problems.expect_problem(client.get(path(two)), "lease-lost", "the lease of a deleted VM")
        by_hand = client.post("/v1/vms", {"image": "spin"}).json["id"]
        answer = client("POST", f"/v1/vms/{by_hand}/kick", headers={"Lease-Fence": "1"})
        problems.expect_problem(answer, "stale-fence", "a fence for a VM that is not leased")


@check("who waits is served in the order of coming")
def order():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "single", max_vms=1)
        held = lease(client, "single")
        queue = []
        for count in range(1, 9):
            queue.append(Asking(daemon.address, "POST", "/v1/pools/single/leases", {"wait_ms": 60_000}))
            waiting(client, "single", count)
        # Who comes now is behind them all, and does not wait.
        problems.expect_problem(client.post("/v1/pools/single/leases"), "pool-exhausted", "one more")
        served = [held["fence"]]
        for asking in queue:
            release(client, held)
            answer = asking.result()
            equal(answer.status, 201, "the answer to the first that waits")
            held = answer.json
            served.append(held["fence"])
        equal(served, list(range(served[0], served[0] + 9)), "the fences, in the order of coming")
        waiting(client, "single", 0)


@check("an exhausted pool is a 429 with Retry-After and the number of those who wait, when wait_ms is over")
def exhausted():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "single", max_vms=1)
        lease(client, "single")

        def refused(body, others):
            began = time.monotonic()
            answer = client.post("/v1/pools/single/leases", body)
            document = problems.expect_problem(answer, "pool-exhausted", f"leasing with {body}")
            expect("max_vms" in document["detail"], lambda: f"what stands in the way: {document['detail']}")
            equal((document["waiting"], answer.headers["Retry-After"]), (others, "1"), "who waits, and Retry-After")
            return time.monotonic() - began

        refused({}, 0)
        expect(refused({"wait_ms": 150}, 0) >= 0.15, "it did not wait as long as it was asked to")
        queue = [Asking(daemon.address, "POST", "/v1/pools/single/leases", {"wait_ms": 2000}) for _ in range(3)]
        waiting(client, "single", 3)
        refused({"wait_ms": 0}, 3)
        refused({"wait_ms": 20}, 3)
        for asking in queue:
            problems.expect_problem(asking.result(), "pool-exhausted", "waiting in vain")
        waiting(client, "single", 0)
        for body in ({"ttl_ms": 0}, {"ttl_ms": DAY + 1}, {"wait_ms": -1}, {"wait_ms": 600_001}, {"start": "yes"},
                     {"labels": {"a": 1}}, {"labels": {"a" * 65: ""}}, {"labels": {"a": "b" * 257}}, {"more": 1},
                     {"labels": {str(number): "" for number in range(17)}}):
            problems.expect_problem(client.post("/v1/pools/single/leases", body), "invalid-member", f"{body}")
        for document in ("/v1/pools/nobody/leases", "/v1/pools/nobody/run"):
            problems.expect_problem(client.post(document), "pool-not-found", document)
        problems.expect_problem(client.get("/v1/pools/nobody/leases"), "pool-not-found", "leases of no pool")


@check("a server that drains tells those who wait")
def draining():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "single", max_vms=1)
        lease(client, "single")
        queue = [Asking(daemon.address, "POST", "/v1/pools/single/leases", {"wait_ms": 600_000}) for _ in range(8)]
        queue += [Asking(daemon.address, "POST", "/v1/pools/single/run", {"wait_ms": 600_000}) for _ in range(8)]
        waiting(client, "single", 16)
        daemon.process.send_signal(signal.SIGTERM)
        for asking in queue:
            answer = asking.result()
            problems.expect_problem(answer, "draining", "waiting while the server drains")
            expect(int(answer.headers["Retry-After"]) >= 1, "no Retry-After")


def ask(daemon, pool, wait_ms, ttl_ms=60_000):
    """A client that will not wait for its answer."""
    plain = connect(daemon.address)
    body = b'{"wait_ms": %d, "ttl_ms": %d}' % (wait_ms, ttl_ms)
    head = f"POST /v1/pools/{pool}/leases HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    plain.sendall(head.encode() + body)
    return plain


@check("a client that disconnects leaves the queue")
def leaving():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "single", max_vms=1)
        before = daemon.holdings()
        held = lease(client, "single")
        plains = []
        for count in range(1, 21):
            plains.append(ask(daemon, "single", 600_000))
            waiting(client, "single", count)
        last = Asking(daemon.address, "POST", "/v1/pools/single/leases", {"wait_ms": 60_000})
        waiting(client, "single", 21)
        for plain in plains:
            plain.close()
        waiting(client, "single", 1)
        release(client, held)
        # The only one that is still there gets the VM.
        release(client, last.result().json)
        becomes([], "leases", lambda: client.get("/v1/leases").json["items"])
        filled(client, "single")
        equal(Exposition.of(client).total("vmpool_leases_total", result="abandoned"), 20, "waits abandoned")
        daemon.expect_unchanged({**before, "vms": daemon.holdings()["vms"]}, "clients that left the queue")


@check("a VM granted to a client that is gone goes back")
def gone():
    dice = random.Random(SEED)
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declare(client, "few", ready=2, max_vms=2)
        before = daemon.holdings()

        def rounds(count, shuffle):
            """How many leases were left to expire, when clients leave while VMs are handed over."""
            expired = Exposition.of(client).total("vmpool_leases_total", result="expired")
            for _ in range(count):
                held = [lease(client, "few", wait_ms=10_000) for _ in range(2)]
                plains = [ask(daemon, "few", 600_000, ttl_ms=200) for _ in range(3)]
                waiting(client, "few", 3)
                acts = [plain.close for plain in plains] + [lambda one=one: release(client, one) for one in held]
                shuffle(acts)
                for act in acts:
                    act()
                waiting(client, "few", 0)
                becomes([], "leases that nobody has", lambda: client.get("/v1/leases").json["items"])
                filled(client, "few")
            return int(Exposition.of(client).total("vmpool_leases_total", result="expired") - expired)

        # Whoever has left before a VM is there gets none.
        equal(rounds(30, lambda acts: None), 0, "leases of clients that had left")
        # Whoever leaves while the answer is on its way may have got it: the lease then ends by itself.
        late = rounds(30, dice.shuffle)
        daemon.expect_unchanged({**before, "vms": daemon.holdings()["vms"]}, "clients that were gone")
        abandoned = Exposition.of(client).total("vmpool_leases_total", result="abandoned")
        equal(abandoned + late, 180, "hand-overs and waits abandoned, and leases left to expire")
        return f"seed {SEED}: {late} of 90 left with an answer on its way"


@check("GET /v1/vms/{vm}?wait_for answers when the VM is there, has stopped, or the time is up")
def wait_for():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        vm = "/v1/vms/" + client.post("/v1/vms", {"image": "spin"}).json["id"]
        equal(client.get(f"{vm}?wait_for=running").json["state"], "running", "a state it is in")
        began = time.monotonic()
        equal(client.get(f"{vm}?wait_for=stopped&timeout_ms=100").json["state"], "running", "a state it is not in")
        expect(time.monotonic() - began >= 0.1, "it did not wait")
        asked = [Asking(daemon.address, "GET", f"{vm}?wait_for={state}&timeout_ms=600000")
                 for state in ("paused", "stopped", "ready")]
        becomes(4, "connections", daemon.connections)
        equal(client.post(f"{vm}/pause").status, 200, "pausing")
        equal(asked[0].result().json["state"], "paused", "what it waited for")
        equal(client.post(f"{vm}/stop").status, 200, "stopping")
        equal([one.result().json["state"] for one in asked[1:]], ["stopped", "stopped"], "what it waited for")
        other = "/v1/vms/" + client.post("/v1/vms", {"image": "spin"}).json["id"]
        asked = Asking(daemon.address, "GET", f"{other}?wait_for=stopped&timeout_ms=600000")
        becomes(2, "connections", daemon.connections)
        equal(client.delete(other).status, 204, "deleting")
        answer = asked.result()
        # Deleting stops it first, and either may be told.
        expect(answer.status == 404 or answer.json["state"] == "stopped", lambda: f"after deleting: {answer}")
        for query in ("wait_for=gone", "wait_for=stopped&timeout_ms=600001", "wait_for=stopped&timeout_ms=x"):
            problems.expect_problem(client.get(f"{vm}?{query}"), "invalid-parameter", query)
        equal(client.delete(vm).status, 204, "deleting")
