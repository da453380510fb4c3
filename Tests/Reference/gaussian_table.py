#!/usr/bin/env python3
"""The table of the base sampler in Sources/CRLWEKernels/gaussian_table.h, from its definition.

D is the discrete Gaussian over the integers of deviation 8: D(x) is proportional to exp(-x^2 / 128). Entry i, from 1, is
the integer nearest to 2^126 times the probability of abs(x) >= i, in two parts of 63 bits. Entries end where the
nearest integer is 0. Sums are of decimal numbers of 80 digits, so that each entry is right to the last bit; the script
checks that no entry is near a half.

    python3 Tests/Reference/gaussian_table.py --check   compares, and exits 1 on a difference
    python3 Tests/Reference/gaussian_table.py           writes the file
"""

import sys
from decimal import Decimal, getcontext
from pathlib import Path

getcontext().prec = 80
DEVIATION = 8
BITS = 126
FILE = Path(__file__).resolve().parents[2] / "Sources" / "CRLWEKernels" / "gaussian_table.h"


def entries():
    weights = [(Decimal(-x * x) / (2 * DEVIATION**2)).exp() for x in range(400)]
    total = weights[0] + 2 * sum(weights[1:])
    tails, tail = [0] * len(weights), Decimal(0)
    for x in range(len(weights) - 1, 0, -1):
        tail += 2 * weights[x]
        tails[x] = tail
    result = []
    for x in range(1, len(weights)):
        exact = tails[x] / total * 2**BITS
        assert abs(exact % 1 - Decimal("0.5")) > Decimal("1e-20")
        rounded = int(exact.to_integral_value())
        if rounded == 0:
            return result
        result.append(rounded)


def text():
    table = entries()
    lines = [
        "// Made by Tests/Reference/gaussian_table.py, which says what it is; not to be edited.",
        "#include <stdint.h>",
        "",
        f"#define HKMS_GAUSSIAN_ENTRIES {len(table)}",
        "",
        "static const uint64_t hkms_gaussian_tails[HKMS_GAUSSIAN_ENTRIES][2] = {",
    ]
    for entry in table:
        lines.append(f"    {{0x{entry >> 63:016x}u, 0x{entry & (1 << 63) - 1:016x}u}},")
    return "\n".join(lines + ["};", ""])


if __name__ == "__main__":
    made = text()
    if "--check" in sys.argv[1:]:
        same = FILE.read_text() == made
        print("as made" if same else f"{FILE.name} is not what this script makes")
        sys.exit(0 if same else 1)
    FILE.write_text(made)
