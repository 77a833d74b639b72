"""The configuration file: vmpoold check-config, --config and SIGHUP."""
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import time

from testbed import problems, processes
from testbed.checks import becomes, check, equal, eventually, expect
from testbed.daemon import Daemon, refusal
from testbed.exposition import Exposition
from testbed.pools import declare, filled, lease, path, release, status


F_SETSIG = 10


def check_config(text):
    """What it says of a file with this text, and its exit status."""
    path = processes.scratch_directory("configuration") / "vmpoold.yaml"
    path.write_text(text)
    result = processes.run([processes.BINARIES / "vmpoold", "check-config", path])
    equal(result.stderr, "", "stderr")
    return result.stdout.replace(str(path), "FILE"), result.returncode


@check("check-config names every mistake with its line and column, and says nothing of a right file")
def mistakes():
    equal(check_config("pools:\n  build: {image: hello, ready: {min: 2, max: 4}}\n"), ("", 0), "a right file")
    said, status = check_config("pools:\n  build:\n    vcpu: 1\n    memory_mib: lots\n")
    equal(status, 65, "the exit status")
    lines = said.splitlines()
    equal([line.split(" ")[0] for line in lines], ["FILE:2:3:", "FILE:3:5:", "FILE:4:17:"], "the places")
    expect(lines[1].endswith("did you mean vcpus?"), lines[1])


# Members of a pool's declaration, with values on either side of each limit, and others that are wrong or odd.
DECLARATIONS = [
    {name: value}
    for name, values in {
        "vcpus": (0, 1, 8, 65, "two", 1.5),
        "memory_mib": (0, 1024, 65537, -1),
        "ready": (-1, 0, 1000, 1001, 4096, {"min": 0, "max": 1000}, {"min": 0, "max": 1001}, {"min": 2, "max": 1},
                  {"min": 1}, {"max": 1}, {"min": 1, "mx": 2}, [], "1"),
        "max_vms": (0, 1, 100_000, 100_001),
        "deadline_ms": (0, 1, 86_400_000, 86_400_001),
        "probe_interval_ms": (9, 10, 3_600_000, 3_600_001),
        "refill": ({"concurrency": 0}, {"concurrency": 1}, {"concurrency": 64}, {"concurrency": 65}, {}, {"x": 1}, 1),
        "paused": (True, False, "yes", 1),
        "ready_when": ("loaded", "started", "booted", 1, [], {}, {"console": "login:"}, {"console": ""}, {"console": 1},
                       {"console": "12"}, {"console": "x" * 256}, {"console": "x" * 257}, {"after_ms": 0}, {"after_ms": 1},
                       {"after_ms": 600_000}, {"after_ms": 600_001}, {"console": "x", "after_ms": 1}, {"port": 1}),
        "ready_timeout_ms": (0, 1, 600_000, 600_001),
        "on_release": ("replace", "reset", "keep", 1, []),
        "verify_reset": ("off", "sampled", "full", "on", False),
        "image": ("Hello", "x" * 64, 7),
        "unknown": (1,),
    }.items()
    for value in values
] + [{"on_release": "reset", "ready_when": point} for point in ("loaded", "started", {"after_ms": 1})] + [
    {"ready": 4, "max_vms": 3}, {"ready": {"min": 1, "max": 4}, "max_vms": 4}]


def options(declaration):
    """The declaration as options of `vmpool pools set`; None where they cannot say it."""
    names = {"vcpus": "vcpus", "memory_mib": "memory", "max_vms": "max-vms", "ready": "ready", "image": "image",
             "deadline_ms": "deadline", "probe_interval_ms": "probe-interval", "refill": "refill-concurrency",
             "ready_when": "ready-when", "ready_timeout_ms": "ready-timeout",
             "on_release": "on-release", "verify_reset": "verify-reset"}
    words = []
    for member, value in declaration.items():
        if member == "ready" and isinstance(value, dict) and set(value) == {"min", "max"}:
            value = f"{value['min']}:{value['max']}"
        elif member == "refill" and isinstance(value, dict) and set(value) == {"concurrency"}:
            value = value["concurrency"]
        elif member == "ready_when" and isinstance(value, dict) and len(value) == 1:
            (kind, point), = value.items()
            if kind == "console" and isinstance(point, str):
                value = f"console:{point}"
            elif kind == "after_ms":
                value = f"after:{point}ms"
            else:
                return None
        elif member in ("ready_when", "on_release", "verify_reset") and isinstance(value, str):
            pass
        elif member in ("refill", "paused", "unknown") or not isinstance(value, str if member == "image" else int):
            return None
        unit = "ms" if member.endswith("_ms") else ""
        words.append(f"--{names[member]}={value}{unit}")
    return words


def write(text):
    path = processes.scratch_directory("configuration") / "pool.json"
    path.write_text(text)
    return path


def set_pool(*words):
    """The exit status of `vmpool pools set` where no server is."""
    return processes.run(
        [processes.BINARIES / "vmpool", "--server", "http://127.0.0.1:1", "pools", "set", "p", *words]).returncode


@check("check-config, vmpool pools apply --dry-run, pools set and the server agree on what a declaration may say")
def agreement():
    path = processes.scratch_directory("configuration") / "vmpoold.yaml"
    differences = []
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        for declaration in DECLARATIONS:
            pool = {"image": "spin", "paused": True, "ready": 0, **declaration}
            # JSON is YAML.
            path.write_text(json.dumps({"pools": {"p": pool}}))
            verdicts = {
                "check-config": processes.run([processes.BINARIES / "vmpoold", "check-config", path]).returncode == 0,
                "--dry-run": processes.run([processes.BINARIES / "vmpool", "--server", daemon.url, "pools", "apply", "-f",
                                            path, "--dry-run"]).returncode == 0,
                "the server": client.put("/v1/pools/p", pool).status in (200, 201),
                # Where nobody listens (69), the client's own judgement shows.
                "set --file": set_pool("--file", write(json.dumps(pool))) == 69,
            }
            if (words := options({"image": "spin", "ready": 0, **declaration})) is not None:
                verdicts["set"] = set_pool(*words) == 69
            if len(set(verdicts.values())) > 1:
                differences.append(f"{json.dumps(declaration)}: {verdicts}")
    expect(not differences, lambda: "\n".join(differences))
    return f"{len(DECLARATIONS)} declarations"


@check("check-config exits 66 where there is no file, and 64 without a name")
def nothing_to_check():
    for words, status, word in ((["/nonexistent"], 66, "No such file"), ([], 64, "file")):
        result = processes.run([processes.BINARIES / "vmpoold", "check-config", *words])
        equal((result.returncode, result.stdout), (status, ""), f"check-config {words}")
        expect(word.lower() in result.stderr.lower(), result.stderr)


class File:
    """A configuration file, and how the server comes to read it again."""

    def __init__(self, text):
        self.path = processes.scratch_directory("configuration") / "vmpoold.yaml"
        self.path.write_text(text)

    def change(self, daemon, text, line="the configuration file was read again"):
        """Writes it anew, and waits for the line that the log then has once more."""
        count = daemon.log.count(line)
        self.path.write_text(text)
        daemon.process.send_signal(signal.SIGHUP)
        eventually(f"the log says: {line}", lambda: daemon.log.count(line) > count)


def declarations(client):
    """The pools: image, most ready VMs and who declared them, by name."""
    pools = client.get("/v1/pools").json["items"]
    return {pool["name"]: (pool["image"], pool["ready"]["max"], pool["source"]) for pool in pools}


FIRST = """
pools:
  build: {image: hello, ready: {min: 1, max: 2}, max_vms: 4}
  brief: {image: spin, ready: 1, deadline_ms: 60000}
"""
SECOND = """
pools:
  build: {image: echo, ready: 3}
  fresh: {image: spin, ready: 1}
"""


@check("--config declares pools, which the API may use and not change")
def declared():
    file = File(FIRST)
    with Daemon("--config", file.path) as daemon:
        client = daemon.client()
        equal(declarations(client), {"build": ("hello", 2, "file"), "brief": ("spin", 1, "file")}, "the pools")
        build = client.get("/v1/pools/build").json
        equal((build["ready"], build["max_vms"]), ({"min": 1, "max": 2}, 4), "what was declared")
        filled(client, "build")
        equal(client.post("/v1/pools/build/run").json["outcome"], "exited", "a run")
        for method, body in (("PUT", {"image": "spin", "ready": 1}), ("PATCH", {"ready": 1}), ("DELETE", None)):
            answer = client(method, "/v1/pools/build", body)
            document = problems.expect_problem(answer, "declared-in-file", f"{method} of a pool of the file")
            expect("SIGHUP" in document["detail"], lambda: f"it does not say what to do: {document}")
        answer = client.delete("/v1/pools/build?force=true")
        problems.expect_problem(answer, "declared-in-file", "deleting it with force")
        # Those of the API stand beside them.
        declare(client, "mine")
        equal(client("PATCH", "/v1/pools/mine", {"ready": 2}).status, 200, "changing one's own")
        equal(declarations(client)["mine"], ("spin", 2, "api"), "one's own")


@check("SIGHUP reads it again: new pools come, changed ones change, dropped ones go when their leases end")
def reload():
    file = File(FIRST)
    with Daemon("--config", file.path) as daemon:
        client = daemon.client()
        filled(client, "build")
        held = lease(client, "brief", wait_ms=10_000)
        declare(client, "mine")
        tag = client.get("/v1/pools/build").headers["ETag"]
        file.change(daemon, FIRST)
        equal(client.get("/v1/pools/build").headers["ETag"], tag, "the tag of what has not changed")
        file.change(daemon, SECOND)
        expect(client.get("/v1/pools/build").headers["ETag"] != tag, "what has changed has its tag still")
        equal(status(client, "brief")["draining"], True, "whether the dropped one drains")
        filled(client, "build")
        filled(client, "fresh")
        eventually("the old VMs have gone", lambda: status(client, "build")["outdated"] == 0)
        equal(client.get(path(held)).status, 200, "the lease of a VM of the dropped one")
        release(client, held)
        becomes(404, "the dropped pool", lambda: client.get("/v1/pools/brief").status)
        wanted = {"build": ("echo", 3, "file"), "fresh": ("spin", 1, "file"), "mine": ("spin", 1, "api")}
        equal(declarations(client), wanted, "the pools")
        file.change(daemon, "pools: {}\n")
        becomes({"mine": ("spin", 1, "api")}, "the pools of an empty file", lambda: declarations(client))


def reload_metrics(client):
    """Whether the last reading was successful, and when one last was."""
    exposition = Exposition.of(client)
    return (exposition.total("vmpool_config_last_reload_successful"),
            exposition.total("vmpool_config_last_reload_success_timestamp_seconds"))


@check("the metrics say whether and when the file was read, and each mistake is an entry of its own")
def told():
    with Daemon() as daemon:
        expect("vmpool_config" not in daemon.client().get("/metrics").text, "metrics of a file without one")
    file = File(FIRST)
    with Daemon("--config", file.path, "--log-format", "json") as daemon:
        client = daemon.client()
        successful, first = reload_metrics(client)
        equal(successful, 1, "the start")
        expect(abs(first - time.time()) < 600, lambda: f"the time of the start: {first}")
        file.change(daemon, "pools:\n  build: {image: spin, redy: 2, vcpu: 1}\n", "what was read before holds")
        equal(reload_metrics(client), (0, first), "after a mistake")
        entries = [json.loads(line) for line in daemon.log.splitlines()]
        mistakes = [entry["error"] for entry in entries if entry["message"] == "a mistake in the configuration file"]
        equal([text.split(":")[1:3] for text in mistakes], [["2", "24"], ["2", "33"]], f"the entries: {mistakes}")
        file.change(daemon, FIRST)
        successful, second = reload_metrics(client)
        expect(successful == 1 and second > first, lambda: f"after it was mended: {successful}, {first}, {second}")


@check("what is no regular file is refused at once, at the start and at SIGHUP, and the next SIGHUP is served")
def irregular():
    directory = processes.scratch_directory("configuration")
    path = directory / "vmpoold.yaml"
    path.write_text(FIRST)
    with Daemon("--config", path) as daemon:
        client = daemon.client()
        before = declarations(client)
        for number, make in enumerate((os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/null")), 1):
            path.rename(directory / "kept")
            make(path)
            daemon.process.send_signal(signal.SIGHUP)
            eventually("it is refused", lambda: daemon.log.count("it is no regular file") == number)
            equal((reload_metrics(client)[0], declarations(client)), (0, before), "the reload")
            path.rmdir() if path.is_dir() else path.unlink()
            (directory / "kept").rename(path)
        daemon.process.send_signal(signal.SIGHUP)
        eventually("the next one is served", lambda: reload_metrics(client)[0] == 1)
    pipe = directory / "pipe"
    os.mkfifo(pipe)
    for words in (["--listen", "127.0.0.1:0", "--config", pipe], ["check-config", pipe]):
        result = processes.run([processes.BINARIES / "vmpoold", *words])
        equal((result.returncode, "no regular file" in result.stderr), (66, True), f"{words}: {result.stderr}")


@check("SIGTERM ends a server that hangs in its start")
def stuck_start():
    directory = processes.scratch_directory("state")
    lock = directory / "vmpool.lock"
    # As a disk that hangs: the kernel lets no other process open the file before the holder of its lease lets go.
    with lock.open("wb") as file:
        # The kernel's word that another process wants the file, which is SIGIO by default, does no harm as SIGURG.
        fcntl.fcntl(file, F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        process = processes.start([processes.BINARIES / "vmpoold", "--listen", "127.0.0.1:0", "--state-dir", directory],
                                  stderr=subprocess.DEVNULL)
        wchan = lambda: pathlib.Path(f"/proc/{process.pid}/syscall").read_text().split()[0]
        eventually("it opens the lock", lambda: wchan() == "257")
        process.send_signal(signal.SIGTERM)
        equal(process.wait(20), 1, "the exit status")


@check("a file that is wrong or gone when it is read again changes nothing, and the log says where")
def broken():
    file = File(FIRST)
    with Daemon("--config", file.path) as daemon:
        client = daemon.client()
        filled(client, "build")
        before = declarations(client)
        line = "what was read before holds"
        empty = ("", "# build: {image: hello}\n", "pools:\n", "pools: null\n", "{}\n")
        for text in ("pools:\n  build: {image: spin, redy: 2}\n", "pools: [", "\t", "pools:\n  build: {ready: 2}\n",
                     *empty):
            file.change(daemon, text, line)
            equal(reload_metrics(client)[0], 0, f"the metric after {text!r}")
            equal(declarations(client), before, f"the pools after {text!r}")
        expect(f"{file.path}:2:24" in daemon.log, "the log does not say where")
        file.path.unlink()
        count = daemon.log.count(line)
        daemon.process.send_signal(signal.SIGHUP)
        eventually("the log says so", lambda: daemon.log.count(line) > count)
        equal(declarations(client), before, "the pools without a file")
        # An image that does not exist is found out when the pool is declared; the others are.
        file.change(daemon, "pools:\n  build: {image: nosuch}\n  brief: {image: echo, ready: 1}\n")
        expect("nosuch" in daemon.log, "the log does not name the image")
        expect("was read again pools=1 refused=1" in daemon.log, "the log does not count the refused pool")
        equal(reload_metrics(client)[0], 0, "the metric while a pool is refused")
        equal(declarations(client)["brief"], ("echo", 1, "file"), "the other pool")


@check("neither the file nor the API overwrites what the other has declared")
def both():
    directory = processes.scratch_directory("state")
    with Daemon("--no-demo-pool", "--state-dir", directory) as daemon:
        declare(daemon.client(), "build", image="spin", ready=1)
    file = File(FIRST)
    with Daemon("--config", file.path, "--state-dir", directory) as daemon:
        client = daemon.client()
        equal(declarations(client), {"build": ("spin", 1, "api"), "brief": ("spin", 1, "file")}, "the pools")
        expect("declared over the API" in daemon.log, "the log does not say which of the two holds")
        equal(client.delete("/v1/pools/build").status, 204, "deleting that of the API")
        file.change(daemon, FIRST)
        equal(declarations(client)["build"], ("hello", 2, "file"), "that of the file")
    # What the file declares is not the state's to keep.
    with Daemon("--no-demo-pool", "--state-dir", directory) as daemon:
        equal(declarations(daemon.client()), {}, "the pools without the file")


@check("a server whose file is wrong at the start exits 65 with every mistake, and 66 without a file")
def refused():
    file = File("pools:\n  build: {image: spin, redy: 2}\n  other: {vcpus: many}\n")
    code, said = refusal("--listen", "127.0.0.1:0", "--config", file.path)
    equal((code, said.count(str(file.path))), (65, 3), f"the exit status, and the mistakes: {said}")
    code, said = refusal("--listen", "127.0.0.1:0", "--config", "/nonexistent")
    equal(code, 66, f"the exit status without a file: {said}")
    code, said = refusal("--listen", "127.0.0.1:0", "--config", file.path, "--log-format", "json")
    entries = [json.loads(line) for line in said.splitlines()]
    equal([entry["level"] for entry in entries[-3:]], ["critical"] * 3, f"the entries of the mistakes: {said}")
    empty = File("")
    code, said = refusal("--listen", "127.0.0.1:0", "--config", empty.path)
    expect(code == 65 and "pools: {}" in said, lambda: f"an empty file: {code} {said}")
