"""vmpool at a terminal: tmux shows what a person sees."""
import os
import re

from checks.command_line import CommandLine
from testbed import processes
from testbed.checks import Skipped, becomes, check, equal, eventually, expect
from testbed.daemon import Daemon


class Terminal:
    """A shell in a terminal of 80 columns and 24 lines."""

    def __init__(self, daemon):
        if not processes.which("tmux"):
            raise Skipped("tmux is missing: scripts/dependencies test installs it")
        self.socket = processes.scratch_directory("tmux") / "socket"
        self.environment = {
            **os.environ, "VMPOOL_SERVER": daemon.url, "PATH": f"{processes.BINARIES}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8", "TERM": "xterm",
        }
        # As users have it: Swift's runtime then watches for crashes.
        self.environment.pop("SWIFT_BACKTRACE", None)

    def tmux(self, *words):
        result = processes.run(["tmux", "-u", "-f", "/dev/null", "-S", self.socket, *words], env=self.environment)
        expect(result.returncode == 0, lambda: f"tmux {words}: {result.stderr}")
        return result.stdout

    def __enter__(self):
        self.tmux("new-session", "-d", "-x", "80", "-y", "24", "bash --norc --noprofile")
        try:
            self.shows(r"^bash\S*[#$]")
        except BaseException:
            self.tmux("kill-server")
            raise
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")

    def type(self, text):
        """Types a line, and the key that ends it."""
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Enter")

    def key(self, name):
        self.tmux("send-keys", name)

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def shows(self, pattern):
        return eventually(f"the screen shows {pattern}", lambda: re.search(pattern, self.screen(), re.M))

    def status(self):
        """The exit status of the last command, once the shell is back."""
        self.type("echo status:$?.")
        return int(self.shows(r"^status:(\d+)\.")[1])


@check("top shows the busiest first, anew and anew, and leaves the terminal as it was")
def top():
    with Daemon("--no-demo-pool") as daemon, Terminal(daemon) as terminal:
        vmpool = CommandLine(daemon.url)
        quiet = vmpool.run("vms", "create", "--image", "spin", "-q").strip()
        busy = vmpool.run("vms", "create", "--image", "pio", "-q").strip()
        terminal.type("echo before; vmpool top --interval 200ms")
        rate = rf"^ID +POOL +IMAGE +VCPUS +MEMORY +EXITS/S +KICKS/S +AGE\n{busy} .* [1-9]\d* +\d+ +\d+s\n{quiet} "
        terminal.shows(rate)
        expect("before" not in terminal.screen(), "top shows what was there before")
        vmpool.run("rm", busy)
        becomes(False, "a VM that was deleted is shown", lambda: busy in terminal.screen())
        terminal.shows(quiet)
        terminal.key("q")
        terminal.shows("before")
        equal(terminal.status(), 0, "the exit status after q")
        expect("EXITS/S" not in terminal.screen(), "top left its screen behind")
        terminal.type("clear; vmpool top --interval 1h")
        terminal.shows(quiet)
        terminal.key("C-c")
        equal(terminal.status(), 130, "the exit status after Ctrl-C")
        # The terminal echoes again.
        terminal.type("echo ec''hoed")
        terminal.shows("^echoed$")


@check("--watch shows a list anew, within the terminal's width, and ends with q or Ctrl-C")
def watch():
    with Daemon("--no-demo-pool") as daemon, Terminal(daemon) as terminal:
        vmpool = CommandLine(daemon.url)
        terminal.type("vmpool ps --watch --interval 200ms")
        terminal.shows("^no VMs$")
        long = "a-name-of-a-pool-that-is-longer-than-any-column-of-a-table-has"
        vmpool.run("pools", "set", long, "--image", "hello", "--ready", "1")
        terminal.shows(r"^vm-[0-9a-f]{16}  a-name-of-a-pool\S*…  hello  ready +1 +2 MiB +\d+s")
        for line in terminal.screen().splitlines():
            expect(len(line) <= 80, lambda: f"{len(line)} columns: {line}")
        vmpool.run("pools", "rm", long)
        terminal.shows("^no VMs$")
        terminal.key("q")
        equal(terminal.status(), 0, "the exit status after q")
        for words in ("pools", "leases", "images", "blobs"):
            terminal.type(f"clear; vmpool {words} -w --interval 1h")
            terminal.shows("^no |^NAME ")
            terminal.key("C-c")
            equal(terminal.status(), 130, f"the exit status of {words} after Ctrl-C")
        terminal.type("clear; vmpool ps -w --interval 1h")
        terminal.shows("^no VMs$")
        terminal.key("C-\\")
        equal(terminal.status(), 131, "the exit status after Ctrl-\\")
        terminal.type("clear; vmpool events --since 0")
        terminal.shows("^20.* (reset|pool[.]declared)")
        terminal.key("C-\\")
        equal(terminal.status(), 131, "the exit status of events after Ctrl-\\")
        expect("acktrace" not in terminal.screen(), lambda: f"a backtrace: {terminal.screen()}")
        # Where stdout is no terminal, what is the same is printed once.
        terminal.type("clear; timeout --foreground 1 vmpool images -w --interval 100ms | grep -c ^NAME")
        terminal.shows("^1$")


@check("logs -f prints what comes, until the VM stops or Ctrl-C")
def logs():
    with Daemon("--no-demo-pool") as daemon, Terminal(daemon) as terminal:
        vmpool = CommandLine(daemon.url)
        vm = vmpool.run("vms", "create", "--image", "echo", "-q").strip()
        client = daemon.client()
        say = lambda data: client("POST", f"/v1/vms/{vm}/console", data, {"Content-Type": "application/octet-stream"})
        say(b"one\ntwo\nthree\n")
        becomes(14, "bytes", lambda: client.get(f"/v1/vms/{vm}").json["console_bytes"])
        equal(vmpool.run("logs", vm), "one\ntwo\nthree\n", "logs")
        equal(vmpool.run("logs", "--tail", "1", vm), "three\n", "logs --tail")
        terminal.type(f"clear; vmpool logs -f -n 2 {vm}")
        terminal.shows("^two\nthree$")
        expect("one" not in terminal.screen(), "lines before the last two")
        say(b"four\n")
        terminal.shows("^four$")
        terminal.key("C-c")
        equal(terminal.status(), 130, "the exit status after Ctrl-C")
        terminal.type(f"clear; vmpool logs -f {vm}")
        terminal.shows("^four$")
        say(b"five\n\x04")
        terminal.shows("^five$")
        equal(terminal.status(), 0, "the exit status when the VM stops")


@check("a console at a terminal passes every key on but Ctrl-], and gives the terminal back")
def console():
    with Daemon("--no-demo-pool") as daemon, Terminal(daemon) as terminal:
        vmpool = CommandLine(daemon.url)
        vm = vmpool.run("vms", "create", "--image", "echo", "-q").strip()
        terminal.type(f"clear; vmpool console {vm}")
        terminal.shows("Ctrl-] leaves")
        terminal.tmux("send-keys", "-l", "typed")
        terminal.shows("^typed")
        terminal.key("C-]")
        terminal.shows(f"left {vm}")
        equal(terminal.status(), 0, "the exit status after Ctrl-]")
        terminal.type(f"clear; vmpool console --from-now {vm}")
        terminal.shows("Ctrl-] leaves")
        terminal.key("C-d")
        terminal.shows("exited 0")
        equal(terminal.status(), 0, "the exit status of a guest that exits with 0")
