import Attestation
import Testing

@Suite struct CanonicalBytesTests {
    private func bytes(_ fields: [UInt8]...) -> [UInt8] {
        var canonical = CanonicalBytes()
        for field in fields { canonical.append(field) }
        return canonical.bytes
    }

    @Test("a length, big-endian, then the field")
    func layout() {
        #expect(bytes() == [])
        #expect(bytes([]) == [0, 0, 0, 0])
        #expect(bytes([7, 8]) == [0, 0, 0, 2, 7, 8])
        #expect(Array(bytes([UInt8](repeating: 1, count: 0x10203)).prefix(5)) == [0, 1, 2, 3, 1])
        var canonical = CanonicalBytes()
        canonical.append("é")
        canonical.append(0x0102_0304_0506_0708)
        canonical.append(-1)
        #expect(
            canonical.bytes == [0, 0, 0, 2, 0xC3, 0xA9] + [0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]
                + [0, 0, 0, 8] + [UInt8](repeating: 0xFF, count: 8))
    }

    @Test("no two lists of fields have the same bytes")
    func injective() {
        let lists: [[[UInt8]]] = [
            [], [[]], [[], []], [[1, 2]], [[1], [2]], [[], [1, 2]], [[1, 2], []], [[2, 1]],
            // Fields that look like lengths.
            [[0, 0, 0, 0]], [[0, 0, 0, 1], [1]], [[0, 0, 0, 1, 1]], [[0], [0], [0], [1, 1]],
        ]
        let encodings = lists.map { list in
            var canonical = CanonicalBytes()
            for field in list { canonical.append(field) }
            return canonical.bytes
        }
        #expect(Set(encodings).count == lists.count)
        // None is another's beginning with nothing but whole fields behind, unless the lists are.
        for (list, encoding) in zip(lists, encodings) {
            for (other, longer) in zip(lists, encodings) where longer.starts(with: encoding) {
                #expect(Array(other.prefix(list.count)) == list)
            }
        }
    }
}
