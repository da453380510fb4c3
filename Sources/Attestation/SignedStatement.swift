#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Something that can be stated under a signature.
public protocol Statement: Codable, Sendable {
    /// The media type, which is signed too: a statement of one type is never taken for another.
    static var payloadType: String { get }
    /// Media types of earlier versions that are still read. A statement keeps the type that it was signed with.
    static var earlierPayloadTypes: [String] { get }
    /// Bytes that a payload may have at most.
    static var maximumPayloadBytes: Int { get }
}

extension Statement {
    public static var maximumPayloadBytes: Int { 1 << 20 }
    public static var earlierPayloadTypes: [String] { [] }
}

/// A statement with its signature, as a DSSE envelope (Dead Simple Signing Envelope 1.0): the signature
/// is over the very bytes that travel, so that no canonical JSON is needed.
public struct SignedStatement<Body: Statement>: Sendable {
    public let body: Body
    /// The bytes that were signed.
    public let payload: [UInt8]
    public let signer: SigningKeyID
    private let signature: [UInt8]
    private let payloadType: String

    /// Signs a statement.
    public init(_ body: Body, by key: SigningKey) throws(AttestationError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        guard let payload = try? encoder.encode(body) else { throw .malformed(reason: "it cannot be encoded") }
        // Nobody would read it.
        guard payload.count <= Body.maximumPayloadBytes else { throw .malformed(reason: "it is too long") }
        self.payload = Array(payload)
        // What readers will see, dates rounded to seconds as they are written.
        self.body = try Self.decode(self.payload)
        payloadType = Body.payloadType
        signer = key.id
        signature = try key.sign(Self.preAuthenticationEncoding(self.payload, type: payloadType))
    }

    /// Reads an envelope and verifies that one of `pinned` signed it.
    /// - Throws: ``AttestationError`` for any bytes that are not such an envelope.
    public init(verifying envelope: [UInt8], pinned: [VerificationKey]) throws(AttestationError) {
        guard envelope.count <= Body.maximumPayloadBytes * 2 else { throw .malformed(reason: "it is too long") }
        guard let parsed = try? JSONDecoder().decode(Envelope.self, from: Data(envelope)) else {
            throw .malformed(reason: "not a DSSE envelope")
        }
        guard parsed.payloadType == Body.payloadType || Body.earlierPayloadTypes.contains(parsed.payloadType) else {
            throw .unexpectedType(found: String(parsed.payloadType.prefix(100)), expected: Body.payloadType)
        }
        guard let payload = Data(base64Encoded: parsed.payload), payload.count <= Body.maximumPayloadBytes,
            parsed.signatures.count == 1, let first = parsed.signatures.first,
            let signature = Data(base64Encoded: first.sig)
        else { throw .malformed(reason: "payload or signature is not valid base64, or there is not one signature") }
        guard let key = pinned.first(where: { $0.id == first.keyid }) else { throw .unknownSigner }
        let message = Self.preAuthenticationEncoding(Array(payload), type: parsed.payloadType)
        guard key.isValid(Array(signature), for: message) else { throw .badSignature }
        self.payload = Array(payload)
        body = try Self.decode(self.payload)
        payloadType = parsed.payloadType
        signer = key.id
        self.signature = Array(signature)
    }

    /// SHA-256 of the payload: how others refer to this statement.
    public var digest: Digest { Digest(of: payload) }

    /// The envelope as JSON.
    public func serialized() throws(AttestationError) -> [UInt8] {
        let envelope = Envelope(
            payloadType: payloadType, payload: Data(payload).base64EncodedString(),
            signatures: [Envelope.Signature(keyid: signer, sig: Data(signature).base64EncodedString())])
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let bytes = try? encoder.encode(envelope) else { throw .malformed(reason: "it cannot be encoded") }
        return Array(bytes)
    }

    private static func decode(_ payload: [UInt8]) throws(AttestationError) -> Body {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        do {
            return try decoder.decode(Body.self, from: Data(payload))
        } catch {
            throw .malformed(reason: "the payload is not of type \(Body.payloadType)")
        }
    }

    /// DSSE's PAE: "DSSEv1" SP len(type) SP type SP len(body) SP body.
    private static func preAuthenticationEncoding(_ payload: [UInt8], type: String) -> [UInt8] {
        Array("DSSEv1 \(type.utf8.count) \(type) \(payload.count) ".utf8) + payload
    }

    private struct Envelope: Codable {
        struct Signature: Codable {
            let keyid: SigningKeyID
            let sig: String
        }
        let payloadType: String
        let payload: String
        let signatures: [Signature]
    }
}
