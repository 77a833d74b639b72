"""The client, against a live server."""
import http.server
import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import threading

from testbed import processes
from testbed.checks import becomes, check, equal, eventually, expect
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
        result = processes.run(self.command(*words), env=self.environment, **options)
        told = result.stdout + result.stderr
        equal(result.returncode, status, f"the exit status of vmpool {' '.join(map(str, words))}: {told}")
        return result.stdout if status == 0 else told

    def command(self, *words):
        return [processes.BINARIES / "vmpool", *words, *self.options]

    def start(self, *words, **options):
        """The command, running."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return processes.start(self.command(*words), env=self.environment, **options)

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
    equal(vmpool.json("images", "show", "spin")["name"], "spin", "an image")
    equal(vmpool.run("images", "show", "spin").split()[:2], ["name:", "spin"], "the details of an image")
    equal(vmpool.json("blobs")["items"], [], "blobs")
    equal(vmpool.json("keys", "list")["items"], [], "keys")

    equal(vmpool.json("pools", "set", "cli", "--image", "echo", "--ready", "1")["name"], "cli", "pools set")
    expect("cli" in [pool["name"] for pool in vmpool.json("pools", "list")["items"]], "pools list")
    expect("cli" in vmpool.run("pools") and "echo" in vmpool.run("pools", "show", "cli"), "the tables of pools")
    patched = vmpool.json("pools", "patch", "cli", "--ready", "1:2", "--max-vms", "4", "--deadline", "90s")
    equal((patched["ready"], patched["max_vms"]), ({"min": 1, "max": 2}, 4), "pools patch")
    equal(patched["deadline_ms"], 90_000, "a deadline in seconds")
    equal(vmpool.json("pools", "patch", "cli", "--max-vms", "none")["max_vms"], None, "a limit taken back")

    lease = vmpool.json("lease", "cli", "--ttl", "90s", "--wait", "20s", "--label", "a=b", "--no-start")
    equal((lease["pool"], lease["labels"]), ("cli", {"a": "b"}), "lease")
    equal(vmpool.json("vms", "show", lease["vm"])["state"], "ready", "the state of a VM leased with --no-start")
    equal(vmpool.json("leases", "--pool", "cli")["items"], [lease], "leases")
    expect("a=b" in vmpool.run("leases", "show", lease["lease"]), "the details of a lease")
    longer = vmpool.json("extend", lease["lease"], "--ttl", "1h")
    expect(longer["expires_at"] > lease["expires_at"], "extend")
    expect(lease["lease"] in vmpool.run("extend", lease["lease"]), "the table of extend")
    vmpool.run("release", lease["lease"])
    vmpool.run("release", lease["lease"])
    expect("was released" in vmpool.run("extend", lease["lease"], status=2), "what became of a lease")
    vmpool.run("leases", "show", "lease-0000000000000000", status=2)
    vmpool.run("run", "none", status=2)

    vm = vmpool.json("vms", "create", "--image", "spin", "--vcpus", "2", "--memory", "4", "--no-start")["id"]
    equal(vmpool.json("vms", "show", vm)["state"], "ready", "vms show")
    for verb, state in (("start", "running"), ("pause", "paused"), ("resume", "running")):
        equal(vmpool.json("vms", verb, vm)["state"], state, f"vms {verb}")
        expect(state in vmpool.run("vms", "show", vm), f"the table after {verb}")
    expect(vm in vmpool.run("vms") and vm in vmpool.run("vms", "list", "--state", "running"), "the tables of VMs")
    equal(vmpool.run("ps", "-q"), vmpool.run("ls", "-q"), "ps and ls")
    equal(vmpool.json("inspect", vm)["id"], vm, "inspect")
    expect(vm in vmpool.run("top", "--looks", "1"), "top")
    equal(vmpool.run("logs", vm), "", "logs")
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
    vmpool.run("rm", vm)
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
        vm = vmpool.json("vms", "create", "--image", "spin", "--deadline", "50ms")["id"]
        expect("deadline" in vmpool.run("console", vm, status=124), "how it stopped")


@check("vms show --wait-for")
def wait_for():
    with Daemon() as daemon:
        vmpool = CommandLine(daemon.url)
        vm = vmpool.json("vms", "create", "--image", "spin", "--deadline", "300ms")["id"]
        equal(vmpool.json("vms", "show", vm, "--wait-for", "stopped")["stop"]["reason"], "deadline", "how it stopped")
        expect("not running" in vmpool.run("vms", "show", vm, "--wait-for", "running", status=1), "what it is instead")
        vm = vmpool.json("vms", "create", "--image", "spin")["id"]
        expect(
            "is running" in vmpool.run("vms", "show", vm, "--wait-for", "paused", "--timeout", "50ms", status=124),
            "what it is when the time is over",
        )


def pools(vmpool):
    """Pools of what there is to run."""
    for image in ("hello", "echo", "spin", "halt"):
        vmpool.run("pools", "set", image, "--image", image, "--ready", "1")


@check("run ends as the guest ends, and gives its VM back")
def run():
    with Daemon() as daemon:
        vmpool = CommandLine(daemon.url)
        pools(vmpool)
        wait = ("--wait", "20s")
        equal(vmpool.run("run", "hello", *wait), "Hello from vmpool\n", "what hello says")
        vmpool.run("run", "halt", *wait)
        text = "".join(f"line {number}\n" for number in range(500))
        path = processes.scratch_directory("input") / "file"
        path.write_text(text + "\x04")
        equal(vmpool.run("run", "echo", "--input", path, *wait), text, "what echo gives back of a file")
        equal(vmpool.run("run", "echo", "--input", "-", *wait, input=text + "\x04"), text, "and of stdin")
        expect("after 100ms" in vmpool.run("run", "spin", "--deadline", "100ms", *wait, status=124), "a deadline")
        document = json.loads(vmpool.run("run", "echo", "--input", path, "--json", *wait))
        equal((document["outcome"], document["exit_code"], document["console"]), ("exited", 0, text), "run --json")
        result = processes.run(vmpool.command("run", "spin", "--deadline", "50ms", "--json", *wait))
        equal((result.returncode, json.loads(result.stdout)["outcome"]), (124, "deadline"), "a deadline with --json")
        vmpool.run("run", "echo", "--input", "/nonexistent", status=66)
        vmpool.run("pools", "set", "none", "--image", "hello", "--ready", "0", "--max-vms", "1", "--paused")
        expect("was ready in time" in vmpool.run("run", "none", status=75), "an exhausted pool")
        expect("was ready in time" in vmpool.run("lease", "none", status=75), "an exhausted pool")
        equal(vmpool.json("leases")["items"], [], "leases that are left")


def running(vmpool, pool):
    """A run of a pool that has begun, and its lease."""
    process = vmpool.start("run", pool, "--deadline", "1h", "--wait", "20s")
    lease = eventually("it has a lease", lambda: vmpool.json("leases", "--pool", pool)["items"])[0]
    eventually("it runs", lambda: vmpool.json("vms", "show", lease["vm"])["state"] == "running")
    return process, lease


@check("a run gives its VM back when a signal ends it, and ends with it when it is taken away")
def interrupted():
    with Daemon() as daemon:
        vmpool = CommandLine(daemon.url)
        pools(vmpool)
        # Whoever runs this in the background has SIGINT ignored, and vmpool leaves it so.
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        for number in (signal.SIGTERM,) if ignored else (signal.SIGINT, signal.SIGTERM):
            process, _ = running(vmpool, "spin")
            process.send_signal(number)
            process.communicate(timeout=20)
            equal(process.returncode, 128 + number, "the exit status")
            equal(vmpool.json("leases")["items"], [], "leases that are left")
        process, lease = running(vmpool, "spin")
        vmpool.run("vms", "delete", lease["vm"])
        process.communicate(timeout=20)
        equal(process.returncode, 137, "the exit status of a run whose VM was deleted")
        process, lease = running(vmpool, "spin")
        vmpool.run("release", lease["lease"])
        process.communicate(timeout=20)
        equal(process.returncode, 137, "the exit status of a run whose lease was released")
        # A pipe without a reader ends it as SIGPIPE ends others, without a word.
        reader, writer = os.pipe()
        os.close(reader)
        process = vmpool.start("run", "hello", "--wait", "20s", stdout=writer)
        os.close(writer)
        equal(process.communicate(timeout=20)[1], b"", "what it says without a reader")
        equal(process.returncode, 128 + signal.SIGPIPE, "the exit status without a reader")
        equal(vmpool.json("leases")["items"], [], "leases that are left")
        with open("/dev/full", "wb") as full:
            process = vmpool.start("run", "hello", "--wait", "20s", stdout=full)
        expect(b"No space left" in process.communicate(timeout=20)[1], "what it says of a full disk")
        equal(process.returncode, 74, "the exit status with a full disk")
        equal(vmpool.json("leases")["items"], [], "leases that are left")


@check("a run that waits for a VM leaves the queue when a signal ends it")
def leaves_the_queue():
    with Daemon() as daemon:
        vmpool = CommandLine(daemon.url)
        vmpool.run("pools", "set", "one", "--image", "spin", "--ready", "1", "--max-vms", "1")
        vmpool.run("lease", "one", "--wait", "20s")
        process = vmpool.start("run", "one", "--wait", "1m")
        waiting = lambda: vmpool.json("pools", "show", "one")["status"]["waiting"]
        becomes(1, "clients in the queue", waiting)
        # Not SIGINT, which whoever runs this in the background has it ignore.
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        equal(process.returncode, -signal.SIGTERM, "the exit status")
        becomes(0, "clients in the queue", waiting)


@check("run prints what the guest writes as it comes")
def streams():
    with Daemon() as daemon:
        vmpool = CommandLine(daemon.url)
        pools(vmpool)
        process = vmpool.start("run", "echo", "--input", "-", "--wait", "20s", stdin=subprocess.PIPE)
        for line in (b"one\n", b"two\n"):
            process.stdin.write(line)
            process.stdin.flush()
            equal(process.stdout.readline(), line, "the line that came back")
        process.stdin.write(b"\x04")
        process.stdin.close()
        equal(process.wait(20), 0, "the exit status")


PLAN = """
pools:
  first: {image: hello, ready: 1}
  second:
    image: echo
    ready: {min: 1, max: 2}
    max_vms: 4
"""


def asked(vmpool, *words, answer, meanwhile):
    """What the command says when it asks, and is answered at a terminal; and its exit status."""
    own, terminal = pty.openpty()
    process = vmpool.start(*words, stdin=terminal)
    os.close(terminal)
    said = b""
    while not said.endswith(b"[y/N] "):
        byte = process.stderr.read(1)
        expect(byte, lambda: f"it does not ask: {said}")
        said += byte
    meanwhile()
    os.write(own, answer)
    out, err = process.communicate(timeout=20)
    os.close(own)
    return (out + said + err).decode(), process.returncode


@check("pools apply shows what changes, asks, and overwrites nobody's changes")
def apply():
    directory = processes.scratch_directory("apply")
    path, own = directory / "pools.yaml", directory / "own.yaml"
    path.write_text(PLAN)
    own.write_text("pools: {theirs: {image: hello, ready: 1}}")
    with Daemon("--config", own) as daemon:
        vmpool = CommandLine(daemon.url)
        names = lambda: {pool["name"] for pool in vmpool.json("pools")["items"]}
        expect("+ first: new" in vmpool.run("pools", "apply", "-f", path, "--dry-run"), "the plan")
        expect("first" not in names(), "--dry-run declares a pool")
        vmpool.run("pools", "apply", "-f", path, status=64)
        expect("first" not in names(), "a pool is declared without asking")
        vmpool.run("pools", "apply", "-f", "-", "--yes", input=PLAN)
        equal(vmpool.json("pools", "show", "second")["max_vms"], 4, "what was declared")
        plan = [(pool["name"], pool["action"]) for pool in vmpool.json("pools", "apply", "-f", path)["pools"]]
        equal(plan, [("first", "keep"), ("second", "keep")], "the plan when nothing changes")

        # Somebody changes a pool while the question is asked.
        path.write_text(PLAN.replace("max_vms: 4", "max_vms: 5").replace("ready: 1}", "ready: 2}"))
        words = ("pools", "apply", "-f", path)
        said, status = asked(vmpool, *words, answer=b"n\n", meanwhile=lambda: None)
        expect("max_vms: 4 → 5" in said and "ready: 1 → 2" in said and status == 1, lambda: f"{status}: {said}")
        equal(vmpool.json("pools", "show", "second")["max_vms"], 4, "what was not agreed to")
        meanwhile = lambda: vmpool.run("pools", "patch", "second", "--max-vms", "9")
        said, status = asked(vmpool, *words, answer=b"y\n", meanwhile=meanwhile)
        expect("second was changed by another client" in said and status == 1, lambda: f"{status}: {said}")
        equal(vmpool.json("pools", "show", "second")["max_vms"], 9, "what somebody else declared")
        equal(vmpool.json("pools", "show", "first")["ready"], {"min": 2, "max": 2}, "what nobody else changed")
        equal(asked(vmpool, *words, answer=b"y\n", meanwhile=lambda: None)[1], 0, "the exit status at last")
        equal(vmpool.json("pools", "show", "second")["max_vms"], 5, "what was declared at last")

        path.write_text("pools: {first: {image: hello, ready: 2}}")
        text = vmpool.run("pools", "apply", "-f", path, "--prune", "--yes")
        expect("- second: deleted" in text and "theirs" not in text, lambda: text)
        equal(names(), {"first", "theirs"}, "the pools that are left")
        path.write_text("pools: {theirs: {image: echo}}")
        expect("! theirs" in vmpool.run("pools", "apply", "-f", path, "--yes", status=1), "the server's own file")
        path.write_text("pools:\n  first: {imag: hello}\n")
        expect(f"{path}:2:11: " in vmpool.run("pools", "apply", "-f", path, status=65), "the place of a mistake")
        vmpool.run("pools", "apply", "-f", directory / "none", status=66)

        # A dry run says what the server would say, of every pool, and changes nothing.
        path.write_text("pools: {a1: {image: nope}, a2: {image: hello, memory_mib: 65536}, first: {image: echo, ready: 2}}")
        said = vmpool.run("pools", "apply", "-f", path, "--dry-run", status=1)
        expect("pool a1: image: There is no image nope" in said and "--image" not in said, said)
        expect("pool a2: memory_mib: " in said, said)
        equal(vmpool.json("pools", "show", "first")["image"], "hello", "what a dry run changes")
        equal(vmpool.run("pools", "apply", "-f", path, "--yes", status=1), said, "what is said without --dry-run")
        equal(vmpool.json("pools", "show", "first")["image"], "echo", "what the server takes")
        vmpool.run("pools", "set", "first", "--image", "hello", "--ready", "2")

        # A pool that is leased from goes later, or by force.
        lease = vmpool.json("lease", "first", "--wait", "20s")["lease"]
        vmpool.run("pools", "delete", "first")
        expect("draining" in vmpool.run("pools") and "first" in names(), "a pool with a lease")
        vmpool.run("pools", "delete", "first", "--force")
        expect("first" not in names(), "a pool that was deleted by force is there")
        expect("lost" in vmpool.run("extend", lease, status=2), "what became of its lease")


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
        vmpool.run("vms", "delete", "vm-0000000000000000", status=2)
        vmpool.run("images", "show", "spim", status=2)
        said = vmpool.run("vms", "create", status=64)
        expect("--image NAME" in said and "vmpool images" in said and "--flat" in said, said)
        says(vmpool.run("lease", "demo", "--ttl", "100h", status=1), "--ttl is 100h", "1ms to 24h")
        says(vmpool.run("pools", "set", "p", "--image", "spin", "--ready", "1", "--deadline", "25h", status=64),
             "--deadline is 25h", "1ms to 24h")
        vmpool.run("nonsense", status=64)
        vmpool.run("kick", status=64)
        vmpool.run("vms", "create", "--flat", "/nonexistent", "--mode", "real16", status=66)
        says(CommandLine("http://127.0.0.1:1").run("host", status=69), "nothing listens there")
        says(CommandLine("http://no-such-host.invalid:1").run("host", status=69), "no address is known", "look at")
        says(CommandLine("http://me:secret@127.0.0.1:1").run("host", status=64), "***@127.0.0.1", "no password")
        CommandLine("unix:/nonexistent").run("host", status=69)
        CommandLine("ftp://x").run("host", status=64)
        with http.server.HTTPServer(("127.0.0.1", 0), Foreign) as other:
            threading.Thread(target=other.serve_forever, daemon=True).start()
            says(CommandLine("http://127.0.0.1:%d" % other.server_port).run("host", status=76),
                 "is no vmpool server", "Another program listens there")
            other.shutdown()
    used.discard("nonsense")


def says(told, *words):
    """Holds a message to its words, none of which are a member's or curl's."""
    for word in words:
        expect(word in told, lambda: f"{word!r} is not in {told!r}")
    for word in ("_ms", "secret", "Could not", "Couldn't", "curl"):
        expect(word not in told, lambda: f"{word!r} is in {told!r}")


@check("completion scripts for every shell, which complete names")
def completions():
    for shell, word in (("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")):
        script = processes.run([processes.BINARIES / "vmpool", "--generate-completion-script", shell])
        expect(script.returncode == 0 and word in script.stdout, lambda: f"{shell}: {script.stderr}")
        if processes.which(shell):
            path = pathlib.Path(processes.scratch_directory("completion") / shell)
            path.write_text(script.stdout)
            equal(processes.run([shell, "-n", path]).returncode, 0, f"{shell} -n")
    with Daemon() as daemon:
        vmpool = CommandLine(daemon.url, by_environment=True)
        for words, wanted in (
            (("run", "demo"), {"demo"}), (("vms", "show"), {vm["id"] for vm in vmpool.json("ps")["items"]}),
            (("pools", "show"), {"demo"}), (("pools", "get"), {"demo"}),
            (("ls", "get"), {vm["id"] for vm in vmpool.json("ps")["items"]}),
            (("images", "show"), {image["name"] for image in vmpool.json("images")["items"]}),
        ):
            equal(completed(daemon, words[0:2] if words[0] != "run" else words[:1]), wanted, f"completions of {words}")


def completed(daemon, words):
    """What bash offers for the next word of a command line."""
    script = f"""
        source <({processes.BINARIES}/vmpool --generate-completion-script bash)
        COMP_WORDS=(vmpool {' '.join(words)} '') COMP_CWORD={len(words) + 1} COMP_TYPE=9
        COMP_LINE="vmpool {' '.join(words)} " COMP_POINT=${{#COMP_LINE}}
        _vmpool 2>/dev/null; printf '%s\\n' "${{COMPREPLY[@]}}" """
    environment = {**os.environ, "VMPOOL_SERVER": daemon.url, "PATH": f"{processes.BINARIES}:{os.environ['PATH']}"}
    words = processes.run(["bash", "-c", script], env=environment).stdout.split()
    return {word for word in words if not word.startswith("-")}


@check("no command was left out")
def complete():
    text = processes.run([processes.BINARIES / "vmpool", "--help"]).stdout
    commands = re.findall(r"^  ([a-z]+)(?:, [a-z, ]+)?  +\S", text.split("SUBCOMMANDS:", 1)[1], re.M)
    expect(len(commands) > 15, lambda: f"no commands in {text}")
    # These have checks of their own: installation, boot, events, contexts, keys, offline_keys.
    equal(set(commands) - used - {"audit", "bench", "boot", "events", "context", "help", "keys"}, set(), "commands that were not run")
