"""Who a process at a unix socket is: its user and its groups, and what the configuration file makes of them."""
import json
import os
import signal

from testbed import processes
from testbed.checks import Skipped, check, equal, eventually, expect
from testbed.client import Client, connect
from testbed.daemon import Daemon

ALICE, BOB, STAFF, OTHERS = 41001, 41002, 42001, 42002

# Prints the status of each of its requests.
REQUESTS = """
import http.client, json, socket, sys
for word in sys.argv[2:]:
    method, path = word.split(":", 1)
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(sys.argv[1])
    connection.request(method, path, body="{}" if method == "POST" else None)
    print(connection.getresponse().status)
"""


def statuses(path, uid, gid, groups, *requests):
    """What the server answers a process of that user and these groups: requests such as `GET:/v1/vms`."""
    groups = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
    user = ["setpriv", "--reuid", uid, "--regid", gid, *groups]
    result = processes.run([*user, "/usr/bin/python3", "-c", REQUESTS, path, *requests])
    equal(result.returncode, 0, f"the client of user {uid}: {result.stderr}")
    return [int(line) for line in result.stdout.split()]


class Socket:
    """A server on a unix socket that every user may connect to, with a section `access:` of its own."""

    def __init__(self, access):
        for directory in (processes.SCRATCH, home := processes.scratch_directory("peers")):
            directory.chmod(0o755)
        self.file = home / "vmpoold.yaml"
        self.write(access)
        self.path = str(home / "s")
        self.daemon = Daemon("--config", self.file, listen=[f"unix:{self.path}"])
        os.chmod(self.path, 0o666)

    def write(self, access):
        self.file.write_text(json.dumps({"pools": {"p": {"image": "hello"}}, **({"access": access} if access else {})}))

    def reread(self, access):
        count = self.daemon.log.count("the configuration file was read again")
        self.write(access)
        self.daemon.process.send_signal(signal.SIGHUP)
        eventually(
            "the file is read again",
            lambda: self.daemon.log.count("the configuration file was read again") > count)


def rule(scopes, **subject):
    return {**subject, "tenant": "default", "scopes": scopes}


@check("users and groups have the scopes that the first rule gives them; SIGHUP changes that for connections that come")
def rules():
    if os.geteuid() != 0:
        raise Skipped("it takes root to be another user")
    socket = Socket({"unix": [rule(["read"], uid=ALICE), rule(["read", "lease"], gid=STAFF)]})
    with socket.daemon:
        requests = ("GET:/v1/vms", "POST:/v1/pools/p/leases", "GET:/livez")

        def ask(uid, gid, groups=()):
            return statuses(socket.path, uid, gid, groups, *requests)

        equal(ask(ALICE, OTHERS), [200, 403, 200], "the user of the first rule")
        equal(ask(ALICE, STAFF), [200, 403, 200], "the first rule goes before the second")
        for gid, groups in ((STAFF, ()), (OTHERS, (STAFF,)), (OTHERS, (OTHERS, STAFF))):
            equal(ask(BOB, gid, groups)[::2], [200, 200], f"the group {STAFF} among {gid} and {groups}")
            expect(ask(BOB, gid, groups)[1] not in (401, 403), "the group may lease")
        equal(ask(BOB, OTHERS), [401, 401, 200], "a user that no rule names")
        expect(ask(0, 0)[1] not in (401, 403), "root may do everything")
        with connect(socket.daemon.address) as stream:
            stream.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            expect(b"200 OK" in stream.recv(4096), "the stream does not begin")
            socket.reread({"unix": [rule(["read"], uid=BOB)]})
            # Its client is looked at anew when it comes again.
            while stream.recv(4096):
                pass
        equal(ask(BOB, OTHERS), [200, 403, 200], "a user that a later file names")
        equal(ask(ALICE, STAFF), [401, 401, 200], "a user that a later file does not name")
        socket.reread(None)
        expect("the server stays closed" in socket.daemon.log, "the log says that the section is gone")
        equal(ask(BOB, OTHERS), [401, 401, 200], "a file without the section opens nothing")
        expect(ask(0, 0)[1] not in (401, 403), "root may do everything still")


@check("metrics are for those who may read, unless the configuration opens them")
def metrics():
    if os.geteuid() != 0:
        raise Skipped("it takes root to be another user")
    socket = Socket({"unix": [rule(["read"], uid=ALICE), rule(["lease"], uid=BOB)]})
    with socket.daemon:
        ask = lambda uid: statuses(socket.path, uid, OTHERS, (), "GET:/metrics")
        equal(ask(ALICE), [200], "a user who may read")
        equal(ask(BOB), [403], "a user who may not read")
        equal(ask(BOB + 1), [401], "a user that no rule names")
        socket.reread({"metrics": "open"})
        equal(ask(BOB + 1), [200], "any user, where metrics are open")


@check("over TCP the same server asks for a key")
def tcp():
    home = processes.scratch_directory("peers")
    (home / "vmpoold.yaml").write_text("pools: {}\naccess: {}\n")
    path = str(home / "s")
    with Daemon("--config", home / "vmpoold.yaml", listen=["127.0.0.1:0", f"unix:{path}"]) as daemon:
        answer = daemon.client().get("/v1/vms")
        equal(answer.status, 401, "without a key over TCP")
        expect(answer.headers["WWW-Authenticate"].startswith("Bearer"), "the challenge")
        with Client(path) as client:
            equal(client.get("/v1/vms").status, 200, "the server's own user over the unix socket")
