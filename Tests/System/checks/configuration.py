"""The configuration file: vmpoold check-config, --config and SIGHUP."""
import signal

from testbed import problems, processes
from testbed.checks import becomes, check, equal, eventually, expect
from testbed.daemon import Daemon, refusal
from testbed.pools import declare, filled, lease, path, release, status


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


@check("a file that is wrong or gone when it is read again changes nothing, and the log says where")
def broken():
    file = File(FIRST)
    with Daemon("--config", file.path) as daemon:
        client = daemon.client()
        filled(client, "build")
        before = declarations(client)
        line = "what was read before holds"
        for text in ("pools:\n  build: {image: spin, redy: 2}\n", "pools: [", "\t", "pools:\n  build: {ready: 2}\n"):
            file.change(daemon, text, line)
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
