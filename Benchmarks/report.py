#!/usr/bin/env python3
"""Tables and a plot of what bench.py measured. usage: report.py RESULTS.json [FOLDER], to write them again."""
import html
import json
import math
import pathlib
import statistics
import sys

OURS = "HKMS"
# With the chain that is compared with all libraries.
SCHEMES = {"ckks": "equal", "bfv": "shallow"}
OPERATIONS = {
    "secret-key": "secret key",
    "key-pair": "secret + public key",
    "relinearization-key": "relinearization key",
    "rotation-key": "one rotation key",
    "encode": "encode",
    "encrypt": "encrypt (public key)",
    "decrypt": "decrypt",
    "decrypt-decode": "decrypt + decode",
    "add": "add",
    "plain-multiply": "plaintext multiply + rescale",
    "multiply": "multiply + relinearize + rescale",
    "rotate": "rotate by 1",
    "rotate-columns": "rotate columns",
}
# As they are called where nothing is rescaled.
BFV_TITLES = {
    "plain-multiply": "plaintext multiply",
    "multiply": "multiply + relinearize",
    "rotate": "rotate rows by 1",
}
# Median of the fastest peer over ours, one thread, at N = 2^13, 2^14, 2^15.
CKKS_GOALS = {
    "secret-key": (6, 8, 8),
    "key-pair": (8, 8, 8),
    "relinearization-key": (8, 10, 14),
    "rotation-key": (8, 10, 14),
    "encode": (4, 4, 4),
    "encrypt": (6, 6, 6),
    "decrypt-decode": (3, 5, 8),
    "add": (1, 1, 1),
    "plain-multiply": (3, 3, 3),
    "multiply": (3, 5, 6),
    "rotate": (3, 5, 6),
}
# The same at N = 2^13.
BFV_GOALS = {
    "secret-key": 4,
    "key-pair": 4,
    "relinearization-key": 4,
    "rotation-key": 4,
    "encode": 1,
    "encrypt": 5,
    "decrypt-decode": 2,
    "add": 1,
    "plain-multiply": 1,
    "multiply": 3,
    "rotate": 1.5,
    "rotate-columns": 1.5,
}
# As tables call the workers of peers/.
NAMES = {"tenseal": "SEAL", "openfhe": "OpenFHE", "pyhelayers": "HElayers"}
SIZES = {
    "publicKey": "public key",
    "relinearizationKey": "relinearization key",
    "rotationKey": "one rotation key",
    "freshCiphertext": "fresh ciphertext",
    "lastLevelCiphertext": "ciphertext at its last level",
}
# Ours over the smallest peer's, as it serializes by default.
SIZE_GOALS = {"publicKey": 0.5, "relinearizationKey": 0.5, "rotationKey": 0.5, "freshCiphertext": 0.9}
MEMORY_GOAL = 0.5


def parameters(scheme, log_n, chain):
    """What hkms-bench is told; revisions of before there was another scheme need not be told of CKKS."""
    return ([] if scheme == "ckks" else ["--scheme", scheme]) + ["--degree", str(log_n), "--chain", chain]


def scheme(results):
    # Results of before there was another one do not say.
    return results.get("scheme", "ckks")


def operation_title(operation, results):
    return (BFV_TITLES if scheme(results) == "bfv" else {}).get(operation, OPERATIONS[operation])


def goal(operation, log_n, results):
    if scheme(results) == "bfv":
        return BFV_GOALS.get(operation) if int(log_n) == 13 else None
    row = CKKS_GOALS.get(operation)
    return row[int(log_n) - 13] if row and 13 <= int(log_n) <= 15 else None


def times(side, operation, reduce):
    """Milliseconds, or None. What a Python list costs is taken off a peer's decoding."""
    samples = side["ms"].get(operation)
    if not samples:
        return None
    found = reduce(samples)
    conversion = side["ms"].get("list-conversion")
    if operation == "decrypt-decode" and conversion:
        found -= reduce(conversion)
    return found


def ratio(sides, operation, reduce):
    """(fastest other side over ours, its name), or None."""
    ours = times(sides[OURS], operation, reduce)
    others = [(times(side, operation, reduce), name) for name, side in sides.items() if name != OURS]
    others = [pair for pair in others if pair[0]]
    if not ours or not others:
        return None
    fastest = min(others)
    return fastest[0] / ours, fastest[1]


def number(value):
    """Three digits, as people write them."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def chain(info):
    def bits(primes):
        words, index = [], 0
        while index < len(primes):
            count = 1
            while index + count < len(primes) and primes[index + count] == primes[index]:
                count += 1
            words.append(f"{primes[index]}" + (f" x {count}" if count > 1 else ""))
            index += count
        return "[" + ", ".join(words) + "]"

    c = info["chain"]
    digits = f"{c['alpha']} a digit: {c['digits']} digits"
    levels = f"{c['levels']} levels, " if "levels" in c else ""
    return f"{bits(c['qBits'])} + {bits(c['pBits'])}, {digits}, {levels}{c['totalBits']:.0f} bits"


def comparability(sides):
    """What is not equal in the parameters, as a list of sentences."""
    ours = sides[OURS]["chain"]
    found = []
    for name, side in sides.items():
        theirs = side["chain"]
        if theirs.get("levels", ours["levels"]) != ours["levels"]:
            found.append(f"**{NAMES.get(name, name)} has {theirs['levels']} levels and {OURS} {ours['levels']}.**")
        if round(ours["totalBits"]) > round(theirs["totalBits"]):
            more = ours["totalBits"] - theirs["totalBits"]
            found.append(f"**Our whole modulus is {more:.0f} bits larger than that of {NAMES.get(name, name)}.**")
    return found


def stem(results):
    name = "compare" if results["compare"] else "benchmarks"
    return name if scheme(results) == "ckks" else f"{name}-{scheme(results)}-{results['chain'].replace('/', '_')}"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def verdict(reached, wanted, larger_is_better=True):
    if reached is None or wanted is None:
        return "-"
    met = reached >= wanted if larger_is_better else reached <= wanted
    if met:
        return "met"
    share = 1 - reached / wanted if larger_is_better else reached / wanted - 1
    return f"missed by {100 * share:.0f}%"


def degree_section(log_n, sides, results):
    compare = results["compare"]
    others = [name for name in sides if name != OURS]
    titles = [NAMES.get(name, name) for name in [OURS] + others]
    lines = [f"## N = 2^{log_n}", ""]
    lines += table(
        ["", "library", "primes q + special primes, bits"],
        [[NAMES.get(name, name),
          side["library"] + (f", {side['kernels']} kernels" if "kernels" in side else ""), chain(side)]
         for name, side in sides.items()])

    unequal = comparability(sides)
    if unequal:
        lines += [" ".join(unequal), ""]

    def cell(side, operation):
        median, least = (times(side, operation, reduce) for reduce in (statistics.median, min))
        return "-" if median is None else f"{number(median)} ({number(least)})"

    rows = []
    for operation in OPERATIONS:
        if all(times(side, operation, min) is None for side in sides.values()):
            continue
        median, least = (ratio(sides, operation, reduce) for reduce in (statistics.median, min))
        row = [operation_title(operation, results)] + [cell(sides[name], operation) for name in [OURS] + others]
        row += [f"**{number(median[0])}**" if median else "-", number(least[0]) if least else "-"]
        if not compare:
            wanted = goal(operation, log_n, results)
            row += [number(wanted).rstrip("0").rstrip(".") if wanted else "-", verdict(median and median[0], wanted)]
        rows.append(row)
    header = ["median (minimum), ms"] + titles
    if compare:
        header += ["ratio of medians", "of minima"]
    else:
        header += ["fastest peer / ours, medians", "minima", "goal", ""]
    lines += table(header, rows)

    def share(values):
        """Ours over the least of the others."""
        known = [value for name, value in values.items() if name != OURS and value]
        return values[OURS] / min(known) if known and values.get(OURS) else None

    has_goals = not compare and scheme(results) == "ckks"
    rows = []
    for key, title in SIZES.items():
        values = {name: side["sizes"].get(key) for name, side in sides.items()}
        if not any(values.values()):
            continue
        reached = share(values)
        row = [title]
        for name in [OURS] + others:
            seeded = sides[name]["sizes"].get(key + "Seeded")
            row.append((f"{values[name]:,}" if values[name] else "-") + (f" (seeded {seeded:,})" if seeded else ""))
        row.append(number(reached))
        if has_goals:
            row += [number(SIZE_GOALS.get(key)), verdict(reached, SIZE_GOALS.get(key), larger_is_better=False)]
        rows.append(row)
    # Peers that do the same work: those that make keys one by one.
    for title, value in (
        ("peak memory, KiB", lambda side: side["peakKiB"]),
        ("the same, less what the process had before its first key",
         lambda side: side["peakKiB"] - side["startKiB"] if side["peakKiB"] and side["startKiB"] else None),
    ):
        values = {
            name: value(side) for name, side in sides.items() if "relinearization-key" in side["operations"]}
        reached = share(values)
        row = [title] + [f"{values[name]:,}" if values.get(name) else "-" for name in [OURS] + others]
        row.append(number(reached))
        if has_goals:
            row += [number(MEMORY_GOAL), verdict(reached, MEMORY_GOAL, larger_is_better=False)]
        rows.append(row)
    header = ["bytes"] + titles + ["ours / smallest"] + (["goal, at most", ""] if has_goals else [])
    lines += table(header, rows)

    names = list(dict.fromkeys(name for side in sides.values() for name in side["errors"]))
    exact = scheme(results) == "bfv"
    lines += table(
        ["slots that plain integers contradict" if exact else "largest error, values within 1"] + titles,
        [[name] + [("{:d}" if exact else "{:.1e}").format(sides[side]["errors"][name])
                   if name in sides[side]["errors"] else "-" for side in [OURS] + others] for name in names])
    return lines


CKKS_NOTES = [
    "- Equal in all columns: N, the number of rescalings, the scale 2^40, a uniform ternary secret, 128-bit "
    "security. The chains stand above each table.",
    "- Our primes have 50 bits at most: our last level has 10 bits above the scale for the integer part, a "
    "first prime of 60 bits has 20.",
    "- SEAL and HElayers encrypt under the modulus with the special prime and divide by it: one row more "
    "work, and less noise in a fresh ciphertext. The largest errors stand below the sizes.",
    "- Our secret key is N packed coefficients, transformed where it is used; SEAL transforms it for every "
    "prime when it makes it.",
    "- Encoding starts from eight numbers with SEAL and HElayers, which fill up with zeros and do the same "
    "work, and from an array with OpenFHE, so that no Python list is converted; making the list of results is "
    "taken off SEAL's decoding.",
    "- OpenFHE makes no secret key alone and decodes whenever it decrypts. HElayers makes all keys in one "
    "call, so neither its key generation nor its memory is compared.",
]
BFV_NOTES = [
    "- Equal in all columns: N, t = 65537, messages of the whole range, a uniform ternary secret, 128-bit security. "
    "The chains stand above each table; levels are multiplications one after another, ours but for a failure of "
    "2^-128.",
    "- `shallow`: one multiplication. Parameters are OpenFHE's own choice, with no special prime; SEAL and ours have "
    "primes as short as one multiplication permits and together no more bits than OpenFHE. `deep`: SEAL's default "
    "modulus, which is all that the table of 2018 allows; ours is all that the table of 2024 does.",
    "- Each side multiplies by a plaintext as it is encoded: ours and SEAL's are transformed in each product, "
    "OpenFHE's is when it is made.",
    "- SEAL encrypts under the modulus with the special prime and divides by it: one row more work, and less noise.",
    "- Our secret key is N packed coefficients, transformed where it is used; SEAL transforms it for every prime when "
    "it makes it.",
    "- Encoding starts from eight numbers with SEAL and OpenFHE, which fill up with zeros and do the same work, so "
    "that no Python list is converted; making the list of results is taken off SEAL's decoding.",
    "- OpenFHE makes no secret key alone and decodes whenever it decrypts.",
]


def markdown(results):
    compare = results["compare"]
    about = results["machine"]
    about_scheme = "" if scheme(results) == "ckks" else f" of {scheme(results).upper()}, {results['chain']}"
    lines = [(f"# {OURS} against {compare}" if compare else "# Benchmarks") + about_scheme, ""]
    lines += [
        f"{results['date']}, {about['cpu']}, {about['system']}, one thread on one of {about['cores']} cores"
        + (f", revision {results['revision']}" if results["revision"] else "")
        + f"; up to {results['repetitions']} samples of each operation and library, taken in turn"
        + f" (load before: {about['loadAtStart']:.1f}).", ""]
    if not compare:
        lines += ["Written by `scripts/bench`. A ratio is the time of the fastest other library over ours.", ""]
        lines += (BFV_NOTES if scheme(results) == "bfv" else CKKS_NOTES) + [""]
    for log_n, sides in results["degrees"].items():
        lines += degree_section(log_n, sides, results)
    return "\n".join(lines).rstrip() + "\n"


# The plot: one group of bars an operation, one bar a ring, a mark at each goal. The axis is logarithmic and bars begin
# at 1, so that twice as fast and half as fast are equally long.

COLORS = ("#8fb8de", "#3f7fbf", "#1b4a7a")
GOAL_COLOR = "#d1495b"


def svg(results):
    degrees = list(results["degrees"])
    compare = results["compare"]
    groups = []
    for operation in OPERATIONS:
        bars = []
        for index, log_n in enumerate(degrees):
            found = ratio(results["degrees"][log_n], operation, statistics.median)
            if found:
                bars.append((index, found[0], None if compare else goal(operation, log_n, results)))
        if bars:
            groups.append((operation_title(operation, results), bars))
    left, right, top, bar, gap = 230, 50, 74, 11, 10
    width = 860
    height = top + sum(len(bars) * (bar + 1) + gap for _, bars in groups) + 30
    shown = [value for _, bars in groups for _, *values in bars for value in values if value] + [1]
    low, high = math.floor(math.log2(min(shown))), math.ceil(math.log2(max(shown)) + 0.3)
    x = lambda value: left + (width - left - right) * (math.log2(value) - low) / (high - low)
    heading = (
        f"Times of {compare} over those of {OURS}" if compare else f"Times of the fastest peer over those of {OURS}")
    if scheme(results) != "ckks":
        heading += f", {scheme(results).upper()} {results['chain']}"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#222">',
        f"<title>{html.escape(heading)}</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="bold">{html.escape(heading)}</text>',
        f'<text x="{width - 12}" y="24" text-anchor="end" fill="#666">medians, one thread; right of 1x {OURS} is faster'
        "</text>",
    ]
    position = 12
    for index, log_n in enumerate(degrees):
        out.append(f'<rect x="{position}" y="38" width="12" height="12" fill="{COLORS[index % len(COLORS)]}"/>')
        out.append(f'<text x="{position + 17}" y="48">N = 2^{log_n}</text>')
        position += 90
    if not compare:
        out.append(f'<rect x="{position + 4}" y="37" width="3" height="14" fill="{GOAL_COLOR}"/>')
        out.append(f'<text x="{position + 14}" y="48">goal</text>')
    for power in range(low, high + 1):
        at = f"{x(2.0**power):.1f}"
        label = f"{2**power}x" if power >= 0 else f"1/{2**-power}"
        out.append(
            f'<line x1="{at}" y1="{top - 6}" x2="{at}" y2="{height - 26}" stroke="{"#e3e3e3" if power else "#777"}"/>')
        out.append(f'<text x="{at}" y="{height - 10}" text-anchor="middle" fill="#666">{label}</text>')
    y = top
    for name, bars in groups:
        middle = y + len(bars) * (bar + 1) / 2 + 4
        out.append(f'<text x="{left - 10}" y="{middle:.1f}" text-anchor="end">{html.escape(name)}</text>')
        for index, value, wanted in bars:
            begin, end = sorted((x(1), x(value)))
            out.append(
                f'<rect x="{begin:.1f}" y="{y}" width="{max(end - begin, 1):.1f}" height="{bar}" '
                f'fill="{COLORS[index % len(COLORS)]}"/>')
            if wanted:
                out.append(
                    f'<rect x="{x(wanted) - 1.5:.1f}" y="{y - 0.5}" width="3" height="{bar + 1}" '
                    f'fill="{GOAL_COLOR}"/>')
                if -4 <= x(wanted) - end <= 34:
                    end = x(wanted) + 2
            out.append(f'<text x="{end + 4:.1f}" y="{y + bar - 2}" font-size="10" fill="#444">{number(value)}</text>')
            y += bar + 1
        y += gap
    out.append("</svg>")
    return "\n".join(out) + "\n"


def write(results, folder):
    name = stem(results)
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    (folder / f"{name}.md").write_text(markdown(results))
    (folder / f"{name}.svg").write_text(svg(results))


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    source = pathlib.Path(sys.argv[1])
    write(json.loads(source.read_text()), pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else source.parent)
