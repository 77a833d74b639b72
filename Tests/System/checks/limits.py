"""The limits of the host, of the control groups and of the process."""
import contextlib
import os
import pathlib

from checks.lifecycle import create
from testbed import problems, processes
from testbed.checks import Skipped, check, equal, eventually, expect
from testbed.daemon import Daemon


def hierarchies():
    """Where the control groups are: each hierarchy's directory by its controllers, version 2 under its own name."""
    found = {}
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        kind, _, options = right.split(" ", 2)
        point = pathlib.Path(left.split()[4])
        if kind == "cgroup2":
            found["version 2"] = point
        elif kind == "cgroup":
            found.update(dict.fromkeys(options.split(","), point))
    return found


@contextlib.contextmanager
def group(controller, values):
    """A control group of our own, with an inner one, whose outer one has these limits: the file that takes a process."""
    points = hierarchies()
    point = points.get(controller) or points.get("version 2")
    if point is None:
        raise Skipped(f"there are no control groups for {controller}")
    names = values if controller in points else {values[name][1]: values[name] for name in values}
    outer = point / f"vmpool-system-{os.getpid()}"
    made = []
    try:
        for path in (outer, outer / "inner"):
            path.mkdir()
            made.append(path)
            if controller not in points:
                (path.parent / "cgroup.subtree_control").write_text(f"+{controller}")
        for name, (value, _) in names.items():
            (outer / name).write_text(str(value))
        yield outer / "inner/cgroup.procs"
    except OSError as error:
        raise Skipped(f"no control group can be made for {controller}: {error}") from error
    finally:
        for path in reversed(made):
            path.rmdir()


def within(procs):
    """The words that start a program in the group."""
    return ["sh", "-c", 'echo $$ > "$0"; exec "$@"', procs]


@check("the memory of a control group bounds the guests, and /v1/host says so")
def memory():
    limit = 300 << 20
    with group("memory", {"memory.limit_in_bytes": (limit, "memory.max")}) as procs:
        with Daemon("--no-demo-pool", before=within(procs)) as daemon:
            client = daemon.client()
            host = client.get("/v1/host").json
            equal(host["control_group"]["memory_bytes"], limit, "the group's limit")
            equal(host["limits"]["max_memory_mib"], 236, "the guests' memory")
            expect("the control group has 300 MiB" in daemon.log, "the log does not say where the limit comes from")
            answer = client.post("/v1/vms", {"image": "spin", "memory_mib": 1024})
            too_large(answer, "a guest that is larger than the group")
            create(client, image="spin", memory_mib=200)
            equal(client.post("/v1/vms", {"image": "spin", "memory_mib": 200}).status, 503, "a second guest")
        with Daemon("--no-demo-pool", "--max-memory-mib", "100", before=within(procs)) as daemon:
            equal(daemon.client().get("/v1/host").json["limits"]["max_memory_mib"], 100, "what the option says holds")


def too_large(answer, what):
    """A refusal that no waiting mends: it says what is too large, and what to do."""
    document = problems.expect_problem(answer, "invalid-member", what)
    equal((document["pointer"], answer.headers.get("Retry-After")), ("/memory_mib", None), what)
    expect("MiB" in document["detail"] and "--max-memory-mib" in document["detail"], lambda: f"{what}: {document}")


@check("a pool whose VMs are larger than the host is refused; one from before the host became smaller waits")
def larger_than_the_host():
    directory = processes.scratch_directory("limits")
    state = ("--no-demo-pool", "--state-dir", directory / "state")
    large = {"image": "spin", "ready": 1, "memory_mib": 64}
    with Daemon(*state, "--max-memory-mib", "100") as daemon:
        client = daemon.client()
        equal(client.put("/v1/pools/large", large).status, 201, "a pool that fits")
        too_large(client.put("/v1/pools/other", {**large, "memory_mib": 200}), "a declaration")
        too_large(client("PATCH", "/v1/pools/large", {"memory_mib": 200}), "a change")
        equal(client.get("/v1/pools/large").json["memory_mib"], 64, "the pool after the change")
    file = directory / "vmpoold.yaml"
    file.write_text("pools:\n  filed: {image: spin, ready: 1, memory_mib: 64}\n  small: {image: spin, ready: 1}\n")
    with Daemon(*state, "--max-memory-mib", "40", "--config", file) as daemon:
        client = daemon.client()
        pools = {pool["name"]: pool for pool in client.get("/v1/pools").json["items"]}
        equal(set(pools), {"large", "small"}, "the pools on the smaller host")
        eventually("the pool says why it is empty",
                   lambda: "by itself" in (client.get("/v1/pools/large").json["status"]["refill"]["last_error"] or ""))
        expect("pool filed" in daemon.log and "by itself" in daemon.log, lambda: f"the log: {daemon.log}")
        equal(client.delete("/v1/pools/large").status, 204, "deleting it")


@check("the tasks of a control group bound the vCPUs")
def tasks():
    with group("pids", {"pids.max": (300, "pids.max")}) as procs:
        with Daemon("--no-demo-pool", before=within(procs)) as daemon:
            client = daemon.client()
            host = client.get("/v1/host").json
            equal((host["control_group"]["tasks"], host["limits"]["max_vcpus"]), (300, 150), "the limits")
            for _ in range(18):
                create(client, image="spin", vcpus=8, start=False)
            answer = client.post("/v1/vms", {"image": "spin", "vcpus": 8})
            document = problems.expect_problem(answer, "resources-exhausted", "the vCPU for which there is no thread")
            expect("pids.max" in document["detail"], lambda: f"it does not say what to do: {document}")


@check("the processor time of a control group is shown")
def processors():
    with group("cpu", {"cpu.cfs_quota_us": (150_000, "cpu.max")}) as procs:
        with Daemon("--no-demo-pool", before=within(procs)) as daemon:
            equal(daemon.client().get("/v1/host").json["control_group"]["processors"], 1.5, "the quota")
