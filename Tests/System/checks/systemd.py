"""What a service manager says and hears: sockets handed over, readiness told."""
import os
import socket

from testbed import processes
from testbed.checks import check, equal, expect
from testbed.daemon import Daemon


@check("it tells READY=1 when it listens and STOPPING=1 when it ends")
def notify():
    for path in (str(processes.scratch_directory("notify") / "socket"), f"@vmpool-system-{os.getpid()}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path.replace("@", "\0"))
            manager.settimeout(20)
            with Daemon(env={**os.environ, "NOTIFY_SOCKET": path}) as daemon:
                equal(manager.recv(4096), b"READY=1", "the first word")
                equal(daemon.client().get("/readyz").status, 200, "/readyz when it is ready")
                equal(daemon.stop(), 0, "the exit status")
                equal(manager.recv(4096), b"STOPPING=1", "the last word")


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
