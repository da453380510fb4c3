import FoundationEssentials
import HTTPTypes

extension HTTPField.Name {
    /// Server-Timing (W3C Server Timing).
    public static let serverTiming = HTTPField.Name("Server-Timing")!
}

/// Durations of the parts of a request, as the Server-Timing field carries them (W3C Server Timing).
public struct ServerTiming: Sendable, Equatable {
    /// One part: its name and how long it took.
    public struct Entry: Sendable, Hashable {
        /// A token (RFC 9110, section 5.6.2).
        public let name: String
        /// Milliseconds, finite, 0 to ``ServerTiming/maximumMilliseconds``.
        public let milliseconds: Double

        /// A character of `name` that no token may have becomes `_`, and `milliseconds` is brought
        /// into range: a wrong timing must never fail the request that it describes.
        public init(name: String, milliseconds: Double) {
            var token = name.utf8.prefix(ServerTiming.maximumNameBytes).map { byte in
                ServerTiming.isTokenByte(byte) ? byte : UInt8(ascii: "_")
            }
            if token.isEmpty { token = [UInt8(ascii: "_")] }
            self.name = String(decoding: token, as: UTF8.self)
            self.milliseconds =
                milliseconds.isNaN ? 0 : min(max(milliseconds, 0), ServerTiming.maximumMilliseconds)
        }
    }

    /// The longest name in bytes.
    public static let maximumNameBytes = 64
    /// The largest number of entries read from a field; further ones are dropped.
    public static let maximumEntries = 64
    /// The longest field read, in bytes; a longer one counts as empty.
    public static let maximumFieldBytes = 16_384
    /// The longest duration, about 31 years.
    public static let maximumMilliseconds = 1e12

    /// The parts in the order in which they were measured.
    public var entries: [Entry]

    public init(_ entries: [Entry] = []) {
        self.entries = entries
    }

    /// Reads any text: what is no entry with a duration is skipped.
    public init(fieldValue: String) {
        entries = []
        guard fieldValue.utf8.count <= Self.maximumFieldBytes else { return }
        for member in Self.split(Array(fieldValue.utf8)[...], at: UInt8(ascii: ",")) {
            guard entries.count < Self.maximumEntries else { return }
            let parts = Self.split(member, at: UInt8(ascii: ";"))
            guard let first = parts.first else { continue }
            let name = Self.trimmed(first)
            guard !name.isEmpty, name.count <= Self.maximumNameBytes, name.allSatisfy(Self.isTokenByte) else {
                continue
            }
            guard let milliseconds = parts.dropFirst().lazy.compactMap(Self.duration).first else { continue }
            entries.append(Entry(name: String(decoding: name, as: UTF8.self), milliseconds: milliseconds))
        }
    }

    /// Adds one part at the end.
    public mutating func append(_ name: String, milliseconds: Double) {
        entries.append(Entry(name: name, milliseconds: milliseconds))
    }

    /// Adds one part at the end.
    public mutating func append(_ name: String, _ duration: Duration) {
        append(name, milliseconds: duration / .milliseconds(1))
    }

    /// Runs `body` and adds the time it took, also where it throws.
    public mutating func measure<Result, Failure: Error>(
        _ name: String, _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let start = ContinuousClock.now
        defer { append(name, ContinuousClock.now - start) }
        return try body()
    }

    /// The field's value, durations rounded to microseconds: `derive;dur=12.5, encrypt;dur=3`.
    public var fieldValue: String {
        entries.map { "\($0.name);dur=\(Self.decimal($0.milliseconds))" }.joined(separator: ", ")
    }

    /// Decimal digits without an exponent and in no locale.
    private static func decimal(_ milliseconds: Double) -> String {
        let microseconds = Int((milliseconds * 1_000).rounded())
        var fraction = String(microseconds % 1_000 + 1_000).dropFirst()
        while fraction.last == "0" { fraction.removeLast() }
        return fraction.isEmpty ? "\(microseconds / 1_000)" : "\(microseconds / 1_000).\(fraction)"
    }

    private static func duration(_ parameter: ArraySlice<UInt8>) -> Double? {
        guard let equals = parameter.firstIndex(of: UInt8(ascii: "=")) else { return nil }
        let key = trimmed(parameter[..<equals])
        guard String(decoding: key, as: UTF8.self).lowercased() == "dur" else { return nil }
        var digits = trimmed(parameter[(equals + 1)...])
        if digits.count >= 2, digits.first == UInt8(ascii: "\""), digits.last == UInt8(ascii: "\"") {
            digits = digits.dropFirst().dropLast()
        }
        guard digits.count <= 32, let value = Double(String(decoding: digits, as: UTF8.self)),
            value.isFinite, (0...maximumMilliseconds) ~= value
        else { return nil }
        return value
    }

    /// Splits outside of quoted strings.
    private static func split(_ bytes: ArraySlice<UInt8>, at separator: UInt8) -> [ArraySlice<UInt8>] {
        var parts: [ArraySlice<UInt8>] = []
        var start = bytes.startIndex
        var quoted = false
        var escaped = false
        for index in bytes.indices {
            let byte = bytes[index]
            if escaped {
                escaped = false
            } else if quoted, byte == UInt8(ascii: "\\") {
                escaped = true
            } else if byte == UInt8(ascii: "\"") {
                quoted.toggle()
            } else if !quoted, byte == separator {
                parts.append(bytes[start..<index])
                start = index + 1
            }
        }
        parts.append(bytes[start...])
        return parts
    }

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let isBlank = { (byte: UInt8) in byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
        var bytes = bytes.drop(while: isBlank)
        while let last = bytes.last, isBlank(last) { bytes.removeLast() }
        return bytes
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default:
            "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}
