import Attestation
import Foundation
import HomomorphicEncryption
import SecretMemory
import TestSupport
import Testing

/// Any bytes give a statement or a named error, and nothing else.
@Suite struct StatementFuzzTests {
    private let key: SigningKey

    init() throws { key = try Fixtures.alice() }

    @Test("20 000 inputs of random bytes")
    func random() {
        var generator = SeededGenerator(1)
        let pinned = [key.verificationKey]
        for round in 0..<20_000 {
            var bytes = generator.bytes(Int.random(in: 0...200, using: &generator))
            if round % 2 == 1 { bytes = Array("{\"payloadType\":\"".utf8) + bytes.map { $0 & 0x7F } }
            #expect(throws: AttestationError.self) {
                try SignedStatement<JobDescription>(verifying: bytes, pinned: pinned)
            }
        }
    }

    @Test("every truncation of an envelope is refused")
    func truncation() throws {
        let envelope = try SignedStatement(Fixtures.receipt(), by: key).serialized()
        for count in 0..<envelope.count {
            #expect(throws: AttestationError.self, "\(count)") {
                try SignedStatement<Receipt>(verifying: Array(envelope[..<count]), pinned: [key.verificationKey])
            }
        }
    }

    @Test("no altered byte of an envelope alters what is believed")
    func bytes() throws {
        let signed = try SignedStatement(Fixtures.receipt(), by: key)
        let envelope = try signed.serialized()
        for index in envelope.indices {
            for mask in [1, 2, 0x20, 0x80] as [UInt8] {
                var altered = envelope
                altered[index] ^= mask
                // Unused bits at the end of base64 may differ; the statement may not.
                if let read = try? SignedStatement<Receipt>(verifying: altered, pinned: [key.verificationKey]) {
                    #expect(read.payload == signed.payload, "byte \(index)")
                }
            }
        }
    }

    /// A signer whom others trust may still write nonsense.
    @Test("5 000 well-signed payloads of altered JSON")
    func signedNonsense() throws {
        var generator = SeededGenerator(2)
        let job = try SignedStatement(Fixtures.job(), by: key).payload
        let receipt = try SignedStatement(Fixtures.receipt(), by: key).payload
        let manifest = try SignedStatement(Fixtures.manifest(), by: key).payload
        var accepted = 0
        func check<Body: Statement>(_: Body.Type, _ original: [UInt8], _ use: (Body) throws -> Void) throws {
            let payload = generator.mutated(original)
            let bytes = try LooseEnvelope(payload: payload, type: Body.payloadType, signedBy: key).bytes
            do throws(AttestationError) {
                let read = try SignedStatement<Body>(verifying: bytes, pinned: [key.verificationKey])
                accepted += 1
                try? use(read.body)
            } catch {
                #expect(error == .malformed(reason: "the payload is not of type \(Body.payloadType)"))
            }
        }
        let manifestKey = try SecretBytes(copying: Fixtures.manifestKeyBytes)
        for round in 0..<5_000 {
            switch round % 3 {
            case 0: try check(JobDescription.self, job) { _ in }
            case 1:
                try check(Receipt.self, receipt) {
                    try $0.validate(answering: Fixtures.job(), profile: Fixtures.digest(6))
                }
            default:
                try check(KeySetManifest.self, manifest) { manifest in
                    _ = manifest.publicKey
                    _ = manifest.isProved(by: manifestKey)
                    _ = manifest.objects.map(\.name)
                    _ = manifest.profile?.digest
                    try manifest.profile?.validate()
                }
            }
        }
        // Alterations inside names and numbers still decode.
        #expect(accepted > 100)
    }
}
