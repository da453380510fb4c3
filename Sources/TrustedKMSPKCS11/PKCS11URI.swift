/// Which token of which module: a URI of RFC 7512, as strict as its grammar.
///
/// Read are `token`, `manufacturer`, `serial`, `model` and `slot-id`, and behind `?` `module-path` and `pin-source`.
/// Every other attribute is refused by name, because one that is ignored may have been what told tokens apart.
public struct PKCS11URI: Sendable, Hashable {
    // Each attribute of the token that is given must match.
    public let token: String?
    public let manufacturer: String?
    public let serial: String?
    public let model: String?
    public let slotID: UInt?
    /// Absolute path of the module's shared library.
    public let modulePath: String
    /// Absolute path of the file that holds the PIN.
    public let pinFile: String?

    private static let pathNames = ["token", "manufacturer", "serial", "model", "slot-id"]
    private static let queryNames = ["module-path", "pin-source"]

    /// The longest URI, in bytes.
    public static let maximumBytes = 4096

    /// - Throws: ``PKCS11URIError``.
    public init(_ text: String) throws(PKCS11URIError) { try self.init(bytes: Array(text.utf8)) }

    package init(bytes: [UInt8]) throws(PKCS11URIError) {
        guard bytes.count <= Self.maximumBytes else { throw .tooLong }
        let scheme = Array("pkcs11:".utf8)
        guard bytes.prefix(scheme.count).map(Self.lowercased) == scheme else { throw .notPKCS11 }
        let rest = bytes.dropFirst(scheme.count)
        let question = rest.firstIndex(of: UInt8(ascii: "?")) ?? rest.endIndex
        let path = try Self.attributes(rest[..<question], separator: UInt8(ascii: ";"), extra: "&")
        let query = try Self.attributes(rest[question...].dropFirst(), separator: UInt8(ascii: "&"), extra: "/?|")

        if query["pin-value"] != nil || path["pin-value"] != nil { throw .pinInside }
        if let name = path.keys.sorted().first(where: { !Self.pathNames.contains($0) }) { throw .unknown(name) }
        if let name = query.keys.sorted().first(where: { !Self.queryNames.contains($0) }) { throw .unknown(name) }

        token = try Self.text(path, "token", limit: 32)
        manufacturer = try Self.text(path, "manufacturer", limit: 32)
        serial = try Self.text(path, "serial", limit: 16)
        model = try Self.text(path, "model", limit: 16)
        if let digits = path["slot-id"] {
            guard (1...20).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }),
                let number = UInt(String(decoding: digits, as: UTF8.self))
            else { throw .invalid("slot-id") }
            slotID = number
        } else {
            slotID = nil
        }
        guard token != nil || serial != nil || slotID != nil else { throw .noToken }
        guard let module = try Self.text(query, "module-path", limit: 1024) else { throw .noModule }
        guard module.hasPrefix("/") else { throw .invalid("module-path") }
        modulePath = module
        pinFile = try Self.text(query, "pin-source", limit: 1024).map { source throws(PKCS11URIError) in
            let scheme = ["file://", "file:"].first { source.hasPrefix($0) } ?? ""
            let path = source.dropFirst(scheme.count)
            // `|program` of the RFC would run something; every other scheme would fetch something.
            guard path.hasPrefix("/") else { throw .invalid("pin-source") }
            return String(path)
        }
    }

    /// The attributes of the token, for messages.
    var tokenDescription: String {
        let named = [("token", token), ("manufacturer", manufacturer), ("serial", serial), ("model", model)]
        let parts = named.compactMap { name, value in value.map { "\(name)=\($0)" } }
        return (parts + (slotID.map { ["slot-id=\($0)"] } ?? [])).joined(separator: ";")
    }

    // MARK: Grammar

    /// Names and decoded values, separated by `separator`; `extra` are the characters that stand for themselves here
    /// and not in the other part.
    private static func attributes(
        _ part: ArraySlice<UInt8>, separator: UInt8, extra: String
    ) throws(PKCS11URIError) -> [String: [UInt8]] {
        guard !part.isEmpty else { return [:] }
        var attributes: [String: [UInt8]] = [:]
        for attribute in part.split(separator: separator, omittingEmptySubsequences: false) {
            guard let equals = attribute.firstIndex(of: UInt8(ascii: "=")) else { throw .malformed }
            let name = attribute[..<equals]
            guard (1...64).contains(name.count),
                name.allSatisfy({ isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") })
            else { throw .malformed }
            let key = String(decoding: name, as: UTF8.self)
            guard attributes[key] == nil else { throw .repeated(key) }
            attributes[key] = try decoded(attribute[(equals + 1)...], extra: extra)
        }
        return attributes
    }

    private static func decoded(_ value: ArraySlice<UInt8>, extra: String) throws(PKCS11URIError) -> [UInt8] {
        var decoded: [UInt8] = []
        var rest = value
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%") {
                guard let high = rest.popFirst().flatMap(nibble), let low = rest.popFirst().flatMap(nibble) else {
                    throw .malformed
                }
                decoded.append(high << 4 | low)
            } else if isAlphanumeric(byte) || "-._~:[]@!$'()*+,=".utf8.contains(byte) || extra.utf8.contains(byte) {
                decoded.append(byte)
            } else {
                throw .malformed
            }
        }
        return decoded
    }

    /// Not empty, UTF-8, without control characters.
    private static func text(
        _ attributes: [String: [UInt8]], _ name: String, limit: Int
    ) throws(PKCS11URIError) -> String? {
        guard let bytes = attributes[name] else { return nil }
        guard (1...limit).contains(bytes.count), bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }),
            let text = String(validating: bytes, as: UTF8.self)
        else { throw .invalid(name) }
        return text
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 {
        (0x41...0x5A).contains(byte) ? byte + 0x20 : byte
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x7A).contains(lowercased(byte))
    }

    private static func nibble(_ digit: UInt8) -> UInt8? {
        switch lowercased(digit) {
        case 0x30...0x39: digit - 0x30
        case 0x61...0x66: lowercased(digit) - 0x61 + 10
        default: nil
        }
    }
}

/// What is wrong with a PKCS#11 URI. Carries no value of it, since a PIN may stand in the wrong place.
public enum PKCS11URIError: Error, Sendable, Equatable, CustomStringConvertible {
    case notPKCS11
    case tooLong
    case malformed
    case repeated(String)
    case unknown(String)
    case invalid(String)
    case pinInside
    case noToken
    case noModule

    public var description: String {
        switch self {
        case .notPKCS11: "is no PKCS#11 URI: write pkcs11:token=LABEL?module-path=/path/of/the/module.so"
        case .tooLong: "is longer than \(PKCS11URI.maximumBytes) bytes"
        case .malformed:
            "is not of RFC 7512: attributes are name=value, separated by ';', behind '?' by '&', "
                + "and other characters than letters, digits and -._~ are written as %XX"
        case .repeated(let name): "names '\(name)' twice: leave one"
        case .unknown(let name):
            "names '\(name)', which is not read: token, manufacturer, serial, model and slot-id choose the token, "
                + "module-path and pin-source follow '?', and the key's label is kms.key"
        case .invalid("module-path"), .invalid("pin-source"):
            "has a module-path or pin-source that is no absolute path"
        case .invalid(let name): "has an empty, too long or unreadable '\(name)'"
        case .pinInside:
            "has a pin-value: take the PIN out, change it, and name a file in pinFile or a variable in pinEnvironment"
        case .noToken: "names no token: give token, serial or slot-id"
        case .noModule: "names no module: append ?module-path=/path/of/the/module.so"
        }
    }
}
