"""Bad input: each piece gets its status and a problem document, and nothing is lost or leaked."""
from testbed import problems
from testbed.checks import check, equal, expect
from testbed.client import raw
from testbed.daemon import Daemon

JSON = {"Content-Type": "application/json"}

# Bodies of POST /v1/vms with the status, the problem and the pointer that each gets.
DOCUMENTS = [
    (b"", "malformed-json", None),
    (b" ", "malformed-json", None),
    (b"{", "malformed-json", None),
    (b'{"image":"spin"', "malformed-json", None),
    (b'{"image":"spin"} {}', "malformed-json", None),
    (b'{"image":"spin"}x', "malformed-json", None),
    (b'{"image":"spin",}', "malformed-json", None),
    (b"{'image':'spin'}", "malformed-json", None),
    (b'{"image":"sp\x00in"}', "malformed-json", None),
    (b'{"image":"sp\\u0000in"}', "invalid-member", "/image"),
    (b'{"image":"spin","a\\u0000b":1}', "invalid-member", "/a\ufffdb"),
    (b'{"image":"sp\xffin"}', "malformed-json", None),
    (b'{"image":"\\ud800"}', "malformed-json", None),
    (b'\xef\xbb\xbf{"image":"spin"}', "malformed-json", None),
    (b'{"image":"spin"/* */}', "malformed-json", None),
    (b'{"vcpus":NaN}', "malformed-json", None),
    (b'{"a":' * 100 + b"1" + b"}" * 100, "malformed-json", None),
    (b"[" * 100_000, "malformed-json", None),
    (b"[" + b"1," * 200_000 + b"1]", "malformed-json", None),
    (b"null", "invalid-member", ""),
    (b"[]", "invalid-member", ""),
    (b'"spin"', "invalid-member", ""),
    (b"{}", "invalid-member", "/image"),
    (b'{"image":"spin","image":"spin"}', "invalid-member", "/image"),
    (b'{"image":"spin","imagE":"spin"}', "invalid-member", "/imagE"),
    (b'{"image":"spin","a/b~c":1}', "invalid-member", "/a~1b~0c"),
    (b'{"image":"spim"}', "invalid-member", "/image"),
    (b'{"image":""}', "invalid-member", "/image"),
    (b'{"image":1}', "invalid-member", "/image"),
    (b'{"image":"spin","flat":{"mode":"real16","code":"9A=="}}', "invalid-member", "/flat"),
    (b'{"image":"spin","vcpus":0}', "invalid-member", "/vcpus"),
    (b'{"image":"spin","vcpus":65}', "invalid-member", "/vcpus"),
    (b'{"image":"spin","vcpus":-1}', "invalid-member", "/vcpus"),
    (b'{"image":"spin","vcpus":1.5}', "invalid-member", "/vcpus"),
    (b'{"image":"spin","vcpus":"1"}', "invalid-member", "/vcpus"),
    (b'{"image":"spin","vcpus":true}', "invalid-member", "/vcpus"),
    (b'{"image":"spin","vcpus":9223372036854775808}', "invalid-member", "/vcpus"),
    (b'{"image":"spin","vcpus":1e400}', "invalid-member", "/vcpus"),
    (b'{"image":"echo","vcpus":2}', "invalid-member", "/vcpus"),
    (b'{"image":"spin","memory_mib":0}', "invalid-member", "/memory_mib"),
    (b'{"image":"spin","memory_mib":65537}', "invalid-member", "/memory_mib"),
    (b'{"image":"spin","deadline_ms":0}', "invalid-member", "/deadline_ms"),
    (b'{"image":"spin","deadline_ms":86400001}', "invalid-member", "/deadline_ms"),
    (b'{"image":"spin","start":"yes"}', "invalid-member", "/start"),
    (b'{"flat":{"mode":"real16"}}', "invalid-member", "/flat/code"),
    (b'{"flat":{"code":"9A=="}}', "invalid-member", "/flat/mode"),
    (b'{"flat":{"mode":"real32","code":"9A=="}}', "invalid-member", "/flat/mode"),
    (b'{"flat":{"mode":"real16","code":""}}', "invalid-member", "/flat/code"),
    (b'{"flat":{"mode":"real16","code":"9A="}}', "invalid-member", "/flat/code"),
    (b'{"flat":{"mode":"real16","code":"9A==","entry":"16"}}', "invalid-member", "/flat/entry"),
    (b'{"flat":{"mode":"real16","code":"9A==","entry":65536}}', "invalid-member", "/flat/entry"),
    (b'{"flat":{"mode":"real16","code":"9A==","load_address":"0xffffffff"}}', "invalid-member", "/flat/load_address"),
    (b'{"flat":{"mode":"prot32","code":"9A==","load_address":"0xfffff000"}}', "invalid-member", "/flat/load_address"),
    (b'{"flat":{"mode":"prot32","code":"9A==","entry":"0x0"}}', "invalid-member", "/flat/entry"),
    (b'{"flat":{"mode":"long64","code":"9A==","load_address":"0x0"}}', "invalid-member", "/flat/load_address"),
]

# Requests without a body that matters: the problem each gets.
REQUESTS = [
    ("GET", "/v1", "route-not-found"),
    ("GET", "/v1/vms/", "route-not-found"),
    ("GET", "//v1/vms", "route-not-found"),
    ("GET", "/v1/vms/5", "invalid-parameter"),
    ("GET", "/v1/vms/VM-000000000000", "invalid-parameter"),
    ("GET", "/v1/vms/vm-0000000000000000", "vm-not-found"),
    ("DELETE", "/v1/vms/vm-0000000000000000", "vm-not-found"),
    ("POST", "/v1/vms/vm-0000000000000000/start", "vm-not-found"),
    ("POST", "/v1/vms/vm-0000000000000000/kick", "vm-not-found"),
    ("GET", "/v1/vms/vm-0000000000000000/console", "vm-not-found"),
    ("GET", "/v1/vms/{vm}/vcpus/1", "vcpu-not-found"),
    ("POST", "/v1/vms/{vm}/vcpus/7/kick", "vcpu-not-found"),
    ("GET", "/v1/vms/{vm}/vcpus/64", "invalid-parameter"),
    ("GET", "/v1/vms/{vm}/vcpus/-1", "invalid-parameter"),
    ("GET", "/v1/vms/{vm}/vcpus/00", "invalid-parameter"),
    ("GET", "/v1/vms/{vm}/vcpus/0x0", "invalid-parameter"),
    ("GET", "/v1/images/spim", "image-not-found"),
    ("GET", "/v1/images/Spin", "invalid-parameter"),
    ("GET", "/v1/pools/none", "pool-not-found"),
    ("DELETE", "/v1/pools/none", "pool-not-found"),
    ("GET", "/v1/pools/" + "a" * 64, "invalid-parameter"),
    ("GET", "/v1/vms?limit=0", "invalid-parameter"),
    ("GET", "/v1/vms?limit=1001", "invalid-parameter"),
    ("GET", "/v1/vms?limit=1e2", "invalid-parameter"),
    ("GET", "/v1/vms?limit=", "invalid-parameter"),
    ("GET", "/v1/vms?limit=1&limit=1", "invalid-parameter"),
    ("GET", "/v1/vms?state=asleep", "invalid-parameter"),
    ("GET", "/v1/vms?page_token=x", "invalid-parameter"),
    ("GET", "/v1/vms?what=1", "invalid-parameter"),
    ("GET", "/v1/host?x", "invalid-parameter"),
    ("GET", "/v1/vms/{vm}/console?offset=-1", "invalid-parameter"),
    ("GET", "/v1/vms/{vm}/console?offset=9223372036854775808", "invalid-parameter"),
    ("GET", "/v1/vms/{vm}/console?limit=65537", "invalid-parameter"),
    ("GET", "/v1/images/spin%00", "bad-request"),
    ("GET", "/v1/images/sp%69n%2Fx", "bad-request"),
    ("GET", "/v1/images/..", "bad-request"),
    ("GET", "/v1/vms/../images", "bad-request"),
    ("GET", "/v1/%2e%2e/images", "bad-request"),
    ("GET", "/v1/images/spin%", "bad-request"),
    ("GET", "/v1/images/%ff", "bad-request"),
    ("GET", "/v1/vms?limit=%00", "bad-request"),
]


def expect_kept(daemon, vm, before):
    daemon.expect_unchanged(before, "all of it")
    equal(daemon.client().get(vm).json["state"], "running", "the state of the VM that stood by")


def bystander(daemon):
    """A VM that runs while all this happens, and what the server holds with it."""
    vm = "/v1/vms/" + daemon.client().post("/v1/vms", {"image": "spin"}).json["id"]
    return vm, daemon.holdings()


@check("documents: malformed, deep, duplicate, trailing, unknown, wrong type, out of range")
def documents():
    with Daemon("--no-demo-pool") as daemon:
        vm, before = bystander(daemon)
        client = daemon.client()
        for body, problem, pointer in DOCUMENTS:
            answer = client("POST", "/v1/vms", body, JSON)
            document = problems.expect_problem(answer, problem, f"POST /v1/vms {body[:80]!r}")
            equal(document.get("pointer"), pointer, f"the pointer for {body[:80]!r}")
        for path in (f"{vm}/vcpus/0/kick", f"{vm}/kick"):
            for body in (b"{", b"[]", b'{"timeout_ms":0}', b'{"timeout_ms":60001}', b'{"timeout_ms":"1"}', b'{"x":1}'):
                answer = client("POST", path, body, JSON)
                problems.expect_problem(answer, ("malformed-json", "invalid-member"), f"POST {path} {body!r}")
        for body in (b"{}", b'{"image":"spin"}', b'{"image":"spin","ready":-1}', b'{"image":"spin","ready":1001}',
                     b'{"image":"spin","ready":1,"name":"x"}', b'{"image":"spim","ready":1}',
                     b'{"image":"echo","ready":1,"vcpus":2}', b'{"image":"spin","ready":null}'):
            answer = client("PUT", "/v1/pools/bad", body, JSON)
            problems.expect_problem(answer, "invalid-member", f"PUT /v1/pools/bad {body!r}")
        for name in ("Bad", "_none", "1bad", "-bad", "b%20d", "b.d"):
            answer = client("PUT", f"/v1/pools/{name}", b'{"image":"spin","ready":1}', JSON)
            problems.expect_problem(answer, "invalid-parameter", f"a pool {name}")
        problems.expect_problem(client("POST", f"{vm}/stop", b'{"now":true}', JSON), "invalid-member", "stop")
        expect_kept(daemon, vm, before)
    return f"{len(DOCUMENTS)} for creating a VM"


@check("integers may be written with a fraction of zero, and no other")
def integral_reals():
    with Daemon("--no-demo-pool") as daemon:
        client = daemon.client()
        for text, status in (("2.0", 201), ("2e0", 201), ("20e-1", 201), ("2.5", 400), ("-0.0", 400), ("1e300", 400)):
            body = b'{"image":"spin","start":false,"memory_mib":%s}' % text.encode()
            answer = client("POST", "/v1/vms", body, JSON)
            equal(answer.status, status, f"memory_mib of {text}")
            if status == 201:
                equal(answer.json["memory_mib"], 2, f"memory_mib of {text}")


@check("paths, names, indexes and parameters that do not exist")
def requests():
    with Daemon("--no-demo-pool") as daemon:
        vm, before = bystander(daemon)
        client = daemon.client()
        for method, path, problem in REQUESTS:
            path = path.replace("/v1/vms/{vm}", vm)
            problems.expect_problem(client(method, path), problem, f"{method} {path[:80]}")
        expect_kept(daemon, vm, before)


@check("bodies too large, and of the wrong type")
def bodies():
    with Daemon("--no-demo-pool") as daemon:
        vm, before = bystander(daemon)
        client = daemon.client()
        limit = client.get("/v1/host").json["limits"]["max_body_bytes"]
        padded = b'{"image":"spin","start":false}'
        fits = client("POST", "/v1/vms", padded.ljust(limit), JSON)
        equal(fits.status, 201, "a body as large as may be")
        client.delete("/v1/vms/" + fits.json["id"])
        for path in ("/v1/vms", f"{vm}/start", f"{vm}/kick"):
            announced = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {limit + 1}\r\n\r\n"
            problems.expect_problem(raw(daemon.address, announced)[0], "payload-too-large", f"POST {path} announced")
        chunk = b"%x\r\n" % (limit + 1) + b" " * (limit + 1) + b"\r\n0\r\n\r\n"
        chunked = b"POST /v1/vms HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk
        problems.expect_problem(raw(daemon.address, chunked)[0], "payload-too-large", "a body in chunks")
        lines = f"Host: localhost\r\nContent-Length: {limit + 1}\r\nExpect: 100-continue"
        waiting = raw(daemon.address, f"POST /v1/vms HTTP/1.1\r\n{lines}\r\n\r\n")
        equal(waiting[0].status, 413, "a body that waits to be asked for")
        for kind in ("text/plain", "application/xml", "multipart/form-data", "application/jsonx", ""):
            answer = client("POST", "/v1/vms", b'{"image":"spin"}', {"Content-Type": kind})
            problems.expect_problem(answer, "unsupported-media-type", f"Content-Type {kind!r}")
        for kind in ("application/json", "Application/JSON; charset=utf-8", "application/x-www-form-urlencoded"):
            answer = client("POST", f"{vm}/vcpus/0/kick", b"{}", {"Content-Type": kind})
            equal(answer.status, 200, f"Content-Type {kind!r}")
        expect_kept(daemon, vm, before)


@check("a head beyond what fits gets 414 or 431")
def heads():
    with Daemon("--no-demo-pool") as daemon:
        vm, before = bystander(daemon)
        long_target = f"GET /{'a' * 40000} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        long_field = f"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: {'a' * 40000}\r\n\r\n"
        for head in (long_target, long_field):
            status = raw(daemon.address, head)[0].status
            expect(status in (414, 431), lambda: f"status {status}")
        expect_kept(daemon, vm, before)
