import Crypto
import CryptoExtras
import SecretMemory
import Synchronization

/// Self-tests in the manner of FIPS 140-3 (ISO/IEC 19790, 7.10): each algorithm that the keystore uses answers a
/// published vector before the first keystore is opened, and the generator is watched for as long as it is used. After
/// a failure nothing answers until the process is started again.
///
/// The integrity of the program itself is not tested: whoever can alter it can alter the test. Packages and their
/// signatures are for that.
package final class SelfTests: Sendable {
    package enum Algorithm: String, Sendable, CaseIterable {
        case sha256 = "SHA-256"
        case hmac = "HMAC-SHA-256"
        case scrypt = "scrypt"
        case sealing = "AES-256-GCM sealing"
        case opening = "AES-256-GCM opening"
        case generator = "the random generator"
    }

    private enum State {
        case untested
        case passed
        case failed(Algorithm)
    }

    /// Of this process.
    static let module = SelfTests()

    private let state = Mutex(State.untested)
    private let corrupted: Algorithm?

    /// - Parameter corrupted: whose answer is altered before it is compared, so that a test sees what follows.
    package init(corrupting corrupted: Algorithm? = nil) { self.corrupted = corrupted }

    /// Returns where every test passed; the first call runs them.
    func require() throws(SoftwareKMSError) {
        let failed: Algorithm?
        do throws(SecretMemoryError) {
            failed = try state.withLock { state throws(SecretMemoryError) -> Algorithm? in
                switch state {
                case .untested:
                    let failed = try firstFailure()
                    state = failed.map { .failed($0) } ?? .passed
                    return failed
                case .passed: return nil
                case .failed(let algorithm): return algorithm
                }
            }
        } catch {
            // Not a failed test: there is no memory to run it in.
            throw .memory(error)
        }
        if let failed { throw .selfTestFailed(algorithm: failed.rawValue) }
    }

    private func firstFailure() throws(SecretMemoryError) -> Algorithm? {
        for algorithm in Algorithm.allCases {
            guard try passes(algorithm) else { return algorithm }
        }
        return nil
    }

    /// Random bytes of the operating system's generator, watched as they come.
    /// - Throws: also where the generator repeats itself, now and for ever after.
    func randomBytes(_ count: Int) throws(SoftwareKMSError) -> SecretBytes {
        try require()
        let bytes: SecretBytes
        do throws(SecretMemoryError) { bytes = try SecretBytes(randomCount: count) } catch { throw .memory(error) }
        guard bytes.withUnsafeBytes({ GeneratorHealth.isWithoutLongRepetition($0) }) else {
            fail(.generator)
            throw .selfTestFailed(algorithm: Algorithm.generator.rawValue)
        }
        return bytes
    }

    /// The error state: what a test that failed later than at the start leads to.
    package func fail(_ algorithm: Algorithm) { state.withLock { $0 = .failed(algorithm) } }

    private func passes(_ algorithm: Algorithm) throws(SecretMemoryError) -> Bool {
        switch algorithm {
        case .sha256:
            let digest = SHA256.hash(data: KnownAnswer.sha256.message)
            return answers(Array(digest), KnownAnswer.sha256.digest, algorithm)
        case .hmac: return answers(hmac(), KnownAnswer.hmac.code, algorithm)
        case .scrypt: return answers(scrypt(), KnownAnswer.scrypt.derived, algorithm)
        case .sealing: return answers(sealed(), KnownAnswer.gcm.box, algorithm)
        case .opening:
            guard answers(try opened(KnownAnswer.gcm.box), KnownAnswer.gcm.plaintext, algorithm) else { return false }
            return try refusesForgeries()
        case .generator: return try isGeneratorHealthy()
        }
    }

    private func answers(_ computed: [UInt8]?, _ expected: [UInt8], _ algorithm: Algorithm) -> Bool {
        guard var computed, !computed.isEmpty else { return false }
        if corrupted == algorithm { computed[0] ^= 1 }
        return computed == expected
    }

    // MARK: Algorithms, by the calls that the keystore makes

    private func hmac() -> [UInt8] {
        Array(
            HMAC<SHA256>.authenticationCode(
                for: KnownAnswer.hmac.message, using: SymmetricKey(data: KnownAnswer.hmac.key)))
    }

    private func scrypt() -> [UInt8]? {
        let vector = KnownAnswer.scrypt
        let derived = try? KDF.Scrypt.deriveKey(
            from: vector.passphrase, salt: vector.salt, outputByteCount: vector.derived.count, rounds: vector.rounds,
            blockSize: ScryptCost.blockSize, parallelism: vector.parallelism)
        return derived?.withUnsafeBytes { Array($0) }
    }

    private func sealed() -> [UInt8]? {
        let vector = KnownAnswer.gcm
        return vector.plaintext.withUnsafeBytes { plaintext in
            vector.key.withUnsafeBytes { key in
                SecretAEAD.seal(plaintext, key: key, associatedData: vector.associatedData, nonce: vector.nonce)
            }
        }
    }

    private func opened(
        _ box: [UInt8], associatedData: [UInt8] = KnownAnswer.gcm.associatedData
    ) throws(SecretMemoryError) -> [UInt8]? {
        var key = try SecretBytes(count: KnownAnswer.gcm.key.count)
        key.withUnsafeMutableBytes { $0.copyBytes(from: KnownAnswer.gcm.key) }
        let opened = try key.withUnsafeBytes { key throws(SecretMemoryError) -> SecretBytes? in
            try SecretAEAD.open(box, key: key, associatedData: associatedData)
        }
        guard let opened else { return nil }
        return opened.withUnsafeBytes { Array($0) }
    }

    /// One bit of the nonce, the ciphertext, the tag or the associated data: none opens.
    private func refusesForgeries() throws(SecretMemoryError) -> Bool {
        let box = KnownAnswer.gcm.box
        for index in [0, 12, box.count - 1] {
            var forged = box
            forged[index] ^= 1
            if try opened(forged) != nil { return false }
        }
        var context = KnownAnswer.gcm.associatedData
        context[0] ^= 1
        return try opened(box, associatedData: context) == nil
    }

    private func isGeneratorHealthy() throws(SecretMemoryError) -> Bool {
        let sample = try SecretBytes(randomCount: GeneratorHealth.sampleBytes)
        return corrupted != .generator
            && sample.withUnsafeBytes {
                GeneratorHealth.isWithoutLongRepetition($0) && GeneratorHealth.isProportionate($0)
            }
    }
}
