/// A key of a key set that anybody may see.
public enum KeyObject: Sendable, Hashable {
    /// Rotation or conjugation, by its Galois element: odd, 3 to 2N-1.
    case galois(element: UInt32)
    case publicKey
    case relinearization

    /// - Parameter name: `public-key`, `relinearization` or `galois-ELEMENT`, as `KeySetInfo.Object` has it.
    /// - Returns: nil for any other name.
    public init?(name: String) {
        switch name {
        case "public-key": self = .publicKey
        case "relinearization": self = .relinearization
        default:
            let prefix = "galois-"
            guard name.hasPrefix(prefix), let element = UInt32(name.dropFirst(prefix.count)) else { return nil }
            self = .galois(element: element)
            // One name a key: galois-03 and galois-+3 are none.
            guard self.name == name else { return nil }
        }
    }

    /// The name in `KeySetInfo.Object`.
    public var name: String {
        switch self {
        case .galois(let element): "galois-\(element)"
        case .publicKey: "public-key"
        case .relinearization: "relinearization"
        }
    }

    /// Behind the key set's own path.
    var path: [String] {
        switch self {
        case .galois(let element): ["evaluation-keys", "galois", String(element)]
        case .publicKey: ["public-key"]
        case .relinearization: ["evaluation-keys", "relinearization"]
        }
    }
}
