"""Makes up plausible records for demonstrations and tests: no patient's data, and no row of the training data.

Every column is drawn by itself from a fixed distribution, set by hand from general knowledge of the schema, except
that the highest heart rate falls with age. The records carry no target.

    python3 make_records.py [--count 64] [--seed 2] > ../models/heart-disease-made-up.csv
"""

import argparse
import random

from heart_schema import COLUMNS, encode

# Category -> share, in percent.
SHARES = {
    "sex": {"0": 35, "1": 65},
    "cp": {"1": 10, "2": 20, "3": 25, "4": 45},
    "fbs": {"0": 85, "1": 15},
    "restecg": {"0": 50, "1": 4, "2": 46},
    "exang": {"0": 65, "1": 35},
    "slope": {"1": 45, "2": 45, "3": 10},
    "ca": {"0": 55, "1": 20, "2": 12, "3": 5, "?": 8},
    "thal": {"3": 51, "6": 7, "7": 36, "?": 6},
}


def clamped(number, low, high):
    return max(low, min(high, number))


def record(source):
    """One made-up record: column name -> text."""
    age = round(clamped(source.gauss(54, 9), 30, 76))
    values = {
        "age": age,
        "trestbps": round(clamped(source.gauss(131, 17), 95, 195)),
        "chol": round(clamped(source.gauss(245, 48), 130, 450)),
        "thalach": round(clamped(source.gauss(204 - age, 20), 80, 205)),
        "oldpeak": round(0.0 if source.random() < 0.33 else clamped(source.expovariate(1 / 1.5), 0.1, 6.0), 1),
    }
    for name, shares in SHARES.items():
        values[name] = source.choices(list(shares), weights=list(shares.values()))[0]
    return {name: f"{values[name]:g}" if isinstance(values[name], float) else str(values[name]) for name in COLUMNS}


def main():
    parser = argparse.ArgumentParser(description="Makes up plausible heart-disease records as CSV.")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()
    source = random.Random(options.seed)
    print(",".join(COLUMNS))
    for _ in range(options.count):
        made = record(source)
        encode(made)  # refuses a value outside of the schema
        print(",".join(made[name] for name in COLUMNS))


if __name__ == "__main__":
    main()
