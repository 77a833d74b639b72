"""Names of servers: vmpool context."""
import json
import os
import stat

from testbed import processes
from testbed.checks import check, equal, expect
from testbed.daemon import Daemon


@check("contexts: set, use, rm, and which server a command speaks to")
def contexts():
    home = processes.scratch_directory("home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VMPOOL_", "XDG_CONFIG"))}
    environment["HOME"] = str(home)

    def vmpool(*words, status=0, **more):
        result = processes.run([processes.BINARIES / "vmpool", *words], env={**environment, **more})
        equal(result.returncode, status, f"the exit status of vmpool {words}: {result.stdout}{result.stderr}")
        return result.stdout + result.stderr

    expect("no contexts" in vmpool("context"), "contexts before the first")
    with Daemon() as one, Daemon("--no-demo-pool") as two:
        vmpool("context", "set", "one", one.url)
        vmpool("context", "set", "two", two.url)
        path = home / ".config/vmpool/config.json"
        equal(json.loads(path.read_text())["current"], "one", "the first is in use")
        equal(stat.S_IMODE(path.stat().st_mode), 0o600, "the file's mode")
        pools = lambda *words, **more: json.loads(vmpool("pools", "--json", *words, **more))["items"]
        equal(len(pools()), 1, "pools of the context in use")
        vmpool("context", "use", "two")
        equal(len(pools()), 0, "pools of the other")
        expect("* two" in " ".join(vmpool("context", "ls").split()), "the star")
        equal(vmpool("context", "ls", "-q"), "one\ntwo\n", "context ls -q")
        equal(len(pools("--context", "one")), 1, "--context")
        equal(len(pools(VMPOOL_CONTEXT="one")), 1, "VMPOOL_CONTEXT")
        equal(len(pools(VMPOOL_CONTEXT="two", VMPOOL_SERVER=one.url)), 1, "VMPOOL_SERVER goes before VMPOOL_CONTEXT")
        equal(len(pools("--context", "two", VMPOOL_SERVER=one.url)), 0, "--context goes before VMPOOL_SERVER")
        equal(len(pools("--server", one.url, VMPOOL_CONTEXT="two")), 1, "--server goes before all")
        vmpool("pools", "--server", one.url, "--context", "one", status=64)
        expect("did you mean two" in vmpool("context", "use", "tow", status=2), "a name that is nearly one")
        expect("did you mean one" in vmpool("ps", "--context", "on", status=2), "a name that is nearly one")
        vmpool("context", "set", "bad", "ftp://x", status=64)
        vmpool("context", "rm", "two")
        equal(json.loads(path.read_text()), {"current": None, "contexts": {"one": {"server": one.url}}}, "the file")
        names = [f"parallel-{number}" for number in range(30)]
        programs = [
            processes.start([processes.BINARIES / "vmpool", "context", "set", name, one.url], env=environment)
            for name in names
        ]
        equal({program.wait(20) for program in programs}, {0}, "the exit statuses of programs at the same time")
        equal(set(json.loads(path.read_text())["contexts"]), {"one", *names}, "what they all wrote")
        equal([file.name for file in path.parent.iterdir()], ["config.json"], "the files that are left")
        path.write_text("{")
        expect(str(path) in vmpool("ps", status=65), "a file that is wrong")
        equal(len(pools("--server", one.url)), 1, "a server by its address needs no file")
        equal(len(pools(VMPOOL_CONFIG=str(home / "none"), VMPOOL_SERVER=one.url)), 1, "VMPOOL_CONFIG")
