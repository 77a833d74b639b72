"""What a service manager sends and gets: sockets handed over, messages about the server's state."""
import contextlib
import os
import signal
import socket
import time

from testbed import processes
from testbed.checks import check, equal, eventually, expect
from testbed.daemon import Daemon
from testbed.held import held, threads


@contextlib.contextmanager
def manager(path=None):
    """A service manager's socket, and the environment of a server that reports to it."""
    path = path or str(processes.scratch_directory("notify") / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(path.replace("@", "\0"))
        end.settimeout(20)
        yield end, {**os.environ, "NOTIFY_SOCKET": path}


def message(end):
    """The next message: its assignments by name."""
    return dict(line.split("=", 1) for line in end.recv(4096).decode().splitlines())


@check("it sends READY=1 when it listens and STOPPING=1 when it ends, each with a status")
def notify():
    for path in (None, f"@vmpool-system-{os.getpid()}"):
        with manager(path) as (end, environment), Daemon(env=environment) as daemon:
            first = message(end)
            equal(first.pop("READY", None), "1", "the first message")
            equal(list(first), ["STATUS"], "what else it says")
            equal(daemon.client().get("/readyz").status, 200, "/readyz when it is ready")
            equal(daemon.stop(), 0, "the exit status")
            last = message(end)
            equal((last.get("STOPPING"), "STATUS" in last), ("1", True), f"the last message: {last}")


@check("a reload is RELOADING=1 with its time, then READY=1 with what came of it")
def reloading():
    path = processes.scratch_directory("configuration") / "vmpoold.yaml"
    path.write_text("pools: {a: {image: hello}, b: {image: hello}}\n")
    with manager() as (end, environment), Daemon("--config", path, env=environment) as daemon:
        equal(message(end)["READY"], "1", "the start")
        texts = {
            "pools: {a: {image: hello}, b: {image: nosuch}}\n": "1 pools, 1 refused",
            "pools: {a: {image: hello}}\n": "1 pools, 0 refused",
            "pools: {a: {imag: hello}}\n": "wrong",
            "": "wrong",
        }
        for text, status in texts.items():
            path.write_text(text)
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            daemon.process.send_signal(signal.SIGHUP)
            first, second = message(end), message(end)
            equal(first.get("RELOADING"), "1", f"the first message: {first}")
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            expect(before <= int(first["MONOTONIC_USEC"]) <= now, lambda: f"the time: {first}")
            equal(second.get("READY"), "1", f"the second message: {second}")
            expect(status in second["STATUS"], lambda: f"the status after {text!r}: {second}")


@check("the watchdog gets a sign of life from a server that answers, and none from one that hangs")
def watchdog():
    with manager() as (end, environment):
        environment["WATCHDOG_USEC"] = "400000"
        with Daemon(env=environment) as daemon:
            equal(message(end)["READY"], "1", "the start")
            equal(message(end)["WATCHDOG"], "1", "the first sign of life")
            with contextlib.ExitStack() as stack:
                # What answers requests stands still.
                workers = (threads(daemon, "vmpoold") | threads(daemon, "http")) - {daemon.pid}
                expect(workers, "no thread of the HTTP server was found")
                for thread in workers:
                    stack.enter_context(held(thread))
                eventually("the log says so", lambda: "does not answer itself" in daemon.log)
                end.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        end.recv(4096)
                failures = daemon.log.count("does not answer itself")
                eventually("it hangs on", lambda: daemon.log.count("does not answer itself") > failures + 1)
                with contextlib.suppress(BlockingIOError):
                    raise AssertionError(f"a sign of life while it hangs: {end.recv(4096)}")
                end.settimeout(20)
            equal(message(end)["WATCHDOG"], "1", "a sign of life when it answers again")


@check("a watchdog meant for another process is not answered")
def foreign_watchdog():
    with manager() as (end, environment):
        with Daemon(env={**environment, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}) as daemon:
            equal(message(end)["READY"], "1", "the start")
            equal(threads(daemon, "liveness"), set(), "threads for the watchdog")


@check("a manager that does not read holds nothing up")
def full():
    with manager() as (end, environment), Daemon(env=environment) as daemon:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    other.sendto(b"x", environment["NOTIFY_SOCKET"])
        equal(daemon.stop(), 0, "the exit status")


@check("it serves the sockets it is handed, and leaves them to their owner")
def activation():
    path = str(processes.scratch_directory("activation") / "socket")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen()
        for listener in (tcp, unix):
            # As a service manager does it: the socket is descriptor 3, and the variables name the very process.
            script = f'exec 3<&{listener.fileno()} {listener.fileno()}<&-; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
            if listener.fileno() == 3:
                script = 'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
            with Daemon(listen=(), before=["sh", "-c", script, "sh"], pass_fds=[listener.fileno()]) as daemon:
                wanted = path if listener is unix else tcp.getsockname()
                equal(daemon.addresses, [wanted], "where it listens")
                equal(daemon.client().get("/livez").status, 200, "through the socket handed over")
        expect(os.path.exists(path), "the socket's path is gone")


@check("variables meant for another process are ignored")
def foreign():
    with Daemon(env={**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": "1"}) as daemon:
        equal(daemon.client().get("/livez").status, 200, "through its own socket")


@check("a descriptor that is no listening socket is refused in a line")
def wrong():
    script = 'exec 3</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
    result = processes.run(["sh", "-c", script, "sh", processes.BINARIES / "vmpoold", "--listen", "127.0.0.1:0"])
    expect(result.returncode not in (0, 1) and len(result.stderr.splitlines()) == 1,
           lambda: f"{result.returncode}: {result.stderr}")
