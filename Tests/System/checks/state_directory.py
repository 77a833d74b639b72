"""State directories that cannot be used, and those that cease to be usable: a clear error, and nothing overwritten."""
import contextlib
import hashlib
import pathlib
import signal
import sqlite3

from testbed import problems, processes
from testbed.checks import Skipped, becomes, check, equal, eventually, expect
from testbed.daemon import Daemon, refusal
from testbed.pools import declare, filled, lease, path


def refused(directory, *words):
    """What a server says that must not start with that directory."""
    code, said = refusal("--listen", "127.0.0.1:0", "--state-dir", directory)
    equal(code, 73, f"the exit status: {said}")
    for word in (str(directory), *words):
        expect(word in said, lambda: f"{word} is not in: {said}")
    expect(len(said.splitlines()) == 1, lambda: f"more than a line: {said}")
    return said


def used(directory):
    """Makes a state directory with some history; a lease that was lost with its server."""
    with Daemon("--no-demo-pool", "--state-dir", directory) as daemon:
        client = daemon.client()
        declare(client, "kept", ready=2)
        return lease(client, "kept")


def contents(directory):
    """The files and what is in them, but for the lock, which says who has it."""
    files = {file.name: file.read_bytes() for file in pathlib.Path(directory).rglob("*") if file.is_file()}
    # Nor for what SQLite makes to look at a database: an index, and a log with nothing in it.
    return {
        name: hashlib.sha256(data).hexdigest()
        for name, data in files.items()
        if not name.endswith((".lock", "-shm")) and not (name.endswith("-wal") and not data)
    }


@contextlib.contextmanager
def file_system(size):
    """A small file system of its own."""
    directory = processes.scratch_directory("mount")
    mounted = processes.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "vmpool-test", directory])
    if mounted.returncode != 0:
        raise Skipped(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        processes.run(["umount", directory])


def fill(directory):
    """Takes every byte there is; the file that has them."""
    hog = directory / "hog"
    with hog.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
    return hog


@check("a damaged database is refused, and left as it is")
def damaged():
    directory = processes.scratch_directory("damaged") / "state"
    used(directory)
    database = directory / "vmpool.db"
    whole = database.read_bytes()
    middle = len(whole) // 2
    damages = {
        "empty": b"",
        "text": b"This is not a database.\n" * 100,
        "another header": b"SQLite format 4\0" + whole[16:],
        "random bytes": hashlib.sha256(b"").digest() * (len(whole) // 32),
        "a page of zeros at the beginning": bytes(1024) + whole[1024:],
        "a byte short": whole[:-1],
        "cut in half": whole[:middle - middle % 1024],
        "pages of ones": whole[:1024] + b"\1" * (len(whole) - 1024),
    }
    for what, data in damages.items():
        database.write_bytes(data)
        before = contents(directory)
        said = refused(directory, "damaged")
        expect("backup" in said or "move it away" in said, lambda: f"{what}: it does not say what to do: {said}")
        equal(contents(directory), before, f"the files after {what}")
    database.write_bytes(whole)
    with Daemon("--no-demo-pool", "--state-dir", directory) as daemon:
        filled(daemon.client(), "kept")
    return f"{len(damages)} kinds of damage"


@check("a database of a later release, or of another program, is refused, and left as it is")
def foreign():
    directory = processes.scratch_directory("foreign") / "state"
    used(directory)
    for pragma, words in (("user_version = 99", ("version 99", "not touched")), ("application_id = 7", ("vmpool",))):
        copy = processes.scratch_directory("foreign")
        (copy / "vmpool.db").write_bytes((directory / "vmpool.db").read_bytes())
        with contextlib.closing(sqlite3.connect(copy / "vmpool.db")) as database:
            database.execute(f"PRAGMA {pragma}")
            database.commit()
        for left in copy.glob("vmpool.db-*"):
            left.unlink()
        before = contents(copy)
        refused(copy, *words)
        equal(contents(copy), before, f"the files with {pragma}")


@check("what is no directory, and one that cannot be written, is refused")
def unwritable():
    scratch = processes.scratch_directory("unwritable")
    (scratch / "file").write_text("mine")
    refused(scratch / "file")
    equal((scratch / "file").read_text(), "mine", "the file")
    refused(scratch / "no" / "where")
    with file_system("4m") as directory:
        held = used(directory / "state")
        equal(processes.run(["mount", "-o", "remount,ro", directory]).returncode, 0, "remounting")
        before = contents(directory / "state")
        refused(directory / "state", "Read-only file system")
        refused(directory / "new", "Read-only file system")
        equal(contents(directory / "state"), before, "the files")
        processes.run(["mount", "-o", "remount,rw", directory])
        with Daemon("--no-demo-pool", "--state-dir", directory / "state") as daemon:
            problems.expect_problem(daemon.client().get(path(held)), "lease-lost", "a lease of before")


@check("on a full file system it starts, and records that once there is room; a new state is refused")
def full():
    with file_system("1m") as directory:
        options = ("--no-demo-pool", "--state-dir", directory / "state")
        held = used(directory / "state")
        hog = fill(directory)
        said = refused(directory / "new")
        expect("room" in said or "No space" in said, lambda: f"it says: {said}")
        # The second one finds what the first one could not write.
        for _ in range(2):
            fill(directory)
            with Daemon(*options) as daemon:
                client = daemon.client()
                filled(client, "kept")
                problems.expect_problem(client.get(path(held)), "lease-lost", "a lease of before")
                problems.expect_problem(client.get("/readyz"), "storage-failed", "readiness")
                problems.expect_problem(client.post("/v1/pools/kept/leases", {}), "storage-failed", "a lease")
                expect("\nvmpool_start_lost_leases 1\n" in client.get("/metrics").text, "the lost lease is not counted")
                equal(daemon.log.count("the state cannot be written"), 1, "lines about it in the log")
        with Daemon(*options) as daemon:
            client = daemon.client()
            hog.unlink()
            becomes(200, "readiness, without a request that writes", lambda: client.get("/readyz").status)
            filled(client, "kept")
            expect(lease(client, "kept")["fence"] > held["fence"], "a fence comes again")
        with Daemon(*options) as daemon:
            client = daemon.client()
            problems.expect_problem(client.get(path(held)), "lease-lost", "a lease of before")
            expect("\nvmpool_start_lost_leases 1\n" in client.get("/metrics").text, "a lease is lost twice")
        with Daemon("--no-demo-pool", "--state-dir", directory / "new") as daemon:
            equal(daemon.client().get("/v1/pools").json["items"], [], "the pools of a new directory")
        return said


@check("a server that ends on a full file system can be started again, though others take what became free")
def full_at_the_end():
    for number in (signal.SIGTERM, signal.SIGKILL):
        with file_system("3m") as directory:
            words = ("--no-demo-pool", "--state-dir", directory / "state")
            with Daemon(*words) as daemon:
                declare(daemon.client(), "kept", ready=1)
                fill(directory)
                daemon.stop(number)
            fill(directory)
            with Daemon(*words) as daemon:
                filled(daemon.client(), "kept")


@check("a file system that fills up refuses changes, hands nothing out, and the server goes on")
def filling():
    with file_system("2m") as directory, Daemon("--no-demo-pool", "--state-dir", directory / "state") as daemon:
        client = daemon.client()
        declare(client, "full", ready=3)
        declare(client, "brief", image="hello", ready=2)
        kept, ended = lease(client, "full"), lease(client, "full")
        brief = lease(client, "full", wait_ms=10_000, ttl_ms=600_000)
        timed = lease(client, "full", wait_ms=10_000, ttl_ms=8_000)
        filled(client, "full")
        # A run starts its guest before it is on record. So it does only where there is room for the record, which may end
        # with any of its bytes.
        for _ in range(8):
            becomes(200, "readiness", lambda: client.get("/readyz").status)
            hog = fill(directory)
            filled(client, "brief")
            vms = ready(client, "brief")
            if client.post("/v1/pools/brief/run", {"wait_ms": 10_000}).status == 503:
                equal(ready(client, "brief"), vms, "the VMs that are ready after a run that could not be recorded")
            hog.unlink()
        hog = fill(directory)

        def fails(method, address, body=None, headers=None):
            answer = client(method, address, body, headers)
            problems.expect_problem(answer, "storage-failed", f"{method} {address} on a full disk")
            expect(int(answer.headers["Retry-After"]) >= 1, "no Retry-After")

        # What is left is room in the log.
        while client.post("/v1/pools/brief/run", {"wait_ms": 10_000}).status == 200:
            pass
        eventually("the disk is full", lambda: client.post("/v1/pools/full/leases", {"ttl_ms": 600_000}).status == 503)
        # What extends a lease takes fewer pages than what makes one.
        while client("PATCH", "/v1/leases/" + kept["lease"], {"ttl_ms": 600_000}).status == 200:
            pass
        mine = {one["lease"] for one in client.get("/v1/leases").json["items"]}
        # What could not be recorded did not happen.
        filled(client, "full")
        vms, granted = ready(client), count(client, "granted")
        for _ in range(10):
            fails("POST", "/v1/pools/full/leases", {})
        equal(ready(client), vms, "the VMs that are ready")
        equal(count(client, "granted"), granted, "leases counted as granted")
        equal(count(client, "lost"), 0, "leases counted as lost")
        problems.expect_problem(client.get("/readyz"), "storage-failed", "readiness")
        equal(daemon.log.count("the state cannot be written"), 1, "lines about it in the log")
        for _ in range(20):
            fails("POST", "/v1/pools/full/leases", {})
            # The one guest runs when it cannot be recorded, the other is likely to have ended.
            fails("POST", "/v1/pools/full/run", {"wait_ms": 10_000})
            fails("POST", "/v1/pools/brief/run", {"wait_ms": 10_000})
            filled(client, "full")
        equal({one["lease"] for one in client.get("/v1/leases").json["items"]}, mine, "the leases there are")
        fails("POST", "/v1/pools/full/leases", {}, {"Idempotency-Key": "full"})
        fails("PUT", "/v1/pools/more", {"image": "spin", "ready": 1})
        fails("PATCH", "/v1/pools/full", {"ready": 1})
        fails("DELETE", "/v1/pools/full")
        equal([pool["name"] for pool in client.get("/v1/pools").json["items"]], ["brief", "full"], "the pools")
        equal(client.get("/v1/pools/full").json["ready"]["max"], 3, "its declaration")
        # Nobody keeps what was given back, whether or not that can be written down.
        equal(client.delete(path(ended)).status, 204, "releasing on a full disk")
        equal(client.get("/v1/vms/" + ended["vm"]).status, 404, "its VM")
        problems.expect_problem(client.get(path(ended)), "lease-released", "the released lease on a full disk")
        fails("PATCH", path(brief), {"ttl_ms": 1, "shorten": True})
        equal(client.get(path(brief)).json, brief, "the lease that was not shortened")
        becomes(410, "a lease that expires on a full disk", lambda: client.get(path(timed)).status)
        equal(client.get(path(kept)).status, 200, "the lease that is held")
        for address in ("/livez", "/v1/vms", "/metrics", "/v1/pools"):
            equal(client.get(address).status, 200, address)

        hog.unlink()
        becomes(200, "readiness, without a request that writes", lambda: client.get("/readyz").status)
        becomes(201, "a lease once there is room", lambda: client.post("/v1/pools/full/leases", {}).status)
        equal(client("PATCH", "/v1/pools/full", {"ready": 1}).status, 200, "a change once there is room")
        equal(client.post("/v1/pools/brief/run", {"wait_ms": 10_000}).json["outcome"], "exited", "a run once there is room")
        for pool in ("full", "brief"):
            equal(client.delete(f"/v1/pools/{pool}?force=true").status, 204, f"deleting the pool {pool}")
        equal(client.get("/v1/vms").json["items"], [], "the VMs left")
        expect(not [name for name in daemon.descriptors() if "kvm-v" in name], "descriptors of VMs are left")


def ready(client, pool="full"):
    """The VMs of the pool that are to be had."""
    return {vm["id"] for vm in client.get(f"/v1/vms?pool={pool}&state=ready").json["items"]}


def count(client, result):
    name = f'vmpool_leases_total{{pool="full",result="{result}"}} '
    return next(float(line.split()[-1]) for line in client.get("/metrics").text.splitlines() if line.startswith(name))


@check("a client that leases and releases without a pause does not let the log grow")
def steady():
    directory = processes.scratch_directory("steady") / "state"
    with Daemon("--no-demo-pool", "--state-dir", directory) as daemon:
        client = daemon.client()
        declare(client, "p", image="halt", ready=2)
        log = directory / "vmpool.db-wal"
        # Big labels make a page of each: the log is as long as after ten times as many leases.
        body = {"ttl_ms": 60_000, "start": False, "wait_ms": 10_000,
                "labels": {f"label-{number}": "x" * 256 for number in range(16)}}
        largest, rounds = 0, 0
        while rounds < 3000:
            made = client.post("/v1/pools/p/leases", body)
            equal(made.status, 201, "a lease")
            equal(client.delete("/v1/leases/" + made.json["lease"]).status, 204, "its release")
            largest, rounds = max(largest, log.stat().st_size), rounds + 1
        limit = 16_384 * (1024 + 24)
        expect(limit < largest < 2 * limit, lambda: f"the log came to {largest} bytes; {limit} begin it anew")
        return f"{largest / 1e6:.1f} MB after {rounds} leases"
