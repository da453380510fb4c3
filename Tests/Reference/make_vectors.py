#!/usr/bin/env python3
"""Writes the known answers of derivation suite 1, or with --check compares them with what is there.

Writes Tests/SecretKeysTests/Vectors/suite1.json, suite1-intermediate.json beside it, and the marked block of
docs/derivation.md. Cases may be added, values never change: --check exits 1 on any difference.
"""

import argparse
import hashlib
import json
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import suite1
import suite1_checks

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "Tests/SecretKeysTests/Vectors"
DOCUMENT = ROOT / "docs/derivation.md"
BEGIN, END = "<!-- make_vectors.py begin -->", "<!-- make_vectors.py end -->"

# Bossuat et al. (ePrint 2024/463), table 5.2: log2 of the largest modulus for 128 bits, ternary, classical.
SECURE_BITS = {11: 53, 12: 106, 13: 214}


def primes_below(bits, log_n, count):
    """The largest primes = 1 mod 2N below 2^bits, largest first."""
    step = 2 << log_n
    candidates = range((1 << bits) + 1 - step, step, -step)
    return list(islice(filter(suite1.is_prime, candidates), count))


def primes_above(bits, log_n, count):
    """The smallest primes = 1 mod 2N above 2^bits, smallest first: half of all masked words are rejected."""
    step = 2 << log_n
    candidates = range((1 << bits) + 1, 2 << bits, step)
    return list(islice(filter(suite1.is_prime, candidates), count))


def ckks(log_n, q, p, alpha):
    return {"scheme": "ckks", "logN": log_n, "q": q, "p": p, "alpha": alpha}


def all_cases():
    """(name, seed, source seed, parameters, source parameters, public generation, evaluation keys).

    Without source parameters the source has the case's own. An evaluation key is (kind, element, level, generation).
    """
    relinearization, galois, switching = "relinearization", "galois", "switching"

    def standard(log_n, levels, lower=()):
        conjugation = (2 << log_n) - 1
        return [
            (relinearization, 0, levels, 0), (galois, 3, levels, 0), (galois, conjugation, levels, 0),
            *[(relinearization, 0, level, 0) for level in range(levels - 1, 0, -1)],
            *lower,
            (galois, 3, levels, 1), (relinearization, 0, levels, 1),
            (switching, 0, levels, 0), (switching, 0, 1, 0), (switching, 0, levels, 1),
        ]

    def seeds(name):
        return [hashlib.sha256(f"HKMS suite 1 vector: {name}{part}".encode()).digest() for part in ("", " source")]

    below_18 = primes_below(18, 11, 2)
    above_17, above_59 = primes_above(17, 11, 2), primes_above(59, 11, 3)
    below_50, below_60 = primes_below(50, 13, 2), primes_below(60, 11, 5)
    alpha1 = ckks(11, below_18[1:] + primes_below(17, 11, 1), below_18[:1], 1)
    rejection = ckks(11, primes_above(16, 11, 1) + above_17[:1], above_17[1:], 1)
    cases = [
        ("ckks-2048-alpha1", alpha1, 0, standard(11, 2)),
        ("ckks-4096-alpha2", ckks(12, primes_below(20, 12, 3), primes_below(46, 12, 1), 2), 0,
         standard(12, 3, [("galois", 9, 2, 0), ("galois", 8191, 1, 0)])),
        ("ckks-8192-alpha1", ckks(13, below_50[1:] + primes_below(36, 13, 3), below_50[:1], 1), 0,
         standard(13, 4)),
        ("ckks-2048-60bit-insecure", ckks(11, below_60[2:], below_60[:2], 2), 0, standard(11, 3)),
        ("ckks-2048-rejection", rejection, 0, standard(11, 2)),
        ("ckks-2048-rejection-60bit-insecure", ckks(11, above_59[:2], above_59[2:], 1), 0, standard(11, 2)),
        ("bfv-4096", {"scheme": "bfv", "logN": 12, "q": primes_below(35, 12, 2), "p": primes_below(36, 12, 1),
                      "alpha": 1, "t": 65537}, 0, standard(12, 2)),
        ("ckks-2048-public-only", ckks(11, primes_below(26, 11, 2), [], 0), 0x01020304, []),
        # Sources under parameters of their own: other primes, and another scheme without p.
        ("ckks-2048-other-source", alpha1, 0, [(switching, 0, 2, 0), (switching, 0, 1, 1)]),
        ("ckks-2048-bfv-source", alpha1, 0, [(switching, 0, 2, 0)]),
    ]
    source_parameters = {
        "ckks-2048-other-source": rejection,
        "ckks-2048-bfv-source": {"scheme": "bfv", "logN": 11, "q": primes_below(40, 11, 1), "p": [], "alpha": 0,
                                 "t": 65537},
    }
    result = []
    for name, parameters, public_generation, requests in cases:
        seed, source_seed = seeds(name)
        if name in ("ckks-2048-alpha1", "ckks-2048-other-source"):  # seeds that are easily typed
            seed, source_seed = bytes(range(32)), bytes(range(32, 64))
        result.append((name, seed, source_seed, parameters, source_parameters.get(name), public_generation, requests))
    return result


def run_case(case):
    name, seed, source_seed, fields, source_fields, public_generation, requests = case
    started = time.monotonic()
    parameters = suite1.Parameters.from_json(fields)
    bits = sum(math.log2(m) for m in parameters.q + parameters.p)
    secure = bits <= SECURE_BITS[parameters.log_n]
    assert secure != name.endswith("insecure"), f"{name} has {bits:.1f} bits"

    keys = suite1.KeySet(seed, parameters)
    source = suite1.KeySet(source_seed, suite1.Parameters.from_json(source_fields) if source_fields else parameters)
    suite1_checks.check_transforms(parameters)
    suite1_checks.check_secret(keys)
    suite1_checks.check_secret(source)
    public = keys.public_key(public_generation)
    suite1_checks.check_object(keys, public)
    evaluation_keys = []
    for kind, element, level, generation in requests:
        if kind == "relinearization":
            key = keys.relinearization_key(level, generation)
        elif kind == "galois":
            key = keys.galois_key(element, level, generation)
        else:
            key = keys.switching_key(source, level, generation)
        suite1_checks.check_object(keys, key, source if kind == "switching" else None)
        evaluation_keys.append(key)

    vector = {"name": name, "seed": seed.hex()}
    if any(request[0] == "switching" for request in requests):
        vector["sourceSeed"] = source_seed.hex()
    if source_fields:
        vector["sourceParameters"] = source_fields
    vector |= {"parameters": fields, "expected": suite1.report(keys, public, evaluation_keys)}
    if source_fields:
        vector["expected"]["source"] = {"pd": source.parameters.digest.hex(), **suite1.secret_report(source)}
    intermediate = None
    if name == "ckks-2048-alpha1":
        intermediate = intermediate_values(name, keys, source, public, evaluation_keys)
    refills = [words - parameters.n for key in [public] + evaluation_keys for d in key.digits for words in d.words_used]
    line = (f"{name}: {bits:.1f} bits, {1 + len(evaluation_keys)} objects,"
            f" {min(refills)} to {max(refills)} refill words a row, {time.monotonic() - started:.1f} s")
    return vector, intermediate, line


def hex_word(word):
    return f"{word:016x}"


def intermediate_values(name, keys, source, public, evaluation_keys):
    """What an implementer needs to find the step where two implementations part. Words are hex numbers."""

    def derivation(label, key_name, ctx, output):
        return {"label": label, "key": key_name, "context": ctx.hex(), "output": output.hex()}

    def stream(key, x, y):
        return [hex_word(word) for word in suite1.Stream(key, x, y).words(4)]

    def object_values(published):
        kind = suite1.KIND_NAMES.get(published.kind, "public")
        return {
            "kind": kind, "galois": published.galois, "level": published.level, "generation": published.generation,
            "context": published.context.hex(),
            "errorKey": published.error_key.hex(), "rho": published.rho.hex(),
            "digits": [{
                "errorWords": stream(published.error_key, j, 0), "e": digit.errors[:8],
                "rows": [{
                    "row": r, "modulus": m, "words": stream(published.rho, j, r), "wordsUsed": used,
                    "firstRejected": first_rejected(published.rho, j, r, m, keys.parameters.n),
                    "a": a[:4], "b": b[:4],
                } for (r, m), used, a, b in zip(published.rows, digit.words_used, digit.a, digit.b)],
            } for j, digit in enumerate(published.digits)],
        }

    def first_rejected(key, x, y, m, n):
        mask = (1 << m.bit_length()) - 1
        words = suite1.Stream(key, x, y).words(n)
        return [i for i, word in enumerate(words) if word & mask >= m][:4]

    parameters = keys.parameters
    values = {
        "case": name,
        "pdInput": parameters.digest_input.hex(), "pd": parameters.digest.hex(),
        "kdf": [
            derivation("HKMS1/commit", "seed", keys.context_none, keys.commit),
            derivation("HKMS1/manifest", "seed", keys.context_none, keys.manifest_key),
            derivation("HKMS1/secret", "seed", keys.context_secret, keys.secret_key),
            derivation("HKMS1/sktagkey", "seed", keys.context_secret, keys.tag_key),
        ],
        "secretWords": stream(keys.secret_key, 0, 0),
        "s": keys.s[:8], "packedS": keys.packed_s[:8].hex(),
        "skTag": keys.sk_tag.hex(), "sourceS": source.s[:8], "sourceSkTag": source.sk_tag.hex(),
        "transforms": [],
        "objects": [object_values(public)],
    }
    for r, m in parameters.rows(len(parameters.q), with_p=True):
        ntt = suite1.ntt_of(m, parameters.log_n)
        values["transforms"].append({"row": r, "modulus": m, "psi": ntt.psi, "s": ntt.forward(keys.s)[:4]})
    values["objects"] += [object_values(key) for key in evaluation_keys]
    return values


def dump(value, indent=0):
    """JSON with arrays and small objects of plain values on one line."""
    one_line = json.dumps(value)
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(child, (dict, list)) for child in children) and len(one_line) + indent <= 110:
        return one_line
    if isinstance(value, list) and not any(isinstance(child, (dict, list)) for child in value):
        return one_line
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        body = [f"{pad}{json.dumps(key)}: {dump(child, indent + 2)}" for key, child in value.items()]
        return "{\n" + ",\n".join(body) + "\n" + " " * indent + "}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(pad + dump(child, indent + 2) for child in value) + "\n" + " " * indent + "]"
    return one_line


def document_block(vector, values):
    """The part of the intermediate values that docs/derivation.md prints."""
    parameters = vector["parameters"]

    def numbers(items):
        return ", ".join(str(item) for item in items)

    def line(name, value):
        lines.append(f"{name:<24} {value}")

    lines = []
    line("seed", vector["seed"])
    line("source seed", vector["sourceSeed"])
    line("scheme, logN, alpha", f"{parameters['scheme']}, {parameters['logN']}, {parameters['alpha']}")
    line("q; p", f"{numbers(parameters['q'])}; {numbers(parameters['p'])}")
    for transform in values["transforms"]:
        line(f"psi of {transform['modulus']}", transform["psi"])
    line("input of pd", values["pdInput"])
    line("pd", values["pd"])
    for entry in values["kdf"]:
        line(f"KDF {entry['label']}", entry["output"])
    line("secret stream words", numbers(values["secretWords"]))
    line("s_0 .. s_7", numbers(values["s"]))
    line("packed s, 8 bytes", values["packedS"])
    line("skTag", values["skTag"])
    line("source skTag", values["sourceSkTag"])
    for transform in values["transforms"]:
        line(f"NTT(s) mod {transform['modulus']}", numbers(transform["s"]))
    for published in values["objects"]:
        if published["generation"] != 0 or published["level"] != len(parameters["q"]) or published["galois"] > 3:
            continue
        kind = published["kind"] + (" " + str(published["galois"]) if published["galois"] else "")
        lines.append("")
        lines.append(f"{kind}, level {published['level']}, generation 0")
        src = "source skTag" if published["kind"] == "switching" else "32 bytes 00"
        line("  ctx", f"{published['context'][:32]} || pd || skTag || {src}")
        line("  KDF HKMS1/error", published["errorKey"])
        line("  KDF HKMS1/public = rho", published["rho"])
        whole = published["kind"] in ("public", "relinearization")
        for j, digit in enumerate(published["digits"] if whole else published["digits"][:1]):
            line(f"  error words, digit {j}", numbers(digit["errorWords"]))
            line(f"  e_0 .. e_7, digit {j}", numbers(digit["e"]))
            for row in digit["rows"] if whole else []:
                at = f"({j}, {row['row']})"
                line(f"  Stream(rho, {j}, {row['row']})", numbers(row["words"]))
                line(f"  words used {at}", f"{row['wordsUsed']}, first rejected i: {numbers(row['firstRejected'])}")
                line(f"  a_0 .. a_3 {at}", numbers(row["a"]))
                line(f"  b_0 .. b_3 {at}", numbers(row["b"]))
    return "```text\n" + "\n".join(lines) + "\n```\n"


def case_table(vectors):
    lines = ["| case | N | alpha | q | p |", "| --- | --- | --- | --- | --- |"]

    def add(name, parameters):
        t = f", t = {parameters['t']}" if "t" in parameters else ""
        q, p = (", ".join(map(str, parameters[key])) for key in "qp")
        lines.append(f"| {name}{t} | {1 << parameters['logN']} | {parameters['alpha']} | {q} | {p or 'none'} |")

    for vector in vectors:
        add(vector["name"], vector["parameters"])
        if "sourceParameters" in vector:
            add(f"its source: {vector['sourceParameters']['scheme']}", vector["sourceParameters"])
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    arguments = parser.parse_args()

    started = time.monotonic()
    suite1_checks.check_primitives()
    with ProcessPoolExecutor() as pool:
        results = list(pool.map(run_case, all_cases()))
    for _, _, line in results:
        print(line)
    vectors = [vector for vector, _, _ in results]
    intermediate = results[0][1]

    files = {
        VECTORS / "suite1.json": dump(vectors) + "\n",
        VECTORS / "suite1-intermediate.json": dump(intermediate) + "\n",
    }
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    block = case_table(vectors) + "\n" + document_block(vectors[0], intermediate)
    files[DOCUMENT] = before + BEGIN + "\n" + block + END + after

    different = [path for path, content in files.items() if not path.exists() or path.read_text() != content]
    for path in different:
        if arguments.check:
            print(f"{path.relative_to(ROOT)} differs", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
    print(f"{len(vectors)} cases, {len(different)} of {len(files)} files {'differ' if arguments.check else 'written'},"
          f" {time.monotonic() - started:.0f} s")
    return 1 if arguments.check and different else 0


if __name__ == "__main__":
    sys.exit(main())
