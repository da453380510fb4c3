"""OpenFHE's BFV through its own Python binding. usage: openfhe_bfv_worker.py LOGN CHAIN, then worker.py's protocol.

All parameters but N, t and the depth are OpenFHE's own choice.
"""
import math

import openfhe
import openfhe_worker
import worker

# "deep": the most multiplications for which it finds parameters.
DEPTH = {"shallow": {13: 1, 14: 1, 15: 1}, "deep": {13: 3, 14: 10, 15: 20}}


class OpenFHEBFV(openfhe_worker.OpenFHE):
    def __init__(self, log_n, chain):
        self.log_n = log_n
        self.degree = 1 << log_n
        if log_n not in DEPTH[chain]:
            raise ValueError("OpenFHE finds no parameters for this ring")
        self.depth = DEPTH[chain][log_n]
        parameters = openfhe.CCParamsBFVRNS()
        parameters.SetPlaintextModulus(worker.PLAINTEXT_MODULUS)
        parameters.SetMultiplicativeDepth(self.depth)
        self.start(parameters)
        self.values = worker.integers(self.degree, 7919)
        self.factors = worker.integers(self.degree, 5077)

    def info(self):
        # It switches keys without a special modulus, by digits of one prime.
        bits = round(math.log2(float(self.context.GetModulus())))
        primes = -(-bits // 60)
        return {
            "qBits": [bits // primes] * primes,
            "pBits": [],
            "alpha": 1,
            "digits": primes,
            "levels": self.depth,
            "totalBits": bits,
        }

    def encoded(self, values):
        return self.context.MakePackedPlaintext(values)

    def encode(self):
        # It fills up with zeros and does the same work, but eight numbers cost Python nothing.
        few = self.values[:8]
        return lambda: self.context.MakePackedPlaintext(few)

    def multiplied(self):
        return self.context.EvalMult(self.left(), self.right())

    def plain_multiply(self):
        left, plaintext = self.left(), self.plaintext()
        return lambda: self.context.EvalMult(left, plaintext)

    def multiply(self):
        self.need_relinearization_key()
        self.left(), self.right()
        return self.multiplied

    operations = {
        **openfhe_worker.OpenFHE.operations,
        "encode": encode,
        "plain-multiply": plain_multiply,
        "multiply": multiply,
    }

    # Results

    def decoded(self, ciphertext):
        plaintext = self.context.Decrypt(self.keys.secretKey, ciphertext)
        plaintext.SetLength(self.degree)
        return plaintext.GetPackedValue()

    def check(self):
        left, right, context = self.left(), self.right(), self.context
        self.need_relinearization_key()
        self.need_rotation_key()
        return worker.wrong_slots(
            self.decoded, self.values, self.factors,
            encrypted=left,
            sum=context.EvalAdd(left, right),
            plainProduct=context.EvalMult(left, self.plaintext()),
            product=self.multiplied(),
            rotated=context.EvalRotate(left, 1))

    def sizes(self):
        sizes = super().sizes()
        sizes.pop("lastLevelCiphertext", None)
        return sizes


if __name__ == "__main__":
    worker.serve(OpenFHEBFV)
