#!/usr/bin/env python3
"""Times hkms-bench on several threads against one, in turn. scripts/bench --threads calls this.

usage: threads.py --ours BINARY --threads 2 --out FOLDER [--scheme bfv] [--degree 13,14,15] [--chain ...]

Beside the speedup stands what the machine gives at most: as many processes of one thread, each at the same work at the
same time, against one of them alone. Cores that share an execution unit, a clock or other work give less than their
number, whatever the program does.
"""
import argparse
import json
import os
import pathlib
import statistics
import sys
import threading

import bench
import report

OPERATIONS = {"key-set": "whole key set (14 keys)", "encrypt-batch": "encrypt 32"}


def say(text):
    print(text, file=sys.stderr, flush=True)


class Side(bench.Side):
    """On any core."""

    def __init__(self, name, command):
        super().__init__(name, command, ",".join(str(core) for core in sorted(os.sched_getaffinity(0))))


def together(sides, command):
    """The answers of all sides that begin at once."""
    answers = [None] * len(sides)

    def ask(index):
        answers[index] = sides[index].ask(command)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(sides))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def measure(arguments, log_n):
    command = [arguments.ours, "--serve"] + report.parameters(arguments.scheme, log_n, arguments.chain)
    many = Side("many", command + ["--threads", str(arguments.threads)])
    single = [Side(f"one {index}", command) for index in range(arguments.threads)]
    found = {}
    try:
        for operation in arguments.operations:
            say(f"{arguments.scheme} 2^{log_n} {operation}")
            samples = {"one": [], "many": [], "processes": []}
            for side in [many] + single:
                side.ask(f"run {operation} 1 1")
            for _ in range(arguments.repetitions):
                samples["one"] += single[0].ask(f"run {operation} 1 1")["ms"]
                samples["many"] += many.ask(f"run {operation} 1 1")["ms"]
                # The slowest of them, long enough that all overlap.
                answers = together(single, f"run {operation} 3 1")
                samples["processes"].append(max(statistics.mean(answer["ms"]) for answer in answers))
            found[operation] = samples
    finally:
        for side in [many] + single:
            side.stop()
    return found


def markdown(results):
    count = results["threads"]
    about = results["machine"]
    lines = [
        f"# {count} threads against one", "",
        f"{about['cpu']}, {about['system']}, {about['cores']} cores, {results['scheme'].upper()}, chain "
        f"{results['chain']}, {results['repetitions']} samples, taken in turn (load before: "
        f"{about['loadAtStart']:.1f}). Machine: {count} processes of one thread at once, the work done per time over "
        "that of one alone.", ""]
    rows = []
    for log_n, operations in results["degrees"].items():
        for operation, samples in operations.items():
            row = [f"2^{log_n}", OPERATIONS.get(operation, operation)]
            for reduce in (statistics.median, min):
                one, many, processes = (reduce(samples[name]) for name in ("one", "many", "processes"))
                row += [report.number(one), report.number(many), f"**{one / many:.2f}**",
                        f"{count * one / processes:.2f}"]
            rows.append(row)
    header = ["N", "operation"]
    for name in ("median", "minimum"):
        header += [f"1 thread, ms ({name})", f"{count} threads, ms", "speedup", "machine"]
    return "\n".join(lines + report.table(header, rows))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scheme", choices=report.SCHEMES, default="ckks")
    parser.add_argument("--degree", default="13,14,15")
    parser.add_argument("--chain")
    parser.add_argument("--operations", default=",".join(OPERATIONS))
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    if not 2 <= arguments.threads <= 1024:
        parser.error("--threads is in 2...1024")
    arguments.chain = arguments.chain or report.SCHEMES[arguments.scheme]
    arguments.operations = arguments.operations.split(",")
    results = {
        "machine": bench.machine(None), "threads": arguments.threads, "scheme": arguments.scheme,
        "chain": arguments.chain, "repetitions": arguments.repetitions, "degrees": {}}
    if results["machine"]["loadAtStart"] > 0.5:
        say(f"the load of this machine is {results['machine']['loadAtStart']:.1f}: other work disturbs the times")
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        for log_n in arguments.degree.split(","):
            results["degrees"][log_n] = measure(arguments, log_n)
    except bench.SideFailed as failure:
        say(str(failure))
        return 1
    stem = out / f"threads-{arguments.scheme}"
    stem.with_suffix(".json").write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    stem.with_suffix(".md").write_text(markdown(results) + "\n")
    print(markdown(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
