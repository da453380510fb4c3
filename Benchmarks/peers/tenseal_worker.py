"""Microsoft SEAL through TenSEAL's sealapi. usage: tenseal_worker.py LOGN, then the protocol of worker.py."""
import array
import importlib.metadata

import tenseal.sealapi as seal
import worker


class Seal(worker.Peer):
    library = f"SEAL (TenSEAL {importlib.metadata.version('tenseal')})"

    def __init__(self, log_n):
        self.log_n = log_n
        self.degree = 1 << log_n
        self.scale = 2.0**worker.SCALE_BITS
        self.bits = [60] + [40] * worker.LEVELS[log_n] + [60]
        parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
        parameters.set_poly_modulus_degree(self.degree)
        self.moduli = seal.CoeffModulus.Create(self.degree, self.bits)
        parameters.set_coeff_modulus(self.moduli)
        self.start(parameters)
        self.encoder = seal.CKKSEncoder(self.context)
        self.values = worker.values(self.degree // 2, 7919)
        self.factors = worker.values(self.degree // 2, 5077)

    def start(self, parameters):
        """What both schemes have."""
        self.context = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
        if not self.context.parameters_set():
            raise ValueError("SEAL refuses the parameters")
        self.generator = seal.KeyGenerator(self.context)
        self.secret = self.generator.secret_key()
        self.evaluator = seal.Evaluator(self.context)
        self.decryptor = seal.Decryptor(self.context, self.secret)
        self.made = {}

    def info(self):
        return {
            "qBits": self.bits[:-1],
            "pBits": self.bits[-1:],
            "alpha": 1,
            "digits": len(self.bits) - 1,
            "levels": worker.LEVELS[self.log_n],
            "totalBits": sum(self.bits),
        }

    # Operands, each made when it is first needed.

    def once(self, name, make):
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]

    def filled(self, kind, fill):
        out = kind()
        fill(out)
        return out

    # These three are all that encoding differs in between schemes.

    def encode_into(self, values, out):
        self.encoder.encode(values, self.scale, out)

    def decode(self, plaintext):
        return self.encoder.decode_double(plaintext)

    def native(self):
        return array.array("d", self.values)

    def encoded(self, values):
        return self.filled(seal.Plaintext, lambda out: self.encode_into(values, out))

    def public_key(self):
        return self.once("pk", lambda: self.filled(seal.PublicKey, self.generator.create_public_key))

    def encryptor(self):
        return self.once("encryptor", lambda: seal.Encryptor(self.context, self.public_key()))

    def plaintext(self):
        return self.once("plaintext", lambda: self.encoded(self.values))

    def encrypted(self, plaintext):
        return self.filled(seal.Ciphertext, lambda out: self.encryptor().encrypt(plaintext, out))

    def left(self):
        return self.once("left", lambda: self.encrypted(self.plaintext()))

    def right(self):
        return self.once("right", lambda: self.encrypted(self.encoded(self.factors)))

    def relinearization_key(self):
        return self.once("relinearization", lambda: self.filled(seal.RelinKeys, self.generator.create_relin_keys))

    def rotation_key(self):
        return self.once("rotation", self.make_rotation_key)

    def make_rotation_key(self):
        # Galois element 3 is a rotation by one step.
        return self.filled(seal.GaloisKeys, lambda out: self.generator.create_galois_keys([3], out))

    # Operations

    def secret_key(self):
        return lambda: seal.KeyGenerator(self.context)

    def key_pair(self):
        return lambda: seal.KeyGenerator(self.context).create_public_key(seal.PublicKey())

    def make_relinearization_key(self):
        return lambda: self.generator.create_relin_keys(seal.RelinKeys())

    def encode(self):
        # SEAL fills up with zeros and does the same work, but eight numbers cost Python nothing.
        few = self.values[:8]
        return lambda: self.encode_into(few, seal.Plaintext())

    def encode_list(self):
        return lambda: self.encode_into(self.values, seal.Plaintext())

    def encrypt(self):
        encryptor, plaintext = self.encryptor(), self.plaintext()
        return lambda: encryptor.encrypt(plaintext, seal.Ciphertext())

    def decrypt(self):
        left = self.left()
        return lambda: self.decryptor.decrypt(left, seal.Plaintext())

    def decrypt_decode(self):
        left = self.left()

        def run():
            plaintext = seal.Plaintext()
            self.decryptor.decrypt(left, plaintext)
            self.decode(plaintext)

        return run

    def list_conversion(self):
        # Numbers to a Python list, as the binding makes one of what it decodes. It is taken off.
        return self.native().tolist

    def add(self):
        left, right = self.left(), self.right()
        return lambda: self.evaluator.add(left, right, seal.Ciphertext())

    def multiplied(self, left, right):
        product, out = seal.Ciphertext(), seal.Ciphertext()
        self.evaluator.multiply(left, right, product)
        self.evaluator.relinearize_inplace(product, self.made["relinearization"])
        self.evaluator.rescale_to_next(product, out)
        return out

    def plain_multiplied(self, left, plaintext):
        product, out = seal.Ciphertext(), seal.Ciphertext()
        self.evaluator.multiply_plain(left, plaintext, product)
        self.evaluator.rescale_to_next(product, out)
        return out

    def plain_multiply(self):
        left, plaintext = self.left(), self.plaintext()
        return lambda: self.plain_multiplied(left, plaintext)

    def multiply(self):
        left, right = self.left(), self.right()
        self.relinearization_key()
        return lambda: self.multiplied(left, right)

    def rotate(self):
        left, key = self.left(), self.rotation_key()
        return lambda: self.evaluator.rotate_vector(left, 1, key, seal.Ciphertext())

    operations = {
        "secret-key": secret_key,
        "key-pair": key_pair,
        "relinearization-key": make_relinearization_key,
        "rotation-key": lambda self: self.make_rotation_key,
        "encode": encode,
        "encode-list": encode_list,
        "encrypt": encrypt,
        "decrypt": decrypt,
        "decrypt-decode": decrypt_decode,
        "list-conversion": list_conversion,
        "add": add,
        "plain-multiply": plain_multiply,
        "multiply": multiply,
        "rotate": rotate,
    }

    # Results

    def decoded(self, ciphertext):
        plaintext = self.filled(seal.Plaintext, lambda out: self.decryptor.decrypt(ciphertext, out))
        return self.decode(plaintext)

    def check(self):
        left, right = self.left(), self.right()
        self.relinearization_key()
        total = self.filled(seal.Ciphertext, lambda out: self.evaluator.add(left, right, out))
        rotated = self.filled(
            seal.Ciphertext, lambda out: self.evaluator.rotate_vector(left, 1, self.rotation_key(), out))
        x, y = self.values, self.factors
        error = lambda ciphertext, expected: worker.largest_error(self.decoded(ciphertext), expected)
        return {
            "encrypted": error(left, x),
            "sum": error(total, [a + b for a, b in zip(x, y)]),
            "plainProduct": error(self.plain_multiplied(left, self.plaintext()), [a * a for a in x]),
            "product": error(self.multiplied(left, right), [a * b for a, b in zip(x, y)]),
            "rotated": error(rotated, x[1:] + x[:1]),
        }

    def sizes(self):
        last = seal.Ciphertext()
        self.evaluator.mod_switch_to(self.left(), self.context.last_parms_id(), last)
        sizes = {
            "publicKey": worker.file_size(self.public_key().save),
            "relinearizationKey": worker.file_size(self.relinearization_key().save),
            "rotationKey": worker.file_size(self.rotation_key().save),
            "freshCiphertext": worker.file_size(self.left().save),
            "lastLevelCiphertext": worker.file_size(last.save),
        }
        # With half of each key replaced by a seed, where the binding lets one ask for that.
        for name, make in (
            ("publicKey", lambda: self.generator.create_public_key()),
            ("relinearizationKey", lambda: self.generator.create_relin_keys()),
            ("rotationKey", lambda: self.generator.create_galois_keys([3])),
        ):
            try:
                sizes[name + "Seeded"] = worker.file_size(make().save)
            except Exception:
                pass
        return sizes


if __name__ == "__main__":
    worker.serve(Seal)
