/// What tracing systems tell each other along a trace: the field `tracestate`, which is passed on as it came.
public struct TraceState: Sendable, Hashable {
    /// The recommendation's limit.
    public static let maximumMembers = 32
    /// What has to be passed on; members that end later are left out.
    public static let maximumBytes = 512

    private struct Member: Sendable, Hashable {
        let key: String
        let value: String
    }

    private let members: [Member]

    public init() { members = [] }

    /// Reads a field.
    /// - Returns: nil for a malformed member, a key that comes twice, or more than ``maximumMembers``.
    public init?(_ field: String) {
        var members: [Member] = []
        var keys: Set<String> = []
        for part in field.utf8.split(separator: 0x2C, omittingEmptySubsequences: true) {
            let trimmed = Self.trimmed(part)
            if trimmed.isEmpty { continue }
            guard let equals = trimmed.firstIndex(of: 0x3D), members.count < Self.maximumMembers else { return nil }
            let (key, value) = (trimmed[..<equals], trimmed[trimmed.index(after: equals)...])
            guard Self.isKey(key), Self.isValue(value), let key = String(key), let value = String(value),
                keys.insert(key).inserted
            else { return nil }
            members.append(Member(key: key, value: value))
        }
        self.members = members
    }

    public var isEmpty: Bool { members.isEmpty }

    /// The field's value.
    public var text: String {
        var text = ""
        for member in members {
            let next = (text.isEmpty ? "" : ",") + member.key + "=" + member.value
            guard text.utf8.count + next.utf8.count <= Self.maximumBytes else { break }
            text += next
        }
        return text
    }

    private static func trimmed(_ part: Substring.UTF8View.SubSequence) -> Substring.UTF8View.SubSequence {
        var part = part
        while let first = part.first, first == 0x20 || first == 0x09 { part = part.dropFirst() }
        while let last = part.last, last == 0x20 || last == 0x09 { part = part.dropLast() }
        return part
    }

    private static func isKey(_ key: Substring.UTF8View.SubSequence) -> Bool {
        guard (1...256).contains(key.count), let first = key.first, isLetterOrDigit(first) else { return false }
        // `_`, `-`, `*`, `/` and the `@` between tenant and system
        return key.allSatisfy { isLetterOrDigit($0) || [0x5F, 0x2D, 0x2A, 0x2F, 0x40].contains($0) }
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte)
    }

    private static func isValue(_ value: Substring.UTF8View.SubSequence) -> Bool {
        guard (1...256).contains(value.count), value.last != 0x20 else { return false }
        return value.allSatisfy { (0x20...0x7E).contains($0) && $0 != 0x2C && $0 != 0x3D }
    }
}
