#!/usr/bin/env python3
"""Derivation suite 1: a slow, clear reference, independent of the Swift code. docs/derivation.md is the text.

    python3 suite1.py --seed-file F --parameters P.json [--public-generation G]
        [--relinearization LEVEL[@GENERATION]]... [--galois ELEMENT:LEVEL[@GENERATION]]...
        [--switching SOURCE_SEED_FILE:LEVEL[@GENERATION]]... [--source-parameters P.json]

A seed file holds 64 hex digits. P.json is {"scheme": "ckks" | "bfv", "logN", "q": [], "p": [], "alpha", "t"?}.
Prints digests as JSON, after checking every object against the independent arithmetic of suite1_checks.py.

For tests only: it is not constant-time, wipes nothing, and prints skTag, which is never published.
Needs Python 3.10 (int.bit_count) and the package `cryptography` for AES.
"""

import argparse
import hashlib
import hmac
import json
import struct
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SUITE = 1
KIND_NONE, KIND_SECRET, KIND_PUBLIC, KIND_RELINEARIZATION, KIND_GALOIS, KIND_SWITCHING = range(6)
KIND_NAMES = {KIND_RELINEARIZATION: "relinearization", KIND_GALOIS: "galois", KIND_SWITCHING: "switching"}
SCHEMES = {"bfv": 1, "ckks": 2}
UNIFORM_TERNARY = 1
CBD_21 = 1
ZERO32 = bytes(32)


# ---------------------------------------------------------------------------------------------------------------
# Numbers


def is_prime(n):
    """Miller-Rabin with the first twelve primes as bases: exact below 2^64."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    if n < 2 or any(n % base == 0 for base in bases):
        return n in bases
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in bases:
        x = pow(base, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


@lru_cache(maxsize=None)
def least_primitive_root(modulus, log_n):
    """psi: the least integer in [1, modulus) of multiplicative order exactly 2N."""
    n = 1 << log_n
    base = 2
    while True:
        root = pow(base, (modulus - 1) // (2 * n), modulus)
        if pow(root, n, modulus) == modulus - 1:  # order divides 2N but not N
            break
        base += 1
    # The primitive 2N-th roots of unity are the odd powers of any one of them.
    square = root * root % modulus
    least = candidate = root
    for _ in range(n - 1):
        candidate = candidate * square % modulus
        least = min(least, candidate)
    return least


class NTT:
    """The negacyclic transform of one prime: out[j] = f(psi^(2*bitrev(j)+1)).

    It splits Z_m[X]/(X^N + 1) in halves: X^(2h) - psi^k = (X^h - psi^(k/2)) * (X^h - psi^(k/2 + N)). X^N + 1 is
    X^N - psi^N. Left before right at every split makes the exponents of the leaves 2*bitrev(j)+1 in order of j.
    """

    def __init__(self, modulus, log_n):
        self.modulus, self.n = modulus, 1 << log_n
        self.psi = least_primitive_root(modulus, log_n)
        powers = [1]
        for _ in range(2 * self.n - 1):
            powers.append(powers[-1] * self.psi % modulus)
        self.levels = []    # for each level of splits, the root psi^(k/2) of every node, left to right
        self.unlevels = []  # the same, with 1/(2*psi^(k/2)) = psi^(2N - k/2)/2
        self.inverse_of_2 = (modulus + 1) // 2
        exponents = [self.n]
        while len(exponents) < self.n:
            self.levels.append([powers[k // 2] for k in exponents])
            self.unlevels.append([powers[2 * self.n - k // 2] * self.inverse_of_2 % modulus for k in exponents])
            exponents = [child for k in exponents for child in (k // 2, k // 2 + self.n)]
        self.exponents = exponents  # position j holds the value at psi^exponents[j]

    def forward(self, coefficients):
        m, f = self.modulus, [c % self.modulus for c in coefficients]
        half = self.n
        for roots in self.levels:
            half //= 2
            for node, root in enumerate(roots):
                start = 2 * half * node
                low = f[start:start + half]
                high = [root * x % m for x in f[start + half:start + 2 * half]]
                f[start:start + half] = [(u + v) % m for u, v in zip(low, high)]
                f[start + half:start + 2 * half] = [(u - v) % m for u, v in zip(low, high)]
        return f

    def inverse(self, values):
        m, f = self.modulus, list(values)
        half, inverse_of_2 = 1, self.inverse_of_2
        for unroots in reversed(self.unlevels):
            for node, unroot in enumerate(unroots):
                start = 2 * half * node
                left, right = f[start:start + half], f[start + half:start + 2 * half]
                f[start:start + half] = [(u + v) * inverse_of_2 % m for u, v in zip(left, right)]
                f[start + half:start + 2 * half] = [(u - v) * unroot % m for u, v in zip(left, right)]
            half *= 2
        return f


@lru_cache(maxsize=None)
def ntt_of(modulus, log_n):
    return NTT(modulus, log_n)


# ---------------------------------------------------------------------------------------------------------------
# Symmetric primitives


def kdf(key, label, context):
    """SP 800-108r1 KDF in counter mode over HMAC-SHA-512, one block, 256 of its 512 bits."""
    fixed = label.encode("ascii") + b"\x00" + context + struct.pack(">I", 256)
    return hmac.new(key, struct.pack(">I", 1) + fixed, hashlib.sha512).digest()[:32]


class Stream:
    """The AES-256-CTR keystream from counter block u32 x || u32 y || u64 0, read as little-endian u64 words."""

    def __init__(self, key, x, y):
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(struct.pack(">IIQ", x, y, 0))).encryptor()
        self._pending = b""
        self.words_used = 0

    def words(self, count):
        missing = 8 * count - len(self._pending)
        if missing > 0:
            self._pending += self._encryptor.update(bytes((missing + 15) // 16 * 16))
        taken, self._pending = self._pending[:8 * count], self._pending[8 * count:]
        self.words_used += count
        return list(struct.unpack(f"<{count}Q", taken))


# ---------------------------------------------------------------------------------------------------------------
# Parameters and context


@dataclass(frozen=True)
class Parameters:
    scheme: str
    log_n: int
    q: tuple
    p: tuple
    alpha: int
    t: int = 0

    @staticmethod
    def from_json(fields):
        parameters = Parameters(
            scheme=fields["scheme"], log_n=fields["logN"], q=tuple(fields["q"]), p=tuple(fields["p"]),
            alpha=fields["alpha"], t=fields.get("t") or 0)
        parameters.validate()
        return parameters

    def validate(self):
        if self.scheme not in SCHEMES or not 11 <= self.log_n <= 16:
            raise ValueError("scheme is ckks or bfv, logN 11 to 16")
        if not (self.t == 0 if self.scheme == "ckks" else 2 <= self.t < 1 << 60):
            raise ValueError("t is for bfv, which needs one of 2 or more below 2^60")
        if not 1 <= len(self.q) <= 64 or len(self.p) > 64:
            raise ValueError("there are 1 to 64 primes q and at most 64 primes p")
        if not 0 <= self.alpha <= len(self.q) or (len(self.p) == 0) != (self.alpha == 0):
            raise ValueError("alpha is at most the number of primes q, and 0 exactly where p is empty")
        if len(set(self.q + self.p)) != len(self.q + self.p):
            raise ValueError("a prime is listed twice")
        for modulus in self.q + self.p:
            if not (modulus < 1 << 60 and modulus % (2 * self.n) == 1 and is_prime(modulus)):
                raise ValueError(f"{modulus} is not a prime = 1 mod {2 * self.n} below 2^60")

    @property
    def n(self):
        return 1 << self.log_n

    def digits(self, level):
        return (level + self.alpha - 1) // self.alpha

    def rows(self, level, with_p):
        """(stream row number, modulus) of every row of an object; p_k has row nQ + k at every level."""
        q_rows = [(r, self.q[r]) for r in range(level)]
        p_rows = [(len(self.q) + k, modulus) for k, modulus in enumerate(self.p)]
        return q_rows + (p_rows if with_p else [])

    @cached_property
    def digest_input(self):
        header = b"HKMS-params-v1".ljust(16, b"\x00")
        header += struct.pack(">BBBB", SCHEMES[self.scheme], self.log_n, UNIFORM_TERNARY, CBD_21)
        header += struct.pack(">HHHH", len(self.q), len(self.p), self.alpha, 0)
        return header + b"".join(struct.pack(">Q", v) for v in self.q + self.p + (self.t,))

    @cached_property
    def digest(self):
        return hashlib.sha256(self.digest_input).digest()


def context(kind, pd, generation=0, galois=0, level=0, digits=0, sk_tag=ZERO32, source=ZERO32):
    fields = struct.pack(">HHIIHH", SUITE, kind, generation, galois, level, digits) + pd + sk_tag + source
    assert len(fields) == 112
    return fields


# ---------------------------------------------------------------------------------------------------------------
# Samplers


def sample_ternary(stream, n):
    return [(w >= 0x5555555555555556) + (w >= 0xAAAAAAAAAAAAAAAB) - 1 for w in stream.words(n)]


def pack_ternary(s):
    """s_i + 1 in two bits, four coefficients a byte, the first in the low bits."""
    return bytes(sum((s[i + k] + 1) << (2 * k) for k in range(4)) for i in range(0, len(s), 4))


def sample_errors(stream, n):
    return [(w & 0x1FFFFF).bit_count() - ((w >> 32) & 0x1FFFFF).bit_count() for w in stream.words(n)]


def sample_uniform(stream, n, modulus):
    mask = (1 << modulus.bit_length()) - 1
    x = [w & mask for w in stream.words(n)]
    for i in range(n):
        while x[i] >= modulus:
            x[i] = stream.words(1)[0] & mask
    return x


def substitute(f, g):
    """f(X^g) modulo X^N + 1, for odd g."""
    n = len(f)
    out = [0] * n
    for i, c in enumerate(f):
        exponent = i * g % (2 * n)
        out[exponent % n] = c if exponent < n else -c
    return out


# ---------------------------------------------------------------------------------------------------------------
# Keys


@dataclass
class Digit:
    errors: list        # e, one integer polynomial, coefficients
    a: list             # a row each: N residues, NTT domain
    b: list
    words_used: list    # a row each: keystream words that `a` consumed


@dataclass
class PublishedObject:
    kind: int
    generation: int
    galois: int
    level: int
    context: bytes
    error_key: bytes
    rho: bytes
    rows: list          # (stream row number, modulus)
    digits: list

    def hash_of(self, half):
        """SHA-256 over digits in order, rows in order, residues as little-endian u64."""
        digest = hashlib.sha256()
        for digit in self.digits:
            for row in getattr(digit, half):
                digest.update(struct.pack(f"<{len(row)}Q", *row))
        return digest.hexdigest()


class KeySet:
    """Everything that suite 1 derives from one seed under one parameter set."""

    def __init__(self, seed, parameters):
        if len(seed) != 32:
            raise ValueError("a seed is 32 bytes")
        self.seed, self.parameters = seed, parameters
        pd = parameters.digest
        self.context_none = context(KIND_NONE, pd)
        self.commit = kdf(seed, "HKMS1/commit", self.context_none)
        self.manifest_key = kdf(seed, "HKMS1/manifest", self.context_none)
        self.context_secret = context(KIND_SECRET, pd)
        self.secret_key = kdf(seed, "HKMS1/secret", self.context_secret)
        self.s = sample_ternary(Stream(self.secret_key, 0, 0), parameters.n)
        self.packed_s = pack_ternary(self.s)
        self.tag_key = kdf(seed, "HKMS1/sktagkey", self.context_secret)
        self.sk_tag = kdf(self.tag_key, "HKMS1/sktag", self.packed_s)
        self._transformed = {}

    def public_key(self, generation=0):
        return self._publish(KIND_PUBLIC, generation, 0, len(self.parameters.q), ZERO32, None)

    def relinearization_key(self, level, generation=0):
        def target(ntt):
            return [x * x for x in self._secret_in(ntt)]

        return self._publish(KIND_RELINEARIZATION, generation, 0, level, ZERO32, target)

    def galois_key(self, element, level, generation=0):
        if not (element % 2 == 1 and 1 < element < 2 * self.parameters.n):
            raise ValueError(f"{element} is not an odd Galois element in 3...2N-1")

        def target(ntt):
            return ntt.forward(substitute(self.s, element))

        return self._publish(KIND_GALOIS, generation, element, level, ZERO32, target)

    def switching_key(self, source, level, generation=0):
        """From the secret of the key set `source`, whose other parameters may differ, to this one's."""
        if source.parameters.n != self.parameters.n:
            raise ValueError("both keys need the same N")
        return self._publish(KIND_SWITCHING, generation, 0, level, source.sk_tag, source._secret_in)

    def _secret_in(self, ntt):
        if ntt.modulus not in self._transformed:
            self._transformed[ntt.modulus] = ntt.forward(self.s)
        return self._transformed[ntt.modulus]

    def _publish(self, kind, generation, galois, level, source, target):
        """Draws (a, e) for the object and forms b = -(a*s + e) + P*g_j*target; a public key has no target."""
        parameters = self.parameters
        if kind != KIND_PUBLIC and not parameters.p:
            raise ValueError("without p there are no evaluation keys")
        if not 1 <= level <= len(parameters.q) or not 0 <= generation < 1 << 32:
            raise ValueError("level or generation out of range")
        digit_count = 0 if kind == KIND_PUBLIC else parameters.digits(level)
        ctx = context(kind, parameters.digest, generation, galois, level, digit_count, self.sk_tag, source)
        error_key = kdf(self.seed, "HKMS1/error", ctx)
        rho = kdf(self.seed, "HKMS1/public", ctx)
        rows = parameters.rows(level, with_p=kind != KIND_PUBLIC)
        big_p = 1
        for modulus in parameters.p:
            big_p *= modulus

        digits = []
        for j in range(max(digit_count, 1)):
            errors = sample_errors(Stream(error_key, j, 0), parameters.n)
            digit = Digit(errors, [], [], [])
            for r, m in rows:
                ntt = ntt_of(m, parameters.log_n)
                stream = Stream(rho, j, r)
                a = sample_uniform(stream, parameters.n, m)
                s, e = self._secret_in(ntt), ntt.forward(errors)
                b = [-(x * y + z) % m for x, y, z in zip(a, s, e)]
                # P*g_j is P modulo the primes of digit j, and 0 modulo the other q and modulo every p.
                if target is not None and r < level and r // parameters.alpha == j:
                    b = [(x + big_p * y) % m for x, y in zip(b, target(ntt))]
                digit.a.append(a)
                digit.b.append(b)
                digit.words_used.append(stream.words_used)
            digits.append(digit)
        return PublishedObject(kind, generation, galois, level, ctx, error_key, rho, rows, digits)


def secret_report(keys):
    return {"packedSHA256": hashlib.sha256(keys.packed_s).hexdigest(), "skTag": keys.sk_tag.hex()}


def report(keys, public, evaluation_keys):
    """The JSON of one key set: what the vectors call `expected`."""
    return {
        "suite": SUITE,
        "pd": keys.parameters.digest.hex(),
        "commit": keys.commit.hex(),
        "secret": secret_report(keys),
        "public": {
            "generation": public.generation, "rho": public.rho.hex(),
            "a": public.hash_of("a"), "b": public.hash_of("b"),
        },
        "evaluationKeys": [{
            "kind": KIND_NAMES[key.kind], "galois": key.galois, "level": key.level, "digits": len(key.digits),
            "generation": key.generation, "rho": key.rho.hex(), "a": key.hash_of("a"), "b": key.hash_of("b"),
        } for key in evaluation_keys],
    }


# ---------------------------------------------------------------------------------------------------------------
# Command line


def read_seed(path):
    text = Path(path).read_text().strip()
    if len(text) != 64:
        raise ValueError(f"{path} does not hold 64 hex digits")
    return bytes.fromhex(text)


def main():
    parser = argparse.ArgumentParser(description="Derivation suite 1, reference implementation.")
    parser.add_argument("--seed-file", required=True)
    parser.add_argument("--parameters", required=True)
    parser.add_argument("--source-parameters", help="of the sources of switching keys; default: --parameters")
    parser.add_argument("--public-generation", type=int, default=0)

    class Request(argparse.Action):
        """Keeps the requests of all three kinds in the order of the command line."""

        def __call__(self, parser, namespace, value, option_string=None):
            name, _, tail = value.rpartition(":")
            level, _, generation = tail.partition("@")
            try:
                request = (option_string.lstrip("-"), name, int(level), int(generation or 0))
            except ValueError:
                parser.error(f"{option_string}: cannot read {value!r}")
            namespace.requests.append(request)

    parser.set_defaults(requests=[])
    for option, metavar in [("--relinearization", "LEVEL[@GENERATION]"), ("--galois", "ELEMENT:LEVEL[@GENERATION]"),
                            ("--switching", "SOURCE_SEED_FILE:LEVEL[@GENERATION]")]:
        parser.add_argument(option, action=Request, metavar=metavar, dest="requests")
    arguments = parser.parse_args()

    import suite1_checks

    parameters, source_parameters = (
        Parameters.from_json(json.loads(Path(path).read_text()))
        for path in (arguments.parameters, arguments.source_parameters or arguments.parameters))
    keys = KeySet(read_seed(arguments.seed_file), parameters)
    suite1_checks.check_primitives()
    suite1_checks.check_transforms(parameters)
    suite1_checks.check_secret(keys)
    public = keys.public_key(arguments.public_generation)
    suite1_checks.check_object(keys, public)
    evaluation_keys = []
    for kind, name, level, generation in arguments.requests:
        source = None
        if kind == "relinearization":
            key = keys.relinearization_key(level, generation)
        elif kind == "galois":
            key = keys.galois_key(int(name), level, generation)
        else:
            source = KeySet(read_seed(name), source_parameters)
            suite1_checks.check_secret(source)
            key = keys.switching_key(source, level, generation)
        suite1_checks.check_object(keys, key, source)
        evaluation_keys.append(key)
    print(json.dumps(report(keys, public, evaluation_keys), indent=2))


if __name__ == "__main__":
    main()
