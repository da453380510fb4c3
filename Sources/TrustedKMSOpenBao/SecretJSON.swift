/// Finds one member in a JSON document (RFC 8259) without copying any of it.
///
/// For answers that carry a secret, where a decoder would leave copies. Strict: a member twice, a
/// control character in a string, or anything after the document is malformed.
package enum SecretJSON {
    package enum Failure: Error, Equatable {
        case malformed
        /// The string has escapes, which base64, tokens and ciphertexts never need.
        case escaped
    }

    /// The bytes between the quotes of the string at `path`; nil where there is none.
    package static func string(
        _ path: String..., in bytes: UnsafeRawBufferPointer
    ) throws(Failure) -> UnsafeRawBufferPointer? {
        switch try find(path, in: bytes) {
        case .string(let range, let hasEscapes):
            if hasEscapes { throw .escaped }
            return UnsafeRawBufferPointer(rebasing: bytes[range])
        default: return nil
        }
    }

    /// The integer at `path`, at most 18 digits; nil where there is none.
    package static func integer(_ path: String..., in bytes: UnsafeRawBufferPointer) throws(Failure) -> Int? {
        guard case .scalar(let range) = try find(path, in: bytes), range.count <= 18 else { return nil }
        return Int(String(decoding: bytes[range], as: UTF8.self))
    }

    /// The boolean at `path`; nil where there is none.
    package static func boolean(_ path: String..., in bytes: UnsafeRawBufferPointer) throws(Failure) -> Bool? {
        guard case .scalar(let range) = try find(path, in: bytes), range.count <= 5 else { return nil }
        return Bool(String(decoding: bytes[range], as: UTF8.self))
    }

    private static func find(_ path: [String], in bytes: UnsafeRawBufferPointer) throws(Failure) -> Value? {
        var scanner = Scanner(bytes: bytes)
        let found = try scanner.value(at: path[...], depth: 0)
        scanner.skipWhitespace()
        guard scanner.isAtEnd else { throw .malformed }
        return found
    }

    private enum Value {
        case string(Range<Int>, hasEscapes: Bool)
        /// A number, true, false or null.
        case scalar(Range<Int>)
        case container
    }

    private struct Scanner {
        static let maximumDepth = 32
        let bytes: UnsafeRawBufferPointer
        var position = 0

        var isAtEnd: Bool { position == bytes.count }

        mutating func skipWhitespace() {
            while !isAtEnd, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) { position += 1 }
        }

        private mutating func next() throws(Failure) -> UInt8 {
            guard !isAtEnd else { throw .malformed }
            defer { position += 1 }
            return bytes[position]
        }

        /// Skips whitespace, then takes `byte` if it comes next.
        private mutating func take(_ byte: UInt8) -> Bool {
            skipWhitespace()
            guard !isAtEnd, bytes[position] == byte else { return false }
            position += 1
            return true
        }

        /// Reads over one value. An empty `path` means this value, nil none inside it.
        mutating func value(at path: ArraySlice<String>?, depth: Int) throws(Failure) -> Value? {
            guard depth < Self.maximumDepth else { throw .malformed }
            skipWhitespace()
            let isWanted = path?.isEmpty ?? false
            switch try next() {
            case UInt8(ascii: "{"):
                let inner = try object(at: isWanted ? nil : path, depth: depth)
                return isWanted ? .container : inner
            case UInt8(ascii: "["):
                if !take(UInt8(ascii: "]")) {
                    repeat { _ = try value(at: nil, depth: depth + 1) } while take(UInt8(ascii: ","))
                    guard take(UInt8(ascii: "]")) else { throw .malformed }
                }
                return isWanted ? .container : nil
            case UInt8(ascii: "\""):
                let (range, hasEscapes) = try string()
                return isWanted ? .string(range, hasEscapes: hasEscapes) : nil
            default:
                position -= 1
                let range = try scalar()
                return isWanted ? .scalar(range) : nil
            }
        }

        private mutating func object(at path: ArraySlice<String>?, depth: Int) throws(Failure) -> Value? {
            if take(UInt8(ascii: "}")) { return nil }
            var found: Value?
            var wasSeen = false
            repeat {
                guard take(UInt8(ascii: "\"")) else { throw .malformed }
                let (name, _) = try string()
                guard take(UInt8(ascii: ":")) else { throw .malformed }
                if let path, let wanted = path.first, bytes[name].elementsEqual(wanted.utf8) {
                    guard !wasSeen else { throw .malformed }
                    wasSeen = true
                    found = try value(at: path.dropFirst(), depth: depth + 1)
                } else {
                    _ = try value(at: nil, depth: depth + 1)
                }
            } while take(UInt8(ascii: ","))
            guard take(UInt8(ascii: "}")) else { throw .malformed }
            return found
        }

        /// Behind the opening quote.
        private mutating func string() throws(Failure) -> (Range<Int>, hasEscapes: Bool) {
            let start = position
            var hasEscapes = false
            while true {
                switch try next() {
                case UInt8(ascii: "\""): return (start..<position - 1, hasEscapes)
                case UInt8(ascii: "\\"):
                    hasEscapes = true
                    guard "\"\\/bfnrtu".utf8.contains(try next()) else { throw .malformed }
                case 0..<0x20: throw .malformed
                default: break
                }
            }
        }

        private mutating func scalar() throws(Failure) -> Range<Int> {
            let start = position
            while !isAtEnd, "+-.0123456789Eaeflnrstu".utf8.contains(bytes[position]) { position += 1 }
            let text = bytes[start..<position]
            let isLiteral = ["true", "false", "null"].contains { text.elementsEqual($0.utf8) }
            // A number's exact form is its reader's business; here it only has to start like one.
            guard isLiteral || text.first.map({ $0 == UInt8(ascii: "-") || (0x30...0x39).contains($0) }) == true
            else { throw .malformed }
            return start..<position
        }
    }
}
