"""HElayers with SEAL inside. usage: pyhelayers_worker.py LOGN, then the protocol of worker.py.

Keys are made with the context and not one by one, so key generation is not among its operations.
"""
import importlib.metadata
import math

import pyhelayers
import worker


class HElayers(worker.Peer):
    library = f"HElayers {importlib.metadata.version('pyhelayers')} (SEAL)"

    def __init__(self, log_n):
        self.log_n = log_n
        self.degree = 1 << log_n
        requirement = pyhelayers.HeConfigRequirement(self.degree // 2, worker.LEVELS[log_n], worker.SCALE_BITS, 20)
        functions = pyhelayers.PublicFunctions()
        functions.clear()
        functions.encrypt = True
        functions.relinearize = True
        functions.rotate = pyhelayers.RotationSetType.CUSTOM_ROTATIONS
        functions.set_rotation_steps([1])
        requirement.public_functions = functions
        self.context = pyhelayers.SealCkksContext()
        self.context.init(requirement)
        self.q_bits = [int(prime).bit_length() for prime in self.context.get_modulus_chain()]
        if 2 * self.context.slot_count() != self.degree or len(self.q_bits) != worker.LEVELS[log_n] + 1:
            raise ValueError(f"HElayers chose {self.q_bits} at N = {2 * self.context.slot_count()}")
        if abs(math.log2(self.context.get_default_scale()) - worker.SCALE_BITS) > 0.01:
            raise ValueError("HElayers chose another scale")
        self.encoder = pyhelayers.Encoder(self.context)
        self.values = worker.values(self.degree // 2, 7919)
        self.factors = worker.values(self.degree // 2, 5077)
        self.plaintext = self.encoder.encode(self.values)
        self.left = self.encoder.encrypt_tile(self.plaintext)
        self.right = self.encoder.encode_encrypt(self.factors)

    def info(self):
        return {
            "qBits": self.q_bits,
            "pBits": [60],
            "alpha": 1,
            "digits": len(self.q_bits),
            "levels": len(self.q_bits) - 1,
            "totalBits": sum(self.q_bits) + 60,
        }

    def result(self, change):
        tile = pyhelayers.CTile(self.left)
        change(tile)
        return tile

    operations = {
        # As in tenseal_worker.py: a short list, the same work.
        "encode": lambda self: lambda few=self.values[:8]: self.encoder.encode(few),
        "encrypt": lambda self: lambda: self.encoder.encrypt_tile(self.plaintext),
        "decrypt-decode": lambda self: lambda: self.encoder.decrypt_decode_double(self.left),
        "add": lambda self: lambda: self.result(lambda tile: tile.add(self.right)),
        # These relinearize and rescale.
        "plain-multiply": lambda self: lambda: self.result(lambda tile: tile.multiply_plain(self.plaintext)),
        "multiply": lambda self: lambda: self.result(lambda tile: tile.multiply(self.right)),
        "rotate": lambda self: lambda: self.result(lambda tile: tile.rotate(1)),
    }

    def check(self):
        x, y = self.values, self.factors
        error = lambda tile, expected: float(
            worker.largest_error(self.encoder.decrypt_decode_double(tile), expected))
        lower = self.left.get_chain_index() - 1
        for name in ("plain-multiply", "multiply"):
            if self.operations[name](self)().get_chain_index() != lower:
                raise ValueError(f"{name} did not rescale")
        return {
            "encrypted": error(self.left, x),
            "sum": error(self.result(lambda tile: tile.add(self.right)), [a + b for a, b in zip(x, y)]),
            "plainProduct": error(self.result(lambda tile: tile.multiply_plain(self.plaintext)), [a * a for a in x]),
            "product": error(self.result(lambda tile: tile.multiply(self.right)), [a * b for a, b in zip(x, y)]),
            "rotated": error(self.result(lambda tile: tile.rotate(1)), x[1:] + x[:1]),
        }

    def sizes(self):
        def saved(**chosen):
            functions = pyhelayers.PublicFunctions()
            functions.clear()
            for name, value in chosen.items():
                setattr(functions, name, value)
            if "rotate" in chosen:
                functions.set_rotation_steps([1])
            return len(self.context.save_to_buffer(functions))

        bare = saved()
        last = pyhelayers.CTile(self.left)
        last.set_chain_index(0)
        return {
            "publicKey": saved(encrypt=True) - bare,
            "relinearizationKey": saved(relinearize=True) - bare,
            "rotationKey": saved(rotate=pyhelayers.RotationSetType.CUSTOM_ROTATIONS) - bare,
            "freshCiphertext": len(self.left.save_to_buffer()),
            "lastLevelCiphertext": len(last.save_to_buffer()),
        }


if __name__ == "__main__":
    worker.serve(HElayers)
