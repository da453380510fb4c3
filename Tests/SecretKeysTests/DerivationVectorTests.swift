import Foundation
import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory
import Testing

/// Known answers of derivation suite 1, made by the independent implementation in Tests/Reference.
struct DerivationVector: Decodable, CustomTestStringConvertible {
    struct Expected: Decodable {
        struct Secret: Decodable { let packedSHA256: String }
        struct Source: Decodable { let pd, packedSHA256: String }
        struct Public: Decodable {
            let generation: UInt32
            let rho, a, b: String
        }
        struct Key: Decodable {
            let kind: String
            let galois: UInt32
            let level, digits: Int
            let generation: UInt32
            let rho, a, b: String
        }
        let pd, commit: String
        let secret: Secret
        let `public`: Public
        let evaluationKeys: [Key]
        let source: Source?
    }
    let name, seed: String
    let sourceSeed: String?
    /// Of the source of switching keys, where they are not `parameters`.
    let sourceParameters: EncryptionParameters.InsecureForTestsOnly?
    let parameters: EncryptionParameters.InsecureForTestsOnly
    let expected: Expected

    var testDescription: String { name }

    static let all: [DerivationVector] = {
        guard let url = Bundle.module.url(forResource: "suite1", withExtension: "json", subdirectory: "Vectors"),
            let data = try? Data(contentsOf: url)
        else { return [] }
        return (try? JSONDecoder().decode([DerivationVector].self, from: data)) ?? []
    }()
}

@Suite struct DerivationVectorTests {
    @Test("the vectors are there") func present() {
        let all = DerivationVector.all
        #expect(all.count >= 10)
        let otherSources = all.filter { $0.sourceParameters != nil }
        #expect(otherSources.count >= 2 && otherSources.allSatisfy { $0.expected.source != nil })
        #expect(all.contains { $0.expected.evaluationKeys.contains { $0.kind == "switching" && $0.generation == 1 } })
    }

    @Test("every object of suite 1 is the published one, bit for bit", arguments: DerivationVector.all)
    func vector(_ vector: DerivationVector) throws {
        let context = try EncryptionContext(vector.parameters.parameters)
        let expected = vector.expected
        #expect(hex(context.parameterDigest) == expected.pd)
        let seed = try Self.seed(vector.seed)
        #expect(try hex(seed.commitment(context.parameterDigest)) == expected.commit)
        let secret = try seed.secretKey(context)
        #expect(hex(secret.testVectorDigest()) == expected.secret.packedSHA256)
        let publicKey = try seed.publicKey(secret, generation: expected.public.generation)
        #expect(hex(publicKey.rho) == expected.public.rho)
        #expect(hex(RNSPolynomial.testVectorDigest([publicKey.a])) == expected.public.a)
        #expect(hex(RNSPolynomial.testVectorDigest([publicKey.b])) == expected.public.b)
        let sourceContext = try EncryptionContext((vector.sourceParameters ?? vector.parameters).parameters)
        let source = try Self.seed(vector.sourceSeed ?? vector.seed).secretKey(sourceContext)
        if let expectedSource = expected.source {
            #expect(hex(sourceContext.parameterDigest) == expectedSource.pd)
            #expect(hex(source.testVectorDigest()) == expectedSource.packedSHA256)
        }
        for entry in expected.evaluationKeys {
            let key: EvaluationKey
            switch entry.kind {
            case "switching":
                let id = EvaluationKeyID(kind: .switching, level: entry.level, generation: entry.generation)
                key = try seed.switchingKey(id, from: source, to: secret)
            case "galois", "relinearization":
                let kind: EvaluationKeyKind = entry.kind == "galois" ? .galois : .relinearization
                let id = EvaluationKeyID(
                    kind: kind, galois: entry.galois, level: entry.level, generation: entry.generation)
                key = try seed.evaluationKey(id, secret)
            default:
                Issue.record("\(entry.kind) is no kind of evaluation key")
                continue
            }
            let label = Comment(
                rawValue: "\(entry.kind) \(entry.galois) level \(entry.level) generation \(entry.generation)")
            #expect(key.b.count == entry.digits, label)
            #expect(hex(key.rho) == entry.rho, label)
            #expect(hex(RNSPolynomial.testVectorDigest(try key.a)) == entry.a, label)
            #expect(hex(RNSPolynomial.testVectorDigest(key.b)) == entry.b, label)
            // What was serialized is the same key again.
            let parsed = try EvaluationKey(serialized: key.serialized(), context: context)
            #expect(
                hex(RNSPolynomial.testVectorDigest(try parsed.a + parsed.b))
                    == hex(RNSPolynomial.testVectorDigest(try key.a + key.b)))
        }
    }

    @Test("what is derived from a seed is what the published intermediate values say")
    func intermediateValues() throws {
        struct Values: Decodable {
            struct Derivation: Decodable { let label, output: String }
            let `case`, pd: String
            let kdf: [Derivation]
            /// The first coefficients of s, and the first bytes in which it is stored.
            let s: [Int]
            let packedS: String
        }
        let url = try #require(
            Bundle.module.url(forResource: "suite1-intermediate", withExtension: "json", subdirectory: "Vectors"))
        let values = try JSONDecoder().decode(Values.self, from: Data(contentsOf: url))
        let vector = try #require(DerivationVector.all.first { $0.name == values.case })
        let context = try EncryptionContext(vector.parameters.parameters)
        #expect(hex(context.parameterDigest) == values.pd)
        let outputs = Dictionary(values.kdf.map { ($0.label, $0.output) }, uniquingKeysWith: { first, _ in first })
        let seed = try Self.seed(vector.seed)
        #expect(try hex(seed.commitment(context.parameterDigest)) == outputs["HKMS1/commit"])
        let manifestKey = try seed.manifestKey(context.parameterDigest).withUnsafeBytes { hex(Array($0)) }
        #expect(manifestKey == outputs["HKMS1/manifest"])
        let packed = try seed.secretKey(context).packed.withUnsafeBytes { Array($0) }
        #expect(hex(Array(packed.prefix(values.packedS.utf8.count / 2))) == values.packedS)
        // Two bits a coefficient, each one more than the coefficient.
        let coefficients = (0..<values.s.count).map { Int(packed[$0 / 4] >> (2 * UInt8($0 % 4)) & 3) - 1 }
        #expect(coefficients == values.s)
    }

    private static func seed(_ hex: String) throws -> Seed {
        let digits = Array(hex.utf8)
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            bytes.append(UInt8(String(decoding: digits[index...index + 1], as: UTF8.self), radix: 16) ?? 0)
        }
        return try Scheme1.seed(bytes)
    }

    private func hex(_ bytes: [UInt8]) -> String { bytes.map { String(format: "%02x", $0) }.joined() }
}
