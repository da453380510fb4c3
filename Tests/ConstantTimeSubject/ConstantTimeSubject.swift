import CMemcheck
import Foundation
import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory

/// Everything that touches a seed, a secret key or an error, with those marked as secret, for memcheck to watch;
/// `ConstantTimeTests` runs it. What is published (keys, ciphertexts) is marked public where it is serialized, as
/// it would leave the machine there.
@main enum ConstantTimeSubject {
    static func main() throws {
        guard hkms_memcheck_runs() == 1 else {
            print("not under memcheck: this shows nothing")
            exit(3)
        }
        switch CommandLine.arguments.dropFirst().first ?? "" {
        case "branch": try branchOnSeed()
        case "index": try indexBySeed()
        case "flood": try flood()
        case let work: try flows(work)
        }
    }

    private static func secretSeed(_ byte: UInt8 = 1) throws -> Seed {
        var bytes = try SecretBytes(count: Seed.byteCount)
        bytes.withUnsafeMutableBytes { out in
            for index in out.indices { out[index] = byte &+ UInt8(index) }
            hkms_mark_secret(out.baseAddress, out.count)
        }
        guard let seed = Seed(bytes) else { exit(4) }
        return seed
    }

    /// As if it had left the machine.
    private static func published(_ bytes: [UInt8]) -> [UInt8] {
        bytes.withUnsafeBytes { hkms_mark_public($0.baseAddress, $0.count) }
        return bytes
    }

    // MARK: What must not be found

    private static func flows(_ work: String) throws {
        // One digit a prime, and digits of two primes over two special primes.
        let preset = ParameterPreset.named("ckks-12")!.parameters
        let wide = try EncryptionParameters(
            scheme: .ckks, logN: 11, q: primes[..<3].map { $0 }, p: primes[3...].map { $0 }, alpha: 2,
            security: .insecureForTestsOnly)
        for parameters in [preset, wide] {
            let context = try EncryptionContext.shared(parameters)
            let seed = try secretSeed()
            let secret = try seed.secretKey(context)
            let publicKey = try PublicKey(
                serialized: published(seed.publicKey(secret).serialized()), context: context)
            switch work {
            case "keys": try keys(context, seed, secret)
            case "encrypt": _ = try encrypted(publicKey, context).serialized()
            case "decrypt": try decrypt(publicKey, context, secret)
            default: exit(64)
            }
        }
        // Keys are made alike in both schemes.
        if work != "keys" { try integers(work) }
    }

    /// BFV, whose decryption rounds what it must not look at.
    private static func integers(_ work: String) throws {
        let context = try EncryptionContext.shared(BFVParameterPreset.named("bfv-12")!.parameters)
        let seed = try secretSeed()
        let secret = try seed.secretKey(context)
        let publicKey = try PublicKey(serialized: published(seed.publicKey(secret).serialized()), context: context)
        let encoder = try BFVEncoder(context)
        let plaintext = try encoder.encode([1, -2, 32768])
        // What comes after encoding does not look at the message.
        plaintext.polynomial.withRow(0) { hkms_mark_secret($0, context.degree * 8) }
        let evaluator = try BFVEvaluator(context)
        for ciphertext in [try publicKey.encrypt(plaintext), try secret.encrypt(plaintext)] {
            let received = try Ciphertext(serialized: published(ciphertext.serialized()), context: context)
            _ = try evaluator.subtract(evaluator.multiply(received, plaintext), plaintext).serialized()
            guard work == "decrypt" else { continue }
            let message = try secret.decryptBFV(received)
            message.polynomial.withRow(0) { hkms_mark_public($0, context.degree * 8) }
            guard try encoder.decode(message, count: 4) == [1, -2, 32768, 0] else { exit(7) }
        }
    }

    private static func keys(
        _ context: EncryptionContext, _ seed: borrowing Seed, _ secret: borrowing SecretKey
    ) throws {
        let level = context.maximumLevel
        for id in [
            EvaluationKeyID(kind: .relinearization, level: level), EvaluationKeyID(kind: .galois, galois: 3, level: 1),
        ] {
            _ = published(try seed.evaluationKey(id, secret).serialized())
        }
        let other = try secretSeed(99).secretKey(context)
        _ = published(
            try seed.switchingKey(EvaluationKeyID(kind: .switching, level: level), from: other, to: secret).serialized()
        )
        let commitment = published(try seed.commitment(context.parameterDigest))
        var matches = try seed.matches(commitment: commitment, parameterDigest: context.parameterDigest)
        // The answer is published, whichever it is.
        withUnsafeMutableBytes(of: &matches) { hkms_mark_public($0.baseAddress, $0.count) }
        guard matches else { exit(5) }
        _ = try seed.manifestKey(context.parameterDigest)
        _ = try Seed.generate(mixing: SecretBytes(randomCount: 32))
    }

    private static func encrypted(_ key: PublicKey, _ context: EncryptionContext) throws -> Ciphertext {
        try key.encrypt(CKKSEncoder(context).encode([1, -2.5, 3], scale: 0x1p20))
    }

    private static func decrypt(
        _ key: PublicKey, _ context: EncryptionContext, _ secret: borrowing SecretKey
    ) throws {
        let encoder = try CKKSEncoder(context)
        for ciphertext in [
            try encrypted(key, context), try secret.encrypt(encoder.encode([1, -2.5, 3], scale: 0x1p20)),
        ] {
            let received = try Ciphertext(serialized: published(ciphertext.serialized()), context: context)
            let message = try secret.decryptRaw(received)
            // The plaintext belongs to whoever asked; decoding it is not claimed to take constant time.
            for row in 0..<message.polynomial.rowCount {
                message.polynomial.withRow(row) { hkms_mark_public($0, context.degree * 8) }
            }
            let values = try encoder.decodeReal(message)
            guard abs(values[0] - 1) < 0.1, abs(values[1] + 2.5) < 0.1 else { exit(6) }
        }
    }

    /// Noise of one word a sample and of two, added to residues.
    private static func flood() throws {
        let degree = 2048
        for deviation in [0x1p40, 0x1p70] {
            var key = try SecretBytes(randomCount: 32)
            key.withUnsafeMutableBytes { hkms_mark_secret($0.baseAddress, $0.count) }
            let samples = try DiscreteGaussian(deviationAtLeast: deviation)!.samples(degree, key: key)
            for prime in primes {
                let modulus = try NTTModulus(value: prime, degree: degree)
                var (row, scratch) = ([UInt64](repeating: 1, count: degree), [UInt64](repeating: 0, count: degree))
                samples.add(to: &row, modulus: modulus, scratch: &scratch)
                row.withUnsafeBytes { hkms_mark_public($0.baseAddress, $0.count) }
                guard row.contains(where: { $0 != 1 }) else { exit(7) }
            }
        }
    }

    // MARK: What must be found, or the tool does not look

    private static func branchOnSeed() throws {
        try secretSeed().withSecretBytes { bytes in
            bytes.withUnsafeBytes { _ = hkms_jumps_on_bytes($0.bytes, $0.count) }
        }
    }

    private static func indexBySeed() throws {
        let table = (0..<256).map { _ in UInt8.random(in: 0...255) }
        var sum = 0
        try secretSeed().withSecretBytes { bytes in
            table.withUnsafeBufferPointer { table in
                bytes.withUnsafeBytes { for byte in $0 { sum &+= Int(table[Int(byte)]) } }
            }
        }
        withUnsafeMutableBytes(of: &sum) { hkms_mark_public($0.baseAddress, $0.count) }
        print(sum > 0)
    }

    /// Primes of 40 bits that are 1 modulo 4096.
    private static let primes = Array(
        sequence(first: UInt64(1) << 40 + 1) { $0 - 4096 }.lazy.filter { Primes.isPrime($0) }.prefix(5))
}
