import NIOCore
import ServiceKit
import Testing

@Suite struct OctetBundleTests {
    private static let good = OctetBundle.encode([[1, 2, 3], [], [4]])

    private func decode(_ bytes: [UInt8], count: Int = 8, bytes maximum: Int = 1_024) throws(OctetBundleError)
        -> [[UInt8]]
    {
        try OctetBundle.decode(bytes, maximumCount: count, maximumBytes: maximum)
    }

    @Test func formIsFixed() {
        let expected: [UInt8] =
            Array("HKMSBNDL".utf8) + [1, 0, 0, 0, 3, 0, 0, 0]
            + [3, 0, 0, 0, 0, 0, 0, 0] + [0, 0, 0, 0, 0, 0, 0, 0] + [1, 0, 0, 0, 0, 0, 0, 0] + [1, 2, 3, 4]
        #expect(Self.good == expected)
        #expect(OctetBundle.encodedByteCount(lengths: [3, 0, 1]) == expected.count)
        #expect(OctetBundle.encodeHeader(lengths: [3, 0, 1]) + [1, 2, 3, 4] == expected)
    }

    @Test func roundTrips() throws {
        for strings: [[UInt8]] in [[], [[]], [[1, 2, 3], [], [4]]] {
            #expect(try decode(OctetBundle.encode(strings)) == strings)
        }
    }

    @Test func buffersAreRead() throws {
        var buffer = ByteBuffer(bytes: [9, 9] + Self.good)
        buffer.moveReaderIndex(forwardBy: 2)
        let strings = try OctetBundle.decode(buffer, maximumCount: 3, maximumBytes: 4)
        #expect(strings.map { Array($0.readableBytesView) } == [[1, 2, 3], [], [4]])
        #expect(throws: OctetBundleError.truncated) {
            try OctetBundle.decode(ByteBuffer(), maximumCount: 3, maximumBytes: 4)
        }
    }

    @Test func everyFaultHasItsName() {
        func altered(_ index: Int, _ value: UInt8) -> [UInt8] {
            var bytes = Self.good
            bytes[index] = value
            return bytes
        }
        #expect(throws: OctetBundleError.wrongMagic) { try decode(altered(0, 0)) }
        #expect(throws: OctetBundleError.unsupportedVersion(2)) { try decode(altered(8, 2)) }
        #expect(throws: OctetBundleError.reservedBytesNotZero) { try decode(altered(11, 1)) }
        #expect(throws: OctetBundleError.tooManyStrings(count: 3, maximum: 2)) { try decode(Self.good, count: 2) }
        #expect(throws: OctetBundleError.tooManyBytes(maximum: 3)) { try decode(Self.good, bytes: 3) }
        #expect(throws: OctetBundleError.tooManyBytes(maximum: 1_024)) { try decode(altered(23, 0xff)) }
        #expect(throws: OctetBundleError.trailingBytes(count: 1)) { try decode(Self.good + [0]) }
        for length in 0..<Self.good.count {
            #expect(throws: OctetBundleError.truncated) { try decode(Array(Self.good.prefix(length))) }
        }
    }

    @Test func announcedSizesAllocateNothing() {
        let huge = Array(Self.good.prefix(12)) + [0xff, 0xff, 0xff, 0xff]
        #expect(throws: OctetBundleError.truncated) {
            try OctetBundle.decode(huge, maximumCount: .max, maximumBytes: .max)
        }
        let lengths = Array(Self.good.prefix(12)) + [2, 0, 0, 0] + [UInt8](repeating: 0xff, count: 7) + [0x7f]
        #expect(throws: OctetBundleError.truncated) {
            try OctetBundle.decode(
                lengths + [UInt8](repeating: 0xff, count: 8), maximumCount: .max, maximumBytes: .max)
        }
    }

    @Test func anyBytesAreReadOrRefused() {
        fuzz(20_000, seeds: [Self.good], alphabet: "HKMSBNDL\u{1}\u{0}\u{3}") { bytes in
            for (count, maximum) in [(8, 64), (Int.max, Int.max)] {
                guard let strings = try? decode(bytes, count: count, bytes: maximum) else { continue }
                #expect(OctetBundle.encode(strings) == bytes)
            }
        }
    }
}
