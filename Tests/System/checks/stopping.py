"""The end: the server drains, stops every VM, and exits 0 in good time."""
import contextlib
import re
import signal
import threading
import time

from checks.lifecycle import create
from testbed.checks import Failure, becomes, check, equal, eventually, expect
from testbed.client import Client, connect, read_answer
from testbed.daemon import Daemon
from testbed.starvation import starved

# What is promised, and what a busy machine is allowed.
PROMISED, ALLOWED = 5, 10


def stop(daemon, number=signal.SIGTERM, wanted=0):
    """Ends the server, unless that has begun; how long it took."""
    began = time.monotonic()
    if "draining" not in daemon.log:
        daemon.process.send_signal(number)
    status = daemon.wait(ALLOWED)
    took = time.monotonic() - began
    equal(status, wanted, f"the exit status after {took:.1f} s; the log ends {daemon.log[-500:]}")
    return f"{took:.2f} s" + ("" if took < PROMISED else f", more than the {PROMISED} s promised")


@check("SIGTERM, SIGINT and SIGQUIT with eight spinning vCPUs")
def spinning():
    notes = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        with Daemon() as daemon:
            client = daemon.client()
            create(client, image="spin", vcpus=8)
            create(client, image="pio")
            create(client, image="echo")
            notes.append(f"{signal.Signals(number).name} {stop(daemon, number)}")
            expect("notice stopped" in daemon.log, "the log does not tell the end")
            expect("swift-runtime" not in daemon.log, "the signal is taken for a crash")
    return ", ".join(notes)


@check("requests that wait for an answer get one, and nobody new is let in")
def waiting():
    with Daemon() as daemon:
        vm = create(daemon.client(), image="spin", vcpus=1)
        statuses, workers = [], []
        with starved(daemon):
            for _ in range(8):
                worker = threading.Thread(target=kick_until_refused, args=(daemon.address, vm, statuses))
                worker.start()
                workers.append(worker)
            becomes(9, "connections", daemon.connections)
            daemon.process.send_signal(signal.SIGTERM)
            eventually("it drains", lambda: "draining" in daemon.log)
        # The vCPU gets a processor again, without which its thread could not even end.
        note = stop(daemon)
        for worker in workers:
            worker.join(30)
        odd = set(statuses) - {200, 409, 503, 504, None}
        equal(odd, set(), "what was answered while the server stopped")
        equal(statuses.count(None), 8, "the clients that were let go in the end")
        return note


def kick_until_refused(address, vm, statuses):
    try:
        with Client(address) as client:
            while True:
                statuses.append(client.post(f"{vm}/kick", {"timeout_ms": 60000}).status)
    except OSError:
        statuses.append(None)
    except Exception as error:
        # The connection was closed between two requests, or within an answer that nobody would have got.
        statuses.append(None if "closed connection" in str(error) else error)


@check("sixty VMs that all spin")
def many():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        vms = [create(client, image="spin", start=False) for _ in range(60)]
        for vm in vms:
            equal(client.post(f"{vm}/start").status, 200, "starting")
        note = stop(daemon)
        late = re.search(r"did not stop in time.*", daemon.log)
        return note + (f"; {late[0][:80]}" if late else "")


@check("idle connections, half a request and a full kernel queue do not hold it up")
def idle():
    with Daemon() as daemon:
        client = daemon.client()
        create(client, image="spin")
        held = [connect(daemon.address) for _ in range(50)]
        for plain in held[:20]:
            plain.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            equal(read_answer(plain.makefile("rb")).status, 200, "a keep-alive request")
        for plain in held[20:40]:
            plain.sendall(b"POST /v1/vms HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        note = stop(daemon)
        for plain in held:
            plain.close()
        return note


@check("while it drains it says so, and takes no new work")
def draining():
    # Kicks keep the drain waiting for answers, so that there is a while to look into.
    for _ in range(10):
        with Daemon() as daemon:
            with daemon.client() as client:
                create(client, image="spin", vcpus=8)
            seen = look_while_draining(daemon)
            equal(daemon.wait(ALLOWED), 0, "the exit status")
        if seen:
            answers = dict(seen)
            equal(answers.get("/readyz", 503), 503, "/readyz while draining")
            equal(answers.get("/livez", 200), 200, "/livez while draining")
            return f"{len(seen)} answers seen"
    return "too short a while to see it"


def look_while_draining(daemon):
    """What connections made before say after the signal."""
    seen = []
    plains = [connect(daemon.address) for _ in range(20)]
    daemon.process.send_signal(signal.SIGTERM)
    with contextlib.suppress(Failure):
        eventually("it drains", lambda: "draining" in daemon.log, 5)
    for number, plain in enumerate(plains):
        path = "/livez" if number % 2 else "/readyz"
        with plain, contextlib.suppress(OSError):
            plain.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = read_answer(plain.makefile("rb"))
            if answer is not None and not (path == "/readyz" and answer.status == 200):
                seen.append((path, answer.status))
                equal(answer.headers["Connection"], "close", f"Connection of {path} while draining")
    return seen


@check("a second signal ends it at once")
def second():
    with Daemon() as daemon:
        create(daemon.client(), image="spin", vcpus=8)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.send_signal(signal.SIGINT)
        status = daemon.wait(ALLOWED)
        # The drain may be over before the second one is seen.
        expect(status in (0, 128 + signal.SIGINT, 128 + signal.SIGTERM), f"the exit status: {status}")
        return f"exit status {status}"


@check("signals that are none of its business do not end it")
def other_signals():
    with Daemon() as daemon:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE):
            daemon.process.send_signal(number)
        equal(daemon.client().get("/readyz").status, 200, "/readyz")
