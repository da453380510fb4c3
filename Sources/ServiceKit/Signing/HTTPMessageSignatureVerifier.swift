import Crypto
import FoundationEssentials
import HTTPTypes
import StructuredFieldValues

/// What a request's signature vouches for.
public struct VerifiedSignature: Sendable, Equatable {
    /// The key id of the signer.
    public let keyID: String
    /// The digest that the body must have.
    public let contentDigest: ContentDigest

    /// Compares the digest of the body that arrived with the one that was signed.
    /// - Throws: ``SignatureError/digestMismatch``.
    public func check(body digest: ContentDigest) throws(SignatureError) {
        // Both digests are public, so the comparison may stop early.
        guard digest == contentDigest else { throw .digestMismatch }
    }
}

/// Verifies what ``HTTPMessageSignature`` signs.
public struct HTTPMessageSignatureVerifier: Sendable {
    /// The public keys that are trusted, by key id.
    public let publicKeys: [String: Curve25519.Signing.PublicKey]
    /// By how many seconds the signer's clock may differ from this one.
    public let clockSkew: Int
    /// Requests created earlier are refused as expired. A server that has just started gives its start,
    /// because requests that its predecessor has seen are in no nonce cache any more.
    public let acceptedFrom: Date?
    private let nonces: NonceCache

    /// - Parameters:
    ///   - publicKeys: the public keys that are trusted, by key id.
    ///   - clockSkew: seconds, 0 to 600.
    ///   - acceptedFrom: requests created earlier are refused.
    ///   - nonces: remembers what came before. Verifiers that trust the same keys share one.
    public init(
        publicKeys: [String: Curve25519.Signing.PublicKey], clockSkew: Int = 60, acceptedFrom: Date? = nil,
        nonces: NonceCache
    ) {
        precondition((0...600).contains(clockSkew), "a clock skew is 0 to 600 seconds")
        self.publicKeys = publicKeys
        self.clockSkew = clockSkew
        self.acceptedFrom = acceptedFrom
        self.nonces = nonces
    }

    /// Verifies a request whose body has arrived.
    /// - Parameters:
    ///   - request: the parts of its head, taken from what was received.
    ///   - headers: its fields.
    ///   - body: the digest of its body, computed and not taken from a field.
    ///   - now: the present time.
    /// - Returns: the key id of the signer.
    public func verify(
        _ request: RequestComponents, headers: HTTPFields, body: ContentDigest, now: Date
    ) throws(SignatureError) -> String {
        let signature = try verifyHead(request, headers: headers, now: now)
        try signature.check(body: body)
        return signature.keyID
    }

    /// Verifies the head of a request before its body is read. The body is only trusted after
    /// ``VerifiedSignature/check(body:)``.
    ///
    /// The nonce counts as used even where the body turns out to be wrong.
    public func verifyHead(
        _ request: RequestComponents, headers: HTTPFields, now: Date
    ) throws(SignatureError) -> VerifiedSignature {
        guard let input = headers[.signatureInput], let signature = headers[.signature],
            let digestField = headers[.contentDigest]
        else { throw .missingSignature }
        try request.check()
        let parameters = try Self.parameters(input, covering: HTTPMessageSignature.coveredComponents(request))
        let signatureBytes = try Self.signatureBytes(signature)
        let digest = try ContentDigest(fieldValue: digestField)

        guard let key = publicKeys[parameters.keyid] else { throw .unknownKey }
        let seconds = now.timeIntervalSince1970
        guard Double(parameters.created) <= seconds + Double(clockSkew) else { throw .notYetValid }
        guard seconds <= Double(parameters.expires + clockSkew) else { throw .expired }
        if let acceptedFrom, Double(parameters.created) < acceptedFrom.timeIntervalSince1970.rounded(.down) {
            throw .expired
        }

        let base = HTTPMessageSignature.signatureBase(request, digest: digest, parameters: parameters)
        guard key.isValidSignature(signatureBytes, for: Data(base.utf8)) else { throw .badSignature }
        // Only now, so that nobody without the key can fill the cache or use up a nonce.
        try nonces.insert(
            keyID: parameters.keyid, nonce: parameters.nonce,
            expiry: Date(timeIntervalSince1970: Double(parameters.expires + clockSkew)), now: now)
        return VerifiedSignature(keyID: parameters.keyid, contentDigest: digest)
    }

    private static func parameters(
        _ field: String, covering components: [String]
    ) throws(SignatureError) -> SignatureParameters {
        guard field.utf8.count <= HTTPMessageSignature.maximumInputBytes,
            let decoded = try? StructuredFieldValueDecoder().decode(InputField.self, from: Array(field.utf8))
        else { throw .malformed("Signature-Input") }
        let list = decoded.hkms
        guard list.items == components else { throw .wrongComponents }
        let parameters = SignatureParameters(
            created: list.parameters.created, expires: list.parameters.expires,
            nonce: list.parameters.nonce, keyid: list.parameters.keyid)
        try parameters.check()
        // One form only: this refuses other algorithms, tags, labels, parameters and spellings alike.
        guard field == "hkms=" + parameters.serialized(covering: components) else {
            throw .malformed("Signature-Input")
        }
        return parameters
    }

    private static func signatureBytes(_ field: String) throws(SignatureError) -> Data {
        guard field.utf8.count == HTTPMessageSignature.signatureFieldBytes,
            let decoded = try? StructuredFieldValueDecoder().decode(SignatureField.self, from: Array(field.utf8)),
            decoded.hkms.count == 64, field == HTTPMessageSignature.signatureField(decoded.hkms)
        else { throw .malformed("Signature") }
        return decoded.hkms
    }

    private struct InputField: StructuredFieldValue {
        static let structuredFieldType: StructuredFieldType = .dictionary
        var hkms: List

        struct List: Codable {
            var items: [String]
            var parameters: Parameters
        }

        struct Parameters: Codable {
            var created: Int
            var expires: Int
            var nonce: String
            var keyid: String
        }
    }

    private struct SignatureField: StructuredFieldValue {
        static let structuredFieldType: StructuredFieldType = .dictionary
        var hkms: Data
    }
}
