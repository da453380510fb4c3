import Yams

/// What all sections of one file share: its name and what is wrong with it.
final class YAMLSource {
    let name: String
    private(set) var issues: [ConfigurationError.Issue] = []

    init(name: String) {
        self.name = name
    }

    func note(line: Int, _ message: String) {
        issues.append(.init(file: name, line: line, message: message))
    }
}

/// A mapping of a YAML file.
///
/// A reader whose value is missing or wrong notes the error and returns a placeholder; see
/// ``YAMLDocument/finish()``. A section itself that is missing where it must be there is noted once,
/// and its values are not missed again.
public final class YAMLSection {
    let source: YAMLSource
    // Keys from the top, joined by dots, for messages.
    private let path: String
    // The line of the mapping or, where there is none, of what should have it.
    public let line: Int
    // The placeholder of a section that was already noted as missing or wrong.
    private let isPlaceholder: Bool
    private var values: [String: Value] = [:]
    private var order: [String] = []
    private var known: Set<String> = []
    private var opened: [YAMLSection] = []

    private struct Value {
        let line: Int
        let node: Node
    }

    init(mapping: Node.Mapping, path: String, source: YAMLSource) {
        self.source = source
        self.path = path
        line = mapping.mark?.line ?? 1
        isPlaceholder = false
        for (key, value) in mapping {
            let line = key.mark?.line ?? self.line
            guard let name = key.scalar?.string else {
                source.note(line: line, "a key must be plain text")
                continue
            }
            // Yams takes 1 and "1" for different keys; as text they are not.
            guard values[name] == nil else {
                source.note(line: line, "a key appears twice: '\(name.prefix(64))'")
                continue
            }
            values[name] = Value(line: line, node: value)
            order.append(name)
        }
    }

    private init(placeholderIn source: YAMLSource, path: String, line: Int) {
        self.source = source
        self.path = path
        self.line = line
        isPlaceholder = true
    }

    /// The keys in the order of the file, for mappings whose keys are names.
    public var keys: [String] { order }

    /// Whether `key` is there with a value other than null. Does not count as reading the key.
    public func contains(_ key: String) -> Bool {
        values[key].map { !Self.isNull($0.node) } ?? false
    }

    /// Counts `key` as read, whatever it holds: for a part of the file that another reader checks.
    public func ignore(_ key: String) { known.insert(key) }

    /// Notes that the value of `key` is wrong. `message` follows the key's name.
    public func fail(_ key: String, _ message: String) {
        guard !isPlaceholder else { return }
        source.note(line: values[key]?.line ?? line, "\(name(key)): \(message)")
    }

    // MARK: Text

    /// The text at `key`, which must be there; the placeholder is empty. A number or a boolean counts as its text.
    public func string(_ key: String) -> String {
        read(key, "text", placeholder: "", Self.text)
    }

    /// The text at `key`, or `fallback` where it is not there.
    public func string(_ key: String, default fallback: String) -> String {
        optionalString(key) ?? fallback
    }

    /// The text at `key`, or nil where it is not there.
    public func optionalString(_ key: String) -> String? {
        readOptional(key, "text", Self.text)
    }

    // MARK: Integers

    /// The integer at `key`, which must be there and in `range`; the placeholder is the lower bound.
    public func int(_ key: String, in range: ClosedRange<Int> = 0...Int.max) -> Int {
        read(key, Self.expected(range), placeholder: range.lowerBound) { Self.integer($0, range) }
    }

    /// The integer at `key`, in `range`, or `fallback` where it is not there.
    public func int(_ key: String, default fallback: Int, in range: ClosedRange<Int> = 0...Int.max) -> Int {
        optionalInt(key, in: range) ?? fallback
    }

    /// The integer at `key`, in `range`, or nil where it is not there.
    public func optionalInt(_ key: String, in range: ClosedRange<Int> = 0...Int.max) -> Int? {
        readOptional(key, Self.expected(range)) { Self.integer($0, range) }
    }

    // MARK: Booleans

    /// The boolean at `key`, which must be there; the placeholder is false.
    public func bool(_ key: String) -> Bool {
        read(key, "true or false", placeholder: false, Self.boolean)
    }

    /// The boolean at `key`, or `fallback` where it is not there.
    public func bool(_ key: String, default fallback: Bool) -> Bool {
        readOptional(key, "true or false", Self.boolean) ?? fallback
    }

    // MARK: Enumerations

    /// The case at `key`, which must be there; the placeholder is the first case.
    public func enumeration<T: CaseIterable & RawRepresentable<String>>(_ key: String, of type: T.Type) -> T {
        guard let first = T.allCases.first else { preconditionFailure("an enumeration has cases") }
        guard contains(key) else { return read(key, Self.expected(type), placeholder: first) { _ in nil } }
        return optionalEnumeration(key, of: type) ?? first
    }

    /// The case at `key`, or `fallback` where it is not there.
    public func enumeration<T: CaseIterable & RawRepresentable<String>>(
        _ key: String, of type: T.Type, default fallback: T
    ) -> T {
        optionalEnumeration(key, of: type) ?? fallback
    }

    /// The case at `key`, or nil where it is not there.
    public func optionalEnumeration<T: CaseIterable & RawRepresentable<String>>(
        _ key: String, of type: T.Type
    ) -> T? {
        let names = T.allCases.map(\.rawValue)
        guard let text = readOptional(key, Self.expected(type), Self.text) else { return nil }
        if let value = T(rawValue: text) { return value }
        fail(key, "must be \(Self.expected(type))\(Self.suggestion(text, among: names))")
        return nil
    }

    // MARK: Lists

    /// The list of texts at `key`, which must be there; the placeholder is empty.
    public func strings(_ key: String) -> [String] {
        read(key, "a list of texts", placeholder: [], Self.texts)
    }

    /// The list of texts at `key`, or `fallback` where it is not there.
    public func strings(_ key: String, default fallback: [String]) -> [String] {
        readOptional(key, "a list of texts", Self.texts) ?? fallback
    }

    /// The list of mappings at `key`, which must be there; the placeholder is empty.
    public func sections(_ key: String) -> [YAMLSection] {
        guard contains(key) else { return read(key, "a list of mappings", placeholder: []) { _ in nil } }
        return optionalSections(key)
    }

    /// The list of mappings at `key`, empty where it is not there.
    public func optionalSections(_ key: String) -> [YAMLSection] {
        guard let sequence = readOptional(key, "a list of mappings", \.sequence) else { return [] }
        return sequence.enumerated().compactMap { index, element in
            let place = "\(name(key))[\(index)]"
            guard let mapping = element.mapping else {
                source.note(line: element.mark?.line ?? line, "\(place): must be a mapping")
                return nil
            }
            return open(YAMLSection(mapping: mapping, path: place, source: source))
        }
    }

    // MARK: Sections

    /// The mapping at `key`, which must be there; the placeholder is one that misses nothing.
    public func section(_ key: String) -> YAMLSection {
        if contains(key), let section = optionalSection(key) { return section }
        if !contains(key) { read(key, "a mapping", placeholder: ()) { _ in nil } }
        return YAMLSection(placeholderIn: source, path: name(key), line: values[key]?.line ?? line)
    }

    /// The mapping at `key`, or nil where it is not there.
    public func optionalSection(_ key: String) -> YAMLSection? {
        guard let mapping = readOptional(key, "a mapping", \.mapping) else { return nil }
        return open(YAMLSection(mapping: mapping, path: name(key), source: source))
    }

    // MARK: Unknown keys

    /// Notes each key that nothing has asked for, here and in the sections opened from here.
    func noteUnknownKeys() {
        for key in order where !known.contains(key) {
            guard let value = values[key] else { continue }
            let hint = Self.suggestion(key, among: known.sorted())
            source.note(line: value.line, "\(name(String(key.prefix(64)))): unknown key\(hint)")
        }
        for section in opened { section.noteUnknownKeys() }
    }

    private func open(_ section: YAMLSection) -> YAMLSection {
        opened.append(section)
        return section
    }
}

// MARK: - Reading

extension YAMLSection {
    @discardableResult
    private func read<T>(_ key: String, _ expected: String, placeholder: T, _ convert: (Node) -> T?) -> T {
        known.insert(key)
        guard contains(key) else {
            if !isPlaceholder {
                source.note(line: values[key]?.line ?? line, "\(name(key)): is missing; it must be \(expected)")
            }
            return placeholder
        }
        return readOptional(key, expected, convert) ?? placeholder
    }

    private func readOptional<T>(_ key: String, _ expected: String, _ convert: (Node) -> T?) -> T? {
        known.insert(key)
        guard contains(key), let value = values[key] else { return nil }
        guard let result = convert(value.node) else {
            // The value is not quoted: it may be a secret in the wrong place.
            fail(key, "must be \(expected)")
            return nil
        }
        return result
    }

    private func name(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    /// As in the core schema of YAML 1.2 (section 10.3.2).
    private static func isNull(_ node: Node) -> Bool {
        guard let scalar = node.scalar, scalar.style == .plain else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    private static func text(_ node: Node) -> String? { node.scalar?.string }

    private static func texts(_ node: Node) -> [String]? {
        guard let sequence = node.sequence else { return nil }
        var texts: [String] = []
        for element in sequence {
            guard !isNull(element), let text = text(element) else { return nil }
            texts.append(text)
        }
        return texts
    }

    /// Decimal digits, with `_` between them for legibility. Neither 0x10 nor 010: too easily misread.
    private static func integer(_ node: Node, _ range: ClosedRange<Int>) -> Int? {
        guard let scalar = node.scalar, scalar.style == .plain, scalar.string.utf8.count <= 32 else { return nil }
        let negative = scalar.string.hasPrefix("-")
        let digits = scalar.string.dropFirst(negative ? 1 : 0)
        guard let first = digits.utf8.first, let last = digits.utf8.last,
            isDigit(first), isDigit(last), digits.utf8.allSatisfy({ isDigit($0) || $0 == UInt8(ascii: "_") }),
            first != UInt8(ascii: "0") || digits.utf8.count == 1,
            let value = Int((negative ? "-" : "") + digits.filter { $0 != "_" }), range.contains(value)
        else { return nil }
        return value
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func boolean(_ node: Node) -> Bool? {
        guard let scalar = node.scalar, scalar.style == .plain else { return nil }
        return switch scalar.string {
        case "true": true
        case "false": false
        default: nil
        }
    }

    private static func expected(_ range: ClosedRange<Int>) -> String {
        range.upperBound == Int.max
            ? "an integer of at least \(range.lowerBound)"
            : "an integer from \(range.lowerBound) to \(range.upperBound)"
    }

    private static func expected<T: CaseIterable & RawRepresentable<String>>(_ type: T.Type) -> String {
        let names = T.allCases.map(\.rawValue)
        guard let last = names.last, names.count > 1 else { return names.joined() }
        return names.dropLast().joined(separator: ", ") + " or " + last
    }

    /// `; did you mean x?` for the nearest of `candidates`, or nothing where none is near.
    private static func suggestion(_ text: String, among candidates: [String]) -> String {
        guard text.utf8.count <= 64 else { return "" }
        let near = candidates.map { (name: $0, distance: distance(text.lowercased(), $0.lowercased())) }
            .filter { candidate in
                let length = min(text.utf8.count, candidate.name.utf8.count)
                return candidate.distance <= max(1, length / 3) && candidate.distance < length
            }
            .min { $0.distance < $1.distance }
        return near.map { "; did you mean \($0.name)?" } ?? ""
    }

    /// The number of bytes to insert, remove, replace or swap with a neighbour (optimal string alignment).
    private static func distance(_ left: String, _ right: String) -> Int {
        let left = Array(left.utf8)
        let right = Array(right.utf8)
        var beforeLast: [Int] = []
        var last = Array(0...right.count)
        for i in left.indices {
            var row = [i + 1]
            for j in right.indices {
                var best = min(last[j] + (left[i] == right[j] ? 0 : 1), min(last[j + 1], row[j]) + 1)
                if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
                    best = min(best, beforeLast[j - 1] + 1)
                }
                row.append(best)
            }
            (beforeLast, last) = (last, row)
        }
        return last[right.count]
    }
}
