"""Guests that people bring: uploaded, put into a pool, told what they should be, and run."""
import hashlib
import json
import pathlib

from testbed import processes
from testbed.checks import check, equal, eventually, expect
from testbed.daemon import Daemon
from testbed.pools import declare, lease, release

GUESTS = pathlib.Path(__file__).resolve().parents[2] / "Guests"
BYTES = {"Content-Type": "application/octet-stream"}
# What a guest in 4 MiB adds up as its memory: up to 639 KiB, and from 1 MiB on.
USABLE = "0039fc00\n"


def built():
    folder = processes.scratch_directory("guests")
    result = processes.run([GUESTS / "build", folder])
    equal(result.returncode, 0, f"building the guests: {result.stderr}")
    return folder


def upload(client, name, data, kind):
    answer = client("PUT", f"/v1/images/{name}", data, BYTES)
    equal(answer.status, 201, f"uploading {name}: {answer}")
    equal(answer.json["kind"], kind, f"what {name} is recognised for")


def compose(client, name, kernel, **parts):
    """An image of several parts: blobs first, then what names them."""
    manifest = {"kernel": None, **parts}
    for part, data in [("kernel", kernel), *((part, data) for part, data in parts.items() if isinstance(data, bytes))]:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        answer = client("PUT", f"/v1/blobs/{digest}", data, BYTES)
        expect(answer.status in (200, 201, 204), lambda: f"uploading a blob: {answer}")
        manifest[part] = digest
    answer = client("PUT", f"/v1/images/{name}", json.dumps(manifest).encode(), {"Content-Type": "application/json"})
    equal(answer.status, 201, f"composing {name}: {answer}")


def printed(client, pool, **document):
    """What a guest of the pool writes, which then exits with 0."""
    answer = client.post(f"/v1/pools/{pool}/run", {"wait_ms": 30_000, **document})
    equal(answer.status, 200, f"running {pool}: {answer}")
    equal((answer.json["outcome"], answer.json["exit_code"]), ("exited", 0), f"what became of {pool}: {answer}")
    return answer.json["console"]


@check("ELF and Multiboot kernels: uploaded, recognised, pooled, told a command line and an environment, and run")
def kernels():
    folder = built()
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        for name, kind in (("elf", "elf"), ("pvh", "elf"), ("multiboot", "multiboot"),
                           ("multiboot-addresses", "multiboot")):
            upload(client, name, (folder / name).read_bytes(), kind)
            declare(client, name, image=name, memory_mib=4, ready=1)
        equal(printed(client, "elf"), "64 bits\n", "what elf prints")
        equal(printed(client, "pvh", command_line="a b"), "a b\n" + USABLE + "000e0000\n", "what pvh prints")
        for name in ("multiboot", "multiboot-addresses"):
            equal(printed(client, name), "kernel \n00000c00\n" + USABLE + "00000001\n", f"what {name} prints")
            told = printed(client, name, command_line="a b", environment={"B": "2", "A": "1"})
            equal(told, "kernel a b\n00000c00\nA=1\nB=2\n" + USABLE + "00000001\n", f"what {name} prints when told")

        compose(client, "told", (folder / "multiboot").read_bytes(), initramfs=b"a module\n", command_line="of the image")
        declare(client, "told", image="told", vcpus=2, memory_mib=4, ready=1)
        equal(printed(client, "told"), "kernel of the image\n00000c00\na module\n" + USABLE + "00000002\n",
              "what an image of parts prints")
        document = lease(client, "told", start=False, command_line="leased", wait_ms=30_000)
        equal(client.post(f"/v1/vms/{document['vm']}/start").status, 200, "starting it")
        client.get(f"/v1/vms/{document['vm']}?wait_for=stopped")
        console = client.get(f"/v1/vms/{document['vm']}/console").text
        expect(console.startswith("kernel leased\n"), lambda: f"what a leased VM prints: {console}")
        release(client, document)


@check("an image's modules are found with their strings, count for its memory, and are bounded")
def modules():
    kernel = (built() / "multiboot64").read_bytes()
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        compose(client, "kernel", kernel)
        digests = []
        for data in (b"one\n", b"two\n", *(b"%d" % number for number in range(62))):
            digests.append("sha256:" + hashlib.sha256(data).hexdigest())
            equal(client("PUT", f"/v1/blobs/{digests[-1]}", data, BYTES).status, 201, "a blob")
        one, two = ({"blob": digest, "string": string} for digest, string in zip(digests, ("a b", None)))
        compose(client, "told", kernel, modules=[one, two, one])
        equal(client.get("/v1/images/told").json["manifest"]["modules"], [one, two, one], "the modules")
        declare(client, "told", image="told", memory_mib=4, ready=1)
        equal(printed(client, "told"), "a b\none\ntwo\na b\none\n", "what the guest finds")
        # Each in a page of its own, and one for the strings: the kernel itself ends below 3 MiB.
        big = bytes(2 << 20)
        compose(client, "large", kernel, modules=[{"blob": digests[0]}], initramfs=big)
        answer = client.post("/v1/vms", {"image": "large", "memory_mib": 4})
        expect(answer.status == 400 and "MiB with its initramfs and modules" in answer.json["detail"],
               lambda: f"too little memory for modules: {answer}")
        made = client.post("/v1/vms", {"image": "large"})
        equal((made.status, made.json.get("memory_mib")), (201, 5), f"a VM of the size that it needs: {made}")
        # An image of two more parts than modules holds as many files open.
        many = {"kernel": client.get("/v1/images/kernel").json["manifest"]["kernel"],
                "modules": [{"blob": digest} for digest in digests]}
        statuses = [client.put(f"/v1/images/many-{number}", many).status for number in range(63)]
        expect(statuses[:60] == [201] * 60 and statuses[-1] == 503, lambda: f"many images of many parts: {statuses}")
        equal(client.delete("/v1/images/many-0").status, 204, "deleting one of them")
        equal(client.put("/v1/images/many-62", many).status, 201, "another in its place")


@check("what a guest cannot be told, or cannot be, is refused by name")
def refused():
    folder = built()
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        elf = (folder / "elf").read_bytes()
        upload(client, "elf", elf, "elf")
        declare(client, "elf", image="elf", memory_mib=4, ready=1)
        for member, value in (("command_line", "a"), ("environment", {"A": "1"})):
            for path, document in (("/v1/pools/elf/run", {}), ("/v1/pools/elf/leases", {}),
                                   ("/v1/vms", {"image": "elf", "memory_mib": 4})):
                answer = client.post(path, {**document, member: value})
                equal((answer.status, answer.json.get("pointer")), (400, f"/{member}"), f"{member} for {path}")
        equal(client.get("/v1/leases").json["items"], [], "leases")
        answer = client.put("/v1/pools/small", {"image": "elf", "memory_mib": 1, "ready": 1})
        equal((answer.status, answer.json.get("pointer")), (400, "/memory_mib"), "too little memory")
        expect("at least 3 MiB" in answer.json["detail"], lambda: f"too little memory: {answer}")
        for data, name in ((b"\x1f\x8b\x08" + bytes(100), "a gzip file"), (b"#!/bin/sh\n", "a script"),
                           (bytes(257) + b"ustar" + bytes(250), "a tar archive"), (b"MZ" + bytes(0x80), "a DOS program")):
            answer = client("PUT", "/v1/images/foreign", data, BYTES)
            expect(answer.status // 100 == 4 and f"The file is {name}." in answer.json["detail"],
                   lambda: f"what {name} is told: {answer}")
        answer = client("PUT", "/v1/images/cut", elf[:200], BYTES)
        equal(answer.status // 100, 4, f"a file that ends early: {answer}")
        expect("ELF" in answer.json["detail"], lambda: f"a file that ends early: {answer}")


@check("what a guest may write to its disks is counted before it runs, is no heap of the server, and comes back with the VM")
def disks_are_counted():
    folder = processes.scratch_directory("solo5")
    result = processes.run([GUESTS / "solo5/build", folder])
    equal(result.returncode, 0, f"building the unikernels: {result.stderr}")
    disk = 64
    with Daemon("--no-demo-pool", "--max-memory-mib", str(2 * disk + 2)) as daemon:
        client = daemon.client()
        digest = "sha256:" + hashlib.sha256(bytes(disk << 20)).hexdigest()
        answer = client("PUT", f"/v1/blobs/{digest}", bytes(disk << 20), BYTES)
        expect(answer.status in (200, 201, 204), lambda: f"uploading a disk: {answer}")
        kernel = (folder / "fill").read_bytes()
        name = "sha256:" + hashlib.sha256(kernel).hexdigest()
        client("PUT", f"/v1/blobs/{name}", kernel, BYTES)
        manifest = {"kernel": name, "block": {"disk": digest}}
        answer = client("PUT", "/v1/images/fill", json.dumps(manifest).encode(), {"Content-Type": "application/json"})
        equal(answer.status, 201, f"composing the image: {answer}")
        before = daemon.anonymous_bytes()
        made = client.post("/v1/vms", {"image": "fill", "memory_mib": disk})
        equal(made.status, 201, f"the first VM: {made}")
        # Memory for the guest and for what it may write: the second does not fit.
        second = client.post("/v1/vms", {"image": "fill", "memory_mib": disk})
        equal(second.status, 503, f"the second VM: {second}")
        expect("--max-memory-mib" in second.json["detail"], lambda: f"the second VM: {second}")
        console = f"/v1/vms/{made.json['id']}/console"
        eventually("the guest has filled its disk", lambda: "kept" in client.get(console).text)
        equal(client.get(console).text, "kept 0x%016x\n" % (disk << 8), "how many writes were kept")
        taken = daemon.anonymous_bytes() - before
        expect(disk << 20 <= taken < (disk + 4) << 20, lambda: f"what the server took for it: {taken >> 10} KiB")
        equal(client.delete(f"/v1/vms/{made.json['id']}").status // 100, 2, "deleting it")
        eventually("the memory comes back", lambda: daemon.anonymous_bytes() - before < 8 << 20)


@check("a VM for which no memory is asked gets what its image needs")
def default_memory():
    folder = built()
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        upload(client, "pvh", (folder / "pvh").read_bytes(), "elf")
        made = client.post("/v1/vms", {"image": "pvh"})
        equal((made.status, made.json.get("memory_mib")), (201, 3), f"the VM: {made}")
