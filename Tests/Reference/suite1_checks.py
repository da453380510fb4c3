"""Checks of the reference by other means than it uses itself. Every check raises CheckFailed.

The primitives are held against published vectors and a second implementation, the samplers against other
formulas, the transform against Horner's rule, and every object against its defining equation, with products by
big-integer multiplication, Galois images by permutation of values, and the noise rebuilt by CRT over all rows.
"""

import hashlib
import hmac
import struct
from itertools import islice

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

import suite1

ERROR_BOUND = 21


class CheckFailed(Exception):
    pass


def require(condition, what):
    if not condition:
        raise CheckFailed(what)


def keystream(key, x, y, words):
    """The stream of suite 1, built from single AES blocks."""
    blocks = b"".join(struct.pack(">IIQ", x, y, counter) for counter in range((words + 1) // 2))
    stream = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(blocks)
    return [int.from_bytes(stream[8 * i:8 * i + 8], "little") for i in range(words)]


def check_primitives():
    """FIPS 197 appendix C.3, RFC 4231 case 2, and the package's own SP 800-108 KDF."""
    block = Cipher(algorithms.AES(bytes(range(32))), modes.ECB()).encryptor()
    require(block.update(bytes.fromhex("00112233445566778899aabbccddeeff")).hex()
            == "8ea2b7ca516745bfeafc49904b496089", "AES-256")
    require(hmac.new(b"Jefe", b"what do ya want for nothing?", hashlib.sha512).hexdigest()
            == "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
               "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737", "HMAC-SHA-512")
    key, label, ctx = bytes(range(32)), "HKMS1/check", bytes(range(100, 212))
    other = KBKDFHMAC(algorithm=SHA512(), mode=Mode.CounterMode, length=32, rlen=4, llen=4,
                      location=CounterLocation.BeforeFixed, label=label.encode(), context=ctx, fixed=None)
    require(suite1.kdf(key, label, ctx) == other.derive(key), "KDF")
    stream = suite1.Stream(key, 0x01020304, 0x05060708)
    got = stream.words(5) + stream.words(1) + stream.words(3)
    require(got == keystream(key, 0x01020304, 0x05060708, 9), "Stream")


def check_transforms(parameters):
    n, log_n = parameters.n, parameters.log_n
    for m in parameters.q + parameters.p:
        ntt = suite1.ntt_of(m, log_n)
        require(pow(ntt.psi, n, m) == m - 1, f"psi of {m} is no primitive 2N-th root of unity")
        if ntt.psi < 10_000:
            require(all(pow(x, n, m) != m - 1 for x in range(1, ntt.psi)), f"psi of {m} is not the least")
        f = [w % m for w in keystream(bytes(32), log_n, m & 0xFFFFFFFF, n)]
        values = ntt.forward(f)
        for j in (0, 1, 2, 3, n // 2 - 1, n // 2, n - 2, n - 1):
            bitrev = int(format(j, f"0{log_n}b")[::-1], 2)
            point, value = pow(ntt.psi, 2 * bitrev + 1, m), 0
            for c in reversed(f):
                value = (value * point + c) % m
            require(value == values[j], f"NTT modulo {m} at position {j}")
        require(ntt.inverse(values) == f, f"inverse NTT modulo {m}")


def check_secret(keys):
    n = keys.parameters.n
    s = [(3 * w >> 64) - 1 for w in keystream(keys.secret_key, 0, 0, n)]
    require(s == keys.s, "s")
    packed = sum((c + 1) << (2 * i) for i, c in enumerate(s)).to_bytes(n // 4, "little")
    require(packed == keys.packed_s, "packed s")


def check_object(keys, published, source=None):
    """b + a*s - P*g_j*target is -e over every row, with |e| <= 21; a and e are the streams' own."""
    parameters, n = keys.parameters, keys.parameters.n
    moduli = [m for _, m in published.rows]
    product = 1
    for m in moduli:
        product *= m
    crt_basis = [product // m * pow(product // m, -1, m) for m in moduli]
    transforms = [suite1.ntt_of(m, parameters.log_n) for m in moduli]
    require(published.context[:16] == struct.pack(
        ">HHIIHH", 1, published.kind, published.generation, published.galois, published.level,
        0 if published.kind == suite1.KIND_PUBLIC else len(published.digits)), "ctx header")
    require(published.context[16:] == parameters.digest + keys.sk_tag + (source.sk_tag if source else bytes(32)),
            "ctx identities")
    targets = [target_of(keys, published, source, ntt) for ntt in transforms]

    for j, digit in enumerate(published.digits):
        errors = [format(w % 2**21, "b").count("1") - format((w >> 32) % 2**21, "b").count("1")
                  for w in keystream(published.error_key, j, 0, n)]
        require(errors == digit.errors, "errors")
        require(max(map(abs, errors)) <= ERROR_BOUND, "error bound")
        require(8 < sum(e * e for e in errors) / n < 13, "error variance")
        gadget = gadget_factor(parameters, published, j)
        noise = [0] * n
        for k, (r, m) in enumerate(published.rows):
            a, b, ntt = digit.a[k], digit.b[k], transforms[k]
            require(a == uniform(published.rho, j, r, m, n, digit.words_used[k]), "a")
            require(all(0 <= x < m for x in b), "canonical residues")
            product_as = negacyclic_product(ntt.inverse(a), keys.s, m)
            residues = [(x + y - gadget * z) % m for x, y, z in zip(ntt.inverse(b), product_as, targets[k])]
            noise = [x + y * crt_basis[k] for x, y in zip(noise, residues)]
        noise = [x % product for x in noise]
        noise = [x - product if 2 * x > product else x for x in noise]
        require(noise == [-e for e in errors], f"the equation of digit {j}")


def target_of(keys, published, source, ntt):
    """The coefficients, modulo one prime, of what the object encrypts."""
    m = ntt.modulus
    if published.kind == suite1.KIND_PUBLIC:
        return [0] * keys.parameters.n
    if published.kind == suite1.KIND_RELINEARIZATION:
        return negacyclic_product(keys.s, keys.s, m)
    if published.kind == suite1.KIND_SWITCHING:
        return [c % m for c in source.s]
    # s(X^g) at psi^k is s at psi^(g*k): a permutation of the values.
    values = dict(zip(ntt.exponents, ntt.forward(keys.s)))
    two_n = 2 * keys.parameters.n
    return ntt.inverse([values[published.galois * k % two_n] for k in ntt.exponents])


def gadget_factor(parameters, published, j):
    """P*g_j as an integer: g_j is 1 modulo the primes of digit j and 0 modulo the other q of the level."""
    if published.kind == suite1.KIND_PUBLIC:
        return 0
    inside = outside = big_p = 1
    for r in range(published.level):
        if j * parameters.alpha <= r < (j + 1) * parameters.alpha:
            inside *= parameters.q[r]
        else:
            outside *= parameters.q[r]
    for m in parameters.p:
        big_p *= m
    return big_p * outside * pow(outside, -1, inside)


def uniform(rho, j, r, m, n, words_used):
    """Rejected positions, in order, take the acceptable ones among the later words, in order."""
    words = [w % 2**m.bit_length() for w in keystream(rho, j, r, words_used)]
    spare = (w for w in words[n:] if w < m)
    row = [w if w < m else next(spare) for w in words[:n]]
    require(not list(islice(spare, 1)), "words read beyond need")
    return row


def negacyclic_product(f, g, m):
    """f*g modulo X^N + 1 and m, as one product of big integers with a slot a coefficient."""
    n = len(f)
    slot = (2 * m.bit_length() + n.bit_length() + 7) // 8

    def pack(poly):
        return int.from_bytes(b"".join((c % m).to_bytes(slot, "little") for c in poly), "little")

    packed = (pack(f) * pack(g)).to_bytes(2 * n * slot, "little")
    full = [int.from_bytes(packed[k * slot:(k + 1) * slot], "little") for k in range(2 * n)]
    return [(low - high) % m for low, high in zip(full[:n], full[n:])]
