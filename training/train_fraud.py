"""Trains the credit-card-fraud model: 29 inputs, then 20, 5 and 1 units, each dense layer followed by a square.

    python3 train_fraud.py creditcard-fraud.csv [--output ../models/credit-card-fraud.json] [--evaluate]

The score is a polynomial of degree 8 in the inputs. Such a polynomial may be huge where it was not trained, and a
number that encryption cannot hold is lost. So what is minimised is the log loss of the classes plus a price on the
largest score that any valid record can have, by interval arithmetic through the network (Adam, full batches, in numpy).
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # sums in one order, hence the same digits on every run

import argparse
import csv
import json

import numpy as np

NAMES = [f"V{index}" for index in range(1, 29)] + ["Amount"]
UNITS = [29, 20, 5, 1]
LARGEST_AMOUNT = 30000
THRESHOLD = 0.5
SHARPNESS = 6  # of the logistic loss, logit = SHARPNESS * (score - THRESHOLD)
PRICE = 0.03  # of the logarithm of the largest possible score
RIDGE = 1e-4
STEPS = 3000
DIGITS = 7


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    values = np.array([[float(row[name]) for name in NAMES] for row in rows])
    return values, np.array([int(float(row["Class"])) for row in rows])


def ranges(values):
    """What is valid: the ends of the data and an eighth of their distance more, rounded outward; and the unit that each
    column is divided by, the larger end: zero stays zero."""
    low, high = values.min(axis=0), values.max(axis=0)
    margin = (high - low) / 8
    low, high = np.floor(low - margin), np.ceil(high + margin)
    low[-1], high[-1] = 0, LARGEST_AMOUNT
    return low, high, np.maximum(-low, high)


def forward(layers, inputs):
    """Activations, inputs first, and what was squared."""
    activations, sums = [inputs], []
    for weights, bias in layers:
        sums.append(activations[-1] @ weights.T + bias)
        activations.append(sums[-1] ** 2)
    return activations, sums


def intervals(layers, low, high):
    """By layer: centre and radius of its inputs, of its sums, and the bound of its squares (at least zero)."""
    centre, radius, steps = (low + high) / 2, (high - low) / 2, []
    for weights, bias in layers:
        middle, spread = weights @ centre + bias, np.abs(weights) @ radius
        bound = (np.abs(middle) + spread) ** 2
        steps.append((centre, radius, middle, spread, bound))
        centre = radius = bound / 2
    return steps


def loss_gradients(layers, inputs, target, importance):
    activations, sums = forward(layers, inputs)
    logits = SHARPNESS * (activations[-1][:, 0] - THRESHOLD)
    probability = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    slope = (importance * (probability - target) * SHARPNESS / len(target))[:, None]
    gradients = []
    for index in reversed(range(len(layers))):
        weights = layers[index][0]
        slope = slope * 2 * sums[index]
        gradients.insert(0, [slope.T @ activations[index] + RIDGE * weights, slope.sum(axis=0)])
        slope = slope @ weights
    return gradients


def add_price(gradients, layers, low, high):
    """Adds the gradient of PRICE * log(1 + bound of the score)."""
    steps = intervals(layers, low, high)
    slope = PRICE / (1 + steps[-1][4])
    for index in reversed(range(len(layers))):
        weights = layers[index][0]
        centre, radius, middle, spread, _ = steps[index]
        of_spread = 2 * (np.abs(middle) + spread) * slope
        of_middle = of_spread * np.sign(middle)
        gradients[index][0] += np.outer(of_middle, centre) + np.outer(of_spread, radius) * np.sign(weights)
        gradients[index][1] += of_middle
        slope = (weights.T @ of_middle + np.abs(weights).T @ of_spread) / 2


def train(inputs, target, low, high, seed):
    source = np.random.default_rng(seed)
    spread = np.maximum(inputs.std(axis=0), 0.05)
    layers = []
    for index, (width, units) in enumerate(zip(UNITS, UNITS[1:])):
        weights = source.standard_normal((units, width)) / np.sqrt(width)
        layers.append([weights * 0.3 / spread if index == 0 else weights, np.full(units, 0.3)])
    # Half-way between every row alike and both classes alike.
    importance = np.sqrt(np.where(target > 0, 0.5 / target.mean(), 0.5 / (1 - target).mean()))
    importance /= importance.mean()
    first = [[np.zeros_like(part) for part in layer] for layer in layers]
    second = [[np.zeros_like(part) for part in layer] for layer in layers]
    for step in range(1, STEPS + 1):
        gradients = loss_gradients(layers, inputs, target, importance)
        add_price(gradients, layers, low, high)
        rate = 0.02 * (1 - step / STEPS) + 1e-4
        for layer, gradient, mean, square in zip(layers, gradients, first, second):
            for part in range(2):
                mean[part] = 0.9 * mean[part] + 0.1 * gradient[part]
                square[part] = 0.999 * square[part] + 0.001 * gradient[part] ** 2
                layer[part] = layer[part] - rate * (mean[part] / (1 - 0.9**step)) / (
                    np.sqrt(square[part] / (1 - 0.999**step)) + 1e-8)
    return layers


def score(layers, inputs):
    return forward(layers, inputs)[0][-1][:, 0]


def figures(scores, target):
    """Accuracy, share of frauds found, share of legitimate rows passed, area under the ROC curve."""
    predicted, fraud = scores > THRESHOLD, target > 0
    return [np.mean(predicted == fraud), np.mean(predicted[fraud]), np.mean(~predicted[~fraud]),
            np.mean(scores[fraud][:, None] > scores[~fraud])]


def evaluate(values, target, seed, folds=10, repeats=3):
    """Cross-validation; the ranges, too, are of the rows trained on, and a row outside of them is counted as wrong."""
    source = np.random.default_rng(seed)
    results, refused = [], 0
    for repeat in range(repeats):
        fold = np.empty(len(target), int)
        for label in (0, 1):
            rows = source.permutation(np.flatnonzero(target == label))
            fold[rows] = np.arange(len(rows)) % folds
        scores = np.empty(len(target))
        for held in range(folds):
            rows = fold != held
            low, high, unit = ranges(values[rows])
            layers = train(values[rows] / unit, target[rows], low / unit, high / unit, seed + held)
            scores[~rows] = score(layers, values[~rows] / unit)
            outside = ((values[~rows] < low) | (values[~rows] > high)).any(axis=1)
            refused += outside.sum()
            # Neither label: wrong for both.
            scores[np.flatnonzero(~rows)[outside]] = np.where(target[~rows][outside] > 0, 0, np.inf)
        results.append(figures(scores, target))
    mean, spread = np.mean(results, axis=0), np.std(results, axis=0, ddof=1)
    print(f"{folds}-fold cross-validation, {repeats} repeats: accuracy {mean[0]:.4f} (sd over repeats {spread[0]:.4f}), "
          f"frauds found {mean[1]:.4f}, legitimate passed {mean[2]:.4f}, area under ROC {mean[3]:.4f}; "
          f"{refused / repeats:.1f} rows a repeat refused")


def rounded(number):
    return float(f"{number:.{DIGITS}g}")


def model_text(layers, low, high, unit, rows):
    """The model file: JSON with one row of weights a line, so that differences read well."""
    def row(numbers):
        return "[" + ", ".join(json.dumps(rounded(number)) for number in numbers) + "]"

    description = (
        "Credit-card fraud from 28 principal components and the amount. A score: above 0.5 means fraud. "
        "For demonstration."
    )
    source = (
        f"Trained on {rows} rows of a sample of the ULB credit-card fraud data (Dal Pozzolo et al.; DbCL) "
        "by training/train_fraud.py"
    )
    output = {
        "name": "fraud", "threshold": THRESHOLD, "labels": ["legitimate", "fraud"],
        "target": {"column": "Class", "positiveAbove": 0},
    }
    inputs = [
        {"name": name, "encoding": "scaled", "minimum": 0, "maximum": int(scale), "valid": [int(first), int(last)]}
        for name, scale, first, last in zip(NAMES, unit, low, high)
    ]
    lines = ["{", '  "format": "hkms.model.v1",', '  "name": "credit-card-fraud",', '  "version": 1,']
    lines += [f'  "description": {json.dumps(description)},', f'  "source": {json.dumps(source)},', '  "inputs": [']
    lines.append(",\n".join("    " + json.dumps(entry) for entry in inputs))
    lines += ["  ],", '  "layers": [']
    for index, (weights, bias) in enumerate(layers):
        lines.append(f'    {{"type": "dense", "inputs": {weights.shape[1]}, "units": {weights.shape[0]}, "weights": [')
        lines.append(",\n".join("      " + row(unit) for unit in weights))
        lines += ["    ],", f'      "bias": {row(bias)}}},']
        lines.append('    {"type": "square"}' + ("" if index == len(layers) - 1 else ","))
    lines += ["  ],", f'  "output": {json.dumps(output)}', "}"]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description="Trains the credit-card-fraud model.")
    parser.add_argument("data", help="CSV with header: V1 to V28, Amount and Class")
    parser.add_argument("--output", default=os.path.join(os.path.dirname(__file__), "../models/credit-card-fraud.json"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--evaluate", action="store_true", help="measure by cross-validation; writes no model")
    options = parser.parse_args()
    values, target = read(options.data)
    print(f"{len(target)} rows, {np.sum(target > 0)} of fraud")
    if options.evaluate:
        evaluate(values, target, options.seed)
        return
    low, high, unit = ranges(values)
    text = model_text(train(values / unit, target, low / unit, high / unit, options.seed), low, high, unit, len(target))
    model = json.loads(text)
    layers = [(np.array(layer["weights"]), np.array(layer["bias"])) for layer in model["layers"] if "weights" in layer]
    scores = score(layers, values / unit)
    accuracy, found, passed, area = figures(scores, target)
    print(f"on the training rows: accuracy {accuracy:.4f}, frauds found {found:.4f}, legitimate passed {passed:.4f}, "
          f"area under ROC {area:.4f}; scores {scores.min():.4f}...{scores.max():.3f}, none nearer to the threshold "
          f"than {np.abs(scores - THRESHOLD).min():.4f}")
    bounds = [np.sqrt(step[4].max()) for step in intervals(layers, low / unit, high / unit)]
    print(f"sums before the squares, over all valid records: at most {', '.join(f'{bound:.2f}' for bound in bounds)}")
    with open(options.output, "w", encoding="utf-8") as file:
        file.write(text)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
