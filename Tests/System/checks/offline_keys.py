"""The first key: vmpoold create-key, and the client that presents it."""
import json
import os
import re
import stat

from testbed import processes
from testbed.checks import Skipped, check, equal, expect
from testbed.daemon import Daemon

KEY = re.compile(r"vmp_[a-z2-7]{58}\n")


def create(directory, *options, status=0, **popen):
    result = processes.run([processes.BINARIES / "vmpoold", "create-key", "--state-dir", directory, *options], **popen)
    equal(result.returncode, status, f"the exit status of create-key {options}: {result.stdout}{result.stderr}")
    return result


def admin(directory, *options, **popen):
    """The text of a new key that may do everything."""
    result = create(directory, "--tenant", "default", "--scopes", "admin", *options, **popen)
    expect(KEY.fullmatch(result.stdout), f"stdout is not a key alone: {result.stdout!r}")
    return result.stdout.strip()


@check("the first key closes the server, and is nowhere but on stdout")
def first():
    directory = processes.scratch_directory("keys") / "state"
    key = admin(directory)
    equal(stat.S_IMODE(directory.stat().st_mode), 0o700, "the mode of the directory")
    for path in directory.rglob("*"):
        expect(not path.is_file() or key.encode() not in path.read_bytes(), f"{path} has the key in it")
    with Daemon("--state-dir", directory) as daemon:
        client = daemon.client()
        equal(client.get("/v1/vms").status, 401, "without the key")
        equal(client.get("/v1/vms", Authorization=f"Bearer {key}").status, 200, "with the key")
        equal(client.get("/livez").status, 200, "a probe")
        expect(key not in daemon.log_so_far(), "the log has the key in it")


@check("create-key says what stands in its way")
def refusals():
    directory = processes.scratch_directory("keys") / "state"
    result = create(directory, "--tenant", "acme", "--scopes", "lease", status=64)
    expect("admin" in result.stderr and result.stdout == "", "the first key without the scope admin")
    create(directory, "--tenant", "Acme", "--scopes", "admin", status=64)
    create(directory, "--tenant", "acme", "--scopes", "all", status=64)
    admin(directory, "--expires", "90d", "--note", "the first")
    create(directory, "--tenant", "acme", "--scopes", "lease", "--pools", "web")
    with Daemon("--state-dir", directory):
        result = create(directory, "--tenant", "default", "--scopes", "admin", status=73)
        expect("vmpool keys create" in result.stderr and result.stdout == "", f"beside a server: {result.stderr}")
    with open("/dev/full", "w") as full:
        result = create(directory, "--tenant", "default", "--scopes", "admin", status=74, stdout=full)
        expect("revoked" in result.stderr, f"stdout is full: {result.stderr}")
    if os.geteuid() != 0:
        raise Skipped("it takes root to be another user; the rest passed")
    for path in (processes.SCRATCH, directory.parent):
        path.chmod(0o755)
    os.chown(directory, 41001, 41001)
    result = create(directory, "--tenant", "default", "--scopes", "admin", status=73)
    expect("41001" in result.stderr and "sudo -u" in result.stderr, f"as another user: {result.stderr}")


@check("the client presents a key from a file, the environment or a context, and never prints it")
def client():
    home = processes.scratch_directory("keys")
    key = admin(home / "state")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VMPOOL_", "XDG_CONFIG"))}
    environment["HOME"] = str(home)
    path = home / "key"
    path.write_text(key + "\n")
    path.chmod(0o600)

    def vmpool(*words, status=0, input=None, **more):
        result = processes.run(
            [processes.BINARIES / "vmpool", *words], env={**environment, **more}, input=input)
        equal(result.returncode, status, f"the exit status of vmpool {words}: {result.stdout}{result.stderr}")
        expect(key not in result.stdout + result.stderr, f"vmpool {words} prints the key")
        return result.stdout + result.stderr

    with Daemon("--state-dir", home / "state") as daemon, Daemon() as other:
        server = ("--server", daemon.url)
        text = vmpool("ps", *server, status=77)
        expect("--key-file" in text and "vmpool keys create" in text, f"without a key: {text}")
        vmpool("ps", *server, VMPOOL_KEY=key)
        vmpool("ps", *server, "--key-file", path)
        vmpool("ps", *server, "--key-file", "-", input=key)
        vmpool("ps", *server, VMPOOL_KEY=key[:-1] + "b", status=65)
        vmpool("ps", *server, "--key-file", path, VMPOOL_KEY="wrong")
        vmpool("context", "set", "lab", daemon.url, "--key-file", path)
        vmpool("context", "set", "kept", daemon.url, "--key-stdin", input=key)
        vmpool("context", "set", "bare", daemon.url)
        expect(str(path) in vmpool("context", "ls") and "kept here" in vmpool("context", "ls"), "context ls")
        vmpool("context", "ls", "--json")
        for name in ("lab", "kept"):
            vmpool("ps", "--context", name)
            vmpool("ps", "--context", name, VMPOOL_KEY="vmp_wrong")
        vmpool("ps", "--context", "bare", status=77)
        vmpool("ps", "--context", "bare", VMPOOL_KEY=key)
        # The open server refuses a key that it does not know: that of the context in use must not reach it.
        vmpool("ps", "--server", other.url)
        vmpool("ps", VMPOOL_SERVER=other.url)
        file = home / ".config/vmpool/config.json"
        equal(stat.S_IMODE(file.stat().st_mode), 0o600, "the mode of the file of contexts")
        file.chmod(0o644)
        expect("chmod 600" in vmpool("ps", "--context", "kept", status=65), "a file of contexts that all may read")
        vmpool("ps", "--context", "lab")
        path.chmod(0o644)
        expect("chmod 600" in vmpool("ps", *server, "--key-file", path, status=65), "a key file that all may read")


@check("vmpool keys makes, lists, shows and revokes keys")
def commands():
    home = processes.scratch_directory("keys")
    path = str(home / "s")
    with Daemon("--state-dir", home / "state", listen=["127.0.0.1:0", f"unix:{path}"]) as daemon:
        def vmpool(*words, status=0, server=f"unix:{path}", **more):
            result = processes.run(
                [processes.BINARIES / "vmpool", *words, "--server", server], env={**os.environ, **more})
            equal(result.returncode, status, f"the exit status of vmpool {words}: {result.stdout}{result.stderr}")
            return result.stdout

        create = ("keys", "create", "--tenant", "default")
        vmpool(*create, "--scopes", "read", status=1)
        text = vmpool(*create, "--scopes", "admin")
        expect(KEY.fullmatch(text), f"stdout is not a key alone: {text!r}")
        made = json.loads(vmpool(*create, "--scopes", "lease,read", "--pools", "demo", "--expires", "90d", "--json"))
        expect(KEY.fullmatch(made["key"] + "\n"), "the key in JSON")
        equal((made["scopes"], made["pools"]), (["read", "lease"], ["demo"]), "what the key may do")
        listed = vmpool("keys", "-q").split()
        expect(made["id"] in listed and len(listed) == 2, f"keys -q: {listed}")
        for shown in (vmpool("keys"), vmpool("keys", "--json"), vmpool("keys", "inspect", made["id"][:12])):
            expect(made["key"] not in shown and text.strip() not in shown, "a list shows a key")
        with_key = {"server": daemon.url, "VMPOOL_KEY": made["key"]}
        vmpool("pools", **with_key)
        vmpool("keys", "create", "--tenant", "default", "--scopes", "admin", status=77, **with_key)
        vmpool("keys", "revoke", made["id"], "key-0000000000000000", status=2)
        vmpool("pools", status=77, **with_key)
        expect("revoked" in vmpool("keys", "inspect", made["id"]), "keys inspect")
