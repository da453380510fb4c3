#!/usr/bin/env python3
"""A client that keeps to no rule, for Tests/SystemTests/HostileClientTests.swift.

    hostile_client.py ATTACK --port N --token FILE --keyset ID [--ca FILE]

Does one attack, and looks after each try of it whether others are still served. Exits with 0 where the server did
what it should, else with 1 and a line for each try that went otherwise. Python's standard library alone.
"""

import argparse
import http.client
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("attack")
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--token", required=True)
parser.add_argument("--keyset", required=True)
parser.add_argument("--ca")
parser.add_argument("--process", type=int, help="whose memory is looked at")
arguments = parser.parse_args()

TOKEN = open(arguments.token).read().strip()
AUTH = "Authorization: Bearer " + TOKEN
HOST = "localhost" if arguments.ca else "127.0.0.1"
findings = []


def finding(name, what):
    findings.append("%s: %s" % (name, what))


def tls(protocols=None):
    context = ssl.create_default_context(cafile=arguments.ca)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


def connect(timeout=20, protocols=None):
    connection = socket.create_connection(("127.0.0.1", arguments.port), timeout)
    if arguments.ca:
        connection = tls(protocols).wrap_socket(connection, server_hostname=HOST)
    return connection


def everything(connection, silence=2.0, is_enough=None):
    """What arrives until the other side closes; and whether it did, or was silent for so long or sent enough."""
    connection.settimeout(silence)
    received = b""
    try:
        while True:
            part = connection.recv(65536)
            if not part:
                return received, True
            received += part
            if is_enough and is_enough(received):
                return received, False
    except (socket.timeout, TimeoutError):
        return received, False
    except OSError:
        return received, True


def exchange(raw, silence=2.0, is_enough=None):
    with connect() as connection:
        try:
            connection.sendall(raw)
        except OSError:
            pass  # refused before it was all sent
        return everything(connection, silence, is_enough)


def statuses(received):
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()]


def ask(method, path, body=None, timeout=60):
    """A request as it should be."""
    if arguments.ca:
        connection = http.client.HTTPSConnection(HOST, arguments.port, timeout=timeout, context=tls())
    else:
        connection = http.client.HTTPConnection(HOST, arguments.port, timeout=timeout)
    try:
        headers = {"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json", "Accept": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def healthy(name):
    """Others are served: alive, and able to do what the gateway is there for."""
    try:
        alive, _ = ask("GET", "/livez")
        status, body = ask("POST", "/v1/keysets/%s/encrypt" % arguments.keyset, b'{"vectors": [{"real": [1, 2, 3]}]}')
        if alive != 200 or status != 200 or len(json.loads(body)["ciphertexts"]) != 1:
            finding(name, "afterwards others get %s and %s" % (alive, status))
    except Exception as error:  # whatever it is, others are not served
        finding(name, "afterwards others get %r" % error)


def head(*lines, target="/v1/keysets", method="GET", auth=True):
    fixed = ["%s %s HTTP/1.1" % (method, target), "Host: 127.0.0.1"] + ([AUTH] if auth else [])
    return "\r\n".join(fixed + list(lines)).encode("latin-1") + b"\r\n\r\n"


# What would be answered as a second request where the two ends see the first one end at different places.
SECOND = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def smuggling():
    post = {"method": "POST"}
    chunked = b"0\r\n\r\n"
    tries = {
        "length and chunks": head("Content-Length: 5", "Transfer-Encoding: chunked", **post) + chunked + SECOND,
        "chunks and length": head("Transfer-Encoding: chunked", "Content-Length: 5", **post) + chunked + SECOND,
        "two lengths": head("Content-Length: 0", "Content-Length: %d" % len(SECOND), **post) + SECOND,
        "two lengths in a list": head("Content-Length: 0, %d" % len(SECOND), **post) + SECOND,
        "signed length": head("Content-Length: +0", **post) + SECOND,
        "negative length": head("Content-Length: -1", **post) + SECOND,
        "hexadecimal length": head("Content-Length: 0x0", **post) + SECOND,
        "length with a blank": head("Content-Length: 1 0", **post) + SECOND,
        "length beyond 64 bits": head("Content-Length: 18446744073709551616", **post) + SECOND,
        "blank before the colon": head("Content-Length : 0", **post) + SECOND,
        "folded field": head("X-Folded: a", " Transfer-Encoding: chunked", "Content-Length: 0", **post) + SECOND,
        "folded encoding": head("Transfer-Encoding:", " chunked", **post) + chunked + SECOND,
        "another encoding": head("Transfer-Encoding: xchunked", **post) + chunked + SECOND,
        "encoding with a tab": head("Transfer-Encoding:\x0bchunked", **post) + chunked + SECOND,
        "chunked is not last": head("Transfer-Encoding: chunked, identity", **post) + chunked + SECOND,
        "two encodings": head("Transfer-Encoding: chunked", "Transfer-Encoding: x", **post) + chunked + SECOND,
        "chunk size with a sign": head("Transfer-Encoding: chunked", **post) + b"+0\r\n\r\n" + SECOND,
        "chunk size beyond 64 bits": head("Transfer-Encoding: chunked", **post) + b"10000000000000000\r\n" + SECOND,
        "chunk longer than it says": head("Transfer-Encoding: chunked", **post) + b"1\r\nabc\r\n" + chunked + SECOND,
        "bare line feeds": head(**post).replace(b"\r\n", b"\n") + SECOND,
        "bare line feed in a field": head("X-A: a\nContent-Length: 0", **post) + SECOND,
        "bare carriage return": head("X-A: a\rContent-Length: 0", **post) + SECOND,
        "NUL in a value": head("X-A: a\0b", **post) + SECOND,
        "NUL in a name": head("X-\0A: b", **post) + SECOND,
        "no colon": head("Content-Length", **post) + SECOND,
        "blank in the target": head(target="/v1/keysets HTTP/1.1 x") + SECOND,
        "version 9.9": head().replace(b"HTTP/1.1", b"HTTP/9.9") + SECOND,
    }
    # Two requests that end where they say are two: else nothing below is seen.
    for first in [head(), head("Content-Length: 2", **post) + b"{}", head(
            "Transfer-Encoding: chunked", **post) + b"2\r\n{}\r\n" + chunked]:
        # Both status lines are there.
        codes = statuses(exchange(first + SECOND, 10.0, lambda received: sum(
            b"\r\n" in part for part in received.split(b"HTTP/1.1 ")[1:]) == 2)[0])
        if len(codes) != 2 or codes[1] != 200:
            finding("two good requests", "answers %s" % codes)
    for name, raw in tries.items():
        received, closed = exchange(raw, 1.0)
        codes = statuses(received)
        # One refusal at most, and never the second request's answer on the same connection.
        if len(codes) > 1 or any(code < 400 for code in codes):
            finding(name, "answers %s, closed: %s" % (codes, closed))
        healthy(name)


def heads():
    def refused(name, raw, allowed):
        received, closed = exchange(raw, 10.0)
        codes = statuses(received)
        if not set(codes) <= allowed or not closed:
            finding(name, "answers %s, closed: %s" % (codes, closed))
        healthy(name)

    refused("one field of 1 MiB", head("X-A: " + "a" * (1 << 20)), {400, 431})
    refused("a name of 64 KiB", head("X" * 65536 + ": a"), {400, 431})
    refused("many fields, 64 KiB", head(*["X-%d: %s" % (i, "a" * 700) for i in range(90)]), {400, 431})
    refused("1000 fields", head(*["X-%d: a" % i for i in range(1000)]), {400, 431})
    refused("101 fields", head(*["X-%d: a" % i for i in range(101)]), {400, 431})
    refused("a target of 1 MiB", head(target="/" + "a" * (1 << 20)), {400, 414, 431})
    refused("no head at all", b"\0" * 100_000, {400})
    refused("TLS to a plain listener, or the reverse", b"\x16\x03\x01\x02\x00\x01" + os.urandom(506), {400})


def paths():
    for path, allowed in {
        "/v1/keysets/../../readyz": {404}, "/v1/keysets/%2e%2e/%2e%2e/readyz": {404}, "/v1/../livez": {404},
        "//v1/keysets": {404, 200}, "/v1//keysets": {404, 200}, "/v1/keysets/": {404, 200}, "/V1/keysets": {404},
        "/v1/keysets/%00": {404, 400}, "/v1/keysets/a%2Fmanifest": {404}, "/v1/keysets/%2e%2e%2f%2e%2e": {404},
        "/v1/keysets/..%2f..%2fmetadata": {404}, "/v1/keysets/%": {400, 404}, "/v1/keysets/%zz": {400, 404},
        "/v1/keysets/" + "a" * 8000: {400, 404}, "/v1/keysets/%ff%fe": {400, 404},
        "/v1/keysets/..\\..\\": {400, 404}, "/v1/keysets;a=b": {404}, "*": {400, 404}, "": {400, 404},
        "/v1/keysets/%s/evaluation-keys/galois/../../../../readyz" % arguments.keyset: {404},
        "/v1/keysets/%s/evaluation-keys/galois/-1" % arguments.keyset: {400, 404},
        "/v1/keysets/%s/evaluation-keys/galois/99999999999999999999" % arguments.keyset: {400, 404},
    }.items():
        received, _ = exchange(head("Connection: close", target=path))
        codes = statuses(received)
        if not set(codes) <= allowed or len(codes) > 1:
            finding(path[:60], "answers %s" % codes)
        # Where the same path does without a token, it tells nobody anything.
        received, _ = exchange(head("Connection: close", target=path, auth=False))
        if any(code < 400 for code in statuses(received)):
            finding(path[:60], "without a token answers %s" % statuses(received))
    # The host that a request names is nobody's business: no other one is asked, and no page refers to it.
    for target in ["http://169.254.169.254/v1/keysets", "http://evil.example/v1/keysets"]:
        received, _ = exchange(head("Connection: close", target=target))
        if b"evil.example" in received or not set(statuses(received)) <= {200, 400, 404}:
            finding(target, "answers %s" % statuses(received))
        received, _ = exchange(head("Connection: close", target=target, auth=False))
        if any(code < 400 for code in statuses(received)):
            finding(target, "without a token answers %s" % statuses(received))
    healthy("paths")


def bombs():
    deep = 100_000
    key_set = "/v1/keysets/%s/encrypt" % arguments.keyset
    bodies = {
        "nested lists": b"[" * deep + b"]" * deep,
        "lists that never end": b"[" * deep,
        "nested objects": b'{"vectors":' * deep + b"1" + b"}" * deep,
        "nested within a member": b'{"vectors": [{"real": ' + b"[" * deep + b"]" * deep + b"}]}",
        "a huge exponent": b'{"vectors": [{"real": [1e999999999]}]}',
        "a number of a million digits": b'{"vectors": [{"real": [' + b"9" * 1_000_000 + b"]}]}",
        "a huge integer": b'{"requestId": "r", "mode": "envelope", "preset": "ckks-12", "scaleBits": 1e400}',
        "one member a thousand times": b"{" + b'"vectors": 1,' * 1000 + b'"vectors": []}',
        "ten million letters": b'{"requestId": "' + b"a" * 10_000_000 + b'", "mode": "envelope", "preset": "ckks-12"}',
        "half a surrogate": b'{"requestId": "\\ud800", "mode": "envelope", "preset": "\\udc00"}',
        "no UTF-8": b'{"requestId": "\xff\xfe", "mode": "envelope", "preset": "ckks-12"}',
        "UTF-16": '{"requestId": "r"}'.encode("utf-16"),
        "nothing": b"",
        "NaN": b'{"vectors": [{"real": [NaN, Infinity, -Infinity]}]}',
    }
    for name, body in bodies.items():
        for path in ["/v1/keysets", key_set, "/v1/models/heart-disease/predict"]:
            try:
                status, answer = ask("POST", path, body)
                if not 400 <= status < 500 or not json.loads(answer)["type"].startswith("urn:hkms:problem:"):
                    finding(name, "%s answers %d" % (path[:20], status))
                if len(answer) > 4096:
                    finding(name, "the problem has %d bytes" % len(answer))
            except (ConnectionError, http.client.HTTPException):
                pass  # refused while it was sent; others are looked at below
        healthy(name)


def resident():
    for line in open("/proc/%d/status" % arguments.process):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


def slow():
    body = b'{"vectors": [{"real": [1, 2, 3]}]}'
    target = "/v1/keysets/%s/encrypt" % arguments.keyset
    # Bodies that trickle.
    writers = [connect() for _ in range(100)]
    for writer in writers:
        writer.sendall(head("Content-Length: 100000", "Content-Type: application/json", target=target, method="POST"))
    for byte in body[:5]:
        for writer in writers:
            writer.sendall(bytes([byte]))
        healthy("slow writers")
    for writer in writers:
        writer.close()
    healthy("writers that went away")

    # Answers that nobody reads, 50 times what the kernel's buffers hold.
    before = resident()
    readers = []
    large = "/v1/keysets/%s/public-key" % arguments.keyset
    for _ in range(50):
        reader = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(20)
        reader.connect(("127.0.0.1", arguments.port))
        reader.sendall(head(target=large) * 200)
        readers.append(reader)
    for _ in range(5):
        healthy("slow readers")
    grown = resident() - before
    size = len(ask("GET", large)[1])
    # An answer or a few for each connection may wait in memory, and the kernel holds some; not all 10 000 of them.
    if os.environ.get("HKMS_TEST_VERBOSE"):
        print("memory grew by %d MiB; %d MiB were asked for" % (grown, 10_000 * size >> 20), file=sys.stderr)
    if 10_000 * size < 256 << 20 or grown > 128:
        finding("slow readers", "memory grew by %d MiB for answers of %d bytes" % (grown, size))
    for reader in readers:
        reader.close()
    healthy("readers that went away")


def silent():
    """Connections that say nothing, or not enough; those that must not last are closed."""
    began = time.monotonic()
    open_ones = [socket.create_connection(("127.0.0.1", arguments.port), 20) for _ in range(500)]
    healthy("500 silent connections")
    trickling = [connect() for _ in range(5)]
    for connection in trickling:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nX-A: ")
    # In the middle of a second head, after a first request that was answered.
    second = connect()
    second.sendall(SECOND)
    second.recv(65536)
    second.sendall(b"GET /livez HTTP/1.1\r\n")
    closed = set()
    # The limits are 10 s for a handshake and 30 s for a head; what is slow here has ample time.
    while time.monotonic() - began < 90 and len(closed) < len(trickling):
        for index, connection in enumerate(trickling):
            try:
                connection.settimeout(0.05)
                connection.sendall(b"a")
                if connection.recv(65536) == b"":
                    closed.add(index)
            except (socket.timeout, TimeoutError):
                pass
            except OSError:
                closed.add(index)
        time.sleep(0.5)
    if len(closed) < len(trickling):
        finding("heads that trickle", "%d of %d stay open" % (len(trickling) - len(closed), len(trickling)))
    for name, connection in [("silent", one) for one in open_ones] + [("second head", second)]:
        connection.settimeout(60)
        try:
            if everything(connection, 60)[1] is False:
                finding(name, "stays open")
                break
        except OSError:
            pass
    healthy("after they were closed")


# HTTP/2 by hand: RFC 9113 section 4.1.
def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)


def block():
    """A header block without compression: GET /livez."""
    def literal(name, value):
        return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value

    return literal(b":method", b"GET") + literal(b":scheme", b"https") + literal(b":path", b"/livez") + literal(
        b":authority", b"localhost")


def flood(name, frames):
    """Sends frames until the server has had enough or all are sent; others are served meanwhile and afterwards."""
    before = resident()
    connection = connect(protocols=["h2"])
    if connection.selected_alpn_protocol() != "h2":
        finding(name, "no HTTP/2")
        return
    stop = threading.Event()
    count = 0

    def drain():
        try:
            while not stop.is_set() and connection.recv(65536):
                pass
        except (OSError, ValueError):
            pass

    reader = threading.Thread(target=drain, daemon=True)
    try:
        connection.settimeout(20)
        connection.sendall(PREFACE)
        reader.start()
        sent = b""
        for part in frames:
            sent += part
            count += 1
            if len(sent) > 65536:
                connection.sendall(sent)
                sent = b""
        connection.sendall(sent)
    except OSError:
        pass  # the server had enough
    healthy(name)
    grown = resident() - before
    if os.environ.get("HKMS_TEST_VERBOSE"):
        print("%s: %d frames sent, memory grew by %d MiB" % (name, count, grown), file=sys.stderr)
    if grown > 128:
        finding(name, "memory grew by %d MiB" % grown)
    stop.set()
    connection.close()
    healthy(name + ", afterwards")


def answered():
    """Whether the frames made here are HTTP/2: one request of them is answered with a head on its stream."""
    def has_head(received):
        while len(received) >= 9:
            length = int.from_bytes(received[:3], "big")
            if received[3] == 1 and received[8] == 1:
                return True
            received = received[9 + length:]
        return False

    with connect(protocols=["h2"]) as connection:
        connection.sendall(PREFACE + frame(1, 0x5, 1, block()))
        return has_head(everything(connection, 10.0, has_head)[0])


def http2():
    if not answered():
        finding("a good request", "is not answered")
    flood("rapid reset", (
        frame(1, 0x5, stream, block()) + frame(3, 0, stream, struct.pack(">I", 8))
        for stream in range(1, 100_001, 2)))
    flood("continuations", (
        frame(1, 0x1, 1, block()) if index == 0 else frame(9, 0, 1, b"\x00\x01x" + b"\x7f\x00" + b"a" * 127)
        for index in range(100_000)))
    flood("empty continuations", (
        frame(1, 0x1, 1, block()) if index == 0 else frame(9, 0, 1) for index in range(500_000)))
    flood("settings", (frame(4, 0, 0) for _ in range(200_000)))
    flood("pings", (frame(6, 0, 0, b"abcdefgh") for _ in range(200_000)))
    flood("empty data", (
        frame(1, 0x4, 1, block()) if index == 0 else frame(0, 0, 1) for index in range(200_000)))
    flood("streams that wait", (frame(1, 0x4, stream, block()) for stream in range(1, 20_001, 2)))


{
    "smuggling": smuggling, "heads": heads, "paths": paths, "bombs": bombs, "slow": slow, "silent": silent,
    "http2": http2,
}[arguments.attack]()
for line in findings:
    print(line)
sys.exit(1 if findings else 0)
