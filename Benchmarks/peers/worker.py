"""What the peers' workers share: the protocol of hkms-bench --serve, spoken by a Python library.

A worker answers each command line on standard input with one JSON object on one line:

  info                   the library, its parameters, the operations that it has
  run NAME COUNT [WARM]  COUNT timed repetitions after WARM untimed ones, in milliseconds
  check                  largest errors of results
  memory                 peak resident memory
  sizes                  bytes of keys and ciphertexts as serialized
  quit
"""
import gc
import json
import os
import sys
import tempfile
import time

# Levels of each ring: rescalings at a scale of 2^40. Chains are [60, 40 x levels, 60] bits.
LEVELS = {13: 2, 14: 7, 15: 18}
SCALE_BITS = 40
# Of BFV.
PLAINTEXT_MODULUS = 65537


def status(field):
    """A line of /proc/self/status in KiB."""
    try:
        with open("/proc/self/status") as lines:
            for line in lines:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
    except OSError:
        pass
    return None


def values(count, step):
    """The values that hkms-bench encrypts."""
    return [((i * i + i * step + 17) % 8191 - 4095) / 4096 for i in range(count)]


def integers(count, step):
    """The same of BFV: signed numbers modulo t."""
    t = PLAINTEXT_MODULUS
    return [(i * i + i * step + 17) % t - t // 2 for i in range(count)]


def wrong_slots(decoded, x, y, **ciphertexts):
    """How many slots of BFV results are not what plain integers x and y give."""
    t, n = PLAINTEXT_MODULUS, len(x) // 2
    expected = {
        "encrypted": lambda: x,
        "sum": lambda: [a + b for a, b in zip(x, y)],
        "plainProduct": lambda: [a * a for a in x],
        "product": lambda: [a * b for a, b in zip(x, y)],
        "rotated": lambda: x[1:n] + x[:1] + x[n + 1:] + x[n:n + 1],
        "columnsRotated": lambda: x[n:] + x[:n],
    }
    return {
        name: sum((a - b) % t != 0 for a, b in zip(decoded(ciphertext), expected[name](), strict=True))
        for name, ciphertext in ciphertexts.items()
    }


def file_size(save):
    """Bytes that save(path) writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "object")
        save(path)
        return os.path.getsize(path)


def largest_error(found, expected):
    return max(abs(a - b) for a, b in zip(found, expected))


class Peer:
    """One library. `operations` maps names to methods that make what is needed and return what is timed.

    What is timed is a callable, or a pair: one that is not timed, whose result the timed one gets.
    """

    library = ""
    operations = {}

    def info(self):
        raise NotImplementedError

    def check(self):
        raise NotImplementedError

    def sizes(self):
        raise NotImplementedError


def sample(timed, count):
    before, function = timed if isinstance(timed, tuple) else (None, timed)
    result = []
    for _ in range(count):
        if before is None:
            start = time.perf_counter_ns()
            function()
            end = time.perf_counter_ns()
        else:
            argument = before()
            start = time.perf_counter_ns()
            function(argument)
            end = time.perf_counter_ns()
        result.append((end - start) / 1e6)
    return result


def serve(make):
    """Runs the worker: make(logN, ...) makes the Peer from the process's arguments: logN, and for BFV the chain."""
    log_n = int(sys.argv[1])
    start = status("VmRSS")
    peer = make(log_n, *sys.argv[2:])
    gc.collect()
    gc.disable()
    ready = {}

    def answer(words):
        if words[0] == "info":
            return {
                "library": peer.library,
                "operations": list(peer.operations),
                "degree": 1 << log_n,
                "startKiB": start,
                "chain": peer.info(),
            }
        if words[0] == "run":
            name, count = words[1], int(words[2])
            if name not in ready:
                ready[name] = peer.operations[name](peer)
            sample(ready[name], int(words[3]) if len(words) > 3 else 0)
            return {"operation": name, "ms": sample(ready[name], count)}
        if words[0] == "check":
            return peer.check()
        if words[0] == "memory":
            return {"peakKiB": status("VmHWM")}
        if words[0] == "sizes":
            return peer.sizes()
        raise ValueError("info, run, check, memory, sizes or quit")

    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            return
        try:
            reply = answer(words)
        except Exception as error:  # whatever the library throws
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)
