"""`make install`: a tree that runs in a bare Debian with nothing but the C libraries, and its manual pages."""
import os
import pathlib
import re
import shutil

from testbed import processes
from testbed.checks import Skipped, check, equal, eventually, expect

PROGRAMS = ("vmpoold", "vmpool", "vmpool-bench")
# The packages whose libraries the programs need, and what those need; README.md and the Dockerfile name the first seven.
PACKAGES = {
    "libcurl4", "libgnutls30", "libjansson4", "libmicrohttpd12", "libnettle8", "libsqlite3-0", "libyaml-0-2", "libc6",
    "libgcc-s1", "libstdc++6",
}


def make(*words, status=0):
    result = processes.run(["make", "-s", "-C", processes.ROOT, *words], timeout=120)
    equal(result.returncode, status, f"make {' '.join(map(str, words))}: {result.stdout}{result.stderr}")


def files(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


@check("make install puts everything where it is looked for, and make uninstall takes it away")
def install():
    for prefix, options in (("/usr/local", ()), ("/usr", ("PREFIX=/usr",)), ("/opt/vm", ("PREFIX=/opt/vm", "SYSCONFDIR=/opt/etc"))):
        root = processes.scratch_directory("install")
        options = (f"DESTDIR={root}", f"BIN={processes.BINARIES.resolve()}", *options)
        make("install", *options)
        tree = root / prefix.lstrip("/")
        etc = "opt/etc" if prefix == "/opt/vm" else "etc"
        for name in (
            *(f"bin/{program}" for program in PROGRAMS), "share/man/man1/vmpool.1", "share/man/man8/vmpoold.8",
            "share/bash-completion/completions/vmpool", "share/zsh/site-functions/_vmpool",
            "share/fish/vendor_completions.d/vmpool.fish", "share/doc/vmpool/runbook.md", "lib/sysusers.d/vmpool.conf",
        ):
            expect((tree / name).exists(), f"{prefix}/{name} is missing")
        for unit in ("vmpoold.service", "vmpoold.socket"):
            text = (tree / "lib/systemd/system" / unit).read_text()
            for path in re.findall(r"^(?:Documentation=file://|Exec\w+=)(/\S+)", text, re.M):
                expect(path == "/bin/kill" or (root / path.lstrip("/")).exists(), f"{unit} names {path}, which is missing")
        config = root / etc / "vmpool/vmpoold.yaml"
        config.write_text("pools: {}\n")
        make("install", *options)
        equal(config.read_text(), "pools: {}\n", "a configuration that was there")
        make("uninstall", *options)
        equal(files(root), {f"{etc}/vmpool/vmpoold.yaml"}, "what is left")


@check("the installed programs run in a bare Debian root with nothing but their C libraries")
def bare():
    if os.geteuid() != 0:
        raise Skipped("chroot needs root")
    root = processes.scratch_directory("bare")
    make("install", f"DESTDIR={root}", f"BIN={processes.BINARIES.resolve()}", "PREFIX=/usr")
    needed = set()
    for program in PROGRAMS:
        found = processes.run(["ldd", processes.BINARIES / program]).stdout
        if "libswiftCore" in found:
            expect("release" not in str(processes.BINARIES.resolve()), f"{program} needs Swift's libraries:\n{found}")
            raise Skipped("a debug build needs Swift's libraries; --bin takes one with --static-swift-stdlib")
        expect("not found" not in found, found)
        needed |= set(re.findall(r"(/\S+)", found))
    owners = {path: owner(path) for path in needed}
    missing = {path for path, package in owners.items() if package is None}
    equal(missing, set(), "libraries that no Debian package has")
    for path in needed:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    direct = {owner(path) for program in PROGRAMS for path in libraries(processes.BINARIES / program)}
    equal(direct - PACKAGES, set(), "packages that are needed and not documented")
    for device in ("kvm", "null", "urandom"):
        node = root / "dev" / device
        node.parent.mkdir(exist_ok=True)
        os.mknod(node, 0o20666, os.stat(f"/dev/{device}").st_rdev)
    for folder in ("tmp", "var/tmp", "proc", "sys"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    # Swift reads the command line from there.
    if processes.run(["mount", "-t", "proc", "proc", root / "proc"]).returncode != 0:
        raise Skipped("/proc cannot be mounted here")
    try:
        return run_in(root) + f", {len(needed)} libraries"
    finally:
        processes.run(["umount", root / "proc"])


def run_in(root):
    """Runs the installed programs in a root, the server and a guest among them."""
    environment = {"PATH": "/usr/bin", "HOME": "/tmp"}
    inside = lambda *words, **options: processes.run(["/usr/sbin/chroot", root, *words], env=environment, **options)
    for program in PROGRAMS:
        result = inside(f"/usr/bin/{program}", "--version")
        equal((result.returncode, result.stderr), (0, ""), f"{program} --version in a bare root")
    server = processes.start(
        ["/usr/sbin/chroot", root, "/usr/bin/vmpoold", "--listen", "unix:/tmp/socket"], env=environment, stdout=-3, stderr=-3)
    try:
        eventually("it listens", lambda: (root / "tmp/socket").exists())
        client = ("/usr/bin/vmpool", "--server", "unix:/tmp/socket")
        inside(*client, "pools", "set", "hello", "--image", "hello", "--ready", "1")
        result = inside(*client, "run", "hello", "--wait", "20s")
        equal((result.returncode, result.stdout), (0, "Hello from vmpool\n"), f"a run in a bare root: {result.stderr}")
        result = inside(*client, "bench", "kick", "--quick", timeout=120)
        equal(result.returncode, 0, f"vmpool bench in a bare root: {result.stderr}")
    finally:
        server.terminate()
        server.wait(20)
    return f"{len(PROGRAMS)} programs"


def libraries(program):
    """The paths of the libraries that a program names itself."""
    names = re.findall(r"NEEDED\s+(\S+)", processes.run(["objdump", "-p", program]).stdout)
    found = dict(re.findall(r"(\S+) => (\S+)", processes.run(["ldd", program]).stdout))
    return [found[name] for name in names if name in found]


def owner(path):
    """The Debian package of a file; nil when there is none. The merged /usr hides where a package put it."""
    for name in {path, os.path.realpath(path), path.removeprefix("/usr"), "/usr" + path}:
        result = processes.run(["dpkg-query", "-S", name])
        if result.returncode == 0:
            return result.stdout.split(":")[0]
    return None


@check("the manual pages are what the programs say of themselves")
def manual():
    result = processes.run([processes.ROOT / "scripts/manual", "--check", processes.BINARIES])
    equal(result.returncode, 0, result.stderr)
    if not processes.which("groff"):
        raise Skipped("groff is missing, so their form is not looked at")
    for page in sorted(pathlib.Path(processes.ROOT / "docs/man").iterdir()):
        result = processes.run(["groff", "-k", "-man", "-Tutf8", "-ww", "-z", page])
        equal((result.returncode, result.stderr), (0, ""), f"groff -ww {page.name}")


@check("vmpool bench becomes vmpool-bench, and says so where there is none")
def bench():
    result = processes.run([processes.BINARIES / "vmpool", "bench", "--version"])
    equal((result.returncode, result.stderr), (0, ""), "vmpool bench --version")
    equal(processes.run([processes.BINARIES / "vmpool", "bench", "nonsense"]).returncode, 64, "the exit status of a wrong one")
    directory = processes.scratch_directory("bench")
    for place, folder in (("beside it", "bin"), ("in libexec", "libexec/vmpool")):
        root = directory / folder.replace("/", "-")
        for name, target in (("vmpool", "bin"), ("vmpool-bench", folder)):
            (root / target).mkdir(parents=True, exist_ok=True)
            shutil.copy(processes.BINARIES / name, root / target / name)
        result = processes.run([root / "bin/vmpool", "bench", "kick", "--help"])
        expect(result.returncode == 0 and "kickers" in result.stdout, lambda: f"{place}: {result.stderr}")
    shutil.copy(processes.BINARIES / "vmpool", directory / "vmpool")
    alone = {**os.environ, "PATH": "/usr/bin:/bin"}
    result = processes.run([directory / "vmpool", "bench"], env=alone)
    equal(result.returncode, 69, "the exit status without it")
    expect("vmpool-bench cannot be started" in result.stderr, result.stderr)
    result = processes.run([directory / "vmpool", "bench", "--version"], env={**alone, "PATH": f"{processes.BINARIES}:/bin"})
    equal(result.returncode, 0, "one in PATH")
