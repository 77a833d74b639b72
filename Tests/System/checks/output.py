"""What vmpool prints, in which form, and what it does when it cannot."""
import os
import re
import signal
import struct
import subprocess

from checks.command_line import CommandLine, rows
from testbed import processes
from testbed.checks import check, equal, expect
from testbed.daemon import Daemon


def printing(vm, pool):
    """A command line of each command that prints something and ends."""
    return [
        ["ps"], ["ls", "-q"], ["ps", "--json"], ["ps", "--format", "{{.id}}"], ["vms", "show", vm], ["logs", vm],
        ["inspect", vm], ["top", "--looks", "1"], ["vcpus", vm], ["kick", vm], ["pools"], ["pools", "show", pool],
        ["pools", "show", pool, "--yaml"], ["pools", "patch", pool, "--ready", "1"], ["pools", "apply", "-f", "-", "--dry-run"],
        ["lease", pool, "--wait", "20s"], ["images"], ["images", "show", "spin"], ["images", "pull", "seven", "-o", "-"],
        ["blobs"], ["host"], ["metrics"], ["metrics", "--vcpus"], ["run", pool, "--wait", "20s"],
        ["run", pool, "--wait", "20s", "--json"], ["console", vm], ["vms", "create", "--image", "hello", "--no-start"],
        ["vms", "stop", vm], ["leases"], ["--help"], ["--version"], ["run", "--help"], ["--generate-completion-script", "bash"],
    ]


def environment(daemon):
    return {**os.environ, "VMPOOL_SERVER": daemon.url}


@check("every command ends with 74 and a line when stdout cannot be written")
def full():
    with Daemon("--no-demo-pool") as daemon:
        vmpool = CommandLine(daemon.url)
        vmpool.run("pools", "set", "hello", "--image", "hello", "--ready", "1")
        seven = processes.scratch_directory("output") / "seven"
        seven.write_bytes(bytes.fromhex("b007e6f4"))
        vmpool.run("images", "push", seven, "--kind", "flat", "--mode", "long64_ring3")
        vm = vmpool.json("vms", "create", "--image", "hello")["id"]
        vmpool.json("vms", "show", vm, "--wait-for", "stopped")
        commands = printing(vm, "hello")
        count = 0
        for words in commands:
            # What a stopped VM refuses.
            if words[0] in ("kick",) or words[:2] == ["vms", "stop"]:
                continue
            command = [processes.BINARIES / "vmpool", *words]
            for stdout, reason in (("/dev/full", "No space left on device"), (None, "Bad file descriptor")):
                before = (lambda: os.close(1)) if stdout is None else None
                with open(stdout or os.devnull, "wb") as target:
                    process = subprocess.Popen(
                        command, stdin=subprocess.PIPE, stdout=target, stderr=subprocess.PIPE, preexec_fn=before,
                        env=environment(daemon))
                    said = process.communicate(b"pools: {}", timeout=30)[1].decode()
                # There is nothing to print.
                if words[:2] == ["pools", "apply"] and process.returncode == 0:
                    continue
                equal(process.returncode, 74, f"the exit status of vmpool {' '.join(words)}, {reason}: {said}")
                expect(f"vmpool: stdout cannot be written: {reason}" in said, lambda: f"vmpool {' '.join(words)}: {said}")
                count += 1
        return f"{count} command lines"


@check("a pipe that is closed ends a command as SIGPIPE does, without a word")
def pipes():
    with Daemon() as daemon:
        for words in (["ps"], ["metrics"], ["events", "--since", "x-0"], ["--help"]):
            reader, writer = os.pipe()
            os.close(reader)
            process = processes.start(
                [processes.BINARIES / "vmpool", *words], stdout=writer, stderr=subprocess.PIPE, env=environment(daemon))
            os.close(writer)
            if words[0] == "events":
                # It prints what happens next.
                daemon.client().post("/v1/vms", {"image": "hello"})
            said = process.communicate(timeout=30)[1]
            equal((process.returncode, said), (-signal.SIGPIPE, b""), f"vmpool {' '.join(words)}")


@check("descriptors that are closed never become a connection")
def closed():
    with Daemon() as daemon:
        def close():
            for number in (0, 1, 2):
                os.close(number)

        process = subprocess.Popen([processes.BINARIES / "vmpool", "ps"], preexec_fn=close, env=environment(daemon))
        equal(process.wait(30), 74, "the exit status without descriptors 0 to 2")
        expect("malformed" not in daemon.log and "status=400" not in daemon.log, lambda: daemon.log)


@check("-q, --format and --json, and tables of 80 columns with ages")
def formats():
    with Daemon("--no-demo-pool") as daemon:
        vmpool = CommandLine(daemon.url)
        vm = vmpool.run("vms", "create", "--image", "spin", "-q").strip()
        equal(vmpool.run("ps", "-q"), vm + "\n", "ps -q")
        equal(vmpool.run("ps", "--format", r"{{.id}}\t{{.state}}"), f"{vm}\trunning\n", "a template")
        equal(vmpool.run("ps", "--format", "{{.stop.reason}}|"), "|\n", "a member of what is null")
        equal(vmpool.run("ps", "--format", "json"), vmpool.run("ps", "--json"), "--format json")
        def tables():
            # The age may have gone on by a second.
            return [re.sub(r" \d+s ", " Ns ", vmpool.run("ps", *options)) for options in ([], ["--format", "table"])]

        equal(*tables(), "--format table")
        vmpool.run("ps", "--format", "{{id}}", status=64)
        equal(vmpool.run("host", "--format", "{{.limits.max_vms}}").strip().isdigit(), True, "a member of a member")
        vmpool.run("pools", "set", "builds", "--image", "hello", "--ready", "1")
        equal(vmpool.run("lease", "builds", "--wait", "20s", "-q").startswith("lease-"), True, "lease -q")
        for words in (["ps"], ["pools"], ["leases"], ["blobs"], ["host"]):
            result = processes.run(vmpool.command(*words))
            for line in result.stdout.splitlines():
                expect(len(line) <= 80, lambda: f"vmpool {words[0]} prints {len(line)} columns: {line}")
        table = rows(vmpool.run("ps"))
        age = table[1][table[0].index("AGE")]
        expect(age.endswith("s") and age[:-1].isdigit(), lambda: f"an age: {age}")


@check("a guest that resets itself is a failure of its run, unless that is success")
def reset():
    directory = processes.scratch_directory("reset")
    code = directory / "reset"
    # A Multiboot kernel, whose header says where it belongs: mov $0xFE, %al; out %al, $0x64; hlt, which pulls the reset
    # line by way of the keyboard controller.
    magic, flags, base = 0x1BADB002, 1 << 16, 0x200000
    header = struct.pack("<8I", magic, flags, -(magic + flags) & 0xFFFFFFFF, base, base, 0, 0, base + 32)
    code.write_bytes(header + bytes.fromhex("b0fee664f4"))
    with Daemon("--no-demo-pool") as daemon:
        vmpool = CommandLine(daemon.url)
        vmpool.run("images", "push", code)
        vmpool.run("pools", "set", "resets", "--image", "reset", "--ready", "1", "--memory", "4")
        said = vmpool.run("run", "resets", "--wait", "20s", status=123)
        expect("reset" in said, said)
        vmpool.run("run", "resets", "--wait", "20s", "--json", status=123)
        vmpool.run("run", "resets", "--wait", "20s", "--reset-ok")
        vm = vmpool.run("vms", "create", "--image", "reset", "--memory", "4", "-q").strip()
        vmpool.run("console", vm, status=123)
