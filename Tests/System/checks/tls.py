"""TLS: versions and ciphers, certificates of the server and of clients, and handshakes that never end."""
import contextlib
import hashlib
import http.client
import json
import os
import signal
import ssl
import threading
import time

from testbed import problems, processes
from testbed.checks import becomes, check, equal, eventually, expect
from testbed.client import Client, connect
from testbed.daemon import Daemon

OPENSSL = "/usr/bin/openssl"


class Authority:
    """Certificates of a check, made by openssl."""

    def __init__(self, subject="/CN=authority"):
        self.directory = processes.scratch_directory("certificates")
        self.count = 0
        self.certificate = self.directory / "authority.pem"
        self.openssl("req", "-x509", "-subj", subject, "-days", "30", *self.new_key("authority"), "-out", self.certificate)

    def openssl(self, *words):
        result = processes.run([OPENSSL, *map(str, words)], cwd=self.directory)
        equal(result.returncode, 0, f"openssl {words[0]}: {result.stderr}")
        return result.stdout

    def new_key(self, name):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.directory / f"{name}.key")

    def pair(self, subject="/CN=localhost", purpose="serverAuth", days=20):
        """The files of a new certificate and its key."""
        self.count += 1
        base = self.directory / f"pair{self.count}"
        self.openssl("req", "-subj", subject, *self.new_key(base.name), "-out", f"{base}.csr")
        base.with_suffix(".ext").write_text(f"extendedKeyUsage={purpose}\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self.openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.certificate, "-CAkey", "authority.key",
                     "-set_serial", self.count, "-days", days, "-extfile", f"{base}.ext", "-out", f"{base}.pem")
        base.with_suffix(".key").chmod(0o600)
        return base.with_suffix(".pem"), base.with_suffix(".key")


def serve(pair, *options, **more):
    return Daemon("--tls-cert", pair[0], "--tls-key", pair[1], *options, **more)


class SecureClient(Client):
    """A client that verifies the server, and shows the certificate of `pair`."""

    def __init__(self, daemon, authority, pair=None):
        super().__init__(daemon.address)
        context = ssl.create_default_context(cafile=str(authority.certificate))
        if pair:
            context.load_cert_chain(*map(str, pair))
        self.connection = http.client.HTTPSConnection(*daemon.address, timeout=30, context=context)
        daemon.clients.append(self)


def handshake(daemon, *options):
    """Whether openssl's client comes to an end of its handshake, and what it says."""
    host, port = daemon.address
    result = processes.run([OPENSSL, "s_client", "-connect", f"{host}:{port}", *options], input="", timeout=30)
    said = result.stdout + result.stderr
    return "Cipher is (NONE)" not in said and "New, TLSv1" in said, said


@check("openssl agrees on TLS 1.2 and 1.3 with forward secrecy and authenticated encryption, and on nothing else")
def versions():
    authority = Authority()
    with serve(authority.pair()) as daemon:
        weak = "-cipher", "ALL:@SECLEVEL=0"
        for good in (("-tls1_2",), ("-tls1_3",), ("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"),
                     ("-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256")):
            done, said = handshake(daemon, *good)
            expect(done, lambda: f"{good} is refused: {said[-600:]}")
        refused = [("-tls1", *weak), ("-tls1_1", *weak)]
        ciphers = authority.openssl("ciphers", "-tls1_2", "-s", "ALL:COMPLEMENTOFALL:@SECLEVEL=0").strip().split(":")
        kept = {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"}
        refused += [("-tls1_2", "-cipher", f"{name}:@SECLEVEL=0") for name in ciphers
                    if name not in kept and not name.startswith("TLS_")]
        for bad in refused:
            done, said = handshake(daemon, *bad)
            expect(not done, lambda: f"{bad} is taken: {said[-600:]}")
        # Renegotiation, and compression.
        said = handshake(daemon, "-tls1_2")[1]
        expect("Compression: NONE" in said, "TLS is compressed")
    return f"{len(refused)} refused"


@check("vmpool and vmpoold speak TLS with each other, and say what is wrong with a certificate")
def programs():
    authority, foreign = Authority(), Authority("/CN=stranger")
    with serve(authority.pair()) as daemon:
        url = "https://localhost:%d" % daemon.address[1]

        def vmpool(*words):
            return processes.run([processes.BINARIES / "vmpool", "--server", url, *map(str, words)], timeout=60)

        result = vmpool("--cacert", authority.certificate, "host", "--json")
        equal(result.returncode, 0, f"vmpool host: {result.stderr}")
        json.loads(result.stdout)
        for words in ((), ("--cacert", foreign.certificate), ("--cacert", "/nowhere.pem")):
            result = vmpool(*words, "host")
            equal(result.returncode, 69, f"vmpool {words} host: {result.stdout}{result.stderr}")
            expect("--cacert" in result.stderr, lambda: f"no advice: {result.stderr}")


@check("files that are no pair end the start with a sentence")
def mistakes():
    authority = Authority()
    pair, other = authority.pair(), authority.pair()
    broken = authority.directory / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    for options, status, text in (
            (("--tls-cert", pair[0]), 64, "belong together"),
            (("--tls-client-ca", pair[0]), 64, "needs --tls-cert"),
            (("--tls-cert", broken, "--tls-key", pair[1]), 66, "no certificate in PEM"),
            (("--tls-cert", pair[0], "--tls-key", other[1]), 66, "does not fit"),
            (("--tls-cert", pair[0], "--tls-key", pair[0]), 66, "no private key in PEM"),
            (("--tls-cert", pair[0], "--tls-key", "/nowhere"), 66, "/nowhere cannot be read"),
            (("--tls-cert", pair[0], "--tls-key", pair[1], "--tls-client-ca", broken), 66, "authority in PEM"),
    ):
        result = processes.run([processes.BINARIES / "vmpoold", "--listen", "127.0.0.1:0", *map(str, options)], timeout=30)
        equal(result.returncode, status, f"vmpoold {options}: {result.stderr}")
        expect(text in result.stderr, lambda: f"vmpoold {options} says {result.stderr}")
    pair[1].chmod(0o644)
    with serve(authority.pair(days=-1)) as daemon:
        eventually("an ended certificate is logged", lambda: "the certificate has ended" in daemon.log)
    with serve(pair) as daemon:
        eventually("a key for everybody is logged", lambda: "every user can read the key" in daemon.log)


@check("SIGHUP brings another certificate while requests are under way; a wrong one changes nothing")
def renewal():
    authority = Authority()
    pair, later = authority.pair(days=5), authority.pair(days=9)
    failures, served = [], [0]
    with serve(pair, listen=("127.0.0.1:0", f"unix:{processes.scratch_directory('socket')}/s")) as daemon:
        stop = threading.Event()

        def ask():
            client = SecureClient(daemon, authority)
            while not stop.is_set():
                try:
                    equal(client.get("/v1/host").status, 200, "a request")
                    served[0] += 1
                except Exception as failure:
                    failures.append(failure)
                    return

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()

        def ends():
            text = SecureClient(daemon, authority).get("/metrics").text
            return float(next(line.split()[1] for line in text.splitlines()
                              if line.startswith("vmpool_tls_certificate_expiry_timestamp_seconds ")))

        first = ends()
        pair[0].write_bytes(later[0].read_bytes())
        daemon.process.send_signal(signal.SIGHUP)
        # The key is still the old one.
        eventually("a wrong pair is logged", lambda: "the certificate was not read again" in daemon.log)
        equal(ends(), first, "the end of the certificate in force")
        pair[1].write_bytes(later[1].read_bytes())
        for _ in range(20):
            daemon.process.send_signal(signal.SIGHUP)
            SecureClient(daemon, authority).get("/livez")
        becomes(True, "the new certificate in force", lambda: ends() - first > 3 * 86400)
        stop.set()
        for thread in threads:
            thread.join(30)
        equal(failures, [], "requests that failed")
        equal(Client(daemon.addresses[1]).get("/livez").status, 200, "plain HTTP over the unix socket")
    return f"{served[0]} requests"


@check("certificates of clients: none is served, the right one is, bad ones get 401")
def mutual():
    authority, foreign = Authority(), Authority()
    with serve(authority.pair(), "--tls-client-ca", authority.certificate) as daemon:
        equal(SecureClient(daemon, authority).get("/v1/host").status, 200, "without a certificate")
        right = authority.pair("/O=Acme/CN=build", "clientAuth")
        equal(SecureClient(daemon, authority, right).get("/v1/host").status, 200, "with the right certificate")
        for name, pair in (
                ("foreign", foreign.pair("/O=Acme/CN=build", "clientAuth")),
                ("ended", authority.pair("/O=Acme/CN=build", "clientAuth", days=-1)),
                ("a server's", authority.pair("/O=Acme/CN=build", "serverAuth"))):
            for path in ("/v1/host", "/livez"):
                answer = SecureClient(daemon, authority, pair).get(path)
                problems.expect_problem(answer, "certificate-refused", f"a certificate that is {name}")
                equal(answer.headers["Connection"], "close", "what becomes of the connection")


@check("kicks, streams, uploads and downloads go over TLS")
def everything():
    authority = Authority()
    with serve(authority.pair()) as daemon:
        client = SecureClient(daemon, authority)
        vm = client.post("/v1/vms", {"image": "spin", "start": True})
        equal(vm.status, 201, "creating a VM")
        path = "/v1/vms/" + vm.json["id"]
        becomes("running", "the VM", lambda: client.get(path).json["state"])
        equal(client.post(path + "/vcpus/0/kick").status, 200, "a kick")
        blob = os.urandom(5_000_000)
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        expect(client.put(f"/v1/blobs/{digest}", blob).status in (200, 201), "an upload")
        equal(client.get(f"/v1/blobs/{digest}").body, blob, "a download")
        stream = SecureClient(daemon, authority).connection
        stream.request("GET", "/v1/events")
        response = stream.getresponse()
        client.delete(path)
        while b"vm.deleted" not in (line := response.readline()):
            expect(line, "the stream of events ended")


@check("handshakes that never end hold no thread, and no connection beyond their time")
def half_open():
    authority = Authority()
    with serve(authority.pair(), "--max-connections", "16") as daemon:
        began = time.monotonic()
        hello = bytes.fromhex("16030102000100") + b"\x01\xfc\x03\x03"
        waiting = [connect(daemon.address, 60) for _ in range(200)]
        drops = waiting[:4]
        for plain in waiting:
            with contextlib.suppress(OSError):
                plain.sendall(hello)
        # Others are served at once, and an idle handshake makes room.
        eventually("a request is served meanwhile", lambda: served(daemon, authority))
        gone = 0
        for plain in waiting:
            with plain, contextlib.suppress(OSError):
                # A byte now and then does not help.
                if plain in drops:
                    plain.sendall(b"\0")
                while plain.recv(4096):
                    pass
            gone += 1
        equal(gone, len(waiting), "connections that the server has closed")
        waited = time.monotonic() - began
        expect(waited < 60, f"the last one was closed after {waited:.0f} s")
        expect(served(daemon, authority), "a request afterwards")
    return f"after {waited:.0f} s"


def served(daemon, authority):
    try:
        return SecureClient(daemon, authority).get("/livez").status == 200
    except OSError:
        return False
