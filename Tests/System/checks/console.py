"""A VM's console."""
import base64

from checks.lifecycle import create, stop_of
from testbed.checks import becomes, check, equal, expect
from testbed.daemon import Daemon

BYTES = {"Content-Type": "application/octet-stream"}


def read(client, vm, query=""):
    """The bytes, where they start and where the next ones will."""
    answer = client.get(f"{vm}/console{query}")
    equal((answer.status, answer.headers["Content-Type"]), (200, "application/octet-stream"), "reading the console")
    return answer.body, int(answer.headers["X-Console-Start-Offset"]), int(answer.headers["X-Console-Next-Offset"])


def write(client, vm, data):
    answer = client("POST", f"{vm}/console", data, BYTES)
    equal(answer.status, 200, f"writing to the console: {answer}")
    return answer.json["accepted"]


def send_all(client, vm, data):
    """Sends what the guest has no room for again, until all is taken."""
    while data:
        data = data[write(client, vm, data[:65536]):]


@check("echo gives back what it is given, byte by byte")
def echo():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        vm = create(client, image="echo")
        equal(read(client, vm), (b"", 0, 0), "a console before the first byte")
        every = bytes(byte for byte in range(256) if byte != 4)
        send_all(client, vm, every)
        becomes(len(every), "bytes written", lambda: client.get(vm).json["console_bytes"])
        equal(read(client, vm), (every, 0, len(every)), "all of it")
        equal(read(client, vm, "?offset=250"), (every[250:], 250, 255), "the end")
        equal(read(client, vm, "?offset=10&limit=5"), (every[10:15], 10, 15), "a piece")
        equal(read(client, vm, "?offset=255"), (b"", 255, 255), "nothing new")
        equal(read(client, vm, "?offset=9999"), (b"", 255, 255), "beyond the end")
        send_all(client, vm, b"\x04")
        equal(stop_of(client, vm)["exit_code"], 0, "echo's exit code")
        equal(read(client, vm), (every, 0, len(every)), "all of it, of a stopped VM")
        equal(client("POST", f"{vm}/console", b"late", BYTES).status, 409, "input for a stopped VM")


@check("input waits for a VM that is not started yet, and is bounded")
def waiting():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        vm = create(client, image="echo", start=False)
        equal(write(client, vm, b"x" * 65536), 65536, "bytes taken")
        equal(write(client, vm, b"y"), 0, "bytes taken when there is no room")
        equal(client("POST", f"{vm}/console", b"x" * 65537, BYTES).status, 413, "too much at once")
        client.post(f"{vm}/start")
        client.post(f"{vm}/stop")
        back = read(client, vm)[0]
        equal(back, b"x" * len(back), "what came back")


@check("old output makes room for new, and offsets stay true")
def ring():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        # 32-bit code without a stack: a line of 64 KiB of digits on COM1, twice, then exit.
        #   mov $0x3f8,%dx; mov $0x20000,%ecx; 1: mov %cl,%al; and $7,%al; or $0x30,%al; out %al,(%dx); loop 1b;
        #   mov $0,%al; out %al,$0xf4
        code = bytes.fromhex("66baf803" "b900000200" "88c8" "2407" "0c30" "ee" "e2f7" "b000" "e6f4")
        vm = create(client, flat={"mode": "prot32", "code": base64.b64encode(code).decode()})
        equal(stop_of(client, vm, 120)["exit_code"], 0, "how it stopped")
        written = client.get(vm).json["console_bytes"]
        equal(written, 0x20000, "bytes written")
        data, start, following = read(client, vm)
        expect(0 < start < written, lambda: f"nothing was dropped: the oldest byte kept is {start}")
        kept = data
        while following < written:
            data, begin, following = read(client, vm, f"?offset={following}")
            equal(begin, start + len(kept), "where the next piece starts")
            kept += data
        equal(kept, bytes(0x30 | (written - place) & 7 for place in range(start, written)), "what was kept")
        return f"{len(kept)} of {written} bytes kept"
