import ArgumentParser
import Attestation
import Foundation
import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory

struct Vectors: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print test vectors of derivation suite 1.",
        discussion: """
            For a published test seed and parameters, prints the parameter digest, the commitment, and of the secret, \
            public and evaluation keys the seeds rho and SHA-256 of their parts. docs/derivation.md says of which bytes.

              hkms vectors --seed-file seed.hex --parameters P.json --json
              hkms vectors --seed-file seed.hex --parameters P.json --galois 3@2 --relinearization 4 --json

            P.json: {"scheme": "ckks", "logN": 13, "q": [...], "p": [...], "alpha": 1}. Parameters that are too weak for \
            real keys are taken, because vectors are for tests; never print vectors of a real seed. Without a choice of \
            evaluation keys: relinearization, Galois 3 and conjugation, at the highest level.
            """)

    @Option(name: .long, help: "64 hex digits of a test seed.") var seedFile: String
    @Option(name: .long, help: "Parameters as JSON.") var parameters: String
    @Option(name: .long, help: "Relinearization keys: LEVEL or LEVEL@GENERATION.") var relinearization: [String] = []
    @Option(name: .long, help: "Galois keys: ELEMENT@LEVEL or ELEMENT@LEVEL@GENERATION.") var galois: [String] = []
    @Option(name: .long, help: "Switching keys: SEEDFILE@LEVEL, from the secret of that test seed.")
    var switching: [String] = []
    @Option(name: .long, help: "Generation of the public key.") var publicGeneration: UInt32 = 0
    @Flag(name: .long, help: "JSON, which is also the default.") var json = false

    func run() throws {
        let file = try Data(contentsOf: URL(fileURLWithPath: parameters))
        let decoded: EncryptionParameters
        do {
            decoded = try JSONDecoder().decode(EncryptionParameters.InsecureForTestsOnly.self, from: file).parameters
        } catch let error as HEError {
            throw ValidationError("\(parameters): \(error)")
        } catch { throw ValidationError("\(parameters) is not JSON with scheme, logN, q, p and alpha") }
        if (try? EncryptionParameters(
            scheme: decoded.scheme, logN: decoded.logN, q: decoded.q, p: decoded.p, alpha: decoded.alpha, t: decoded.t))
            == nil
        {
            warn("these parameters are below 128-bit security: for test vectors only")
        }
        let context = try EncryptionContext(decoded)
        let seed = try readSeed(seedFile)
        let secret = try seed.secretKey(context)
        let publicKey = try seed.publicKey(secret, generation: publicGeneration)
        var keys: [KeyVector] = []
        for id in try requestedKeys(context) {
            keys.append(try KeyVector(id, seed.evaluationKey(id, secret)))
        }
        for text in switching {
            let parts = text.split(separator: "@").map(String.init)
            guard parts.count == 2, let level = Int(parts[1]) else {
                throw ValidationError("--switching takes SEEDFILE@LEVEL")
            }
            let source = try readSeed(parts[0]).secretKey(context)
            let id = EvaluationKeyID(kind: .switching, level: level)
            keys.append(try KeyVector(id, seed.switchingKey(id, from: source, to: secret)))
        }
        let output = Output(
            suite: 1, pd: Digest.hex(context.parameterDigest),
            commit: Digest.hex(try seed.commitment(context.parameterDigest)),
            secret: .init(packedSHA256: Digest.hex(secret.testVectorDigest())),
            public: .init(
                generation: publicGeneration, rho: Digest.hex(publicKey.rho),
                a: Digest.hex(RNSPolynomial.testVectorDigest([publicKey.a])),
                b: Digest.hex(RNSPolynomial.testVectorDigest([publicKey.b]))),
            evaluationKeys: keys)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        print(String(decoding: try encoder.encode(output), as: UTF8.self))
    }

    private func requestedKeys(_ context: EncryptionContext) throws -> [EvaluationKeyID] {
        guard context.parameters.alpha > 0 else { return [] }
        func numbers(_ text: String, _ counts: ClosedRange<Int>, _ form: String) throws -> [Int] {
            let numbers = text.split(separator: "@").compactMap { Int($0) }
            guard counts.contains(numbers.count), numbers.count == text.split(separator: "@").count,
                numbers.allSatisfy({ $0 >= 0 && $0 <= Int(UInt32.max) })
            else { throw ValidationError("\(text) is not \(form)") }
            return numbers
        }
        if relinearization.isEmpty, galois.isEmpty, switching.isEmpty {
            let level = context.maximumLevel
            return [
                EvaluationKeyID(kind: .relinearization, level: level),
                EvaluationKeyID(kind: .galois, galois: 3, level: level),
                EvaluationKeyID(kind: .galois, galois: UInt32(2 * context.degree - 1), level: level),
            ]
        }
        return try relinearization.map {
            let values = try numbers($0, 1...2, "LEVEL or LEVEL@GENERATION")
            return EvaluationKeyID(
                kind: .relinearization, level: values[0], generation: UInt32(values.count > 1 ? values[1] : 0))
        }
            + galois.map {
                let values = try numbers($0, 2...3, "ELEMENT@LEVEL or ELEMENT@LEVEL@GENERATION")
                return EvaluationKeyID(
                    kind: .galois, galois: UInt32(values[0]), level: values[1],
                    generation: UInt32(values.count > 2 ? values[2] : 0))
            }
    }

    private func readSeed(_ path: String) throws -> Seed {
        guard let bytes = try SecretFile.read(path, ownerOnly: false).decodingHex(), let seed = Seed(bytes) else {
            throw ValidationError("\(path) does not hold 64 lower-case hex digits")
        }
        return seed
    }

    private func warn(_ message: String) {
        try? FileHandle.standardError.write(contentsOf: Data("hkms: warning: \(message)\n".utf8))
    }

    private struct Output: Encodable {
        struct Secret: Encodable { let packedSHA256: String }
        struct Public: Encodable {
            let generation: UInt32
            let rho, a, b: String
        }
        let suite: Int
        let pd, commit: String
        let secret: Secret
        let `public`: Public
        let evaluationKeys: [KeyVector]
    }

    private struct KeyVector: Encodable {
        let kind: String
        let galois: UInt32
        let level, digits: Int
        let generation: UInt32
        let rho, a, b: String

        init(_ id: EvaluationKeyID, _ key: EvaluationKey) throws {
            kind = "\(id.kind)"
            galois = id.galois
            level = id.level
            digits = key.b.count
            generation = id.generation
            rho = Digest.hex(key.rho)
            a = Digest.hex(RNSPolynomial.testVectorDigest(try key.a))
            b = Digest.hex(RNSPolynomial.testVectorDigest(key.b))
        }
    }
}
