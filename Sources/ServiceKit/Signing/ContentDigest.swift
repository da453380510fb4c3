import Crypto
import FoundationEssentials
import HTTPTypes
import NIOCore
import StructuredFieldValues

extension HTTPField.Name {
    /// Content-Digest (RFC 9530, section 2).
    public static let contentDigest = HTTPField.Name("Content-Digest")!
}

/// The SHA-256 digest of a message's content, as the Content-Digest field carries it (RFC 9530).
///
/// Only `sha-256` is written and read, and only in the one form that ``fieldValue`` has.
public struct ContentDigest: Sendable, Hashable {
    /// The 32 bytes of the digest.
    public let bytes: [UInt8]

    /// The digest of a whole body.
    public init(of body: some Sequence<UInt8>) {
        var hasher = Hasher()
        hasher.update(Array(body))
        self = hasher.finalize()
    }

    /// Reads a field's value.
    /// - Throws: ``SignatureError/malformed(_:)``.
    public init(fieldValue: String) throws(SignatureError) {
        guard fieldValue.utf8.count <= Self.fieldBytes,
            let field = try? StructuredFieldValueDecoder().decode(Field.self, from: Array(fieldValue.utf8))
        else { throw .malformed("Content-Digest is not one sha-256 digest") }
        self.init(digest: field.sha256)
        // One form only: no other algorithm beside it, no parameters, no second base64 spelling.
        guard bytes.count == SHA256.byteCount, self.fieldValue == fieldValue else {
            throw .malformed("Content-Digest is not one sha-256 digest")
        }
    }

    private init(digest: some Sequence<UInt8>) {
        bytes = Array(digest)
    }

    /// The field's value: `sha-256=:BASE64:`.
    public var fieldValue: String { "sha-256=:\(Data(bytes).base64EncodedString()):" }

    private static let fieldBytes = 54

    private struct Field: StructuredFieldValue {
        static let structuredFieldType: StructuredFieldType = .dictionary
        var sha256: Data

        enum CodingKeys: String, CodingKey {
            case sha256 = "sha-256"
        }
    }
}

extension ContentDigest {
    /// Computes a ``ContentDigest`` while the content passes.
    public struct Hasher: Sendable {
        private var state = SHA256()

        public init() {}

        /// Takes the next piece of the content.
        public mutating func update(_ bytes: [UInt8]) {
            state.update(data: bytes)
        }

        /// Takes the readable bytes of `buffer` as the next piece of the content.
        public mutating func update(_ buffer: ByteBuffer) {
            buffer.withUnsafeReadableBytes { state.update(bufferPointer: $0) }
        }

        /// The digest of all pieces so far.
        public func finalize() -> ContentDigest {
            ContentDigest(digest: state.finalize())
        }
    }
}
