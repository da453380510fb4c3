/// JSON in the one form that an audit line has: no spaces, members in a given order, integers from 0 without leading
/// zeros, and text of printable ASCII in which everything else is escaped.
///
/// Text: `"` is `\"`, `\` is `\\`, and each UTF-16 unit outside of U+0020...U+007E is `\u` and four lower-case hex
/// digits. So no name, whatever its characters, begins a line, moves a cursor, or turns the direction of writing.
enum CanonicalJSON: Equatable {
    case integer(Int)
    case text(String)
    case list([CanonicalJSON])
    case object([Member])

    struct Member: Equatable {
        let name: String
        let value: CanonicalJSON

        init(_ name: String, _ value: CanonicalJSON) {
            self.name = name
            self.value = value
        }
    }

    // MARK: - Writing

    func append(to bytes: inout [UInt8]) {
        switch self {
        case .integer(let value): bytes += String(value).utf8
        case .text(let text): Self.append(text, to: &bytes)
        case .list(let values):
            bytes.append(UInt8(ascii: "["))
            for (index, value) in values.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                value.append(to: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        case .object(let members):
            bytes.append(UInt8(ascii: "{"))
            for (index, member) in members.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                Self.append(member.name, to: &bytes)
                bytes.append(UInt8(ascii: ":"))
                member.value.append(to: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        }
    }

    private static func append(_ text: String, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        defer { bytes.append(UInt8(ascii: "\"")) }
        if text.utf8.allSatisfy(isPlain) {
            bytes += text.utf8
            return
        }
        for unit in text.utf16 {
            switch unit {
            case 0x22, 0x5C: bytes += [0x5C, UInt8(unit)]
            case 0x20...0x7E: bytes.append(UInt8(unit))
            default:
                bytes += [0x5C, UInt8(ascii: "u")]
                for shift in [12, 8, 4, 0] as [UInt16] { bytes.append(digits[Int(unit >> shift & 15)]) }
            }
        }
    }

    /// Whether a byte stands for itself in a text.
    private static func isPlain(_ byte: UInt8) -> Bool { (0x20...0x7E).contains(byte) && byte != 0x22 && byte != 0x5C }

    private static let digits = Array("0123456789abcdef".utf8)

    // MARK: - Reading

    /// Objects and lists within each other, at most.
    private static let maximumDepth = 4

    /// Reads bytes that are one such value and nothing else. Other JSON is refused, or read as what is written
    /// differently: who must know that the form is canonical writes it again and compares.
    init(parsing bytes: ArraySlice<UInt8>) throws(AuditLineError) {
        var rest = bytes
        self = try Self.value(&rest, depth: 0)
        guard rest.isEmpty else { throw AuditLineError("something follows behind its end") }
    }

    private static func value(_ rest: inout ArraySlice<UInt8>, depth: Int) throws(AuditLineError) -> CanonicalJSON {
        guard depth <= maximumDepth else { throw AuditLineError("it is nested too deeply") }
        switch rest.first {
        case UInt8(ascii: "\""): return .text(try text(&rest))
        case UInt8(ascii: "["):
            rest.removeFirst()
            var values: [CanonicalJSON] = []
            while !take("]", &rest) {
                if !values.isEmpty { try expect(",", &rest) }
                values.append(try value(&rest, depth: depth + 1))
            }
            return .list(values)
        case UInt8(ascii: "{"):
            rest.removeFirst()
            var members: [Member] = []
            while !take("}", &rest) {
                if !members.isEmpty { try expect(",", &rest) }
                let name = try text(&rest)
                try expect(":", &rest)
                members.append(Member(name, try value(&rest, depth: depth + 1)))
            }
            return .object(members)
        default: return .integer(try integer(&rest))
        }
    }

    private static func take(_ character: Unicode.Scalar, _ rest: inout ArraySlice<UInt8>) -> Bool {
        guard rest.first == UInt8(ascii: character) else { return false }
        rest.removeFirst()
        return true
    }

    private static func expect(
        _ character: Unicode.Scalar, _ rest: inout ArraySlice<UInt8>
    ) throws(AuditLineError) {
        guard take(character, &rest) else { throw AuditLineError("\(character) is missing where it belongs") }
    }

    private static func integer(_ rest: inout ArraySlice<UInt8>) throws(AuditLineError) -> Int {
        let digits = rest.prefix { (0x30...0x39).contains($0) }
        guard let value = Int(String(decoding: digits, as: UTF8.self)) else {
            throw AuditLineError("what stands there is no value")
        }
        rest = rest[digits.endIndex...]
        return value
    }

    private static func text(_ rest: inout ArraySlice<UInt8>) throws(AuditLineError) -> String {
        try expect("\"", &rest)
        // Nearly every text has no escape.
        if let end = rest.firstIndex(where: { !isPlain($0) }), rest[end] == UInt8(ascii: "\"") {
            defer { rest = rest[(end + 1)...] }
            return String(decoding: rest[..<end], as: UTF8.self)
        }
        var units: [UInt16] = []
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""):
                // Half a character would come out as another one.
                guard let text = String(validating: units, as: UTF16.self) else {
                    throw AuditLineError("an escape is half a character")
                }
                return text
            case 0x5C: units.append(try escape(&rest))
            case 0x20...0x7E: units.append(UInt16(byte))
            default: throw AuditLineError("a byte is not printable ASCII")
            }
        }
        throw AuditLineError("a text has no end")
    }

    private static func escape(_ rest: inout ArraySlice<UInt8>) throws(AuditLineError) -> UInt16 {
        switch rest.popFirst() {
        case 0x22: return 0x22
        case 0x5C: return 0x5C
        case UInt8(ascii: "u"):
            let hex = rest.prefix(4)
            guard hex.count == 4, hex.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }),
                let unit = UInt16(String(decoding: hex, as: UTF8.self), radix: 16)
            else { break }
            rest = rest[hex.endIndex...]
            return unit
        default: break
        }
        throw AuditLineError("an escape is none of this form")
    }
}

/// The members of an object, taken in their order.
struct CanonicalFields {
    private var members: ArraySlice<CanonicalJSON.Member>

    init(_ value: CanonicalJSON) throws(AuditLineError) {
        guard case .object(let members) = value else { throw AuditLineError("an object is missing where it belongs") }
        self.members = members[...]
    }

    /// The next member if it has this name.
    mutating func take(_ name: String) -> CanonicalJSON? {
        guard members.first?.name == name else { return nil }
        return members.removeFirst().value
    }

    mutating func optionalText(_ name: String) throws(AuditLineError) -> String? {
        switch take(name) {
        case nil: return nil
        case .text(let text): return text
        default: throw AuditLineError("\(name) is no text")
        }
    }

    mutating func text(_ name: String) throws(AuditLineError) -> String {
        guard let text = try optionalText(name) else { throw AuditLineError("\(name) is missing where it belongs") }
        return text
    }

    mutating func optionalInteger(_ name: String) throws(AuditLineError) -> Int? {
        switch take(name) {
        case nil: return nil
        case .integer(let value): return value
        default: throw AuditLineError("\(name) is no number")
        }
    }

    mutating func integer(_ name: String) throws(AuditLineError) -> Int {
        guard let value = try optionalInteger(name) else { throw AuditLineError("\(name) is missing where it belongs") }
        return value
    }

    /// Empty where the member is not there.
    mutating func list(_ name: String) throws(AuditLineError) -> [CanonicalJSON] {
        switch take(name) {
        case nil: return []
        case .list(let values): return values
        default: throw AuditLineError("\(name) is no list")
        }
    }

    func finish() throws(AuditLineError) {
        if let member = members.first { throw AuditLineError("\(member.name.prefix(32)) does not belong there") }
    }
}

/// Why bytes are no line of an audit log.
public struct AuditLineError: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}
