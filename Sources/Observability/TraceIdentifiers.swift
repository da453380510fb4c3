/// The 16 bytes that name a trace, not all of them zero.
public struct TraceID: Sendable, Hashable, CustomStringConvertible {
    private let high: UInt64
    private let low: UInt64

    /// A random one.
    public init() {
        (high, low) = (.random(in: .min ... .max), .random(in: 1 ... .max))
    }

    /// - Returns: nil for anything but 32 lower-case hex digits that are not all zero.
    public init?(hex: some Sequence<UInt8>) {
        guard let words = Hex.words(hex, count: 2), words != [0, 0] else { return nil }
        (high, low) = (words[0], words[1])
    }

    /// 32 lower-case hex digits.
    public var hex: String { Hex.text(high) + Hex.text(low) }
    public var description: String { hex }
}

/// The 8 bytes that name a span of a trace, not all of them zero.
public struct SpanID: Sendable, Hashable, CustomStringConvertible {
    private let value: UInt64

    /// A random one.
    public init() { value = .random(in: 1 ... .max) }

    /// - Returns: nil for anything but 16 lower-case hex digits that are not all zero.
    public init?(hex: some Sequence<UInt8>) {
        guard let words = Hex.words(hex, count: 1), words != [0] else { return nil }
        value = words[0]
    }

    /// 16 lower-case hex digits.
    public var hex: String { Hex.text(value) }
    public var description: String { hex }
}

enum Hex {
    static func text(_ word: UInt64) -> String {
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }

    static func digit(_ byte: UInt8) -> UInt64? {
        switch byte {
        case 0x30...0x39: UInt64(byte - 0x30)
        case 0x61...0x66: UInt64(byte - 0x61 + 10)
        default: nil
        }
    }

    /// - Returns: nil unless there are 16 lower-case hex digits for each word.
    static func words(_ hex: some Sequence<UInt8>, count: Int) -> [UInt64]? {
        var words = Array(repeating: UInt64(0), count: count)
        var index = 0
        for byte in hex {
            guard index < 16 * count, let digit = digit(byte) else { return nil }
            words[index / 16] = words[index / 16] << 4 | digit
            index += 1
        }
        return index == 16 * count ? words : nil
    }
}
