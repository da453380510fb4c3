import ComplexModule
import DataFiles
import Foundation
import HKMSClient
import HomomorphicEncryption
import RLWE
import RealModule
import SecretKeys
import SecretMemory
import ServiceKit
import TestSupport
import Testing

/// What a client with an account finds out about its secret key over HTTP: everything from one raw decryption, nothing
/// from all the flooded ones that its budget gives.
@Suite(.serialized) struct KeyRecoveryTests {
    /// A key set of alice's for the model, what she knows of it, and the key that she is after.
    private struct Target {
        let installation: Installation
        let info: KeySetInfo
        let context: EncryptionContext
        let encoder: CKKSEncoder
        /// Coefficients of the secret key, from the sealed seed.
        let truth: [Int64]

        var alice: HKMSClient { installation.alice }

        init(_ installation: Installation, release: String, budget: Int) async throws {
            var request = RegisterRequest(
                requestId: release, mode: "direct", model: "heart-disease", release: release)
            request.decryptionBudget = budget
            self.installation = installation
            info = try await installation.alice.register(request).body
            let body = info.parameters
            let parameters = try EncryptionParameters(
                scheme: .ckks, logN: body.logN, q: body.q, p: body.p, alpha: body.alpha)
            context = try EncryptionContext.shared(parameters)
            encoder = try CKKSEncoder(context)
            let stored = try await StoredSeed(
                installation.object(info.id, ""), mode: .direct, installation: "hkms", owner: "developer",
                parameters: parameters, kms: installation.softwareKMS(), key: installation.key)
            truth = try Self.secretKey(of: stored.seed, context)
        }

        private static func secretKey(of seed: [UInt8], _ context: EncryptionContext) throws -> [Int64] {
            guard let seed = Seed(try SecretBytes(copying: seed)) else { throw CocoaError(.coderInvalidValue) }
            let modulus = context.ciphertextBasis(level: 1).moduli[0]
            var row = [UInt64](repeating: 0, count: context.degree)
            let key = try seed.secretKey(context)
            row.withUnsafeMutableBufferPointer {
                key.expand(modulus, into: $0.baseAddress!)
                modulus.inverseTransform($0.baseAddress!)
            }
            return row.map { modulus.centered($0) }
        }

        /// One that alice chooses the values of, and one that a unit computed.
        func ciphertexts(_ values: [Complex<Double>]) async throws -> [[UInt8]] {
            let vector = EncryptRequest.Vector(real: values.map(\.real), imaginary: values.map(\.imaginary))
            let own = try await alice.encrypt(vectors: [vector], keySet: info.id).body
            let records = try RecordFile(Array(Data(contentsOf: Installation.records))).records.prefix(64)
            let inputs = try await alice.encrypt(
                records: Array(records), model: "heart-disease", keySet: info.id
            ).body
            let job = try await alice.finished(
                try await alice.openJob(keySet: info.id, model: "heart-disease", ciphertexts: inputs).body)
            try #require(job.state == "evaluated", "\(job.failure ?? "")")
            return own + (try await alice.results(ofJob: job.id).body)
        }

        func decrypt(_ ciphertext: [UInt8]) async throws -> [Complex<Double>] {
            let answer = try await alice.decrypt([ciphertext], keySet: info.id, complex: true).body
            #expect(answer.release == info.release)
            let vector = try #require(answer.vectors.first)
            return zip(vector.real, try #require(vector.imaginary)).map { Complex($0, $1) }
        }

        /// How many coefficients of the key are found.
        func found(_ ciphertext: [UInt8], _ values: [Complex<Double>]) throws -> Int {
            let guess = try KeyRecovery.guess(
                from: Ciphertext(serialized: ciphertext, context: context), decryptedTo: values, encoder)
            return zip(guess, truth).count { $0 == $1 }
        }
    }

    @Test("one raw decryption gives the whole key, of an input as of a result; flooded ones give none of it")
    func recovery() async throws {
        try await Installation.use { installation in
            let raw = try await Target(installation, release: "raw", budget: 2)
            #expect(raw.truth.allSatisfy { abs($0) <= 1 } && raw.truth.contains { $0 != 0 })
            var random = SeededGenerator(1)
            let values = (0..<raw.encoder.slotCount).map { _ in
                Complex(Double.random(in: -1...1, using: &random), .random(in: -1...1, using: &random))
            }
            for ciphertext in try await raw.ciphertexts(values) {
                #expect(try await raw.found(ciphertext, raw.decrypt(ciphertext)) == raw.truth.count)
            }

            let times = 4
            let flooded = try await Target(installation, release: "flooded", budget: 2 * times)
            let step = try #require(flooded.info.flooding).step
            // Halfway between two steps, where the least noise decides which way a value is rounded.
            let between = [Complex<Double>](repeating: Complex(step / 2, -step / 2), count: flooded.encoder.slotCount)
            let ciphertexts = try await flooded.ciphertexts(between)
            for (index, ciphertext) in ciphertexts.enumerated() {
                var mean = [Complex<Double>](repeating: .zero, count: flooded.encoder.slotCount)
                var earlier: [Complex<Double>]?
                for _ in 0..<times {
                    let released = try await flooded.decrypt(ciphertext)
                    // Coefficients are right by chance, one in 2^50.
                    #expect(try flooded.found(ciphertext, released) < 3)
                    mean = zip(mean, released).map { $0 + $1.divided(by: Double(times)) }
                    if index == 0, let earlier {
                        // It is fresh noise that hides the key, not the rounding: without it, or with less than the
                        // ciphertext's own, a value would be rounded as it was before. 0.1 are twelve deviations.
                        let other = zip(released, earlier).count { $0.real != $1.real }
                        #expect(abs(Double(other) / Double(released.count) - 0.5) < 0.1)
                    }
                    earlier = released
                }
                #expect(try flooded.found(ciphertext, mean) < 3)
            }
            await expectProblem("budget-exhausted", status: 403) {
                _ = try await flooded.decrypt(ciphertexts[0])
            }
            #expect(try await !installation.alice.keySet(flooded.info.id).body.tainted)
        }
    }
}
