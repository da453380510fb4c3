/// The name of a stored object: `/`-separated segments of letters, digits, `-`, `_` and `.`.
public struct ObjectKey: Sendable, Hashable, CustomStringConvertible {
    public let value: String

    /// - Returns: nil for an empty segment, a segment that starts with a dot, any other character, or
    ///   more than 512 bytes.
    public init?(_ value: String) {
        guard (1...512).contains(value.utf8.count) else { return nil }
        for segment in value.split(separator: "/", omittingEmptySubsequences: false) {
            guard let first = segment.utf8.first, first != 0x2E,
                segment.utf8.allSatisfy({ byte in
                    (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5A)
                        || (byte >= 0x61 && byte <= 0x7A) || byte == 0x2D || byte == 0x5F || byte == 0x2E
                })
            else { return nil }
        }
        self.value = value
    }

    public var description: String { value }
}

/// Every way in which an object store can refuse or fail.
public enum ObjectStoreError: Error, Sendable, Equatable {
    case notFound(String)
    /// The object is larger than the caller is ready to take.
    case tooLarge(String, limit: Int)
    /// `put` with `onlyIfAbsent` found an object there.
    case alreadyExists(String)
    /// Full, read-only, unreachable: worth a retry once mended.
    case unavailable(reason: String)
}

extension ObjectStoreError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .notFound(let key): "there is no object \(key)"
        case .tooLarge(let key, let limit): "the object \(key) is longer than \(limit) bytes"
        case .alreadyExists(let key): "there is an object \(key) already"
        case .unavailable(let reason): reason
        }
    }
}

/// Untrusted storage for sealed seeds, public and evaluation keys and manifests.
///
/// It is believed in nothing: what comes back is checked against digests, signatures and seals by
/// the caller. It is asked for durability only: when `put` returns, the object survives a crash of
/// process and machine, and a reader sees the old object or the new one, never a mixture.
public protocol ObjectStore: Sendable {
    func put(_ bytes: [UInt8], at key: ObjectKey, onlyIfAbsent: Bool) async throws(ObjectStoreError)

    /// - Parameter limit: no more than this many bytes are read into memory.
    func get(_ key: ObjectKey, limit: Int) async throws(ObjectStoreError) -> [UInt8]

    /// Removes the object; one that is not there is no error.
    func delete(_ key: ObjectKey) async throws(ObjectStoreError)

    /// Keys that start with `prefix`, in ascending byte order.
    func list(prefix: String) async throws(ObjectStoreError) -> [ObjectKey]

    /// Returns when the store can be written to.
    func checkHealth() async throws(ObjectStoreError)
}
