import Attestation
import Foundation
import HomomorphicEncryption
import Testing

@Suite struct SignedStatementTests {
    /// Made by another implementation (Python's cryptography) from DSSE 1.0's text and RFC 8032's key 1,
    /// with JSON that is spaced otherwise than ours: the signature is over the bytes, not over a form.
    static let foreignEnvelope = """
        {"payloadType": "application/vnd.hkms.job.v1+json", "payload": "\
        ewogImpvYiI6ICJqb2ItMSIsCiAibm9uY2UiOiAiMDEwMTAxMDEwMTAxMDEwMTAxMDEwMTAxMDEwMTAxMDEwMTAxMDEwMTAxMDEw\
        MTAxMDEwMTAxMDEwMTAxMDEwMSIsCiAiZ2F0ZXdheSI6ICJnYXRld2F5LTEiLAogInVuaXQiOiAidW5pdC0xIiwKICJrZXlTZXQi\
        OiAia3MtMSIsCiAibWFuaWZlc3QiOiAiMDIwMjAyMDIwMjAyMDIwMjAyMDIwMjAyMDIwMjAyMDIwMjAyMDIwMjAyMDIwMjAyMDIw\
        MjAyMDIwMjAyMDIwMiIsCiAibW9kZWwiOiAiaGVhcnQtZGlzZWFzZSIsCiAibW9kZWxEaWdlc3QiOiAiMDMwMzAzMDMwMzAzMDMw\
        MzAzMDMwMzAzMDMwMzAzMDMwMzAzMDMwMzAzMDMwMzAzMDMwMzAzMDMwMzAzMDMwMyIsCiAiaW5wdXRzIjogWwogICIwNDA0MDQw\
        NDA0MDQwNDA0MDQwNDA0MDQwNDA0MDQwNDA0MDQwNDA0MDQwNDA0MDQwNDA0MDQwNDA0MDQwNDA0IiwKICAiMDUwNTA1MDUwNTA1\
        MDUwNTA1MDUwNTA1MDUwNTA1MDUwNTA1MDUwNTA1MDUwNTA1MDUwNTA1MDUwNTA1MDUwNSIKIF0sCiAiY3JlYXRlZCI6ICIyMDI2\
        LTAxLTAyVDAzOjA0OjA1WiIKfQ==\
        ", "signatures": [{"keyid": "ed25519:21fe31dfa154a261626bf854046fd227", "sig": "\
        ZkWnndWeduYzL7PYnARGd4mwFVmQ0vi41OJmc+FPZ7aSxrF0ZVbnrZmFkkR5P75oV67zCHdqyto8BhUptVeBAg=="}]}
        """

    private let key: SigningKey
    private let pinned: [VerificationKey]
    private let envelope: [UInt8]

    init() throws {
        key = try Fixtures.alice()
        pinned = [try Fixtures.bob().verificationKey, key.verificationKey]
        envelope = try SignedStatement(Fixtures.job(), by: key).serialized()
    }

    private func verify(_ bytes: [UInt8]) throws(AttestationError) -> SignedStatement<JobDescription> {
        try SignedStatement(verifying: bytes, pinned: pinned)
    }

    private func expect(
        _ error: AttestationError, sourceLocation: SourceLocation = #_sourceLocation,
        _ change: (inout LooseEnvelope) throws -> Void
    ) throws {
        var altered = try LooseEnvelope(envelope)
        try change(&altered)
        let bytes = try altered.bytes
        #expect(throws: error, sourceLocation: sourceLocation) { try verify(bytes) }
    }

    static let badBase64 = AttestationError.malformed(
        reason: "payload or signature is not valid base64, or there is not one signature")
    static let noEnvelope = AttestationError.malformed(reason: "not a DSSE envelope")

    @Test("what was signed is what is read, however often it travels")
    func roundTrip() throws {
        let signed = try SignedStatement(Fixtures.job(), by: key)
        #expect(try signed.body == Fixtures.job())
        #expect(signed.signer == key.id)
        var bytes = try signed.serialized()
        for _ in 0..<3 {
            let read = try verify(bytes)
            #expect(try read.body == Fixtures.job())
            #expect(read.payload == signed.payload)
            #expect(read.digest == signed.digest)
            #expect(read.digest == Digest(of: read.payload))
            #expect(read.signer == key.id)
            bytes = try read.serialized()
        }
        let receipt = try SignedStatement(Fixtures.receipt(), by: key)
        #expect(
            try SignedStatement<Receipt>(verifying: receipt.serialized(), pinned: pinned).body == Fixtures.receipt())
        let manifest = try SignedStatement(Fixtures.manifest(), by: key)
        #expect(
            try SignedStatement<KeySetManifest>(verifying: manifest.serialized(), pinned: pinned).body
                == Fixtures.manifest())
    }

    @Test("the signer sees the dates that readers will see")
    func dates() throws {
        var job = try Fixtures.job()
        job.created = Date(timeIntervalSince1970: 1_767_323_045.75)
        let signed = try SignedStatement(job, by: key)
        let read = try verify(signed.serialized())
        #expect(read.body == signed.body)
        #expect(read.digest == signed.digest)
        #expect(try SignedStatement(signed.body, by: key).payload == signed.payload)
    }

    @Test("the envelope of another implementation verifies, and its digest is that of its bytes")
    func foreign() throws {
        let read = try verify(Array(Self.foreignEnvelope.utf8))
        #expect(try read.body == Fixtures.job())
        #expect(read.digest.hex == "84de34905fb8223cd2931a1db8d75c9e5e12fc629f820c37d541bc9170dcbcfe")
        // Passing it on leaves the bytes that were signed alone.
        #expect(try verify(read.serialized()).digest == read.digest)
    }

    @Test("the signature is over DSSE's pre-authentication encoding")
    func preAuthentication() throws {
        let payload = try SignedStatement(Fixtures.job(), by: key).payload
        let byHand = try LooseEnvelope(payload: payload, type: JobDescription.payloadType, signedBy: key)
        #expect(try verify(byHand.bytes).payload == payload)
        // The bare payload, or the encoding of another type, is not what is signed.
        for message in [payload, Array("DSSEv1 0  \(payload.count) ".utf8) + payload] {
            try expect(.badSignature) { $0.signatures[0].sig = Data(try key.sign(message)).base64EncodedString() }
        }
    }

    @Test("every altered field is refused by name")
    func alterations() throws {
        let other = try SignedStatement(Fixtures.receipt(), by: key).serialized()
        let otherEnvelope = try LooseEnvelope(other)
        try expect(.unexpectedType(found: Receipt.payloadType, expected: JobDescription.payloadType)) {
            $0.payloadType = Receipt.payloadType
        }
        try expect(.unexpectedType(found: "", expected: JobDescription.payloadType)) { $0.payloadType = "" }
        try expect(.unexpectedType(found: String(repeating: "x", count: 100), expected: JobDescription.payloadType)) {
            $0.payloadType = String(repeating: "x", count: 5000)
        }
        try expect(.badSignature) { $0.payload = otherEnvelope.payload }
        try expect(.badSignature) { $0.signatures = otherEnvelope.signatures }
        try expect(.badSignature) { $0.payload = "" }
        try expect(.badSignature) { $0.signatures[0].sig = "" }
        try expect(.badSignature) { $0.signatures[0].sig = Data(count: 64).base64EncodedString() }
        try expect(Self.badBase64) { $0.payload = "*" }
        try expect(Self.badBase64) { $0.signatures[0].sig = "*" }
        try expect(Self.badBase64) { $0.signatures = [] }
        try expect(Self.badBase64) { $0.signatures += $0.signatures }
        try expect(Self.badBase64) { $0.signatures += otherEnvelope.signatures }
        // Another pinned key's name, a key that is not pinned, and a name that is none.
        try expect(.badSignature) { $0.signatures[0].keyid = try Fixtures.bob().id.value }
        try expect(.unknownSigner) { $0.signatures[0].keyid = SigningKeyID(ed25519: [1]).value }
        try expect(Self.noEnvelope) { $0.signatures[0].keyid = "alice" }
    }

    @Test("the type is under the signature too")
    func typeConfusion() throws {
        var altered = try LooseEnvelope(envelope)
        altered.payloadType = Receipt.payloadType
        let bytes = try altered.bytes
        #expect(throws: AttestationError.badSignature) {
            try SignedStatement<Receipt>(verifying: bytes, pinned: pinned)
        }
        #expect(
            throws: AttestationError.unexpectedType(found: JobDescription.payloadType, expected: Receipt.payloadType)
        ) {
            try SignedStatement<Receipt>(verifying: envelope, pinned: pinned)
        }
    }

    @Test("nobody who is not pinned is believed")
    func unknownSigner() throws {
        #expect(throws: AttestationError.unknownSigner) {
            try SignedStatement<JobDescription>(verifying: envelope, pinned: [])
        }
        let bob = try Fixtures.bob().verificationKey
        #expect(throws: AttestationError.unknownSigner) {
            try SignedStatement<JobDescription>(verifying: envelope, pinned: [bob])
        }
    }

    @Test("a signature cannot be turned into a second valid one (RFC 8032, 8.4)")
    func malleability() throws {
        // S + L, little-endian, in the upper half.
        let order: [UInt8] =
            [
                0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            ] + [UInt8](repeating: 0, count: 15) + [0x10]
        try expect(.badSignature) {
            var signature = Array(try #require(Data(base64Encoded: $0.signatures[0].sig)))
            var carry = 0
            for index in 0..<32 {
                carry += Int(signature[32 + index]) + Int(order[index])
                signature[32 + index] = UInt8(carry & 0xFF)
                carry >>= 8
            }
            $0.signatures[0].sig = Data(signature).base64EncodedString()
        }
    }

    @Test("a well-signed payload of another form is refused")
    func wrongPayload() throws {
        let malformed = AttestationError.malformed(
            reason: "the payload is not of type \(JobDescription.payloadType)")
        let good = String(decoding: try SignedStatement(Fixtures.job(), by: key).payload, as: UTF8.self)
        var payloads = [
            "", "{}", "[]", "null", "42", "\"job\"", "{\"job\": 1}", String(repeating: "[", count: 100_000),
        ]
        for (old, new) in [
            ("\"job\":\"job-1\"", "\"job\":1"), ("0101", "010"), ("0101", "01AB"),
            ("2026-01-02T03:04:05Z", "yesterday"),
            ("2026-01-02T03:04:05Z", "999999999999-01-02T03:04:05Z"), ("2026-01-02T03:04:05Z", ""),
            ("\"inputs\":[", "\"inputs\":[7,"), ("\"gateway\":", "\"gatewoy\":"),
        ] {
            #expect(good.contains(old))
            payloads.append(good.replacingOccurrences(of: old, with: new))
        }
        for payload in payloads {
            let bytes = try LooseEnvelope(
                payload: Array(payload.utf8), type: JobDescription.payloadType, signedBy: key
            ).bytes
            #expect(throws: malformed, "\(payload.prefix(300))") { try verify(bytes) }
        }
    }

    @Test("too long is refused before it is parsed")
    func tooLong() throws {
        struct Note: Statement {
            static let payloadType = "application/vnd.hkms.test-note+json"
            static let maximumPayloadBytes = 1000
            var text: String
        }
        let fits = try SignedStatement(Note(text: String(repeating: "x", count: 900)), by: key).serialized()
        #expect(try SignedStatement<Note>(verifying: fits, pinned: pinned).body.text.count == 900)
        let payload = Array("{\"text\":\"\(String(repeating: "x", count: 1000))\"}".utf8)
        let over = try LooseEnvelope(payload: payload, type: Note.payloadType, signedBy: key).bytes
        #expect(throws: Self.badBase64) { try SignedStatement<Note>(verifying: over, pinned: pinned) }
        let padded = fits + [UInt8](repeating: 0x20, count: 2000)
        #expect(throws: AttestationError.malformed(reason: "it is too long")) {
            try SignedStatement<Note>(verifying: padded, pinned: pinned)
        }
    }
}
