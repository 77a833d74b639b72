"""No web page may drive the server through its visitor's browser."""
from testbed import problems
from testbed.checks import check, equal
from testbed.daemon import Daemon


@check("pages of other sites and foreign host names get 403, and nothing happens")
def refused():
    with Daemon("--allow-host", "vmpool.example") as daemon:
        client = daemon.client()
        port = daemon.address[1]
        before = daemon.holdings()
        cross_site = [
            {"Origin": "https://example.com"},
            {"Origin": "null"},
            {"Origin": "http://localhost.example.com"},
            {"Origin": f"http://localhost:{port + 1}"},
            {"Origin": f"http://127.0.0.1:{port}.example.com"},
            {"Origin": ""},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "anything"},
        ]
        hosts = ["example.com", "127.0.0.1.example.com", "localhost.", "vmpool", "[::2]", "", "localhost:x", "a b"]
        for method, path, body in (("GET", "/v1/vms", None), ("POST", "/v1/vms", b'{"image":"spin"}'),
                                   ("DELETE", "/v1/pools/demo", None), ("OPTIONS", "/v1/vms", None)):
            for headers in cross_site:
                answer = client(method, path, body, headers)
                problems.expect_problem(answer, "cross-site-request", f"{method} with {headers}")
                equal(answer.headers.get("Access-Control-Allow-Origin"), None, "the CORS header")
            for host in hosts:
                problems.expect_problem(client(method, path, body, {"Host": host}), "unknown-host", f"Host {host!r}")
        equal(client.get("/v1/pools/demo").status, 200, "the pool")
        daemon.expect_unchanged(before, "all of it")


@check("its own pages and names are welcome")
def welcome():
    with Daemon("--allow-host", "vmpool.example") as daemon:
        client = daemon.client()
        port = daemon.address[1]
        for headers in (
            {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}", "Sec-Fetch-Site": "same-origin"},
            {"Host": "LOCALHOST", "Sec-Fetch-Site": "none"},
            {"Host": "127.0.0.1"},
            {"Host": f"[::1]:{port}"},
            {"Host": "vmpool.example"},
            {"Host": "VMPOOL.example:443", "Origin": "https://vmpool.example"},
        ):
            equal(client("GET", "/v1/vms", None, headers).status, 200, f"a request with {headers}")
