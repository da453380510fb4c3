/// A name, compared byte for byte. Swift's `String` takes texts for equal that Unicode calls equivalent; identity
/// providers need not, and names that look alike may be two people.
struct ExactName: Sendable, Hashable, Comparable {
    private let bytes: [UInt8]

    init(_ text: String) { bytes = Array(text.utf8) }

    var text: String { String(decoding: bytes, as: UTF8.self) }

    static func < (one: ExactName, other: ExactName) -> Bool { one.bytes.lexicographicallyPrecedes(other.bytes) }

    static func areEqual(_ one: String, _ other: String) -> Bool { one.utf8.elementsEqual(other.utf8) }
}

/// Names that a rule lists.
struct NameList: Sendable, Hashable {
    private let names: Set<ExactName>

    init(_ texts: some Sequence<String>) { names = Set(texts.map { ExactName($0) }) }
    private init(_ names: Set<ExactName>) { self.names = names }

    var isEmpty: Bool { names.isEmpty }
    var count: Int { names.count }
    /// Sorted.
    var texts: [String] { names.sorted().map(\.text) }

    func contains(_ text: String) -> Bool { names.contains(ExactName(text)) }
    func contains(anyOf texts: [String]) -> Bool { texts.contains(where: contains) }
    func isSubset(of other: NameList) -> Bool { names.isSubset(of: other.names) }
    func intersection(_ other: NameList) -> NameList { NameList(names.intersection(other.names)) }
}
