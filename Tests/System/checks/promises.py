"""What is promised of leases, held against the server by 64 clients at a time, on real VMs."""
import os
import random
import threading
import time

from testbed import problems
from testbed.checks import check, equal, eventually, expect
from testbed.client import Client
from testbed.daemon import Daemon
from testbed.exposition import Exposition
from testbed.pools import declare, path, status

SEED = int(os.environ.get("VMPOOL_SEED", str(int(time.time()))))
CLIENTS = 64
# Things that each of them does; `make soak` asks for more.
TURNS = int(os.environ.get("VMPOOL_TURNS", "20"))
# Ready VMs and the most there may be, by pool: far fewer than clients.
POOLS = {"one": (1, 1), "few": (2, 5), "some": (6, 12)}


class Register:
    """Who holds what, as the clients know it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.holders, self.seen, self.fence = {}, set(), 0
        self.granted = self.refused = 0

    def floor(self):
        """A fence that every later hand-over exceeds."""
        with self.lock:
            return self.fence

    def take(self, document, floor, who):
        with self.lock:
            vm, fence = document["vm"], document["fence"]
            expect(vm not in self.holders, lambda: f"{vm} was given to {who}, and {self.holders[vm]} has it")
            expect(vm not in self.seen, lambda: f"{vm} was given to {who}, and was somebody's before")
            expect(fence > floor, lambda: f"fence {fence} came after {floor}")
            self.holders[vm] = who
            self.seen.add(vm)
            self.fence = max(self.fence, fence)
            self.granted += 1

    def give(self, document):
        with self.lock:
            del self.holders[document["vm"]]


class Tenant(threading.Thread):
    def __init__(self, number, daemon, register, seed):
        super().__init__(daemon=True)
        self.number, self.address, self.register = number, daemon.address, register
        self.dice = random.Random(seed)
        self.error = None
        # The last lease that ended.
        self.old = None

    def run(self):
        try:
            with Client(self.address, 60) as self.client:
                for _ in range(TURNS):
                    self.turn()
        except Exception as error:
            self.error = error

    def turn(self):
        pool = self.dice.choice(list(POOLS))
        if self.dice.random() < 0.15:
            return self.run_guest(pool)
        is_brief = self.dice.random() < 0.1
        # Most do not start their VM: guests that spin would leave the clients no processor.
        starts = self.dice.random() < 0.25
        request = {"start": starts, "ttl_ms": self.dice.randint(1, 30) if is_brief else 600_000,
                   "wait_ms": self.dice.choice((0, 20, 5000)), "labels": {"who": str(self.number)}}
        floor = self.register.floor()
        answer = self.client.post(f"/v1/pools/{pool}/leases", request)
        if answer.status == 429:
            problems.expect_problem(answer, "pool-exhausted", "leasing")
            return
        equal(answer.status, 201, f"leasing: {answer}")
        document = answer.json
        self.register.take(document, floor, self.number)
        if is_brief:
            self.let_expire(document)
        else:
            self.use(document, starts)
        self.old = document

    def act(self, document, verb, body=None):
        fence = {"Lease-Fence": str(document["fence"])}
        return self.client("POST", f"/v1/vms/{document['vm']}/{verb}", body, fence)

    def use(self, document, starts):
        for _ in range(self.dice.randint(0, 3) if starts else 0):
            # However long it takes, with so many for so few processors.
            equal(self.act(document, "kick", {"timeout_ms": 60_000}).status, 200, "a kick under one's own fence")
        if self.old is not None:
            # Whoever still believes to have a VM does no harm.
            problems.expect_problem(self.act(self.old, "stop"), "stale-fence", "stopping what one had before")
        choice = self.dice.random()
        if choice < 0.2:
            equal(self.client("PATCH", path(document), {}).status, 200, "a heartbeat")
        vm = self.client.get("/v1/vms/" + document["vm"]).json
        equal((vm["state"], vm["lease"]), ("running" if starts else "ready", document["lease"]), "the VM that is held")
        self.register.give(document)
        if choice > 0.9:
            equal(self.client.delete("/v1/vms/" + document["vm"]).status, 204, "deleting the VM")
            problems.expect_problem(self.client.get(path(document)), "lease-lost", "its lease")
        else:
            equal(self.client.delete(path(document)).status, 204, "releasing")
            problems.expect_problem(self.client.get(path(document)), "lease-released", "a released lease")

    def let_expire(self, document):
        eventually("it expires", lambda: self.client.get(path(document)).status == 410)
        self.register.give(document)
        problems.expect_problem(self.client.delete(path(document)), "lease-expired", "an expired lease")

    def run_guest(self, pool):
        answer = self.client.post(f"/v1/pools/{pool}/run", {"deadline_ms": self.dice.randint(1, 20), "wait_ms": 5000})
        if answer.status == 429:
            problems.expect_problem(answer, "pool-exhausted", "running")
            return
        equal((answer.status, answer.json["outcome"]), (200, "deadline"), f"running: {answer}")
        with self.register.lock:
            expect(answer.json["vm"] not in self.register.seen, "a run had a VM that was somebody's before")
            self.register.seen.add(answer.json["vm"])
            self.register.granted += 1


@check("64 clients: one holder at a time, fences only grow, never beyond max_vms, and nothing is lost")
def promises():
    dice = random.Random(SEED)
    with Daemon("--no-demo-pool", "--refill-concurrency", "2") as daemon:
        client = daemon.client()
        for pool, (ready, most) in POOLS.items():
            declare(client, pool, ready=ready, max_vms=most)
        before = daemon.holdings()
        register = Register()
        tenants = [Tenant(number, daemon, register, dice.random()) for number in range(CLIENTS)]
        for tenant in tenants:
            tenant.start()
        looks = 0
        while any(tenant.is_alive() for tenant in tenants):
            for pool, (_, most) in POOLS.items():
                now = status(client, pool)
                count = sum(now[key] for key in ("ready", "leased", "creating", "retiring", "quarantined"))
                expect(count <= most, lambda: f"seed {SEED}: {count} VMs in {pool}, of {most}: {now}")
                looks += 1
        errors = [f"client {tenant.number}: {tenant.error!r}" for tenant in tenants if tenant.error is not None]
        expect(not errors, lambda: f"seed {SEED}: " + "; ".join(errors[:5]))
        equal(client.get("/v1/leases").json["items"], [], "leases in the end")
        metrics = Exposition.of(client)
        count = lambda result: int(metrics.total("vmpool_leases_total", result=result))
        equal(count("granted"), register.granted, "leases granted, as counted on both sides")
        ends = {end: count(end) for end in ("released", "expired", "lost", "abandoned")}
        equal(sum(ends.values()), register.granted, f"leases ended: {ends}")
        daemon.expect_unchanged({**before, "vms": daemon.holdings()["vms"]}, f"64 clients, seed {SEED}")
        return f"seed {SEED}: {register.granted} hand-overs, {looks} looks"
