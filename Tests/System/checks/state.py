"""What the server remembers when it is killed, and started again."""
import datetime
import os
import random
import threading
import time

from testbed import problems, processes
from testbed.checks import check, equal, eventually, expect
from testbed.client import Client
from testbed.daemon import Daemon, is_filled, refusal
from testbed.pools import declare, lease, path, release, status
from testbed.preload import preloadable

SEED = int(os.environ.get("VMPOOL_SEED", str(int(time.time()))))
# How often it is killed; `make soak` asks for more.
KILLS = int(os.environ.get("VMPOOL_KILLS", "25"))
WORKERS = 4


class Worker:
    """A client with pools and leases of its own, who knows what the server has promised it."""

    def __init__(self, number, seed):
        self.dice = random.Random(seed)
        self.names = [f"w{number}-{letter}" for letter in "abc"]
        self.serial = 0
        # What each pool was declared to be; None where it was deleted.
        self.pools = {name: None for name in self.names}
        # Leases that it holds, by id, and what an ended one has to say.
        self.held, self.ended = {}, {}
        # Answers by idempotency key.
        self.answers = {}
        self.fence = 0
        # What was asked and not answered when the server was killed.
        self.flight = None

    def work(self, address, count):
        """Does one thing after the other until the server is gone; `count` is called after each."""
        with Client(address) as self.client:
            try:
                while True:
                    self.act()
                    self.flight = None
                    count()
            except (OSError, EOFError):
                pass
            except Exception as error:
                # A connection that breaks within an answer.
                if "closed connection" not in str(error) and "IncompleteRead" not in repr(error):
                    self.failure = error

    failure = None

    def act(self):
        living = [name for name in self.names if self.pools[name] is not None]
        choice = self.dice.random()
        if not living or choice < 0.15:
            self.declare(self.dice.choice(self.names))
        elif choice < 0.20:
            self.delete(self.dice.choice(living))
        elif choice < 0.65 or not self.held:
            self.lease(self.dice.choice(living))
        elif choice < 0.90:
            self.release(self.dice.choice(list(self.held)))
        else:
            self.extend(self.dice.choice(list(self.held)))

    def expected(self, answer, *statuses):
        expect(answer.status in statuses, lambda: f"{self.flight}: {answer}")
        return answer

    def declare(self, name):
        document = {"image": "spin", "ready": self.dice.randint(1, 3), "memory_mib": self.dice.randint(1, 4)}
        self.flight = ("declare", name, document)
        self.expected(self.client.put(f"/v1/pools/{name}", document), 200, 201)
        self.pools[name] = document

    def delete(self, name):
        self.flight = ("delete", name, None)
        self.expected(self.client.delete(f"/v1/pools/{name}?force=true"), 204)
        self.pools[name] = None
        for one in [one for one, document in self.held.items() if document["pool"] == name]:
            del self.held[one]
            self.ended[one] = {"lease-lost"}

    def lease(self, name):
        self.serial += 1
        key, body = f"{name}-{self.serial}", {"wait_ms": 100, "labels": {"n": str(self.serial)}}
        self.flight = ("lease", name, (key, body))
        answer = self.client("POST", f"/v1/pools/{name}/leases", body, {"Idempotency-Key": key})
        self.expected(answer, 201, 429)
        if answer.status == 201:
            self.answers[key] = (f"/v1/pools/{name}/leases", body, answer.json)
            self.granted(answer.json)

    def granted(self, document):
        expect(document["fence"] > self.fence, lambda: f"fence {document['fence']} after {self.fence}")
        self.fence = document["fence"]
        self.held[document["lease"]] = document

    def release(self, one):
        self.flight = ("release", one, None)
        self.expected(self.client.delete(f"/v1/leases/{one}"), 204)
        del self.held[one]
        self.ended[one] = {"lease-released"}

    def extend(self, one):
        self.flight = ("extend", one, None)
        self.expected(self.client("PATCH", f"/v1/leases/{one}", {"ttl_ms": 600_000}), 200)

    # After the server has come back.

    def expect_kept(self, client):
        """Holds the server to all that it has answered."""
        if self.failure is not None:
            raise self.failure
        what, subject, more = self.flight or (None, None, None)
        for name, document in self.pools.items():
            allowed = [document] + ([more] if what in ("declare", "delete") and subject == name else [])
            self.pools[name] = self.expect_pool(client, name, allowed)
        for one, document in self.held.items():
            self.ended[one] = {"lease-lost"} | ({"lease-released"} if what == "release" and subject == one else set())
            expect(client.get("/v1/vms/" + document["vm"]).status == 404, f"the VM of {one} is still somebody's")
        self.held = {}
        # All of the last round, and some of those before.
        recent = list(self.ended)[-40:]
        for one in recent + self.dice.sample(list(self.ended), min(10, len(self.ended))):
            found = problems.expect_problem(client.get(f"/v1/leases/{one}"), tuple(self.ended[one]), f"lease {one}")
            # What it was said to be once it stays.
            self.ended[one] = {found["type"].removeprefix("/problems/")}
        for key in list(self.answers)[-10:]:
            address, body, document = self.answers[key]
            other = client("POST", address, {**body, "ttl_ms": 1}, {"Idempotency-Key": key})
            problems.expect_problem(other, "idempotency-key-reused", f"another body under {key}")
            # Its lease has ended, so it stands for another from now on, or for none where there is none to be had.
            del self.answers[key]
            self.expect_anew(client, client("POST", address, body, {"Idempotency-Key": key}), document)
        if what == "lease" and self.pools[subject] is not None:
            self.expect_interrupted(client, subject, *more)
        self.flight = None

    def expect_pool(self, client, name, allowed):
        answer = client.get(f"/v1/pools/{name}")
        found = None
        if answer.status == 200:
            pool = answer.json
            found = {"image": pool["image"], "ready": pool["ready"]["max"], "memory_mib": pool["memory_mib"]}
        expect(found in allowed, lambda: f"the pool {name}: {answer}, not one of {allowed}")
        return found

    def expect_interrupted(self, client, name, key, body):
        """A lease whose answer nobody has seen: it is told, or said to be interrupted, or nothing had come of it."""
        answer = client("POST", f"/v1/pools/{name}/leases", {**body, "wait_ms": 100}, {"Idempotency-Key": key})
        if answer.status == 409:
            document = problems.expect_problem(answer, "idempotency-key-in-use", "an interrupted request")
            expect("ended while" in document["detail"], lambda: f"an interrupted request: {document}")
        else:
            self.expect_anew(client, answer)

    def expect_anew(self, client, answer, former=None):
        """A lease that holds, and none that has ended; or that there is none."""
        if answer.status == 201:
            equal(answer.headers["Idempotent-Replayed"], None, "Idempotent-Replayed")
            expect(former is None or answer.json["fence"] > former["fence"], lambda: f"{answer} after {former}")
            equal(client.get(path(answer.json)).status, 200, "the lease that was granted anew")
            release(client, answer.json)
        else:
            expect(answer.status in (404, 429), lambda: f"a request that is done anew: {answer}")


def kill_at_work(daemon, workers, dice):
    """Kills the server while all work, after any number of answers."""
    enough, lock = threading.Event(), threading.Lock()
    left = [dice.randint(1, 150)]

    def count():
        with lock:
            left[0] -= 1
            if left[0] == 0:
                enough.set()

    threads = [threading.Thread(target=worker.work, args=(daemon.address, count)) for worker in workers]
    for thread in threads:
        thread.start()
    eventually("they have done enough", enough.is_set, 60)
    daemon.process.kill()
    daemon.wait()
    for thread in threads:
        thread.join()


@check("killed at any moment, it comes back with all that it has promised")
def kills():
    dice = random.Random(SEED)
    directory = processes.scratch_directory("state")
    workers = [Worker(number, dice.random()) for number in range(WORKERS)]
    options = ("--no-demo-pool", "--state-dir", directory)
    fence, flights = 0, {}
    for number in range(KILLS):
        with Daemon(*options) as daemon:
            kill_at_work(daemon, workers, dice)
        for worker in workers:
            kind = worker.flight[0] if worker.flight else "nothing"
            flights[kind] = flights.get(kind, 0) + 1
        with Daemon(*options) as daemon:
            client = daemon.client()
            try:
                equal(client.get("/v1/leases").json["items"], [], "leases after the restart")
                for worker in workers:
                    worker.expect_kept(client)
                pools = lambda: client.get("/v1/pools").json["items"]
                eventually("the pools are filled", lambda: all(map(is_filled, pools())))
                fence = max(fence, *(worker.fence for worker in workers))
                declare(client, "prober", ready=1)
                document = lease(client, "prober")
                expect(document["fence"] > fence, lambda: f"fence {document['fence']} after {fence}")
                release(client, document)
                equal(client.delete("/v1/pools/prober?force=true").status, 204, "deleting the prober")
                fence = document["fence"]
                for worker in workers:
                    worker.fence = fence
            except Exception as error:
                raise AssertionError(f"seed {SEED}, kill {number + 1}: {error}") from error
    ended = sum(len(worker.ended) for worker in workers)
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(flights.items()))
    return f"seed {SEED}: {KILLS} kills, {ended} leases, under way: {told}"


@check("restarted after a drain, it has its pools; leases were lost, and the deleted demo pool stays deleted")
def restart():
    directory = processes.scratch_directory("state") / "made"
    with Daemon("--state-dir", directory) as daemon:
        client = daemon.client()
        equal(directory.stat().st_mode & 0o777, 0o700, "the mode of a state directory that the server makes")
        equal([pool["name"] for pool in client.get("/v1/pools").json["items"]], ["demo"], "the pools of a first start")
        declare(client, "kept", image="echo", ready=2, max_vms=7, deadline_ms=60_000)
        kept = client.get("/v1/pools/kept")
        held, gone = lease(client, "kept"), lease(client, "kept")
        release(client, gone)
    with Daemon("--state-dir", directory) as daemon:
        client = daemon.client()
        equal([pool["name"] for pool in client.get("/v1/pools").json["items"]], ["demo", "kept"], "the pools")
        again = client.get("/v1/pools/kept")
        equal({**again.json, "status": None}, {**kept.json, "status": None}, "the declaration")
        equal(again.headers["ETag"], kept.headers["ETag"], "its tag")
        eventually("it is filled", lambda: is_filled(client.get("/v1/pools/kept").json))
        for method in ("GET", "PATCH", "DELETE"):
            problems.expect_problem(client(method, path(held)), "lease-lost", f"{method} of a lost lease")
        problems.expect_problem(client.get(path(gone)), "lease-released", "a released lease")
        equal(client.delete(path(gone)).status, 204, "releasing it again")
        equal(client.delete("/v1/pools/demo").status, 204, "deleting the demo pool")
    with Daemon("--state-dir", directory) as daemon:
        equal([pool["name"] for pool in daemon.client().get("/v1/pools").json["items"]], ["kept"], "the pools left")


@check("a second server on the same state directory refuses, and the first goes on")
def second():
    directory = processes.scratch_directory("state")
    with Daemon("--state-dir", directory) as daemon:
        code, said = refusal("--listen", "127.0.0.1:0", "--state-dir", directory)
        equal(code, 73, f"the exit status: {said}")
        expect(f"process {daemon.pid}" in said and str(directory) in said, f"it says: {said}")
        client = daemon.client()
        release(client, lease(client, "demo", wait_ms=10_000))
    with Daemon("--state-dir", directory) as daemon:
        equal(status(daemon.client(), "demo")["leased"], 0, "leases, once the first has gone")


def timestamp(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class WallClock:
    """The wall clock of a server, to be put forward and back."""

    def __init__(self):
        directory = processes.scratch_directory("clock")
        self.file = directory / "ahead"
        self.file.write_bytes(bytes(8))
        self.environment = {**os.environ, "LD_PRELOAD": str(preloadable("wall_clock")), "WALL_CLOCK": str(self.file)}

    def set(self, seconds):
        with self.file.open("r+b") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))


@check("the wall clock may jump: leases last as long as they were granted for")
def clock():
    wall = WallClock()
    directory = processes.scratch_directory("state")
    with Daemon("--no-demo-pool", "--state-dir", directory, env=wall.environment) as daemon:
        client = daemon.client()
        declare(client, "timed", ready=3)
        held = lease(client, "timed", ttl_ms=3_600_000)
        for days in (3, -3, 0):
            wall.set(days * 86_400)
            other = lease(client, "timed", wait_ms=10_000, ttl_ms=3_600_000)
            ahead = (timestamp(other["granted_at"]) - time.time()) / 86_400
            equal(round(ahead), days, "how many days ahead the server believes to be")
            equal(client.get(path(held)).json["lease"], held["lease"], f"a lease of an hour after {days} days")
            equal(client("PATCH", path(held), {"ttl_ms": 3_600_000}).status, 200, "a heartbeat")
            brief = lease(client, "timed", wait_ms=10_000, ttl_ms=50)
            eventually("a lease of 50 ms expires", lambda: client.get(path(brief)).status == 410)
            equal(client.get("/v1/vms/" + held["vm"]).json["state"], "running", "the VM that is held")
            release(client, other)
    # Started in the past, it has everything all the same.
    wall.set(-30 * 86_400)
    with Daemon("--no-demo-pool", "--state-dir", directory, env=wall.environment) as daemon:
        client = daemon.client()
        problems.expect_problem(client.get(path(held)), "lease-lost", "a lease after a restart in the past")
        eventually("the pool is filled", lambda: is_filled(client.get("/v1/pools/timed").json))
        expect(lease(client, "timed")["fence"] > brief["fence"], "fences do not go on")
    return "three days to and fro, and a start a month ago"
