"""Pools: VMs kept ready."""
import os
import pathlib
import threading

from checks.exhaustion import limited
from testbed import problems
from testbed.checks import becomes, check, equal, eventually, expect
from testbed.daemon import Daemon
from testbed.pools import Asking, declare as declared, filled, lease, path, release, status


def ready(client, pool):
    return client.get(f"/v1/pools/{pool}").json["status"]["ready"]


def members(client, pool, **filters):
    query = "".join(f"&{name}={value}" for name, value in filters.items())
    return [vm["id"] for vm in client.get(f"/v1/vms?limit=1000&pool={pool}{query}").json["items"]]


@check("the server starts with a pool of two ready VMs")
def demo():
    with Daemon() as daemon:
        client = daemon.client()
        becomes(2, "ready VMs", lambda: ready(client, "demo"))
        pool = client.get("/v1/pools").json["items"][0]
        wanted = ("demo", "hello", 1, 2, {"min": 2, "max": 2})
        equal(tuple(pool[name] for name in ("name", "image", "vcpus", "memory_mib", "ready")), wanted, "the pool")
        daemon.expect_idle(client, "ready VMs")


@check("declare, take, resize, replace and delete")
def declare():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        equal(client.get("/v1/pools").json["items"], [], "the pools")
        live(client)
        # What the server makes once, it has made now; another life must leave nothing.
        before = daemon.holdings()
        live(client)
        daemon.expect_unchanged(before, "a pool's life")


def live(client):
    """A pool's life."""
    answer = client.put("/v1/pools/echoes", {"image": "echo", "ready": 3})
    equal((answer.status, answer.headers["Location"]), (201, "/v1/pools/echoes"), "declaring a pool")
    becomes(3, "ready VMs", lambda: ready(client, "echoes"))
    equal(client.put("/v1/pools/echoes", {"image": "echo", "ready": 3}).status, 200, "declaring it again")

    first = members(client, "echoes")
    taken = first[0]
    equal(client.post(f"/v1/vms/{taken}/start").json["state"], "running", "the taken VM's state")
    becomes(3, "ready VMs after one was taken", lambda: ready(client, "echoes"))
    now = members(client, "echoes")
    equal((len(now), set(first) <= set(now)), (4, True), "the pool's VMs")
    equal(members(client, "echoes", state="running"), [taken], "the VMs taken")

    lost = members(client, "echoes", state="ready")[0]
    equal(client.delete(f"/v1/vms/{lost}").status, 204, "deleting a ready VM")
    becomes(3, "ready VMs after one was lost", lambda: ready(client, "echoes"))
    stopped = members(client, "echoes", state="ready")[0]
    client.post(f"/v1/vms/{stopped}/stop")
    becomes(3, "ready VMs after one was stopped", lambda: ready(client, "echoes"))

    for size in (8, 1, 0, 2):
        client.put("/v1/pools/echoes", {"image": "echo", "ready": size})
        becomes(size, f"ready VMs of {size}", lambda: ready(client, "echoes"))
    old = members(client, "echoes", state="ready")
    client.put("/v1/pools/echoes", {"image": "spin", "ready": 2, "memory_mib": 4})
    eventually("there are two ready VMs of the new kind", lambda: are_new(client, old))
    equal(client.get(f"/v1/vms/{taken}").json["state"], "running", "the taken VM's state")

    equal(client.delete("/v1/pools/echoes").status, 204, "deleting the pool")
    equal(client.get("/v1/pools/echoes").status, 404, "looking for it")
    equal(client.get("/v1/vms").json["items"], [], "the VMs left")


def are_new(client, old):
    now = members(client, "echoes", state="ready")
    memory = [client.get(f"/v1/vms/{vm}").json.get("memory_mib") for vm in now]
    return memory == [4, 4] and not set(old) & set(now)


@check("a pool that cannot be filled says why, and fills when it can")
def limit():
    with Daemon("--no-demo-pool", "--max-vms", "3") as daemon:
        client = daemon.client()
        client.put("/v1/pools/many", {"image": "spin", "ready": 5})
        becomes(3, "ready VMs", lambda: ready(client, "many"))
        refill = lambda: client.get("/v1/pools/many").json["status"]["refill"]
        becomes("limited", "the state of the refill", lambda: refill()["state"])
        expect("3 VMs" in refill()["last_error"], lambda: f"the limit is not named: {refill()}")
        answer = client.post("/v1/vms", {"image": "spin"})
        equal((answer.status, answer.json["type"]), (503, "/problems/resources-exhausted"), "one VM too many")
        expect(int(answer.headers["Retry-After"]) >= 1, "no Retry-After")
        client.put("/v1/pools/many", {"image": "spin", "ready": 2})
        becomes(2, "ready VMs", lambda: ready(client, "many"))
        becomes(201, "the status of a VM when there is room", lambda: client.post("/v1/vms", {"image": "spin"}).status)


@check("a pool deleted while it is filled and declared anew begins from nothing")
def anew():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        for _ in range(5):
            client.put("/v1/pools/again", {"image": "spin", "ready": 50})
            equal(client.delete("/v1/pools/again").status, 204, "deleting the pool")
            client.put("/v1/pools/again", {"image": "spin", "ready": 1})
            seen = []

            def status():
                seen.append(client.get("/v1/pools/again").json["status"])
                expect(0 <= seen[-1]["creating"] <= 1, lambda: f"a pool of one: {seen[-1]}")
                return seen[-1]["ready"], seen[-1]["creating"]

            becomes((1, 0), "ready VMs and those being made", status)
            equal(len(client.get("/v1/vms").json["items"]), 1, "the VMs there are")
            equal(client.delete("/v1/pools/again").status, 204, "deleting the pool again")


@check("ETag, If-Match and If-None-Match keep updates from being lost")
def conditions():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        pool = "/v1/pools/tagged"
        document = {"image": "spin", "ready": 1}

        def refused(method, body=None, **headers):
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            problems.expect_problem(client(method, pool, body, fields), "precondition-failed", f"{method} {fields}")

        refused("PUT", document, If_Match="*")
        refused("PUT", document, If_Match='"1"')
        made = client("PUT", pool, document, {"If-None-Match": "*"})
        equal((made.status, client.get(pool).headers["ETag"]), (201, made.headers["ETag"]), "declaring it, and its tag")
        refused("PUT", document, If_None_Match="*")
        refused("PUT", document, If_None_Match=made.headers["ETag"])
        tags = [made.headers["ETag"]]
        for method, body in (("PUT", document), ("PATCH", {"ready": 2}), ("PATCH", {}), ("PUT", document)):
            answer = client(method, pool, body, {"If-Match": tags[-1]})
            equal(answer.status, 200, f"{method} of what was seen last")
            for old in tags:
                for again in ("PUT", "PATCH", "DELETE"):
                    refused(again, document if again == "PUT" else {}, If_Match=old)
            tags.append(answer.headers["ETag"])
        equal(len(set(tags)), len(tags), "different tags")
        listed = client("PATCH", pool, {}, {"If-Match": f'"0", {tags[-1]}'})
        equal(listed.status, 200, "one tag of several")
        equal(client("DELETE", pool, headers={"If-Match": listed.headers["ETag"]}).status, 204, "deleting it")
        for method in ("PATCH", "DELETE"):
            answer = client(method, pool, {}, {"If-Match": "*"})
            problems.expect_problem(answer, "pool-not-found", f"{method} of what is gone")
        for wrong in ("", ",", "1", '"1', "*, *", "W/*", '"1" "2"'):
            answer = client("PUT", pool, document, {"If-None-Match": wrong})
            problems.expect_problem(answer, "bad-request", f"If-None-Match: {wrong}")
        again = client.put(pool, document)
        expect(again.headers["ETag"] not in tags, "a pool declared anew has a tag of old")


@check("PATCH is a merge patch: what is absent stays, null goes back to the default")
def patch():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        pool = "/v1/pools/patched"
        problems.expect_problem(client("PATCH", pool, {"ready": 1}), "pool-not-found", "a patch of nothing")
        full = {"image": "spin", "vcpus": 2, "memory_mib": 4, "ready": {"min": 1, "max": 3}, "max_vms": 9,
                "deadline_ms": 60_000, "refill": {"concurrency": 2}, "paused": True}
        equal(client.put(pool, full).status, 201, "declaring it")

        def expect_declaration(document, what):
            found = client.get(pool).json
            equal({name: found[name] for name in full}, document, what)

        expect_declaration(full, "what was declared")
        steps = [
            ({}, {}),
            ({"ready": {"max": 5}}, {"ready": {"min": 1, "max": 5}}),
            ({"ready": {"min": 2}}, {"ready": {"min": 2, "max": 5}}),
            ({"ready": 4}, {"ready": {"min": 4, "max": 4}}),
            ({"refill": {"concurrency": 3}}, {"refill": {"concurrency": 3}}),
            ({"refill": {"concurrency": None}}, {"refill": {"concurrency": None}}),
            ({"max_vms": None, "deadline_ms": None}, {"max_vms": None, "deadline_ms": None}),
            ({"vcpus": None, "memory_mib": None, "paused": None}, {"vcpus": 1, "memory_mib": 2, "paused": False}),
        ]
        for change, difference in steps:
            answer = client("PATCH", pool, change, {"Content-Type": "application/merge-patch+json"})
            equal(answer.status, 200, f"{change}: {answer}")
            full = {**full, **difference}
            expect_declaration(full, f"after {change}")
        for change, pointer in (({"image": None}, "/image"), ({"ready": None}, "/ready"), ({"image": "spim"}, "/image"),
                                ({"ready": {"min": 9}}, "/ready"), ({"max_vms": 1}, "/max_vms"), ({"name": "x"}, None)):
            document = problems.expect_problem(client("PATCH", pool, change), "invalid-member", f"{change}")
            expect(pointer is None or document["pointer"].startswith(pointer), lambda: f"{change}: {document}")
        expect_declaration(full, "after all that was refused")


@check("a pool with leases drains when it is deleted; with force it does not wait")
def deleting():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        before = daemon.holdings()
        declared(client, "doomed", ready=2, max_vms=3)
        held = [lease(client, "doomed", wait_ms=10_000) for _ in range(3)]
        queued = Asking(daemon.address, "POST", "/v1/pools/doomed/leases", {"wait_ms": 60_000})
        becomes(1, "those who wait", lambda: status(client, "doomed")["waiting"])
        by_hand = client.post("/v1/vms", {"image": "spin"}).json["id"]

        answer = client.delete("/v1/pools/doomed")
        equal((answer.status, answer.json["status"]["draining"]), (202, True), "deleting it")
        problems.expect_problem(queued.result(), "pool-draining", "waiting for a pool that is deleted")
        for refused in (client.post("/v1/pools/doomed/leases"), client.post("/v1/pools/doomed/run"),
                        client.put("/v1/pools/doomed", {"image": "spin", "ready": 1})):
            problems.expect_problem(refused, "pool-draining", "new work for a pool that is deleted")
        equal(status(client, "doomed")["leased"], 3, "the leases left")
        equal(client.delete("/v1/pools/doomed").status, 202, "deleting it again")
        own = {"Lease-Fence": str(held[0]["fence"])}
        equal(client("POST", f"/v1/vms/{held[0]['vm']}/kick", headers=own).status, 200, "a kick meanwhile")
        equal(client("PATCH", path(held[0]), {}).status, 200, "a heartbeat meanwhile")
        for one in held:
            equal(client.get("/v1/pools/doomed").status, 200, "the pool while there are leases")
            release(client, one)
        becomes(404, "the pool", lambda: client.get("/v1/pools/doomed").status)

        declared(client, "doomed", ready=2)
        held = lease(client, "doomed")
        equal(client.delete("/v1/pools/doomed").status, 202, "deleting the next one of that name")
        equal(client.delete("/v1/pools/doomed?force=true").status, 204, "not waiting any longer")
        problems.expect_problem(client.get(path(held)), "lease-lost", "a lease of a pool that is gone")
        equal(client.get("/v1/vms/" + held["vm"]).status, 404, "its VM")
        equal(client.get("/v1/pools/doomed").status, 404, "the pool")
        equal(client.delete("/v1/vms/" + by_hand).status, 204, "deleting the VM that is nobody's")
        daemon.expect_unchanged(before, "pools deleted under their leases")


@check("max_vms is never exceeded, whatever is asked for")
def maximum():
    with Daemon("--no-demo-pool", "--refill-concurrency", "4") as daemon:
        client = daemon.client()
        declared(client, "capped", ready=3, max_vms=4)
        ended = threading.Event()

        def clients():
            with daemon.client() as own:
                while not ended.is_set():
                    answer = own.post("/v1/pools/capped/leases", {"wait_ms": 100})
                    if answer.status == 201:
                        own.delete(path(answer.json))

        workers = [threading.Thread(target=clients) for _ in range(6)]
        for worker in workers:
            worker.start()
        most = 0
        for _ in range(300):
            now = status(client, "capped")
            count = sum(now[key] for key in ("ready", "leased", "creating", "retiring", "quarantined"))
            expect(count <= 4, lambda: f"{count} VMs of 4: {now}")
            most = max(most, count)
        ended.set()
        for worker in workers:
            worker.join()
        equal(most, 4, "the most VMs at a time")
        filled(client, "capped")
        held = [lease(client, "capped", wait_ms=10_000) for _ in range(4)]
        problems.expect_problem(client.post("/v1/pools/capped/leases"), "pool-exhausted", "a fifth VM of four")
        equal(client("PATCH", "/v1/pools/capped", {"max_vms": 5}).status, 200, "raising the limit")
        held.append(lease(client, "capped", wait_ms=10_000))


@check("a pool's VMs are replaced by those of a new image without going below min")
def rolling():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        # Full, so that the old ones have to make room.
        declared(client, "rolling", ready={"min": 3, "max": 6}, max_vms=6)
        held = lease(client, "rolling")
        becomes(5, "ready VMs beside a lease", lambda: status(client, "rolling")["ready"])
        for image in ("echo", "spin", "pio"):
            answer = client("PATCH", "/v1/pools/rolling", {"image": image})
            equal(answer.status, 200, "another image")
            seen = [answer.json["status"]]
            while seen[-1]["outdated"] > 0 or seen[-1]["ready"] < 5:
                seen.append(status(client, "rolling"))
                expect(seen[-1]["ready"] >= 3, lambda: f"below min: {seen[-1]}")
                expect(len(seen) < 20_000, lambda: f"it does not come to an end: {seen[-1]}")
            expect(seen[0]["outdated"] > 0, "nothing had to be replaced")
            images = [vm["image"] for vm in client.get("/v1/vms?pool=rolling&state=ready").json["items"]]
            equal(images, [image] * 5, "the images afterwards")
        equal(client.get("/v1/vms/" + held["vm"]).json["state"], "running", "the VM of the lease")


@check("a paused pool is left as it is")
def paused():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declared(client, "still", ready=3)
        equal(client("PATCH", "/v1/pools/still", {"paused": True}).json["status"]["refill"]["state"], "paused", "refill")
        release(client, lease(client, "still"))
        becomes(0, "VMs taken apart", lambda: status(client, "still")["retiring"])
        # The other pool is filled after this one would have been.
        declared(client, "other", ready=3)
        equal(status(client, "still")["ready"], 2, "ready VMs")
        lease(client, "still")
        lease(client, "still")
        problems.expect_problem(client.post("/v1/pools/still/leases"), "pool-exhausted", "a lease of a paused pool")
        equal(client("PATCH", "/v1/pools/still", {"paused": False}).json["status"]["refill"]["state"], "ok", "refill")
        filled(client, "still")


@check("a pool that cannot be filled backs off, says so, and recovers")
def backoff():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declared(client, "poor", ready=1)
        refill = lambda: status(client, "poor")["refill"]
        equal(refill(), {"state": "ok", "failures": 0, "last_error": None, "last_failed_at": None,
                         "next_attempt_at": None}, "the refill of a full pool")
        with limited(daemon, "nofile", len(os.listdir(f"/proc/{daemon.pid}/fd"))):
            client("PATCH", "/v1/pools/poor", {"ready": 3})
            becomes("backing_off", "the state of the refill", lambda: refill()["state"])
            becomes("breaker_open", "the state of the refill", lambda: refill()["state"])
            now = refill()
            expect(now["failures"] >= 5 and now["last_failed_at"] and now["next_attempt_at"], lambda: f"refill: {now}")
            expect("Too many open files" in now["last_error"], lambda: f"why it fails: {now}")
            # What is there is leased all the same, and nobody else is kept waiting.
            lease(client, "poor")
            problems.expect_problem(client.post("/v1/pools/poor/leases"), "pool-exhausted", "another lease")
            attempts = daemon.log.count("a VM could not be made")
            expect(attempts <= now["failures"] + 2, lambda: f"{attempts} attempts in so short a time")
        becomes("ok", "the state of the refill", lambda: refill()["state"], 40)
        filled(client, "poor")
        eventually("the recovery is in the log", lambda: "VMs can be made again" in daemon.log)
        return f"{attempts} attempts"


@check("nor is memory that the host has not got more than a reason to try again")
def memory():
    with Daemon("--no-demo-pool", "--max-memory-mib", "1000000") as daemon:
        client = daemon.client()
        declared(client, "small", ready=2)
        used = int(pathlib.Path(f"/proc/{daemon.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        refill = lambda: status(client, "large")["refill"]
        # The kernel refuses the mapping of the third.
        with limited(daemon, "as", used + (3 << 30)):
            client.put("/v1/pools/large", {"image": "spin", "ready": 4, "memory_mib": 1024})
            becomes("breaker_open", "the state of the refill", lambda: refill()["state"])
            now = status(client, "large")
            equal((now["ready"], now["creating"], now["retiring"]), (2, 0, 0), "VMs ready, being made, taken apart")
            expect("Cannot allocate memory" in refill()["last_error"], lambda: f"why it fails: {refill()}")
            # Those that are there are leased, and the pool for which there is room is filled.
            lease(client, "large")
            for _ in range(3):
                release(client, lease(client, "small"))
                filled(client, "small")
        becomes("ok", "the state of the refill", lambda: refill()["state"], 40)
        filled(client, "large")


@check("a pool that the server's own limit on memory does not let fill names it")
def memory_limit():
    with Daemon("--no-demo-pool", "--max-memory-mib", "7") as daemon:
        client = daemon.client()
        client.put("/v1/pools/large", {"image": "spin", "ready": 3, "memory_mib": 3})
        becomes("limited", "the state of the refill", lambda: status(client, "large")["refill"]["state"])
        now = status(client, "large")
        equal(now["ready"], 2, "ready VMs")
        expect("--max-memory-mib" in now["refill"]["last_error"], lambda: f"which limit it names: {now}")
        lease(client, "large")
        equal(status(client, "large")["ready"], 1, "ready VMs")
        client("PATCH", "/v1/pools/large", {"ready": 1})
        equal(status(client, "large")["refill"]["state"], "ok", "the state of the refill once no more are wanted")


def replaced(client, pool):
    now = status(client, pool)
    return now["refill"]["state"], now["outdated"]


@check("a changed declaration for which max_vms leaves no room says so, and holds for what is made from then on")
def no_room_to_roll():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        declared(client, "tight", ready=2, max_vms=2)
        client("PATCH", "/v1/pools/tight", {"image": "halt"})
        now = status(client, "tight")
        equal((now["ready"], now["outdated"], now["refill"]["state"]), (2, 2, "limited"), "ready, outdated, refill")
        expect("max_vms (2) leaves no room" in now["refill"]["last_error"], lambda: f"what it says: {now}")
        release(client, lease(client, "tight"))
        becomes(("limited", 1), "the refill, and VMs to replace, after one was leased", lambda: replaced(client, "tight"))
        client("PATCH", "/v1/pools/tight", {"max_vms": 3})
        becomes(("ok", 0), "the refill, and VMs to replace, with more room", lambda: replaced(client, "tight"))
        equal(status(client, "tight")["ready"], 2, "ready VMs")
