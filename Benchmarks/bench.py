#!/usr/bin/env python3
"""Times hkms-bench and other libraries in turn; scripts/bench installs, builds and calls this.

usage: bench.py --ours BINARY [--peer NAME=PYTHON]... [--other NAME=BINARY] [--scheme bfv] --degree 13,14,15
                --out FOLDER ...

Every side is a process that waits for commands (hkms-bench --serve, peers/worker.py), all on one core and one
thread. In each round each side takes a few samples of the same operation, and another one begins each time, so that
whatever slows the machine down slows all of them.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

import report

HERE = pathlib.Path(__file__).resolve().parent
OPERATIONS = list(report.OPERATIONS) + ["encode-list", "list-conversion"]
# What a side samples in one round, in milliseconds, and the most samples.
ROUND_MS, ROUND_SAMPLES = 60, 10
FEWEST = 7


def say(text):
    print(text, file=sys.stderr, flush=True)


class Side:
    """One worker process."""

    def __init__(self, name, command, core=None):
        """Pinned to a core, where one is named."""
        self.name = name
        environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
        pinned = [] if core is None else ["taskset", "-c", str(core)]
        self.process = subprocess.Popen(
            pinned + [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment)
        self.samples = {}

    def ask(self, command):
        """The answer, or SideFailed."""
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            # A library may write lines of its own.
            for line in self.process.stdout:
                if line.startswith("{"):
                    reply = json.loads(line)
                    if list(reply) == ["error"]:
                        raise SideFailed(self, f"{command}: {reply['error']}")
                    return reply
        except (BrokenPipeError, json.JSONDecodeError) as error:
            raise SideFailed(self, f"{command}: {error}") from error
        raise SideFailed(self, f"{command}: ended with status {self.process.wait()}")

    def stop(self):
        try:
            self.process.stdin.write("quit\n")
            self.process.stdin.close()
            self.process.wait(timeout=20)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()


class SideFailed(Exception):
    def __init__(self, side, reason):
        super().__init__(f"{side.name}: {reason}")
        self.side = side


def measure(sides, operation, repetitions, seconds):
    """Fills in side.samples[operation] for the sides that have the operation."""
    plans = []
    for side in sides:
        # Makes the operands, warms up, and tells how long one takes.
        first = side.ask(f"run {operation} 1 1")["ms"][0]
        count = int(max(1, min(ROUND_SAMPLES, ROUND_MS / max(first, 1e-6))))
        plans.append({"side": side, "count": count, "warm": 1 if first < 20 else 0, "spent": 0.0, "ms": []})
    turn = 0
    while plans:
        turn += 1
        for plan in plans[turn % len(plans):] + plans[:turn % len(plans)]:
            count = min(plan["count"], repetitions - len(plan["ms"]))
            begin = time.monotonic()
            plan["ms"] += plan["side"].ask(f"run {operation} {count} {plan['warm']}")["ms"]
            plan["spent"] += time.monotonic() - begin
        for plan in list(plans):
            done = len(plan["ms"])
            if done >= repetitions or (plan["spent"] >= seconds and done >= min(FEWEST, repetitions)):
                plan["side"].samples[operation] = plan["ms"]
                plans.remove(plan)


def finish(side):
    """What is asked for once, after the times."""
    # Memory before serializing, which takes some of its own.
    result = {"peakKiB": side.ask("memory").get("peakKiB"), "sizes": side.ask("sizes"), "errors": side.ask("check")}
    # Of BFV, slots that are wrong.
    worst = max(result["errors"].values())
    if not worst < 1e-4:
        raise SideFailed(side, f"a result is off by {worst}: its times mean nothing")
    return result


def run_degree(log_n, makers, arguments):
    """Results of all sides at one ring degree: name -> what the report needs."""
    sides, results = [], {}

    def attempt(work):
        """Does work(); a library that fails is left out, and it is done again without it."""
        while True:
            try:
                return work()
            except SideFailed as failure:
                if failure.side.name == report.OURS:
                    raise
                say(f"left out: {failure}")
                failure.side.stop()
                sides.remove(failure.side)
                results.pop(failure.side.name, None)

    def begin():
        for side in sides:
            if side.name not in results:
                # What a build tells no operations for is from before there was any but these.
                before = [name for name in report.OPERATIONS if name != "rotate-columns"]
                results[side.name] = {"library": side.name, "operations": before, **side.ask("info")}

    def end():
        for side in sides:
            results[side.name].update(ms=side.samples, **finish(side))

    try:
        for name, command in makers(log_n):
            sides.append(Side(name, command, arguments.core))
        attempt(begin)
        for operation in OPERATIONS:
            if operation in arguments.operations:
                say(f"2^{log_n} {operation}")
                attempt(lambda: measure(
                    [side for side in sides if operation in results[side.name]["operations"]], operation,
                    arguments.repetitions, arguments.seconds))
        attempt(end)
    finally:
        for side in sides:
            side.stop()
    return results


def machine(core):
    model = ""
    try:
        with open("/proc/cpuinfo") as lines:
            model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        pass
    return {
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "core": core,
        "system": platform.system() + " " + ".".join(platform.release().split(".")[:2]),
        "loadAtStart": os.getloadavg()[0],
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--other", help="NAME=BINARY: hkms-bench of another revision")
    parser.add_argument("--peer", action="append", default=[], help="NAME=PYTHON")
    parser.add_argument("--scheme", choices=report.SCHEMES, default="ckks")
    parser.add_argument("--degree", default="13,14,15")
    parser.add_argument("--chain", help="equal of CKKS, shallow of BFV by default")
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--operations", default=",".join(OPERATIONS))
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--revision", default="")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    arguments.chain = arguments.chain or report.SCHEMES[arguments.scheme]
    arguments.operations = arguments.operations.split(",")
    unknown = set(arguments.operations) - set(OPERATIONS)
    if unknown:
        parser.error(f"no operation {', '.join(sorted(unknown))}; there are {', '.join(OPERATIONS)}")
    if "decrypt-decode" in arguments.operations:
        arguments.operations.append("list-conversion")

    def makers(log_n):
        def serving(binary):
            return [binary, "--serve"] + report.parameters(arguments.scheme, log_n, arguments.chain)

        yield report.OURS, serving(arguments.ours)
        if arguments.other:
            name, binary = arguments.other.split("=", 1)
            yield name, serving(binary)
        for peer in arguments.peer:
            name, python = peer.split("=", 1)
            if arguments.scheme == "ckks":
                yield name, [python, HERE / "peers" / f"{name}_worker.py", log_n]
            else:
                yield name, [python, HERE / "peers" / f"{name}_{arguments.scheme}_worker.py", log_n, arguments.chain]

    results = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "revision": arguments.revision,
        "machine": machine(arguments.core),
        "scheme": arguments.scheme,
        "chain": arguments.chain,
        "compare": arguments.other.split("=", 1)[0] if arguments.other else None,
        "repetitions": arguments.repetitions,
        "degrees": {},
    }
    if results["machine"]["loadAtStart"] > 0.5:
        say(f"the load of this machine is {results['machine']['loadAtStart']:.1f}: other work disturbs the times")
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        for log_n in (int(word) for word in arguments.degree.split(",")):
            results["degrees"][str(log_n)] = run_degree(log_n, makers, arguments)
            # After each degree: what is measured is not lost with what follows.
            report.write(results, out)
    except SideFailed as failure:
        say(str(failure))
        return 1
    print((out / f"{report.stem(results)}.md").read_text())
    say(f"written: {', '.join(str(out / (report.stem(results) + suffix)) for suffix in ('.json', '.md', '.svg'))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
