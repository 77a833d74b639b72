"""What names a VM, a pool or an image on vmpool's command line, and what is said of a name that is wrong."""
import hashlib
import json
import os

from checks.command_line import CommandLine
from testbed import processes
from testbed.checks import Skipped, check, equal, expect
from testbed.daemon import Daemon


@check("a unique beginning of an id is enough, and an ambiguous one changes nothing")
def prefixes():
    with Daemon("--no-demo-pool") as daemon:
        vmpool = CommandLine(daemon.url)
        # Two of 17 ids begin with the same of 16 hex digits.
        ids = [vmpool.json("vms", "create", "--image", "spin", "--no-start")["id"] for _ in range(17)]
        first = ids[0]
        short = next(first[:end] for end in range(4, 16) if sum(one.startswith(first[:end]) for one in ids) == 1)
        equal(vmpool.json("vms", "show", short)["id"], first, f"what {short} shows")
        equal(vmpool.json("vms", "show", short.removeprefix("vm-"))["id"], first, "the same without vm-")
        digits = [one[3] for one in ids]
        common = next(digit for digit in digits if digits.count(digit) > 1)
        said = vmpool.run("rm", common, status=64)
        expect(all(word in said for word in ("beginning of several", "vm-" + common)), said)
        equal(len(vmpool.json("ps")["items"]), 17, "the VMs that are left")
        expect("no VM and no lease" in vmpool.run("rm", "vm-xyz", status=2), "an id that is none")
        vmpool.run("rm", *ids[1:], short)
        equal(vmpool.json("ps")["items"], [], "the VMs that are left")


@check("what all ids begin with names nothing, also where there is only one")
def common_beginnings():
    with Daemon("--no-demo-pool") as daemon:
        vmpool, client = CommandLine(daemon.url), daemon.client()
        vmpool.run("pools", "set", "spins", "--image", "spin", "--ready", "1", "--max-vms", "1")
        lease = vmpool.json("lease", "spins", "--wait", "20s")
        data = b"data"
        digest = hashlib.sha256(data).hexdigest()
        client("PUT", f"/v1/blobs/sha256:{digest}", data, {"Content-Type": "application/octet-stream"})
        for words in (("rm", "v"), ("rm", "vm-"), ("rm", "lease"), ("release", "l"), ("release", "lease-"),
                      ("extend", "l"), ("vms", "stop", "vm"), ("blobs", "rm", "s"), ("blobs", "rm", "sha256:")):
            said = vmpool.run(*words, status=64)
            expect("give at least one character of what follows" in said, lambda: f"vmpool {words}: {said}")
        equal(vmpool.json("vms", "show", lease["vm"])["state"], "running", "the only VM")
        equal(vmpool.json("leases")["items"], [lease], "the only lease")
        equal(len(vmpool.json("blobs")["items"]), 1, "the blobs")
        vmpool.run("blobs", "rm", "sha256:" + digest[0])
        vmpool.run("release", lease["lease"][:7])


@check("a lease stands for its VM, and never for another client's")
def leases():
    with Daemon("--no-demo-pool") as daemon:
        vmpool = CommandLine(daemon.url)
        vmpool.run("pools", "set", "spins", "--image", "spin", "--ready", "1")
        lease = vmpool.json("lease", "spins", "--wait", "20s")
        for name in (lease["lease"], lease["lease"][:12], lease["lease"][6:12]):
            equal(vmpool.json("vms", "show", name)["id"], lease["vm"], f"the VM of {name}")
        equal(vmpool.json("vms", "pause", lease["lease"])["state"], "paused", "pause by a lease")
        expect("rip" in vmpool.run("registers", lease["lease"]), "registers by a lease")
        vmpool.run("vms", "resume", lease["lease"])
        equal(len(vmpool.json("kick", lease["lease"])["kicks"]), 1, "kick by a lease")
        equal(vmpool.run("logs", lease["lease"]), "", "logs by a lease")
        equal(vmpool.json("inspect", lease["lease"])["vm"], lease["vm"], "inspect of a lease")
        equal(vmpool.json("inspect", "--type", "vm", lease["lease"])["id"], lease["vm"], "inspect --type vm")
        expect(vmpool.json("extend", lease["lease"][:12], "--ttl", "1h")["lease"] == lease["lease"], "extend")
        vmpool.run("release", lease["lease"][6:14])
        expect("was released" in vmpool.run("vms", "pause", lease["lease"], status=2), "a lease that has ended")


@check("did you mean: commands, pools, images, members and contexts")
def suggestions():
    with Daemon() as daemon:
        vmpool = CommandLine(daemon.url)
        for words, status, meant in (
            (("vms", "stp"), 64, "`vmpool vms stop`"), (("stop", "vm-1"), 64, "`vmpool vms stop`"),
            (("vm", "ls"), 64, "Did you mean `vmpool vms`?"), (("help", "nope"), 64, "There is no command nope."),
            (("lase",), 64, "`vmpool lease`"), (("run", "demoo"), 2, "Did you mean demo?"),
            (("pools", "show", "dmeo"), 2, "Did you mean demo?"), (("images", "show", "spim"), 2, "Did you mean spin?"),
            (("vms", "create", "--image", "spim"), 1, "Did you mean spin?"),
            (("inspect", "heloo"), 2, "Did you mean hello?"), (("ps", "--format", "{{.stat}}"), 64, "Did you mean .state?"),
        ):
            said = vmpool.run(*words, status=status)
            expect(meant in said, lambda: f"vmpool {' '.join(words)}: {said}")
        vmpool.run("pools", "set", "hello", "--image", "hello", "--ready", "1")
        expect("--type pool" in vmpool.run("inspect", "hello", status=64), "a pool that has an image's name")
        equal(vmpool.json("inspect", "hello", "--type", "image")["kind"], "builtin", "inspect --type")


@check("errors advise in the client's words, and name its options")
def advice():
    with Daemon() as daemon:
        vmpool = CommandLine(daemon.url)
        for words, status in (
            (("vms", "show", "vm-0000000000000000"), 2), (("pools", "show", "none"), 2), (("images", "show", "none"), 2),
            (("leases", "show", "lease-0000000000000000"), 2), (("vms", "create", "--image", "none"), 1),
        ):
            said = vmpool.run(*words, status=status)
            expect("`vmpool " in said and not any(word in said for word in ("GET ", "/v1/", " at /")), said)
        said = vmpool.run("vms", "create", "--image", "spin", "--vcpus", "900", status=1)
        expect("--vcpus" in said and "/vcpus" not in said, said)
        said = vmpool.run("run", "demo", "--command-line", "-x", status=64)
        expect("--command-line=-VALUE" in said, said)


@check("no socket, no server, and no permission are told apart, each with a cure")
def unreachable():
    directory = processes.scratch_directory("unreachable")
    directory.chmod(0o755)
    path = directory / "socket"
    said = CommandLine(f"unix:{directory}/none").run("host", status=69)
    expect("there is no such socket" in said and "vmpoold" in said, said)
    expect("nothing listens there" in CommandLine("127.0.0.1:1").run("host", status=69), "a port without a server")
    with Daemon(listen=[f"unix:{path}"]):
        if os.geteuid() != 0:
            raise Skipped("another user is needed to be refused; the other causes are told apart")
        os.chown(path, 0, 4)
        path.chmod(0o660)
        processes.SCRATCH.chmod(0o755)
        result = processes.run([processes.BINARIES / "vmpool", "--server", f"unix:{path}", "host"], user=65534, group=65534, extra_groups=[])
        equal(result.returncode, 69, "the exit status without permission")
        expect("permission denied" in result.stderr and "usermod -aG adm" in result.stderr, result.stderr)
        path.chmod(0o600)
        result = processes.run([processes.BINARIES / "vmpool", "--server", f"unix:{path}", "host"], user=65534, group=65534, extra_groups=[])
        expect("only the socket's owner" in result.stderr, result.stderr)
    expect("no such socket" in CommandLine(f"unix:{path}").run("host", status=69), "a socket whose server has ended")


@check("pools: set --file and edit take what show prints, and pass over what only the server sets")
def documents():
    directory = processes.scratch_directory("documents")
    with Daemon("--no-demo-pool") as daemon:
        vmpool = CommandLine(daemon.url)
        vmpool.run("pools", "set", "one", "--image", "hello", "--ready", "1:2", "--max-vms", "9")
        document = vmpool.json("pools", "show", "one")
        path = directory / "one.json"
        path.write_text(json.dumps({**document, "ready": 3}))
        changed = vmpool.json("pools", "set", "one", "--file", path)
        equal((changed["ready"], changed["max_vms"]), ({"min": 3, "max": 3}, 9), "a document that was sent back")
        path.write_text(json.dumps({**document, "redy": 3}))
        expect("redy" in vmpool.run("pools", "set", "one", "-f", path, status=65), "the unknown member's name")
        expect("declares one" in vmpool.run("pools", "set", "two", "-f", path, status=65), "another pool's document")

        editor = directory / "editor"
        editor.write_text("#!/bin/sh\nsed -i 's/max_vms: 9/max_vms: 7/' \"$1\"\n")
        editor.chmod(0o755)
        vmpool.environment["EDITOR"] = str(editor)
        vmpool.run("pools", "edit", "one")
        equal(vmpool.json("pools", "show", "one")["max_vms"], 7, "what the editor wrote")
        vmpool.environment["EDITOR"] = "true"
        vmpool.run("pools", "edit", "one")
        editor.write_text("#!/bin/sh\necho '  nonsense' >>\"$1\"\n")
        vmpool.environment["EDITOR"] = str(editor)
        scratch = processes.scratch_directory("edits")
        vmpool.environment["TMPDIR"] = str(scratch)

        def kept(said, words):
            (path,) = scratch.iterdir()
            expect(f"{path} has your edit" in said, lambda: f"the name of the file that is kept: {said}")
            expect(words in path.read_text(), lambda: f"the edit: {path.read_text()}")
            path.unlink()

        kept(vmpool.run("pools", "edit", "one", status=65), "nonsense")
        editor.write_text("#!/bin/sh\nsed -i 's/image: hello/image: nope/' \"$1\"\n")
        said = vmpool.run("pools", "edit", "one", status=1)
        expect("pool one: image: There is no image nope" in said and "--image" not in said, said)
        kept(said, "image: nope")
        editor.write_text("#!/bin/sh\nsed -i 's/image: hello/image: echo/' \"$1\"; exit 1\n")
        kept(vmpool.run("pools", "edit", "one", status=1), "image: echo")
        vmpool.environment["EDITOR"] = "false"
        expect("nothing was changed" in vmpool.run("pools", "edit", "one", status=1), "an editor that fails")
        vmpool.environment["EDITOR"] = "true"
        vmpool.run("pools", "edit", "one")
        equal(list(scratch.iterdir()), [], "files that are left")
        expect("max_vms: 7" in vmpool.run("pools", "show", "one", "--yaml"), "show --yaml")
        yaml = vmpool.run("pools", "show", "one", "--yaml")
        expect("= one: unchanged" in vmpool.run("pools", "apply", "-f", "-", "--dry-run", input=yaml), "what it takes back")
