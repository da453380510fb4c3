"""OpenFHE through its own Python binding. usage: openfhe_worker.py LOGN, then the protocol of worker.py."""
import importlib.metadata

import numpy
import openfhe
import worker


class OpenFHE(worker.Peer):
    library = f"OpenFHE {'.'.join(importlib.metadata.version('openfhe').split('.')[:3])}"

    def __init__(self, log_n):
        self.log_n = log_n
        self.degree = 1 << log_n
        self.levels = worker.LEVELS[log_n]
        parameters = openfhe.CCParamsCKKSRNS()
        parameters.SetMultiplicativeDepth(self.levels)
        parameters.SetScalingModSize(worker.SCALE_BITS)
        # 60 bits would make the special prime too short for a digit of one prime.
        parameters.SetFirstModSize(55)
        parameters.SetScalingTechnique(openfhe.ScalingTechnique.FIXEDMANUAL)
        parameters.SetKeySwitchTechnique(openfhe.KeySwitchTechnique.HYBRID)
        parameters.SetBatchSize(self.degree // 2)
        # Longer digits need a second special prime of 60 bits, which these rings have no room for.
        parameters.SetNumLargeDigits(self.levels + 1)
        self.start(parameters)
        self.values = worker.values(self.degree // 2, 7919)
        self.factors = worker.values(self.degree // 2, 5077)

    def start(self, parameters):
        """What both schemes have."""
        parameters.SetRingDim(self.degree)
        parameters.SetSecurityLevel(openfhe.SecurityLevel.HEStd_128_classic)
        parameters.SetSecretKeyDist(openfhe.SecretKeyDist.UNIFORM_TERNARY)
        self.context = openfhe.GenCryptoContext(parameters)
        for feature in ("PKE", "KEYSWITCH", "LEVELEDSHE"):
            self.context.Enable(getattr(openfhe.PKESchemeFeature, feature))
        self.keys = self.context.KeyGen()
        self.made = {}

    def info(self):
        q_bits = [55] + [worker.SCALE_BITS] * self.levels
        return {
            "qBits": q_bits,
            "pBits": [60],
            "alpha": 1,
            "digits": self.levels + 1,
            "levels": self.levels,
            "totalBits": sum(q_bits) + 60,
        }

    def once(self, name, make):
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]

    def encoded(self, values):
        return self.context.MakeCKKSPackedPlaintext(values)

    def plaintext(self):
        return self.once("plaintext", lambda: self.encoded(self.values))

    def left(self):
        return self.once("left", lambda: self.context.Encrypt(self.keys.publicKey, self.plaintext()))

    def right(self):
        return self.once("right", lambda: self.context.Encrypt(self.keys.publicKey, self.encoded(self.factors)))

    # OpenFHE keeps evaluation keys by secret key, for ever, and makes none twice. So each that is timed is for a secret
    # key of its own, after those before it were dropped; these make ours again where that dropped it.

    def need_relinearization_key(self):
        self.context.EvalMultKeyGen(self.keys.secretKey)

    def need_rotation_key(self):
        self.context.EvalRotateKeyGen(self.keys.secretKey, [1])

    def without_relinearization_keys(self):
        openfhe.ClearEvalMultKeys()
        return self.context.KeyGen().secretKey

    def without_rotation_keys(self):
        self.context.ClearEvalAutomorphismKeys()
        return self.context.KeyGen().secretKey

    # Operations

    def key_pair(self):
        return self.context.KeyGen

    def make_relinearization_key(self):
        return (self.without_relinearization_keys, self.context.EvalMultKeyGen)

    def make_rotation_key(self):
        return (self.without_rotation_keys, lambda secret: self.context.EvalRotateKeyGen(secret, [1]))

    def encode(self):
        array = numpy.array(self.values)
        return lambda: self.context.MakeCKKSPackedPlaintext(array)

    def encrypt(self):
        plaintext, key = self.plaintext(), self.keys.publicKey
        return lambda: self.context.Encrypt(key, plaintext)

    def decrypt_decode(self):
        left, key = self.left(), self.keys.secretKey
        return lambda: self.context.Decrypt(key, left)

    def add(self):
        left, right = self.left(), self.right()
        return lambda: self.context.EvalAdd(left, right)

    def plain_multiply(self):
        left, plaintext = self.left(), self.plaintext()
        return lambda: self.context.Rescale(self.context.EvalMult(left, plaintext))

    def multiply(self):
        self.need_relinearization_key()
        left, right = self.left(), self.right()
        return lambda: self.context.Rescale(self.context.EvalMult(left, right))

    def rotate(self):
        self.need_rotation_key()
        left = self.left()
        return lambda: self.context.EvalRotate(left, 1)

    operations = {
        "key-pair": key_pair,
        "relinearization-key": make_relinearization_key,
        "rotation-key": make_rotation_key,
        "encode": encode,
        "encrypt": encrypt,
        "decrypt-decode": decrypt_decode,
        "add": add,
        "plain-multiply": plain_multiply,
        "multiply": multiply,
        "rotate": rotate,
    }

    # Results

    def error(self, ciphertext, expected):
        plaintext = self.context.Decrypt(self.keys.secretKey, ciphertext)
        plaintext.SetLength(self.degree // 2)
        return worker.largest_error(plaintext.GetRealPackedValue(), expected)

    def check(self):
        left, right, context = self.left(), self.right(), self.context
        self.need_relinearization_key()
        self.need_rotation_key()
        x, y = self.values, self.factors
        return {
            "encrypted": self.error(left, x),
            "sum": self.error(context.EvalAdd(left, right), [a + b for a, b in zip(x, y)]),
            "plainProduct": self.error(
                context.Rescale(context.EvalMult(left, self.plaintext())), [a * a for a in x]),
            "product": self.error(context.Rescale(context.EvalMult(left, right)), [a * b for a, b in zip(x, y)]),
            "rotated": self.error(context.EvalRotate(left, 1), x[1:] + x[:1]),
        }

    def sizes(self):
        # All keys are serialized together: there must be one of each.
        openfhe.ClearEvalMultKeys()
        self.context.ClearEvalAutomorphismKeys()
        self.need_relinearization_key()
        self.need_rotation_key()
        serialized = lambda value: len(openfhe.Serialize(value, openfhe.BINARY))
        sizes = {
            "publicKey": serialized(self.keys.publicKey),
            "relinearizationKey": worker.file_size(
                lambda path: self.context.SerializeEvalMultKey(path, openfhe.BINARY)),
            "rotationKey": worker.file_size(
                lambda path: self.context.SerializeEvalAutomorphismKey(path, openfhe.BINARY)),
            "freshCiphertext": serialized(self.left()),
        }
        try:
            sizes["lastLevelCiphertext"] = serialized(self.context.Compress(self.left(), 1))
        except Exception:
            pass
        return sizes


if __name__ == "__main__":
    worker.serve(OpenFHE)
