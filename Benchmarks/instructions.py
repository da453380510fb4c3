#!/usr/bin/env python3
"""Counts the instructions of each operation with callgrind, and names the functions that they are in.

usage: instructions.py --bench NAME=BINARY [--bench NAME=BINARY] --degree 13,14,15 --out FOLDER [--scheme bfv]
                       [--chain ...]

An operation runs twice in one process and three times in another: the difference is one operation, without set-up.
Counts repeat, nearly (encryption and memory addresses are random); times do not. A vector instruction counts like any
other, and a repeated string instruction (in memset, memcpy) once for each step.
"""
import argparse
import collections
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import report


def say(text):
    print(text, file=sys.stderr, flush=True)


def stripped(binary, folder):
    """A copy without debug information, whose DWARF 5 Debian's valgrind cannot read; symbols stay."""
    copy = folder / "hkms-bench"
    shutil.copy2(binary, copy)
    subprocess.run(["objcopy", "--strip-debug", copy], check=True)
    return copy


def self_costs(path):
    """Instructions of each function's own code, from a callgrind file written without compression."""
    costs = collections.Counter()
    function, called = None, False
    with open(path, errors="replace") as lines:
        for line in lines:
            if line.startswith("fn="):
                function = line[3:].strip()
            elif line.startswith("calls="):
                called = True  # the next line is the callee's
            elif function and line[:1] in "0123456789+-*":
                if not called:
                    costs[function] += int(line.split()[1])
                called = False
    return costs


def run(binary, parameters, operation, repetitions, folder):
    out = folder / "callgrind.out"
    command = [
        "valgrind", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no", f"--callgrind-out-file={out}",
        binary, "--bare", *parameters, "--operations", operation, "--repetitions", str(repetitions)]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"callgrind ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return self_costs(out)


def demangled(names):
    """Swift's names as people read them."""
    names = list(names)
    swift = shutil.which("swift")
    if not names or not swift:
        return {name: name for name in names}
    text = "\n".join(name.split("'")[0] for name in names) + "\n"
    done = subprocess.run([swift, "demangle", "--simplified", "--compact"], input=text, capture_output=True, text=True)
    found = done.stdout.split("\n")[:len(names)]
    return dict(zip(names, found)) if done.returncode == 0 and len(found) == len(names) else {n: n for n in names}


def operation_costs(binary, parameters, operation, folder):
    # hkms-bench runs one more, untimed, before these.
    one = run(binary, parameters, operation, 1, folder)
    two = run(binary, parameters, operation, 2, folder)
    difference = {name: two[name] - one.get(name, 0) for name in two}
    return sum(two.values()) - sum(one.values()), {n: c for n, c in difference.items() if c > 0}


def markdown(results):
    benches = results["benches"]
    lines = ["# Instructions", "", "Instructions of one operation by callgrind, in millions. Written by "
             "`scripts/bench --instructions`.", ""]
    for log_n, operations in results["degrees"].items():
        lines += [f"## N = 2^{log_n}", ""]
        header = ["operation"] + benches + (["ratio"] if len(benches) == 2 else []) + [
            f"functions of {benches[0]}, share of instructions"]
        rows = []
        for operation, found in operations.items():
            counts = [found[bench]["instructions"] for bench in benches]
            row = [report.operation_title(operation, results)] + [f"{count / 1e6:.3f}" for count in counts]
            if len(benches) == 2:
                row.append(f"{counts[1] / counts[0]:.2f}" if counts[0] else "-")
            top = found[benches[0]]["functions"]
            row.append(", ".join(
                f"`{entry['function']}` {100 * entry['share']:.0f}%" for entry in top[:6] if entry["share"] >= 0.01))
            rows.append(row)
        lines += report.table(header, rows)
    return "\n".join(lines).rstrip() + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", action="append", required=True)
    parser.add_argument("--scheme", choices=report.SCHEMES, default="ckks")
    parser.add_argument("--degree", default="13,14,15")
    parser.add_argument("--chain", help="equal of CKKS, shallow of BFV by default")
    parser.add_argument("--operations", default=",".join(report.OPERATIONS))
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    arguments.chain = arguments.chain or report.SCHEMES[arguments.scheme]
    benches = dict(word.split("=", 1) for word in arguments.bench)
    operations = [name for name in report.OPERATIONS if name in arguments.operations.split(",")]
    if arguments.scheme == "ckks":
        operations = [name for name in operations if name != "rotate-columns"]
    stem = "instructions" if arguments.scheme == "ckks" else f"instructions-{arguments.scheme}"
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    results = {
        "benches": list(benches), "scheme": arguments.scheme, "chain": arguments.chain, "degrees": {}}
    with tempfile.TemporaryDirectory() as temporary:
        copies = {}
        for index, (name, binary) in enumerate(benches.items()):
            folder = pathlib.Path(temporary) / str(index)
            folder.mkdir()
            copies[name] = stripped(binary, folder)
        for log_n in arguments.degree.split(","):
            results["degrees"][log_n] = {}
            parameters = report.parameters(arguments.scheme, log_n, arguments.chain)
            for operation in operations:
                say(f"2^{log_n} {operation}")
                found = {}
                for bench, copy in copies.items():
                    total, functions = operation_costs(copy, parameters, operation, copy.parent)
                    top = sorted(functions.items(), key=lambda item: -item[1])[:12]
                    words = demangled(function for function, _ in top)
                    found[bench] = {
                        "instructions": total,
                        "functions": [
                            {"function": words[function], "instructions": count, "share": count / max(total, 1)}
                            for function, count in top],
                    }
                results["degrees"][log_n][operation] = found
            (out / f"{stem}.json").write_text(json.dumps(results, indent=1) + "\n")
            (out / f"{stem}.md").write_text(markdown(results))
    print((out / f"{stem}.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
