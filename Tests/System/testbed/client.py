"""HTTP as the checks speak it: through http.client, and byte by byte."""
import contextlib
import http.client
import io
import json
import socket


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


class Client:
    """A client that opens a connection when it needs one, and again when the server has closed it."""

    def __init__(self, address, timeout=30):
        """`address` is (host, port) or the path of a unix socket."""
        self.address = address
        # Sent with each request.
        self.headers = {}
        if isinstance(address, str):
            self.connection = UnixConnection(address, timeout)
        else:
            self.connection = http.client.HTTPConnection(*address, timeout=timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.connection.close()

    def __call__(self, method, path, body=None, headers=None):
        """One request; a `body` that is not bytes is sent as JSON."""
        headers = {**self.headers, **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        try:
            self.connection.request(method, path, body=body, headers=headers)
            response = self.connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except Exception:
            # The next request shall begin anew.
            self.close()
            raise

    def get(self, path, **headers):
        return self("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path, body=None):
        return self("POST", path, body)

    def put(self, path, body):
        return self("PUT", path, body)

    def delete(self, path):
        return self("DELETE", path)


def connect(address, timeout=30):
    """A plain connected socket."""
    if isinstance(address, str):
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(timeout)
        plain.connect(address)
        return plain
    return socket.create_connection(address, timeout=timeout)


def raw(address, data, timeout=30):
    """The answers, one by one, to the bytes sent as they are."""
    stream = io.BytesIO(raw_bytes(address, data, timeout))
    return list(iter(lambda: read_answer(stream), None))


def raw_bytes(address, data, timeout=30):
    """Sends the bytes as they are, says that no more will come, and reads to the end."""
    with connect(address, timeout) as plain:
        found = b""
        # What refuses a request early closes its side, whatever is still to come.
        with contextlib.suppress(OSError):
            plain.sendall(data.encode("latin-1") if isinstance(data, str) else data)
            plain.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while piece := plain.recv(65536):
                found += piece
        return found


def read_answer(stream):
    """The next answer; None when there is none."""
    status_line = stream.readline()
    if not status_line:
        return None
    headers = http.client.parse_headers(stream)
    length = headers.get("Content-Length")
    body = stream.read() if length is None else stream.read(int(length))
    return Answer(int(status_line.split()[1]), headers, body)
