"""The inputs of the heart-disease model: 13 columns of UCI Heart Disease (Cleveland), coded as 27 numbers."""

import csv

# Order matters: it is the order of the network's inputs. `minimum` and `maximum` are the ends of the training data,
# rounded outward; outside of `valid` a record is refused as implausible.
INPUTS = [
    {"name": "age", "encoding": "scaled", "minimum": 29, "maximum": 77, "valid": [0, 120]},
    {"name": "trestbps", "encoding": "scaled", "minimum": 90, "maximum": 200, "valid": [50, 260]},
    {"name": "chol", "encoding": "scaled", "minimum": 100, "maximum": 600, "valid": [50, 700]},
    {"name": "thalach", "encoding": "scaled", "minimum": 60, "maximum": 210, "valid": [40, 230]},
    {"name": "oldpeak", "encoding": "scaled", "minimum": 0, "maximum": 7, "valid": [0, 10]},
    {"name": "sex", "encoding": "binary"},
    {"name": "fbs", "encoding": "binary"},
    {"name": "exang", "encoding": "binary"},
    {"name": "cp", "encoding": "oneHot", "categories": [1, 2, 3, 4], "missing": False},
    {"name": "restecg", "encoding": "oneHot", "categories": [0, 1, 2], "missing": False},
    {"name": "slope", "encoding": "oneHot", "categories": [1, 2, 3], "missing": False},
    {"name": "ca", "encoding": "oneHot", "categories": [0, 1, 2, 3], "missing": True},
    {"name": "thal", "encoding": "oneHot", "categories": [3, 6, 7], "missing": True},
]

WIDTH = 27
SCALED = 5  # the scaled inputs come first

# The order of the columns in the data.
COLUMNS = [
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal",
]


def encode(record):
    """The 27 inputs of one record (column name -> text); raises ValueError for a value outside of the schema."""
    values = []
    for entry in INPUTS:
        name, text = entry["name"], record[entry["name"]].strip()
        if entry["encoding"] == "scaled":
            number = float(text)
            low, high = entry["valid"]
            if not low <= number <= high:
                raise ValueError(f"{name} = {text} is outside of {low}...{high}")
            values.append((number - entry["minimum"]) / (entry["maximum"] - entry["minimum"]))
        elif entry["encoding"] == "binary":
            if float(text) not in (0, 1):
                raise ValueError(f"{name} = {text} is neither 0 nor 1")
            values.append(float(text))
        else:
            missing = text == "?"
            if missing and not entry["missing"]:
                raise ValueError(f"{name} may not be missing")
            if not missing and float(text) not in entry["categories"]:
                raise ValueError(f"{name} = {text} is not one of {entry['categories']}")
            values += [float(not missing and float(text) == category) for category in entry["categories"]]
            if entry["missing"]:
                values.append(float(missing))
    assert len(values) == WIDTH
    return values


def read(path):
    """The records of a CSV file with a header line."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
