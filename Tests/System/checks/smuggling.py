"""Requests that two servers could understand differently, over raw sockets."""
import re

from testbed import problems
from testbed.checks import check, equal, expect
from testbed.client import raw, raw_bytes
from testbed.daemon import Daemon

# What a refused request must never be: the beginning of a second one.
SECOND = "DELETE /v1/pools/demo HTTP/1.1\r\nHost: localhost\r\n\r\n"

# Lines after `GET /livez HTTP/1.1` and a Host field.
FIELDS = {
    "length and chunks": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 0\r\nContent-Length: 42\r\n\r\n",
    "the same length twice": "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "two encodings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip": "Transfer-Encoding: gzip\r\n\r\n",
    "gzip, then chunks": "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity": "Transfer-Encoding: identity\r\n\r\n",
    "two hosts": "Host: other\r\n\r\n",
    "the same host twice": "Host: localhost\r\n\r\n",
    "a folded field": "X: a\r\n b\r\n\r\n",
    "an encoding hidden by folding": "X: a\r\n Transfer-Encoding: chunked\r\n\r\n",
    "NUL in a value": "X: a\0b\r\n\r\n",
    "NUL at the end": "X: a\0\r\n\r\n",
    "a control character": "X: a\x01b\r\n\r\n",
    "a bare line feed": "X: a\nY: b\r\n\r\n",
    "a bare line feed at the end": "X: a\r\n\n",
    "a bare carriage return": "X: a\rY: b\r\n\r\n",
    "a space in a name": "X Y: a\r\n\r\n",
    "two content types": "Content-Type: text/plain\r\nContent-Type: application/json\r\n\r\n",
    "two idempotency keys": "Idempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n",
    "a list of lengths": "Content-Length: 0, 0\r\n\r\n",
    "a signed length": "Content-Length: +0\r\n\r\n",
    "a hexadecimal length": "Content-Length: 0x0\r\n\r\n",
    "an empty length": "Content-Length:\r\n\r\n",
}
# Whole requests.
REQUESTS = {
    "no Host": "GET /livez HTTP/1.1\r\n\r\n",
    "a space before the colon of Host": "GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "a space before Host": "GET /livez HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "line feeds alone": "GET /livez HTTP/1.1\nHost: localhost\n\n",
    "chunks in HTTP/1.0": "GET /livez HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "NUL in the target": "GET /livez\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "NUL in the method": "G\0T /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "two spaces": "GET  /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a target without a slash": "GET livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an absolute target of another scheme": "GET https://localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an absolute target with user information": "GET http://u@localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an absolute target without a host": "GET http:///livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a fragment": "GET /livez#x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "eight bits in the target": "GET /liv\xe9z HTTP/1.1\r\nHost: localhost\r\n\r\n",
}
# What libmicrohttpd refuses by itself, with a page of its own or without a word.
FOREIGN = {
    "NUL in a name": "GET /livez HTTP/1.1\r\nHost: localhost\r\nX\0Y: a\r\n\r\n",
    "a malformed chunk": "GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS greeting": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@check("each is refused with a problem document, and nothing after it is read")
def refused():
    with Daemon() as daemon:
        before = daemon.holdings()
        heads = {name: f"GET /livez HTTP/1.1\r\nHost: localhost\r\n{lines}" for name, lines in FIELDS.items()}
        for name, request in (heads | REQUESTS).items():
            answers = raw(daemon.address, request + SECOND)
            equal(len(answers), 1, f"the number of answers to {name}: {answers}")
            problems.expect_problem(answers[0], "bad-request", name)
            equal(answers[0].headers["Connection"], "close", f"Connection after {name}")
        expect_demo(daemon)
        daemon.expect_unchanged(before, "all of it")
    return f"{len(FIELDS) + len(REQUESTS)} requests"


@check("what the HTTP library refuses by itself is refused, too")
def foreign():
    with Daemon() as daemon:
        before = daemon.holdings()
        for name, request in FOREIGN.items():
            found = raw_bytes(daemon.address, request + SECOND)
            statuses = re.findall(rb"^HTTP/1\.[01] (\d+)", found, re.M)
            expect(all(status >= b"400" for status in statuses), lambda: f"{name} gets {found}")
            expect(len(statuses) <= 1, lambda: f"{name} gets more than one answer: {found}")
        expect_demo(daemon)
        daemon.expect_unchanged(before, "all of it")
    return f"{len(FOREIGN)} requests"


@check("a length beyond 64 bits gets one problem document")
def too_long():
    with Daemon() as daemon:
        head = "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n"
        answers = raw(daemon.address, head + SECOND)
        equal(len(answers), 1, f"the number of answers: {answers}")
        problems.expect_problem(answers[0], "payload-too-large", "a length beyond 64 bits")
        expect_demo(daemon)


@check("the host of an absolute target counts, and a foreign one is refused as in Host")
def absolute():
    with Daemon() as daemon:
        for target, field, status in (("http://localhost/livez", "localhost", 200),
                                      ("http://localhost/livez", "foreign.example", 200),
                                      ("http://localhost:1/livez?x", "localhost", 400),
                                      ("http://foreign.example/livez", "localhost", 403)):
            answers = raw(daemon.address, f"GET {target} HTTP/1.1\r\nHost: {field}\r\n\r\n")
            equal([answer.status for answer in answers], [status], f"{target} with Host: {field}")


@check("what is odd but clear is served")
def served():
    with Daemon() as daemon:
        ok = [
            "\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /livez HTTP/1.0\r\n\r\n",
            "GET /livez HTTP/1.1\r\nhOST: localhost\r\nX: \t a \t \r\n\r\n",
            "GET /%6civez HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "POST /v1/vms HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: Chunked\r\n\r\n"
            '10\r\n{"image":"spin"}\r\n0\r\n\r\n',
        ]
        for request in ok:
            answers = raw(daemon.address, request)
            expect(answers and answers[0].status in (200, 201), lambda: f"{request!r} gets {answers}")
        pipelined = raw(daemon.address, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
        equal([answer.status for answer in pipelined], [200] * 5, "five requests at once")


def expect_demo(daemon):
    equal(daemon.client().get("/v1/pools/demo").status, 200, "the pool that a smuggled request would have deleted")
