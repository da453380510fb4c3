"""HElayers running one of our networks. usage: helayers_inference.py MODEL.json INPUTS.json plain|encrypted

Answers the commands of hkms-bench inference: info, run STEP COUNT, check, memory, sizes, quit. The network is the same:
our model file is written as the Keras files that HElayers reads. Keys come with the context, all of those that the
library's own optimizer asks for.
"""
import json
import os
import sys
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import h5py
import numpy as np
import pyhelayers

import worker


def keras_files(model, folder):
    """model.json and model.h5 in the layout of Keras 2: alternating Dense and SquareActivation."""
    parts, entries, index = [], [], -1
    for layer in model["layers"]:
        if layer["type"] == "dense":
            index += 1
            name = f"dense_{index}"
            config = {"name": name, "units": len(layer["weights"]), "activation": "linear", "use_bias": True}
            if index == 0:
                config["batch_input_shape"] = [None, len(layer["weights"][0])]
            entries.append({"class_name": "Dense", "config": {"trainable": True, "dtype": "float32", **config}})
            kernel = np.array(layer["weights"], "f4").T
            parts.append((name, {"kernel:0": kernel, "bias:0": np.array(layer["bias"], "f4")}))
        else:
            name = f"square_{index}"
            entries.append({
                "class_name": "SquareActivation", "config": {"name": name, "trainable": True, "dtype": "float32"}})
            parts.append((name, {}))
    first = {
        "batch_input_shape": entries[0]["config"]["batch_input_shape"], "dtype": "float32", "sparse": False,
        "ragged": False, "name": "input",
    }
    layers = [{"class_name": "InputLayer", "config": first}] + entries
    paths = [os.path.join(folder, name) for name in ("model.json", "model.h5")]
    with open(paths[0], "w") as file:
        json.dump({
            "class_name": "Sequential", "config": {"name": "sequential", "layers": layers},
            "keras_version": "2.4.0", "backend": "tensorflow"}, file)
    with h5py.File(paths[1], "w") as file:
        for name, values in parts:
            group = file.create_group(name)
            names = [f"{name}/{key}".encode() for key in values]
            group.attrs["weight_names"] = np.array(names) if names else np.zeros((0,), "S1")
            for key, value in values.items():
                group.create_dataset(f"{name}/{key}", data=value)
        file.attrs["layer_names"] = np.array([name.encode() for name, _ in parts])
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.4.0"
    return paths


class Network:
    def __init__(self, model_path, inputs_path, weights):
        with open(model_path) as file:
            self.model = json.load(file)
        with open(inputs_path) as file:
            self.inputs = np.array(json.load(file))
        self.is_encrypted = weights == "encrypted"
        requirements = pyhelayers.HeRunRequirements()
        requirements.set_he_context_options([pyhelayers.HeContext.create(["SEAL_CKKS"])])
        requirements.optimize_for_batch_size(len(self.inputs))
        if not self.is_encrypted:
            requirements.set_model_encrypted(False)
        with tempfile.TemporaryDirectory() as folder:
            self.plain = pyhelayers.PlainModel.create(pyhelayers.PlainModelHyperParams(), keras_files(self.model, folder))
        self.profile = pyhelayers.HeModel.compile(self.plain, requirements)
        self.context = self.network = self.samples = self.predictions = self.scores = None

    def keys(self):
        self.context = pyhelayers.HeModel.create_context(self.profile)

    def encode(self):
        self.network = pyhelayers.NeuralNet(self.context)
        (self.network.encode_encrypt if self.is_encrypted else self.network.encode)(self.plain, self.profile)
        self.coder = self.network.create_model_io_encoder()

    def encrypt(self):
        self.samples = pyhelayers.EncryptedData(self.context)
        self.coder.encode_encrypt(self.samples, [self.inputs])

    def predict(self):
        self.predictions = pyhelayers.EncryptedData(self.context)
        self.network.predict(self.predictions, self.samples)

    def decrypt(self):
        self.scores = self.coder.decrypt_decode_output(self.predictions).ravel()[:len(self.inputs)]

    def secret(self):
        self.bare.load_secret_key(self.seed, True)

    steps = {"keys": keys, "model": encode, "samples": encrypt, "predict": predict, "decrypt": decrypt, "secret": secret}

    def saved(self, **chosen):
        functions = pyhelayers.PublicFunctions()
        functions.clear()
        for name, value in chosen.items():
            setattr(functions, name, value)
        return self.context.save_to_buffer(functions)

    def prepare(self, step):
        if step != "keys" and self.context is None:
            self.keys()
        if step in ("samples", "predict", "decrypt") and self.network is None:
            self.encode()
        if step in ("predict", "decrypt") and self.samples is None:
            self.encrypt()
        if step == "decrypt" and self.predictions is None:
            self.predict()
        if step == "secret":
            self.bare = pyhelayers.SealCkksContext()
            self.bare.load_from_buffer(self.saved(encrypt=True))
            self.seed = self.context.save_secret_key(seed_only=True)

    def run(self, step, count):
        self.prepare(step)
        times, processor = [], []
        for _ in range(count):
            if step == "model":
                self.network = None  # two encrypted models at once may not fit
            start, begun = time.perf_counter_ns(), time.process_time_ns()
            self.steps[step](self)
            times.append((time.perf_counter_ns() - start) / 1e6)
            processor.append((time.process_time_ns() - begun) / 1e6)
        return {"ms": times, "cpu": processor}

    def expected(self):
        values = self.inputs
        for layer in self.model["layers"]:
            if layer["type"] == "dense":
                values = values @ np.array(layer["weights"]).T + np.array(layer["bias"])
            else:
                values = values**2
        return values.ravel()

    def answer(self, words):
        if words[0] == "info":
            self.prepare("samples")
            chain = [int(prime).bit_length() for prime in self.context.get_modulus_chain()]
            return {"logN": int(2 * self.context.slot_count()).bit_length() - 1, "q": chain,
                    "library": "HElayers (SEAL)"}
        if words[0] == "run":
            return self.run(words[1], int(words[2]))
        if words[0] == "check":
            self.run("decrypt", 1)
            expected, threshold = self.expected(), self.model["output"]["threshold"]
            return {"largestError": float(np.abs(self.scores - expected).max()),
                    "classesChanged": int(np.sum((self.scores > threshold) != (expected > threshold))),
                    "records": len(expected)}
        if words[0] == "memory":
            return {"peakKiB": worker.status("VmHWM")}
        if words[0] == "sizes":
            self.prepare("decrypt")
            # Public and evaluation keys are saved together.
            bare = len(self.saved())
            public = len(self.saved(encrypt=True)) - bare
            return {"publicKey": public, "evaluationKeys": len(self.context.save_to_buffer()) - bare - public,
                    "samples": len(self.samples.save_to_buffer()),
                    "predictions": len(self.predictions.save_to_buffer()),
                    "model": len(self.network.save_to_buffer()) if self.is_encrypted else 0}
        raise ValueError("info, run, check, memory, sizes or quit")


def main():
    network = Network(*sys.argv[1:4])
    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            return
        try:
            reply = network.answer(words)
        except Exception as error:  # whatever the library throws
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
