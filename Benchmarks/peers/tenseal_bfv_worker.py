"""SEAL's BFV through TenSEAL's sealapi. usage: tenseal_bfv_worker.py LOGN CHAIN, then the protocol of worker.py."""
import array

import tenseal.sealapi as seal
import tenseal_worker
import worker

# SEAL's default is all that it allows; for one multiplication primes as short as those of hkms-bench.
SHALLOW = {12: [36, 36, 37], 13: [38, 38, 44], 14: [39, 39, 42], 15: [40, 40, 40]}


class SealBFV(tenseal_worker.Seal):
    def __init__(self, log_n, chain):
        self.log_n = log_n
        self.degree = 1 << log_n
        parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
        parameters.set_poly_modulus_degree(self.degree)
        if chain == "shallow":
            self.moduli = seal.CoeffModulus.Create(self.degree, SHALLOW[log_n])
        else:
            self.moduli = seal.CoeffModulus.BFVDefault(self.degree, seal.SEC_LEVEL_TYPE.TC128)
        self.bits = [modulus.bit_count() for modulus in self.moduli]
        parameters.set_coeff_modulus(self.moduli)
        parameters.set_plain_modulus(worker.PLAINTEXT_MODULUS)
        self.start(parameters)
        self.encoder = seal.BatchEncoder(self.context)
        self.values = worker.integers(self.degree, 7919)
        self.factors = worker.integers(self.degree, 5077)

    def info(self):
        return {
            "qBits": self.bits[:-1],
            "pBits": self.bits[-1:],
            "alpha": 1,
            "digits": len(self.bits) - 1,
            "totalBits": sum(self.bits),
        }

    def encode_into(self, values, out):
        self.encoder.encode(values, out)

    def decode(self, plaintext):
        return self.encoder.decode_int64(plaintext)

    def native(self):
        return array.array("q", self.values)

    def columns_key(self):
        make = lambda out: self.generator.create_galois_keys([2 * self.degree - 1], out)
        return self.once("columns", lambda: self.filled(seal.GaloisKeys, make))

    # Operations

    def multiplied(self, left, right):
        product = seal.Ciphertext()
        self.evaluator.multiply(left, right, product)
        self.evaluator.relinearize_inplace(product, self.made["relinearization"])
        return product

    def plain_multiplied(self, left, plaintext):
        return self.filled(seal.Ciphertext, lambda out: self.evaluator.multiply_plain(left, plaintext, out))

    def rotate(self):
        left, key = self.left(), self.rotation_key()
        return lambda: self.evaluator.rotate_rows(left, 1, key, seal.Ciphertext())

    def rotate_columns(self):
        left, key = self.left(), self.columns_key()
        return lambda: self.evaluator.rotate_columns(left, key, seal.Ciphertext())

    operations = {
        **tenseal_worker.Seal.operations,
        "rotate": rotate,
        "rotate-columns": rotate_columns,
    }

    # Results

    def check(self):
        left, right = self.left(), self.right()
        self.relinearization_key()
        out = lambda fill: self.filled(seal.Ciphertext, fill)
        return worker.wrong_slots(
            self.decoded, self.values, self.factors,
            encrypted=left,
            sum=out(lambda total: self.evaluator.add(left, right, total)),
            plainProduct=self.plain_multiplied(left, self.plaintext()),
            product=self.multiplied(left, right),
            rotated=out(lambda rotated: self.evaluator.rotate_rows(left, 1, self.rotation_key(), rotated)),
            columnsRotated=out(lambda rotated: self.evaluator.rotate_columns(left, self.columns_key(), rotated)))

    def sizes(self):
        sizes = super().sizes()
        del sizes["lastLevelCiphertext"]
        return sizes


if __name__ == "__main__":
    worker.serve(SealBFV)
