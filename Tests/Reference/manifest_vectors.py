#!/usr/bin/env python3
"""Manifests of version 2 and of version 1, byte by byte, made from docs/formats.md and nothing else: another
implementation of canonical bytes, of the seed proof and of DSSE 1.0 than the Swift code.

    python3 manifest_vectors.py [--check]

Writes Tests/AttestationTests/Vectors/manifests.json; with --check writes nothing and exits 1 if it differs. Needs the
package `cryptography` for Ed25519. Signed with the key of RFC 8032, 7.1, test 1; the seed's manifest MAC key is
00 01 .. 1f.
"""

import argparse
import base64
import hashlib
import hmac
import json
import struct
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from suite1 import Parameters

FILE = Path(__file__).resolve().parent.parent / "AttestationTests" / "Vectors" / "manifests.json"
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
MAC_KEY = bytes(range(32))
TYPE = "application/vnd.hkms.manifest.v%d+json"

CKKS = {
    "scheme": "ckks", "logN": 13, "q": [1125899906826241, 68719230977, 68718428161, 68718346241],
    "p": [1125899906629633], "alpha": 1,
}
BFV = {"scheme": "bfv", "logN": 12, "q": [34359697409, 34359451649], "p": [68719403009], "alpha": 1, "t": 65537}


def canonical(fields):
    """Text as UTF-8, integers as 8 bytes big-endian, each with its length in front."""
    out = b""
    for field in fields:
        if isinstance(field, int):
            field = struct.pack(">q", field)
        elif isinstance(field, str):
            field = field.encode()
        out += struct.pack(">I", len(field)) + field
    return out


def digest(byte):
    """32 equal bytes, in hex."""
    return bytes([byte] * 32).hex()


def manifest(parameters, policy, profile):
    pd = Parameters.from_json(parameters).digest
    objects = [
        {"kind": "public", "galois": 0, "level": len(parameters["q"]), "generation": 2, "bytes": 100,
         "digest": digest(1)},
        {"kind": "relinearization", "galois": 0, "level": 2, "generation": 2, "bytes": 200, "digest": digest(2)},
        {"kind": "galois", "galois": 9, "level": 2, "generation": 2, "bytes": 300, "digest": digest(3)},
    ]
    fields = ["HKMS-manifest-proof-v1", "ks-1", 1, pd, "derived", 2]
    for entry in objects:
        fields += [entry["kind"], entry["galois"], entry["level"], entry["generation"],
                   bytes.fromhex(entry["digest"])]
    return {
        "keySet": "ks-1", "version": 3, "installation": "test", "tenant": "default",
        "owner": {"kind": "user", "issuer": "static", "subject": "alice"},
        "parameters": parameters, "parameterDigest": pd.hex(), "suite": 1, "generation": 2, "origin": "derived",
        "sealing": {
            "mode": "envelope", "provider": "software", "keyName": "master", "keyVersion": 1, "epoch": 4,
            "sealedSeed": digest(9), "sealedDataKey": digest(10),
        },
        "commitment": digest(11), "objects": objects, "state": "active",
        "dates": {"created": "2026-01-02T03:04:05Z", "activated": "2026-01-02T03:04:05Z"},
        "policy": policy, "profile": profile,
        "seedProof": hmac.new(MAC_KEY, canonical(fields), hashlib.sha256).hexdigest(),
    }


def profile(parameters, **members):
    return {
        "model": "m", "modelDigest": digest(5), "parameters": parameters,
        "evaluationKeys": [{"kind": 3, "galois": 0, "level": 2, "generation": 0}], **members,
    }


def envelope(payload, version):
    kind = TYPE % version
    key = SIGNING_KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    return compact({
        "payload": base64.b64encode(payload).decode(), "payloadType": kind,
        "signatures": [{
            "keyid": "ed25519:" + hashlib.sha256(key).digest()[:16].hex(),
            "sig": base64.b64encode(SIGNING_KEY.sign(message)).decode(),
        }],
    })


def compact(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def vectors():
    raw = {"release": "raw", "decryptAny": False, "decryptionBudget": 10}
    exact = {"release": "exact", "decryptAny": False}
    flooded = {
        "release": "flooded", "decryptAny": False, "decryptionBudget": 100,
        "flooding": {
            "precision": 0.001,
            "policy": {
                "errorBound": 1048576, "statisticalBits": 30, "budget": 100, "step": 2.0 ** -11, "level": 3,
                "scaleBits": 60, "audience": "shared",
            },
        },
    }
    circuit = {"scaleBits": 60, "inputLevel": 4, "outputLevel": 3, "batch": 1}
    cases = [
        ("raw, version 1", 1, CKKS, raw, profile(CKKS, **circuit)),
        ("raw", 2, CKKS, raw, profile(CKKS, **circuit)),
        ("flooded", 2, CKKS, flooded, profile(CKKS, **circuit)),
        ("exact", 2, BFV, exact,
         profile(BFV, scaleBits=0, inputLevel=2, outputLevel=2, batch=1, operands=2)),
    ]
    for name, version, parameters, policy, circuit in cases:
        payload = compact(manifest(parameters, policy, circuit)).encode()
        yield {"name": name, "version": version, "digest": hashlib.sha256(payload).hexdigest(),
               "envelope": envelope(payload, version)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file differs")
    text = json.dumps(list(vectors()), indent=1) + "\n"
    differs = not FILE.exists() or FILE.read_text() != text
    if parser.parse_args().check:
        print("differs" if differs else "as made")
        return 1 if differs else 0
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
