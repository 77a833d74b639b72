"""Debian's kernel as a guest: uploaded, pooled, leased, talked to, turned off."""
import hashlib
import os
import pathlib
import time

from checks.console import read, send_all
from checks.lifecycle import stop_of
from checks.quarantine import metric
from checks import tour
from testbed import processes
from testbed.checks import Failure, Skipped, check, equal, eventually, expect
from testbed.daemon import Daemon
from testbed.pools import lease, release, status

# How long a boot may take on a processor that is emulated on a busy machine.
BOOT_SECONDS = 240
# How often a guest is disturbed at least: while it boots, and where a fast machine boots it sooner, after that.
DISTURBED_ROUNDS = 100
# Without XSAVE: the lab's processor lets a guest set XCR0 without telling KVM, and the kernel then warns of sizes.
COMMAND_LINE = "console=ttyS0 panic=-1 noxsave"


def files(client):
    """The paths of the kernel and the initramfs that Tests/Lab/guest-kernel makes."""
    files = {part: os.environ.get(f"VMPOOL_LINUX_{part.upper()}") for part in ("kernel", "initramfs")}
    if not all(files.values()):
        raise Skipped("VMPOOL_LINUX_KERNEL and VMPOOL_LINUX_INITRAMFS are not set; Tests/Lab/run sets them")
    if client.get("/v1/host").json["ring0_emulated"]:
        raise Skipped("this host's KVM emulates ring 0; Tests/Lab/run has one that does not")
    return files["kernel"], files["initramfs"]


def upload(client):
    """The image `debian`, of those."""
    manifest = {"kind": "linux", "command_line": COMMAND_LINE}
    for part, file in zip(("kernel", "initramfs"), files(client)):
        data = pathlib.Path(file).read_bytes()
        manifest[part] = "sha256:" + hashlib.sha256(data).hexdigest()
        answer = client("PUT", f"/v1/blobs/{manifest[part]}", data, {"Content-Type": "application/octet-stream"})
        expect(answer.status in (200, 201), f"uploading the {part}: {answer}")
    answer = client.put("/v1/images/debian", manifest)
    equal(answer.status, 201, f"the image: {answer}")
    return answer.json


class Console:
    """What a guest has said so far, and whether it is still there to say more."""

    def __init__(self, client, vm):
        self.client, self.vm, self.text, self.next = client, vm, b"", 0

    def has(self, words):
        data, _, self.next = read(self.client, self.vm, f"?offset={self.next}")
        self.text += data
        return words in self.text

    def wait(self, words, meanwhile=lambda: time.sleep(0.05)):
        end = time.monotonic() + BOOT_SECONDS
        while not self.has(words):
            state = self.client.get(self.vm).json
            if state["state"] == "stopped" or time.monotonic() > end:
                raise Failure(f"no {words} from {state}; it said {self.text[-2000:].decode(errors='replace')}")
            meanwhile()


def wait_for_boot(client, vm, vcpus):
    """Pauses, resumes and kicks the VM until it has booted; its console, and how often it was disturbed."""
    console, rounds = Console(client, vm), 0

    def disturb():
        nonlocal rounds
        for verb, body in (("pause", None), ("resume", None), ("kick", {"timeout_ms": 10_000})):
            answer = client.post(f"{vm}/{verb}", body)
            if answer.status == 504:
                # On an emulated processor and a busy machine it may take its time; it stands, and is waited for.
                answer = client.post(f"{vm}/{verb}", body)
            expect(
                answer.status == 200,
                lambda: f"{verb} in round {rounds}: {answer}; {client.get(vm).json}; {console.text[-2000:]}")
        rounds += 1
        # All over the boot, which the disturbances shall not draw out.
        time.sleep(0.05)

    console.wait(b"guest: ready", disturb)
    expect(rounds >= 20, f"only {rounds} rounds during the boot")
    while rounds < DISTURBED_ROUNDS:
        disturb()
    expect(f"guest: processors {vcpus}".encode() in console.text, "every processor runs")
    return console, f"{3 * rounds} disturbances"


@check("two vCPUs, leased from a pool: a command line, disturbed hundreds of times, a conversation, powered off")
def leased():
    with Daemon("--no-demo-pool", "--state-dir", processes.scratch_directory("state")) as daemon:
        client = daemon.client()
        equal(upload(client)["kind"], "linux", "what it is recognised as")
        pool = {"image": "debian", "vcpus": 2, "memory_mib": 192, "ready": 1}
        equal(client.put("/v1/pools/debian", pool).status, 201, "the pool")
        told = {"command_line": COMMAND_LINE + " lease=this"}
        vm = "/v1/vms/" + lease(client, "debian", wait_ms=60_000, ttl_ms=900_000, **told)["vm"]
        console, disturbances = wait_for_boot(client, vm, 2)
        expect(b"lease=this" in console.text, "it has the lease's command line")
        send_all(client, vm, b"hello\n")
        console.wait(b"echo: hello")
        send_all(client, vm, b"off\n")
        equal(stop_of(client, vm, 120)["reason"], "powered_off", "how it ends")
        return disturbances


@check("one vCPU, a VM of its own: disturbed hundreds of times, a conversation, reset")
def created():
    with Daemon("--no-demo-pool", "--state-dir", processes.scratch_directory("state")) as daemon:
        client = daemon.client()
        upload(client)
        created = client.post("/v1/vms", {"image": "debian", "vcpus": 1, "memory_mib": 192})
        equal(created.status, 201, f"the VM: {created}")
        vm = "/v1/vms/" + created.json["id"]
        console, disturbances = wait_for_boot(client, vm, 1)
        send_all(client, vm, b"hello\n")
        console.wait(b"echo: hello")
        send_all(client, vm, b"reboot\n")
        equal(stop_of(client, vm, 120)["reason"], "reset", "how it ends")
        return disturbances


@check("two clones of a guest that has booted once: leased, each goes on by itself; put back, and leased again")
def cloned():
    with Daemon("--no-demo-pool", "--state-dir", processes.scratch_directory("state")) as daemon:
        client = daemon.client()
        upload(client)
        pool = {"image": "debian", "vcpus": 2, "memory_mib": 192, "ready": 2, "max_vms": 2,
                "ready_when": {"console": "guest: ready"}, "ready_timeout_ms": BOOT_SECONDS * 1000, "verify_reset": "full"}
        equal(client.put("/v1/pools/debian", pool).status, 201, "the pool")
        eventually("two clones are ready", lambda: status(client, "debian")["ready"] == 2, BOOT_SECONDS + 60)
        template = status(client, "debian")["template"]
        began = time.monotonic()
        leases = [lease(client, "debian", ttl_ms=900_000) for _ in range(2)]
        vms = ["/v1/vms/" + granted["vm"] for granted in leases]
        consoles = [Console(client, vm) for vm in vms]
        for number, (vm, console) in enumerate(zip(vms, consoles)):
            expect(console.has(b"guest: ready"), "it has booted before")
            send_all(client, vm, f"hello {number}\n".encode())
        for number, console in enumerate(consoles):
            console.wait(f"echo: hello {number}".encode())
            expect(f"hello {1 - number}".encode() not in console.text, "it has heard its own client alone")
        took = (time.monotonic() - began) * 1000
        send_all(client, vms[0], b"off\n")
        equal(stop_of(client, vms[0], 120)["reason"], "powered_off", "how it ends")
        # The other is given back while it runs.
        for granted in leases:
            release(client, granted)
        eventually("both are put back", lambda: status(client, "debian")["ready"] == 2, 240)
        found = [metric(client, f'vmpool_resets_total{{pool="debian",result="{result}"}}')
                 for result in ("ok", "failed", "differed")]
        expect(found == [2, 0, 0], lambda: f"resets that were right, failed, differed: {found}; {daemon.log[-3000:]}")
        vm = "/v1/vms/" + lease(client, "debian", ttl_ms=900_000)["vm"]
        console = Console(client, vm)
        expect(console.has(b"guest: ready"), "it has booted before")
        send_all(client, vm, b"hello again\n")
        console.wait(b"echo: hello again")
        expect(b"hello 0" not in console.text and b"hello 1" not in console.text, "nothing is left of the tenants before")
        return (
            f"booted in {template['boot_ms']} ms, both leased and answered in {took:.0f} ms, "
            f"{template['memory_bytes'] >> 20} MiB shared")


@check("vmpool boot boots Debian's kernel with a directory, as README says")
def booted():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        kernel, _ = files(client)
        text = (processes.ROOT / "README.md").read_text()
        tour.take(text, "linux tour", KERNEL=kernel, VMPOOL_SERVER=daemon.url)
        equal(client.get("/v1/vms").json["items"] + client.get("/v1/blobs").json["items"], [], "what is left")
