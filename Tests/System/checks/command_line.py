"""The client, against a live server."""
import http.server
import json
import os
import pathlib
import re
import threading

from testbed import processes
from testbed.checks import check, equal, expect
from testbed.daemon import Daemon

used = set()


class CommandLine:
    """vmpool, told which server by an option or by the environment."""

    def __init__(self, endpoint, by_environment=False):
        self.options = [] if by_environment else ["--server", endpoint]
        self.environment = {**os.environ, **({"VMPOOL_SERVER": endpoint} if by_environment else {})}

    def run(self, *words, status=0, **options):
        """What it printed, or on stderr where it is to fail."""
        used.add(words[0])
        command = [processes.BINARIES / "vmpool", words[0], *words[1:], *self.options]
        result = processes.run(command, env=self.environment, **options)
        told = result.stdout + result.stderr
        equal(result.returncode, status, f"the exit status of vmpool {' '.join(map(str, words))}: {told}")
        return result.stdout if status == 0 else told

    def json(self, *words):
        return json.loads(self.run(*words, "--json"))


def rows(table):
    """The cells of a table, heading included."""
    return [re.split(r"  +", line.strip()) for line in table.splitlines()]


def every_command(vmpool):
    host = vmpool.json("host")
    expect(host["kvm_api_version"] == 12 and host["kick_mechanism"] in vmpool.run("host"), "host")

    images = {image["name"] for image in vmpool.json("images")["items"]}
    equal({row[0] for row in rows(vmpool.run("images"))[1:]}, images, "the images in the table")
    equal(vmpool.json("images", "spin")["name"], "spin", "an image")
    equal(rows(vmpool.run("images", "spin"))[1][0], "spin", "the table of an image")

    equal(vmpool.json("pools", "set", "cli", "--image", "echo", "--ready", "1")["name"], "cli", "pools set")
    expect("cli" in [pool["name"] for pool in vmpool.json("pools", "list")["items"]], "pools list")
    expect("cli" in vmpool.run("pools") and "echo" in vmpool.run("pools", "show", "cli"), "the tables of pools")

    vm = vmpool.json("vms", "create", "--image", "spin", "--vcpus", "2", "--memory", "4", "--no-start")["id"]
    equal(vmpool.json("vms", "show", vm)["state"], "ready", "vms show")
    for verb, state in (("start", "running"), ("pause", "paused"), ("resume", "running")):
        equal(vmpool.json("vms", verb, vm)["state"], state, f"vms {verb}")
        expect(state in vmpool.run("vms", "show", vm), f"the table after {verb}")
    expect(vm in vmpool.run("vms") and vm in vmpool.run("vms", "list", "--state", "running"), "the tables of VMs")
    equal(vmpool.json("vms", "list", "--pool", "none")["items"], [], "vms list of a pool that is not there")

    equal(len(vmpool.json("vcpus", vm)["items"]), 2, "vcpus")
    expect("running" in vmpool.run("vcpus", vm), "the table of vCPUs")
    equal(vmpool.json("kick", vm, "--vcpu", "1", "--timeout-ms", "20000")["vcpu"], 1, "kick --vcpu")
    equal(len(vmpool.json("kick", vm, "--all")["kicks"]), 2, "kick --all")
    equal(len(rows(vmpool.run("kick", vm))), 3, "the lines about a kick of two")
    vmpool.run("registers", vm, status=1)
    vmpool.run("vms", "pause", vm)
    expect(vmpool.json("registers", vm, "--vcpu", "1")["general"]["rip"].startswith("0x"), "registers")
    expect("rip" in vmpool.run("registers", vm), "the table of registers")
    expect("vmpool_kicks_total" in vmpool.run("metrics"), "metrics")
    expect(vm in vmpool.run("metrics", "--vcpus"), "metrics --vcpus")
    equal(vmpool.json("vms", "stop", vm)["stop"]["reason"], "killed", "vms stop")
    expect("Wrong state" in vmpool.run("kick", vm, status=1) or "stopped" in vmpool.run("kick", vm, status=1), "kick")
    vmpool.run("vms", "delete", vm)
    vmpool.run("vms", "show", vm, status=2)
    vmpool.run("pools", "delete", "cli")
    vmpool.run("pools", "show", "cli", status=2)


@check("every command over TCP, with --server")
def tcp():
    with Daemon() as daemon:
        every_command(CommandLine(daemon.url))


@check("every command over a unix socket, with $VMPOOL_SERVER")
def unix():
    path = processes.scratch_directory("cli") / "socket"
    with Daemon(listen=[f"unix:{path}"]):
        every_command(CommandLine(f"unix:{path}", by_environment=True))


@check("the console carries stdin to the guest and its output back")
def console():
    with Daemon() as daemon:
        vmpool = CommandLine(daemon.url)
        text = "".join(f"line {number}\n" for number in range(500))
        vm = vmpool.json("vms", "create", "--image", "echo")["id"]
        equal(vmpool.run("console", vm, input=text + "\x04"), text, "what echo gave back")
        equal(vmpool.run("console", vm), text, "the console of a stopped VM")
        equal(vmpool.run("console", vm, "--from-now"), "", "the console from now on")
        code = processes.scratch_directory("code") / "exit"
        code.write_bytes(bytes([0xB0, 42, 0xE6, 0xF4, 0xF4]))
        vm = vmpool.json("vms", "create", "--flat", code, "--mode", "real16")["id"]
        vmpool.run("console", vm, status=42)
        vm = vmpool.json("vms", "create", "--image", "spin", "--deadline", "50")["id"]
        expect("deadline" in vmpool.run("console", vm, status=1), "how it stopped")


class Foreign(http.server.BaseHTTPRequestHandler):
    """A server that is none of ours."""

    def do_GET(self):
        self.send_error(404)

    def log_message(self, *_):
        pass


@check("exit statuses: 1 refused, 2 not there, 64 usage, 66 no file, 69 no server, 76 no vmpoold")
def statuses():
    with Daemon() as daemon:
        vmpool = CommandLine(daemon.url)
        vmpool.run("vms", "create", "--image", "spim", status=1)
        vmpool.run("vms", "create", "--image", "spin", "--vcpus", "9", status=1)
        vmpool.run("vms", "delete", "vm-000000000000", status=2)
        vmpool.run("images", "spim", status=2)
        vmpool.run("vms", "create", status=64)
        vmpool.run("nonsense", status=64)
        vmpool.run("kick", status=64)
        vmpool.run("vms", "create", "--flat", "/nonexistent", "--mode", "real16", status=66)
        CommandLine("http://127.0.0.1:1").run("host", status=69)
        CommandLine("unix:/nonexistent").run("host", status=69)
        CommandLine("ftp://x").run("host", status=64)
        with http.server.HTTPServer(("127.0.0.1", 0), Foreign) as other:
            threading.Thread(target=other.serve_forever, daemon=True).start()
            CommandLine("http://127.0.0.1:%d" % other.server_port).run("host", status=76)
            other.shutdown()
    used.discard("nonsense")


@check("completion scripts for every shell")
def completions():
    for shell, word in (("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")):
        script = processes.run([processes.BINARIES / "vmpool", "--generate-completion-script", shell])
        expect(script.returncode == 0 and word in script.stdout, lambda: f"{shell}: {script.stderr}")
        if processes.which(shell):
            path = pathlib.Path(processes.scratch_directory("completion") / shell)
            path.write_text(script.stdout)
            equal(processes.run([shell, "-n", path]).returncode, 0, f"{shell} -n")


@check("no command was left out")
def complete():
    text = processes.run([processes.BINARIES / "vmpool", "--help"]).stdout
    commands = re.findall(r"^  ([a-z]+)  +\S", text.split("SUBCOMMANDS:")[1], re.M)
    expect(len(commands) > 5, lambda: f"no commands in {text}")
    # The benchmarks need no server, and have tests of their own; so has what does not end by itself.
    equal(set(commands) - used - {"bench", "events", "help"}, set(), "commands that were not run")
