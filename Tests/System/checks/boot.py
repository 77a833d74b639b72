"""vmpool boot: from files to a guest's exit status, and nothing left."""
import contextlib
import http.client
import http.server
import os
import signal
import threading

from checks.command_line import CommandLine
from checks.guests import built
from checks.terminal import Terminal
from testbed import processes
from testbed.checks import Skipped, check, equal, eventually, expect
from testbed.daemon import Daemon

FLAT = ("--kind", "flat", "--mode", "long64_ring3")
# mov al, 7; out 0xf4, al; jmp $. And jmp $ alone.
EXIT7, SPIN = bytes.fromhex("b007e6f4ebfe"), bytes.fromhex("ebfe")


def file_of(data, name="guest"):
    path = processes.scratch_directory("boot") / name
    path.write_bytes(data)
    return path


def tree():
    """A directory with a file of each sort that every user can make."""
    root = processes.scratch_directory("boot") / "root"
    (root / "etc").mkdir(parents=True)
    (root / "init").write_text("#!/bin/sh\n")
    (root / "init").chmod(0o755)
    (root / "etc/motd").write_text("good morning\n")
    os.link(root / "etc/motd", root / "etc/again")
    (root / "link").symlink_to("/etc/motd")
    os.mkfifo(root / "pipe")
    return root


class Silent(http.server.BaseHTTPRequestHandler):
    """Passes requests on to a server, and keeps the first answer to each of some requests to itself."""
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        silent = next((s for s in self.server.silent if f"{self.command} {self.path}".startswith(s)), None)
        if silent and self.server.hangs:
            self.server.asked.set()
            self.server.released.wait(60)
            return
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=30)
        names = ("Content-Type", "Idempotency-Key", "Content-Range")
        upstream.request(self.command, self.path, body or None,
                         {name: self.headers[name] for name in names if self.headers.get(name)})
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        if silent:
            self.server.silent.remove(silent)
            return
        self.send_response(answer.status)
        for name in ("Content-Type", "Upload-Offset"):
            if answer.headers.get(name):
                self.send_header(name, answer.headers[name])
        self.send_header("Connection", "close")
        self.send_header("Content-Length", "0" if self.command == "HEAD" else str(len(data)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def silent(daemon, *requests, hangs=False):
    """A proxy that does not answer requests that begin so; one that hangs does not pass them on either."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as proxy:
        proxy.upstream, proxy.silent, proxy.hangs = daemon.url.removeprefix("http://"), list(requests), hangs
        proxy.asked, proxy.released, proxy.daemon_threads = threading.Event(), threading.Event(), True
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield proxy, CommandLine(f"http://127.0.0.1:{proxy.server_port}")
        finally:
            proxy.released.set()
            proxy.shutdown()


def nothing_left(client):
    equal([vm["id"] for vm in client.get("/v1/vms").json["items"]], [], "VMs")
    equal([i["name"] for i in client.get("/v1/images").json["items"] if i["manifest"]], [], "images")
    equal(client.get("/v1/blobs").json["items"], [], "blobs")


@check("a kernel, a directory and words become a guest that says so, and then nothing")
def whole():
    folder, root = built(), tree()
    with Daemon("--no-demo-pool") as daemon:
        vmpool, client = CommandLine(daemon.url), daemon.client()
        command = vmpool.command("boot", folder / "pvh", "--initramfs", root, "--memory", "8", "first", "second=x y")
        result = processes.run(command, text=False)
        equal(result.returncode, 0, f"the exit status: {result.stderr}")
        expect(result.stdout.startswith(b"first second=x y\n070701"), lambda: f"what the guest prints: {result.stdout}")
        for word in (b"init\0", b"etc/motd\0", b"good morning\n", b"/etc/motd", b"TRAILER!!!\0"):
            expect(word in result.stdout, lambda: f"no {word} in {result.stdout}")
        nothing_left(client)
        message = vmpool.run("boot", file_of(EXIT7), *FLAT, status=7)
        equal(message, "", "what is said of a guest that exits")
        message = vmpool.run("boot", file_of(SPIN), *FLAT, "--deadline", "100ms", status=124)
        expect("deadline" in message, lambda: f"what is said of a deadline: {message}")
        told = vmpool.run("boot", folder / "multiboot64", "--initramfs", file_of(b"one\n"), "--module",
                          f"{file_of(b'two', 'two')}=second a=b", "--module", file_of(b"three\n", "three"))
        equal(told, "one\nsecond a=b\ntwothree\n", "modules and their texts")
        nothing_left(client)


@check("what looks like Linux has the default command line and what is added; a console or a host that is lost is told")
def linux():
    kernel, root = built() / "vmlinux", tree()
    with Daemon("--no-demo-pool") as daemon:
        vmpool, client = CommandLine(daemon.url), daemon.client()
        emulated = client.get("/v1/host").json["ring0_emulated"]

        def told(*words):
            """What a guest prints, and what is said of it, the warning of the host's left out."""
            result = processes.run(vmpool.command(*words))
            equal(result.returncode, 0, f"{words}: {result.stderr}")
            lines = result.stderr.splitlines()
            warnings = [line for line in lines if "warning" in line]
            equal(len(warnings), int(emulated), f"warnings of {words}: {lines}")
            expect(all("emulates ring 0 (`vmpool host` says so)" in line for line in warnings), lambda: f"{warnings}")
            return result.stdout, [line for line in lines if line not in warnings]

        equal(told("boot", kernel, "--initramfs", root), ("console=ttyS0 panic=-1\n", []), "nothing added")
        equal(told("boot", kernel, "quiet", "a=b"), ("console=ttyS0 panic=-1 quiet a=b\n", []), "words")
        equal(told("boot", kernel, "--append", "quiet")[0], "console=ttyS0 panic=-1 quiet\n", "--append")
        output, lines = told("boot", kernel, "--command-line", "quiet")
        equal(output, "quiet\n", "--command-line")
        expect(len(lines) == 1 and "console=ttyS0" in lines[0], lambda: f"what is said of a lost console: {lines}")
        equal(told("boot", kernel, "--command-line=-x console=ttyS0"), ("-x console=ttyS0\n", []), "a dash, a console")
        vmpool.run("images", "push", kernel, "--name", "linux")
        _, lines = told("vms", "create", "--image", "linux", "--no-start", "--command-line", "quiet")
        expect(len(lines) == 1 and "console=ttyS0" in lines[0], lambda: f"what is said of a lost console: {lines}")
        told("pools", "set", "linux", "--image", "linux", "--ready", "0")
        told("pools", "patch", "linux", "--vcpus", "2")
        for path in ("/v1/pools/linux", f"/v1/vms/{client.get('/v1/vms').json['items'][0]['id']}"):
            equal(len(client.get(path).json["warnings"]), int(emulated), f"the warnings of {path}")
        equal(client.get("/v1/images/linux").json["min_memory_mib"], 3, "the least memory of it")
        equal(client.post("/v1/vms", {"image": "spin"}).json["warnings"], [], "a guest in ring 3")


@check("a directory's archive is one that cpio reads")
def archive():
    if not processes.which("cpio"):
        raise Skipped("cpio is missing: apt-get install cpio")
    root = tree()
    with Daemon("--no-demo-pool") as daemon:
        vmpool, path = CommandLine(daemon.url), processes.scratch_directory("boot") / "image"
        vmpool.run("images", "push", built() / "pvh", "--initramfs", root, "--name", "pvh")
        vmpool.run("images", "pull", "pvh", "-o", path)
        archive = (path.parent / "image.initramfs").read_bytes()
        folder = processes.scratch_directory("unpacked")
        result = processes.run(["cpio", "-i", "-d", "-m", "--quiet"], input=archive, cwd=folder, text=False)
        equal((result.returncode, result.stderr), (0, b""), "what cpio says")
        equal(processes.run(["diff", "-r", "--no-dereference", "-x", "pipe", root, folder]).stdout, "", "what is different")
        expect((folder / "pipe").is_fifo(), "the pipe is none")
        equal((folder / "etc/motd").stat().st_nlink, 2, "names of a file")
        equal((folder / "init").stat().st_mode, (root / "init").stat().st_mode, "a mode")
        equal(int((folder / "init").stat().st_mtime), int((root / "init").stat().st_mtime), "a date")


@check("a signal ends a boot, and nothing is left; bytes that others use stay")
def ended():
    path, folder = file_of(SPIN), built()
    with Daemon("--no-demo-pool") as daemon:
        vmpool, client = CommandLine(daemon.url), daemon.client()

        def booted():
            process = vmpool.start("boot", path, *FLAT)
            vm = eventually("it runs", lambda: [vm for vm in client.get("/v1/vms").json["items"]
                                                if vm["state"] == "running" and vm["image"] not in seen])[0]
            seen.add(vm["image"])
            return process, vm

        seen = set()
        # A shell's background jobs have SIGINT ignored, and vmpool leaves it so.
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        for number in (signal.SIGTERM, signal.SIGQUIT) if ignored else (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
            process, _ = booted()
            process.send_signal(number)
            process.communicate(timeout=20)
            equal(process.returncode, 128 + number, "the exit status")
            nothing_left(client)
        first, _ = booted()
        second, vm = booted()
        first.terminate()
        first.communicate(timeout=20)
        equal(client.get("/v1/blobs").json["items"][0]["images"], [vm["image"]], "who uses the bytes")
        equal(client.delete(f"/v1/vms/{vm['id']}").status, 204, "deleting the VM")
        second.communicate(timeout=20)
        equal(second.returncode, 137, "the exit status of a boot whose VM was deleted")
        nothing_left(client)
        # What was there before stays.
        vmpool.run("images", "push", folder / "pvh", "--name", "kept")
        vmpool.run("boot", folder / "pvh", "--memory", "4")
        equal([blob["images"] for blob in client.get("/v1/blobs").json["items"]], [["kept"]], "blobs")


@check("what was made without an answer is deleted, or named when that fails")
def unanswered():
    path = file_of(EXIT7)
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        for request in ("PUT /v1/images/", "POST /v1/vms"):
            with silent(daemon, request) as (_, vmpool):
                told = vmpool.run("boot", path, *FLAT, status=69)
                expect("may be left" not in told, lambda: f"what is said without an answer to {request}: {told}")
            nothing_left(client)
        with silent(daemon, "POST /v1/vms", "DELETE /v1/images/") as (_, vmpool):
            told = vmpool.run("boot", path, *FLAT, status=69)
            expect("the image boot-" in told and "may be left" in told, lambda: f"what may be left: {told}")


@check("a second signal does not wait for a server that hangs, and what may be left is named")
def hanging():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        with silent(daemon, "GET /v1/vms/", hangs=True) as (proxy, vmpool):
            process = vmpool.start("boot", file_of(SPIN), *FLAT, "--timeout", "10m")
            expect(proxy.asked.wait(20), "the proxy was not asked")
            vm = client.get("/v1/vms").json["items"][0]
            eventually("it ends", lambda: process.send_signal(signal.SIGTERM) or process.poll() is not None)
            told = process.communicate()[1].decode()
            # A third signal may come while it ends.
            expect(process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM), lambda: f"{process.returncode}: {told}")
            expect(f"{vm['id']}, the image {vm['image']} may be left" in told, lambda: f"what may be left: {told}")
        client.delete(f"/v1/vms/{vm['id']}")


@check("what cannot be booted is told so, and nothing of it stays")
def refused():
    folder, root = built(), tree()
    with Daemon("--no-demo-pool") as daemon:
        vmpool, client = CommandLine(daemon.url), daemon.client()
        message = vmpool.run("boot", file_of(b"\x1f\x8b\x08" + bytes(100), "vmlinuz.gz"), status=1)
        expect("a gzip file" in message, lambda: f"a gzip file: {message}")
        message = vmpool.run("boot", folder / "pvh", "--memory", "1", status=1)
        expect("--memory" in message and "at least" in message, lambda: f"too little memory: {message}")
        message = vmpool.run("boot", folder / "elf", "--module", file_of(b"m"), status=1)
        expect("module" in message, lambda: f"a module that nothing takes: {message}")
        message = vmpool.run("boot", file_of(EXIT7), *FLAT, "a", "b", status=1)
        expect("the words after the kernel: " in message and "--command-line" not in message, message)
        vmpool.run("boot", "/nonexistent", status=66)
        vmpool.run("boot", folder / "pvh", "--initramfs", "/nonexistent", status=66)
        huge = root / "huge"
        huge.touch()
        os.truncate(huge, 1 << 32)
        message = vmpool.run("boot", folder / "pvh", "--initramfs", root, status=65)
        expect("huge has 4294967296 bytes" in message, lambda: f"a file that is too large: {message}")
        huge.unlink()
        (root / "init").unlink()
        message = processes.run(vmpool.command("boot", folder / "pvh", "--initramfs", root), text=False).stderr
        expect(b"no /init" in message, lambda: f"a directory without init: {message}")
        message = vmpool.run("boot", folder / "pvh", "--initramfs", root, "--initramfs", root, status=64)
        expect("--initramfs is given twice" in message, lambda: f"an option given twice: {message}")
        nothing_left(client)


@check("of a device without an end no more is read than the server takes")
def endless():
    with Daemon("--no-demo-pool", "--max-image-mib", "1") as daemon, open("/dev/zero", "rb") as zeros:
        vmpool = CommandLine(daemon.url)
        for words in (("boot", "/dev/zero"), ("boot", "-"), ("boot", file_of(SPIN), "--initramfs", "/dev/zero"),
                      ("images", "push", "-", "--name", "zeros")):
            message = vmpool.run(*words, status=65, stdin=zeros)
            expect("more than the 1048576 bytes" in message, lambda: f"vmpool {words}: {message}")
        nothing_left(daemon.client())


@check("at a terminal keys go to the guest, and Ctrl-] ends it")
def at_a_terminal():
    # in al, dx; out dx, al; jmp back, with dx = 0x3fd and 0x3f8 by turns: sends back what comes.
    code = bytes.fromhex("66bafd03ec a801 74f7 66baf803 ec ee ebef".replace(" ", ""))
    with Daemon("--no-demo-pool") as daemon, Terminal(daemon) as terminal:
        terminal.type(f"clear; vmpool boot {file_of(code)} {' '.join(FLAT)}")
        terminal.shows("Ctrl-] ends it")
        terminal.tmux("send-keys", "-l", "typed")
        terminal.shows("^typed")
        terminal.key("C-c")
        terminal.key("C-\\")
        terminal.tmux("send-keys", "-l", "more")
        terminal.shows("more")
        terminal.key("C-]")
        equal(terminal.status(), 0, "the exit status after Ctrl-]")
        nothing_left(daemon.client())
