import SecretMemory

/// A credential that a caller sends with a request for the gateway to forward, in locked memory. The field's own text
/// stays in ordinary memory until the request ends, as that of every field does.
public final class ForwardedCredential: Sendable {
    private let bytes: SecretBytes

    public static let maximumBytes = 8192

    /// - Parameter fieldValue: any text.
    /// - Returns: nil for anything but 1 to ``maximumBytes`` visible ASCII characters without quote and backslash.
    /// - Throws: `SecretMemoryError` where no memory can be locked.
    public init?(fieldValue: String) throws {
        guard (1...Self.maximumBytes).contains(fieldValue.utf8.count),
            fieldValue.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x22 && $0 != 0x5C })
        else { return nil }
        var bytes = try SecretBytes(count: fieldValue.utf8.count)
        bytes.withUnsafeMutableBytes { $0.copyBytes(from: fieldValue.utf8) }
        self.bytes = bytes
    }

    public func withUnsafeBytes<Result: ~Copyable, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try bytes.withUnsafeBytes(body)
    }
}
