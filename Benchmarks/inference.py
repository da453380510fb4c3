"""Encrypted inference on the paper's two networks, ours and HElayers' in turn; scripts/bench inference runs it.

Prints Table 4's rows of Bitar, Boland and Drucker, "Challenges with handling keys for secure AI", and exits with 1
where an error is larger than a thousandth or a class changed.
"""
import argparse
import json
import os
import random
import statistics
import sys
import tempfile

import bench

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "..", "models")
LARGEST_ERROR = 1e-3
MARGIN = 2e-3  # made-up records whose scores are nearer to the threshold are drawn again

NETWORKS = {
    "heart": {"file": "heart-disease.json", "batch": 16, "shape": "27-50sq-1"},
    "fraud": {"file": "credit-card-fraud.json", "batch": 4096, "shape": "29-20sq-5sq-1sq"},
}
STEPS = {
    "keys": "key creation (context and all keys there)", "model": "model encoding or encryption",
    "samples": "samples encryption", "predict": "prediction", "decrypt": "predictions decryption",
    "secret": "secret key from its seed",
}
SIZES = {
    "publicKey": "public key", "evaluationKeys": "all evaluation keys", "samples": "encrypted samples",
    "predictions": "encrypted predictions", "model": "encrypted model",
}
# The paper's Table 4: milliseconds with an encrypted model on 48 cores, sizes in bytes.
PAPER = {
    "heart": {"keys": 110, "samples": 30, "predict": 170, "decrypt": 1, "seal": 4, "open": 4, "size publicKey": "660,603"},
    "fraud": {"keys": 520, "samples": 70, "predict": 440, "decrypt": 3, "seal": 9, "open": 5, "size publicKey": "2,097,152"},
}


def encoded(model, raw):
    """The network inputs of one drawn record."""
    values = []
    for entry in model["inputs"]:
        if entry["encoding"] == "scaled":
            values.append(raw(entry))
        elif entry["encoding"] == "binary":
            values.append(random.randint(0, 1))
        else:
            count = len(entry["categories"]) + bool(entry.get("missing"))
            chosen = random.randrange(count)
            values += [int(index == chosen) for index in range(count)]
    return values


def score(model, values):
    for layer in model["layers"]:
        if layer["type"] == "dense":
            values = [sum(map(lambda pair: pair[0] * pair[1], zip(row, values))) + bias
                      for row, bias in zip(layer["weights"], layer["bias"])]
        else:
            values = [value * value for value in values]
    return values[0]


def records(model, count):
    """Made-up network inputs, the same on every run: most near the middle of what is valid, some far out."""
    random.seed(1)

    def raw(entry):
        low, high = entry["minimum"], entry["maximum"]
        ends = [(value - low) / (high - low) for value in entry["valid"]]
        if low != 0 or ends[0] >= 0:
            return random.random()
        return min(max(random.uniform(-0.9, 0.9) ** 3, ends[0]), ends[1])

    drawn = []
    while len(drawn) < count:
        values = encoded(model, raw)
        if abs(score(model, values) - model["output"]["threshold"]) > MARGIN:
            drawn.append(values)
    return drawn


def measure(sides, repetitions, failed):
    """Every step of every side, in turn. Processor time is what is left comparable on a machine that is busy.

    A side that fails is left out from there on, and `failed` is told.
    """
    found = {side.name: {"ms": {}} for side in sides}
    sides = list(sides)

    def everyone(command):
        answers = {}
        for side in list(sides):
            try:
                answers[side.name] = side.ask(command)
            except bench.SideFailed as failure:
                failed(failure)
                sides.remove(side)
                found.pop(side.name)
        return answers

    for name, answer in everyone("info").items():
        found[name]["info"] = answer
    for step in STEPS:
        everyone(f"run {step} 1")
        count = max(2, repetitions // 4) if step == "model" else repetitions
        rounds = [everyone(f"run {step} 1") for _ in range(count)]
        for name in found:
            values = [answers[name]["ms"][0] for answers in rounds]
            found[name]["ms"][step] = {
                "median": statistics.median(values), "min": min(values),
                "cpu": statistics.median(answers[name]["cpu"][0] for answers in rounds)}
    # Memory first: sizes and checks are not what a run needs.
    for key in ("memory", "sizes", "check"):
        for name, answer in everyone(key).items():
            found[name][key] = answer["peakKiB"] if key == "memory" else answer
    return found


def table(network, weights, found, seal):
    names = list(found)
    # The paper encrypts its models.
    paper = PAPER[network] if weights != "plain" else {}
    lines = [f"\n## {network} ({NETWORKS[network]['shape']}), batch {NETWORKS[network]['batch']}, {weights} model", ""]
    for name in names:
        info = found[name]["info"]
        lines.append(f"{name}: N = 2^{info['logN']}, q {info['q']}" + (
            f", p {info['p']}, {info['alpha']} a digit, {info['keys']} evaluation keys; {info['layout']}"
            if "layout" in info else ""))
    lines += ["", "| | " + " | ".join(names) + " | paper, encrypted model, 48 cores |", "| --- |" + " --- |" * (len(names) + 1)]

    def row(title, key, cells):
        lines.append(f"| {title} | " + " | ".join(cells) + f" | {paper.get(key, '-')} |")

    for step, title in STEPS.items():
        row(title + ", ms: median, min; processor time", step,
            ["{median:.2f}, {min:.2f}; {cpu:.2f}".format(**found[name]["ms"][step]) for name in names])
    batch = NETWORKS[network]["batch"]
    row("prediction, us a record", "",
        [f"{1000 * found[name]['ms']['predict']['median'] / batch:.1f}" for name in names])
    for key in ("seal", "open"):
        row(f"seed {key}, OpenBao, ms", key, [f"{seal[key]:.1f}" if key in seal and name != "HElayers" else "-"
                                             for name in names])
    for size, title in SIZES.items():
        row(title + ", bytes", "size " + size, [f"{found[name]['sizes'][size]:,}" for name in names])
    row("together, bytes", "", [f"{sum(found[name]['sizes'].values()):,}" for name in names])
    row("peak memory, MiB", "", [f"{found[name]['memory'] / 1024:.0f}" for name in names])
    row("largest error", "", [f"{found[name]['check']['largestError']:.1e}" for name in names])
    row("classes changed", "", [str(found[name]["check"]["classesChanged"]) for name in names])
    if "HElayers" in found:
        theirs, ours = found["HElayers"], found[names[0]]
        def ratios(kind):
            return ", ".join(f"{step} {theirs['ms'][step][kind] / ours['ms'][step][kind]:.1f}" for step in STEPS)

        whole = sum(ours["sizes"].values()) / sum(theirs["sizes"].values())
        lines += ["", f"HElayers / {names[0]}, medians: {ratios('median')}; of processor time: {ratios('cpu')}; "
                  f"bytes {whole:.3f}, memory {ours['memory'] / theirs['memory']:.3f} of theirs"]
    return "\n".join(lines)


def kms_times(measured):
    """seal and open of the first measurement in the JSON of scripts/demo: made by the adapter, over HTTPS."""
    if isinstance(measured, dict) and "ms" in measured:
        return {key: measured["ms"][key] for key in ("seal", "open")}
    inner = measured.values() if isinstance(measured, dict) else measured if isinstance(measured, list) else []
    return next((times for times in map(kms_times, inner) if times), {})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True, help="hkms-bench")
    parser.add_argument("--peer", help="a Python that has pyhelayers and h5py")
    parser.add_argument("--demo", help="JSON of scripts/demo --kms openbao, for seal and open")
    parser.add_argument("--networks", default="heart,fraud")
    parser.add_argument("--weights", default="plain,encrypted")
    parser.add_argument("--precision", type=float, default=1e-3, help="of flooded results; 0 leaves them out")
    parser.add_argument("--core", type=int, default=0, help="the core of one-thread runs")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--out", help="folder for inference.json and inference.md")
    options = parser.parse_args()
    seal = {}
    if options.demo:
        with open(options.demo) as file:
            seal = kms_times(json.load(file))
    texts, results, failures = [], {}, []
    for network in options.networks.split(","):
        path = os.path.join(MODELS, NETWORKS[network]["file"])
        with open(path) as file:
            model = json.load(file)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as inputs:
            json.dump(records(model, NETWORKS[network]["batch"]), inputs)
            inputs.flush()
            for weights in options.weights.split(","):
                core = options.core
                ours = [options.ours, "inference", "--model", path, "--inputs", inputs.name, "--weights", weights]
                sides = [
                    bench.Side("HKMS, 1 thread", ours, core), bench.Side("HKMS, 2 threads", ours + ["--threads", "2"])]
                if weights == "plain" and options.precision:
                    flooded = ours + ["--precision", str(options.precision)]
                    sides.append(bench.Side("HKMS flooded, 1 thread", flooded, core))
                if options.peer:
                    worker = os.path.join(HERE, "peers", "helayers_inference.py")
                    command = [options.peer, "-B", worker, path, inputs.name, weights.removeprefix("publicly-")]
                    sides.append(bench.Side("HElayers", command, core))

                def failed(failure):
                    print(f"left out: {network}, {weights} model, {failure}", file=sys.stderr)
                    failures.append(f"{network}, {weights} model, {failure}")

                found = measure(sides, options.repetitions, failed)
                for side in sides:
                    side.stop()
                if not found:
                    continue
                results[f"{network}, {weights}"] = found
                texts.append(table(network, weights, found, seal))
                print(texts[-1], flush=True)
                for name, values in found.items():
                    check = values["check"]
                    if name.startswith("HKMS") and (
                            check["largestError"] > LARGEST_ERROR or check["classesChanged"] > 0):
                        failures.append(f"{network}, {weights} model, {name}: {check}")
    if options.out:
        os.makedirs(options.out, exist_ok=True)
        with open(os.path.join(options.out, "inference.json"), "w") as file:
            json.dump(results, file, indent=1)
        with open(os.path.join(options.out, "inference.md"), "w") as file:
            file.write("\n".join(texts) + "\n")
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
