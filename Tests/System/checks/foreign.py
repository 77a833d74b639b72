"""Guests that others made: Tests/Lab/foreign-guests fetches them, and they boot by vmpool boot."""
import os
import pathlib
import signal
import subprocess
import time

from checks.command_line import CommandLine
from testbed.checks import Failure, Skipped, check, equal, expect
from testbed.daemon import Daemon

# How long a step may take on a processor that is emulated, and runs a hypervisor.
SECONDS = 300


def of_the_lab(name):
    """A variable of the environment, where there are such guests and the host runs them."""
    value = os.environ.get(name)
    if not value:
        raise Skipped(f"{name} is not set; the lab's suite foreign sets it")
    return pathlib.Path(value)


def guest(name):
    """The path of a guest."""
    return of_the_lab("VMPOOL_FOREIGN_GUESTS") / name


class Boot:
    """A guest that boots at this process's pipes."""

    def __init__(self, *words):
        self.words = [str(word) for word in words]

    def __enter__(self):
        self.daemon = Daemon("--no-demo-pool")
        command = CommandLine(self.daemon.url)
        self.process = command.start("boot", *self.words, stdin=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.output = b""
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.communicate(timeout=60)
        with self.daemon:
            if kind is None:
                equal(self.daemon.client().get("/v1/blobs").json["items"], [], "blobs that are left")

    def says(self, text, seconds=SECONDS):
        """Waits for a text."""
        end = time.monotonic() + seconds
        while text.encode() not in self.output:
            status = self.process.poll()
            self.output += self.process.stdout.read() or b""
            if text.encode() in self.output:
                return
            if status is not None or time.monotonic() > end:
                raise Failure(f"no {text!r}, exit status {status}: {self.output[-3000:].decode(errors='replace')}")
            time.sleep(0.1)

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def ends(self, status):
        """The guest ends by itself."""
        self.process.wait(SECONDS)
        self.output += self.process.stdout.read() or b""
        equal(self.process.returncode, status, f"the exit status: {self.output[-500:]}")


@check("GRUB's kernel for its Multiboot test says that it booted")
def grub():
    with Boot(guest("multiboot.elf")) as boot:
        boot.says("Boot Test Passed Successfully\nGRUB boots it.")


@check("GNU Mach starts, and misses the modules that it was not given")
def gnumach():
    with Boot(guest("gnumach"), "--memory", "128", "console=com0") as boot:
        boot.says("GNU Mach 1.8")
        boot.says("No bootstrap code loaded with the kernel!")


@check("memtest86+ tests the memory")
def memtest():
    with Boot(guest("memtest"), "--memory", "64", "console=ttyS0,115200") as boot:
        boot.says("Memtest86+ v6.10")
        boot.says("Moving inversions")


@check("Xen starts a kernel that is its module, up to its search for a root")
def xen():
    kernel = of_the_lab("VMPOOL_FOREIGN_KERNEL")
    # There is no BIOS to call. Without SMAP and XSAVE: the lab's processor gets both wrong in a nested guest.
    with Boot(guest("xen"), "--module", f"{kernel}=vmlinuz console=hvc0 panic=1", "--memory", "768",
              "console=com1 com1=115200,8n1 dom0_mem=512M no-real-mode smap=0 xsave=0") as boot:
        boot.says("Xen version 4.17")
        boot.says("Scrubbing Free RAM")
        boot.says("VFS: Unable to mount root fs")


@check("the installer asks its first question, and its initramfs is a shell on request")
def installer():
    # In less than a GiB its first question is whether that is meant.
    parts = (guest("linux"), "--initramfs", guest("initrd.gz"), "--memory", "1200")
    with Boot(*parts, "rdinit=/bin/sh") as boot:
        boot.says("job control turned off")
        boot.type("echo a shell in $(uname -s)\n")
        boot.says("a shell in Linux")
        boot.type("poweroff -f\n")
        boot.ends(0)
    with Boot(*parts, "DEBIAN_FRONTEND=text") as boot:
        boot.says("Select a language")
        boot.process.send_signal(signal.SIGTERM)
        boot.ends(128 + signal.SIGTERM)
        expect(b"Debian" in boot.output or b"Language" in boot.output, lambda: f"{boot.output[-500:]}")


@check("the initramfs of an installed system opens its rescue shell where it finds no root")
def rescue_shell():
    kernel = of_the_lab("VMPOOL_FOREIGN_KERNEL")
    # An empty panic= takes back the default's, with which this initramfs resets instead.
    with Boot(kernel, "--initramfs", guest("installed.img"), "--memory", "512", "panic= root=/dev/vda1 rootdelay=1") as boot:
        boot.says("/dev/vda1 does not exist.  Dropping to a shell!")
        boot.says("(initramfs)")
        boot.type("echo a shell in $(uname -s)\n")
        boot.says("a shell in Linux")
        boot.type("poweroff -f\n")
        boot.ends(0)


@check("Linux starts all of 16 processors")
def processors():
    parts = of_the_lab("VMPOOL_LINUX_KERNEL"), "--initramfs", of_the_lab("VMPOOL_LINUX_INITRAMFS")
    # One processor after the other, on two that are emulated.
    with Boot(*parts, "--vcpus", "16", "--memory", "512", "noxsave") as boot:
        boot.says("guest: processors 16", 3 * SECONDS)
        boot.says("guest: ready")
        boot.type("off\n")
        boot.ends(0)
