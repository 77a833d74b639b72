"""Where the server listens, and where it does not."""
import os
import socket
import stat

from testbed import processes
from testbed.checks import Skipped, check, equal, eventually, expect
from testbed.daemon import Daemon, refusal


@check("a unix socket, IPv4 and IPv6 at the same time")
def several():
    path = str(processes.scratch_directory("socket") / "vmpool.sock")
    listen = ["127.0.0.1:0", f"unix:{path}"] + (["[::1]:0"] if has_ipv6() else [])
    with Daemon(listen=listen) as daemon:
        made = daemon.client().post("/v1/vms", {"image": "spin"}).json["id"]
        for address in daemon.addresses:
            client = daemon.client(address)
            equal(client.get(f"/v1/vms/{made}").status, 200, f"the VM seen from {address}")
            equal(client.post(f"/v1/vms/{made}/kick").status, 200, f"a kick from {address}")
        mode = stat.S_IMODE(os.stat(path).st_mode)
        equal(mode & 0o007, 0, "what others may do with the socket")
        eventually("the log says who came through the unix socket", lambda: "peer=unix" in daemon.log)
    expect(not os.path.exists(path), "the socket is left behind")
    if len(listen) == 2:
        raise Skipped("there is no ::1 here; the unix socket and IPv4 passed")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@check("the socket of a server that was killed is taken over, a live one and a file are not")
def unix_paths():
    path = str(processes.scratch_directory("socket") / "vmpool.sock")
    first = Daemon(listen=[f"unix:{path}"])
    first.process.kill()
    first.process.wait()
    expect(os.path.exists(path), "a killed server has removed its socket")
    with Daemon(listen=[f"unix:{path}"]) as daemon:
        equal(daemon.client().get("/livez").status, 200, "the successor")
        status, text = refusal("--listen", f"unix:{path}")
        expect(status == 71 and "in use" in text and path in text, f"a second server: {status} {text}")
        equal(daemon.client().get("/livez").status, 200, "the first after the second")
    with open(path, "w") as file:
        file.write("precious")
    status, text = refusal("--listen", f"unix:{path}")
    expect(status == 71 and "not a socket" in text, f"a file at the socket's path: {status} {text}")
    with open(path) as file:
        equal(file.read(), "precious", "the file at the socket's path")


@check("an address that others can reach needs TLS, or --insecure-listen")
def insecure():
    for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:0"):
        status, text = refusal("--listen", address)
        expect(status == 64 and "--tls-cert" in text and "--insecure-listen" in text, f"--listen {address}: {status} {text}")
        equal(len(text.splitlines()), 1, f"lines about --listen {address}")
    with Daemon("--insecure-listen", listen=["0.0.0.0:0"]) as daemon:
        port = daemon.address[1]
        equal(daemon.client(("127.0.0.1", port)).get("/livez").status, 200, "through 0.0.0.0")


@check("addresses that cannot be listened on are refused in a line")
def bad_addresses():
    for address in ("", "8080", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", "::1:8080", "unix:", "unix:relative",
                    "unix:/" + "x" * 200, "http://127.0.0.1:80"):
        status, text = refusal("--listen", address)
        expect(status == 64 and text, f"--listen {address!r}: {status} {text}")
    status, text = refusal("--insecure-listen", "--listen", "192.0.2.1:0")
    expect(status == 71 and "192.0.2.1" in text and len(text.splitlines()) == 1, f"a foreign address: {status} {text}")
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = "127.0.0.1:%d" % other.getsockname()[1]
        status, text = refusal("--listen", address)
        expect(status == 71 and "in use" in text and address in text, f"an address in use: {status} {text}")
        equal(len(text.splitlines()), 1, "lines about an address in use")
