#!/usr/bin/env python3
"""What trusted KMSs cost, one after the other; scripts/bench kms starts the real servers and calls this.

usage: kms.py --ours BINARY --backends software,openbao --degree 13,14 --repetitions 200 --seconds 3 --out FOLDER
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

import bench
import report

CALLS = {"seal": "seal", "open": "open", "dataKey": "data key", "rewrap": "rewrap"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(arguments, backend):
    """What hkms-bench kms prints for one backend, or None where it failed."""
    command = [
        arguments.ours, "kms", "--backend", backend, "--degree", arguments.degree, "--repetitions",
        str(arguments.repetitions), "--seconds", str(arguments.seconds)]
    found = {"calls": {}, "opens": {}, "decryptions": []}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        entry = json.loads(line)
        if "backend" in entry:
            found["info"] = entry
        elif "call" in entry:
            found["calls"][entry["call"]] = entry["ms"]
        elif "ms" in entry:
            found["decryptions"].append(dict(entry, perSecond={}))
        elif entry["of"] == "open":
            found["opens"][str(entry["concurrent"])] = entry["perSecond"]
        else:
            found["decryptions"][-1]["perSecond"][str(entry["concurrent"])] = entry["perSecond"]
    if process.wait() != 0:
        say(f"left out: {backend} ended with status {process.returncode}")
        return None
    return found


def pair(samples):
    return f"{report.number(statistics.median(samples))}, {report.number(min(samples))}"


def share(entry):
    """Median of the KMS's part of each decryption, in per cent."""
    return 100 * statistics.median(part / whole for part, whole in zip(entry["kmsMs"], entry["ms"]))


def rates(by_concurrency):
    return [f"{by_concurrency[count]:.0f}" for count in sorted(by_concurrency, key=int)]


def markdown(results):
    about = results["machine"]
    backends = results["backends"]
    counts = sorted(next(iter(backends.values()))["opens"], key=int)
    lines = [
        "# What the trusted KMS costs", "",
        f"{about['cpu']}, {about['system']}, {about['cores']} cores, server on the same machine, "
        f"{results['repetitions']} samples, one after the other; throughput over {results['seconds']:g} s "
        f"(load before: {about['loadAtStart']:.1f}). Times are medians and minima.", "",
        "## Decryption of one ciphertext, all slots", ""]
    rows = [
        [name, entry["mode"], f"2^{entry['logN']}", pair(entry["ms"]), pair(entry["kmsMs"]), f"{share(entry):.1f} %"]
        + rates(entry["perSecond"])
        for name, found in backends.items() for entry in found["decryptions"]]
    lines += report.table(
        ["KMS", "mode", "N", "decryption, ms", "of it the KMS, ms", "share"]
        + [f"decryptions/s at {count}" for count in counts], rows)
    lines += ["## Calls", ""]
    rows = [
        [name] + [pair(found["calls"][call]) if call in found["calls"] else "-" for call in CALLS]
        + rates(found["opens"]) for name, found in backends.items()]
    lines += report.table(
        ["KMS"] + [f"{title}, ms" for title in CALLS.values()] + [f"opens/s at {count}" for count in counts], rows)
    return "\n".join(lines).rstrip()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--backends", required=True)
    parser.add_argument("--degree", default="13,14")
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    results = {
        "machine": bench.machine(None), "repetitions": arguments.repetitions, "seconds": arguments.seconds,
        "backends": {}}
    if results["machine"]["loadAtStart"] > 0.5:
        say(f"the load of this machine is {results['machine']['loadAtStart']:.1f}: other work disturbs the times")
    failed = False
    for backend in arguments.backends.split(","):
        say(f"{backend}")
        found = run(arguments, backend)
        failed = failed or found is None
        if found is not None:
            results["backends"][backend] = found
    if not results["backends"]:
        return 1
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "kms.json").write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    (out / "kms.md").write_text(markdown(results) + "\n")
    print(markdown(results))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
