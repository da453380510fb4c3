/// A name in which `*` stands for any bytes, none among them. Everything else is itself.
struct NamePattern: Sendable, Hashable {
    private let bytes: [UInt8]
    private static let star = UInt8(ascii: "*")

    init(_ text: String) { bytes = Array(text.utf8) }

    var text: String { String(decoding: bytes, as: UTF8.self) }
    /// Matches one name alone.
    var isLiteral: Bool { !bytes.contains(Self.star) }

    /// In time of at most the product of the lengths: a star that took too few bytes takes one more, and those
    /// before it need not be asked again.
    func matches(_ name: String) -> Bool {
        let name = Array(name.utf8)
        var (place, next) = (0, 0)
        var retry: (place: Int, next: Int)?
        while next < name.count {
            if place < bytes.count, bytes[place] == Self.star {
                retry = (place + 1, next)
                place += 1
            } else if place < bytes.count, bytes[place] == name[next] {
                (place, next) = (place + 1, next + 1)
            } else if let (after, taken) = retry {
                retry = (after, taken + 1)
                (place, next) = (after, taken + 1)
            } else {
                return false
            }
        }
        return bytes[place...].allSatisfy { $0 == Self.star }
    }
}
