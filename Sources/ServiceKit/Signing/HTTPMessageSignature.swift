import Crypto
import FoundationEssentials
import HTTPTypes
import StructuredFieldValues

extension HTTPField.Name {
    /// Signature-Input (RFC 9421, section 4.1).
    public static let signatureInput = HTTPField.Name("Signature-Input")!
    /// Signature (RFC 9421, section 4.2).
    public static let signature = HTTPField.Name("Signature")!
}

/// A strict subset of HTTP Message Signatures (RFC 9421): Ed25519, one signature labelled `hkms`,
/// which covers `@method`, `@path`, `@query` and `content-digest` in this order, after them
/// `@authority` where both sides use it, with all of the parameters created, expires, nonce, keyid,
/// alg (`ed25519`) and tag (`hkms`), in this order. Every field has one form; any other is refused.
public enum HTTPMessageSignature {
    /// The longest time between created and expires, in seconds.
    public static let maximumLifetime = 300
    /// The longest key id, in bytes.
    public static let maximumKeyIDBytes = 128
    /// The shortest and the longest nonce, in characters of the base64url alphabet.
    static let nonceLengths = 16...64
    /// The longest Signature-Input field, in bytes.
    static let maximumInputBytes = 512
    /// The exact length of the Signature field: a label and 64 bytes in base64.
    static let signatureFieldBytes = 95

    /// Signs a request.
    /// - Parameters:
    ///   - request: the parts of its head.
    ///   - digest: the digest of its body, which may be empty.
    ///   - keyID: the name by which the verifier knows the public key: printable ASCII without `"`
    ///     and `\`, 1 to ``maximumKeyIDBytes`` bytes.
    ///   - privateKey: the signer's key.
    ///   - lifetime: seconds until the signature expires, 1 to ``maximumLifetime``.
    ///   - now: the present time.
    /// - Returns: the fields Content-Digest, Signature-Input and Signature.
    /// - Throws: ``SignatureError/malformed(_:)`` where an argument is out of its range.
    public static func sign(
        _ request: RequestComponents, digest: ContentDigest, keyID: String,
        privateKey: Curve25519.Signing.PrivateKey, lifetime: Int = 60, now: Date
    ) throws(SignatureError) -> HTTPFields {
        try request.check()
        guard (1...maximumLifetime).contains(lifetime) else { throw .malformed("lifetime") }
        guard let created = Int(exactly: now.timeIntervalSince1970.rounded(.down)) else { throw .malformed("created") }
        var generator = SystemRandomNumberGenerator()
        let nonce = (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        let parameters = SignatureParameters(
            created: created, expires: created + lifetime, nonce: Base64URL.encode(nonce), keyid: keyID)
        try parameters.check()

        let base = signatureBase(request, digest: digest, parameters: parameters)
        // The library's only error here is one of memory; it names no cause that a caller could act on.
        guard let signature = try? privateKey.signature(for: Data(base.utf8)) else { throw .badSignature }
        var fields = HTTPFields()
        fields[.contentDigest] = digest.fieldValue
        fields[.signatureInput] = "hkms=" + parameters.serialized(covering: coveredComponents(request))
        fields[.signature] = signatureField(signature)
        return fields
    }

    /// The names of the components that a signature of `request` covers.
    static func coveredComponents(_ request: RequestComponents) -> [String] {
        ["@method", "@path", "@query", "content-digest"] + (request.authority == nil ? [] : ["@authority"])
    }

    /// The text that is signed (RFC 9421, section 2.5).
    static func signatureBase(
        _ request: RequestComponents, digest: ContentDigest, parameters: SignatureParameters
    ) -> String {
        var lines = [
            "\"@method\": \(request.method)",
            "\"@path\": \(request.path)",
            "\"@query\": \(request.query)",
            "\"content-digest\": \(digest.fieldValue)",
        ]
        if let authority = request.authority { lines.append("\"@authority\": \(authority)") }
        lines.append("\"@signature-params\": \(parameters.serialized(covering: coveredComponents(request)))")
        return lines.joined(separator: "\n")
    }

    static func signatureField(_ signature: Data) -> String { "hkms=:\(signature.base64EncodedString()):" }
}

/// The parameters of a signature beside the two that are fixed (RFC 9421, section 2.3).
struct SignatureParameters: Equatable {
    /// Seconds since 1970.
    var created: Int
    /// Seconds since 1970.
    var expires: Int
    var nonce: String
    var keyid: String

    /// The inner list that is both the value of Signature-Input and the last line of the base.
    func serialized(covering components: [String]) -> String {
        let list = components.map { "\"\($0)\"" }.joined(separator: " ")
        return "(\(list));created=\(created);expires=\(expires);nonce=\"\(nonce)\""
            + ";keyid=\"\(keyid)\";alg=\"ed25519\";tag=\"hkms\""
    }

    func check() throws(SignatureError) {
        // 15 digits, the largest integer of a structured field.
        guard created >= 0, expires > created, expires < 1_000_000_000_000_000,
            expires - created <= HTTPMessageSignature.maximumLifetime
        else { throw .malformed("created and expires") }
        guard HTTPMessageSignature.nonceLengths.contains(nonce.utf8.count),
            nonce.utf8.allSatisfy(Self.isBase64URL)
        else { throw .malformed("nonce") }
        guard (1...HTTPMessageSignature.maximumKeyIDBytes).contains(keyid.utf8.count),
            keyid.utf8.allSatisfy(Self.isPlain)
        else { throw .malformed("keyid") }
    }

    private static func isBase64URL(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default:
            false
        }
    }

    /// Printable and never escaped in a structured field's string.
    private static func isPlain(_ byte: UInt8) -> Bool {
        (0x20...0x7e).contains(byte) && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
    }
}
