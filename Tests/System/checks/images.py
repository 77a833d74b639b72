"""Images: how their bytes come in, are kept, used and deleted."""
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import stat
import struct
import subprocess
import threading
import time

from testbed import processes
from testbed.checks import Skipped, check, equal, eventually, expect
from testbed.client import Client, connect, read_answer
from testbed.daemon import Daemon, is_filled
from testbed.preload import preloadable

# mov al, 7; out 0xf4, al; jmp $: exits with 7.
EXIT7 = bytes.fromhex("b007e6f4ebfe")
FLAT = "kind=flat&mode=long64_ring3"
MIB = 1 << 20


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def some_bytes(count, seed=1):
    return hashlib.shake_128(bytes([seed])).digest(count)


def curl(*words, status=0):
    """The HTTP status and the body that curl got."""
    result = processes.run(["curl", "-sS", "-w", "\n%{http_code}", *words], timeout=120)
    equal(result.returncode, status, f"curl's exit status: {result.stderr}")
    body, _, code = result.stdout.rpartition("\n")
    return int(code), body


def file_of(data, name="file"):
    path = processes.scratch_directory("images") / name
    path.write_bytes(data)
    return path


def interrupt(address, path, head, data):
    """Sends a part of a body, and leaves when the server has had the time to read it."""
    with connect(address) as plain:
        plain.sendall(f"PUT {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode() + data)
        # All of it is acknowledged, so that it is the server's kernel that has it.
        eventually("the bytes are taken", lambda: unsent(plain) == 0)
        plain.shutdown(socket.SHUT_WR)
        while plain.recv(4096):
            pass


def unsent(plain):
    return struct.unpack("i", fcntl.ioctl(plain.fileno(), 0x5411, b"\0" * 4))[0]


@check("an image from curl to an exit code")
def from_curl():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        path = file_of(EXIT7)
        equal(curl("-T", path, f"{daemon.url}/v1/images/seven?{FLAT}")[0], 201, "curl -T")
        equal(curl("--data-binary", f"@{path}", "-X", "PUT", f"{daemon.url}/v1/images/seven?{FLAT}")[0], 200,
              "curl --data-binary")
        image = client.get("/v1/images/seven").json
        equal((image["kind"], image["size_bytes"], image["digest"], image["state"]),
              ("flat", len(EXIT7), digest(EXIT7), "usable"), "the image")
        vm = client.post("/v1/vms", {"image": "seven"}).json
        stopped = client.get(f"/v1/vms/{vm['id']}?wait_for=stopped").json
        equal((stopped["image"], stopped["stop"]["exit_code"]), ("seven", 7), "the VM")
        equal(client.put("/v1/pools/seven", {"image": "seven", "ready": 1}).status, 201, "a pool of it")
        run = client.post("/v1/pools/seven/run?", {"wait_ms": 10_000}).json
        equal(run["exit_code"], 7, f"a run of it: {run}")
        equal(client.delete("/v1/images/seven").json["type"], "/problems/image-in-use", "deleting it")
        client.delete("/v1/pools/seven?force=true")
        equal(client.delete("/v1/images/seven").status, 204, "deleting it")
        equal(client.get("/v1/blobs").json["items"], [], "the blobs")


@check("interrupted uploads leave nothing, or go on with curl -C")
def interrupted():
    state = processes.scratch_directory("state")
    data = some_bytes(3 * MIB)
    blob = f"/v1/blobs/{digest(data)}"
    with Daemon("--no-demo-pool", "--state-dir", state) as daemon:
        client = daemon.client()
        partial = lambda: sorted(entry.name for entry in (state / "blobs/partial").iterdir())
        interrupt(daemon.address, f"/v1/images/big?{FLAT}", f"Content-Length: {len(data)}", data[:MIB])
        eventually("nothing is left of an image", lambda: partial() == [])
        interrupt(daemon.address, blob, f"Content-Length: {len(data)}", data[:MIB])
        eventually("the blob can go on", lambda: client("HEAD", blob).headers.get("Upload-Offset") == str(MIB))
        equal([name.split("-")[0] for name in partial()], [digest(data).removeprefix("sha256:")], "what is kept")
        path = file_of(data)
        code, body = curl("-C", "100", "-T", path, daemon.url + blob)
        equal((code, json.loads(body)["type"]), (416, "/problems/wrong-offset"), "a wrong offset")
        equal(curl("-C", str(MIB), "-T", path, daemon.url + blob)[0], 201, "curl -C")
        equal(client.get(blob).body, data, "the blob")
        equal(partial(), [], "what is left")
        # Another has been begun when the server is killed.
        other = some_bytes(2 * MIB, 2)
        plain = connect(daemon.address)
        plain.sendall(f"PUT /v1/blobs/{digest(other)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(other)}"
                      "\r\n\r\n".encode() + other[:MIB])
        eventually("the second is under way", lambda: partial() != [])
        daemon.stop(signal.SIGKILL)
        plain.close()
    with Daemon("--no-demo-pool", "--state-dir", state) as daemon:
        client = daemon.client()
        offset = client("HEAD", f"/v1/blobs/{digest(other)}").headers["Upload-Offset"] or "0"
        path = file_of(other)
        words = ["-C", offset] if int(offset) else []
        equal(curl(*words, "-T", path, f"{daemon.url}/v1/blobs/{digest(other)}")[0], 201, "going on after a kill")
        equal(client.get(f"/v1/blobs/{digest(other)}").body, other, "the other blob")


@check("the first bytes of a file that no VM can start decide, and nothing of it stays")
def foreign():
    state = processes.scratch_directory("foreign")
    with Daemon("--no-demo-pool", "--state-dir", str(state)) as daemon:
        client = daemon.client()

        def files():
            return sorted(path.name for path in (state / "blobs").rglob("*") if path.is_file())

        before = files()
        with connect(daemon.address) as plain:
            plain.sendall(b"PUT /v1/images/packed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
                          b"Content-Length: 299892736\r\n\r\n" + b"\x1f\x8b\x08" + bytes(16 << 10))
            # Without one more byte of the 286 MiB.
            answer = read_answer(plain.makefile("rb"))
        equal(answer.status, 422, f"a gzip file: {answer}")
        expect("a gzip file" in answer.json["detail"], lambda: f"a gzip file: {answer}")
        eventually("nothing of it is left", lambda: files() == before)
        equal(client.get("/v1/blobs").json["items"], [], "the blobs")
        # Machine code may begin like anything.
        code = b"\x1f\x8b" + some_bytes(16 << 10)
        answer = client("PUT", f"/v1/images/flat?{FLAT}", code, {"Content-Type": "application/octet-stream"})
        equal(answer.status, 201, f"machine code: {answer}")


@check("images outlive the server; damaged ones are unusable until their bytes come again")
def restarts():
    state = processes.scratch_directory("state")
    with Daemon("--no-demo-pool", "--state-dir", state) as daemon:
        client = daemon.client()
        path = file_of(EXIT7)
        equal(curl("-T", path, f"{daemon.url}/v1/images/seven?{FLAT}")[0], 201, "the image")
        before = client.get("/v1/images/seven").json
        equal(client.put("/v1/pools/seven", {"image": "seven", "ready": 1}).status, 201, "the pool")
        daemon.stop(signal.SIGKILL)
    with Daemon("--no-demo-pool", "--state-dir", state) as daemon:
        client = daemon.client()
        equal(client.get("/v1/images/seven").json, before, "the image after a kill")
        eventually("the pool is filled", lambda: is_filled(client.get("/v1/pools/seven").json))
    stored = state / "blobs" / digest(EXIT7).removeprefix("sha256:")
    for harm in ("damaged", "missing"):
        if harm == "damaged":
            stored.chmod(0o600)
            stored.write_bytes(EXIT7[:-1] + b"x")
        else:
            stored.unlink()
        with Daemon("--no-demo-pool", "--state-dir", state) as daemon:
            client = daemon.client()
            image = client.get("/v1/images/seven").json
            equal((image["state"], digest(EXIT7) in image["reason"]), ("unusable", True), f"a {harm} image: {image}")
            failing = lambda: client.get("/v1/pools/seven").json["status"]["refill"]["last_error"]
            expect(digest(EXIT7) in eventually("the refill fails", failing), "the pool tells why")
            expect("an image is unusable" in daemon.log, "the log tells of it")
            equal(curl("-T", file_of(EXIT7), f"{daemon.url}/v1/blobs/{digest(EXIT7)}")[0], 201, "the bytes once more")
            equal(client.get("/v1/images/seven").json, before, f"the {harm} image, mended")
            eventually("the pool is filled", lambda: is_filled(client.get("/v1/pools/seven").json))


@check("limits: a gigabyte a blob, a full disk, a quota")
def limits():
    sparse = processes.scratch_directory("images") / "sparse"
    with open(sparse, "wb") as file:
        file.truncate((1 << 30) + 1)
    with Daemon("--no-demo-pool") as daemon:
        code, body = curl("-T", sparse, f"{daemon.url}/v1/images/large", "-w", "\n%{size_upload}\n%{http_code}")
        body, _, sent = body.rpartition("\n")
        equal((code, sent, "1073741824" in body), (413, "0", True), f"more than a gigabyte: {body}")
    with Daemon("--no-demo-pool", "--max-image-mib", "4", "--max-blobs-mib", "6") as daemon:
        client = daemon.client()
        data = some_bytes(5 * MIB)
        chunked = processes.run(
            ["curl", "-sS", "-w", "%{http_code}", "-o", "/dev/null", "-H", "Transfer-Encoding: chunked", "-T",
             file_of(data), f"{daemon.url}/v1/images/large"], timeout=60)
        equal(chunked.stdout, "413", "a body without a length that is too long")
        first, second = data[: 4 * MIB], data[MIB : 4 * MIB]
        equal(curl("-T", file_of(first), f"{daemon.url}/v1/blobs/{digest(first)}")[0], 201, "the first")
        equal(curl("-T", file_of(second), f"{daemon.url}/v1/blobs/{digest(second)}")[0], 507, "more than the quota")
        equal(client.delete(f"/v1/blobs/{digest(first)}").status, 204, "deleting it")
        equal(curl("-T", file_of(second), f"{daemon.url}/v1/blobs/{digest(second)}")[0], 201, "with room again")
    full_disk()


def full_disk():
    disk = processes.scratch_directory("disk")
    if processes.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk]).returncode != 0:
        raise Skipped("mounting a tmpfs needs root; the other limits hold")
    try:
        with Daemon("--no-demo-pool", "--state-dir", disk) as daemon:
            client = daemon.client()
            data = some_bytes(16 * MIB)
            code, body = curl("-T", file_of(data), f"{daemon.url}/v1/blobs/{digest(data)}")
            equal((code, json.loads(body)["type"]), (507, "/problems/insufficient-storage"), "a full disk")
            small = data[:MIB]
            equal(curl("-T", file_of(small), f"{daemon.url}/v1/blobs/{digest(small)}")[0], 201, "with room again")
            equal(client.get(f"/v1/blobs/{digest(small)}").body, small, "the small one")
    finally:
        processes.run(["umount", disk])


@check("a large upload does not pass through memory")
def memory():
    size = 200 * MIB
    path = processes.scratch_directory("images") / "large"
    with open(path, "wb") as file:
        for seed in range(size // (4 * MIB)):
            file.write(some_bytes(4 * MIB, seed))
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        curl("-T", file_of(EXIT7), f"{daemon.url}/v1/blobs/{digest(EXIT7)}")
        before = daemon.resident_bytes()
        name = "sha256:" + processes.run(["sha256sum", path]).stdout.split()[0]
        upload = processes.start(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{time_total}", "-T", path,
                                  f"{daemon.url}/v1/blobs/{name}"], stdout=-1, text=True)
        most = before
        while upload.poll() is None:
            most = max(most, daemon.resident_bytes())
            time.sleep(0.01)
        code, seconds = upload.communicate()[0].split()
        equal(code, "201", "the upload")
        took = processes.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{time_total}",
                              f"{daemon.url}/v1/blobs/{name}"]).stdout.split()
        equal(took[0], "200", "the download")
        most = max(most, daemon.resident_bytes())
        expect(most - before < 16 * MIB, f"the server grew by {(most - before) >> 10} KiB")
        return f"200 MiB came in {float(seconds):.2f} s and went in {float(took[1]):.2f} s; {(most - before) >> 10} KiB more"


@check("downloads from a disk that hangs hold up no other request, and go on with it")
def hanging_disk():
    directory = processes.scratch_directory("hanging")
    # Below the state directory: the server opens no pipe elsewhere.
    data, gate = some_bytes(MIB), directory / "state/gate"
    environment = {**os.environ, "LD_PRELOAD": str(preloadable("held_reads")), "HELD_READS": str(directory / "state"),
                   "HELD_READS_GATE": str(gate)}
    with Daemon("--no-demo-pool", "--state-dir", directory / "state", env=environment) as daemon:
        blob = f"/v1/blobs/{digest(data)}"
        equal(curl("-T", file_of(data), daemon.url + blob)[0], 201, "the upload")
        os.mkfifo(gate)
        # More than there are HTTP threads.
        downloads = [connect(daemon.address) for _ in range(4)]
        for plain in downloads:
            plain.sendall(f"GET {blob} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        eventually("reads hang", lambda: opening(daemon) >= 2)
        for _ in range(8):
            with Client(daemon.address, 10) as client:
                equal(client.get("/livez").status, 200, "a request meanwhile")
        with gate.open("wb"):
            gate.unlink()
        for plain in downloads:
            with plain, plain.makefile("rb") as stream:
                equal(read_answer(stream).body == data, True, "the download")


def opening(daemon):
    """How many threads of the server wait for openat."""
    count = 0
    for task in pathlib.Path(f"/proc/{daemon.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            count += (task / "syscall").read_text().split()[0] == "257"
    return count


@check("a push that the server refuses leaves nothing, and nothing of an image's is taken away")
def refused_push():
    with Daemon("--no-demo-pool") as daemon:
        vmpool = client_of(daemon)
        none = file_of(some_bytes(MIB), "none")
        _, said = vmpool("images", "push", none, status=1)
        expect("none that is known" in said, said)
        equal(daemon.client().get("/v1/blobs").json["items"], [], "what is left")
        vmpool("images", "push", none, *FLAT_WORDS, "--name", "machine-code")
        vmpool("images", "push", none, status=1)
        vmpool("images", "push", file_of(EXIT7), "--module", none, *FLAT_WORDS, "--name", "other", status=1)
        blobs = daemon.client().get("/v1/blobs").json["items"]
        equal([blob["images"] for blob in blobs], [["machine-code"]], "what is left beside an image")


@check("without a state directory nothing outlives the server")
def temporary():
    parent = processes.scratch_directory("tmp")
    with Daemon("--no-demo-pool", env={**os.environ, "TMPDIR": str(parent)}) as daemon:
        equal(curl("-T", file_of(EXIT7), f"{daemon.url}/v1/images/seven?{FLAT}")[0], 201, "the image")
        equal(len(list(parent.iterdir())), 1, "directories while it runs")
        equal(daemon.stop(), 0, "the exit status")
    equal(list(parent.iterdir()), [], "directories afterwards")


@check("uploads to one name at once all succeed, and leave one blob")
def at_once():
    with Daemon("--no-demo-pool") as daemon:
        answers = []

        def put(body):
            with Client(daemon.address) as client:
                for _ in range(100):
                    answers.append(client("PUT", f"/v1/images/one?{FLAT}", body,
                                          {"Content-Type": "application/octet-stream"}))

        threads = [threading.Thread(target=put, args=([EXIT7, EXIT7 * 2][number % 2],)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal(len(answers), 400, "answers")
        equal([answer for answer in answers if answer.status not in (200, 201)], [], "refusals")
        client = daemon.client()
        equal([blob["images"] for blob in client.get("/v1/blobs").json["items"]], [["one"]], "the blobs")


@check("a command line that the guest has no room for is refused with the image")
def long_command_lines():
    magic, flags, base = 0x1BADB002, 1 << 16, 0x200000
    kernel = struct.pack("<8I", magic, flags, -(magic + flags) & 0xFFFFFFFF, base, base, 0, 0, base + 32) + b"\xf4"
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        equal(client("PUT", f"/v1/blobs/{digest(kernel)}", kernel).status, 201, "the kernel")
        answers = [client.put("/v1/images/kernel", {"kernel": digest(kernel), "command_line": "x" * count})
                   for count in (4089, 4088)]
        equal([answer.status for answer in answers], [422, 201], "4089 and 4088 bytes")
        expect("room for 4088" in answers[0].json["detail"], answers[0].text)
        equal(client.post("/v1/vms", {"image": "kernel", "start": False}).status, 201, "a VM with the longest")


@check("vmpool pushes, shows, pulls, inspects and removes images")
def command_line():
    with Daemon("--no-demo-pool") as daemon:
        def vmpool(*words, status=0):
            result = processes.run([processes.BINARIES / "vmpool", *words, "--server", daemon.url])
            equal(result.returncode, status, f"the exit status of vmpool {words}: {result.stdout}{result.stderr}")
            return result.stdout + result.stderr

        data = some_bytes(2 * MIB)
        main, extra = file_of(EXIT7, "Seven Times.bin"), file_of(data, "disk.img")
        flat = ["--kind", "flat", "--mode", "long64_ring3"]
        expect("seven-times" in vmpool("images", "push", main, *flat), "the name")
        puts = lambda: len(re.findall(r"method=PUT path=/v1/blobs", daemon.log_so_far()))
        equal(puts(), 1, "uploads")
        pushed = json.loads(vmpool("images", "push", main, *flat, "--name", "seven", "--json"))
        equal((pushed["items"][0]["name"], puts()), ("seven", 1), "what the server has is not sent again")
        # One that was interrupted goes on.
        interrupt(daemon.address, f"/v1/blobs/{digest(data)}", f"Content-Length: {len(data)}", data[:MIB])
        client = daemon.client()
        eventually("it can go on", lambda: client("HEAD", f"/v1/blobs/{digest(data)}").headers.get("Upload-Offset"))
        vmpool("images", "push", extra, *flat)
        equal(puts(), 3, "uploads, the interrupted one among them")
        equal(client.get(f"/v1/blobs/{digest(data)}").body, data, "the blob")
        out = processes.scratch_directory("pull") / "out"
        vmpool("images", "pull", "disk", "-o", out)
        equal(out.read_bytes(), data, "what was pulled")
        expect(digest(data) in vmpool("images", "show", "disk"), "the details of an image")
        vmpool("images", "pull", "spin", status=1)
        vmpool("images", "rm", "seven", "seven-times", "disk")
        vmpool("images", "rm", "disk", status=2)
        equal(client.get("/v1/blobs").json["items"], [], "the blobs")
        vmpool("images", "push", "/nonexistent", status=66)
        local = processes.run([processes.BINARIES / "vmpool", "images", "inspect", main, *flat, "--json"])
        equal((local.returncode, json.loads(local.stdout)["digest"]), (0, digest(EXIT7)), "inspect")
        local = processes.run([processes.BINARIES / "vmpool", "images", "inspect", extra])
        equal((local.returncode, "kind" in local.stderr), (65, True), f"inspect of what is none: {local.stderr}")


FLAT_WORDS = ("--kind", "flat", "--mode", "long64_ring3")


def client_of(daemon):
    """Runs vmpool; what it printed, on stdout and on stderr."""

    def vmpool(*words, status=0, **options):
        options = {"text": True, **options}
        result = processes.run([processes.BINARIES / "vmpool", *words, "--server", daemon.url], **options)
        equal(result.returncode, status, f"the exit status of vmpool {words}: {result.stdout}{result.stderr}")
        return result.stdout, result.stderr

    return vmpool


@check("vmpool images push names kernels by their versions, and never replaces one in silence")
def names():
    folder = processes.scratch_directory("names")
    (folder / "other").mkdir()
    kernels = [folder / f"vmlinuz-6.1.0-{number}-cloud-amd64" for number in (18, 25, 26)]
    for number, kernel in enumerate(kernels):
        kernel.write_bytes(bytes([0xB0, number, 0xE6, 0xF4]))
    same = folder / "other" / kernels[0].name
    same.write_bytes(EXIT7)
    with Daemon("--no-demo-pool") as daemon:
        vmpool = client_of(daemon)
        pushed = vmpool("images", "push", *kernels, *FLAT_WORDS, "-q")[0].split()
        equal(pushed, [kernel.name.replace(".", "-") for kernel in kernels], "the names")
        said = vmpool("images", "push", kernels[0], same, *FLAT_WORDS, status=64)[1]
        expect("would both be called" in said and "--name" in said, said)
        equal(vmpool("images", "push", kernels[0], *FLAT_WORDS, "--name", "other")[1], "", "what is said of a new one")
        said = vmpool("images", "push", same, *FLAT_WORDS, "--name", "other")[1]
        expect("other was there, and is replaced" in said, said)


@check("vmpool images push takes stdin and pipes, and pull writes to stdout, pipes and devices")
def streams():
    folder = processes.scratch_directory("streams")
    data = some_bytes(2 * MIB)
    with Daemon("--no-demo-pool") as daemon:
        vmpool = client_of(daemon)
        vmpool("images", "push", "-", "--name", "piped", *FLAT_WORDS, input=data, text=False)
        server = f"{processes.BINARIES}/vmpool --server {daemon.url}"
        script = f"{server} images push <(cat {file_of(data)}) --name process {' '.join(FLAT_WORDS)}"
        result = processes.run(["bash", "-c", script])
        equal(result.returncode, 0, f"process substitution: {result.stderr}")
        result = processes.run(["bash", "-c", script.replace("--name process", "")])
        equal((result.returncode, "--name" in result.stderr), (64, True), "a pipe without a name")
        vmpool("images", "push", "-", *FLAT_WORDS, status=64)
        vmpool("images", "push", folder, *FLAT_WORDS, "--name", "folder", status=66)
        for name in ("piped", "process"):
            out = vmpool("images", "pull", name, "-o", "-", text=False)[0]
            equal(out, data, f"{name} on stdout")
        result = processes.run(["bash", "-c", f"{server} images pull piped -o >(sha256sum >{folder}/sum; touch {folder}/done)"])
        equal(result.returncode, 0, f"a pipe: {result.stderr}")
        eventually("the pipe was read", (folder / "done").exists)
        expect((folder / "sum").read_text().startswith(digest(data).removeprefix("sha256:")), "what the pipe got")

        # A device stays what it is, and so does a symbolic link.
        device = folder / "null"
        if os.geteuid() == 0:
            os.mknod(device, 0o20666, os.stat("/dev/null").st_rdev)
            vmpool("images", "pull", "piped", "-o", device)
            expect(stat.S_ISCHR(device.stat().st_mode), "the device was replaced by a file")
        vmpool("images", "pull", "piped", "-o", "/dev/full", status=74)
        target, link = folder / "target", folder / "link"
        target.write_bytes(b"old")
        link.symlink_to("target")
        vmpool("images", "pull", "piped", "-o", link)
        equal((link.is_symlink(), target.read_bytes()), (True, data), "what a link points to")
        vmpool("images", "pull", "piped", "-o", folder / "none" / "file", status=74)
        expect(not list(folder.glob("*.part")), "parts that are left")


@check("vmpool blobs lists, deletes and prunes what no image uses")
def blobs():
    with Daemon("--no-demo-pool") as daemon:
        vmpool = client_of(daemon)
        vmpool("images", "push", file_of(EXIT7, "seven"), *FLAT_WORDS)
        unused = [some_bytes(1000, seed) for seed in range(3)]
        for data in unused:
            equal(curl("-T", file_of(data), f"{daemon.url}/v1/blobs/{digest(data)}")[0], 201, "uploading a blob")
        listed = vmpool("blobs")[0]
        expect(digest(EXIT7)[:19] in listed and "seven" in listed and len(listed.splitlines()) == 5, listed)
        vmpool("blobs", "rm", digest(unused[0])[7:19])
        vmpool("blobs", "rm", digest(unused[0]), status=2)
        vmpool("blobs", "rm", digest(EXIT7), status=1)
        shown = vmpool("blobs", "prune", "--dry-run")[0]
        equal(len(shown.splitlines()), 3, "the blobs that would go, and a heading")
        vmpool("blobs", "prune", status=64, stdin=subprocess.DEVNULL)
        said = vmpool("blobs", "prune", "--yes")[1]
        expect("deleted 2 blobs" in said, said)
        equal(vmpool("blobs", "-q")[0], digest(EXIT7) + "\n", "the blobs that are left")
        expect("every blob is used" in vmpool("blobs", "prune")[1], "pruning nothing")


@check("a blob that was put outlives a restart and another client's image, until a manifest names it")
def awaited():
    state = processes.scratch_directory("awaited")
    blob = f"/v1/blobs/{digest(EXIT7)}"
    with Daemon("--no-demo-pool", "--state-dir", state) as daemon:
        equal(curl("-T", file_of(EXIT7), f"{daemon.url}/v1/images/theirs?{FLAT}")[0], 201, "their image")
        equal(curl("-T", file_of(EXIT7), daemon.url + blob)[0], 200, "our blob, which is there")
        daemon.stop(signal.SIGKILL)
    with Daemon("--no-demo-pool", "--state-dir", state) as daemon:
        client = daemon.client()
        equal(client.delete("/v1/images/theirs").status, 204, "deleting their image")
        equal(client.get(blob).body, EXIT7, "our blob")
        manifest = {"kernel": digest(EXIT7), "kind": "flat", "mode": "long64_ring3"}
        equal(client.put("/v1/images/ours", manifest).status, 201, "our image")
        daemon.stop(signal.SIGKILL)
    with Daemon("--no-demo-pool", "--state-dir", state) as daemon:
        client = daemon.client()
        equal(client.delete("/v1/images/ours").status, 204, "deleting our image")
        equal(client.get(blob).status, 404, "the blob, which goes with it")


@check("a part, and a body in a coding, are stored nowhere as a whole")
def parts():
    with Daemon("--no-demo-pool") as daemon:
        path, image = file_of(EXIT7), f"{daemon.url}/v1/images/seven?{FLAT}"
        equal(curl("-C", "3", "-T", path, image)[0], 400, "curl -C")
        equal(curl("-H", "Content-Encoding: gzip", "-T", path, image)[0], 415, "a coding")
        client = daemon.client()
        equal(client.get("/v1/images/seven").status, 404, "the image")
        equal(client.get("/v1/blobs").json["items"], [], "the blobs")


@check("--append adds words to the default command line of an image's kind, and to an image's own")
def append():
    # A Multiboot kernel that exits at once; its command line is kept all the same.
    code = processes.scratch_directory("append") / "kernel"
    magic, flags, base = 0x1BADB002, 1 << 16, 0x200000
    header = struct.pack("<8I", magic, flags, -(magic + flags) & 0xFFFFFFFF, base, base, 0, 0, base + 32)
    code.write_bytes(header + bytes.fromhex("b007e6f4"))
    with Daemon("--no-demo-pool") as daemon:
        vmpool = client_of(daemon)
        manifest = lambda *words: json.loads(vmpool("images", "push", code, *words, "--json")[0])["items"][0]["manifest"]
        equal(manifest("--command-line", "a b")["command_line"], "a b", "--command-line")
        equal(manifest("--append", "c")["command_line"], "c", "--append where the kind has no default")
        vmpool("images", "push", code, "--append", "c", "--command-line", "d", status=64)
        vmpool("pools", "set", "kernels", "--image", "kernel", "--ready", "1", "--memory", "4")
        vmpool("run", "kernels", "--append", "d", "--wait", "20s", status=7)
