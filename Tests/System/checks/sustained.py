"""A load that goes on and on leaves the server, and what it keeps on the disk, as they were."""
import math
import os
import pathlib
import re
import threading
import time

from testbed import processes
from testbed.checks import becomes, check, equal, eventually, expect
from testbed.client import Client
from testbed.daemon import Daemon, is_filled
from testbed.pools import declare

# How long the load lasts; `make soak` asks for an hour.
SECONDS = float(os.environ.get("VMPOOL_SUSTAINED_SECONDS", "10"))
# Leases that are granted and released a second.
RATE = 200
CLIENTS = 8
# The load rests between its phases. The first of them, a quarter, fill what has a bound: at this rate the tables of the
# state are full after eleven minutes.
PHASES, WARM_UP = 12, 3

# What a phase may end with more than the warm-up did. The log goes up to twice its limit and back, with its index; rows
# beyond a table's number are forgotten once a minute; the allocator keeps some of what was given back.
LOG = 2 * 16_384 * (1024 + 24) + (1 << 20)
DATABASE = 8 << 20
MEMORY = 8 << 20


class Load:
    """Clients that lease and release at a pace that does not wait for the server: each lease has its time, and one that
    is late is made at once."""

    def __init__(self, daemon):
        self.daemon, self.errors = daemon, []

    def drive(self, seconds):
        """Returns the leases a second that were granted and released."""
        began = time.monotonic()
        number = math.ceil(seconds * RATE)
        threads = [
            threading.Thread(target=self._work, args=(began, range(one, number, CLIENTS)), daemon=True)
            for one in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0]
        return number / (time.monotonic() - began)

    def _work(self, began, numbers):
        try:
            with Client(self.daemon.address) as client:
                for number in numbers:
                    if self.errors:
                        return
                    time.sleep(max(0, began + number / RATE - time.monotonic()))
                    made = client.post("/v1/pools/p/leases", {
                        "ttl_ms": 60_000, "wait_ms": 10_000, "labels": {"job": f"job-{number}"}})
                    equal(made.status, 201, f"a lease: {made}")
                    gone = client.delete("/v1/leases/" + made.json["lease"])
                    equal(gone.status, 204, f"its release: {gone}")
        except Exception as error:
            self.errors.append(error)


class Sample:
    """What the server holds at rest."""

    def __init__(self, daemon, directory):
        with Client(daemon.address) as client:
            eventually("nothing is made or taken apart", lambda: is_filled(client.get("/v1/pools/p").json), 300)
        # A connection that was closed is the server's, too, until it notices.
        becomes(0, "open connections", daemon.connections)
        sizes = {file.name: file.stat().st_size for file in directory.rglob("*") if file.is_file()}
        self.log = sum(size for name, size in sizes.items() if name.endswith(("-wal", "-shm")))
        self.database = sum(sizes.values()) - self.log
        # Threads of VMs are called by their VM's id.
        self.threads = threads = {}
        for name, count in daemon.threads().items():
            name = re.sub(r"[0-9a-f]{4,}", "N", name)
            threads[name] = threads.get(name, 0) + count
        self.descriptors = daemon.descriptors()
        self.resident = daemon.resident_bytes()
        rollup = pathlib.Path(f"/proc/{daemon.pid}/smaps_rollup").read_text()
        self.proportional = int(re.search(r"Pss:\s+(\d+) kB", rollup)[1]) << 10

    HEAD = "phase  leases/s  database KiB  log KiB  descriptors  threads  RSS KiB  PSS KiB"

    def row(self, phase, rate):
        descriptors, threads = sum(self.descriptors.values()), sum(self.threads.values())
        return (f"{phase:5}  {rate:8.1f}  {self.database >> 10:12}  {self.log >> 10:7}  {descriptors:11}  {threads:7}"
                f"  {self.resident >> 10:7}  {self.proportional >> 10:7}")

    def expect_no_more_than(self, before):
        def bounded(what, slack):
            grown = getattr(self, what) - getattr(before, what)
            expect(grown < slack, lambda: f"{what}: {grown >> 10} KiB more than after the warm-up")

        bounded("database", DATABASE)
        bounded("resident", MEMORY)
        bounded("proportional", MEMORY)
        expect(self.log < LOG, lambda: f"the log has {self.log >> 10} KiB")
        equal(self.descriptors, before.descriptors, "descriptors")
        equal(self.threads, before.threads, "threads")


@check(f"{RATE} leases a second leave the state directory, descriptors, threads and memory where they were")
def steady_leases():
    directory = processes.scratch_directory("sustained") / "state"
    with Daemon("--no-demo-pool", "--state-dir", directory) as daemon:
        # Its guest halts at once: it takes no processor from what is measured.
        with Client(daemon.address) as client:
            declare(client, "p", image="halt", ready=16)
        load = Load(daemon)
        print("        " + Sample.HEAD, flush=True)
        for phase in range(1, PHASES + 1):
            rate = load.drive(SECONDS / PHASES)
            sample = Sample(daemon, directory)
            print("        " + sample.row(phase, rate), flush=True)
            if phase == WARM_UP:
                before = sample
        sample.expect_no_more_than(before)
        return f"{math.ceil(SECONDS / PHASES * RATE) * PHASES} leases"
