"""Trains the heart-disease model: a network of 27 inputs, 50 units, a square activation and 1 output (a logit).

    python3 train_heart.py heart-cleveland.csv [--output ../models/heart-disease.json] [--evaluate]

Such a network is exactly a quadratic form y = z' M z with z = (inputs, 1). So M is fitted directly, by logistic
regression with a ridge penalty on the linear and a stronger one on the quadratic part (a convex problem, solved by
Newton's method on the kernel a*<u,v> + b*<u,v>^2), and then split into 50 squares of linear forms. Averaging models is
averaging their M, so an ensemble is one network again.

The penalties are chosen by repeated stratified cross-validation on the log loss; the best few settings are averaged.
--evaluate repeats that whole procedure inside an outer cross-validation (nested), and prints what it measures.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # sums in one order, hence the same digits on every run

import argparse
import itertools
import json

import numpy as np

from heart_schema import INPUTS, SCALED, WIDTH, encode, read

UNITS = 50
ENSEMBLE = 6  # settings averaged
INNER_FOLDS, INNER_REPEATS = 5, 4
HIDDEN_LIMIT = 3.9  # of |pre-activation|, over all valid inputs; the format promises 4
LOGIT_LIMIT = 16.0
DIGITS = 7

# What a setting is: how inputs are brought to one scale; the prior variance of linear weights; that of quadratic
# ones relative to it; and the weight of a row by severity (target 0...4): grade 1 is the least certain disease.
GRID = list(itertools.product(
    ["half", "unit"],
    [0.1, 0.3, 1.0],
    [0.01, 0.03, 0.1],
    [(1, 1, 1, 1, 1), (1, 0.7, 1, 1.3, 1.3)],
))


def scales(inputs, mode):
    """Centre and scale of each input. half: scaled inputs by two standard deviations, categories as they are (Gelman,
    2008); unit: all by one standard deviation, floored so that rare categories do not blow up."""
    spread = inputs.std(axis=0)
    if mode == "half":
        return inputs.mean(axis=0), np.where(np.arange(WIDTH) < SCALED, 2 * spread, 1.0)
    return inputs.mean(axis=0), np.maximum(spread, 0.15)


def kernel_logistic(kernel, labels, weights):
    """Coefficients and intercept that minimise weighted log loss + a'Ka/2, by Newton's method."""
    count = len(labels)
    coefficients, intercept = np.zeros(count), 0.0
    system = np.zeros((count + 1, count + 1))
    system[:count, count] = system[count, :count] = 1
    for _ in range(50):
        logits = kernel @ coefficients + intercept
        probability = 1 / (1 + np.exp(-logits))
        curvature = np.maximum(weights * probability * (1 - probability), 1e-9)
        system[:count, :count] = kernel
        system[np.arange(count), np.arange(count)] += 1 / curvature
        response = logits + weights * (labels - probability) / curvature
        solution = np.linalg.solve(system, np.append(response, 0))
        change = np.abs(solution[:count] - coefficients).max()
        coefficients, intercept = solution[:count], solution[count]
        if change < 1e-10:
            break
    return coefficients, intercept


def fit(inputs, target, setting):
    """The symmetric 28 x 28 matrix M of y = z' M z, z = (inputs, 1)."""
    mode, linear, ratio, severity = setting
    centre, scale = scales(inputs, mode)
    scaled = (inputs - centre) / scale
    products = scaled @ scaled.T
    quadratic = linear * ratio
    weights = np.array(severity, float)[target]
    coefficients, intercept = kernel_logistic(linear * products + quadratic * products**2, target > 0, weights)
    form = np.zeros((WIDTH + 1, WIDTH + 1))
    form[:WIDTH, :WIDTH] = quadratic * (scaled.T * coefficients) @ scaled
    form[:WIDTH, WIDTH] = form[WIDTH, :WIDTH] = linear * (coefficients @ scaled) / 2
    form[WIDTH, WIDTH] = intercept
    change = np.zeros_like(form)  # z -> (scaled inputs, 1)
    change[:WIDTH, :WIDTH] = np.diag(1 / scale)
    change[:WIDTH, WIDTH] = -centre / scale
    change[WIDTH, WIDTH] = 1
    return change.T @ form @ change


def evaluate(form, inputs):
    extended = np.hstack([inputs, np.ones((len(inputs), 1))])
    return np.einsum("ij,jk,ik->i", extended, form, extended)


def stratified(target, folds, source):
    """The fold of each row: classes and grades of severity spread evenly."""
    fold = np.empty(len(target), int)
    start = 0
    for grade in range(5):
        rows = source.permutation(np.flatnonzero(target == grade))
        fold[rows] = (start + np.arange(len(rows))) % folds
        start += len(rows)
    return fold


def log_loss(logits, positive):
    return np.logaddexp(0, np.where(positive, -logits, logits)).mean()


def choose(inputs, target, seed):
    """The best settings by cross-validated log loss, best first, each with that loss."""
    source = np.random.default_rng(seed)
    losses = np.zeros(len(GRID))
    for _ in range(INNER_REPEATS):
        fold = stratified(target, INNER_FOLDS, source)
        for held in range(INNER_FOLDS):
            train, test = fold != held, fold == held
            for index, setting in enumerate(GRID):
                logits = evaluate(fit(inputs[train], target[train], setting), inputs[test])
                losses[index] += log_loss(logits, target[test] > 0) / (INNER_REPEATS * INNER_FOLDS)
    order = np.argsort(losses, kind="stable")[:ENSEMBLE]
    return [(GRID[index], losses[index]) for index in order]


def train(inputs, target, seed):
    """The averaged form, and the settings it averages with their losses."""
    chosen = choose(inputs, target, seed)
    return np.mean([fit(inputs, target, setting) for setting, _ in chosen], axis=0), chosen


def valid_box():
    """Lowest and highest value of each input over all valid records; never narrower than 0...1."""
    low, high = np.zeros(WIDTH), np.ones(WIDTH)
    for index, entry in enumerate(INPUTS[:SCALED]):
        width = entry["maximum"] - entry["minimum"]
        low[index] = min(0, (entry["valid"][0] - entry["minimum"]) / width)
        high[index] = max(1, (entry["valid"][1] - entry["minimum"]) / width)
    return low, high


def network(form, centre, seed):
    """(weights 50 x 27, biases, output weights, output bias) with z' form z = sum of output weights * squares.

    The positive and negative parts of the form are each spread over their units by a random orthonormal frame
    (W = V Q with Q Q' = 1, so W W' = V V'): all units then are of like size, and none is a special direction whose
    square needs more precision than the rest. The split is made about `centre`, where squares are small."""
    source = np.random.default_rng(seed)
    shift = np.eye(WIDTH + 1)
    shift[:WIDTH, WIDTH] = centre
    values, vectors = np.linalg.eigh(shift.T @ form @ shift)
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(WIDTH + 1)])
    large = np.abs(values) > 1e-9 * np.abs(values).max()
    parts = [large & (values > 0), large & (values < 0)]
    spare = UNITS - sum(part.sum() for part in parts)
    counts = [parts[0].sum() + spare // 2, parts[1].sum() + spare - spare // 2]
    units, outputs = [], []
    low, high = valid_box()
    for part, count, sign in zip(parts, counts, (1.0, -1.0)):
        factor = vectors[:, part] * np.sqrt(np.abs(values[part]))
        frame, _ = np.linalg.qr(source.standard_normal((count, part.sum())))
        for direction in (factor @ frame.T).T:
            bias = direction[WIDTH] - direction[:WIDTH] @ centre
            unit = np.append(direction[:WIDTH], bias)
            # Over the whole box, so for more than real records: a bound that needs no assumption on one-hot inputs.
            top = bias + np.maximum(unit[:WIDTH] * low, unit[:WIDTH] * high).sum()
            bottom = bias + np.minimum(unit[:WIDTH] * low, unit[:WIDTH] * high).sum()
            stretch = HIDDEN_LIMIT / max(abs(top), abs(bottom))
            units.append(unit * stretch)
            outputs.append(sign / stretch**2)
    units = np.array(units)
    return units[:, :WIDTH], units[:, WIDTH], np.array(outputs), 0.0


def rounded(number):
    return float(f"{number:.{DIGITS}g}")


def model_text(layers, rows):
    """The model file: JSON with one row of weights a line, so that differences read well."""
    weights, biases, outputs, output_bias = layers

    def row(numbers):
        return "[" + ", ".join(json.dumps(rounded(number)) for number in numbers) + "]"

    description = (
        "Heart disease present or absent from 13 clinical values. A logit: above 0 means present. "
        "For demonstration; not for medical use."
    )
    source = (
        f"Trained on {rows} rows of UCI Heart Disease, Cleveland (Janosi, Steinbrunn, Pfisterer, Detrano; CC BY 4.0) "
        "by training/train_heart.py"
    )
    output = {
        "name": "heart disease", "threshold": 0, "labels": ["absent", "present"],
        "target": {"column": "target", "positiveAbove": 0},
    }
    lines = ["{", '  "format": "hkms.model.v1",', '  "name": "heart-disease",', '  "version": 1,']
    lines += [f'  "description": {json.dumps(description)},', f'  "source": {json.dumps(source)},', '  "inputs": [']
    lines.append(",\n".join("    " + json.dumps(entry) for entry in INPUTS))
    lines += ["  ],", '  "layers": [', f'    {{"type": "dense", "inputs": {WIDTH}, "units": {UNITS}, "weights": [']
    lines.append(",\n".join("      " + row(unit) for unit in weights))
    lines += ["    ],", f'      "bias": {row(biases)}}},', '    {"type": "square"},']
    lines += [f'    {{"type": "dense", "inputs": {UNITS}, "units": 1, "weights": [', "      " + row(outputs)]
    lines += ["    ],", f'      "bias": {row([output_bias])}}}', "  ],", f'  "output": {json.dumps(output)}', "}"]
    return "\n".join(lines) + "\n"


def run(model, inputs):
    """Hidden pre-activations and logits of a parsed model file."""
    first, _, last = model["layers"]
    hidden = inputs @ np.array(first["weights"]).T + np.array(first["bias"])
    return hidden, hidden**2 @ np.array(last["weights"][0]) + last["bias"][0]


def random_records(count, source):
    """Inputs drawn evenly over the schema: scaled ones from 0...1, categories with equal shares."""
    columns = []
    for entry in INPUTS:
        if entry["encoding"] == "scaled":
            columns.append(source.random((count, 1)))
        elif entry["encoding"] == "binary":
            columns.append(source.integers(0, 2, (count, 1)).astype(float))
        else:
            size = len(entry["categories"]) + entry["missing"]
            columns.append(np.eye(size)[source.integers(0, size, count)])
    return np.hstack(columns)


def extreme_logits(form, low, high, source, starts=200):
    """The lowest and highest logit found in a box by coordinate search from random starts (not a proof)."""
    found = [np.inf, -np.inf]
    for index, sign in enumerate((-1, 1)):
        for _ in range(starts):
            point = np.append(source.uniform(low, high), 1.0)
            best = sign * point @ form @ point
            while True:
                before = best
                for axis in source.permutation(WIDTH):
                    slope = 2 * (form[axis] @ point - form[axis, axis] * point[axis])
                    candidates = [low[axis], high[axis]]
                    if form[axis, axis] != 0:
                        candidates.append(np.clip(-slope / (2 * form[axis, axis]), low[axis], high[axis]))
                    values = [sign * (form[axis, axis] * value**2 + slope * value) for value in candidates]
                    point[axis] = candidates[int(np.argmax(values))]
                best = sign * point @ form @ point
                if best <= before + 1e-9:
                    break
            found[index] = sign * max(sign * found[index], best)
    return found


def report_ranges(model, inputs, seed):
    source = np.random.default_rng(seed)
    weights, biases = np.array(model["layers"][0]["weights"]), np.array(model["layers"][0]["bias"])
    outputs = np.array(model["layers"][2]["weights"][0])
    low, high = valid_box()
    for name, points in [
        ("training rows", inputs),
        ("100000 random records", random_records(100_000, source)),
        ("100000 points of [0,1]^27", source.random((100_000, WIDTH))),
    ]:
        hidden, logits = run(model, points)
        print(f"{name}: hidden {hidden.min():.3f}...{hidden.max():.3f}, logit {logits.min():.3f}...{logits.max():.3f}, "
              f"|logit| < 0.01 in {np.mean(np.abs(logits) < 0.01):.2%}, "
              f"sum of weighted squares at most {(hidden**2 @ np.abs(outputs)).max():.2f}")
    largest = 0.0
    for ends in ((np.zeros(WIDTH), np.ones(WIDTH)), (low, high)):
        top = biases + np.maximum(weights * ends[0], weights * ends[1]).sum(axis=1)
        bottom = biases + np.minimum(weights * ends[0], weights * ends[1]).sum(axis=1)
        largest = np.abs([top, bottom]).max()
        print(f"hidden bound over {'[0,1]^27' if ends[1].max() == 1 else 'the valid ranges'}: {largest:.3f}")
    assert largest <= 4, largest
    extended = np.hstack([weights, biases[:, None]])
    form = (extended.T * outputs) @ extended
    unit = extreme_logits(form, np.zeros(WIDTH), np.ones(WIDTH), source)
    wide = extreme_logits(form, low, high, source)
    print(f"extreme logits found in [0,1]^27: {unit[0]:.2f}, {unit[1]:.2f}; "
          f"in the valid ranges: {wide[0]:.2f}, {wide[1]:.2f}")
    assert max(map(abs, unit)) <= LOGIT_LIMIT
    print(f"weights: hidden |w| <= {np.abs(weights).max():.3f}, bias <= {np.abs(biases).max():.3f}, "
          f"output {np.abs(outputs).min():.4f}...{np.abs(outputs).max():.4f}")
    assert max(np.abs(weights).max(), np.abs(biases).max(), np.abs(outputs).max()) <= 4


def nested(inputs, target, seed, folds=10, repeats=10, splits=100, held_rows=59):
    """Prints the accuracy of the whole procedure, the choice of settings included, on rows it has not seen."""
    source = np.random.default_rng(seed)
    positive = target > 0
    accuracies, areas, losses = [], [], []
    for repeat in range(repeats):
        fold = stratified(target, folds, source)
        logits = np.empty(len(target))
        for held in range(folds):
            rows = fold != held
            form, _ = train(inputs[rows], target[rows], seed + 1 + repeat * folds + held)
            logits[~rows] = evaluate(form, inputs[~rows])
        accuracies.append(np.mean((logits > 0) == positive))
        areas.append(np.mean(logits[positive][:, None] > logits[~positive]))
        losses.append(log_loss(logits, positive))
    print(f"nested {folds}-fold cross-validation, {repeats} repeats: accuracy {np.mean(accuracies):.4f} "
          f"(sd over repeats {np.std(accuracies, ddof=1):.4f}, {min(accuracies):.4f}...{max(accuracies):.4f}), "
          f"area under ROC {np.mean(areas):.4f}, log loss {np.mean(losses):.4f}", flush=True)
    accuracies = []
    for split in range(splits):
        chosen = source.permutation(len(target)) < held_rows
        form, _ = train(inputs[~chosen], target[~chosen], seed + 10_000 + split)
        accuracies.append(np.mean((evaluate(form, inputs[chosen]) > 0) == positive[chosen]))
    print(f"{splits} random splits with {held_rows} rows held out: accuracy {np.mean(accuracies):.4f} "
          f"(sd {np.std(accuracies, ddof=1):.4f}, {min(accuracies):.4f}...{max(accuracies):.4f}), "
          f"at least 0.80 in {np.mean(np.array(accuracies) >= 0.8):.0%}")


def main():
    parser = argparse.ArgumentParser(description="Trains the heart-disease model.")
    parser.add_argument("data", help="CSV with header: the 13 columns and target; ? marks a missing value")
    parser.add_argument("--output", default=os.path.join(os.path.dirname(__file__), "../models/heart-disease.json"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--evaluate", action="store_true",
                        help="measure by nested cross-validation (ten minutes); writes no model")
    options = parser.parse_args()
    records = read(options.data)
    inputs = np.array([encode(record) for record in records])
    target = np.array([int(record["target"]) for record in records])
    print(f"{len(records)} rows, {np.sum(target > 0)} with disease")
    if options.evaluate:
        nested(inputs, target, options.seed)
        return
    form, chosen = train(inputs, target, options.seed)
    for setting, loss in chosen:
        print(f"chosen: {setting}, cross-validated log loss {loss:.4f}")
    text = model_text(network(form, inputs.mean(axis=0), options.seed), len(records))
    model = json.loads(text)
    logits = run(model, inputs)[1]
    difference = np.abs(logits - evaluate(form, inputs)).max()
    print(f"network against quadratic form: {difference:.1e} at most; training accuracy "
          f"{np.mean((logits > 0) == (target > 0)):.4f}; smallest |logit| {np.abs(logits).min():.4f}")
    assert difference < 1e-4
    report_ranges(model, inputs, options.seed)
    with open(options.output, "w", encoding="utf-8") as file:
        file.write(text)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
